"""Replay: which frames have left and arrived, by position, so that a new transport can go on.

Two ledgers of one session, each for one direction (TW-SES-001 to 022): :class:`Departures` keeps what
has left and is not acknowledged, :class:`Arrivals` counts what has come and says when to acknowledge.
Neither looks into a frame.
"""

from __future__ import annotations

from collections import deque
from typing import Final, final

__all__ = ["ACK_SECONDS", "Arrivals", "Departures"]

ACK_BYTES: Final = 64 * 1024
ACK_SECONDS: Final = 0.025


@final
class Departures:
    """What has left and may have to leave again.

    Args:
        most: bytes to keep at most; what may leave is held back for it.
        frame_bytes: the largest frame that may leave: it must still fit.
    """

    __slots__ = ("_again", "_bound", "_kept", "base", "held")

    def __init__(self, most: int, frame_bytes: int) -> None:
        self._bound = max(0, most - frame_bytes)
        self._kept: deque[bytes] = deque()
        self._again: deque[bytes] = deque()
        self.base = 0
        """Positions below it are acknowledged."""
        self.held = 0
        """Bytes that are not."""

    @property
    def emitted(self) -> int:
        """How many positions have been given."""
        return self.base + len(self._kept)

    @property
    def next(self) -> int:
        """The position of the next frame that leaves, for the first time or again."""
        return self.base + len(self._kept) - len(self._again)

    @property
    def room(self) -> int:
        """Behind so many bytes that are about to leave a frame may, too; none if negative (TW-SES-021)."""
        return self._bound - self.held

    def emit(self, frames: list[bytes], size: int) -> None:
        """Give positions to frames, of ``size`` bytes, that leave for the first time."""
        self._kept.extend(frames)
        self.held += size

    def acknowledge(self, received: int) -> bool:
        """Forget what has arrived; false where more is said to have arrived than has left."""
        if received > self.base + len(self._kept):
            return False
        kept = self._kept
        for _ in range(received - self.base):
            self.held -= len(kept.popleft())
        self.base = max(self.base, received)
        return True

    def rewind(self) -> None:
        """Let all leave again that is not acknowledged."""
        self._again = self._kept.copy()

    def take_again(self, max_bytes: int) -> list[bytes]:
        """The next frames that leave again, about ``max_bytes``; unchanged, in order (TW-SES-022)."""
        frames: list[bytes] = []
        size = 0
        while self._again and (not frames or size < max_bytes):
            frames.append(self._again.popleft())
            size += len(frames[-1])
        return frames

    @property
    def again(self) -> bool:
        """Whether something has still to leave again."""
        return bool(self._again)


@final
class Arrivals:
    """What has come, and when the peer is to be told.

    Args:
        peer_keeps: bytes that the peer keeps for us; half of it is acknowledged in time.
    """

    __slots__ = ("_bytes", "_soon", "count", "due")

    def __init__(self, peer_keeps: int) -> None:
        self._soon = min(ACK_BYTES, peer_keeps // 2)
        self._bytes = 0
        self.count = 0
        """Positioned frames that have come in all: the next position that is taken."""
        self.due: float | None = None
        """When to acknowledge; None where there is nothing to."""

    def note(self, frames: int, size: int, now: float) -> None:
        """Count ``frames`` positioned frames that came in a batch of ``size`` bytes (TW-SES-011)."""
        if not frames:
            return
        self.count += frames
        self._bytes += size
        if self._bytes >= self._soon:
            self.due = now
        elif self.due is None:
            self.due = now + ACK_SECONDS

    def acknowledged(self) -> int:
        """Note that the peer is being told; returns what."""
        self._bytes = 0
        self.due = None
        return self.count
