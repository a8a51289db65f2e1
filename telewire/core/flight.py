"""Flight: how much may be on its way unacknowledged, by what the link has been seen to deliver.

A sender that fills every buffer on its way makes each small frame wait behind all of them. So it
measures two things from what has left and been acknowledged, deterministically and from the times that
it is given: the *round trip*, the shortest time from a frame to its acknowledgement, and the *rate*, the
most that was acknowledged in a second over at least a round trip. Their product is what the link holds
when it is full and nothing waits in front of it (TW-SES-120 to 127).

Neither may see what the sender has made itself. A round trip is the shortest in a while, since all
others have waited in its own queue, and is measured anew with that queue drained. A rate is what was
delivered, whatever has left, and counts only where the bound held the sender back meanwhile: an
application with little to say proves nothing about the link.
"""

from __future__ import annotations

from typing import Final, final

from telewire.core.arrivals import ACK_BYTES, ACK_SECONDS, LITTLE_BYTES, LITTLE_SECONDS

__all__ = ["LEAST_BYTES", "Flight"]

LEAST_BYTES: Final = 128 * 1024
"""What may always be on its way: two frames of the default size, one to travel and one to follow it."""
SPARE_SECONDS: Final = 0.005
"""So much longer nobody minds to wait. Where peers are near, working takes them longer than the way does,
and bytes within one machine cross a tenth to a fifth faster with it."""
FASTER: Final = 1.2
"""A rate that has grown so much in one round trip may go on growing."""
STEADY: Final = 1.25
"""What may be on its way else, in terms of what the link holds: enough to find out that it holds more."""
QUEUE_SECONDS: Final = 0.295
"""However long the way, what leaves behind all that may be on it waits no longer (TW-SES-127)."""
FRAME_BYTES: Final = 64 * 1024
"""What the bound is exceeded by, by the last frame that leaves below it."""
WAITED: Final = 1.25
"""A round trip so much longer than the shortest shows that the link is full, whatever the rate."""
DRAINED: Final = 0.75
"""What may be on its way, in the same terms, where nothing is to wait for itself."""
ROUNDS: Final = 5
"""A rate is forgotten after so many round trips that showed less, at the latest after twice as many."""
TRIP_SECONDS: Final = 10.0
"""A round trip that nothing has confirmed for so long is measured anew."""


@final
class Flight:
    """The bound of one transport's one direction, and the two estimates that it comes from.

    ``left`` and ``acknowledged`` are told of frames by position, in order; ``bound`` is how many bytes
    may be unacknowledged when another frame leaves.
    """

    __slots__ = (
        "_arrived",
        "_best",
        "_delivered",
        "_delivered_at",
        "_full_at",
        "_growing",
        "_least",
        "_probe",
        "_round_end",
        "_round_rate",
        "_rounds",
        "_seen_at",
        "_sent_at",
        "_valid",
        "_waited",
        "bound",
        "records",
        "trip",
    )

    def __init__(self) -> None:
        self.bound = LEAST_BYTES
        self.trip: float | None = None
        """The shortest round trip of late, in seconds; None where none was seen on this transport."""
        # Lists: an empty deque takes 760 bytes, and nothing is on its way in most sessions.
        self.records: list[tuple[int, int, int, float, int, float, float]] = []
        """What has left together: the positions at its beginning and end, its bytes, when, and what had
        been delivered by then, until when, of what had left when."""
        self._delivered = 0
        # When that was acknowledged last, and when what was acknowledged had left.
        self._delivered_at = self._sent_at = 0.0
        # What had been delivered when, within the last round trip.
        self._arrived: list[tuple[float, int]] = []
        # When what was on its way had last reached the bound.
        self._full_at = -1.0
        # The best rate of the rounds in hand and of those before them, in bytes a second.
        self._best = [0.0, 0.0]
        self._rounds = 0
        # A round ends when something is acknowledged that has left since its beginning.
        self._round_end = 0
        self._round_rate = 0.0
        self._valid = False
        self._growing = True
        # Whether what was acknowledged last had waited for what had left before it.
        self._waited = False
        # When the round trip was last confirmed, the least one seen since, and from which position on
        # frames have left behind a drained queue.
        self._seen_at = 0.0
        self._least = float("inf")
        self._probe: int | None = None

    @property
    def rate(self) -> float:
        """The most that was delivered of late, in bytes a second; 0 where the bound was never reached."""
        return max(self._best)

    def left(self, begin: int, end: int, flying: int, size: int, now: float) -> None:
        """Note that frames leave, from position ``begin`` to ``end``, with ``flying`` bytes on their way."""
        if flying <= 0:
            # Time in which nothing was on its way is no time that it took.
            self._delivered_at = self._sent_at = now
        self.records.append((begin, end, size, now, self._delivered, self._delivered_at, self._sent_at))
        if flying + size >= self.bound:
            self._full_at = now

    def acknowledged(self, received: int, emitted: int, size: int, now: float) -> None:
        """Note that ``size`` bytes more, up to position ``received``, are known to have arrived."""
        self._delivered += size
        records = self.records
        record = None
        while records and records[0][1] <= received:
            record = records.pop(0)
        if record is None or record[3] >= now:
            # What takes no time by the clock says nothing.
            return
        begin, _, length, sent_at, delivered, delivered_at, before = record
        self._delivered_at, self._sent_at = now, sent_at
        full = self._full_at >= sent_at
        self._waited = self.trip is not None and now - sent_at > self.trip * WAITED
        if self._probe is not None and begin >= self._probe:
            self._end_probe(now - sent_at, length, full, now)
        else:
            self._note_trip(now - sent_at, length, emitted, full, now)
        if full:
            # Over the longer of both, so that acknowledgements that come bunched show no more than left.
            self._note_rate((self._delivered - delivered) / max(now - delivered_at, sent_at - before))
        self._note_delivery(now, full)
        if begin >= self._round_end:
            self._end_round(emitted)
        self._decide(size)

    def _note_trip(self, trip: float, size: int, emitted: int, full: bool, now: float) -> None:
        if self.trip is not None and trip > self.trip:
            self._least = min(self._least, trip - _late(size))
            if self._probe is not None or now - self._seen_at < TRIP_SECONDS:
                return
            if full:
                # All that is left has waited behind what left before it.
                self._probe = emitted
                return
            # The application says little, so its queue is empty.
            trip = max(self.trip, self._least)
        self._take_trip(trip, now)

    def _end_probe(self, trip: float, size: int, full: bool, now: float) -> None:
        """Take the round trip of ``size`` bytes that left behind a drained queue, as it is now."""
        assert self.trip is not None, "it was known when the probe began"
        self._probe = None
        if full:
            # Nothing waited but these bytes for themselves.
            self._take_trip(max(trip / 4, trip - size / self.rate), now)
        else:
            self._take_trip(max(self.trip, trip - _late(size)), now)

    def _take_trip(self, trip: float, now: float) -> None:
        self.trip = trip
        self._seen_at = now
        self._least = float("inf")

    def _note_delivery(self, now: float, full: bool) -> None:
        """Note what was delivered within a round trip, between the first acknowledgement in it and this.

        What leaves in a burst waits for itself, and over all that time its rate looks lower than it is.
        """
        arrived, trip = self._arrived, self.trip
        arrived.append((now, self._delivered))
        assert trip is not None, "it was noted before"
        while arrived[0][0] < now - trip:
            arrived.pop(0)
        if full:
            self._note_rate((self._delivered - arrived[0][1]) / trip)

    def _note_rate(self, rate: float) -> None:
        self._valid = True
        if rate > self._best[0]:
            self._best[0] = rate

    def _end_round(self, emitted: int) -> None:
        self._round_end = emitted
        if not self._valid:
            return
        self._valid = False
        rate = self.rate
        self._growing = rate >= self._round_rate * FASTER
        self._round_rate = rate
        self._rounds += 1
        if self._rounds >= ROUNDS:
            self._rounds = 0
            self._best = [0.0, self._best[0]]

    def _decide(self, size: int) -> None:
        holds = self.rate * (self.trip or 0.0)
        if self._probe is not None:
            self.bound = int(holds * DRAINED)
            return
        most = min(2 * holds, holds + QUEUE_SECONDS * self.rate - FRAME_BYTES)
        if not self._growing or self._waited:
            most = min(most, max(STEADY * holds, holds + ACK_BYTES, holds + SPARE_SECONDS * self.rate))
        # All of it at once would wait where the link begins, while what the link holds is still on its way.
        self.bound = max(LEAST_BYTES, min(int(most), self.bound + 2 * size))


def _late(size: int) -> float:
    """How late so many bytes may be acknowledged where no more comes (TW-SES-011)."""
    return ACK_SECONDS if size >= LITTLE_BYTES else LITTLE_SECONDS
