"""Exchanges: one call over one HTTP request, its life and what it carries (TW-SES-070 to TW-SES-078)."""

from __future__ import annotations

import pytest

from telewire.core.connection import Connection
from telewire.core.events import (
    CallOver,
    CallReceived,
    CallRejected,
    CallResolved,
    ChunkReceived,
    ConnectionClosed,
    ItemReceived,
    StreamEnded,
    StreamReset,
)
from telewire.core.flow import Pool
from telewire.core.states import ConnectionState
from telewire.errors import LocalProtocolError, ResourceExhausted, TransportUnsuitable
from telewire.limits import Limits
from telewire.wire import frames as f
from tests.core.dialogue import C, K, batch, frames_of, hello, names, sent
from tests.core.exchange import Both, declared

NO_CREDIT = (1 << 53) - 1


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


def test_a_server_says_nothing_before_it_has_heard_a_hello() -> None:
    server = Connection("server", exchange=True)
    assert sent(server) == []
    server.handle_timeout(server.limits.idle_seconds)
    assert [type(frame) for frame in sent(server)] == [f.Close]
    server = Connection("server", exchange=True, limits=Limits(idle_seconds=1, hello_seconds=10))
    server.handle_timeout(1)
    assert sent(server) == []
    server.receive_data(batch(hello()), 2.0)
    assert [type(frame) for frame in sent(server)] == [f.Hello]


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


def test_a_server_takes_what_is_sent_before_it_has_stated_its_limits() -> None:
    """TW-SES-071: the client goes by the defaults until then, so they are the least in an exchange."""
    small = Limits(fragment_bytes=1024, batch_bytes=2048, batch_frames=1, message_bytes=1 << 21)
    both = Both(server=small)
    ours = both.client.call("f", bytes(1 << 20), [(K.BYTES, None)])
    both.client.send_chunk(ours.declared[0], bytes(200_000))
    # All of it leaves without a word of the server.
    batches = both.client.data_to_send(1 << 22)
    assert max(map(len, batches)) > 190_000
    for each in batches:
        both.server.receive_data(each, 0.0)
    [stated] = [frame for frame in sent(both.server) if isinstance(frame, f.Hello)]
    assert (stated.limits[0], stated.limits[1], stated.limits[14]) == (65_536, 262_144, 16_384)
    assert stated.limits[2] == 1 << 21
    received = both.server.events_received()
    assert names(received) == ["HelloReceived", "CallReceived", *["ChunkReceived"] * 4]


def test_sizes_stated_earlier_hold_no_more_where_they_were_larger() -> None:
    """TW-SES-071: another worker, or the same after a restart, may take no more than the defaults."""
    large = Limits(fragment_bytes=1 << 20, batch_bytes=1 << 21, message_bytes=1 << 25)
    client = Connection("client", exchange=True, peer_limits=large)
    client.call("f", bytes((1 << 24) + 1))
    assert max(map(len, client.data_to_send(1 << 26))) <= Limits().batch_bytes


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


def test_large_items_one_after_the_other() -> None:
    both = Both()
    ours, theirs = both.call((K.ITEMS, None))
    for _ in range(3):
        both.client.send_item(ours.declared[0], bytes(100_000))
        both.deliver()
        assert names(both.take()[1]) == ["ItemReceived"]
        both.server.consumed(theirs.declared[0])


def test_a_payload_that_was_given_up_makes_room_for_another() -> None:
    server = Connection("server", exchange=True)
    first = f.Call(0, "f", 0, 0, b"", (f.Declaration(1, K.PROMISE), f.Declaration(2, K.PROMISE)))
    server.receive_data(batch(hello(), first, f.End(1, 1, 5000, b"x"), f.Reset(1, 0)), 0.0)
    server.receive_data(batch(f.End(2, 1, 5, b"x"), f.Fragment(2, 0, b"xxxx")), 0.0)
    assert names(server.events_received())[-2:] == ["StreamReset", "StreamEnded"]


def test_what_the_pool_has_no_room_for_is_not_read_until_it_has() -> None:
    told: list[bool] = []
    pool = Pool(500_000)
    pool.on_room = lambda: told.append(True)
    first = Both(pool=pool)
    first.client.call("f", bytes(400_000))
    for each in first.client.data_to_send(1) + first.client.data_to_send(1):
        first.server.receive_data(each, 0.0)
    assert first.server.readable
    second = Both(pool=pool)
    second.client.call("f", bytes(400_000))
    for each in second.client.data_to_send(1) + second.client.data_to_send(1):
        second.server.receive_data(each, 0.0)
    assert not second.server.readable
    second.server.grant_again()
    assert not second.server.readable
    first.deliver()
    assert "CallReceived" in names(first.take()[1])
    assert told == [True]
    second.server.grant_again()
    assert second.server.readable
    second.deliver()
    assert "CallReceived" in names(second.take()[1])
    assert pool.left == 500_000


def test_what_waits_for_room_and_is_given_up_waits_no_longer() -> None:
    pool = Pool(100)
    server = Connection("server", exchange=True, pool=pool)
    first = f.Call(0, "f", 0, 0, b"", (f.Declaration(1, K.PROMISE),))
    server.receive_data(batch(hello(), first, f.End(1, 1, 5000, b"x")), 0.0)
    assert not server.readable
    server.receive_data(batch(f.Reset(1, 0)), 0.0)
    assert server.readable
    assert pool.left == 100


def test_consuming_returns_the_room_of_what_is_whole_only() -> None:
    pool = Pool(1_000_000)
    both = Both(pool=pool)
    ours, theirs = both.call((K.ITEMS, None))
    (upload,) = ours.declared
    (reading,) = theirs.declared
    both.client.send_item(upload, bytes(100_000))
    both.deliver()
    assert pool.left < 1_000_000
    both.server.consumed(reading)
    assert pool.left == 1_000_000
    both.client.send_item(upload, b"small")
    both.client.send_item(upload, bytes(100_000))
    for each in both.client.data_to_send(1) + both.client.data_to_send(1):
        both.server.receive_data(each, 0.0)
    assert pool.left < 1_000_000
    both.server.consumed(reading)
    assert pool.left < 1_000_000
    both.deliver()
    both.server.consumed(reading)
    assert pool.left == 1_000_000


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
