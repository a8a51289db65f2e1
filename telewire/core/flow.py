"""Credit arithmetic: what one direction of a stream may carry, and the budget that grows it.

One ledger for all units (TW-STR, credit): a frame of items costs its payload bytes, but at least
``item_cost`` for each item; grants are absolute and monotone, so a repeated one changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, final

__all__ = ["Budget", "Pool", "ReceiveWindow", "SendWindow"]

GROWN_BELOW: Final = 3
"""A window of less than what is consumed in so many round trips doubles (TW-STR-081)."""
SHRUNK_ABOVE: Final = 12
"""One of more than this is halved: behind either there is as far to go to the other (TW-STR-082)."""
GRANT_BYTES: Final = 512 * 1024
"""Larger steps than this have a window wait for itself, since half of it is then never granted."""
LOOK_BYTES: Final = 128 * 1024
"""So much is consumed at most between two looks at the size of a window."""

NOTHING: Final = 1 << 62
"""More than any window."""


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
class Shortage:
    """What was looked for in vain, so that larger windows give way (TW-STR-084).

    ``window`` is the least that one was to become, or 0 for what is no window. Who wanted it gets it as
    soon as it is there: it may look too seldom to find it before others do.
    """

    __slots__ = ("_most", "_size", "_who", "window")

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._who: tuple[ReceiveWindow, Budget] | None = None
        self.window = NOTHING

    def note(self, size: int, window: int, who: tuple[ReceiveWindow, Budget] | None) -> None:
        """Note that ``size`` bytes were not there for a window of that size; the least window counts."""
        if window <= self.window:
            self.window = window
            self._size = min(self._most, size)
            self._who = who

    def ease(self, size: int) -> None:
        """Where there is as much as was looked for, give it to the window; what is none asks again itself."""
        if size >= self._size and self.window < NOTHING:
            window, who = self.window, self._who
            self.clear()
            if who is not None:
                who[0].grow(window, who[1])

    def forget(self, half: ReceiveWindow) -> None:
        """Forget what this one looked for: it has ended."""
        if self._who is not None and self._who[0] is half:
            self.clear()

    def clear(self) -> None:
        """Forget it: nobody waits."""
        self.window = NOTHING
        self._size = 0
        self._who = None


@final
class Pool:
    """Bytes that the budgets and replay buffers of all connections of a process draw from (TW-LIM-020).

    ``on_room`` is called when there are some again, after a large payload has had to wait for them: then
    call :meth:`Connection.grant_again` of the connections. ``on_short`` is called when something has found
    no room: give up what nobody needs. Neither may call into a connection itself.
    """

    __slots__ = ("left", "left_to_grow", "on_room", "on_short", "short", "wanted")

    def __init__(self, size: int) -> None:
        self.left = size
        self.left_to_grow = size // 2
        self.wanted = 0
        """The least that a large payload waits for; 0 where none does."""
        self.short = Shortage(self.left_to_grow)
        self.on_room: Callable[[], object] | None = None
        self.on_short: Callable[[], object] | None = None

    def take(self, size: int) -> bool:
        """Reserve ``size`` bytes for a large payload, or nothing."""
        if size > self.left:
            self.wanted = min(size, self.wanted or size)
            self._fall_short(size, 0, None)
            return False
        self.left -= size
        self.short.ease(size)
        return True

    def give(self, size: int) -> None:
        """Return what a large payload had."""
        self.left += size
        if self.wanted and self.left >= self.wanted and self.on_room is not None:
            self.wanted = 0
            self.on_room()

    def take_growth(
        self, size: int, window: int = 0, who: tuple[ReceiveWindow, Budget] | None = None
    ) -> bool:
        """Reserve ``size`` bytes for a window that grows to ``window``, or a replay buffer (TW-LIM-024)."""
        if size > self.left_to_grow or size > self.left:
            self._fall_short(size, window, who)
            return False
        self.left_to_grow -= size
        self.left -= size
        return True

    def give_growth(self, size: int) -> None:
        """Return what a grown window or a replay buffer had."""
        self.left_to_grow += size
        self.give(size)
        self.short.ease(self.left_to_grow)

    def _fall_short(self, size: int, window: int, who: tuple[ReceiveWindow, Budget] | None) -> None:
        self.short.note(size, window, who)
        if self.on_short is not None:
            self.on_short()


@final
class Budget:
    """Bytes that all grown windows and reassemblies of a connection share.

    Grown windows may take half of it, so that the other half is there for large payloads whoever
    does not read (TW-STR-037); the same holds for the pool that it draws from, if there is one.
    """

    __slots__ = ("left", "left_to_grow", "pool", "short")

    def __init__(self, size: int, pool: Pool | None = None) -> None:
        self.left = size
        self.left_to_grow = size // 2
        self.short = Shortage(self.left_to_grow)
        self.pool = pool

    def take(self, size: int) -> bool:
        """Reserve ``size`` bytes for a large payload, or nothing."""
        if size > self.left:
            self.short.note(size, 0, None)
            return False
        if self.pool is not None and not self.pool.take(size):
            return False
        self.left -= size
        self.short.ease(size)
        return True

    def give(self, size: int) -> None:
        """Return what a large payload had."""
        self.left += size
        if self.pool is not None:
            self.pool.give(size)

    def take_growth(self, size: int, window: int = 0, who: ReceiveWindow | None = None) -> bool:
        """Reserve ``size`` bytes for a window that grows to ``window``, or nothing."""
        waits = None if who is None else (who, self)
        if size > self.left_to_grow or size > self.left:
            self.short.note(size, window, waits)
            return False
        if self.pool is not None and not self.pool.take_growth(size, window, waits):
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
        self.short.ease(self.left_to_grow)

    def forget(self, half: ReceiveWindow) -> None:
        """Forget that a half looked for more: it has ended."""
        self.short.forget(half)
        if self.pool is not None:
            self.pool.short.forget(half)

    def is_short(self, window: int) -> bool:
        """Whether a half with a window of this size has to give way to others (TW-STR-084)."""
        pool = self.pool
        return self.short.window < window or (pool is not None and pool.short.window < window)


@final
class ReceiveWindow:
    """What the peer may still send on one half, and what our application has consumed of it.

    ``parts`` holds what is not yet consumed as (units, cost), in order of arrival; ``units`` is its
    sum. Of the budget this half holds ``grown``, for a window beyond its initial size, and ``loan``,
    for large payloads whose remainder was granted in one step. When ``consumed`` has come to ``mark``,
    :meth:`tune` is owed.
    """

    __slots__ = (
        "_first",
        "_seen",
        "_since",
        "_start",
        "consumed",
        "grown",
        "limit",
        "loan",
        "mark",
        "parts",
        "received",
        "units",
        "window",
    )

    def __init__(self, window: int) -> None:
        self.window = window
        self.limit = window
        self.received = 0
        self.consumed = 0
        self.mark = 0
        self.parts: deque[tuple[int, int]] = deque()
        self.units = 0
        self.grown = 0
        self.loan = 0
        # Its initial size; when, and with how much consumed, the round trip in hand began; what had been
        # consumed when it was looked at last.
        self._first = window
        self._since = float("-inf")
        self._start = self._seen = 0

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

    def tune(self, usual: int, trip: float | None, now: float, budget: Budget) -> bool:
        """Size the window by what was consumed, and say whether a grant is due: ``limit`` is its limit.

        Args:
            usual: what it grows to with the first consumption, and does not shrink below afterwards.
            trip: the round trip, where it is known.
            now: the time.
            budget: what it grows from.
        """
        if self.window < usual:
            self.grow(usual, budget)
        elif trip:
            self._fit(usual, trip, now, budget)
        if self.grown:
            self._give_back(budget)
        self._seen = self.consumed
        step = min(self.window // 2, GRANT_BYTES)
        limit = self.consumed + self.window
        due = limit - self.limit >= step
        if due:
            self.limit = limit
        self.mark = min(
            self.limit - self.window + step, self.consumed + min(self.window // 8 or 1, LOOK_BYTES)
        )
        return due

    def _fit(self, usual: int, trip: float, now: float, budget: Budget) -> None:
        """Compare the window with what is consumed in a round trip (TW-STR-081 to 084)."""
        took = now - self._since
        used = self.consumed - self._start
        if took > trip:
            used = int(used * trip / took)
        short = budget.is_short(self.window)
        if used * GROWN_BELOW > self.window and not short:
            self.grow(2 * self.window, budget)
        if took < trip:
            return
        if self.window > usual and (used * SHRUNK_ABOVE < self.window or short):
            self.window = max(usual, self.window // 2)
        # What came just now was consumed just now, however long nothing had come before.
        self._since, self._start = now, self._seen

    def grow(self, window: int, budget: Budget) -> None:
        """Enlarge the window if the budget has what it lacks."""
        missing = window - self._first - self.grown
        if missing <= 0 or budget.take_growth(missing, window, self):
            self.window = window
            self.grown += max(0, missing)

    def _give_back(self, budget: Budget) -> None:
        """Return what neither the window nor what was granted by a larger one needs (TW-STR-083)."""
        spare = self.grown - (max(self.window, self.limit - self.loan - self.consumed) - self._first)
        if spare > 0:
            self.grown -= spare
            budget.give_growth(spare)

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
        self._first = window
        self.window = window + self.grown
        self.limit = max(0, self.consumed + self.window)
        self.mark = self._start = self._seen = self.consumed

    def release(self, budget: Budget) -> None:
        """Return everything borrowed: the half is finished."""
        budget.forget(self)
        if self.grown:
            budget.give_growth(self.grown)
            self.grown = 0
        if self.loan:
            budget.give(self.loan)
            self.loan = 0
