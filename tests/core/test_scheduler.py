"""scheduler: what leaves next, and that nobody waits longer than fairness allows."""

from __future__ import annotations

import pytest

from telewire.core.scheduler import CONTROL_BYTES
from telewire.limits import Limits
from telewire.wire import frames as f
from telewire.wire.codec import encode_frame
from tests.core.dialogue import C, K, Peer

LARGE = Limits(stream_window=1 << 30, message_bytes=1 << 26)


def is_call(frame: f.Frame) -> bool:
    return isinstance(frame, f.Call)


def test_a_small_call_passes_a_large_byte_stream_within_two_frames() -> None:
    peer = Peer(theirs=LARGE)
    _, (stream,) = peer.answered(0, (K.BYTES, None))
    peer.core.send_chunk(stream, bytes(1 << 24))
    assert all(isinstance(frame, f.Chunk) for frame in peer.hear(200_000))
    peer.core.call("small", b"0123456789")
    following: list[f.Frame] = []
    while not any(map(is_call, following)):
        following += peer.hear(1)
    assert len(following) <= 3


def test_a_small_call_passes_a_large_argument_within_two_frames() -> None:
    peer = Peer(theirs=LARGE)
    peer.core.call("large", bytes(1 << 24))
    peer.hear(300_000)
    peer.core.call("small", b"0123456789")
    following: list[f.Frame] = []
    while not any(map(is_call, following)):
        following += peer.hear(1)
    assert len(following) <= 3


def test_two_bulk_streams_share_evenly() -> None:
    peer = Peer(theirs=LARGE)
    _, streams = peer.answered(0, (K.BYTES, None), (K.BYTES, None))
    for stream in streams:
        peer.core.send_chunk(stream, bytes(1 << 24))
    sizes = {1: 0, 2: 0}
    for frame in peer.hear(1 << 22):
        assert isinstance(frame, f.Chunk)
        sizes[frame.stream - streams[0].number + 1] += len(frame.payload)  # type: ignore[operator]
    assert abs(sizes[1] - sizes[2]) <= Limits().fragment_bytes


def test_items_get_their_share_beside_bytes() -> None:
    peer = Peer(theirs=LARGE)
    _, (items, data) = peer.answered(0, (K.ITEMS, None), (K.BYTES, None))
    peer.core.send_chunk(data, bytes(1 << 24))
    sent_items = 0
    for _ in range(100):
        while peer.core.writable(items):
            peer.core.send_item(items, bytes(1000))
        sent_items += sum(len(frame.payload) for frame in peer.hear(1 << 16) if isinstance(frame, f.Items))
    # Half of what left, give or take one turn of each.
    assert sent_items > 100 * (1 << 15) - 2 * (1 << 16)


def test_control_goes_first_but_data_is_not_starved() -> None:
    peer = Peer()
    streams = [peer.call(0, b"", *(f.Declaration(1 + i, K.ITEMS) for i in range(900))).declared]
    for stream in streams[0]:
        peer.core.stop(stream, C.CANCELLED, bytes(60))
    peer.core.call("f", b"")
    frames = peer.hear(1)
    while not is_call(frames[-1]):
        frames += peer.hear(1)
    before = sum(len(encode_frame(frame)) for frame in frames[:-1])
    assert CONTROL_BYTES <= before < CONTROL_BYTES + 100
    rest = peer.hear()
    assert len(frames) - 1 + len(rest) == 900


def test_control_alone_is_not_held_up() -> None:
    peer = Peer()
    call = peer.call(0, b"", *(f.Declaration(1 + i, K.ITEMS) for i in range(900)))
    for stream in call.declared:
        peer.core.stop(stream, C.CANCELLED, bytes(60))
    assert len(peer.hear()) == 900


def test_a_half_that_waits_for_credit_does_not_hold_up_control() -> None:
    peer = Peer()
    _, (stream,) = peer.answered(0, (K.BYTES, None))
    peer.core.send_chunk(stream, bytes(100_000))
    call = peer.call(1, b"", *(f.Declaration(2 + i, K.ITEMS) for i in range(900)))
    for each in call.declared:
        peer.core.stop(each, C.CANCELLED, bytes(60))
    frames = peer.hear()
    assert sum(isinstance(frame, f.Stop) for frame in frames) == 900
    assert sum(isinstance(frame, f.Chunk) for frame in frames) == 1


def test_a_grant_waits_once_and_says_the_last_limit() -> None:
    peer = Peer(ours=Limits(stream_window_read=64 * 1024))
    call = peer.call(0, b"", f.Declaration(1, K.BYTES))
    peer.say(f.Chunk(1, 0, bytes(60_000)))
    peer.core.consumed(call.declared[0], 40_000)
    peer.core.consumed(call.declared[0], 10_000)
    assert peer.hear() == [f.Grant(-2, 40_000 + 65536)]
    peer.core.consumed(call.declared[0], 10_000)
    assert peer.hear() == []


def test_a_grant_of_what_has_ended_does_not_leave() -> None:
    peer = Peer()
    call = peer.call(0, b"", f.Declaration(1, K.BYTES))
    peer.say(f.Chunk(1, 0, bytes(60_000)))
    peer.core.consumed(call.declared[0], 60_000)
    peer.say(f.End(1, 0, 0, b""))
    assert peer.hear() == []


@pytest.mark.parametrize("sizes", [(0, 200_000, 5), (200_000, 0, 100_000, 300, 0)])
def test_calls_leave_in_the_order_they_were_made(sizes: tuple[int, ...]) -> None:
    peer = Peer()
    _, (bulk,) = peer.answered(0, (K.BYTES, None))
    peer.core.send_chunk(bulk, bytes(60_000))
    for index, size in enumerate(sizes):
        peer.core.call(f"f{index}", bytes(size))
    calls = [frame.target for frame in peer.hear() if isinstance(frame, f.Call)]
    assert calls == [f"f{index}" for index in range(len(sizes))]
