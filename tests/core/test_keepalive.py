"""keepalive: signs of life while a long frame crosses, and how often a side asks (TW-NEG-063, TW-NEG-066)."""

from __future__ import annotations

from telewire.core.connection import MOST_PINGS
from telewire.limits import Limits
from telewire.wire import frames as f
from tests.core.dialogue import Peer
from tests.core.session import SessionPeer

IDLE = Limits().idle_seconds


def pings(frames: list[f.Frame]) -> list[int]:
    return [frame.number for frame in frames if isinstance(frame, f.Ping)]


def test_parts_of_a_batch_are_answered_by_a_sign_of_life_now_and_then() -> None:
    peer = Peer()
    assert not peer.core.receive_bytes(IDLE - 1)
    assert peer.hear() == []
    assert peer.core.receive_bytes(IDLE)
    assert peer.hear() == [f.Pong(0)]
    assert not peer.core.receive_bytes(2 * IDLE - 1)
    assert peer.hear() == []
    assert peer.core.receive_bytes(2 * IDLE)
    # One that could not leave yet is enough.
    assert not peer.core.receive_bytes(3 * IDLE)
    assert peer.hear() == [f.Pong(0)]


def test_no_sign_of_life_without_somebody_to_see_it() -> None:
    peer = SessionPeer()
    peer.lose()
    assert not peer.core.receive_bytes(IDLE)
    assert peer.hear() == []


def test_no_more_pings_wait_for_their_pong_than_may() -> None:
    peer = Peer()
    asked: list[int] = []
    now = 0.0
    for _ in range(2 * MOST_PINGS):
        now += IDLE
        peer.core.handle_timeout(now)
        asked += pings(peer.hear())
        # Some bytes come, and no answer.
        peer.core.receive_bytes(now)
    assert asked == [1, 2, 3, 4]
    for number in (0, 2, 1, 99):
        peer.core.receive_data(b"\x81\x82\x05" + (bytes([number]) if number < 24 else b"\x18\x63"), now)
    for _ in range(2 * MOST_PINGS):
        now += IDLE
        peer.core.handle_timeout(now)
        asked += pings(peer.hear())
        peer.core.receive_bytes(now)
    assert asked == [1, 2, 3, 4, 5, 6]


def test_on_a_new_transport_nothing_is_asked_yet() -> None:
    peer = SessionPeer()
    now = 0.0
    for _ in range(MOST_PINGS):
        now += IDLE
        peer.core.handle_timeout(now)
        peer.core.receive_bytes(now)
    peer.hear()
    peer.lose()
    assert peer.core.resume(1, 0, now)
    peer.hear()
    peer.core.handle_timeout(now + IDLE)
    assert pings(peer.hear()) == [MOST_PINGS + 1]
