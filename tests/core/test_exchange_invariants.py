"""The invariants of an exchange, for any behaviour of two honest applications and of a dishonest peer."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telewire.core.connection import Connection
from telewire.core.events import (
    CallOver,
    CallReceived,
    CallRejected,
    CallResolved,
    ChunkReceived,
    ConnectionClosed,
    ItemReceived,
    ItemsReceived,
    StreamEnded,
)
from telewire.core.halves import QUEUE_BYTES
from telewire.core.states import ConnectionState
from telewire.core.streams import Call, Stream
from telewire.errors import LocalProtocolError, RemoteProtocolError, TransportUnsuitable
from telewire.wire import frames as f
from tests.compiled import Beside
from tests.core.dialogue import C, K, assert_empty, batch, hello
from tests.core.exchange import Both
from tests.core.test_invariants import any_frame
from tests.wire.test_cddl import allows

ANY_KIND = [
    *([(K.PROMISE, None)] * 4 + [(K.ITEMS, None)] * 4),
    *((K.BYTES, None), (K.FUNCTION, 1), (K.CHANNEL, 2)),
]


ACTIONS = ("send", "send", "send", "consume", "consume", "end", "stop", "answer")


class Side:
    """An application at random on one side of an exchange."""

    def __init__(self, core: Connection, choose: random.Random) -> None:
        self.core = core
        self.choose = choose
        self.streams: list[Stream] = []
        self.waiting: dict[Stream, int] = {}
        self.calls: list[Call] = []
        self.answers = 0
        self.overs = 0
        self.closed: list[ConnectionClosed] = []

    def take(self) -> None:
        for event in self.core.events_received():
            assert not self.closed, f"{event} came after the last event"
            if isinstance(event, CallReceived):
                self.calls.append(event.call)
            elif isinstance(event, (CallResolved, CallRejected)):
                self.answers += 1
            elif isinstance(event, CallOver):
                self.overs += 1
            elif isinstance(event, ConnectionClosed):
                self.closed.append(event)
            elif isinstance(event, ItemsReceived):
                self.waiting[event.stream] = self.waiting.get(event.stream, 0) + event.count
            elif isinstance(event, ItemReceived):
                self.waiting[event.stream] = self.waiting.get(event.stream, 0) + 1
            elif isinstance(event, ChunkReceived):
                self.waiting[event.stream] = self.waiting.get(event.stream, 0) + len(event.payload)
            if isinstance(event, (CallReceived, CallResolved, ItemReceived, StreamEnded)):
                self.streams += event.declared

    def payload(self) -> bytes:
        return bytes(self.choose.choice([0, 1, 300, 5000, 70_000, 200_000]))

    def kinds(self) -> list[tuple[K, int | None]]:
        return self.choose.choices(ANY_KIND, k=self.choose.choice([0, 1, 1, 2]))

    def act(self) -> None:
        """Do one thing that an application may try."""
        try:
            getattr(self, self.choose.choice(ACTIONS))()
        except (LocalProtocolError, TransportUnsuitable):
            # Refused before anything had changed.
            return
        finally:
            self.take()

    def open(self, half: str) -> list[Stream]:
        return [each for each in self.streams if not each.retired and getattr(each, half) is not None]

    def send(self) -> None:
        for stream in self.open("send"):
            if not self.core.writable(stream):
                continue
            if stream.kind is K.BYTES:
                self.core.send_chunk(stream, self.payload())
            elif stream.kind is K.ITEMS:
                self.streams += self.core.send_item(stream, self.payload(), self.kinds())

    def end(self) -> None:
        for stream in self.open("send")[: self.choose.choice([0, 0, 1, 2])]:
            match self.choose.randrange(4):
                case 0:
                    self.core.reject(stream, C.ABORTED)
                case 1:
                    self.core.reset(stream)
                case _ if stream.kind is K.PROMISE:
                    self.streams += self.core.resolve(stream, self.payload(), self.kinds())
                case _:
                    self.core.end(stream)

    def consume(self) -> None:
        for stream, units in list(self.waiting.items()):
            taken = self.choose.randint(1, units)
            if not stream.retired:
                self.core.consumed(stream, taken)
            self.waiting[stream] -= taken
            if not self.waiting[stream]:
                del self.waiting[stream]

    def stop(self) -> None:
        if self.choose.randrange(4) == 0:
            for stream in self.open("receive")[:1]:
                self.core.stop(stream)

    def answer(self) -> None:
        while self.calls:
            call = self.calls.pop()
            try:
                if not call.over:
                    self.streams += self.core.resolve(call, self.payload(), self.kinds())
            except TransportUnsuitable:
                self.core.reject(call, C.TRANSPORT_UNSUITABLE)
            finally:
                self.core.finish(call)


class Talk:
    """Two sides and what lies between them, from the call to the end."""

    def __init__(self, seed: int) -> None:
        self.choose = random.Random(seed)
        self.both = Both()
        self.client = Side(self.both.client, self.choose)
        self.server = Side(self.both.server, self.choose)
        self.request_ended = False
        kinds = [each for each in self.client.kinds() if each[0] in (K.PROMISE, K.ITEMS, K.BYTES)][:1]
        self.call = self.both.client.call("f", self.client.payload(), kinds)
        self.client.streams += self.call.declared

    def carry(self) -> None:
        """Move some batches, each way only while its receiver wants to read."""
        client, server = self.both.client, self.both.server
        if server.readable:
            for each in client.data_to_send(self.choose.choice([1, 65536])):
                server.receive_data(each, 0.0)
        if client.said_all and not self.request_ended:
            self.request_ended = True
            server.receive_end(0.0)
        if client.readable:
            for each in server.data_to_send(self.choose.choice([1, 65536])):
                client.receive_data(each, 0.0)
        self.client.take()
        self.server.take()
        if client.hung_up and not server._eof:
            server.receive_eof(0.0)
            self.server.take()

    def check(self) -> None:
        for core in (self.both.client, self.both.server):
            for stream in [*core._ours.values(), *core._theirs.values()]:
                if stream.send is not None and stream.kind in (K.ITEMS, K.BYTES):
                    # I2: what the mark of the queue lets in, and one item more.
                    assert stream.send.queued < QUEUE_BYTES + 200_000 + 64
        for side in (self.client, self.server):
            for event in side.closed:
                assert event.code < C.PROTOCOL_ERROR, event

    def wind_up(self) -> None:
        for _ in range(300):
            for side in (self.client, self.server):
                side.answer()
                side.consume()
                for stream in side.open("send"):
                    if stream.send is not None and stream.send.state.value == "open":
                        side.core.reject(stream, C.ABORTED)
            self.carry()


@pytest.mark.parametrize("seed", range(150))
def test_i3_nothing_is_left_of_an_exchange(seed: int) -> None:
    talk = Talk(seed)
    for _ in range(talk.choose.randrange(60)):
        talk.choose.choice([talk.client, talk.server]).act()
        talk.carry()
        talk.check()
    match talk.choose.randrange(6):
        case 0:
            talk.both.client.stop(talk.call)
        case 1:
            talk.both.client.close()
        case 2:
            talk.both.client.receive_eof(0.0)
            talk.both.server.receive_eof(0.0)
    talk.wind_up()
    talk.check()
    assert (talk.client.answers, talk.client.overs) == (1, 1)
    for side in (talk.client, talk.server):
        assert side.core.state is ConnectionState.CLOSED
        assert len(side.closed) == 1
        assert_empty(side.core)


@pytest.mark.parametrize("seed", range(12))
def test_i8_what_an_exchange_emits_is_as_the_cddl_says(seed: int) -> None:
    talk = Talk(seed)
    emitted: list[bytes] = []
    talk.both.client = recording(talk.both.client, emitted)
    talk.both.server = recording(talk.both.server, emitted)
    for _ in range(30):
        talk.choose.choice([talk.client, talk.server]).act()
        talk.carry()
    talk.wind_up()
    assert emitted
    for each in emitted:
        assert allows(each), each.hex()


# Any: it stands in for a connection.
def recording(core: Connection, emitted: list[bytes]) -> Any:
    """Keep what a connection emits."""

    def data_to_send(max_bytes: int = 65536) -> list[bytes]:
        batches = core.data_to_send(max_bytes)
        emitted.extend(batches)
        return batches

    return Beside(core, data_to_send=data_to_send)


def survives(core: Connection, batches: list[bytes]) -> None:
    """There are events, or one close with a typed error, and never an exception."""
    closed: list[ConnectionClosed] = []
    for each in batches:
        core.receive_data(each, 0.0)
        core.data_to_send()
        events = core.events_received()
        assert not closed or not events
        closed += [event for event in events if isinstance(event, ConnectionClosed)]
    assert len(closed) <= 1
    for event in closed:
        assert event.by_peer or event.error is None or isinstance(event.error, RemoteProtocolError)
        assert core.state is ConnectionState.CLOSED
        assert core._ours == {}
        assert core._theirs == {}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(any_frame(), min_size=1, max_size=6), max_size=8), st.booleans())
def test_i7_any_frames_to_the_server_of_an_exchange(batches: list[list[f.Frame]], busy: bool) -> None:
    server = Connection("server", exchange=True)
    declarations = (f.Declaration(1, K.PROMISE), f.Declaration(2, K.ITEMS))
    server.receive_data(batch(hello(), f.Call(0, "f", 0, 0, b"", declarations)), 0.0)
    events = server.events_received()
    if busy:
        [call] = [event.call for event in events if isinstance(event, CallReceived)]
        server.resolve(call, b"", [(K.ITEMS, None), (K.PROMISE, None)])
        server.finish(call)
        server.data_to_send()
    survives(server, [batch(*frames) for frames in batches])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(any_frame(), min_size=1, max_size=6), max_size=8), st.booleans())
def test_i7_any_frames_to_the_client_of_an_exchange(batches: list[list[f.Frame]], busy: bool) -> None:
    client = Connection("client", exchange=True)
    client.call("f", b"", [(K.PROMISE, None), (K.ITEMS, None)])
    client.data_to_send()
    if busy:
        declared = (f.Declaration(0, K.ITEMS), f.Declaration(1, K.PROMISE))
        client.receive_data(batch(hello(), f.End(-1, 0, 0, b"", declared)), 0.0)
        client.events_received()
    survives(client, [batch(*frames) for frames in batches])
