"""receiving: frames of declared streams, stale ones, farewells, credit, and what is not understood."""

from __future__ import annotations

import pytest

from telewire.core.events import (
    CallOver,
    ChunkReceived,
    ItemReceived,
    ItemsReceived,
    StreamEnded,
    StreamFailed,
    StreamReset,
    StreamStopped,
    StreamUnblocked,
)
from telewire.core.streams import Stream
from telewire.limits import Limits
from telewire.wire import frames as f
from tests.core.dialogue import C, K, Peer, assert_empty, names, refusal

ONE = f.Items(1, 0, 1, b"\x81\x00")


def theirs(kind: K, ours: Limits | None = None) -> tuple[Peer, Stream]:
    """Stream 1 of the peer's, in call 0, which is answered."""
    peer = Peer(ours)
    number = 9 if kind in (K.FUNCTION, K.CHANNEL) else None
    call = peer.call(0, b"", f.Declaration(1, kind, number))
    peer.core.resolve(call, b"")
    peer.core.finish(call)
    peer.hear()
    return peer, call.declared[0]


def ours(kind: K) -> tuple[Peer, Stream]:
    """Our stream 0, in the peer's call 0."""
    peer = Peer()
    _, (stream,) = peer.answered(0, (kind, 9 if kind in (K.FUNCTION, K.CHANNEL) else None))
    return peer, stream


# --- data ----------------------------------------------------------------------------------------


def test_items_then_their_end() -> None:
    peer, stream = theirs(K.ITEMS)
    assert peer.say(ONE, f.Item(1, 0, 2, b"ab"), f.End(1, 0, 1, b"v")) == [
        ItemsReceived(stream, 1, b"\x81\x00"),
        ItemReceived(stream, b"ab", ()),
        StreamEnded(stream, b"v", ()),
    ]
    # It keeps its place until the application has consumed what came before the end.
    peer.core.consumed(stream)
    assert peer.core.events_received() == []
    peer.core.consumed(stream)
    assert peer.core.events_received() == [CallOver(stream.call, 0, b"")]  # type: ignore[arg-type]
    peer.core.consumed(stream, 5)
    assert peer.hear() == []
    assert_empty(peer.core)


@pytest.mark.parametrize(
    ("kind", "frame", "event"),
    [
        (K.PROMISE, f.End(1, 0, 1, b"v"), "StreamEnded"),
        (K.PROMISE, f.Error(1, C.ABORTED, 0, 0, b""), "StreamFailed"),
        (K.ITEMS, f.Error(1, C.ABORTED, 0, 0, b""), "StreamFailed"),
        (K.BYTES, f.End(1, 0, 0, b""), "StreamEnded"),
        (K.PROMISE, f.Reset(1, C.ABORTED, b"w"), "StreamReset"),
        (K.ITEMS, f.Reset(1, C.ABORTED, b"w"), "StreamReset"),
        (K.FUNCTION, f.Reset(1, C.NONE), "StreamReset"),
    ],
)
def test_the_last_end_is_told_before_the_end_of_the_call(kind: K, frame: f.Frame, event: str) -> None:
    peer, _ = theirs(kind)
    assert names(peer.say(frame)) == [event, "CallOver"]
    # Later frames about it are stale.
    assert peer.say(frame, f.Reset(1, 0), f.Unknown(129, 1), f.Unknown(128, 1)) == []
    assert peer.hear() == []
    assert_empty(peer.core)


def test_an_end_may_bring_streams() -> None:
    peer, stream = theirs(K.PROMISE)
    declarations = (f.Declaration(2, K.ITEMS), f.Declaration(3, K.FUNCTION, 4))
    [event] = peer.say(f.End(1, 0, 0, b"", declarations))
    assert isinstance(event, StreamEnded)
    assert [each.call for each in event.declared] == [stream.call] * 2
    peer.say(f.Reset(2, 0))
    peer.core.release(event.declared[1])
    assert peer.hear() == [f.Stop(-4, 0)]
    assert_empty(peer.core)


def test_an_error_brings_none() -> None:
    peer, stream = theirs(K.PROMISE)
    assert peer.say(f.Error(1, C.ABORTED, 0, 1, b"v", (f.Declaration(2, K.ITEMS),)))[0] == StreamFailed(
        stream, C.ABORTED, b"v"
    )
    assert peer.hear() == [f.Stop(-3, 0)]
    assert_empty(peer.core)


def test_an_item_brings_streams_that_may_be_refused() -> None:
    peer, _ = theirs(K.ITEMS, Limits(open_streams=2))
    declarations = (f.Declaration(2, K.PROMISE), f.Declaration(3, K.PROMISE))
    event, refused = peer.say(f.Item(1, 0, 0, b"", declarations))
    assert isinstance(event, ItemReceived)
    assert refused == StreamReset(event.declared[1], C.RESOURCE_EXHAUSTED, b"")


def test_a_channel_ends_in_each_direction_by_itself() -> None:
    peer, stream = theirs(K.CHANNEL)
    assert names(peer.say(ONE, f.End(1, 0, 0, b""))) == ["ItemsReceived", "StreamEnded"]
    peer.core.consumed(stream)
    peer.core.send_message(stream, b"\x05")
    assert peer.hear() == [f.Items(-2, 0, 1, b"\x81\x05")]
    assert refusal_of_data(peer) is None
    peer.core.end(stream)
    assert peer.hear() == [f.End(-2, 0, 0, b"")]
    assert names(peer.core.events_received()) == ["CallOver"]
    assert_empty(peer.core)


def refusal_of_data(peer: Peer) -> None:
    """A reset of what has ended is ignored."""
    assert peer.say(f.Reset(1, 0)) == []


@pytest.mark.parametrize("ending", [f.End(1, 0, 0, b""), f.Error(1, 1, 0, 0, b""), f.Reset(1, 0)])
@pytest.mark.parametrize("frame", [ONE, f.Item(1, 0, 0, b""), f.End(1, 0, 0, b""), f.Fragment(1, 0, b"x")])
def test_nothing_follows_the_end_of_a_half_that_is_still_known(ending: f.Frame, frame: f.Frame) -> None:
    peer, _ = theirs(K.CHANNEL)
    peer.say(ending)
    assert refusal(peer, frame) is C.INVALID_STATE


@pytest.mark.parametrize(
    ("kind", "frames"),
    [
        (K.PROMISE, [ONE]),
        (K.PROMISE, [f.Item(1, 0, 0, b"")]),
        (K.PROMISE, [f.Chunk(1, 0, b"x")]),
        (K.PROMISE, [f.Grant(1, 9)]),
        (K.PROMISE, [f.Stop(1, 0)]),
        (K.ITEMS, [f.Chunk(1, 0, b"x")]),
        (K.BYTES, [ONE]),
        (K.BYTES, [f.Item(1, 0, 0, b"")]),
        (K.FUNCTION, [ONE]),
        (K.FUNCTION, [f.Item(1, 0, 0, b"")]),
        (K.FUNCTION, [f.Chunk(1, 0, b"x")]),
        (K.FUNCTION, [f.End(1, 0, 0, b"")]),
        (K.FUNCTION, [f.Fragment(1, 0, b"x")]),
        (K.FUNCTION, [f.Grant(1, 9)]),
        (K.FUNCTION, [f.Stop(1, 0)]),
        (K.CHANNEL, [f.Chunk(1, 0, b"x")]),
    ],
)
def test_frames_that_a_kind_does_not_have(kind: K, frames: list[f.Frame]) -> None:
    peer, _ = theirs(kind)
    assert refusal(peer, *frames) is C.INVALID_STATE


@pytest.mark.parametrize(
    ("kind", "frame"),
    [
        (K.PROMISE, f.End(-1, 0, 0, b"")),
        (K.ITEMS, f.Items(-1, 0, 1, b"\x81\x00")),
        (K.BYTES, f.Chunk(-1, 0, b"x")),
        (K.ITEMS, f.Reset(-1, 0)),
        (K.FUNCTION, f.Reset(-1, 0)),
        (K.FUNCTION, f.Grant(-1, 1)),
        (K.ITEMS, f.Fragment(-1, 0, b"x")),
    ],
)
def test_frames_from_the_wrong_side(kind: K, frame: f.Frame) -> None:
    peer, _ = ours(kind)
    assert refusal(peer, frame) is C.INVALID_STATE


# --- stale frames --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        ONE,
        f.Item(1, 0, 0, b"", (f.Declaration(2, K.CHANNEL, 1),)),
        f.End(1, 0, 0, b"", (f.Declaration(2, K.CHANNEL, 1),)),
        f.Fragment(1, 0, b"x", (f.Declaration(2, K.CHANNEL, 1),)),
        f.Error(1, 1, 0, 0, b"", (f.Declaration(2, K.CHANNEL, 1),)),
        f.Reset(1, 0),
        f.Call(2, 1, 0, 0, b""),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_what_was_on_its_way_when_it_was_stopped(frame: f.Frame, known: bool) -> None:
    peer, stream = theirs(K.CHANNEL if known else K.ITEMS)
    peer.core.stop(stream)
    if known and isinstance(frame, f.End):
        frame = f.Item(1, 0, 0, b"", frame.declarations)
    assert peer.hear() == [f.Stop(-2, 0)]
    peer.core.events_received()
    assert peer.say(frame) == []
    if isinstance(frame, f.Call):
        code = C.CHANNEL_CLOSED if known else C.REFERENCE_RELEASED
        assert peer.hear() == [f.Error(-3, code, 0, 0, b"")]
    elif getattr(frame, "declarations", ()):
        assert peer.hear() == [f.Stop(-3, 0), f.Reset(-3, 0)]
    else:
        assert peer.hear() == []


def test_chunks_on_their_way() -> None:
    peer, stream = theirs(K.BYTES)
    assert peer.say(f.Chunk(1, 0, b"abc")) == [ChunkReceived(stream, b"abc")]
    peer.core.stop(stream, C.CANCELLED)
    assert peer.hear() == [f.Stop(-2, C.CANCELLED)]
    assert names(peer.say(f.Chunk(1, 0, bytes(60_000)), f.Chunk(1, 0, bytes(60_000)))) == ["CallOver"]
    assert_empty(peer.core)


# --- the other's farewell ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [K.PROMISE, K.ITEMS, K.BYTES, K.FUNCTION])
def test_a_stop_ends_our_stream(kind: K) -> None:
    peer, stream = ours(kind)
    assert peer.say(f.Stop(-1, C.ABORTED, b"w")) == [
        StreamStopped(stream, C.ABORTED, b"w"),
        CallOver(stream.call, 0, b""),  # type: ignore[arg-type]
    ]
    assert peer.say(f.Stop(-1, 0), f.Grant(-1, 1 << 30)) == []
    assert_empty(peer.core)


def test_a_stop_discards_what_is_queued_with_all_that_it_would_introduce() -> None:
    peer, stream = ours(K.ITEMS)
    (inner,) = peer.core.send_item(stream, b"a", [(K.ITEMS, None)])
    (innermost,) = peer.core.send_item(inner, b"b", [(K.FUNCTION, 4)])
    assert peer.say(f.Stop(-1, C.CANCELLED)) == [
        StreamStopped(stream, C.CANCELLED, b""),
        StreamStopped(inner, 0, b""),
        StreamStopped(innermost, 0, b""),
        CallOver(stream.call, 0, b""),  # type: ignore[arg-type]
    ]
    assert peer.hear() == []
    assert_empty(peer.core)


def test_a_long_chain_of_introductions_ends_without_recursion() -> None:
    peer, stream = ours(K.ITEMS)
    for _ in range(900):
        (stream,) = peer.core.send_item(stream, b"a", [(K.ITEMS, None)])
    assert len(peer.say(f.Stop(-1, 0))) == 902
    assert peer.hear() == []
    assert_empty(peer.core)


def test_a_channel_is_stopped_and_reset_in_two_steps() -> None:
    peer, stream = ours(K.CHANNEL)
    assert peer.say(f.Reset(-1, C.ABORTED, b"w")) == [StreamReset(stream, C.ABORTED, b"w")]
    assert peer.say(f.Reset(-1, C.ABORTED, b"w")) == []
    assert names(peer.say(f.Stop(-1, C.ABORTED, b"w"))) == ["StreamStopped", "CallOver"]
    assert_empty(peer.core)


def test_giving_up_a_half_that_the_other_side_has_ended_says_nothing() -> None:
    peer, stream = ours(K.CHANNEL)
    peer.say(f.Reset(-1, 0))
    peer.core.stop(stream)
    assert peer.hear() == []
    peer, stream = ours(K.CHANNEL)
    peer.say(f.Stop(-1, 0))
    peer.core.reset(stream)
    assert peer.hear() == []


def test_a_stop_of_a_half_that_has_ended_is_ignored() -> None:
    peer, stream = ours(K.CHANNEL)
    peer.core.end(stream)
    peer.hear()
    assert peer.say(f.Stop(-1, 0)) == []


def test_a_stop_wins_over_an_end_that_has_not_left() -> None:
    peer, stream = ours(K.ITEMS)
    peer.core.end(stream, b"v")
    assert names(peer.say(f.Stop(-1, 0))) == ["StreamStopped", "CallOver"]
    assert peer.hear() == []
    assert_empty(peer.core)


# --- credit --------------------------------------------------------------------------------------


def test_a_grant_wakes_what_waits_for_it() -> None:
    peer = Peer(theirs=Limits(stream_window=1024, fragment_bytes=1024))
    _, (stream,) = peer.answered(0, (K.ITEMS, None))
    for _ in range(4):
        peer.core.send_item(stream, b"x")
    assert not peer.core.writable(stream)
    assert len(peer.hear()) == 1
    assert peer.say(f.Grant(-1, 1024), f.Grant(-1, 1279)) == []
    assert peer.say(f.Grant(-1, 1280)) == [StreamUnblocked(stream)]
    assert peer.say(f.Grant(-1, 1 << 20)) == []


def test_what_has_ended_is_not_unblocked() -> None:
    peer = Peer(theirs=Limits(stream_window=1024, fragment_bytes=1024))
    _, (stream,) = peer.answered(0, (K.CHANNEL, 1))
    for _ in range(4):
        peer.core.send_message(stream, b"x")
    assert not peer.core.writable(stream)
    peer.core.end(stream)
    peer.hear()
    assert peer.say(f.Grant(-1, 1 << 20)) == []
    assert not peer.core.writable(stream)


def test_the_queue_unblocks_as_it_leaves() -> None:
    peer = Peer(theirs=Limits(stream_window=1 << 30))
    _, (stream,) = peer.answered(0, (K.BYTES, None))
    peer.core.send_chunk(stream, bytes(1 << 18))
    assert not peer.core.writable(stream)
    assert peer.core.events_received() == []
    peer.hear(1 << 16)
    assert peer.core.events_received() == []
    peer.hear(1 << 17)
    assert peer.core.events_received() == [StreamUnblocked(stream)]


def test_credit_for_small_arguments_and_answers_is_ignored() -> None:
    peer = Peer()
    peer.core.call("f", b"")
    peer.call(0)
    peer.hear()
    assert peer.say(f.Grant(-1, 1 << 20), f.Grant(0, 1 << 20)) == []


# --- what is not understood ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "frame"),
    [
        (K.ITEMS, f.Items(1, 0, 1, b"\x81\x00", {1: 0})),
        (K.ITEMS, f.Item(1, 0, 0, b"", (f.Declaration(2, K.PROMISE),), {1: 0})),
        (K.ITEMS, f.End(1, 0, 0, b"", (f.Declaration(2, K.PROMISE),), {1: 0})),
        (K.BYTES, f.Chunk(1, 0, b"x", {1: 0})),
        (K.CHANNEL, f.Item(1, 0, 0, b"", (f.Declaration(2, K.PROMISE),), {1: 0})),
        (K.CHANNEL, f.Grant(1, 1 << 20, {1: 0})),
        (K.FUNCTION, f.Unknown(129, 1)),
        (K.CHANNEL, f.Unknown(129, 1)),
        (K.ITEMS, f.Item(1, 0, 2001, bytes(2001), (f.Declaration(2, K.PROMISE),))),
        (K.CHANNEL, f.Item(1, 1, 2001, bytes(1))),
        (K.PROMISE, f.End(1, 1, 2001, bytes(1))),
    ],
)
def test_a_stream_that_is_rejected(kind: K, frame: f.Frame) -> None:
    peer, stream = theirs(kind, Limits(message_bytes=2000))
    code = C.MESSAGE_TOO_LARGE if getattr(frame, "size", 0) > 2000 else C.UNSUPPORTED
    events = peer.say(frame)
    expected = (
        ["StreamStopped", "StreamReset", "CallOver"] if kind is K.CHANNEL else ["StreamReset", "CallOver"]
    )
    assert names(events) == expected
    assert events[-2] == StreamReset(stream, code, b"")
    frames: list[f.Frame] = [f.Stop(-3, 0)] if getattr(frame, "declarations", ()) else []
    frames.append(f.Stop(-2, code))
    if kind is K.CHANNEL:
        frames.append(f.Reset(-2, code))
    assert peer.hear() == frames
    assert_empty(peer.core)


@pytest.mark.parametrize(
    ("kind", "frame"), [(K.ITEMS, f.Grant(-1, 9, {1: 0})), (K.FUNCTION, f.Unknown(129, -1))]
)
def test_a_stream_of_ours_that_is_rejected(kind: K, frame: f.Frame) -> None:
    peer, stream = ours(kind)
    assert peer.say(frame)[0] == StreamStopped(stream, C.UNSUPPORTED, b"")
    assert peer.hear() == [f.Reset(0, C.UNSUPPORTED)]
    assert_empty(peer.core)


def test_only_the_open_halves_are_rejected() -> None:
    peer, stream = theirs(K.CHANNEL)
    peer.core.stop(stream)
    peer.hear()
    assert names(peer.say(f.Unknown(129, 1))) == ["StreamStopped", "CallOver"]
    assert peer.hear() == [f.Reset(-2, C.UNSUPPORTED)]
    assert_empty(peer.core)


def test_a_part_that_is_not_understood() -> None:
    peer, _ = theirs(K.ITEMS)
    peer.say(f.Item(1, 1, 9, b"x"))
    last = f.Fragment(1, 0, bytes(8), (f.Declaration(2, K.PROMISE),), {1: 0})
    assert names(peer.say(last)) == ["StreamReset", "CallOver"]
    assert peer.hear() == [f.Stop(-3, 0), f.Stop(-2, C.UNSUPPORTED)]
    assert_empty(peer.core)


@pytest.mark.parametrize("frame", [f.Stop(-1, 0, b"", {1: 0}), f.Stop(-1, 0, b"", {14: 0})])
def test_a_farewell_holds_whatever_else_it_says(frame: f.Frame) -> None:
    peer, _ = ours(K.ITEMS)
    assert names(peer.say(frame)) == ["StreamStopped", "CallOver"]


def test_our_own_call_may_be_rejected_too() -> None:
    peer = Peer()
    call = peer.core.call("f", b"")
    peer.hear()
    assert names(peer.say(f.Unknown(129, -1), f.Unknown(131, -1))) == ["CallRejected"]
    assert peer.hear() == [f.Stop(0, C.UNSUPPORTED)]
    assert peer.say(f.Error(-1, C.STOPPED, 0, 0, b"")) == [CallOver(call, C.UNSUPPORTED, b"")]


def test_even_extension_frames_are_ignored() -> None:
    peer, _ = theirs(K.ITEMS)
    assert peer.say(f.Unknown(8), f.Unknown(64), f.Unknown(128, 1), f.Unknown(65280, 0)) == []
    assert peer.hear() == []


# --- floods --------------------------------------------------------------------------------------


def test_a_flood_of_pings() -> None:
    peer = Peer(Limits(unanswered_pings=2))
    for _ in range(3):
        peer.say(f.Ping(1), f.Ping(2))
        assert len(peer.hear()) == 2
    assert refusal(peer, *(f.Ping(number) for number in range(3))) is C.LIMIT_EXCEEDED


def test_a_flood_of_rejected_streams() -> None:
    peer, _ = theirs(K.ITEMS, Limits(open_streams=5))
    for number in range(2, 7):
        peer.say(f.Item(1, 0, 0, b"", (f.Declaration(number, K.ITEMS),)), f.Unknown(129, number))
    last = f.Item(1, 0, 0, b"", (f.Declaration(7, K.ITEMS),))
    assert refusal(peer, last, f.Unknown(129, 7)) is C.LIMIT_EXCEEDED


def test_a_flood_of_large_payloads_that_are_given_up_leaves_nothing_behind() -> None:
    peer, _ = theirs(K.ITEMS, Limits(session_budget=1 << 25))
    for number in range(2, 3000):
        peer.say(
            f.Item(1, 0, 0, b"", (f.Declaration(number, K.ITEMS),)),
            f.Item(number, 1, 1 << 24, b"x"),
            f.Reset(number, 0),
        )
        (stream,) = (each for each in peer.core._theirs.values() if each.number == 1)
        peer.core.consumed(stream)
    scheduler = peer.core._scheduler
    assert len(scheduler.control) + len(scheduler.grants) <= 1
    assert not peer.core._borrowers


# --- the budget ----------------------------------------------------------------------------------


def test_large_payloads_wait_for_the_budget_in_order_of_arrival() -> None:
    budget = Limits(session_budget=1 << 21, message_bytes=1 << 20, stream_window_read=1 << 16)
    peer = Peer(budget)
    call = peer.call(0, b"", *(f.Declaration(number, K.ITEMS) for number in range(1, 6)))
    large = 1 << 20
    for number in range(1, 5):
        peer.say(f.Item(number, 1, large, b"x"))
    peer.say(f.Item(5, 1, 100_000, b"x"))
    assert peer.hear() == [f.Grant(-2, large), f.Grant(-3, large)]
    # The first is whole and consumed: the third has its turn, and the small fifth does not overtake.
    for _ in range(16):
        peer.say(f.Fragment(1, 1, bytes(65_000)))
    peer.say(f.Fragment(1, 0, bytes(large - 1 - 16 * 65_000)))
    assert peer.hear() == []
    peer.core.consumed(call.declared[0])
    assert peer.hear() == [f.Grant(-2, large + 65536), f.Grant(-4, large)]
    # The second is given up by its sender, the third by us.
    peer.say(f.Reset(2, 0))
    assert peer.hear() == [f.Grant(-5, large), f.Grant(-6, 100_000)]
    peer.core.stop(call.declared[2])
    assert f.Stop(-4, 0) in peer.hear()
    assert not peer.core._borrowers
    for number in (1, 4, 5):
        peer.say(f.Reset(number, 0))
    peer.core.reject(call, C.INTERNAL)
    peer.core.finish(call)
    peer.hear()
    assert_empty(peer.core)


def test_windows_grow_from_the_first_consumption_while_half_the_budget_lasts() -> None:
    peer = Peer(Limits(session_budget=1 << 22, message_bytes=1 << 20))
    call = peer.call(0, b"", *(f.Declaration(number, K.ITEMS) for number in range(1, 5)))
    grants = []
    for number in range(1, 5):
        peer.say(f.Items(number, 0, 1, b"\x81\x00"))
        peer.core.consumed(call.declared[number - 1])
        grants += peer.hear()
    assert grants == [f.Grant(-2, (1 << 20) + 256), f.Grant(-3, (1 << 20) + 256)]
    peer.core.reject(call, C.INTERNAL)
    peer.core.finish(call)
    peer.hear()
    assert_empty(peer.core)
