"""World: two applications at random over a pair with small limits, and what must hold for both."""

from __future__ import annotations

import random
from collections.abc import Callable

from telewire.core.states import HalfState, IncomingState
from telewire.core.streams import Call, Stream
from telewire.limits import Limits
from telewire.testing.pair import Pair
from tests.core.app import App
from tests.core.dialogue import K, assert_empty

SMALL = Limits(
    fragment_bytes=1024,
    batch_bytes=4096,
    stream_window=2048,
    stream_window_read=8192,
    message_bytes=32 * 1024,
    session_budget=128 * 1024,
    argument_bytes=64 * 1024,
    open_calls=6,
    queued_calls=6,
    open_streams=40,
    credited_streams=16,
)

ACTIONS = ("call", "answer", "finish", "send", "end", "stop", "cancel", "consume")


def draining(stream: Stream, released: set[int | None]) -> bool:
    """Whether it only waits for its application to consume, or for a release that waits for calls."""
    if isinstance(stream, Call):
        return stream.answered and all(draining(each, released) for each in stream.owned)
    if stream.number in released:
        return True
    over = stream.send is None or stream.send.state not in (HalfState.OPEN, HalfState.ENDING)
    return over and stream.receive is not None and stream.receive.state is HalfState.ENDING


class World:
    """Two applications at random over a pair with small limits."""

    def __init__(self, choose: random.Random, limits: Limits = SMALL, resume: bool = False) -> None:
        self.pair = Pair(client_limits=limits, server_limits=limits, resume=resume)
        self.apps = tuple(
            App(connection, lambda below: choose.randrange(below) if below else 0)
            for connection in (self.pair.client, self.pair.server)
        )

    def collect(self) -> None:
        for app, events in zip(self.apps, self.pair.take(), strict=True):
            app.take(events)

    def move(self, to_server: bool, count: int) -> None:
        """Deliver a few batches in one direction."""
        queue = self.pair.to_server if to_server else self.pair.to_client
        receiver = self.pair.server if to_server else self.pair.client
        for each in queue[:count]:
            receiver.receive_data(each, self.pair.now)
        del queue[:count]
        self.collect()

    def do_something(self, choose: random.Random, after_pause: Callable[[], None]) -> None:
        """Let an application act and the link do what a link may: stand, carry, pause, break."""
        getattr(choose.choice(self.apps), choose.choice(ACTIONS))()
        self.collect()
        match choose.randrange(10):
            case 0:
                self.pair.pull(choose.choice([1, 1500, 65536]))
                self.collect()
            case 1 | 2:
                self.move(choose.random() < 0.5, choose.randrange(1, 4))
            case 3:
                self.pair.advance(choose.random())
                after_pause()
            case 4:
                self.lose_transport()

    def lose_transport(self) -> None:
        """Cut the link; one batch may be on its way in either direction. Then go on over another."""
        self.pair.pull(1500)
        self.move(True, len(self.pair.to_server) // 2)
        self.move(False, len(self.pair.to_client) // 2)
        self.pair.cut()
        self.pair.attach()
        self.collect()

    def check_credit(self) -> None:
        """I2: no sender is ahead of what the receiver has granted, nor a receiver of its window."""
        for sender, receiver in ((self.pair.client, self.pair.server), (self.pair.server, self.pair.client)):
            for stream in [*sender._ours.values(), *sender._theirs.values()]:
                if stream.send is None or stream.number is None:
                    continue
                table = receiver._theirs if stream.opened_here else receiver._ours
                other = table.get(stream.number)
                if other is None or other.receive is None:
                    continue
                window = other.receive.window
                assert stream.send.window.used <= stream.send.window.limit
                assert stream.send.window.limit <= window.limit or stream.kind is K.CALL
                if other.receive.state in (HalfState.OPEN, HalfState.ENDING):
                    assert sum(cost for _, cost in window.parts) <= window.window + window.loan
        for connection in (self.pair.client, self.pair.server):
            assert 0 <= connection._budget.left <= SMALL.session_budget
            assert 0 <= connection._argument_bytes <= SMALL.argument_bytes
            assert connection._incoming_calls <= SMALL.open_calls

    def check_agreement(self) -> None:
        """Where nothing is on its way, what is open on one side is known on the other."""
        self.pair.deliver()
        self.collect()
        for one, other in ((self.pair.client, self.pair.server), (self.pair.server, self.pair.client)):
            calls = [call for call in other._unsent if isinstance(call, Call)]
            targets = [call.target for call in calls if isinstance(call.target, Stream)]
            released = {target.number for target in targets if target.released}
            for number, stream in one._ours.items():
                known = number in other._theirs or draining(stream, released)
                assert known, f"{stream} is open on one side only"
            for number, stream in one._theirs.items():
                if isinstance(stream, Call):
                    open_there = stream.incoming is not IncomingState.ANSWERED
                else:
                    half = stream.receive
                    open_there = half is None or half.state is HalfState.OPEN
                assert not open_there or number in other._ours, f"{stream} is open on one side only"

    def wind_up(self) -> None:
        """Let everything end; a few rounds, since ends cross."""
        for _ in range(50):
            self.collect()
            self.pair.deliver()
            self.collect()
            for app in self.apps:
                app.wind_up()
        self.pair.deliver()
        self.collect()
        for app in self.apps:
            assert not app.mine
        assert_empty(self.pair.client)
        assert_empty(self.pair.server)
