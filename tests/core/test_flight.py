"""How much is on its way: the two estimates that bound it, and what the machine does by that bound."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import pytest

from telewire.core.arrivals import PROMPT_BATCHES
from telewire.core.events import ChunkReceived
from telewire.core.flight import DRAINED, LEAST_BYTES, STEADY, TRIP_SECONDS, Flight
from telewire.core.streams import Stream
from telewire.limits import Limits
from telewire.wire import frames as f
from tests.core.dialogue import C, K, frames_of
from tests.core.session import SessionPeer

FRAME = 64 * 1024
WIDE = Limits(stream_window=1 << 24, message_bytes=1 << 24)


class Road:
    """A link of one rate and one round trip, as a flight sees it: its frames leave, and are acknowledged."""

    def __init__(self, rate: float, trip: float, size: int = FRAME) -> None:
        self.flight = Flight()
        self.rate = rate
        self.trip = trip
        self.size = size
        self.now = 0.0
        self.left = self.arrived = 0
        self.free_at = 0.0
        self.coming: deque[float] = deque()

    @property
    def flying(self) -> int:
        """Bytes that are on their way."""
        return (self.left - self.arrived) * self.size

    def send(self) -> None:
        """Let one frame leave."""
        self.flight.left(self.left, self.left + 1, self.flying, self.size, self.now)
        self.left += 1
        self.free_at = max(self.free_at, self.now) + self.size / self.rate
        self.coming.append(self.free_at + self.trip)

    def hear(self) -> None:
        """Wait for the next acknowledgement."""
        self.now = self.coming.popleft()
        self.arrived += 1
        self.flight.acknowledged(self.arrived, self.left, self.size, self.now)

    def fill(self, seconds: float) -> None:
        """Say as much as the bound allows, for some time."""
        end = self.now + seconds
        while self.now < end:
            while self.flying <= self.flight.bound:
                self.send()
            self.hear()

    def trickle(self, count: int, pause: float) -> None:
        """Say a little now and then."""
        while self.coming:
            self.hear()
        for _ in range(count):
            self.now += pause
            self.send()
            self.hear()


def begun(rate: float, trip: float) -> Road:
    """A link of which the round trip is known from a frame that was small."""
    road = Road(rate, trip, 100)
    road.send()
    road.hear()
    road.size = FRAME
    # What has arrived is counted by frames of one size from here on.
    return road


# --- the estimates -------------------------------------------------------------------------------


def test_nothing_is_known_at_first() -> None:
    flight = Flight()
    assert (flight.bound, flight.trip, flight.rate) == (LEAST_BYTES, None, 0.0)


def test_the_bound_comes_to_what_the_link_holds() -> None:
    road = begun(10e6, 0.1)
    road.fill(5.0)
    assert road.flight.trip == pytest.approx(0.1, rel=0.01)
    assert road.flight.rate == pytest.approx(10e6, rel=0.01)
    # The rate stands, so a quarter more will do.
    assert road.flight.bound == pytest.approx(STEADY * 1e6, rel=0.02)


def test_it_doubles_in_each_round_trip_until_then() -> None:
    road = begun(1e9, 0.1)
    bounds = []
    for _ in range(6):
        road.fill(0.1)
        bounds.append(road.flight.bound)
    assert all(1.7 < after / before < 2.1 for before, after in pairwise(bounds[1:]))


def test_the_bound_rises_by_what_has_arrived() -> None:
    # TW-SES-127: acknowledged one frame at a time, it never rises by more than two.
    road = begun(10e6, 0.1)
    before = road.flight.bound
    for _ in range(200):
        while road.flying <= road.flight.bound:
            road.send()
        road.hear()
        assert road.flight.bound <= before + 2 * FRAME
        before = road.flight.bound
    assert before > 1e6


@pytest.mark.parametrize("rate", [0.3e6, 1e6, 5e6])
def test_what_it_holds_beyond_the_link_is_gone_in_a_moment(rate: float) -> None:
    # TW-SES-127, on a way so long that twice what it holds would be half a second.
    road = begun(rate, 0.5)
    for _ in range(100):
        road.fill(0.05)
        assert road.flight.bound + FRAME - rate * 0.5 <= max(0.3 * rate, LEAST_BYTES + FRAME - rate * 0.5)


def test_it_is_never_below_128_kib() -> None:
    road = begun(1e5, 0.001)
    road.fill(30.0)
    assert road.flight.bound == LEAST_BYTES


def test_an_application_that_says_little_proves_nothing() -> None:
    # TW-SES-123.
    road = begun(10e6, 0.1)
    road.fill(5.0)
    bound, rate = road.flight.bound, road.flight.rate
    road.trickle(50, 0.01)
    assert (road.flight.rate, road.flight.bound) == (rate, bound)


def test_who_begins_with_little_has_no_rate() -> None:
    road = begun(10e6, 0.1)
    road.trickle(50, 0.05)
    assert (road.flight.rate, road.flight.bound) == (0.0, LEAST_BYTES)


def test_time_in_which_nothing_left_is_none_of_the_link() -> None:
    road = begun(10e6, 0.1)
    road.fill(2.0)
    while road.coming:
        road.hear()
    road.now += 8.0
    rate = road.flight.rate
    road.fill(2.0)
    assert road.flight.rate == pytest.approx(rate, rel=0.01)


def test_a_link_that_has_become_slower_is_believed_after_ten_round_trips() -> None:
    road = begun(10e6, 0.1)
    road.fill(3.0)
    road.rate = 2e6
    road.fill(8.0)
    assert road.flight.rate == pytest.approx(2e6, rel=0.05)
    assert road.flight.bound < 2 * 2e6 * 0.1


def test_one_that_has_become_faster_in_a_few() -> None:
    road = begun(2e6, 0.1)
    road.fill(3.0)
    road.rate = 50e6
    road.fill(2.0)
    assert road.flight.rate == pytest.approx(50e6, rel=0.05)


def test_acknowledgements_that_come_bunched_are_no_rate() -> None:
    road = begun(10e6, 0.1)
    road.fill(2.0)
    # Something holds back what comes for a while, and lets it go at once.
    late = road.now + 0.15
    road.coming = deque(max(when, late) for when in road.coming)
    road.fill(0.5)
    assert road.flight.rate < 2 * 10e6


def test_a_longer_way_is_noticed_with_the_queue_drained() -> None:
    # TW-SES-124: the shortest round trip is forgotten, and the sender's own queue is not taken for it.
    road = begun(10e6, 0.1)
    road.fill(5.0)
    road.trip = 0.2
    bounds = set()
    for _ in range(int(2 * TRIP_SECONDS / 0.1)):
        road.fill(0.1)
        bounds.add(road.flight.bound)
    assert road.flight.trip == pytest.approx(0.2, rel=0.01)
    assert road.flight.rate == pytest.approx(10e6, rel=0.05)
    assert min(bounds) < DRAINED * 1e6 * 1.01


def test_the_queue_is_never_taken_for_the_way() -> None:
    road = begun(1e6, 0.02)
    road.fill(6 * TRIP_SECONDS)
    assert road.flight.trip is not None
    # What is measured anew are 64 KiB, and the time that they take for themselves is known.
    assert road.flight.trip < 0.04
    assert road.flight.bound == LEAST_BYTES


def test_a_longer_way_of_who_says_little() -> None:
    road = begun(10e6, 0.1)
    road.fill(2.0)
    road.trip = 0.3
    road.trickle(60, 0.2)
    # 25 ms less, since what is little is acknowledged late; and the bytes take 7 ms.
    assert road.flight.trip == pytest.approx(0.3 + 0.007 - 0.025, rel=0.01)


def test_who_falls_silent_while_it_is_measured() -> None:
    road = begun(10e6, 0.1)
    road.fill(2.0)
    road.trip = 0.2
    while road.flight._probe is None:
        road.fill(0.01)
    road.trickle(1, 5.0)
    assert road.flight._probe is None
    assert road.flight.trip == pytest.approx(0.2 + 0.007 - 0.025, rel=0.01)


def test_what_takes_no_time_is_no_estimate() -> None:
    # A coarse clock says so of a short way.
    road = Road(float("inf"), 0.0)
    for _ in range(10):
        while road.flying <= road.flight.bound:
            road.send()
        road.hear()
    assert (road.flight.rate, road.flight.bound) == (0.0, LEAST_BYTES)


# --- the machine ---------------------------------------------------------------------------------


def sending(kinds: int = 1) -> tuple[SessionPeer, tuple[Stream, ...]]:
    """A side that has byte streams to fill, and all the credit it may want."""
    peer = SessionPeer(theirs=WIDE)
    _, streams = peer.answered(0, *[(K.BYTES, None)] * kinds)
    peer.say(f.Ack(1))
    return peer, streams


def push(peer: SessionPeer, stream: Stream) -> list[f.Frame]:
    """Let all leave that may of a stream that is kept full."""
    left: list[f.Frame] = []
    while True:
        while peer.core.writable(stream):
            peer.core.send_chunk(stream, bytes(FRAME))
        more = peer.hear(FRAME)
        if not more:
            return left
        left += more


def test_no_more_is_on_its_way_than_the_bound() -> None:
    # TW-SES-120: at first 128 KiB; one frame may go beyond.
    peer, [stream] = sending()
    left = push(peer, stream)
    assert [type(frame) for frame in left] == [f.Chunk, f.Chunk]
    assert push(peer, stream) == []
    peer.say(f.Ack(2))
    assert [type(frame) for frame in push(peer, stream)] == [f.Chunk]
    peer.say(f.Ack(4))
    assert [type(frame) for frame in push(peer, stream)] == [f.Chunk, f.Chunk]


def test_what_goes_ahead_of_data_leaves_all_the_same() -> None:
    peer, [stream] = sending()
    push(peer, stream)
    call = peer.call(1)
    peer.core.reset(stream, C.CANCELLED)
    peer.core.resolve(call, bytes(2000))
    left = peer.hear()
    # The answer of the call waits: it is data.
    assert [type(frame) for frame in left] == [f.Reset]
    peer.say(f.Ack(3))
    assert [type(frame) for frame in peer.hear()] == [f.End]


def test_who_has_little_to_say_does_not_wait_for_who_has_much() -> None:
    # TW-SES-120: a call, an answer and an item, past the byte stream that has reached the bound.
    peer = SessionPeer(theirs=WIDE)
    _, (stream, chat) = peer.answered(0, (K.BYTES, None), (K.ITEMS, None))
    peer.say(f.Ack(1))
    call = peer.call(1)
    push(peer, stream)
    peer.core.call("f", b"")
    peer.core.reject(call, C.INTERNAL)
    peer.core.send_item(chat, b"\x01")
    assert [type(frame) for frame in peer.hear()] == [f.Call, f.Error, f.Items]
    peer.core.send_item(chat, b"\x02")
    peer.core.end(chat)
    assert [type(frame) for frame in peer.hear()] == [f.Items, f.End]
    # Who has more than a little waits, and so who has little at first.
    peer.core.call("f", bytes(2000))
    peer.core.call("f", b"")
    assert peer.hear() == []
    peer.say(f.Ack(3))
    assert [len(frame.payload) for frame in peer.hear() if isinstance(frame, f.Call)] == [2000, 0]


def test_so_much_of_little_as_is_known_to_arrive() -> None:
    peer = SessionPeer(theirs=WIDE)
    _, (stream, chat) = peer.answered(0, (K.BYTES, None), (K.ITEMS, None))
    peer.say(f.Ack(1))
    push(peer, stream)
    item = b"\x58\xc8" + bytes(200)
    left = 0
    while True:
        peer.core.send_item(chat, item)
        frames = peer.hear()
        if not frames:
            break
        left += len(frames)
    assert left * len(item) == pytest.approx(16 * 1024, rel=0.05)
    # All but the last of them has come, and the link was never empty meanwhile.
    peer.say(f.Ack(3 + left - 1))
    assert push(peer, stream) != []
    peer.core.send_item(chat, item)
    assert peer.hear() == []
    peer.say(f.Ack(3 + left))
    assert f.Items in [type(frame) for frame in peer.hear()]


def test_a_payload_that_has_begun_holds_nobody_back() -> None:
    # TW-STR-064: only what has not begun may not be overtaken.
    peer, _ = sending()
    peer.core.call("f", bytes(1 << 20))
    first = peer.hear()
    assert [type(frame) for frame in first] == [f.Call, f.Fragment]
    peer.core.call("g", b"")
    [call] = peer.hear()
    assert isinstance(call, f.Call)
    assert call.target == "g"


def test_who_waits_for_another_is_passed_over() -> None:
    peer = SessionPeer(theirs=WIDE)
    _, (stream, rows) = peer.answered(0, (K.BYTES, None), (K.ITEMS, None))
    peer.say(f.Ack(1))
    push(peer, stream)
    # Calls on channels that the peer has not heard of, since the large item that declares them waits.
    one, other = peer.core.send_item(rows, bytes(2000), [(K.CHANNEL, 1), (K.CHANNEL, 2)])
    peer.core.call(one, b"")
    peer.core.call(other, b"", [(K.ITEMS, None)])
    peer.core.call("f", b"")
    [frame] = peer.hear()
    assert isinstance(frame, f.Call)
    assert frame.target == "f"
    peer.core.reset(stream)
    peer.say(f.Ack(4))
    assert [type(frame) for frame in peer.hear() if not isinstance(frame, f.Reset)] == [
        f.Item,
        f.Call,
        f.Call,
    ]


def test_a_small_call_alone_leaves_all_the_same() -> None:
    peer, [stream] = sending()
    # The second chunk brings it above the bound, and nothing waits behind that.
    for _ in range(2):
        peer.core.send_chunk(stream, bytes(FRAME))
        peer.hear()
    peer.core.call("f", b"")
    assert [type(frame) for frame in peer.hear()] == [f.Call]


def test_the_first_frame_of_a_transport_is_alone() -> None:
    # TW-SES-126.
    peer = SessionPeer()
    peer.core.call("f", b"")
    peer.core.call("g", b"")
    peer.core.call("h", b"")
    first, rest = peer.core.data_to_send()
    assert [frame.target for frame in frames_of([first]) if isinstance(frame, f.Call)] == ["f"]
    assert [frame.target for frame in frames_of([rest]) if isinstance(frame, f.Call)] == ["g", "h"]
    peer.core.call("i", b"")
    peer.core.call("j", b"")
    assert len(peer.core.data_to_send()) == 1


def test_the_first_batches_of_a_transport_are_acknowledged_at_once() -> None:
    # TW-SES-011.
    peer = SessionPeer(young=True)
    for number in range(PROMPT_BATCHES):
        peer.calls(number)
        assert peer.hear() == [f.Ack(number + 1)]
    peer.calls(PROMPT_BATCHES)
    assert peer.hear() == []
    peer.hear()
    peer.lose()
    assert peer.core.resume(1, 0, peer.now)
    peer.hear()
    peer.calls(PROMPT_BATCHES + 1)
    assert peer.hear() == [f.Ack(PROMPT_BATCHES + 2)]


def test_a_grant_is_acknowledged_at_once() -> None:
    peer, _ = sending()
    peer.hear()
    peer.say(f.Grant(-1, 1 << 25))
    assert peer.hear() == [f.Ack(2)]
    peer.calls(1)
    assert peer.hear() == []


def test_the_time_may_be_given_with_what_leaves() -> None:
    peer, _ = sending()
    peer.core.call("f", b"", deadline=10.0)
    [frame] = [frame for frame in frames_of(peer.core.data_to_send(now=4.0)) if isinstance(frame, f.Call)]
    assert frame.extensions == {f.KEY_DEADLINE: 6000}


def test_what_is_replayed_is_bound_as_well() -> None:
    # TW-SES-121: nothing is known of the new transport, however much was on its way on the old one.
    peer, [stream] = sending()
    position = 1
    for _ in range(5):
        position += len([frame for frame in push(peer, stream) if isinstance(frame, f.Chunk)])
        peer.now += 0.1
        peer.say(f.Ack(position))
    count = len([frame for frame in push(peer, stream) if isinstance(frame, f.Chunk)])
    assert count > 8
    assert peer.core._departures is not None
    assert peer.core._departures.flight.trip == pytest.approx(0.1)
    peer.lose()
    assert peer.core.resume(1, position, peer.now)
    assert peer.core._departures.flight.trip is None
    again = push(peer, stream)
    assert [type(frame) for frame in again if not isinstance(frame, f.Ack)] == [f.Resumed, f.Chunk, f.Chunk]
    assert push(peer, stream) == []
    peer.say(f.Ack(position + 1))
    assert [type(frame) for frame in push(peer, stream) if not isinstance(frame, f.Ack)] == [f.Chunk]


def test_a_receiver_knows_the_round_trip_by_its_grants() -> None:
    # TW-STR-080, TW-STR-081.
    peer = SessionPeer()
    call = peer.call(0, b"", f.Declaration(1, K.BYTES))
    [stream] = call.declared
    position = 0
    grants = []
    for _ in range(60):
        events = peer.say(f.Chunk(1, 0, bytes(60_000)))
        peer.now += 0.001
        for event in events:
            assert isinstance(event, ChunkReceived)
            peer.core.consumed(stream, len(event.payload))
        left = [frame for frame in peer.hear() if not isinstance(frame, f.Ack)]
        grants += [frame.limit for frame in left if isinstance(frame, f.Grant)]
        position += len(left)
        peer.now += 0.001
        peer.say(f.Ack(position))
    window = stream.receive
    assert window is not None
    assert grants[0] == (1 << 20) + 60_000
    assert grants == sorted(grants)
    # 60,000 bytes in 2 ms, and the round trip takes 1 ms: the window is large enough as it is.
    assert window.window.window == 1 << 20


def test_who_waits_for_memory_gets_what_a_window_gives_back() -> None:
    # TW-STR-083, TW-STR-084, TW-STR-044.
    ours = Limits(session_budget=1 << 22, message_bytes=1 << 21)
    peer = SessionPeer(ours=ours)
    call = peer.call(0, b"", *(f.Declaration(number, K.BYTES) for number in (1, 2, 3)))
    stream = call.declared[0]
    position = 0

    def read(chunks: int) -> list[f.Frame]:
        nonlocal position
        for _ in range(chunks):
            peer.say(f.Chunk(1, 0, bytes(FRAME)))
            peer.core.consumed(stream, FRAME)
        left = [frame for frame in peer.hear() if not isinstance(frame, f.Ack)]
        position += len(left)
        peer.now += 0.1
        peer.say(f.Ack(position))
        return left

    assert read(1) == [f.Grant(-2, FRAME + (1 << 20))]
    for _ in range(3):
        read(10)
    half = stream.receive
    assert half is not None
    assert half.window.window == 1 << 21
    # One large value takes what is left but for a little, and another one waits.
    first, second = f.Call(4, "f", 1, 1 << 21, bytes(1024)), f.Call(5, "f", 1, 900_000, bytes(1024))
    peer.say(first, second)
    assert [frame for frame in peer.hear() if isinstance(frame, f.Grant)] == [f.Grant(-5, 1 << 21)]
    position += 1
    granted: list[f.Frame] = []
    for _ in range(40):
        granted += [frame for frame in read(1) if frame == f.Grant(-6, 900_000)]
    assert len(granted) == 1
    assert half.window.window == 1 << 20
