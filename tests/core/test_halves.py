"""halves: how payloads are cut, charged, put together and refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telewire.core.events import (
    CallReceived,
    ChunkReceived,
    ItemReceived,
    ItemsReceived,
    StreamEnded,
    StreamFailed,
    StreamUnblocked,
)
from telewire.core.halves import QUEUE_BYTES, charge
from telewire.errors import LocalProtocolError, ResourceExhausted
from telewire.limits import Limits
from telewire.testing.pair import Pair
from telewire.wire import frames as f
from telewire.wire.codec import encode_batch, encode_frame
from tests.core.dialogue import C, K, Peer, only, refusal, settle

SMALL = Limits(fragment_bytes=1024, stream_window=4096, batch_bytes=4096, stream_window_read=4096)


def receiving(kind: K, ours: Limits | None = None) -> Peer:
    """A peer that has stream 1 of ``kind`` open to us, in call 0."""
    peer = Peer(ours)
    number = 9 if kind is K.CHANNEL else None
    peer.call(0, b"", f.Declaration(1, kind, number))
    return peer


# --- the ledger ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "size", "part", "whole", "cost"),
    [
        (True, 10, 10, True, 256),
        (True, 256, 256, True, 256),
        (True, 257, 257, True, 257),
        (True, 100, 40, False, 40),
        (True, 100, 60, True, 216),
        (True, 1000, 400, True, 400),
        (False, 0, 0, True, 0),
        (False, 256, 256, True, 0),
        (False, 256, 6, False, 0),
        (False, 257, 257, True, 257),
        (False, 1000, 400, False, 400),
    ],
)
def test_the_cost_of_a_frame(item: bool, size: int, part: int, whole: bool, cost: int) -> None:
    assert charge(item, size, part, whole, 256) == cost


def test_items_share_a_frame_and_pay_for_its_head() -> None:
    peer = Peer()
    _, (stream,) = peer.answered(0, (K.ITEMS, None))
    half = stream.send
    assert half is not None
    for value in range(3):
        peer.core.send_item(stream, bytes([value]))
    assert peer.hear() == [f.Items(0, 0, 3, b"\x83\x00\x01\x02")]
    assert half.window.used == 3 * 256
    peer.core.send_item(stream, bytes(1000))
    peer.hear()
    assert half.window.used == 3 * 256 + 1001
    assert half.queued == 0


def test_credit_counts_the_same_on_both_sides() -> None:
    pair = Pair()
    call = pair.client.call("f", b"")
    pair.deliver()
    incoming = only(pair.take()[1], CallReceived).call
    (stream,) = pair.server.resolve(incoming, b"", [(K.ITEMS, None)])
    pair.server.finish(incoming)
    for size in [1000] * 30 + [1] * 30 + [5000] * 4:
        pair.server.send_item(stream, bytes(size))
        pair.deliver()
    theirs = next(iter(call.owned))
    assert theirs.receive is not None
    assert stream.send is not None
    assert theirs.receive.window.received == stream.send.window.used


def test_a_sender_uses_its_credit_up_and_not_a_byte_more() -> None:
    peer = Peer(theirs=Limits(stream_window=1024, fragment_bytes=1024))
    _, (stream,) = peer.answered(0, (K.ITEMS, None))
    sent = 0
    while peer.core.writable(stream):
        peer.core.send_item(stream, b"x")
        sent += 1
    assert sent == 4
    assert peer.hear() == [f.Items(0, 0, 4, b"\x84xxxx")]
    assert stream.send is not None
    assert stream.send.window.available == 0


@pytest.mark.parametrize("window", [1024, 4096, 1 << 20])
def test_a_plain_item_is_sent_as_others_are(window: int) -> None:
    """What send_plain says is what writable says, and the same frames leave."""
    sizes = [1, 1, 700, 1, 300, 256, 257, 1, 5000, 1, 20_000, 1, *[90] * 900, 40_000, *[200] * 900]
    plain, other = (Peer(theirs=Limits(stream_window=window, fragment_bytes=1024)) for _ in range(2))
    _, (one,) = plain.answered(0, (K.ITEMS, None))
    _, (same,) = other.answered(0, (K.ITEMS, None))
    limit = window
    for number, size in enumerate(sizes):
        more = plain.core.send_plain(one, bytes(size))
        other.core.send_item(same, bytes(size))
        assert more == other.core.writable(same), number
        if number % 50 == 49 or not more:
            while not plain.core.writable(one):
                assert plain.hear(1 << 20) == other.hear(1 << 20), number
                limit += 1000
                for peer in (plain, other):
                    peer.say(f.Grant(-1, limit))
            assert plain.core.events_received() == []
            assert other.core.writable(same)
    assert plain.hear(1 << 22) == other.hear(1 << 22)


def test_a_plain_item_is_refused_as_others_are() -> None:
    peer = Peer(theirs=Limits(stream_window=1024, fragment_bytes=1024, message_bytes=2048))
    _, (items, chunks) = peer.answered(0, (K.ITEMS, None), (K.BYTES, None))
    with pytest.raises(LocalProtocolError, match="is not open for sending items"):
        peer.core.send_plain(chunks, b"x")
    with pytest.raises(ResourceExhausted):
        peer.core.send_plain(items, bytes(2049))
    for _ in range(3):
        assert peer.core.send_plain(items, b"x")
    assert not peer.core.send_plain(items, b"x")
    with pytest.raises(LocalProtocolError, match="has no credit left"):
        peer.core.send_plain(items, b"x")
    peer.core.end(items)
    with pytest.raises(LocalProtocolError, match="is not open for sending items"):
        peer.core.send_plain(items, b"x")


def test_a_small_item_waits_for_the_credit_that_it_needs() -> None:
    peer = Peer(theirs=Limits(stream_window=1024, fragment_bytes=1024))
    _, (stream,) = peer.answered(0, (K.ITEMS, None))
    for _ in range(3):
        peer.core.send_item(stream, b"x")
    assert peer.hear() == [f.Items(0, 0, 3, b"\x83xxx")]
    peer.core.send_item(stream, bytes(503))
    assert peer.hear() == []
    peer.say(f.Grant(-1, 1279))
    assert peer.hear() == []
    peer.say(f.Grant(-1, 1280))
    assert peer.hear() == [f.Items(0, 0, 1, b"\x81" + bytes(503))]


def test_bytes_use_their_credit_up() -> None:
    peer = Peer(theirs=Limits(stream_window=1024, fragment_bytes=1024))
    _, (stream,) = peer.answered(0, (K.BYTES, None))
    peer.core.send_chunk(stream, bytes(3000))
    [chunk] = peer.hear()
    assert isinstance(chunk, f.Chunk)
    assert len(chunk.payload) == 1024
    peer.say(f.Grant(-1, 1024 + 255))
    assert peer.hear() == []
    peer.say(f.Grant(-1, 1024 + 300))
    [chunk] = peer.hear()
    assert isinstance(chunk, f.Chunk)
    assert len(chunk.payload) == 300
    peer.say(f.Grant(-1, 1 << 20))
    rest = peer.hear()
    assert sum(len(frame.payload) for frame in rest if isinstance(frame, f.Chunk)) == 3000 - 1324


def test_the_local_queue_is_bounded_whatever_was_granted() -> None:
    peer = Peer(theirs=Limits(stream_window=1 << 40))
    _, (stream,) = peer.answered(0, (K.ITEMS, None))
    while peer.core.writable(stream):
        peer.core.send_item(stream, bytes(1000))
    assert stream.send is not None
    assert QUEUE_BYTES <= stream.send.queued < QUEUE_BYTES + 1001
    peer.hear()
    assert peer.core.writable(stream)


def test_an_empty_chunk_is_not_the_end() -> None:
    peer = Peer()
    _, (stream,) = peer.answered(0, (K.BYTES, None))
    peer.core.send_chunk(stream, b"")
    assert peer.hear() == []
    peer.core.send_chunk(stream, b"x")
    peer.core.end(stream)
    assert peer.hear() == [f.Chunk(0, 0, b"x"), f.End(0, 0, 0, b"")]


# --- cutting and putting together ----------------------------------------------------------------


@given(
    st.lists(st.integers(0, 30_000), min_size=1, max_size=6),
    st.sampled_from([Limits(), SMALL, Limits(fragment_bytes=1024, stream_window=1 << 20)]),
)
def test_any_items_arrive_as_they_were(sizes: list[int], limits: Limits) -> None:
    pair = Pair(client_limits=limits)
    pair.client.call("f", b"")
    pair.deliver()
    incoming = only(pair.take()[1], CallReceived).call
    (stream,) = pair.server.resolve(incoming, b"", [(K.ITEMS, None)])
    pair.server.finish(incoming)
    arrived = b""
    for index, size in enumerate(sizes):
        while not pair.server.writable(stream):
            arrived += consume_all(pair)
        pair.server.send_item(stream, bytes([index % 256]) * size)
        arrived += consume_all(pair)
    pair.server.end(stream, b"value")
    arrived += consume_all(pair)
    assert arrived == b"".join(bytes([index % 256]) * size for index, size in enumerate(sizes)) + b"value"
    settle(pair)


def consume_all(pair: Pair) -> bytes:
    """Deliver, and consume all that the client has got."""
    pair.deliver()
    arrived = b""
    for event in pair.take()[0]:
        if isinstance(event, ItemReceived):
            arrived += event.payload
            pair.client.consumed(event.stream)
        elif isinstance(event, ItemsReceived):
            arrived += event.payload[1:]
            assert event.count < 24
            pair.client.consumed(event.stream, event.count)
        elif isinstance(event, StreamEnded):
            arrived += event.payload
    pair.deliver()
    return arrived


def test_a_large_payload_asks_for_its_remainder_at_once() -> None:
    peer = Peer(theirs=SMALL)
    _, (stream,) = peer.answered(0, (K.ITEMS, None))
    peer.core.send_item(stream, bytes(10_000))
    frames = peer.hear()
    assert frames[0] == f.Item(0, 1, 10_000, bytes(1024))
    assert [type(frame) for frame in frames[1:]] == [f.Fragment] * 3
    peer.say(f.Grant(-1, 10_000))
    frames = peer.hear()
    assert frames[-1] == f.Fragment(0, 0, bytes(10_000 - 4096 - 5 * 1024))


def test_a_payload_of_half_a_window_waits_whole() -> None:
    peer = Peer(theirs=Limits(fragment_bytes=4096, stream_window=4096))
    _, (stream,) = peer.answered(0, (K.ITEMS, None))
    peer.core.send_item(stream, bytes(3000))
    peer.core.send_item(stream, bytes(2048))
    assert [type(frame) for frame in peer.hear()] == [f.Item]
    peer.say(f.Grant(-1, 5048))
    assert peer.hear() == [f.Item(0, 0, 2048, bytes(2048))]


def test_the_receiver_grants_what_the_last_part_lacks_to_the_least_cost() -> None:
    peer = receiving(K.ITEMS, Limits(stream_window=1024, stream_window_read=1024))
    peer.say(f.Items(1, 0, 3, b"\x83" + bytes(900)))
    peer.say(f.Item(1, 1, 100, bytes(40)))
    assert peer.hear() == [f.Grant(-2, 901 + 256)]
    assert isinstance(peer.say(f.Fragment(1, 0, bytes(60)))[0], ItemReceived)


def test_an_answer_of_the_least_cost_needs_no_credit_even_in_parts() -> None:
    peer = Peer()
    call = peer.core.call("f", b"")
    peer.hear()
    assert peer.say(f.End(-1, 1, 200, bytes(100))) == []
    assert call.receive is not None
    assert call.receive.window.received == 0
    peer.say(f.Fragment(-1, 0, bytes(100)))
    assert call.over


def test_a_frame_leaves_room_for_its_declarations() -> None:
    tight = Limits(fragment_bytes=2048, batch_bytes=3072)
    pair = Pair(server_limits=tight)
    call = pair.client.call("n" * 1000, bytes(5000), [(K.FUNCTION, number) for number in range(80)])
    pair.deliver()
    event = only(pair.take()[1], CallReceived)
    assert len(event.declared) == 80
    assert len(event.payload) == 5000
    assert call.number == 0


@pytest.mark.parametrize("size", [0, 1, 200, 256])
def test_free_payloads_are_cut_where_only_little_fits(size: int) -> None:
    tight = Limits(fragment_bytes=1024, batch_bytes=2048)
    pair = Pair(server_limits=tight)
    pair.client.call("n" * 100, bytes(size), [(K.FUNCTION, number) for number in range(90)])
    pair.deliver()
    assert only(pair.take()[1], CallReceived).payload == bytes(size)


# --- refusing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "frames", "code"),
    [
        (K.ITEMS, [f.Fragment(1, 0, b"x")], C.INVALID_STATE),
        (K.ITEMS, [f.Item(1, 1, 9, b"x"), f.Item(1, 0, 1, b"x")], C.INVALID_STATE),
        (K.ITEMS, [f.Item(1, 1, 9, b"x"), f.Items(1, 0, 1, b"\x81x")], C.INVALID_STATE),
        (K.ITEMS, [f.Item(1, 1, 9, b"x"), f.End(1, 0, 0, b"")], C.INVALID_STATE),
        (K.ITEMS, [f.Item(1, 1, 9, b"x"), f.Fragment(1, 0, b"x")], C.INVALID_FRAME),
        (K.ITEMS, [f.Item(1, 1, 9, b"x"), f.Fragment(1, 0, b"x" * 9)], C.INVALID_FRAME),
        (K.ITEMS, [f.Item(1, 1, 9, b"x"), f.Fragment(1, 1, b"x" * 8)], C.INVALID_FRAME),
        (K.ITEMS, [f.Item(1, 1, 9, b"x"), f.Fragment(1, 1, b"x" * 9)], C.INVALID_FRAME),
        (K.BYTES, [f.Error(1, 1, 1, 9, b"x"), f.Chunk(1, 0, b"x")], C.INVALID_STATE),
        (K.BYTES, [f.End(1, 0, 1, b"x")], C.INVALID_STATE),
        (K.CHANNEL, [f.End(1, 1, 9, b"x")], C.INVALID_STATE),
        (K.CHANNEL, [f.End(1, 0, 0, b"", (f.Declaration(2, K.ITEMS),))], C.INVALID_STATE),
    ],
)
def test_payloads_that_do_not_hold_together(kind: K, frames: list[f.Frame], code: C) -> None:
    assert refusal(receiving(kind), *frames) is code


@pytest.mark.parametrize(
    ("kind", "within", "beyond"),
    [
        (K.BYTES, f.Chunk(1, 0, bytes(1024)), f.Chunk(1, 0, b"x")),
        (K.ITEMS, f.Items(1, 0, 4, b"\x84" + bytes(4)), f.Items(1, 0, 1, b"\x81x")),
        (K.ITEMS, f.Item(1, 0, 1024, bytes(1024)), f.Item(1, 0, 1, b"x")),
        (K.CHANNEL, f.Item(1, 0, 1024, bytes(1024)), f.Item(1, 0, 0, b"")),
    ],
)
def test_not_a_byte_passes_the_credit(kind: K, within: f.Frame, beyond: f.Frame) -> None:
    peer = receiving(kind, Limits(stream_window=1024))
    assert len(peer.say(within)) == 1
    assert refusal(peer, beyond) is C.FLOW_CONTROL


@pytest.mark.parametrize("frame", [f.End(1, 0, 1025, bytes(1025)), f.Error(1, 1, 0, 1025, bytes(1025))])
def test_an_end_needs_credit_too(frame: f.Frame) -> None:
    peer = receiving(K.PROMISE, Limits(stream_window=1024))
    assert refusal(peer, frame) is C.FLOW_CONTROL


def test_an_error_gives_an_incomplete_payload_up() -> None:
    peer = receiving(K.ITEMS)
    peer.say(f.Item(1, 1, 100_000, bytes(1000)))
    [event] = peer.say(f.Error(1, C.ABORTED, 0, 3, b"why"))
    assert isinstance(event, StreamFailed)
    assert (event.code, event.payload) == (C.ABORTED, b"why")
    assert not peer.core._borrowers
    assert peer.core._budget.left == peer.core.limits.session_budget


def test_an_error_in_parts_gives_an_incomplete_payload_up() -> None:
    peer = receiving(K.ITEMS, Limits(stream_window=2048, stream_window_read=2048))
    peer.say(f.Item(1, 1, 10_000, bytes(1000)))
    assert peer.hear() == [f.Grant(-2, 10_000)]
    peer.say(f.Error(1, C.ABORTED, 1, 60_000, bytes(9000)))
    assert peer.hear() == [f.Grant(-2, 61_000)]
    [event] = peer.say(f.Fragment(1, 0, bytes(51_000)))
    assert isinstance(event, StreamFailed)


def test_chunks_keep_their_bytes() -> None:
    peer = receiving(K.BYTES)
    assert peer.say(f.Chunk(1, 0, b"a"), f.Chunk(1, 0, b"bc"))[0] == ChunkReceived(peer.core._theirs[1], b"a")


def test_memory_is_not_reserved_for_what_is_only_announced() -> None:
    peer = receiving(K.ITEMS)
    peer.core.receive_data(encode_batch([encode_frame(f.Item(1, 1, 1 << 24, b"x"))]), 0.0)
    half = peer.core._theirs[1].receive
    assert half is not None
    arrival = half.arrival
    assert arrival is not None
    assert sum(map(len, arrival.parts)) == 1


# --- what a half says of itself ---------------------------------------------------------------------


def test_how_much_room_is_left() -> None:
    peer = Peer(theirs=Limits(stream_window=2048, fragment_bytes=1024))
    call, (stream, function) = peer.answered(0, (K.BYTES, None), (K.FUNCTION, 1))
    assert peer.core.room(stream) == 2048
    peer.core.send_chunk(stream, b"x")
    peer.core.send_chunk(stream, bytes(1000))
    assert peer.core.room(stream) == 2048 - 256 - 1000
    peer.hear()
    # They left in one frame, which cost what it has.
    assert peer.core.room(stream) == 2048 - 1001
    peer.core.send_chunk(stream, bytes(5000))
    assert peer.core.room(stream) == 0
    peer.core.reset(stream)
    assert peer.core.room(stream) == peer.core.room(function) == peer.core.room(call) == 0


def test_an_end_says_when_it_has_left() -> None:
    peer = Peer(theirs=Limits(stream_window=2048))
    _, (stream, function) = peer.answered(0, (K.CHANNEL, 1), (K.FUNCTION, 2))
    assert peer.core.flushed(function)
    for _ in range(2):
        peer.core.send_message(stream, bytes(1000))
    # It is not on its way yet.
    assert peer.core.flushed(stream)
    peer.core.end(stream)
    assert not peer.core.flushed(stream)
    peer.core.events_received()
    peer.hear()
    assert peer.core.events_received() == [StreamUnblocked(stream)]
    assert peer.core.flushed(stream)

    # Nobody asked.
    _, (stream,) = peer.answered(1, (K.CHANNEL, 3))
    peer.core.end(stream)
    peer.core.events_received()
    peer.hear()
    assert peer.core.events_received() == []

    # It never will, and there are other events that say so.
    _, (stream,) = peer.answered(2, (K.CHANNEL, 4))
    peer.core.send_message(stream, b"x")
    peer.core.end(stream)
    assert not peer.core.flushed(stream)
    peer.core.reset(stream)
    assert peer.core.flushed(stream)
    peer.core.events_received()
    peer.hear()
    assert peer.core.events_received() == []


def test_chunks_that_are_ready_together_share_a_frame() -> None:
    peer = Peer(theirs=Limits(stream_window=8192, fragment_bytes=1024))
    _, (stream,) = peer.answered(0, (K.BYTES, None))
    for chunk in (b"a", b"b", bytes(1000), bytes(30), b"c"):
        peer.core.send_chunk(stream, chunk)
    peer.core.end(stream)
    assert peer.hear() == [
        f.Chunk(0, 0, b"ab" + bytes(1000)),
        f.Chunk(0, 0, bytes(30) + b"c"),
        f.End(0, 0, 0, b""),
    ]


# --- payloads that wait for the budget -----------------------------------------------------------

TIGHT = Limits(
    fragment_bytes=1024,
    stream_window=2048,
    stream_window_read=2048,
    batch_bytes=4096,
    message_bytes=32 * 1024,
    session_budget=64 * 1024,
)


def grants(peer: Peer) -> list[tuple[int, int]]:
    """The grants that leave now."""
    return [(frame.stream, frame.limit) for frame in peer.hear() if isinstance(frame, f.Grant)]


def waiting_for_budget() -> Peer:
    """A peer whose streams 1 and 2 have taken the budget, so that 3 and 4 wait, each with a payload."""
    peer = Peer(TIGHT)
    peer.call(0, b"", *(f.Declaration(number, K.ITEMS) for number in (1, 2, 3, 4)))
    for number in (1, 2):
        peer.say(f.Item(number, 1, 32_000, bytes(1024)))
    assert grants(peer) == [(-2, 32_000), (-3, 32_000)]
    peer.say(f.Item(3, 1, 20_000, bytes(1024)))
    peer.say(f.Item(4, 1, 1500, bytes(1024)))
    assert peer.hear() == []
    return peer


def test_what_came_while_a_payload_waited_is_not_granted_again() -> None:
    peer = waiting_for_budget()
    peer.say(f.Fragment(3, 1, bytes(1024)))
    peer.say(f.Reset(1, 0))
    assert grants(peer) == [(-4, 20_000)]


def test_a_payload_that_is_whole_waits_for_nothing() -> None:
    peer = waiting_for_budget()
    [event] = peer.say(f.Fragment(4, 0, bytes(476)))
    assert isinstance(event, ItemReceived)
    before = peer.core._budget.left
    peer.say(f.Reset(3, 0))
    assert grants(peer) == []
    assert not peer.core._borrowers
    assert peer.core._budget.left == before
