"""Credit arithmetic: what one direction of a stream may carry, and the budget that grows it.

One ledger for all units (TW-STR, credit): a frame of items costs its payload bytes, but at least
``item_cost`` for each item; grants are absolute and monotone, so a repeated one changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import final

__all__ = ["Budget", "Pool", "ReceiveWindow", "SendWindow"]


@final
class SendWindow:
    """What we may still spend on one half, by the peer's grants."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    @property
    def available(self) -> int:
        """Credit not yet spent."""
        return self.limit - self.used

    def grant(self, limit: int) -> bool:
        """Raise the limit; false where it was that high already."""
        if limit <= self.limit:
            return False
        self.limit = limit
        return True


@final
class Pool:
    """Bytes that the budgets and replay buffers of all connections of a process draw from (TW-LIM-020).

    ``on_room`` is called when there are some again, after a large payload has had to wait for them: then
    call :meth:`Connection.grant_again` of the connections. ``on_short`` is called when something has found
    no room: give up what nobody needs. Neither may call into a connection itself.
    """

    __slots__ = ("left", "left_to_grow", "on_room", "on_short", "wanted")

    def __init__(self, size: int) -> None:
        self.left = size
        self.left_to_grow = size // 2
        self.wanted = 0
        """The least that a large payload waits for; 0 where none does."""
        self.on_room: Callable[[], object] | None = None
        self.on_short: Callable[[], object] | None = None

    def take(self, size: int) -> bool:
        """Reserve ``size`` bytes for a large payload, or nothing."""
        if size > self.left:
            self.wanted = min(size, self.wanted or size)
            self._fall_short()
            return False
        self.left -= size
        return True

    def give(self, size: int) -> None:
        """Return what a large payload had."""
        self.left += size
        if self.wanted and self.left >= self.wanted and self.on_room is not None:
            self.wanted = 0
            self.on_room()

    def take_growth(self, size: int) -> bool:
        """Reserve ``size`` bytes for a grown window or a replay buffer, or nothing (TW-LIM-024)."""
        if size > self.left_to_grow or size > self.left:
            self._fall_short()
            return False
        self.left_to_grow -= size
        self.left -= size
        return True

    def give_growth(self, size: int) -> None:
        """Return what a grown window or a replay buffer had."""
        self.left_to_grow += size
        self.give(size)

    def _fall_short(self) -> None:
        if self.on_short is not None:
            self.on_short()


@final
class Budget:
    """Bytes that all grown windows and reassemblies of a connection share.

    Grown windows may take half of it, so that the other half is there for large payloads whoever
    does not read (TW-STR-037); the same holds for the pool that it draws from, if there is one.
    """

    __slots__ = ("left", "left_to_grow", "pool")

    def __init__(self, size: int, pool: Pool | None = None) -> None:
        self.left = size
        self.left_to_grow = size // 2
        self.pool = pool

    def take(self, size: int) -> bool:
        """Reserve ``size`` bytes for a large payload, or nothing."""
        if size > self.left or (self.pool is not None and not self.pool.take(size)):
            return False
        self.left -= size
        return True

    def give(self, size: int) -> None:
        """Return what a large payload had."""
        self.left += size
        if self.pool is not None:
            self.pool.give(size)

    def take_growth(self, size: int) -> bool:
        """Reserve ``size`` bytes for a grown window, or nothing."""
        if size > self.left_to_grow or size > self.left:
            return False
        if self.pool is not None and not self.pool.take_growth(size):
            return False
        self.left_to_grow -= size
        self.left -= size
        return True

    def give_growth(self, size: int) -> None:
        """Return what a grown window had."""
        self.left += size
        self.left_to_grow += size
        if self.pool is not None:
            self.pool.give_growth(size)


@final
class ReceiveWindow:
    """What the peer may still send on one half, and what our application has consumed of it.

    ``parts`` holds what is not yet consumed as (units, cost), in order of arrival; ``units`` is its
    sum. Of the budget this half holds ``grown``, for a window beyond its initial size, and ``loan``,
    for large payloads whose remainder was granted in one step.
    """

    __slots__ = ("consumed", "grown", "limit", "loan", "parts", "received", "units", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        self.limit = window
        self.received = 0
        self.consumed = 0
        self.parts: deque[tuple[int, int]] = deque()
        self.units = 0
        self.grown = 0
        self.loan = 0

    def receive(self, cost: int) -> bool:
        """Charge an arriving frame; false where the peer had no credit for it."""
        if self.received + cost > self.limit:
            return False
        self.received += cost
        return True

    def add(self, units: int, cost: int) -> None:
        """Note units that now wait for the application."""
        self.parts.append((units, cost))
        self.units += units

    def consume(self, units: int) -> bool:
        """Take ``units`` off the parts, oldest first; false, unchanged, where fewer are waiting."""
        if not 0 < units <= self.units:
            return False
        self.units -= units
        while units:
            count, cost = self.parts.popleft()
            if units < count:
                # Credit of a frame that is consumed in part returns in proportion.
                share = cost * units // count
                self.parts.appendleft((count - units, cost - share))
                self.consumed += share
                break
            units -= count
            self.consumed += cost
        return True

    def grow(self, window: int, budget: Budget) -> None:
        """Enlarge the window to ``window`` if the budget has the difference."""
        more = window - self.window
        if more > 0 and budget.take_growth(more):
            self.window = window
            self.grown = more

    def grant(self) -> int | None:
        """The new limit, where at least half a window has become free since the last one."""
        limit = self.consumed + self.window
        if limit - self.limit < self.window // 2:
            return None
        self.limit = limit
        return limit

    def lend(self, remainder: int, budget: Budget) -> bool:
        """Grant the remainder of a large payload in one step; false where the budget is short."""
        missing = self.received + remainder - self.limit
        if missing > 0:
            if not budget.take(missing):
                return False
            self.loan += missing
            self.limit += missing
        return True

    def repay(self, budget: Budget) -> bool:
        """Return a loan once consumption has caught up with the limit it had raised; whether it did."""
        if not self.loan or self.consumed + self.window < self.limit:
            return False
        budget.give(self.loan)
        self.loan = 0
        return True

    def take_credit_back(self, window: int, budget: Budget) -> None:
        """Bind what comes by credit, and count it, from now on (TW-SES-086)."""
        if self.loan:
            budget.give(self.loan)
            self.loan = 0
        # What waits has to be consumed before it makes room.
        self.consumed -= self.received
        self.received = 0
        self.window = window + self.grown
        self.limit = max(0, self.consumed + self.window)

    def release(self, budget: Budget) -> None:
        """Return everything borrowed: the half is finished."""
        if self.grown:
            budget.give_growth(self.grown)
            self.grown = 0
        if self.loan:
            budget.give(self.loan)
            self.loan = 0
