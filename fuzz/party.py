"""Party: two applications on a pair of real machines, led by bytes, that know what they sent and got.

Both are the random application of the core's tests, which holds every event against all before it;
here each payload says which one it is, so that order and loss show.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, final

import cbor2

from fuzz.choices import Choices
from telewire.core.connection import Connection, Declare
from telewire.core.events import (
    ChunkReceived,
    Event,
    ItemReceived,
    ItemsReceived,
    StreamEnded,
)
from telewire.core.streams import Stream
from telewire.limits import Limits
from telewire.testing.pair import Pair
from telewire.wire.frames import Kind
from telewire.wire.heads import BYTES, encode_head
from tests.core.app import App
from tests.core.dialogue import assert_empty

__all__ = ["LIMITS", "Party", "Witness"]

LIMITS: Final = Limits(
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
SIZES: Final = (0, 1, 10, 300, 700, 3000, 20_000)
ACTIONS: Final = (
    *("call", "call", "answer", "answer", "finish", "send", "send", "send", "send"),
    *("end", "stop", "cancel", "consume", "consume", "consume"),
)


@final
class Witness(App):
    """An application that remembers what it sent and received on each stream."""

    def __init__(self, connection: Connection, choose: Callable[[int], int]) -> None:
        super().__init__(connection, choose)
        self.sent: dict[Stream, list[bytes]] = {}
        self.got: dict[Stream, list[bytes]] = {}
        self.natural: set[Stream] = set()
        self.arrived: dict[Stream, int] = {}
        self.count = 0

    def payload(self) -> bytes:
        """An encoded byte string that no other payload of this side equals."""
        size = SIZES[self.choose(len(SIZES))]
        self.count += 1
        content = self.count.to_bytes(4, "big") + bytes(size)
        return encode_head(BYTES, len(content)) + content

    def send(self) -> None:
        """Send, and remember what."""
        before = self.count
        remembered: list[tuple[Stream, bytes]] = []
        connection, proxy = self.connection, _Recorder(self.connection, remembered)
        self.connection = proxy  # type: ignore[assignment]  # It has the commands that sending uses.
        try:
            super().send()
        finally:
            self.connection = connection
        assert len(remembered) <= self.count - before or not remembered
        for stream, payload in remembered:
            self.sent.setdefault(stream, []).append(payload)

    def consumed(self, stream: Stream) -> int:
        """How many items, messages or bytes that came on a stream have been consumed."""
        return self.arrived.get(stream, 0) - self.waiting.get(stream, 0)

    def take(self, events: list[Event]) -> None:
        """Remember what has come."""
        super().take(events)
        for event in events:
            if isinstance(event, ItemReceived | ItemsReceived | ChunkReceived):
                units = {ItemReceived: 1, ItemsReceived: getattr(event, "count", 0)}
                arrived = units.get(type(event), len(event.payload))
                self.arrived[event.stream] = self.arrived.get(event.stream, 0) + arrived
            if isinstance(event, ItemReceived | ChunkReceived):
                self.got.setdefault(event.stream, []).append(event.payload)
            elif isinstance(event, ItemsReceived):
                items = cbor2.loads(event.payload)
                assert len(items) == event.count
                self.got.setdefault(event.stream, []).extend(cbor2.dumps(item) for item in items)
            elif isinstance(event, StreamEnded):
                self.natural.add(event.stream)


@final
class _Recorder:
    """Passes commands on, and notes what was sent once the machine has taken it."""

    def __init__(self, connection: Connection, remembered: list[tuple[Stream, bytes]]) -> None:
        self._connection = connection
        self._remembered = remembered
        self.writable = connection.writable

    def send_chunk(self, stream: Stream, data: bytes) -> None:
        self._connection.send_chunk(stream, data)
        self._remembered.append((stream, data))

    def send_item(self, stream: Stream, payload: bytes, declare: Sequence[Declare]) -> tuple[Stream, ...]:
        declared = self._connection.send_item(stream, payload, declare)
        self._remembered.append((stream, payload))
        return declared

    def send_message(self, stream: Stream, payload: bytes, declare: Sequence[Declare]) -> tuple[Stream, ...]:
        declared = self._connection.send_message(stream, payload, declare)
        self._remembered.append((stream, payload))
        return declared


class Party:
    """A pair, two witnesses, and the bytes that decide what happens next."""

    def __init__(self, data: bytes) -> None:
        self.choices = Choices(data)
        self.pair = self.begin()
        connections = (self.pair.client, self.pair.server)
        self.apps = tuple(Witness(connection, self.choices.below) for connection in connections)

    def begin(self) -> Pair:
        """Have two sides that have greeted each other."""
        return Pair(client_limits=LIMITS, server_limits=LIMITS)

    def run(self) -> None:
        """Act until the data end, then let everything come to its end."""
        while self.choices.left:
            self.step()
        self.wind_up()
        self.compare()

    def step(self) -> None:
        """One thing: an application acts, or the link carries something, or time passes."""
        choice = self.choices.byte()
        if choice < 176:
            self.act(choice)
        elif choice < 200:
            self.pair.pull((1, 1500, 65536)[choice % 3])
        elif choice < 232:
            self.move(choice % 2 == 0, 1 + choice // 2 % 4)
        elif choice < 248:
            self.pair.deliver()
        else:
            self.pair.deliver()
            self.pair.advance((0.1, 1.0, 3.0)[choice % 3])
        self.collect()

    def act(self, choice: int) -> None:
        """Let one application do one thing."""
        getattr(self.apps[choice % 2], ACTIONS[choice // 2 % len(ACTIONS)])()

    def collect(self) -> None:
        """Hand out events."""
        for app, events in zip(self.apps, self.pair.take(), strict=True):
            app.take(events)

    def move(self, to_server: bool, count: int) -> None:
        """Deliver a few batches in one direction."""
        queue = self.pair.to_server if to_server else self.pair.to_client
        receiver = self.pair.server if to_server else self.pair.client
        for batch in queue[:count]:
            receiver.receive_data(batch, self.pair.now)
        del queue[:count]

    def wind_up(self) -> None:
        """Let everything end; a few rounds, since ends cross. Then nothing may be left on either side."""
        for _ in range(50):
            self.collect()
            self.pair.deliver()
            self.collect()
            if not any(app.mine or app.bodies or any(app.waiting.values()) for app in self.apps):
                break
            for app in self.apps:
                app.wind_up()
        self.pair.deliver()
        self.collect()
        for app in self.apps:
            assert not app.mine, "a call of ours has no end"
            assert_empty(app.connection)

    def compare(self) -> None:
        """What was received is what was sent, in order: all of it where the stream ended naturally."""
        for sender, receiver in (self.apps, self.apps[::-1]):
            numbered = {(each.number, each.opened_here): each for each in receiver.known}
            for stream, payloads in sender.sent.items():
                other = numbered.get((stream.number, not stream.opened_here))
                if stream.number is None or other is None:
                    continue
                got = receiver.got.get(other, [])
                if stream.kind is Kind.BYTES:
                    sent = b"".join(payloads)
                    assert sent.startswith(b"".join(got)), "bytes are missing, or in another order"
                    assert other not in receiver.natural or sent == b"".join(got), (
                        "the last bytes are missing"
                    )
                else:
                    assert payloads[: len(got)] == got, "items are missing, or in another order"
                    assert other not in receiver.natural or payloads == got, "the last items are missing"
            for stream in receiver.got:
                assert stream in receiver.known
