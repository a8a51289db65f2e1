"""Arrivals: how many frames have come, by position, and when the peer is told (TW-SES-010 to 013).

The ledger of one session for what comes; that for what leaves is ``replay.py``.
"""

from __future__ import annotations

from typing import Final, final

__all__ = ["ACK_BYTES", "ACK_SECONDS", "KEPT_BYTES", "LITTLE_BYTES", "LITTLE_SECONDS", "Arrivals"]

ACK_BYTES: Final = 64 * 1024
ACK_SECONDS: Final = 0.025
LITTLE_BYTES: Final = 4 * 1024
LITTLE_SECONDS: Final = 1.0
"""What is less than ``LITTLE_BYTES`` may wait so long for something to ride on (TW-SES-011). Where an
answer is followed by the next call a moment later, an acknowledgement between them would be a third of
all messages; where items come one by one over HTTP, it would be a request for each."""

PROMPT_BATCHES: Final = 4
"""So many batches of a transport, its first, are acknowledged at once (TW-SES-011)."""

KEPT_BYTES: Final = 64
"""What a frame takes besides its bytes for being kept: its object, and its places in two queues."""
NOT_YET: Final = float("inf")


@final
class Arrivals:
    """What has come, and when the peer is to be told.

    Args:
        peer_keeps: bytes that the peer keeps for us; half of it is acknowledged in time.
    """

    __slots__ = ("_bytes", "_frames", "_half", "_patience", "count", "due", "prompt", "rides")

    def __init__(self, peer_keeps: int) -> None:
        self._half = peer_keeps // 2
        self.prompt = PROMPT_BATCHES
        """How many batches are acknowledged at once, so that the peer learns of the round trip."""
        self._bytes = 0
        self._frames = 0
        self.count = 0
        """Positioned frames that have come in all: the next position that is taken."""
        self.due: float | None = None
        """When to acknowledge; None where there is nothing to."""
        self.rides = NOT_YET
        """When to acknowledge where something else leaves."""
        self._patience = LITTLE_SECONDS

    def note(self, frames: int, size: int, now: float) -> None:
        """Count ``frames`` positioned frames that came in a batch of ``size`` bytes (TW-SES-011)."""
        if not frames:
            return
        self.count += frames
        self._bytes += size
        self._frames += frames
        # The peer counts what keeping takes as well, so that is what half of its buffer is.
        if self.prompt:
            self.prompt -= 1
            self.due = now
        elif self._bytes >= ACK_BYTES or self._bytes + self._frames * KEPT_BYTES >= self._half:
            self.due = now
        elif self.due is None:
            self.rides = now + ACK_SECONDS
            self.due = now + self._patience if self._bytes < LITTLE_BYTES else self.rides
        elif self._bytes >= LITTLE_BYTES and self.due > now + ACK_SECONDS:
            self.due = now + ACK_SECONDS

    def hurry(self) -> None:
        """Tell the peer at once, and soon from now on: it goes away when it knows that all arrived."""
        self.prompt = max(self.prompt, 1)
        self._patience = ACK_SECONDS

    def acknowledged(self) -> int:
        """Note that the peer is being told; returns what."""
        self._bytes = self._frames = 0
        self.due = None
        self.rides = NOT_YET
        return self.count
