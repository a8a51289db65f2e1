"""Numbers of streams: which one comes next on each side, and so which are spent.

Each side counts its own calls and declared streams in one gapless space (TW-MOD, numbers): the
next number is all the memory that "never reused" needs.
"""

from __future__ import annotations

from typing import Final, final

__all__ = ["LAST", "Numbers"]

LAST: Final = (1 << 53) - (1 << 20)
"""From here on a side opens nothing more: one payload may still declare many streams (TW-MOD-024)."""


@final
class Numbers:
    """The next number of one side; all below it are spent.

    ``calls_below`` bounds the numbers of calls: a side that goes away accepts none from there on.
    """

    __slots__ = ("calls_below", "next")

    def __init__(self) -> None:
        self.next = 0
        self.calls_below = LAST

    def take(self) -> int:
        """Spend the next number."""
        number = self.next
        self.next += 1
        return number

    def accept(self, number: int) -> bool:
        """Spend the number the peer gave, if it is the next one."""
        if number != self.next:
            return False
        self.next += 1
        return True

    def spent(self, number: int) -> bool:
        """Whether the number has been in use."""
        return number < self.next
