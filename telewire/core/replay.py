"""Replay: what has left and is not acknowledged, by position, so that a new transport can go on.

The ledger of one session for what leaves (TW-SES-001 to 022); that for what comes is ``arrivals.py``.
Neither looks into a frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, final

from telewire.core.arrivals import KEPT_BYTES
from telewire.core.flight import Flight

if TYPE_CHECKING:
    from telewire.core.flow import Pool

__all__ = ["SHARE_BYTES", "Departures"]

SHARE_BYTES: Final = 64 * 1024
"""What each session may keep whatever others do, so that nobody can silence it (TW-LIM-024)."""
LIGHT_BYTES: Final = 16 * 1024
"""So much of small frames may be on its way beyond the bound (TW-SES-120)."""
STEP_BYTES: Final = 64 * 1024
"""The pool is asked for so much at a time."""


@final
class Departures:
    """What has left and may have to leave again.

    Args:
        most: bytes to keep at most; what may leave is held back for it.
        frame_bytes: the largest frame that may leave: it must still fit.
        pool: what is kept beyond ``SHARE_BYTES`` is drawn from it.
    """

    __slots__ = (
        "_again",
        "_again_bytes",
        "_bound",
        "_kept",
        "_light",
        "_light_end",
        "_pool",
        "_room",
        "base",
        "drawn",
        "flight",
        "held",
    )

    def __init__(self, most: int, frame_bytes: int, pool: Pool | None = None) -> None:
        self._bound = max(0, most - frame_bytes)
        self._pool = pool
        # A list: an empty deque takes 760 bytes, and most sessions have sent all that they have to send.
        self._kept: list[bytes] = []
        # None where nothing has to leave again.
        self._again: deque[bytes] | None = None
        self._again_bytes = 0
        self.flight = Flight()
        """How much of it may be on its way on the transport in use."""
        self.base = 0
        """Positions below it are acknowledged."""
        self.held = 0
        """What those take that are not: their bytes, and what it takes to keep them (TW-LIM-058)."""
        self.drawn = 0
        """Bytes of the pool that are reserved for it."""
        # What has left beyond the bound, and behind which position it ended.
        self._light = self._light_end = 0
        # What may be held without asking the pool.
        self._room = self._bound if pool is None else min(self._bound, SHARE_BYTES)

    @property
    def emitted(self) -> int:
        """How many positions have been given."""
        return self.base + len(self._kept)

    @property
    def next(self) -> int:
        """The position of the next frame that leaves, for the first time or again."""
        return self.emitted - (len(self._again) if self._again else 0)

    @property
    def flying(self) -> int:
        """Bytes that are on their way on the transport in use: left, and not acknowledged."""
        return self.held - KEPT_BYTES * len(self._kept) - self._again_bytes

    @property
    def unknown(self) -> bool:
        """Whether the first frame of a transport is about to leave: alone, it tells the round trip best."""
        return self.flight.trip is None and not self.flight.records

    @property
    def room(self) -> int:
        """What may still leave without asking the pool, in bytes; negative where no more may."""
        held = self.held
        kept = self._room - held
        free = self.flight.bound - held + KEPT_BYTES * len(self._kept)
        return kept if kept < free else free

    @property
    def free(self) -> bool:
        """Whether a frame may leave now without asking, and none has to leave again before it."""
        return self.held <= self._room and not self._again

    def may_fly(self, size: int) -> bool:
        """Whether one more may leave behind ``size`` bytes that are about to (TW-SES-120)."""
        return self.flying + size <= self.flight.bound

    @property
    def may_fly_light(self) -> bool:
        """Whether one more may that is small, whatever the bound says (TW-SES-120)."""
        return self._light < LIGHT_BYTES

    def note_light(self, frames: int, size: int) -> None:
        """Note that such a frame, of ``size`` bytes, is about to leave, behind ``frames`` that are too."""
        self._light += size
        self._light_end = self.emitted + frames + 1

    def has_room(self, frames: int, size: int) -> bool:
        """Whether one more may leave behind ``frames`` of ``size`` bytes that are about to (TW-SES-021)."""
        held = self.held + size + frames * KEPT_BYTES
        return held <= self._room or (held <= self._bound and self._draw(held - self._room))

    def _draw(self, missing: int) -> bool:
        """Take what is missing from the pool, and some more so that it is not asked for each frame."""
        more = min(max(missing, STEP_BYTES), self._bound - self._room)
        if self._pool is None or not self._pool.take_growth(more):
            return False
        self.drawn += more
        self._room += more
        return True

    def emit(self, frames: list[bytes], size: int, now: float) -> None:
        """Give positions to frames, of ``size`` bytes, that leave for the first time."""
        kept = self._kept
        begin = self.base + len(kept)
        self.flight.left(begin, begin + len(frames), self.flying, size, now)
        kept.extend(frames)
        self.held += size + len(frames) * KEPT_BYTES

    def emit_one(self, frame: bytes, now: float) -> None:
        """The same for one frame, which is small."""
        if not self.flight.records:
            self.emit([frame], len(frame), now)
            return
        # Another one tells the round trip as well, and it is nothing of the rate.
        self._kept.append(frame)
        self.held += len(frame) + KEPT_BYTES

    def begin_at(self, base: int, frames: Iterable[bytes]) -> None:
        """Begin behind what has left: ``base`` frames that are gone, and ``frames``, which are kept."""
        self.base = base
        self._kept.extend(frames)
        self.held = sum(len(frame) + KEPT_BYTES for frame in self._kept)

    def acknowledge(self, received: int, now: float) -> bool:
        """Forget what has arrived; false where more is said to have arrived than has left."""
        kept = self._kept
        count, emitted = received - self.base, self.base + len(kept)
        if received > emitted:
            return False
        if count > 0:
            size = sum(map(len, kept[:count]))
            del kept[:count]
            self.held -= size + count * KEPT_BYTES
            self.base = received
            if received >= self._light_end:
                self._light = 0
            self.flight.acknowledged(received, emitted, size, now)
        if self.drawn:
            self._give_back()
        return True

    def _give_back(self) -> None:
        """Return what is reserved and not needed."""
        assert self._pool is not None, "only then something is drawn"
        spare = min(self._room - self.held, self.drawn)
        if spare >= STEP_BYTES or spare == self.drawn:
            self.drawn -= spare
            self._room -= spare
            self._pool.give_growth(spare)

    def release(self) -> None:
        """Keep nothing any more: the session is over."""
        self.base = self.emitted
        self._kept.clear()
        self._again = None
        self._again_bytes = self.held = 0
        if self.drawn:
            self._give_back()

    def rewind(self) -> None:
        """Let all leave again that is not acknowledged, on a transport of which nothing is known."""
        self._again = deque(self._kept)
        self._again_bytes = self.held - KEPT_BYTES * len(self._kept)
        self.flight = Flight()
        self._light = 0

    def take_again(self, max_bytes: int, now: float) -> list[bytes]:
        """The next frames that leave again, about ``max_bytes``; unchanged, in order (TW-SES-022)."""
        frames: list[bytes] = []
        begin, flying, again = self.next, self.flying, self._again
        size, most = 0, self.flight.bound - flying
        while again and size <= most and (not frames or size < max_bytes):
            frames.append(again.popleft())
            size += len(frames[-1])
        if frames:
            self._again_bytes -= size
            self.flight.left(begin, begin + len(frames), flying, size, now)
        if not again:
            self._again = None
        return frames

    @property
    def again(self) -> bool:
        """Whether something has still to leave again."""
        return bool(self._again)
