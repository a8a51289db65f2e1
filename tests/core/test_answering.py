"""answering: the peer's calls, from their frame to their start, refusal, stop and end."""

from __future__ import annotations

import pytest

from telewire.core.connection import Connection
from telewire.core.events import (
    CallOver,
    CallReceived,
    CallStopped,
    Event,
    ItemsReceived,
    StreamEnded,
    StreamReset,
    StreamStopped,
)
from telewire.core.states import IncomingState
from telewire.core.streams import Call
from telewire.errors import LocalProtocolError
from telewire.limits import Limits
from telewire.testing.pair import Pair
from telewire.wire import frames as f
from tests.core.dialogue import C, K, Peer, assert_empty, names, refusal, settle

TIGHT = Limits(open_calls=1)
DECLARING = f.Call(0, "f", 0, 0, b"", (f.Declaration(1, K.FUNCTION, 1), f.Declaration(2, K.ITEMS)))


def error(number: int, code: C) -> f.Error:
    return f.Error(-1 - number, code, 0, 0, b"")


def started(events: list[Event]) -> list[Call]:
    return [event.call for event in events if isinstance(event, CallReceived)]


def with_reference(kind: K = K.FUNCTION, ours: Limits | None = None) -> tuple[Peer, int]:
    """A peer that holds a function or channel of ours; its reference as the peer names it."""
    peer = Peer(ours)
    peer.answered(0, (kind, 7))
    return peer, -1


# --- life ----------------------------------------------------------------------------------------


def test_a_call_and_its_answer() -> None:
    peer = Peer()
    [event] = peer.say(f.Call(0, "f", 0, 2, b"ab", (), {6: {"a": "b"}}))
    assert isinstance(event, CallReceived)
    assert (event.target, event.payload, event.declared) == ("f", b"ab", ())
    assert (event.metadata, event.deadline, event.lifetime) == ({"a": "b"}, None, None)
    call = event.call
    assert peer.core.resolve(call, b"r") == ()
    assert call.incoming is IncomingState.ANSWERING
    assert peer.hear() == [f.End(-1, 0, 1, b"r")]
    assert peer.core.events_received() == [CallOver(call, 0, b"")]
    peer.core.finish(call)
    with pytest.raises(LocalProtocolError, match="no body"):
        peer.core.finish(call)
    with pytest.raises(LocalProtocolError, match="already ended"):
        peer.core.reject(call, C.INTERNAL)
    assert_empty(peer.core)


def test_an_error_ends_the_call_with_all_it_owns() -> None:
    peer = Peer()
    call = peer.call(0, b"", f.Declaration(1, K.FUNCTION, 4), f.Declaration(2, K.ITEMS))
    peer.core.reject(call, C.ABORTED, b"why")
    assert peer.hear() == [f.Error(-1, C.ABORTED, 0, 3, b"why")]
    assert peer.core.events_received() == [
        CallOver(call, 0, b""),
        StreamReset(call.declared[0], 0, b""),
        StreamReset(call.declared[1], 0, b""),
    ]
    assert peer.say(f.Items(2, 0, 1, b"\x81\x00")) == []
    peer.core.finish(call)
    assert_empty(peer.core)


def test_a_call_keeps_its_place_until_its_body_has_ended() -> None:
    peer = Peer(TIGHT)
    call = peer.call(0)
    peer.core.resolve(call, b"")
    peer.hear()
    assert peer.say(f.Call(1, "f", 0, 0, b"")) == [CallOver(call, 0, b"")]
    assert peer.hear() == [error(1, C.RESOURCE_EXHAUSTED)]
    peer.core.finish(call)
    assert len(peer.say(f.Call(2, "f", 0, 0, b""))) == 1


def test_the_body_may_end_before_the_call_is_over() -> None:
    peer = Peer(TIGHT)
    call = peer.call(0)
    (stream,) = peer.core.resolve(call, b"", [(K.ITEMS, None)])
    peer.core.finish(call)
    assert peer.hear() == [f.End(-1, 0, 0, b"", (f.Declaration(0, K.ITEMS),))]
    assert not call.over
    peer.core.end(stream, b"v")
    assert peer.hear() == [f.End(0, 0, 1, b"v")]
    assert peer.core.events_received() == [CallOver(call, 0, b"")]
    assert_empty(peer.core)


# --- refusing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (f.Call(1, "f", 0, 0, b"", (), {1: 5}), C.UNSUPPORTED),
        (f.Call(1, -1, 0, 0, b""), C.REFERENCE_RELEASED),
        (f.Call(1, "f", 0, 2001, bytes(2001)), C.MESSAGE_TOO_LARGE),
        (f.Call(1, "f", 1, 2001, bytes(1)), C.MESSAGE_TOO_LARGE),
        (f.Call(1, "f", 0, 1001, bytes(1001)), C.RESOURCE_EXHAUSTED),
        (f.Call(1, "f", 0, 0, b"", (), {0: 0}), C.DEADLINE_EXCEEDED),
        (f.Call(1, "f", 0, 0, b"", (), {2: 0}), C.DEADLINE_EXCEEDED),
    ],
)
def test_a_call_is_refused_before_anybody_has_seen_it(frame: f.Call, code: C) -> None:
    peer = Peer(Limits(message_bytes=2000, argument_bytes=1000))
    call, _ = peer.answered(0, (K.FUNCTION, 7))
    peer.core.reset(call)
    peer.hear()
    peer.core.events_received()
    assert peer.say(frame) == []
    assert peer.hear() == [error(1, code)]
    # Its number is spent, and the connection goes on.
    assert peer.say(f.Fragment(1, 0, b"x"), f.Stop(1, 0)) == []
    assert started(peer.say(f.Call(2, "f", 0, 1000, bytes(1000))))


def test_the_first_reason_is_the_one_that_is_told() -> None:
    peer = Peer(Limits(message_bytes=2000, open_calls=0))
    peer.core.go_away()
    peer.hear()
    peer.say(f.Call(0, "f", 0, 2001, bytes(2001), (f.Declaration(1, K.CHANNEL, 1),), {1: 0, 0: 0}))
    assert peer.closed() is C.LIMIT_EXCEEDED
    peer = Peer(Limits(message_bytes=2000, open_calls=1))
    peer.core.go_away()
    peer.hear()
    peer.say(f.Call(0, "f", 0, 2001, bytes(2001), (f.Declaration(1, K.CHANNEL, 1),), {1: 0, 0: 0}))
    assert peer.hear() == [f.Stop(-2, 0), f.Reset(-2, 0), error(0, C.GOING_AWAY)]
    assert_empty(peer.core)


def test_a_flood_of_refused_calls_closes_the_connection() -> None:
    peer = Peer(Limits(open_calls=3))
    calls = [f.Call(number, "f", 0, 0, b"", (), {1: 0}) for number in range(8)]
    peer.say(*calls[:3])
    assert len(peer.hear()) == 3
    peer.say(*calls[3:6])
    assert refusal(peer, calls[6]) is C.LIMIT_EXCEEDED


def test_the_places_and_one_call_more() -> None:
    peer = Peer(Limits(open_calls=3))
    assert len(peer.say(*(f.Call(number, "f", 0, 0, b"") for number in range(4)))) == 3
    assert peer.hear() == [error(3, C.RESOURCE_EXHAUSTED)]


def test_argument_bytes_come_back_when_the_answer_has_left() -> None:
    peer = Peer(Limits(argument_bytes=1000))
    call = peer.call(0, bytes(600))
    peer.say(f.Call(1, "f", 0, 401, bytes(401)))
    assert peer.hear() == [error(1, C.RESOURCE_EXHAUSTED)]
    peer.call(2, bytes(400))
    peer.core.resolve(call, b"")
    assert peer.core._argument_bytes == 1000
    peer.hear()
    assert peer.core._argument_bytes == 400


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([f.Call(1, "f", 0, 0, b"")], C.INVALID_STATE),
        ([f.Call(0, "f", 0, 0, b"", (f.Declaration(2, K.ITEMS),))], C.INVALID_STATE),
        ([f.Call(0, "f", 0, 0, b""), f.Call(0, "f", 0, 0, b"")], C.INVALID_STATE),
        ([f.Call(0, "f", 0, 0, b""), f.Call(1, 0, 0, 0, b"")], C.INVALID_STATE),
        ([f.Call(0, 0, 0, 0, b"")], C.UNKNOWN_STREAM),
        ([DECLARING, f.Call(3, 1, 0, 0, b"")], C.INVALID_STATE),
        ([DECLARING, f.Call(3, 2, 0, 0, b"")], C.INVALID_STATE),
        ([f.Call(0, "f", 0, 0, b""), f.End(0, 0, 0, b"")], C.INVALID_STATE),
        ([f.Call(0, "f", 0, 0, b""), f.Items(0, 0, 1, b"\x81\x00")], C.INVALID_STATE),
        ([f.Call(0, "f", 0, 0, b""), f.Fragment(0, 0, b"x")], C.INVALID_STATE),
        ([f.Call(0, "f", 1, 9, b"x"), f.Items(0, 0, 1, b"\x81\x00")], C.INVALID_STATE),
        ([f.Call(0, "f", 1, 2, b"x"), f.Fragment(0, 0, b"x"), f.Fragment(0, 0, b"x")], C.INVALID_STATE),
        ([f.Call(0, "f", 0, 0, b""), f.Reset(0, 0)], C.INVALID_STATE),
        ([f.Call(0, "f", 0, 1025, bytes(1025))], C.FLOW_CONTROL),
    ],
)
def test_calls_that_break_a_rule(frames: list[f.Frame], code: C) -> None:
    assert refusal(Peer(Limits(stream_window=1024)), *frames) is code


# --- arguments in parts --------------------------------------------------------------------------


def test_large_arguments_are_granted_at_once_and_put_together() -> None:
    peer = Peer()
    assert peer.say(f.Call(0, "f", 1, 100_000, bytes(60_000), (), {0: 500, 4: 1})) == []
    assert peer.hear() == [f.Grant(-1, 100_000)]
    peer.now = 0.2
    [event] = peer.say(f.Fragment(0, 0, bytes(40_000), (f.Declaration(1, K.PROMISE),)))
    assert isinstance(event, CallReceived)
    assert event.payload == bytes(100_000)
    # Counted from the arrival of the CALL frame.
    assert event.deadline == 0.5
    assert peer.core._budget.left == peer.core.limits.session_budget


def test_a_part_that_is_not_understood_refuses_the_call() -> None:
    peer = Peer()
    peer.say(f.Call(0, "f", 1, 10, b"x"))
    assert peer.say(f.Fragment(0, 0, bytes(9), (f.Declaration(1, K.PROMISE),), {1: 0})) == []
    assert peer.hear() == [f.Stop(-2, 0), error(0, C.UNSUPPORTED)]
    assert_empty(peer.core)


def test_a_stop_while_the_arguments_arrive() -> None:
    peer = Peer()
    peer.say(f.Call(0, "f", 1, 100_000, bytes(60_000)))
    last = f.Fragment(0, 0, bytes(40_000), (f.Declaration(1, K.BYTES),))
    assert peer.say(f.Stop(0, C.CANCELLED), last) == []
    assert peer.hear() == [f.Stop(-2, 0), error(0, C.NOT_STARTED)]
    assert_empty(peer.core)


def test_a_deadline_while_the_arguments_arrive() -> None:
    peer = Peer()
    peer.say(f.Call(0, "f", 1, 100_000, bytes(60_000), (), {0: 500}))
    peer.hear()
    assert peer.core.next_timeout() == 0.5
    peer.core.handle_timeout(0.5)
    assert peer.hear() == [error(0, C.DEADLINE_EXCEEDED)]
    assert peer.say(f.Fragment(0, 0, bytes(40_000))) == []
    assert_empty(peer.core)


def test_deadlines_can_be_a_flood_too() -> None:
    peer = Peer(Limits(open_calls=2))
    peer.say(f.Call(0, "f", 1, 9, b"x", (), {0: 500}), f.Call(1, "f", 1, 9, b"x", (), {0: 500}))
    peer.say(f.Call(2, "f", 1, 9, b"x", (), {0: 500}))
    peer.core.handle_timeout(0.5)
    assert peer.closed() is C.LIMIT_EXCEEDED


def test_a_lost_connection_while_the_arguments_arrive() -> None:
    peer = Peer()
    peer.say(f.Call(0, "f", 1, 100_000, bytes(60_000)))
    peer.core.receive_eof(0.0)
    assert names(peer.core.events_received()) == ["ConnectionClosed"]
    assert_empty(peer.core)


# --- order of starting ---------------------------------------------------------------------------


def start_order(connection: Connection, pair: Pair, sizes: list[int], target: object) -> list[int]:
    calls = [connection.call(target, bytes(size)) for size in sizes]  # type: ignore[arg-type]
    pair.deliver()
    client, server = pair.take()
    events = [event for event in client + server if isinstance(event, CallReceived)]
    return [calls.index(next(c for c in calls if c.number == event.call.number)) for event in events]


@pytest.mark.parametrize("sizes", [[0] * 50, [1 << 20, 0, 5, 0], [0, 1 << 20, 0, 1 << 21, 3, 0]])
def test_calls_on_one_reference_start_in_order(sizes: list[int]) -> None:
    pair = Pair()
    call = pair.client.call("f", b"", [(K.FUNCTION, 1)])
    pair.deliver()
    [event] = pair.take()[1]
    assert isinstance(event, CallReceived)
    assert start_order(pair.server, pair, sizes, event.declared[0]) == list(range(len(sizes)))
    assert call.declared


def test_a_small_call_on_a_name_does_not_wait() -> None:
    pair = Pair()
    assert start_order(pair.client, pair, [1 << 20, 0, 0], "f") == [1, 2, 0]


def test_a_call_waits_for_an_earlier_one_on_its_reference_with_all_its_streams_say() -> None:
    peer, reference = with_reference()
    assert peer.say(f.Call(1, reference, 1, 2, b"x")) == []
    declaration = f.Declaration(3, K.ITEMS)
    assert peer.say(f.Call(2, reference, 0, 0, b"", (declaration,)), f.Items(3, 0, 1, b"\x81\x00")) == []
    assert peer.say(f.End(3, 0, 0, b"")) == []
    first, second, items, end = peer.say(f.Fragment(1, 0, b"x"))
    assert isinstance(first, CallReceived)
    assert isinstance(second, CallReceived)
    assert (first.call.number, second.call.number) == (1, 2)
    stream = second.declared[0]
    assert items == ItemsReceived(stream, 1, b"\x81\x00")
    assert end == StreamEnded(stream, b"", ())
    peer.core.consumed(stream)
    for call in (first.call, second.call):
        peer.core.resolve(call, b"")
        peer.core.finish(call)
    assert len(peer.hear()) == 2
    assert not peer.core._starting


@pytest.mark.parametrize("how", ["stop", "deadline", "size"])
def test_a_call_that_is_refused_lets_the_next_one_start(how: str) -> None:
    peer, reference = with_reference()
    peer.say(f.Call(1, reference, 1, 9, b"x", (), {0: 500} if how == "deadline" else None))
    assert peer.say(f.Call(2, reference, 0, 0, b"")) == []
    if how == "deadline":
        peer.core.handle_timeout(0.5)
        events = peer.core.events_received()
    elif how == "stop":
        events = peer.say(f.Stop(1, 0))
    else:
        events = peer.say(f.Fragment(1, 0, bytes(8)), f.Call(3, reference, 0, 0, b""))
        assert [call.number for call in started(events)] == [1, 2, 3]
        return
    assert [call.number for call in started(events)] == [2]


def test_a_waiting_call_can_be_stopped() -> None:
    peer, reference = with_reference()
    peer.say(f.Call(1, reference, 1, 2, b"x"))
    peer.say(f.Call(2, reference, 0, 0, b"", (f.Declaration(3, K.ITEMS), f.Declaration(4, K.CHANNEL, 5))))
    peer.say(f.Items(3, 0, 1, b"\x81\x00"), f.Call(5, 4, 0, 0, b""))
    assert peer.say(f.Stop(2, C.CANCELLED)) == []
    assert peer.hear() == [error(2, C.NOT_STARTED), error(5, C.CHANNEL_CLOSED)]
    assert [call.number for call in started(peer.say(f.Fragment(1, 0, b"x")))] == [1]
    assert not peer.core._starting


def test_a_request_waits_for_the_call_that_brings_its_channel() -> None:
    peer, reference = with_reference()
    peer.say(f.Call(1, reference, 1, 2, b"x"))
    assert (
        peer.say(
            f.Call(2, reference, 0, 0, b"", (f.Declaration(3, K.CHANNEL, 5),)),
            f.Call(4, 3, 0, 1, b"a", (f.Declaration(5, K.CHANNEL, 6),)),
            f.Call(6, 5, 0, 1, b"b"),
            f.Call(7, 3, 0, 1, b"c"),
        )
        == []
    )
    events = peer.say(f.Fragment(1, 0, b"x"))
    assert [call.number for call in started(events)] == [1, 2, 4, 7, 6]
    assert not peer.core._starting


def test_streams_that_are_refused_with_a_waiting_call_are_told_once() -> None:
    peer, reference = with_reference(ours=Limits(open_streams=1))
    peer.say(f.Call(1, reference, 1, 2, b"x"))
    peer.say(f.Call(2, reference, 0, 0, b"", (f.Declaration(3, K.PROMISE), f.Declaration(4, K.PROMISE))))
    events = peer.say(f.Fragment(1, 0, b"x"))
    assert names(events) == ["CallReceived", "CallReceived", "StreamReset"]


@pytest.mark.parametrize("kind", [K.FUNCTION, K.PROMISE])
def test_a_stream_that_ends_before_its_call_starts_is_told_once(kind: K) -> None:
    peer, reference = with_reference()
    peer.say(f.Call(1, reference, 1, 2, b"x"))
    declaration = f.Declaration(3, kind, 5 if kind is K.FUNCTION else None)
    peer.say(f.Call(2, reference, 0, 0, b"", (declaration,)), f.Reset(3, C.ABORTED))
    assert names(peer.say(f.Fragment(1, 0, b"x"))) == ["CallReceived", "CallReceived", "StreamReset"]


def test_a_lost_connection_while_calls_wait_for_each_other() -> None:
    peer, reference = with_reference()
    peer.say(f.Call(1, reference, 1, 2, b"x"))
    peer.say(f.Call(2, reference, 0, 0, b"", (f.Declaration(3, K.ITEMS),)), f.Items(3, 0, 1, b"\x81\x00"))
    peer.core.receive_eof(0.0)
    assert names(peer.core.events_received()) == ["CallOver", "StreamStopped", "ConnectionClosed"]
    assert_empty(peer.core)


# --- stopping ------------------------------------------------------------------------------------


def test_a_stop_is_answered_by_what_happened() -> None:
    peer = Peer()
    call = peer.call(0, b"", f.Declaration(1, K.ITEMS))
    assert peer.say(f.Stop(0, C.CANCELLED, b"why")) == [CallStopped(call, C.CANCELLED, b"why")]
    assert peer.say(f.Stop(0, C.CANCELLED, b"again")) == []
    assert peer.hear() == []
    peer.core.reset(call)
    peer.core.reject(call, C.STOPPED)
    assert peer.hear() == [error(0, C.STOPPED)]
    assert peer.core.events_received() == [
        CallOver(call, C.CANCELLED, b"why"),
        StreamReset(call.declared[0], C.CANCELLED, b"why"),
    ]
    peer.core.finish(call)
    assert_empty(peer.core)


def test_a_result_after_a_stop_brings_nothing_that_lives() -> None:
    peer = Peer()
    call = peer.call(0)
    peer.say(f.Stop(0, C.CANCELLED))
    (stream,) = peer.core.resolve(call, b"r", [(K.ITEMS, None)])
    peer.core.finish(call)
    assert peer.hear() == [f.End(-1, 0, 1, b"r", (f.Declaration(0, K.ITEMS),))]
    assert peer.core.events_received() == [
        CallOver(call, C.CANCELLED, b""),
        StreamStopped(stream, C.CANCELLED, b""),
    ]
    assert peer.say(f.Stop(-1, 0)) == []
    assert_empty(peer.core)


@pytest.mark.parametrize("size", [0, 1 << 20])
def test_an_answer_that_has_not_left_is_taken_back(size: int) -> None:
    peer = Peer()
    call = peer.call(0)
    (stream,) = peer.core.resolve(call, bytes(size), [(K.ITEMS, None)])
    if size:
        peer.hear()
    assert peer.say(f.Stop(0, C.CANCELLED)) == [
        CallStopped(call, C.CANCELLED, b""),
        StreamStopped(stream, 0, b""),
    ]
    peer.core.finish(call)
    assert peer.hear() == [error(0, C.STOPPED)]
    assert peer.core.events_received() == [CallOver(call, C.CANCELLED, b"")]
    assert_empty(peer.core)


def test_a_stop_of_an_answered_call_closes_it() -> None:
    peer = Peer()
    call, (stream,) = peer.answered(0, (K.ITEMS, None))
    assert peer.say(f.Stop(0, C.CANCELLED, b"w")) == [
        CallOver(call, C.CANCELLED, b"w"),
        StreamStopped(stream, C.CANCELLED, b"w"),
    ]
    assert peer.hear() == []
    assert_empty(peer.core)


# --- ended by this side --------------------------------------------------------------------------


def test_a_deadline_stops_the_body() -> None:
    peer = Peer()
    [event] = peer.say(f.Call(0, "f", 0, 0, b"", (), {0: 500, 2: 900}))
    assert isinstance(event, CallReceived)
    assert (event.deadline, event.lifetime) == (0.5, 0.9)
    peer.core.handle_timeout(0.5)
    assert peer.core.events_received() == [CallStopped(event.call, C.DEADLINE_EXCEEDED, b"")]
    assert peer.hear() == []
    peer.core.handle_timeout(0.9)
    assert peer.core.events_received() == []
    peer.core.reject(event.call, C.DEADLINE_EXCEEDED)
    peer.core.finish(event.call)
    assert peer.hear() == [error(0, C.DEADLINE_EXCEEDED)]
    assert_empty(peer.core)


def test_a_result_after_the_deadline_is_closed_behind_it() -> None:
    peer = Peer()
    [event] = peer.say(f.Call(0, "f", 0, 0, b"", (), {0: 500}))
    assert isinstance(event, CallReceived)
    peer.core.handle_timeout(0.5)
    peer.core.resolve(event.call, b"", [(K.ITEMS, None)])
    peer.core.finish(event.call)
    assert peer.hear() == [
        f.End(-1, 0, 0, b"", (f.Declaration(0, K.ITEMS),)),
        f.Reset(-1, C.DEADLINE_EXCEEDED),
    ]
    assert event.call.over
    assert_empty(peer.core)


def test_a_deadline_takes_back_an_answer_that_has_not_left() -> None:
    peer = Peer()
    [event] = peer.say(f.Call(0, "f", 0, 0, b"", (), {0: 500}))
    assert isinstance(event, CallReceived)
    peer.core.resolve(event.call, b"")
    peer.core.handle_timeout(0.5)
    assert peer.hear() == [error(0, C.DEADLINE_EXCEEDED)]


def test_a_deadline_of_the_answer_does_not_bound_what_lives_on() -> None:
    peer = Peer()
    [event] = peer.say(f.Call(0, "f", 0, 0, b"", (), {0: 500, 2: 900}))
    assert isinstance(event, CallReceived)
    (stream,) = peer.core.resolve(event.call, b"", [(K.ITEMS, None)])
    peer.hear()
    assert peer.core.next_timeout() == 0.9
    peer.core.handle_timeout(0.9)
    assert peer.core.events_received() == [
        CallOver(event.call, C.DEADLINE_EXCEEDED, b""),
        StreamStopped(stream, C.DEADLINE_EXCEEDED, b""),
    ]
    assert peer.hear() == [f.Reset(-1, C.DEADLINE_EXCEEDED)]


def test_closing_an_answered_call() -> None:
    peer = Peer()
    call, (stream,) = peer.answered(0, (K.ITEMS, None))
    peer.core.reset(call, C.ABORTED, b"w")
    assert peer.hear() == [f.Reset(-1, C.ABORTED, b"w")]
    assert peer.core.events_received() == [
        CallOver(call, C.ABORTED, b"w"),
        StreamStopped(stream, C.ABORTED, b"w"),
    ]
    peer.core.reset(call)
    assert peer.hear() == []
    assert_empty(peer.core)


def test_closing_a_call_whose_answer_has_not_left() -> None:
    peer = Peer()
    call = peer.call(0)
    with pytest.raises(LocalProtocolError, match="answer it first"):
        peer.core.reset(call)
    peer.core.resolve(call, b"r", [(K.ITEMS, None)])
    peer.core.finish(call)
    peer.core.reset(call, C.ABORTED, b"w")
    peer.core.reset(call, C.CANCELLED)
    assert peer.hear() == [f.End(-1, 0, 1, b"r", (f.Declaration(0, K.ITEMS),)), f.Reset(-1, C.ABORTED, b"w")]
    assert names(peer.core.events_received()) == ["CallOver", "StreamStopped"]
    assert_empty(peer.core)


def test_an_extension_frame_that_must_be_understood_ends_a_call() -> None:
    peer = Peer()
    call = peer.call(0)
    assert peer.say(f.Unknown(129, 0)) == [CallStopped(call, C.UNSUPPORTED, b"")]
    peer.core.reject(call, C.UNSUPPORTED)
    peer.core.finish(call)
    peer.hear()
    peer.core.events_received()
    other, _ = peer.answered(1, (K.PROMISE, None))
    peer.core.events_received()
    assert peer.say(f.Unknown(129, 1))[0] == CallOver(other, C.UNSUPPORTED, b"")
    assert peer.hear() == [f.Reset(-2, C.UNSUPPORTED)]
    assert_empty(peer.core)


# --- requests on channels ------------------------------------------------------------------------


def test_requests_go_both_ways_on_a_channel() -> None:
    pair = Pair()
    pair.client.call("f", b"", [(K.CHANNEL, 1)])
    pair.deliver()
    [event] = pair.take()[1]
    assert isinstance(event, CallReceived)
    (theirs,) = event.declared
    (ours,) = event.call.owned
    assert theirs is ours
    (mine,) = next(iter(pair.client._ours.values())).declared  # type: ignore[attr-defined]
    pair.server.call(theirs, b"to client")
    pair.client.call(mine, b"to server")
    pair.deliver()
    client, server = pair.take()
    assert [event.target for event in client if isinstance(event, CallReceived)] == [mine]
    assert [event.target for event in server if isinstance(event, CallReceived)] == [theirs]


@pytest.mark.parametrize("who", ["we end", "they end"])
def test_a_request_on_a_channel_of_which_a_half_has_ended(who: str) -> None:
    peer, reference = with_reference(K.CHANNEL)
    if who == "we end":
        peer.core.end(peer.core._ours[0])
        peer.hear()
    else:
        # It keeps its place until what came before has been consumed.
        peer.say(f.Items(reference, 0, 1, b"\x81\x00"), f.End(reference, 0, 0, b""))
    peer.say(f.Call(1, reference, 0, 0, b""))
    assert peer.hear() == [error(1, C.CHANNEL_CLOSED)]


def test_nothing_is_left_after_a_call_with_everything() -> None:
    pair = Pair()
    kinds = [(K.PROMISE, None), (K.ITEMS, None), (K.BYTES, None), (K.FUNCTION, 1), (K.CHANNEL, 2)]
    pair.client.call("f", b"", kinds)
    pair.deliver()
    [event] = pair.take()[1]
    assert isinstance(event, CallReceived)
    pair.server.resolve(event.call, b"", kinds)
    pair.server.finish(event.call)
    pair.deliver()
    pair.client.stop(next(iter(pair.client._ours.values())))
    settle(pair)
