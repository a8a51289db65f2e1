"""What the peer makes us hold, where it could hold more than it pays for (TW-LIM-051, 054, 055)."""

from __future__ import annotations

import sys

import pytest

from telewire.core.events import (
    CallReceived,
    ConnectionClosed,
    ItemReceived,
    ItemsReceived,
    StreamEnded,
    StreamReset,
)
from telewire.core.flow import Pool
from telewire.core.replay import SHARE_BYTES
from telewire.errors import ErrorCode
from telewire.limits import Limits
from telewire.wire import frames as f
from tests.core.dialogue import C, K, Peer, assert_empty, names, only
from tests.core.session import SessionPeer


def promises(first: int, count: int) -> tuple[f.Declaration, ...]:
    return tuple(f.Declaration(first + index, K.PROMISE) for index in range(count))


# --- parts of a payload --------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[1] * 300, [511, 1, 512, 600, 3], [2, 600, 2, 2, 600, 600, 5], [700, 700]])
def test_parts_of_every_size_make_the_payload(sizes: list[int]) -> None:
    peer = Peer()
    call = peer.call(0, b"", f.Declaration(1, K.ITEMS))
    payload = bytes(index % 251 for index in range(sum(sizes)))
    peer.say(f.Item(1, 1, len(payload) + 1, b"\xff"))
    at = 0
    for index, size in enumerate(sizes):
        last = index == len(sizes) - 1
        events = peer.say(f.Fragment(1, int(not last), payload[at : at + size]))
        at += size
    assert names(events) == ["ItemReceived"]
    received = only(events, ItemReceived).payload
    assert received == b"\xff" + payload
    assert type(received) is bytes
    assert not call.over


def test_small_parts_are_kept_as_one() -> None:
    peer = Peer()
    call = peer.call(0, b"", f.Declaration(1, K.ITEMS))
    peer.say(f.Item(1, 1, 10_000, b"x"))
    for _ in range(1000):
        peer.say(f.Fragment(1, 1, b"xy"))
    half = call.declared[0].receive
    assert half is not None
    assert half.arrival is not None
    assert half.arrival.received == 2001
    assert len(half.arrival.parts) == 2


def test_extensions_of_a_payload_that_is_not_whole_are_not_kept() -> None:
    peer = Peer()
    call = peer.call(0, b"", f.Declaration(1, K.ITEMS))
    peer.say(f.Item(1, 1, 100, b"x", (), {14: ["much"] * 100}))
    half = call.declared[0].receive
    assert half is not None
    assert half.arrival is not None
    assert half.arrival.frame.extensions is None
    # Those of a call are its headers.
    peer.say(f.Call(2, "f", 1, 2, b"x", (), {6: {"a": "b"}}))
    [event] = peer.say(f.Fragment(2, 0, b"x"))
    assert isinstance(event, CallReceived)
    assert event.metadata == {"a": "b"}


# --- streams of calls that wait ------------------------------------------------------------------


def waiting(limits: Limits) -> Peer:
    """A peer whose call 2, on its channel 1, has not arrived whole: later calls on that wait."""
    peer = Peer(limits)
    peer.call(0, b"", f.Declaration(1, K.CHANNEL, 1))
    peer.say(f.Call(2, 1, 1, 2, b"x"))
    return peer


@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_stream_that_ends_while_its_call_waits_keeps_its_place(how: str) -> None:
    peer = waiting(Limits(open_streams=4))
    assert peer.say(f.Call(3, 1, 0, 0, b"", promises(4, 3))) == []
    for number in (4, 5, 6):
        frame = f.End(number, 0, 1, b"v") if how == "end" else f.Reset(number, C.ABORTED, b"why")
        assert peer.say(frame) == []
    # There is room for no more until the application has heard of these.
    assert peer.say(f.Call(7, 1, 0, 0, b"", promises(8, 1))) == []
    assert f.Stop(-9, C.RESOURCE_EXHAUSTED) in peer.hear()
    events = peer.say(f.Fragment(2, 0, b"x"))
    told = [event for event in events if isinstance(event, StreamEnded if how == "end" else StreamReset)]
    assert len([event for event in told if event.stream.number in (4, 5, 6)]) == 3
    again = [event.call for event in events if isinstance(event, CallReceived)]
    assert len(again) == 3
    other = peer.call(9, b"", *promises(10, 3))
    assert [stream.retired for stream in other.declared] == [False] * 3


def test_the_places_are_free_again_where_the_call_is_refused() -> None:
    peer = waiting(Limits(open_streams=4))
    peer.say(f.Call(3, 1, 0, 0, b"", promises(4, 3)))
    peer.say(f.Reset(4, C.ABORTED), f.End(5, 0, 1, b"v"))
    peer.say(f.Stop(3, C.CANCELLED))
    assert peer.core._accepted == [1, 1]
    other = peer.call(7, b"", *promises(8, 3))
    assert [stream.retired for stream in other.declared] == [False] * 3


def test_nothing_is_left_where_the_connection_ends() -> None:
    peer = waiting(Limits(open_streams=4))
    peer.say(f.Call(3, 1, 0, 0, b"", promises(4, 3)))
    peer.say(f.Reset(4, C.ABORTED), f.End(5, 0, 1, b"v"))
    peer.core.receive_eof(0.0)
    for event in peer.core.events_received():
        if isinstance(event, CallReceived):
            peer.core.finish(event.call)
    for call in {stream.call for stream in peer.core._theirs.values()}:
        raise AssertionError(call)
    assert peer.core._accepted == [0, 0]


# --- codes of a close ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (0, C.NONE),
        (11, C.GOING_AWAY),
        (16, C.SESSION_LOST),
        (33, C.MALFORMED),
        *((code, C.PROTOCOL_ERROR) for code in (1, 2, 5, 10, 31, 46, 99, (1 << 53) - 1)),
    ],
)
def test_the_code_of_a_close(said: int, heard: ErrorCode) -> None:
    peer = Peer()
    events = peer.say(f.Close(said, "text"))
    assert events == [ConnectionClosed(heard, "text", by_peer=True)]
    assert_empty(peer.core)


# --- the pool of a process -----------------------------------------------------------------------

LARGE = Limits(session_budget=1 << 20, message_bytes=1 << 18, stream_window=1024, stream_window_read=4096)


def test_what_all_sessions_take_is_bounded_and_given_back() -> None:
    pool = Pool(1 << 20)
    peers = [Peer(LARGE, pool=pool) for _ in range(8)]
    for peer in peers:
        peer.call(0, b"", f.Declaration(1, K.ITEMS))
        peer.say(f.Item(1, 1, 1 << 18, bytes(1024)))
    # Four payloads of 256 KiB have room; the others wait, and say so.
    granted = [peer for peer in peers if any(isinstance(frame, f.Grant) for frame in peer.hear())]
    assert granted == peers[:4]
    assert 0 <= pool.left < 1 << 18
    assert pool.wanted
    told: list[bool] = []
    pool.on_room = lambda: told.append(True)
    peers[0].say(f.Reset(1, C.ABORTED))
    peers[1].core.receive_eof(0.0)
    peers[1].core.close()
    assert told == [True]
    for peer in peers:
        peer.core.grant_again()
    assert [peer for peer in peers if any(isinstance(frame, f.Grant) for frame in peer.hear())][:1] == peers[
        4:5
    ]
    for peer in peers:
        peer.core.close()
        peer.hear()
    assert pool.left == 1 << 20
    assert pool.left_to_grow == 1 << 19


def test_a_large_payload_waits_until_there_is_room_for_it() -> None:
    pool = Pool(1000)
    told: list[bool] = []
    pool.on_room = lambda: told.append(True)
    assert pool.take(900)
    assert not pool.take(500)
    assert not pool.take(300)
    pool.give(100)
    # What comes back bit by bit wakes nobody for whom it is too little.
    assert told == []
    pool.give(100)
    assert told == [True]
    pool.give(700)
    assert told == [True]


def weight(peer: SessionPeer) -> int:
    """What the frames take that a session keeps for its peer, as Python counts it."""
    departures = peer.core._departures
    assert departures is not None
    return sum(sys.getsizeof(frame) + 8 for frame in departures._kept)


def answer_calls(peer: SessionPeer, first: int, count: int = 500) -> int:
    """Let the peer make small calls, and answer them with next to nothing; returns how much left of that."""
    events = peer.say(*(f.Call(first + number, "f", 0, 0, b"") for number in range(count)))
    for event in events:
        if isinstance(event, CallReceived):
            peer.core.resolve(event.call, b"")
            peer.core.finish(event.call)
    return len([frame for frame in peer.hear() if isinstance(frame, f.End)])


def test_small_frames_are_kept_at_what_they_weigh() -> None:
    # A frame of five bytes takes more than ten times as much for being kept.
    limits = Limits(replay_bytes=1 << 18)
    peer = SessionPeer(ours=limits, theirs=Limits(batch_bytes=1 << 17))
    left = first = 0
    while answered := answer_calls(peer, first):
        left, first = left + answered, first + 500
    assert left > 1000
    assert (1 << 16) < weight(peer) <= limits.replay_bytes


def test_what_many_sessions_keep_is_drawn_from_the_pool() -> None:
    """One who opens many sessions and acknowledges nothing: all together keep what the process allows."""
    pool = Pool(1 << 20)
    attackers = [SessionPeer(theirs=Limits(stream_window=1 << 30), pool=pool) for _ in range(20)]
    for peer in attackers:
        call = peer.call(0)
        [stream] = peer.core.resolve(call, b"", [(K.ITEMS, None)])
        for _ in range(100):
            if not peer.core.writable(stream):
                break
            peer.core.send_item(stream, bytes(10_000))
            peer.hear()
    kept = sum(weight(peer) for peer in attackers)
    # The frame by which a session comes to its bound is kept, too.
    assert (1 << 19) < kept <= (1 << 19) + len(attackers) * (SHARE_BYTES + 10_100)
    assert 0 <= pool.left_to_grow < SHARE_BYTES
    # The other half is there for large payloads, and who acknowledges is served as before.
    assert pool.left >= 1 << 19
    honest = SessionPeer(pool=pool)
    for number in range(20):
        assert answer_calls(honest, 500 * number) == 500
        honest.say(f.Ack(500 * number + 500))
    for index, peer in enumerate(attackers):
        assert peer.core.drawn <= 1 << 19
        if index % 2:
            peer.lose()
            peer.wait(61)
        else:
            # What waits for an acknowledgement is waited for, but not for ever.
            peer.core.close()
            peer.hear()
            peer.wait(6)
        assert peer.core.drawn == 0
    assert (pool.left, pool.left_to_grow) == (1 << 20, 1 << 19)


def test_windows_take_at_most_half_of_the_pool() -> None:
    pool = Pool(10_000)
    peers = [Peer(LARGE, pool=pool) for _ in range(4)]
    for peer in peers:
        peer.call(0, b"", f.Declaration(1, K.ITEMS))
        peer.core.consumed(only(peer.say(f.Items(1, 0, 1, b"\x81\x00")), ItemsReceived).stream)
    assert pool.left == 10_000 - 3072
    assert not pool.wanted
    for peer in peers:
        peer.core.close()
        peer.hear()
    assert (pool.left, pool.left_to_grow) == (10_000, 5_000)
