"""I1: cut anywhere, and the application is told the same, once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import cbor2
import pytest

from telewire.core.connection import Connection
from telewire.core.events import (
    CallReceived,
    CallResolved,
    ChunkReceived,
    ItemReceived,
    ItemsReceived,
    SessionDetached,
    SessionResumed,
    StreamEnded,
    StreamFailed,
    StreamUnblocked,
)
from telewire.core.streams import Stream
from telewire.testing.pair import Pair
from tests.core.dialogue import K
from tests.core.world import SMALL, World


class Script:
    """A dialogue of all kinds of streams; what each side was told, stream by stream."""

    def __init__(self, lose_after: int | None, stated: bool = False) -> None:
        self.pair = Pair(client_limits=SMALL, server_limits=SMALL, resume=True, stated=stated)
        self.lose_after = lose_after
        self.repeats = random.Random(lose_after) if stated else None
        self.old: list[bytes] = []
        self.delivered = self.turn = 0
        self.told: dict[str, list[bytes]] = {}
        self.sending: list[tuple[Connection, Stream, int]] = []

    def run(self) -> dict[str, list[bytes]]:
        kinds = [(K.ITEMS, None), (K.BYTES, None), (K.PROMISE, None), (K.CHANNEL, 1), (K.FUNCTION, 2)]
        call = self.pair.client.call("everything", bytes(3000), kinds[:2])
        self.sending += [(self.pair.client, stream, 12) for stream in call.declared]
        for _ in range(400):
            self.carry()
            self.react(kinds)
            self.send()
        settled = [connection for connection in (self.pair.client, self.pair.server) if connection._ours]
        assert not settled
        return self.told

    def carry(self) -> None:
        """Deliver one batch of one frame each way; at the given one, lose it and the transport."""
        pair = self.pair
        # More than one frame is on its way at most times.
        for _ in range(3 if self.turn % 4 == 0 else 0):
            pair.pull(1)
        self.turn += 1
        for queue, receiver in ((pair.to_server, pair.server), (pair.to_client, pair.client)):
            if queue and self.delivered == self.lose_after:
                self.delivered += 1
                pair.cut()
                pair.attach()
                return
            if queue:
                self.delivered += 1
                self.bring(receiver, queue.pop(0))
        pair.now += 0.01
        pair.client.handle_timeout(pair.now)
        pair.server.handle_timeout(pair.now)

    def bring(self, receiver: Connection, batch: bytes) -> None:
        """Deliver a batch; of those up, where positions are stated, some again, and others too early."""
        if self.repeats is not None and receiver is self.pair.server:
            self.old.append(batch)
            for again in self.repeats.choices([*self.old[-8:], *self.pair.to_server[-3:]], k=2):
                receiver.receive_data(again, self.pair.now)
        receiver.receive_data(batch, self.pair.now)

    def react(self, kinds: Sequence[tuple[K, int | None]]) -> None:
        pair = self.pair
        for connection, name, events in zip(
            (pair.client, pair.server), ("client", "server"), pair.take(), strict=True
        ):
            for event in events:
                stream = getattr(event, "stream", None) or getattr(event, "call", None)
                notes = self.told.setdefault(f"{name} {getattr(stream, 'name', '')}", [])
                if isinstance(event, CallReceived):
                    notes.append(b"called" + event.payload)
                    if event.target == "everything":
                        streams = connection.resolve(event.call, b"answer", kinds)
                        self.sending += [(connection, each, 12) for each in streams[:2] + streams[3:4]]
                        connection.resolve(streams[2], b"settled")
                    else:
                        connection.resolve(event.call, b"called back")
                    connection.finish(event.call)
                elif isinstance(event, CallResolved):
                    notes.append(b"resolved" + event.payload)
                    for each in event.declared:
                        if each.kind is K.FUNCTION:
                            connection.call(each, b"back")
                            connection.stop(each)
                        elif each.kind is K.CHANNEL:
                            connection.end(each)
                elif isinstance(event, (ItemsReceived, ItemReceived, ChunkReceived)):
                    notes.append(event.payload)
                    count = getattr(event, "count", 1)
                    connection.consumed(
                        event.stream, len(event.payload) if isinstance(event, ChunkReceived) else count
                    )
                elif isinstance(event, (StreamEnded, StreamFailed)):
                    notes.append(b"ended" + event.payload)
                elif not isinstance(event, (SessionDetached, SessionResumed, StreamUnblocked)):
                    notes.append(type(event).__name__.encode())

    def send(self) -> None:
        for index, (connection, stream, left) in enumerate(self.sending):
            if stream.retired or not connection.writable(stream):
                continue
            if left == 0:
                connection.end(stream)
            elif stream.kind is K.BYTES:
                connection.send_chunk(stream, bytes([left]) * 700)
            elif stream.kind is K.CHANNEL:
                connection.send_message(stream, bytes([left]) * (20 if left % 3 else 1500))
            else:
                connection.send_item(stream, bytes([left]) * (20 if left % 3 else 1500))
            self.sending[index] = (connection, stream, left - 1)
        self.sending = [each for each in self.sending if each[2] >= 0]


def flat(told: dict[str, list[bytes]]) -> dict[str, bytes]:
    """How items were put together is no difference."""
    return {name: b"".join(notes) for name, notes in told.items() if notes}


@pytest.mark.parametrize("stated", [False, True])
def test_i1_cut_anywhere_the_application_is_told_the_same(stated: bool) -> None:
    whole = Script(None, stated)
    expected = flat(whole.run())
    assert whole.delivered > 100
    assert len(expected) > 10
    # What is repeated is acknowledged again, so that a run may be some batches shorter than the whole one.
    for lose_after in range(whole.delivered - (10 if stated else 0)):
        script = Script(lose_after, stated)
        assert flat(script.run()) == expected, lose_after
        assert script.delivered > lose_after


@pytest.mark.parametrize("seed", range(30))
def test_i1_any_tree_with_any_cuts(seed: int) -> None:
    choose = random.Random(seed)
    world = World(choose, replace(SMALL, replay_bytes=choose.choice([8192, 1 << 20])), resume=True)
    for _ in range(300):
        world.do_something(choose, world.check_agreement)
        world.check_credit()
    world.check_agreement()
    world.wind_up()


@pytest.mark.parametrize("stated", [False, True])
def test_a_hundred_resumes_complete_and_nothing_between_them_is_lost_or_comes_twice(stated: bool) -> None:
    pair = Pair(resume=True, stated=stated)
    pair.client.call("feed", b"")
    pair.deliver()
    [call] = [event.call for event in pair.take()[1] if isinstance(event, CallReceived)]
    [feed] = pair.server.resolve(call, b"", [(K.ITEMS, None)])
    rounds = range(100)
    asked: list[bytes] = []
    answered: list[bytes] = []
    items: list[bytes] = []
    resumed = [0, 0]
    for number in rounds:
        pair.client.call("f", bytes([number]))
        pair.server.send_item(feed, bytes([0x18, 100 + number]))
        # What is on its way is lost every other time; else that it has come is not yet acknowledged.
        (pair.pull if number % 2 else pair.deliver)()
        pair.cut()
        pair.attach()
        pair.deliver()
        for side, events in enumerate(pair.take()):
            for event in events:
                if isinstance(event, SessionResumed):
                    resumed[side] += 1
                elif isinstance(event, CallReceived):
                    asked.append(event.payload)
                    pair.server.resolve(event.call, event.payload)
                    pair.server.finish(event.call)
                elif isinstance(event, CallResolved):
                    answered.append(event.payload)
                elif isinstance(event, ItemsReceived):
                    items += [bytes([0x18, item]) for item in cbor2.loads(event.payload)]
                    pair.client.consumed(event.stream, event.count)
    pair.deliver()
    answered += [event.payload for event in pair.take()[0] if isinstance(event, CallResolved)]
    assert resumed == [100, 100]
    assert pair.server._attempt == pair.client._attempt == 100
    assert asked == [bytes([number]) for number in rounds]
    assert answered == [b"", *asked]
    assert items == [bytes([0x18, 100 + number]) for number in rounds]
