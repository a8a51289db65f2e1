"""Background: work that a call has started with ``context.start_soon`` and that ends with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, final

from telewire.runtime.context import enter_context
from telewire.runtime.running import enter_work

if TYPE_CHECKING:
    from telewire.runtime.backend import Task
    from telewire.runtime.sources import Owner

__all__ = ["Background"]


@final
class Background:
    """The tasks of one call; the owner owes :meth:`cancel` when the call is over."""

    def __init__(self, owner: Owner, what: str) -> None:
        self._owner = owner
        self._what = what
        self._works: set[_Work] = set()

    # Any: functions of every type are started.
    def start(self, function: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> None:
        """Run ``function(*args)`` in a task of its own."""
        _Work(self, self._owner, self._what, function, args)

    def add(self, work: _Work) -> None:
        """Note a task that has begun."""
        self._works.add(work)

    def discard(self, work: _Work) -> None:
        """Note that a task has ended."""
        self._works.discard(work)

    def cancel(self) -> None:
        """Cancel what still runs; it has a bounded time to clean up."""
        if not self._works:
            return
        driver = self._owner.driver
        works = tuple(self._works)
        for work in works:
            work.cancel()

        def again() -> None:
            for work in works:
                if work in self._works:
                    work.cancel()

        driver.backend.call_at(driver.backend.now() + driver.connection.limits.cleanup_seconds, again)


@final
class _Work:
    """One task."""

    def __init__(
        self,
        background: Background,
        owner: Owner,
        what: str,
        function: Callable[..., Awaitable[object]],
        args: tuple[Any, ...],
    ) -> None:
        self._background = background
        self._owner = owner
        self._what = what
        self._function = function
        self._args = args
        self._cancelled = False
        self._begun = False
        background.add(self)
        owner.driver.running.works[self] = None
        self._task: Task = owner.driver.backend.spawn(self._run)

    def cancel(self) -> None:
        """Cancel it at its await; what has not begun never will."""
        self._cancelled = True
        if self._begun:
            self._task.cancel()

    async def _run(self) -> None:
        self._begun = True
        enter_work(self)
        try:
            if not self._cancelled:
                if self._owner.holder is not None:
                    enter_context(self._owner.holder)
                await self._function(*self._args)
        except Exception as error:
            self._owner.bug(error, f"Background work of {self._what}()")
        except BaseException:
            # Cancelled by us, in a task of ours: there is nobody to tell. Otherwise the loop is ending.
            if not self._cancelled:
                raise
        finally:
            self._background.discard(self)
            self._owner.driver.running.discard(self)
