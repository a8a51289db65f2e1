"""connection: opening, inputs, outputs, time and closing, in every state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from telewire.core.connection import Connection
from telewire.core.events import (
    CallOver,
    CallReceived,
    CallRejected,
    CallStopped,
    ConnectionClosed,
    GoAwayReceived,
    HelloReceived,
    StreamStopped,
)
from telewire.core.ids import LAST
from telewire.core.states import ConnectionState
from telewire.errors import LocalProtocolError
from telewire.limits import ADVERTISED, Limits
from telewire.testing.pair import Pair
from telewire.wire import frames as f
from telewire.wire.codec import decode_batch, encode_batch, encode_frame
from tests.core.dialogue import (
    C,
    K,
    Peer,
    assert_empty,
    batch,
    frames_of,
    hello,
    names,
    refusal,
    sent,
    settle,
)


def server(limits: Limits | None = None) -> Connection:
    return Connection("server", limits=limits, session_id=b"s", token=b"t")


# --- opening -------------------------------------------------------------------------------------


def test_the_server_speaks_first() -> None:
    limits = Limits(open_calls=7)
    connection = server(limits)
    [frame] = sent(connection)
    assert isinstance(frame, f.Hello)
    assert (frame.version_min, frame.version_max, frame.features) == (1, 1, (1,))
    assert (frame.session, frame.token) == (b"s", b"t")
    assert frame.limits == {number: getattr(limits, name) for number, name in ADVERTISED.items()}
    assert sent(Connection("client")) == []


def test_the_client_answers_the_hello_and_may_then_call() -> None:
    client, peer = Connection("client"), server(Limits(open_calls=3))
    with pytest.raises(LocalProtocolError, match="needs an open conversation"):
        client.call("f", b"")
    for each in peer.data_to_send():
        client.receive_data(each, 0.0)
    assert client.has_events
    [event] = client.events_received()
    assert isinstance(event, HelloReceived)
    assert (event.version, event.session, event.limits.open_calls) == (1, b"s", 3)
    assert not client.has_events
    [answer] = sent(client)
    assert isinstance(answer, f.Hello)
    assert (answer.session, answer.token) == (None, None)
    assert client.state is ConnectionState.OPEN


def test_a_hello_may_bring_what_we_do_not_know() -> None:
    connection = server()
    limits = hello().limits | {64: 1, 65280: 5}
    connection.receive_data(batch(hello(limits=limits, features=(9, 65280), extensions={4: 1})), 0.0)
    assert connection.state is ConnectionState.OPEN


def test_a_limit_that_is_absent_has_its_default() -> None:
    connection = server()
    connection.receive_data(batch(hello(limits={4: 9})), 0.0)
    assert connection.peer_limits == replace(Limits(), open_calls=9)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (f.Ping(1), C.INVALID_STATE),
        (hello(version_min=2, version_max=3), C.VERSION_MISMATCH),
        (hello(version_min=0, version_max=0), C.VERSION_MISMATCH),
        (hello(session=b"x", token=b"y"), C.INVALID_FRAME),
        (hello(extensions={3: 0}), C.UNSUPPORTED),
        (hello(limits={0: 1023}), C.INVALID_FRAME),
        (hello(limits={1: 65536 + 1023}), C.INVALID_FRAME),
        (hello(limits={2: 1023}), C.INVALID_FRAME),
        (hello(limits={3: 1023}), C.INVALID_FRAME),
        (hello(limits={14: 0}), C.INVALID_FRAME),
        (hello(limits={15: 0}), C.INVALID_FRAME),
        (hello(limits={3: 1024, 15: 257}), C.INVALID_FRAME),
    ],
)
def test_a_wrong_beginning(frame: f.Frame, code: C) -> None:
    connection = server()
    sent(connection)
    connection.receive_data(batch(frame), 0.0)
    [close] = sent(connection)
    assert isinstance(close, f.Close)
    assert close.code == code
    [event] = connection.events_received()
    assert isinstance(event, ConnectionClosed)
    assert event.error is not None


def test_the_least_limits_are_taken() -> None:
    least = {
        0: 1024,
        1: 2048,
        2: 1024,
        3: 1024,
        14: 1,
        15: 256,
        4: 0,
        5: 0,
        6: 0,
        7: 0,
        8: 0,
        11: 0,
        12: 0,
        13: 0,
    }
    connection = server()
    connection.receive_data(batch(hello(limits=least)), 0.0)
    assert connection.state is ConnectionState.OPEN


def test_a_second_hello_is_refused() -> None:
    assert refusal(Peer(), hello()) is C.INVALID_STATE


@pytest.mark.parametrize("frame", [f.Resume(b"s", b"t", 1, 0), f.Resumed(1, 0), f.Ack(0), f.Position(0)])
def test_frames_of_features_that_are_not_in_effect_are_refused(frame: f.Frame) -> None:
    assert refusal(Peer(), frame) is C.INVALID_STATE


@pytest.mark.parametrize(
    ("side", "changes", "match"),
    [
        ("client", {"session_id": b"s"}, "no session_id"),
        ("client", {"token": b"t"}, "no session_id"),
        ("server", {"token": b"t"}, "both session_id and token"),
        ("server", {"session_id": b"s" * 65, "token": b"t"}, "at most 64"),
        ("server", {"session_id": b"s", "token": b"t" * 65}, "at most 64"),
        ("client", {"limits": Limits(fragment_bytes=10)}, "leave no room"),
        (
            "client",
            {"limits": Limits(message_bytes=1 << 20, session_budget=(1 << 21) - 1)},
            "half of session_budget",
        ),
    ],
)
def test_what_the_application_may_not_choose(side: str, changes: dict[str, object], match: str) -> None:
    with pytest.raises(LocalProtocolError, match=match):
        Connection(side, **changes)  # type: ignore[arg-type]


def test_a_server_without_sessions_names_none() -> None:
    [frame] = sent(Connection("server"))
    assert isinstance(frame, f.Hello)
    assert (frame.session, frame.token) == (None, None)


def test_no_hello_in_time() -> None:
    connection = Connection("server", now=100.0)
    assert connection.next_timeout() == 110.0
    connection.handle_timeout(109.9)
    assert connection.state is ConnectionState.OPENING
    connection.handle_timeout(110.0)
    [close] = sent(connection)
    assert isinstance(close, f.Close)
    assert close.code == C.HELLO_TIMEOUT


# --- malformed input -----------------------------------------------------------------------------


def nested(levels: int) -> bytes:
    return b"\x81" * levels + b"\x00"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", C.MALFORMED),
        (b"\x80", C.MALFORMED),
        (b"\xff", C.MALFORMED),
        (nested(10_000), C.NESTING_TOO_DEEP),
        (b"\x9b\x40" + bytes(7), C.BATCH_TOO_LARGE),
        (b"\x81\x86\x10\x00\x61f\x00\x00\x5b\x40" + bytes(7), C.MALFORMED),
        (b"\x81\x83\x04\x01\xa2\x00\x00\x00\x00", C.DUPLICATE_KEY),
        (b"\x81\x82\x04\xc1\x01", C.FORBIDDEN_TAG),
        (b"\x81\x82\x18\x1c\x00", C.INVALID_FRAME),
        (batch(f.Ping(1)) + b"\x00", C.MALFORMED),
        (b"\x00" * (Limits().batch_bytes + 1), C.BATCH_TOO_LARGE),
        (batch(f.Unknown(7)), C.UNSUPPORTED),
        (batch(f.Unknown(65)), C.UNSUPPORTED),
        (batch(f.Unknown(129, 0)), C.UNKNOWN_STREAM),
        (batch(f.Unknown(128, 0)), C.UNKNOWN_STREAM),
        (batch(f.End(5, 0, 0, b"")), C.UNKNOWN_STREAM),
        (batch(f.Grant(-1, 9)), C.UNKNOWN_STREAM),
        (batch(f.Call(0, 7, 0, 0, b"")), C.UNKNOWN_STREAM),
        (batch(f.Pong(1, {1: 0})), C.UNSUPPORTED),
        (batch(f.Ping(1, {65281: 0})), C.UNSUPPORTED),
        (batch(f.GoAway(1, 0, "", {1: 0})), C.UNSUPPORTED),
    ],
)
def test_each_kind_of_nonsense_is_one_close_with_its_code(data: bytes, code: C) -> None:
    peer = Peer()
    peer.core.receive_data(data, 0.0)
    assert peer.closed() is code
    assert_empty(peer.core)


def test_a_batch_that_does_not_decode_has_no_effect_at_all() -> None:
    peer = Peer()
    whole = encode_batch([encode_frame(f.Call(0, "f", 0, 0, b"")), b"\x81\x18\x1c"])
    peer.core.receive_data(whole, 0.0)
    assert names(peer.core.events_received()) == []
    assert peer.closed() is C.INVALID_FRAME


def test_frames_before_a_broken_rule_of_state_have_taken_effect() -> None:
    peer = Peer()
    peer.core.receive_data(
        batch(f.Call(0, "f", 0, 0, b""), f.End(9, 0, 0, b""), f.Call(1, "g", 0, 0, b"")), 0.0
    )
    assert names(peer.core.events_received()) == ["CallReceived", "CallStopped", "CallOver"]
    assert peer.closed() is C.UNKNOWN_STREAM


def test_a_violation_is_closed_ahead_of_everything_queued() -> None:
    peer = Peer()
    peer.core.call("f", b"x" * 100)
    assert refusal(peer, f.End(0, 0, 0, b"")) is C.UNKNOWN_STREAM


def test_the_text_of_a_close_stays_within_the_peers_bounds() -> None:
    peer = Peer(theirs=Limits(reason_bytes=5))
    peer.core.receive_data(b"", 0.0)
    [close] = peer.hear()
    assert isinstance(close, f.Close)
    assert len(close.text) == 5


# --- keepalive -----------------------------------------------------------------------------------


def test_silence_brings_a_ping_and_then_the_end() -> None:
    peer = Peer()
    assert peer.core.next_timeout() == 15.0
    peer.core.handle_timeout(14.9)
    assert peer.hear() == []
    peer.core.handle_timeout(15.0)
    assert peer.hear() == [f.Ping(1)]
    assert peer.core.next_timeout() == 30.0
    peer.core.handle_timeout(20.0)
    assert peer.hear() == []
    peer.core.handle_timeout(30.0)
    assert peer.closed() is C.IDLE_TIMEOUT


def test_any_byte_is_a_sign_of_life() -> None:
    peer = Peer()
    peer.core.handle_timeout(15.0)
    peer.core.receive_bytes(29.0)
    assert peer.core.next_timeout() == 44.0
    peer.core.handle_timeout(44.0)
    assert peer.hear() == [f.Ping(1), f.Ping(2)]
    peer.now = 50.0
    peer.say(f.Pong(77, {4: 0}))
    assert peer.core.next_timeout() == 65.0


def test_a_ping_has_its_pong() -> None:
    peer = Peer()
    peer.say(f.Ping(5), f.Ping(9, {14: "ignored"}))
    assert peer.hear() == [f.Pong(5), f.Pong(9)]


def test_a_quiet_pair_keeps_itself_alive() -> None:
    pair = Pair()
    pair.advance(300.0)
    assert pair.take() == ([], [])
    assert pair.client.state is pair.server.state is ConnectionState.OPEN


# --- closing -------------------------------------------------------------------------------------


def test_a_close_leaves_last_and_settles_both() -> None:
    pair = Pair()
    call = pair.client.call("f", b"a")
    pair.client.close(C.GOING_AWAY, "bye")
    assert pair.client.state is ConnectionState.CLOSING
    with pytest.raises(LocalProtocolError, match="closing"):
        pair.client.call("f", b"")
    frames = sent(pair.client)
    assert [type(frame) for frame in frames] == [f.Call, f.Close]
    assert pair.client.events_received() == [
        CallRejected(call, C.GOING_AWAY, b""),
        CallOver(call, C.GOING_AWAY, b""),
        ConnectionClosed(C.GOING_AWAY, "bye", by_peer=False),
    ]
    pair.server.receive_data(batch(*frames), 0.0)
    events = pair.server.events_received()
    assert isinstance(events[0], CallReceived)
    incoming = events[0].call
    assert events[1:] == [
        CallStopped(incoming, C.GOING_AWAY, b""),
        CallOver(incoming, C.GOING_AWAY, b""),
        ConnectionClosed(C.GOING_AWAY, "bye", by_peer=True),
    ]
    pair.server.finish(incoming)
    assert_empty(pair.client)
    assert_empty(pair.server)
    assert pair.server.data_to_send() == pair.client.data_to_send() == []


def test_what_comes_while_closing_is_ignored() -> None:
    peer = Peer()
    peer.core.close()
    peer.core.close(C.GOING_AWAY)
    assert peer.say(f.Call(0, "f", 0, 0, b""), f.Close(0)) == []
    [close] = peer.hear()
    assert close == f.Close(0)
    assert names(peer.core.events_received()) == ["ConnectionClosed"]
    assert peer.say(f.Ping(1)) == []


def test_a_close_waits_so_long_and_no_longer() -> None:
    peer = Peer()
    peer.core.handle_timeout(3.0)
    peer.core.call("f", b"")
    peer.core.close()
    assert peer.core.next_timeout() == 8.0
    peer.core.handle_timeout(7.9)
    assert peer.core.state is ConnectionState.CLOSING
    peer.core.handle_timeout(8.0)
    assert peer.core.state is ConnectionState.CLOSED
    assert names(peer.core.events_received()) == ["CallRejected", "CallOver", "ConnectionClosed"]
    assert peer.hear() == [f.Close(0)]
    assert peer.hear() == []
    assert_empty(peer.core)


def test_a_close_comes_behind_what_may_leave_within_the_budget() -> None:
    peer = Peer()
    peer.core.call("f", b"")
    peer.core.close()
    assert [type(frame) for frame in peer.hear(1)] == [f.Call]
    assert [type(frame) for frame in peer.hear(1)] == [f.Close]


@pytest.mark.parametrize(
    ("code", "text"), [(C.ABORTED, ""), (C.NONE, "x" * 16385), (C.NONE, "\ud800"), (C.CANCELLED, "")]
)
def test_a_close_that_the_peer_would_refuse(code: C, text: str) -> None:
    peer = Peer()
    with pytest.raises(LocalProtocolError):
        peer.core.close(code, text)
    assert peer.core.state is ConnectionState.OPEN


def test_a_close_before_the_hello() -> None:
    connection = Connection("client")
    connection.close()
    assert sent(connection) == [f.Close(0)]
    other = server()
    other.receive_data(batch(f.Close(C.SESSION_LOST, "no")), 0.0)
    assert other.events_received() == [ConnectionClosed(C.SESSION_LOST, "no", by_peer=True)]
    assert other.data_to_send() == []


# --- the end of the transport --------------------------------------------------------------------


def test_a_lost_transport_settles_everything() -> None:
    peer = Peer()
    mine = peer.core.call("f", b"", [(K.ITEMS, None)])
    theirs = peer.call(0)
    peer.core.receive_eof(1.0)
    events = peer.core.events_received()
    assert names(events) == [
        "CallRejected",
        "CallOver",
        "StreamStopped",
        "CallStopped",
        "CallOver",
        "ConnectionClosed",
    ]
    assert events[0] == CallRejected(mine, C.SESSION_LOST, b"")
    assert events[-1] == ConnectionClosed(C.SESSION_LOST, "The transport is gone.", by_peer=True)
    with pytest.raises(LocalProtocolError, match="already ended"):
        peer.core.resolve(theirs, b"")
    peer.core.finish(theirs)
    assert_empty(peer.core)
    with pytest.raises(LocalProtocolError, match="after receive_eof"):
        peer.core.receive_data(batch(f.Ping(1)), 2.0)
    peer.core.receive_eof(3.0)
    peer.core.handle_timeout(99.0)
    assert peer.core.events_received() == []
    assert peer.core.next_timeout() is None


def test_a_transport_that_is_lost_while_closing() -> None:
    peer = Peer()
    peer.core.close(C.GOING_AWAY)
    peer.core.receive_eof(1.0)
    assert peer.core.events_received() == [ConnectionClosed(C.GOING_AWAY, "", by_peer=False)]
    assert peer.hear() == []


def test_a_transport_that_is_lost_before_the_hello() -> None:
    connection = server()
    connection.receive_eof(0.0)
    assert names(connection.events_received()) == ["ConnectionClosed"]


# --- going away ----------------------------------------------------------------------------------


def test_going_away_lets_open_calls_end_and_refuses_later_ones() -> None:
    pair = Pair()
    first = pair.client.call("f", b"")
    pair.deliver()
    pair.server.go_away(text="restart")
    pair.server.go_away()
    crossing = pair.client.call("f", b"")
    pair.deliver()
    client, server = pair.take()
    assert names(server) == ["CallReceived"]
    assert client == [
        GoAwayReceived(1, C.GOING_AWAY, "restart"),
        CallRejected(crossing, C.GOING_AWAY, b""),
        CallOver(crossing, 0, b""),
    ]
    with pytest.raises(LocalProtocolError, match="goes away") as caught:
        pair.client.call("f", b"")
    assert caught.value.code is C.GOING_AWAY
    event = server[0]
    assert isinstance(event, CallReceived)
    pair.server.resolve(event.call, b"r")
    pair.server.finish(event.call)
    pair.deliver()
    assert names(pair.take()[0]) == ["CallResolved", "CallOver"]
    assert first.over
    # The other direction is not concerned.
    pair.server.call("back", b"")
    pair.deliver()
    assert names(pair.take()[0]) == ["CallReceived"]


def test_calls_that_have_not_left_fail_when_the_peer_goes_away() -> None:
    peer = Peer(theirs=Limits(open_calls=1))
    peer.core.call("f", b"")
    peer.hear()
    waiting = peer.core.call("f", b"", [(K.ITEMS, None)])
    assert peer.say(f.GoAway(1, C.GOING_AWAY)) == [
        GoAwayReceived(1, C.GOING_AWAY, ""),
        CallRejected(waiting, C.GOING_AWAY, b""),
        CallOver(waiting, C.GOING_AWAY, b""),
        StreamStopped(waiting.declared[0], C.GOING_AWAY, b""),
    ]


def test_a_warning_leaves_room_until_its_number_comes() -> None:
    peer = Peer()
    peer.say(f.GoAway((1 << 53) - 1, 0), f.GoAway(2, 0))
    calls = [peer.core.call("f", b"") for _ in range(4)]
    assert len(peer.hear()) == 2
    events = peer.core.events_received()
    assert [event.call for event in events if isinstance(event, CallRejected)] == calls[2:]


def test_a_goaway_never_takes_back_what_it_said() -> None:
    assert refusal(Peer(), f.GoAway(5, 0), f.GoAway(6, 0)) is C.INVALID_STATE


def test_going_away_needs_an_open_conversation() -> None:
    with pytest.raises(LocalProtocolError):
        Connection("client").go_away()
    with pytest.raises(LocalProtocolError):
        Peer().core.go_away(C.ABORTED)


# --- numbers -------------------------------------------------------------------------------------


def test_the_2_to_the_31st_number() -> None:
    pair = Pair()
    for connection, other in ((pair.client, pair.server), (pair.server, pair.client)):
        connection._numbers.next = other._peer_numbers.next = (1 << 31) - 1
    calls = [pair.client.call("f", b"") for _ in range(3)]
    pair.deliver()
    _, events = pair.take()
    assert [call.number for call in calls] == [(1 << 31) - 1, 1 << 31, (1 << 31) + 1]
    for event in events:
        assert isinstance(event, CallReceived)
        pair.server.resolve(event.call, b"")
        pair.server.finish(event.call)
    settle(pair)


def test_a_side_whose_numbers_are_used_up_closes_in_order() -> None:
    peer = Peer()
    peer.core._numbers.next = LAST - 1
    first, second = peer.core.call("f", b""), peer.core.call("f", b"")
    frames = peer.hear()
    assert [type(frame) for frame in frames] == [f.Call, f.Close]
    events = peer.core.events_received()
    assert events[0] == CallRejected(second, C.GOING_AWAY, b"")
    assert isinstance(events[-1], ConnectionClosed)
    assert events[-1].code == C.NONE
    assert first.number == LAST - 1


def test_declarations_use_up_numbers_too() -> None:
    peer = Peer()
    peer.core._numbers.next = LAST - 1
    call = peer.call(0)
    peer.core.resolve(call, b"", [(K.PROMISE, None)])
    assert [type(frame) for frame in peer.hear()] == [f.End, f.Close]


# --- output --------------------------------------------------------------------------------------


def test_everything_of_one_moment_leaves_in_one_batch() -> None:
    pair = Pair()
    for _ in range(64):
        pair.client.call("f", b"0123456789")
    [one] = pair.client.data_to_send()
    assert len(decode_batch(one, Limits())) == 64


def test_the_budget_is_exceeded_by_one_frame_at_most() -> None:
    peer = Peer()
    _, streams = peer.answered(0, (K.ITEMS, None), (K.BYTES, None))
    peer.core.send_item(streams[0], bytes(60_000))
    peer.core.send_chunk(streams[1], bytes(60_000))
    peer.say(*(f.Ping(number) for number in range(4)))
    for budget in (1, 2, 4, 10_000, 20_000):
        sizes = [len(encode_frame(frame)) for frame in peer.hear(budget)]
        assert sum(sizes[:-1]) < budget
        assert sizes


def test_a_budget_of_nothing_still_moves_one_frame() -> None:
    peer = Peer()
    peer.core.call("f", b"")
    assert len(peer.hear(0)) == 1


def test_batches_respect_the_peers_bytes_and_frames() -> None:
    theirs = Limits(fragment_bytes=1024, batch_bytes=2048, batch_frames=3, message_bytes=1 << 16)
    peer = Peer(theirs=theirs)
    for size in (10, 10, 10, 10, 900, 900, 900, 30_000, 0, 0, 0, 0):
        peer.core.call("name", bytes(size))
    batches = peer.core.data_to_send(1 << 20)
    assert len(batches) > 8
    for each in batches:
        assert len(each) <= theirs.batch_bytes
        assert len(decode_batch(each, theirs)) <= theirs.batch_frames
    assert len(frames_of(batches)) > 12
