"""Exchanges: how they are given up, lost, cut short and kept alive (TW-SES-075, TW-SES-076, TW-SES-079)."""

from __future__ import annotations

import pytest

from telewire.core.connection import Connection
from telewire.core.events import (
    CallOver,
    CallRejected,
    CallResolved,
    CallStopped,
    ConnectionClosed,
    ItemsReceived,
    StreamStopped,
)
from telewire.core.states import ConnectionState
from telewire.limits import Limits
from telewire.wire import frames as f
from tests.core.dialogue import C, K, batch, hello, names, sent
from tests.core.exchange import Both, declared

NO_CREDIT = (1 << 53) - 1


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
