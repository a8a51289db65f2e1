"""Named deadlines: the earliest is the connection's next timeout. No clock, only comparisons."""

from __future__ import annotations

import heapq
from typing import Final, Generic, Protocol, TypeVar, final

__all__ = ["Timers"]

SWEEP: Final = 64


class Deadlined(Protocol):
    """What a deadline can belong to; ``timed`` is false once it no longer matters."""

    @property
    def timed(self) -> bool: ...


Owner = TypeVar("Owner", bound=Deadlined)


@final
class Timers(Generic[Owner]):
    """A heap of (when, owner); entries of owners that no longer care are dropped when met.

    Far deadlines of what ended long ago are swept out whenever the heap has doubled, so that it
    stays within twice what is alive.
    """

    __slots__ = ("_heap", "_order", "_sweep_at")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Owner]] = []
        self._order = 0
        self._sweep_at = SWEEP

    def add(self, when: float, owner: Owner) -> None:
        """Arm a deadline of ``owner``."""
        if len(self._heap) >= self._sweep_at:
            self._heap = [entry for entry in self._heap if entry[2].timed]
            heapq.heapify(self._heap)
            self._sweep_at = max(SWEEP, 2 * len(self._heap))
        self._order += 1
        heapq.heappush(self._heap, (when, self._order, owner))

    def next(self) -> float | None:
        """The earliest deadline that still matters."""
        while self._heap:
            when, _, owner = self._heap[0]
            if owner.timed:
                return when
            heapq.heappop(self._heap)
        return None

    def clear(self) -> None:
        """Drop every deadline."""
        self._heap.clear()

    def due(self, now: float) -> list[Owner]:
        """Remove and return the owners whose deadline has come, earliest first."""
        owners: list[Owner] = []
        while self._heap and self._heap[0][0] <= now:
            owner = heapq.heappop(self._heap)[2]
            if owner.timed:
                owners.append(owner)
        return owners
