"""Arrivals: when what has come is acknowledged (TW-SES-010 to 013)."""

from __future__ import annotations

import pytest

from telewire.core.arrivals import (
    ACK_SECONDS,
    KEPT_BYTES,
    LITTLE_BYTES,
    LITTLE_SECONDS,
    PROMPT_BATCHES,
    Arrivals,
)
from telewire.core.connection import Connection
from telewire.limits import Limits
from telewire.testing.pair import Pair
from telewire.wire import frames as f
from telewire.wire.codec import encode_frame
from tests.core.dialogue import C, batch, close_code, sent
from tests.core.session import SessionPeer


def test_what_has_arrived_is_acknowledged_within_a_second() -> None:
    # TW-SES-011.
    peer = SessionPeer()
    peer.now = 1.0
    peer.calls(0)
    assert peer.core.next_timeout() == 1.0 + LITTLE_SECONDS
    peer.now = 1.01
    peer.calls(1)
    assert not [frame for frame in peer.hear() if isinstance(frame, f.Ack)]
    assert peer.core.next_timeout() == 1.0 + LITTLE_SECONDS
    peer.wait(0.9)
    assert peer.hear() == []
    peer.wait(0.1)
    assert peer.hear() == [f.Ack(2)]
    assert peer.core.next_timeout() == peer.core._heard + peer.core.limits.idle_seconds


def test_more_than_a_little_is_acknowledged_within_25_ms() -> None:
    # TW-SES-011: counted from when it has become more than a little.
    peer = SessionPeer()
    peer.say(f.Call(0, "f", 0, LITTLE_BYTES // 2, bytes(LITTLE_BYTES // 2)))
    peer.now = 0.01
    peer.say(f.Call(1, "f", 0, LITTLE_BYTES // 2, bytes(LITTLE_BYTES // 2)))
    assert peer.core.next_timeout() == 0.01 + ACK_SECONDS
    peer.now = 0.02
    peer.say(f.Call(2, "f", 0, LITTLE_BYTES // 2, bytes(LITTLE_BYTES // 2)))
    assert peer.core.next_timeout() == 0.01 + ACK_SECONDS
    peer.wait(0.016)
    assert peer.hear() == [f.Ack(3)]


def test_an_acknowledgement_rides_on_what_leaves_after_25_ms() -> None:
    # TW-SES-011.
    peer = SessionPeer()
    call = peer.call(0)
    peer.now = 0.02
    peer.core.resolve(call, b"")
    assert [type(frame) for frame in peer.hear()] == [f.End]
    peer.wait(0.01)
    assert peer.hear() == []
    peer.core.call("f", b"")
    assert [type(frame) for frame in peer.hear()] == [f.Ack, f.Call]
    assert peer.core.quiet


def test_who_goes_away_is_not_made_to_wait() -> None:
    # TW-SES-011, TW-ERR-064.
    peer = SessionPeer()
    peer.calls(0)
    assert peer.hear() == []
    peer.say(f.GoAway(5, 0))
    assert peer.hear() == [f.Ack(2)]
    peer.calls(1)
    assert peer.core.next_timeout() == ACK_SECONDS
    peer.wait(ACK_SECONDS)
    assert peer.hear() == [f.Ack(3)]


def test_after_an_acknowledgement_by_itself_there_is_nothing_to_ask_for() -> None:
    peer = SessionPeer()
    assert peer.core.quiet
    peer.calls(0)
    assert not peer.core.quiet, "its acknowledgement is due soon"
    peer.wait(LITTLE_SECONDS)
    assert not peer.core.quiet
    peer.hear()
    assert peer.core.quiet
    peer.core.call("f", b"")
    assert not peer.core.quiet
    peer.hear()
    assert peer.core.quiet
    peer.say(f.Ack(1))
    assert peer.core.quiet
    peer.say(f.Ping(1))
    assert not peer.core.quiet
    peer.hear()
    peer.lose()
    assert not peer.core.quiet


def test_before_the_hellos_have_crossed_there_is_always_something_to_ask_for() -> None:
    assert not Connection("client").quiet


def test_frames_without_a_position_are_not_acknowledged() -> None:
    peer = SessionPeer()
    peer.say(f.Ping(1), f.Pong(7), f.Ack(0))
    assert peer.core.next_timeout() == peer.core.limits.idle_seconds
    peer.say(f.Ping(2), f.Unknown(64, None))
    peer.wait(ACK_SECONDS)
    assert [frame for frame in peer.hear() if isinstance(frame, f.Ack)] == [f.Ack(1)]


@pytest.mark.parametrize(("keeps", "at_once"), [(Limits().replay_bytes, 65536), (20_000, 10_000)])
def test_much_is_acknowledged_at_once(keeps: int, at_once: int) -> None:
    peer = SessionPeer(theirs=Limits(replay_bytes=keeps))
    payload = bytes(at_once // 2)
    peer.say(f.Call(0, "f", 0, len(payload), payload))
    assert not [frame for frame in peer.hear() if isinstance(frame, f.Ack)]
    peer.say(f.Call(1, "f", 0, len(payload), payload))
    assert [frame for frame in peer.hear() if isinstance(frame, f.Ack)] == [f.Ack(2)]


def test_an_acknowledgement_beyond_what_was_sent_closes_the_connection() -> None:
    peer = SessionPeer()
    peer.core.call("f", b"")
    peer.hear()
    assert peer.say(f.Ack(1)) == []
    assert peer.say(f.Ack(0)) == []
    peer.say(f.Ack(2))
    assert close_code(peer.hear()) is C.INVALID_STATE


def test_an_acknowledgement_without_a_session_closes_the_connection() -> None:
    pair = Pair()
    pair.server.receive_data(batch(f.Ack(0)), 0.0)
    [frame] = sent(pair.server)
    assert close_code([frame]) is C.INVALID_STATE


def test_a_sender_keeps_no_more_than_it_said() -> None:
    # Room for one batch is left free, since the frame that comes next may be as large.
    peer = SessionPeer(ours=Limits(replay_bytes=10_000), theirs=Limits(fragment_bytes=1024, batch_bytes=2048))
    for _ in range(20):
        peer.core.call("f", bytes(1000))
    left = peer.hear()
    assert 7000 < sum(len(encode_frame(frame)) for frame in left) <= 10_000
    assert peer.hear() == []
    peer.say(f.Ack(len(left)))
    assert peer.hear() != []


def test_a_frame_larger_than_the_replay_buffer_leaves_alone() -> None:
    peer = SessionPeer(ours=Limits(replay_bytes=100))
    for _ in range(3):
        peer.core.call("f", bytes(1000))
    for number in range(1, 4):
        assert len(peer.hear()) == 1
        assert peer.hear() == []
        peer.say(f.Ack(number))
    assert peer.hear() == []


def test_arrivals() -> None:
    ledger = Arrivals(1 << 20)
    ledger.note(0, 100_000, 1.0)
    assert ledger.due is None
    # The first batches tell the peer the round trip.
    for count in range(1, PROMPT_BATCHES + 1):
        ledger.note(1, 100, 0.5)
        assert ledger.due == 0.5
        assert ledger.acknowledged() == count
    ledger.count = 0
    ledger.note(3, 100, 1.0)
    assert (ledger.rides, ledger.due) == (1.0 + ACK_SECONDS, 1.0 + LITTLE_SECONDS)
    ledger.note(1, 65536, 1.001)
    assert ledger.due == 1.001
    assert ledger.acknowledged() == 4
    assert ledger.due is None
    # Half of what the peer keeps, as it counts that.
    ledger = Arrivals(20 * KEPT_BYTES)
    ledger.prompt = 0
    ledger.note(9, 0, 1.0)
    assert ledger.due == 1.0 + LITTLE_SECONDS
    ledger.note(1, 0, 1.001)
    assert ledger.due == 1.001
