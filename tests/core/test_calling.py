"""calling: the answers of our calls in every state, and the streams that they bring."""

from __future__ import annotations

import pytest

from telewire.core.events import (
    CallOver,
    CallReceived,
    CallRejected,
    CallResolved,
    ItemsReceived,
    StreamReset,
    StreamStopped,
)
from telewire.core.states import OutgoingState
from telewire.core.streams import Call
from telewire.limits import Limits
from telewire.testing.pair import Pair
from telewire.wire import frames as f
from tests.core.dialogue import C, K, Peer, assert_empty, names, refusal, settle

PROMISE = f.Declaration(0, K.PROMISE)


def calling(*kinds: tuple[K, int | None], ours: Limits | None = None) -> tuple[Peer, Call]:
    """Our call 0, which has left."""
    peer = Peer(ours)
    call = peer.core.call("f", b"x", kinds)
    peer.hear()
    return peer, call


def test_a_result_without_streams_ends_the_call() -> None:
    peer, call = calling()
    assert peer.say(f.End(-1, 0, 2, b"ok")) == [CallResolved(call, b"ok", ()), CallOver(call, 0, b"")]
    assert_empty(peer.core)


def test_a_call_lives_as_long_as_what_crossed_in_it() -> None:
    peer, call = calling((K.FUNCTION, 3))
    [event] = peer.say(f.End(-1, 0, 2, b"ok", (PROMISE,)))
    assert isinstance(event, CallResolved)
    assert [stream.kind for stream in event.declared] == [K.PROMISE]
    assert call.answered
    assert names(peer.say(f.End(0, 0, 0, b""))) == ["StreamEnded"]
    assert peer.say(f.Stop(-2, 0)) == [StreamStopped(call.declared[0], 0, b""), CallOver(call, 0, b"")]
    assert_empty(peer.core)


@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.parametrize(
    "answer",
    [f.End(-1, 0, 0, b"", (f.Declaration(7, K.PROMISE),)), f.Error(-1, 1, 0, 0, b"", (PROMISE,) * 2)],
)
def test_an_answer_whose_declarations_break_a_rule_leaves_no_call_unanswered(
    cancelled: bool, answer: f.Frame
) -> None:
    peer, call = calling()
    if cancelled:
        peer.core.stop(call, C.CANCELLED)
        peer.hear()
    assert peer.say(answer)[:2] == [
        CallRejected(call, C.INVALID_STATE, b""),
        CallOver(call, C.INVALID_STATE, b""),
    ]
    assert peer.hear()[-1].code == C.INVALID_STATE  # type: ignore[union-attr]
    assert_empty(peer.core)


def test_an_error_ends_the_call_with_all_it_owns() -> None:
    peer, call = calling((K.FUNCTION, 3), (K.ITEMS, None))
    events = peer.say(f.Error(-1, C.ABORTED, 0, 3, b"why"))
    assert events == [
        CallRejected(call, C.ABORTED, b"why"),
        CallOver(call, 0, b""),
        StreamStopped(call.declared[0], 0, b""),
        StreamStopped(call.declared[1], 0, b""),
    ]
    assert_empty(peer.core)


def test_an_error_introduces_nothing() -> None:
    peer, call = calling()
    assert peer.say(f.Error(-1, C.INTERNAL, 0, 0, b"", (PROMISE, f.Declaration(1, K.CHANNEL, 4)))) == [
        CallRejected(call, C.INTERNAL, b""),
        CallOver(call, 0, b""),
    ]
    assert peer.hear() == [f.Stop(-1, 0), f.Stop(-2, 0), f.Reset(-2, 0)]
    assert_empty(peer.core)


def test_an_early_answer_takes_the_rest_of_the_arguments_back() -> None:
    peer = Peer(theirs=Limits(stream_window=1024, fragment_bytes=1024))
    call = peer.core.call("f", bytes(5000), [(K.ITEMS, None)])
    assert len(peer.hear()) == 1
    events = peer.say(f.End(-1, 0, 0, b""))
    assert events == [
        CallResolved(call, b"", ()),
        StreamStopped(call.declared[0], 0, b""),
        CallOver(call, 0, b""),
    ]
    peer.say(f.Grant(-1, 99_999))
    assert peer.hear() == []
    assert_empty(peer.core)


def test_an_answer_in_parts() -> None:
    peer, call = calling()
    assert peer.say(f.End(-1, 1, 100_000, bytes(50_000)), f.Fragment(-1, 1, bytes(10_000))) == []
    assert peer.hear() == [f.Grant(0, 100_000)]
    [event] = peer.say(f.Fragment(-1, 0, bytes(40_000), (PROMISE,)))
    assert isinstance(event, CallResolved)
    assert event.payload == bytes(100_000)
    peer.say(f.Reset(0, 0))
    assert call.over
    assert_empty(peer.core)


def test_an_answer_in_parts_that_an_error_gives_up() -> None:
    peer, call = calling()
    peer.say(f.End(-1, 1, 1 << 20, bytes(60_000)))
    assert peer.say(f.Error(-1, C.STOPPED, 0, 0, b""))[0] == CallRejected(call, C.STOPPED, b"")
    assert_empty(peer.core)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([f.Item(-1, 0, 0, b"")], C.INVALID_STATE),
        ([f.Items(-1, 0, 1, b"\x81\x00")], C.INVALID_STATE),
        ([f.Chunk(-1, 0, b"x")], C.INVALID_STATE),
        ([f.Fragment(-1, 0, b"x")], C.INVALID_STATE),
        ([f.Stop(-1, 0)], C.INVALID_STATE),
        ([f.Reset(-1, 0)], C.INVALID_STATE),
        ([f.End(-1, 0, 0, b"", (f.Declaration(3, K.PROMISE),))], C.INVALID_STATE),
        ([f.End(-1, 0, 0, b"", (PROMISE,)), f.End(-1, 0, 0, b"")], C.INVALID_STATE),
        ([f.End(-1, 0, 0, b"", (PROMISE,)), f.Error(-1, 1, 1, 9, b"x")], C.INVALID_STATE),
        ([f.End(-1, 0, 0, b"", (PROMISE,)), f.Fragment(-1, 0, b"x")], C.INVALID_STATE),
        ([f.End(-1, 0, 65537 - 1, bytes(65536)), f.End(-1, 0, 0, b"")], None),
    ],
)
def test_answers_that_are_none(frames: list[f.Frame], code: C | None) -> None:
    peer, _ = calling()
    if code is None:
        peer.say(*frames)
        assert peer.hear() == []
    else:
        assert refusal(peer, *frames) is code


def test_an_answer_beyond_its_credit() -> None:
    peer, _ = calling(ours=Limits(stream_window=1024))
    assert refusal(peer, f.End(-1, 0, 1025, bytes(1025))) is C.FLOW_CONTROL


# --- cancelling ----------------------------------------------------------------------------------


def test_a_call_that_is_stopped_before_it_leaves_has_left_no_trace() -> None:
    peer = Peer()
    call = peer.core.call("f", b"", [(K.ITEMS, None)])
    other = peer.core.call("g", b"")
    peer.core.stop(call, C.CANCELLED, b"why")
    assert peer.core.events_received() == [
        CallRejected(call, C.NOT_STARTED, b""),
        CallOver(call, C.CANCELLED, b"why"),
        StreamStopped(call.declared[0], C.CANCELLED, b"why"),
    ]
    assert peer.hear() == [f.Call(0, "g", 0, 0, b"")]
    assert other.number == 0
    peer.core.stop(call)
    assert peer.hear() == []


def test_a_cancelled_call_is_over_with_its_answer() -> None:
    peer, call = calling((K.ITEMS, None))
    peer.core.stop(call, C.CANCELLED, b"why")
    peer.core.stop(call, C.CANCELLED)
    assert peer.hear() == [f.Stop(0, C.CANCELLED, b"why")]
    assert call.outgoing is OutgoingState.CANCELLING
    assert peer.say(f.Error(-1, C.STOPPED, 0, 0, b"")) == [
        CallRejected(call, C.STOPPED, b""),
        CallOver(call, C.CANCELLED, b"why"),
        StreamStopped(call.declared[0], C.CANCELLED, b"why"),
    ]
    assert_empty(peer.core)


def test_a_result_that_crosses_the_cancel_brings_nothing_that_lives() -> None:
    peer, call = calling()
    peer.core.stop(call)
    peer.hear()
    assert peer.say(f.End(-1, 0, 1, b"r", (PROMISE, f.Declaration(1, K.FUNCTION, 1)))) == [
        CallResolved(call, b"r", ()),
        CallOver(call, 0, b""),
    ]
    assert peer.hear() == [f.Stop(-1, 0), f.Stop(-2, 0)]
    assert_empty(peer.core)


def test_cancelling_while_the_arguments_leave() -> None:
    peer = Peer(theirs=Limits(stream_window=1024, fragment_bytes=1024))
    call = peer.core.call("f", bytes(5000), [(K.ITEMS, None)])
    peer.hear()
    peer.core.stop(call)
    assert peer.core.events_received() == [StreamStopped(call.declared[0], 0, b"")]
    peer.say(f.Grant(-1, 1 << 20))
    assert peer.hear() == [f.Stop(0, 0)]
    peer.say(f.Error(-1, C.NOT_STARTED, 0, 0, b""))
    assert_empty(peer.core)


def test_stopping_an_answered_call_closes_it() -> None:
    peer, call = calling()
    peer.say(f.End(-1, 0, 0, b"", (PROMISE,)))
    (promise,) = call.owned
    peer.core.stop(call, C.CANCELLED, b"w")
    assert peer.core.events_received() == [
        CallOver(call, C.CANCELLED, b"w"),
        StreamReset(promise, C.CANCELLED, b"w"),
    ]
    assert peer.hear() == [f.Stop(0, C.CANCELLED, b"w")]
    # What crossed is stale, and what it declares is stopped.
    assert peer.say(f.End(0, 0, 0, b"", (f.Declaration(1, K.CHANNEL, 1),)), f.Reset(-1, 0)) == []
    assert peer.hear() == [f.Stop(-2, 0), f.Reset(-2, 0)]
    assert_empty(peer.core)


def test_the_answerer_closes_an_answered_call() -> None:
    peer, call = calling()
    peer.say(f.End(-1, 0, 0, b"", (PROMISE,)))
    (promise,) = call.owned
    assert peer.say(f.Reset(-1, C.DEADLINE_EXCEEDED)) == [
        CallOver(call, C.DEADLINE_EXCEEDED, b""),
        StreamReset(promise, C.DEADLINE_EXCEEDED, b""),
    ]
    assert_empty(peer.core)


# --- answers from here ---------------------------------------------------------------------------


def test_a_deadline_settles_a_call_ahead_of_the_peer() -> None:
    peer = Peer()
    call = peer.core.call("f", b"", [(K.ITEMS, None)], deadline=2.0, now=0.0)
    assert peer.hear()[0] == f.Call(0, "f", 0, 0, b"", (f.Declaration(1, K.ITEMS),), {0: 2000})
    assert peer.core.next_timeout() == 2.0
    peer.core.handle_timeout(2.0)
    assert peer.core.events_received() == [CallRejected(call, C.DEADLINE_EXCEEDED, b"")]
    assert peer.hear() == [f.Stop(0, C.DEADLINE_EXCEEDED)]
    assert peer.core.next_timeout() == 15.0
    events = peer.say(f.End(-1, 0, 1, b"r", (PROMISE,)))
    assert events == [
        CallOver(call, C.DEADLINE_EXCEEDED, b""),
        StreamStopped(call.declared[0], C.DEADLINE_EXCEEDED, b""),
    ]
    assert peer.hear() == [f.Stop(-1, 0)]
    assert_empty(peer.core)


def test_a_deadline_that_passes_while_the_call_is_queued() -> None:
    peer = Peer(theirs=Limits(open_calls=0))
    call = peer.core.call("f", b"", deadline=2.0, now=0.0)
    other = peer.core.call("f", b"", lifetime=3.0, now=0.0)
    assert peer.hear() == []
    peer.core.handle_timeout(2.0)
    assert peer.core.events_received() == [
        CallRejected(call, C.DEADLINE_EXCEEDED, b""),
        CallOver(call, C.DEADLINE_EXCEEDED, b""),
    ]
    peer.core.handle_timeout(3.0)
    assert other.over
    assert peer.hear() == []
    assert_empty(peer.core)


def test_the_answer_of_a_settled_call_may_come_in_parts() -> None:
    peer = Peer()
    call = peer.core.call("f", b"", deadline=2.0, now=0.0)
    peer.hear()
    peer.core.handle_timeout(2.0)
    peer.hear()
    peer.say(f.End(-1, 1, 1 << 20, bytes(60_000)))
    # Nothing of it is kept, so its credit is not counted either.
    assert peer.hear() == [f.Grant(0, (1 << 53) - 1)]
    assert peer.say(f.Error(-1, 1, 1, 9, b"x"), f.Fragment(-1, 0, b"x", (PROMISE,))) == [
        CallOver(call, C.DEADLINE_EXCEEDED, b"")
    ]
    assert peer.hear() == [f.Stop(-1, 0)]
    assert_empty(peer.core)


def test_a_deadline_in_the_middle_of_the_answer() -> None:
    peer = Peer()
    call = peer.core.call("f", b"", deadline=2.0, now=0.0)
    peer.hear()
    peer.say(f.End(-1, 1, 1 << 20, bytes(60_000)))
    peer.hear()
    peer.core.handle_timeout(2.0)
    assert peer.hear() == [f.Stop(0, C.DEADLINE_EXCEEDED), f.Grant(0, (1 << 53) - 1)]
    assert peer.core._budget.left == peer.core.limits.session_budget
    assert peer.say(f.Fragment(-1, 0, b"x"))[-1] == CallOver(call, C.DEADLINE_EXCEEDED, b"")
    assert_empty(peer.core)


def test_a_deadline_after_a_cancel_keeps_its_reason() -> None:
    peer = Peer()
    call = peer.core.call("f", b"", deadline=2.0, now=0.0)
    peer.hear()
    peer.core.stop(call, C.CANCELLED, b"why")
    peer.core.handle_timeout(2.0)
    assert peer.hear() == [f.Stop(0, C.CANCELLED, b"why")]
    assert peer.say(f.Error(-1, C.STOPPED, 0, 0, b"")) == [
        CallRejected(call, C.DEADLINE_EXCEEDED, b""),
        CallOver(call, C.CANCELLED, b"why"),
    ]


def test_a_lifetime_closes_an_answered_call() -> None:
    peer = Peer()
    call = peer.core.call("f", b"", lifetime=2.0, deadline=1.0, now=0.0)
    [frame] = peer.hear()
    assert isinstance(frame, f.Call)
    assert frame.extensions == {0: 1000, 2: 2000}
    peer.say(f.End(-1, 0, 0, b"", (PROMISE,)))
    assert peer.core.next_timeout() == 2.0
    peer.core.handle_timeout(2.0)
    assert names(peer.core.events_received()) == ["CallOver", "StreamReset"]
    assert peer.hear() == [f.Stop(0, C.DEADLINE_EXCEEDED)]
    assert call.over
    assert_empty(peer.core)


@pytest.mark.parametrize("payload_frames", [1, 2])
def test_an_answer_that_is_not_understood(payload_frames: int) -> None:
    peer, call = calling()
    first = f.End(
        -1, payload_frames - 1, payload_frames, b"x", () if payload_frames == 2 else (PROMISE,), {3: 1}
    )
    events = peer.say(first)
    assert events[0] == CallRejected(call, C.UNSUPPORTED, b"")
    assert f.Stop(0, C.UNSUPPORTED) in peer.hear()
    if payload_frames == 2:
        assert len(events) == 1
        events += peer.say(f.Fragment(-1, 0, b"x", (PROMISE,)))
        assert f.Stop(-1, 0) in peer.hear()
    assert events[1:] == [CallOver(call, C.UNSUPPORTED, b"")]
    assert_empty(peer.core)


def test_a_part_of_an_answer_that_is_not_understood() -> None:
    peer, call = calling()
    events = peer.say(f.End(-1, 1, 2, b"x"), f.Fragment(-1, 0, b"x", (PROMISE,), {3: 1}))
    # It was the last part, so nothing more will come.
    assert events == [CallRejected(call, C.UNSUPPORTED, b""), CallOver(call, C.UNSUPPORTED, b"")]
    peer.hear()
    assert_empty(peer.core)


def test_the_largest_answer_and_one_byte_more() -> None:
    limits = Limits(message_bytes=2000, fragment_bytes=4000, stream_window=8000)
    peer, call = calling(ours=limits)
    assert names(peer.say(f.End(-1, 0, 2000, bytes(2000)))) == ["CallResolved", "CallOver"]
    peer, call = calling(ours=limits)
    assert peer.say(f.End(-1, 0, 2001, bytes(2001), (PROMISE,))) == [
        CallRejected(call, C.MESSAGE_TOO_LARGE, b""),
        CallOver(call, C.MESSAGE_TOO_LARGE, b""),
    ]
    assert peer.hear() == [f.Stop(0, C.MESSAGE_TOO_LARGE), f.Stop(-1, 0)]
    assert_empty(peer.core)


# --- streams that an answer brings ---------------------------------------------------------------


@pytest.mark.parametrize("limits", [Limits(open_streams=1), Limits(credited_streams=1)])
def test_streams_beyond_the_limit_are_stopped_and_the_rest_goes_on(limits: Limits) -> None:
    peer, call = calling(ours=limits)
    declarations = (f.Declaration(0, K.ITEMS), f.Declaration(1, K.CHANNEL, 7))
    events = peer.say(f.End(-1, 0, 0, b"", declarations), f.Items(0, 0, 1, b"\x81\x00"))
    first = events[0]
    assert isinstance(first, CallResolved)
    kept, refused = first.declared
    assert events[1:] == [
        StreamStopped(refused, C.RESOURCE_EXHAUSTED, b""),
        StreamReset(refused, C.RESOURCE_EXHAUSTED, b""),
        ItemsReceived(kept, 1, b"\x81\x00"),
    ]
    assert peer.hear() == [f.Stop(-2, C.RESOURCE_EXHAUSTED), f.Reset(-2, C.RESOURCE_EXHAUSTED)]
    peer.core.stop(refused)
    peer.core.reset(refused)
    assert peer.hear() == []
    peer.core.stop(kept)
    assert call.over
    peer.hear()
    assert_empty(peer.core)


def test_a_flood_of_streams_that_nobody_wants_closes_the_connection() -> None:
    peer, _ = calling(ours=Limits(open_streams=10, references=100))
    peer.say(f.End(-1, 0, 0, b""))
    assert peer.say(f.End(-1, 0, 0, b"", tuple(f.Declaration(n, K.PROMISE) for n in range(10)))) == []
    assert len(peer.hear()) == 10
    peer.say(f.End(-1, 0, 0, b"", tuple(f.Declaration(10 + n, K.PROMISE) for n in range(10))))
    assert refusal(peer, f.End(-1, 0, 0, b"", (f.Declaration(20, K.PROMISE),))) is C.LIMIT_EXCEEDED


def test_the_65537th_channel() -> None:
    limits = Limits(open_streams=70_000, credited_streams=70_000, references=70_000, batch_bytes=1 << 22)
    peer = Peer(limits, limits)
    call = peer.call(0)
    streams = peer.core.resolve(call, b"", [(K.CHANNEL, number) for number in range(65_537)])
    peer.core.finish(call)
    with_declarations = peer.hear()
    assert isinstance(with_declarations[0], f.End)
    last = streams[-1]
    assert last.number == 65_536
    peer.core.send_message(last, b"\x01")
    assert peer.hear() == [f.Items(65_536, 0, 1, b"\x81\x01")]
    peer.core.reset(call)
    peer.hear()
    assert_empty(peer.core)


def test_calls_wait_for_the_peers_places() -> None:
    pair = Pair(server_limits=Limits(open_calls=2))
    calls = [pair.client.call("f", bytes([n])) for n in range(5)]
    seen: list[bytes] = []
    for _ in range(5):
        pair.deliver()
        for event in pair.take()[1]:
            if isinstance(event, CallReceived):
                seen.append(event.payload)
                pair.server.resolve(event.call, b"")
                pair.server.finish(event.call)
    assert seen == [bytes([n]) for n in range(5)]
    assert all(call.over for call in calls)
    settle(pair)
