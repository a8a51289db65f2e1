"""Exchanges: one call over one HTTP request, its life, its limits and its ends (TW-SES-070 to TW-SES-079)."""

from __future__ import annotations

import pytest

from telewire.core.connection import Connection
from telewire.core.events import (
    CallOver,
    CallReceived,
    CallRejected,
    CallResolved,
    CallStopped,
    ChunkReceived,
    ConnectionClosed,
    Event,
    ItemReceived,
    ItemsReceived,
    StreamEnded,
    StreamReset,
    StreamStopped,
)
from telewire.core.states import ConnectionState
from telewire.core.streams import Call, Stream
from telewire.errors import LocalProtocolError, ResourceExhausted, TransportUnsuitable
from telewire.limits import Limits
from telewire.wire import frames as f
from tests.core.dialogue import C, K, assert_empty, batch, frames_of, hello, names, sent

NO_CREDIT = (1 << 53) - 1


class Both:
    """The client and the server of one exchange, and a perfect transport between them."""

    def __init__(self, client: Limits | None = None, server: Limits | None = None) -> None:
        self.now = 0.0
        self.client = Connection("client", limits=client, exchange=True)
        self.server = Connection("server", limits=server, exchange=True)
        self.client_events: list[Event] = []
        self.server_events: list[Event] = []
        self.up: list[f.Frame] = []
        self.down: list[f.Frame] = []

    def deliver(self) -> None:
        """Carry batches both ways until nothing more comes; the end of the request too."""
        moved = True
        while moved:
            moved = False
            ups = self.client.data_to_send()
            self.up += frames_of(ups)
            for each in ups:
                self.server.receive_data(each, self.now)
                moved = True
            if self.client.said_all and not self.server.heard_all:
                self.server.receive_end(self.now)
                moved = True
            downs = self.server.data_to_send()
            self.down += frames_of(downs)
            for each in downs:
                self.client.receive_data(each, self.now)
                moved = True
            self.collect()

    def collect(self) -> None:
        self.client_events += self.client.events_received()
        self.server_events += self.server.events_received()

    def take(self) -> tuple[list[Event], list[Event]]:
        self.collect()
        taken = self.client_events, self.server_events
        self.client_events, self.server_events = [], []
        return taken

    def call(self, *declare: tuple[K, int | None], payload: bytes = b"a") -> tuple[Call, Call]:
        """Make the call and deliver it: as its caller and as its answerer see it."""
        ours = self.client.call("f", payload, declare)
        self.deliver()
        [event] = [event for event in self.take()[1] if isinstance(event, CallReceived)]
        return ours, event.call

    def answer(self, call: Call, *declare: tuple[K, int | None]) -> tuple[Stream, ...]:
        streams = self.server.resolve(call, b"r", declare)
        self.server.finish(call)
        return streams

    def lose(self) -> None:
        """Lose the transport."""
        self.client.receive_eof(self.now)
        self.server.receive_eof(self.now)
        self.collect()

    def wait(self, seconds: float) -> None:
        """Let time pass, stopping at each deadline."""
        end = self.now + seconds
        while True:
            due = [
                each for each in (self.client.next_timeout(), self.server.next_timeout()) if each is not None
            ]
            if not due or min(due) > end:
                self.now = end
                return
            self.now = max(self.now, min(due))
            self.client.handle_timeout(self.now)
            self.server.handle_timeout(self.now)
            self.deliver()

    def assert_ended(self) -> None:
        for side in (self.client, self.server):
            assert side.state is ConnectionState.CLOSED
            assert side.next_timeout() is None
            assert_empty(side)


def declared(events: list[Event], kind: type) -> tuple[Stream, ...]:
    [event] = [event for event in events if isinstance(event, kind)]
    return event.declared  # type: ignore[attr-defined, no-any-return]


# --- a call --------------------------------------------------------------------------------------


def test_the_call_leaves_with_the_hello_and_the_request_ends_with_it() -> None:
    both = Both()
    call = both.client.call("f", b"a")
    assert not both.client.said_all
    [batch_of_both] = both.client.data_to_send()
    first, second = frames_of([batch_of_both])
    assert isinstance(first, f.Hello)
    assert (first.session, first.limits[3]) == (None, NO_CREDIT)
    assert second == f.Call(0, "f", 0, 1, b"a")
    assert both.client.said_all
    assert call.number == 0


def test_answer_and_close_leave_in_one_go_and_both_sides_are_over() -> None:
    both = Both()
    ours, theirs = both.call()
    assert isinstance(both.down[0], f.Hello)
    both.answer(theirs)
    both.deliver()
    assert both.down[1:] == [f.End(-1, 0, 1, b"r"), f.Close(0)]
    client, server = both.take()
    assert client == [
        CallResolved(ours, b"r", ()),
        CallOver(ours, 0, b""),
        ConnectionClosed(0, "", by_peer=True),
    ]
    assert names(server) == ["CallOver", "ConnectionClosed"]
    both.assert_ended()
    assert not both.client.hung_up


def test_a_refused_call_is_over_with_its_answer() -> None:
    both = Both()
    both.client.call("f", bytes(2000))
    both.server.limits = Limits(message_bytes=1024)
    both.deliver()
    client, server = both.take()
    assert [event.code for event in client if isinstance(event, CallRejected)] == [C.MESSAGE_TOO_LARGE]
    assert "CallReceived" not in names(server)
    both.assert_ended()


def test_an_error_ends_the_exchange() -> None:
    both = Both()
    _, theirs = both.call()
    both.server.reject(theirs, C.ABORTED, b"v")
    both.server.finish(theirs)
    both.deliver()
    assert names(both.take()[0]) == ["CallRejected", "CallOver", "ConnectionClosed"]
    both.assert_ended()


def test_limits_of_an_earlier_exchange_hold_until_the_hello() -> None:
    client = Connection("client", exchange=True, peer_limits=Limits(message_bytes=2000))
    with pytest.raises(ResourceExhausted, match="2000"):
        client.call("f", bytes(2001))
    client.call("f", bytes(2000))


def test_an_exchange_is_one_call_of_the_clients() -> None:
    both = Both()
    _, theirs = both.call()
    with pytest.raises(LocalProtocolError, match="one call"):
        both.client.call("g", b"")
    with pytest.raises(TransportUnsuitable, match="cannot call the client"):
        both.server.call("g", b"")
    both.answer(theirs)
    both.deliver()
    both.assert_ended()
    with pytest.raises(LocalProtocolError, match="another exchange"):
        both.client.call("g", b"")


def test_an_exchange_that_was_closed_takes_no_call() -> None:
    client = Connection("client", exchange=True)
    client.close()
    with pytest.raises(LocalProtocolError):
        client.call("f", b"")
    assert client.hung_up


def test_an_exchange_has_no_session() -> None:
    with pytest.raises(LocalProtocolError, match="session"):
        Connection("server", exchange=True, session_id=b"s", token=b"t" * 16)


# --- streams -------------------------------------------------------------------------------------


def test_bytes_there_and_back_without_a_grant() -> None:
    both = Both()
    ours, theirs = both.call((K.BYTES, None))
    (upload,) = ours.declared
    (arriving,) = theirs.declared
    assert not both.client.said_all
    (download,) = both.answer(theirs, (K.BYTES, None))
    both.deliver()
    [resolved] = [event for event in both.take()[0] if isinstance(event, CallResolved)]
    (reading,) = resolved.declared
    for _ in range(40):
        both.client.send_chunk(upload, bytes(60_000))
        both.deliver()
        [chunk] = [event for event in both.take()[1] if isinstance(event, ChunkReceived)]
        both.server.consumed(arriving, len(chunk.payload))
        both.server.send_chunk(download, chunk.payload)
        both.deliver()
        [chunk] = [event for event in both.take()[0] if isinstance(event, ChunkReceived)]
        both.client.consumed(reading, len(chunk.payload))
    both.client.end(upload)
    both.deliver()
    assert both.client.said_all
    assert both.server.heard_all
    assert both.server.state is ConnectionState.OPEN
    both.server.end(download)
    both.deliver()
    both.assert_ended()
    assert not any(isinstance(frame, f.Grant) for frame in both.up + both.down)


def test_what_arrived_before_the_close_is_still_consumed() -> None:
    both = Both()
    ours, theirs = both.call()
    (items,) = both.answer(theirs, (K.ITEMS, None))
    for _ in range(3):
        both.server.send_item(items, b"i")
    both.server.end(items, b"v")
    both.deliver()
    client, _ = both.take()
    (reading,) = declared(client, CallResolved)
    assert names(client)[-2:] == ["ItemsReceived", "StreamEnded"]
    assert both.server.state is ConnectionState.CLOSED
    assert both.client.state is ConnectionState.OPEN
    both.client.receive_data(batch(f.Ping(1)), 0.0)
    both.client.receive_eof(1.0)
    both.client.handle_timeout(500.0)
    assert both.client.events_received() == []
    both.client.consumed(reading, 3)
    assert both.client.events_received() == [
        CallOver(ours, 0, b""),
        ConnectionClosed(0, "", by_peer=True),
    ]
    both.assert_ended()


def test_a_lifetime_also_bounds_what_is_only_consumed_slowly() -> None:
    both = Both()
    both.client.call("f", b"", lifetime=5.0, now=0.0)
    both.deliver()
    [received] = [event for event in both.take()[1] if isinstance(event, CallReceived)]
    (items,) = both.answer(received.call, (K.ITEMS, None))
    both.server.send_item(items, b"i")
    both.server.end(items)
    both.deliver()
    both.take()
    both.wait(6.0)
    client, _ = both.take()
    assert names(client) == ["CallOver", "StreamReset", "ConnectionClosed"]
    assert isinstance(client[0], CallOver)
    assert client[0].code == C.DEADLINE_EXCEEDED
    both.assert_ended()


def test_leaving_ends_what_is_still_to_consume() -> None:
    both = Both()
    _, theirs = both.call()
    (items,) = both.answer(theirs, (K.ITEMS, None))
    both.server.send_item(items, b"i")
    both.server.end(items)
    both.deliver()
    both.take()
    both.client.close()
    assert names(both.take()[0]) == ["CallOver", "StreamReset", "ConnectionClosed"]
    both.assert_ended()


def test_a_close_before_all_has_come_is_a_loss() -> None:
    both = Both()
    _, theirs = both.call()
    both.answer(theirs, (K.ITEMS, None))
    both.deliver()
    both.take()
    both.client.receive_data(batch(f.Close(0)), 0.0)
    client = both.client.events_received()
    assert [
        event.code for event in client if isinstance(event, (CallOver, StreamReset, ConnectionClosed))
    ] == ([C.SESSION_LOST] * 3)


def test_a_close_before_the_answer_is_a_loss() -> None:
    both = Both()
    both.call()
    both.client.receive_data(batch(f.Close(0)), 0.0)
    [rejected] = [event for event in both.client.events_received() if isinstance(event, CallRejected)]
    assert rejected.code == C.SESSION_LOST


def test_a_close_without_a_call_ends_the_exchange() -> None:
    client = Connection("client", exchange=True)
    client.receive_data(batch(hello(), f.Close(0)), 0.0)
    assert names(client.events_received()) == ["HelloReceived", "ConnectionClosed"]


def test_promises_settle_in_both_directions() -> None:
    both = Both()
    ours, theirs = both.call((K.PROMISE, None), (K.PROMISE, None))
    first, second = ours.declared
    both.client.resolve(first, b"1")
    both.deliver()
    (one, two) = both.answer(theirs, (K.PROMISE, None), (K.PROMISE, None))
    both.server.resolve(one, b"x")
    both.client.reject(second, C.ABORTED)
    both.deliver()
    assert both.client.said_all
    client, server = both.take()
    assert names(server) == ["StreamEnded", "StreamFailed"]
    assert "StreamEnded" in names(client)
    both.server.resolve(two, b"y", [(K.ITEMS, None)])
    both.deliver()
    (late,) = declared(both.take()[0], StreamEnded)
    both.client.stop(late)
    assert both.client.hung_up
    both.server.receive_eof(0.0)
    both.assert_ended()


# --- what an exchange cannot carry ---------------------------------------------------------------

UNSUITABLE = [
    [(K.FUNCTION, 1)],
    [(K.CHANNEL, 1)],
    [(K.ITEMS, None), (K.BYTES, None)],
    [(K.PROMISE, None), (K.FUNCTION, 1)],
]


@pytest.mark.parametrize("kinds", UNSUITABLE)
def test_unsuitable_arguments_fail_before_anything_leaves(kinds: list[tuple[K, int | None]]) -> None:
    client = Connection("client", exchange=True)
    with pytest.raises(TransportUnsuitable) as refused:
        client.call("f", b"", kinds)
    assert refused.value.needed == ("websocket",)
    assert refused.value.refused_by is client
    client.call("f", b"")


@pytest.mark.parametrize("kinds", UNSUITABLE)
def test_an_unsuitable_answer_can_still_be_refused(kinds: list[tuple[K, int | None]]) -> None:
    both = Both()
    _, theirs = both.call()
    with pytest.raises(TransportUnsuitable):
        both.server.resolve(theirs, b"", kinds)
    both.server.reject(theirs, C.TRANSPORT_UNSUITABLE)
    both.server.finish(theirs)
    both.deliver()
    both.assert_ended()


def test_an_unsuitable_item_disturbs_nothing_else() -> None:
    both = Both()
    _, theirs = both.call()
    items, promise = both.answer(theirs, (K.ITEMS, None), (K.PROMISE, None))
    with pytest.raises(TransportUnsuitable):
        both.server.send_item(items, b"i", [(K.ITEMS, None)])
    both.server.send_item(items, b"i", [(K.PROMISE, None)])
    both.server.reject(items, C.TRANSPORT_UNSUITABLE)
    both.server.resolve(promise, b"v")
    both.deliver()
    client, _ = both.take()
    assert names(client) == ["CallResolved", "ItemReceived", "StreamFailed", "StreamEnded"]
    (late,) = declared(client, ItemReceived)
    both.client.consumed(declared(client, CallResolved)[0])
    assert both.client.state is ConnectionState.OPEN
    both.lose()
    assert [event.code for event in both.take()[0] if isinstance(event, StreamReset) and event.stream is late]
    both.assert_ended()


ARRIVING = [
    [f.Call(0, "f", 0, 0, b"", (f.Declaration(1, K.FUNCTION, 1),))],
    [f.Call(0, "f", 0, 0, b"", (f.Declaration(1, K.CHANNEL, 1),))],
    [f.Call(0, "f", 0, 0, b"", (f.Declaration(1, K.ITEMS), f.Declaration(2, K.BYTES)))],
    [f.Call(0, "f", 0, 0, b""), f.Call(1, "f", 0, 0, b"")],
    [
        f.Call(0, "f", 0, 0, b"", (f.Declaration(1, K.PROMISE), f.Declaration(2, K.PROMISE))),
        f.End(1, 1, 5000, b"x"),
        f.End(2, 1, 5000, b"x"),
    ],
]


@pytest.mark.parametrize("frames", ARRIVING)
def test_what_an_exchange_cannot_carry_closes_it(frames: list[f.Frame]) -> None:
    server = Connection("server", exchange=True)
    server.receive_data(batch(hello(), *frames), 0.0)
    last = sent(server)[-1]
    assert isinstance(last, f.Close)
    assert last.code == C.INVALID_STATE


def test_the_server_cannot_call_the_client() -> None:
    both = Both()
    both.call()
    both.client.receive_data(batch(f.Call(0, "g", 0, 0, b"")), 0.0)
    assert both.client.hung_up
    [closed] = [event for event in both.client.events_received() if isinstance(event, ConnectionClosed)]
    assert closed.code == C.INVALID_STATE


def test_a_call_on_what_was_never_opened_closes_it() -> None:
    server = Connection("server", exchange=True)
    server.receive_data(batch(hello(), f.Call(0, -1, 0, 0, b"")), 0.0)
    last = sent(server)[-1]
    assert isinstance(last, f.Close)
    assert last.code == C.UNKNOWN_STREAM


# --- large payloads ------------------------------------------------------------------------------


def test_one_payload_leaves_whole_before_the_next_begins() -> None:
    both = Both()
    _, theirs = both.call()
    one, two = both.answer(theirs, (K.PROMISE, None), (K.PROMISE, None))
    both.server.resolve(one, bytes(200_000))
    both.server.resolve(two, bytes(200_000))
    both.deliver()
    order = [frame.stream for frame in both.down if isinstance(frame, (f.End, f.Fragment))]
    assert order == [-1, 0, 0, 0, 0, 1, 1, 1, 1]
    assert [event.payload for event in both.take()[0] if isinstance(event, StreamEnded)] == [
        bytes(200_000)
    ] * 2
    both.assert_ended()


def test_large_arguments_and_a_large_answer() -> None:
    client = Connection("client", exchange=True)
    client.call("f", bytes(1 << 20))
    client.data_to_send(1)
    assert not client.said_all
    both = Both()
    _, theirs = both.call(payload=bytes(1 << 20))
    both.server.resolve(theirs, bytes(1 << 20))
    both.server.finish(theirs)
    both.deliver()
    [resolved] = [event for event in both.take()[0] if isinstance(event, CallResolved)]
    assert len(resolved.payload) == 1 << 20
    both.assert_ended()


def test_a_payload_that_was_given_up_makes_room_for_another() -> None:
    server = Connection("server", exchange=True)
    first = f.Call(0, "f", 0, 0, b"", (f.Declaration(1, K.PROMISE), f.Declaration(2, K.PROMISE)))
    server.receive_data(batch(hello(), first, f.End(1, 1, 5000, b"x"), f.Reset(1, 0)), 0.0)
    server.receive_data(batch(f.End(2, 1, 5, b"x"), f.Fragment(2, 0, b"xxxx")), 0.0)
    assert names(server.events_received())[-2:] == ["StreamReset", "StreamEnded"]


# --- backpressure --------------------------------------------------------------------------------


def test_reading_stops_at_the_mark_and_goes_on_behind_it() -> None:
    both = Both()
    assert both.client.readable
    _, theirs = both.call()
    (download,) = both.answer(theirs, (K.BYTES, None))
    produced = 0
    while both.server.writable(download):
        both.server.send_chunk(download, bytes(32_768))
        produced += 32_768
        if both.client.readable:
            both.deliver()
    assert produced == 65_536 + 131_072  # what the client holds, and what waits in the core of the server
    (reading,) = declared(both.take()[0], CallResolved)
    assert not both.client.readable
    both.client.consumed(reading, 1)
    assert both.client.readable
    both.server.end(download)
    both.deliver()
    assert both.client.readable  # nothing more will come


def test_reading_goes_on_inside_an_item_larger_than_the_mark() -> None:
    both = Both()
    _, theirs = both.call()
    (items,) = both.answer(theirs, (K.ITEMS, None))
    both.server.send_item(items, bytes(300_000))
    while batches := both.server.data_to_send(1):
        for each in batches:
            assert both.client.readable
            both.client.receive_data(each, 0.0)
    assert names(both.take()[0])[-1] == "ItemReceived"
    assert not both.client.readable


# --- giving up -----------------------------------------------------------------------------------


def test_a_cancelled_call_hangs_up_and_nobody_knows_its_outcome() -> None:
    both = Both()
    ours, theirs = both.call()
    both.client.stop(ours, C.CANCELLED, b"why")
    assert both.client.hung_up
    assert both.client.data_to_send() == []
    client, _ = both.take()
    assert client == [
        CallRejected(ours, C.OUTCOME_UNKNOWN, b""),
        CallOver(ours, C.CANCELLED, b"why"),
        ConnectionClosed(0, "", by_peer=False),
    ]
    both.lose()
    server = both.take()[1]
    assert names(server) == ["CallStopped", "CallOver", "ConnectionClosed"]
    assert isinstance(server[0], CallStopped)
    assert server[0].code == C.CANCELLED
    both.server.finish(theirs)
    both.assert_ended()


def test_a_call_cancelled_before_it_left_has_not_started() -> None:
    client = Connection("client", exchange=True)
    call = client.call("f", b"")
    client.stop(call)
    client.stop(call)
    events = client.events_received()
    assert events[0] == CallRejected(call, C.NOT_STARTED, b"")
    assert client.hung_up
    assert client.data_to_send() == []


def test_an_answered_call_is_closed_by_hanging_up() -> None:
    both = Both()
    ours, theirs = both.call()
    both.answer(theirs, (K.ITEMS, None))
    both.deliver()
    both.client.stop(ours)
    assert both.client.hung_up
    both.lose()
    assert names(both.take()[1]) == ["CallOver", "StreamStopped", "ConnectionClosed"]
    both.assert_ended()


def test_a_stop_of_one_stream_leaves_its_sibling_and_the_end_hangs_up() -> None:
    both = Both()
    _, theirs = both.call()
    items, promise = both.answer(theirs, (K.ITEMS, None), (K.PROMISE, None))
    both.server.send_item(items, b"i")
    both.deliver()
    reading, _ = declared(both.take()[0], CallResolved)
    both.client.stop(reading)
    assert both.client.data_to_send() == []
    both.server.send_item(items, b"i")
    both.server.resolve(promise, b"v")
    both.deliver()
    client, server = both.take()
    assert "StreamEnded" in names(client)
    assert server == []  # it has not heard of the stop
    assert both.client.hung_up


def test_while_the_request_is_open_a_stop_leaves() -> None:
    both = Both()
    ours, theirs = both.call((K.ITEMS, None))
    (upload,) = ours.declared
    (items,) = both.answer(theirs, (K.ITEMS, None))
    both.deliver()
    (reading,) = declared(both.take()[0], CallResolved)
    both.client.stop(reading)
    both.deliver()
    assert [event.stream for event in both.take()[1] if isinstance(event, StreamStopped)] == [items]
    both.client.end(upload)
    both.deliver()
    both.assert_ended()
    assert not both.client.hung_up


def test_a_frame_behind_the_one_that_ended_the_exchange_is_ignored() -> None:
    both = Both()
    _, theirs = both.call((K.PROMISE, None))
    both.answer(theirs, (K.ITEMS, None))
    both.deliver()
    both.server.receive_data(batch(f.End(1, 0, 1, b"v"), f.Stop(-1, 0), f.Ping(3)), 0.0)
    both.deliver()
    server = both.take()[1]
    assert names(server)[-1] == "ConnectionClosed"
    assert isinstance(server[-1], ConnectionClosed)
    assert server[-1].code == 0


def test_the_server_stops_an_upload_and_answers() -> None:
    both = Both()
    ours, theirs = both.call((K.BYTES, None))
    (upload,) = ours.declared
    (arriving,) = theirs.declared
    both.server.stop(arriving)
    both.answer(theirs)
    both.deliver()
    assert names(both.take()[0])[:2] == ["StreamStopped", "CallResolved"]
    both.assert_ended()
    assert not both.client.writable(upload)


def test_a_deadline_is_the_clients_own_also_before_the_hello() -> None:
    client = Connection("client", exchange=True)
    call = client.call("f", b"", deadline=2.0, now=0.0)
    client.data_to_send()
    assert client.next_timeout() == 2.0
    client.handle_timeout(2.0)
    events = client.events_received()
    assert events[:2] == [
        CallRejected(call, C.DEADLINE_EXCEEDED, b""),
        CallOver(call, C.DEADLINE_EXCEEDED, b""),
    ]
    assert client.hung_up
    assert client.next_timeout() is None


def test_an_answer_that_is_too_large_is_given_up() -> None:
    both = Both(client=Limits(message_bytes=1024))
    ours, _ = both.call()
    both.client.receive_data(batch(f.End(-1, 0, 1025, bytes(1025)), f.Close(0)), 0.0)
    events = both.client.events_received()
    assert events[0] == CallRejected(ours, C.MESSAGE_TOO_LARGE, b"")
    assert names(events) == ["CallRejected", "CallOver", "ConnectionClosed"]
    assert both.client.hung_up


def test_a_stream_that_is_not_understood_is_given_up_alone() -> None:
    both = Both()
    _, theirs = both.call()
    both.answer(theirs, (K.ITEMS, None), (K.PROMISE, None))
    both.deliver()
    both.take()
    both.client.receive_data(batch(f.Items(0, 0, 1, b"\x81\x00", {1: 0})), 0.0)
    assert names(both.client.events_received()) == ["StreamReset"]
    both.client.receive_data(batch(f.End(1, 0, 1, b"v")), 0.0)
    assert names(both.client.events_received()) == ["StreamEnded", "CallOver", "ConnectionClosed"]
    assert both.client.hung_up


def test_a_lost_transport_is_a_loss_to_the_client() -> None:
    both = Both()
    both.call()
    both.lose()
    client, server = both.take()
    assert [event.code for event in client if isinstance(event, CallRejected)] == [C.SESSION_LOST]
    assert [event.code for event in server if isinstance(event, CallStopped)] == [C.CANCELLED]


def test_a_server_that_leaves_says_so() -> None:
    both = Both()
    _, theirs = both.call()
    both.server.close(C.GOING_AWAY)
    both.server.finish(theirs)
    both.deliver()
    [rejected] = [event for event in both.take()[0] if isinstance(event, CallRejected)]
    assert rejected.code == C.GOING_AWAY
    both.assert_ended()


# --- the end of the request ----------------------------------------------------------------------

BEGUN: list[tuple[f.Frame, ...]] = [
    (),
    (hello(),),
    (hello(), f.Call(0, "f", 1, 5, b"x")),
    (hello(), f.Call(0, "f", 0, 0, b"", (f.Declaration(1, K.BYTES),))),
    (hello(), f.Call(0, "f", 0, 0, b"", (f.Declaration(1, K.PROMISE),)), f.End(1, 1, 5, b"x")),
]


@pytest.mark.parametrize("frames", BEGUN)
def test_a_request_that_ends_too_early_closes_the_exchange(frames: tuple[f.Frame, ...]) -> None:
    server = Connection("server", exchange=True)
    if frames:
        server.receive_data(batch(*frames), 0.0)
    server.receive_end(0.0)
    last = sent(server)[-1]
    assert isinstance(last, f.Close)
    assert last.code == C.INVALID_STATE
    server.receive_end(1.0)
    assert sent(server) == []


def test_a_stopped_stream_is_not_missing() -> None:
    both = Both()
    _, theirs = both.call((K.BYTES, None), (K.PROMISE, None))
    both.server.stop(theirs.declared[0])
    both.server.receive_data(batch(f.End(2, 0, 0, b"")), 0.0)
    both.server.receive_end(0.0)
    assert both.server.state is ConnectionState.OPEN


# --- signs of life -------------------------------------------------------------------------------


def silence(both: Both) -> tuple[list[str], list[str]]:
    """What leaves up and down in forty seconds in which nobody does anything."""
    both.deliver()
    both.up.clear()
    both.down.clear()
    both.wait(40.0)
    return names(both.up), names(both.down)  # type: ignore[arg-type]  # of frames too


def test_who_may_speak_pings_and_nobody_answers() -> None:
    both = Both()
    both.call()
    assert silence(both) == ([], ["Ping", "Ping"])
    assert both.server.state is both.client.state is ConnectionState.OPEN
    both = Both()
    both.call((K.PROMISE, None))
    assert silence(both) == (["Ping", "Ping"], ["Ping", "Ping"])
    assert both.server.state is both.client.state is ConnectionState.OPEN


def test_pings_do_not_pile_up_where_nothing_leaves() -> None:
    both = Both()
    both.call()
    for now in range(1, 200):
        both.server.handle_timeout(float(now))
    assert [type(frame).__name__ for frame in sent(both.server)] == ["Ping"]


@pytest.mark.parametrize("side", ["client", "server"])
def test_silence_where_somebody_should_speak_ends_the_exchange(side: str) -> None:
    both = Both()
    both.call((K.PROMISE, None))
    silent = both.client if side == "client" else both.server
    now = 0.0
    while silent.state is ConnectionState.OPEN:
        now = silent.next_timeout() or 0.0
        silent.handle_timeout(now)
    assert now == 30.0
    closed = [event for event in silent.events_received() if isinstance(event, ConnectionClosed)]
    if side == "client":
        assert closed[0].code == C.IDLE_TIMEOUT
    else:
        last = sent(silent)[-1]
        assert isinstance(last, f.Close)
        assert last.code == C.IDLE_TIMEOUT


def test_silence_does_not_count_while_nothing_is_read() -> None:
    both = Both()
    _, theirs = both.call()
    (download,) = both.answer(theirs, (K.BYTES, None))
    both.server.send_chunk(download, bytes(100_000))
    both.deliver()
    assert not both.client.readable
    for now in (30.0, 60.0, 90.0):
        both.client.handle_timeout(now)
    assert both.client.state is ConnectionState.OPEN
    assert both.client.next_timeout() == 120.0


def test_a_hello_that_never_comes() -> None:
    client = Connection("client", exchange=True)
    call = client.call("f", b"")
    client.data_to_send()
    client.handle_timeout(10.0)
    events = client.events_received()
    assert events[0] == CallRejected(call, C.HELLO_TIMEOUT, b"")
    assert client.hung_up
    server = Connection("server", exchange=True)
    assert server.next_timeout() == 10.0
    server.handle_timeout(10.0)
    last = sent(server)[-1]
    assert isinstance(last, f.Close)
    assert last.code == C.HELLO_TIMEOUT


def test_one_stream_each_way() -> None:
    both = Both()
    ours, theirs = both.call((K.ITEMS, None))
    (upload,) = ours.declared
    (download,) = both.answer(theirs, (K.ITEMS, None))
    both.client.send_item(upload, b"u")
    both.server.send_item(download, b"d")
    both.client.end(upload)
    both.server.end(download)
    both.deliver()
    client, server = both.take()
    assert [event.payload for event in server if isinstance(event, ItemsReceived)] == [b"\x81u"]
    assert [event.payload for event in client if isinstance(event, ItemsReceived)] == [b"\x81d"]
    both.server.consumed(theirs.declared[0])
    both.client.consumed(declared(client, CallResolved)[0])
    both.deliver()
    both.assert_ended()
