"""Waits: what code in a thread of ours waits for on the loop, and how such a wait ends early.

A thread cannot be interrupted. What can end is a wait of its code for the loop, so that is where a
plain function hears that nobody wants it any more: as code of a coroutine does in its awaits.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, final

if TYPE_CHECKING:
    from telewire.runtime.backend import Backend, Task

__all__ = ["WaitCancelled", "Waits"]

R = TypeVar("R")


# Not an error: it unwinds a plain function as a cancellation does a coroutine.
class WaitCancelled(BaseException):
    """Nobody wants what this thread does any more: the call is over, or its stream was stopped."""


@final
class Waits:
    """The waits of one job of a thread, one after the other, until it is not wanted any more."""

    __slots__ = ("_current", "backend", "cancelled")

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.cancelled = False
        # Of the loop, so that a wait that begins and a cancellation never meet.
        self._current: _Wait[Any] | None = None

    def cancel(self) -> None:
        """On the loop: end the wait of the job by WaitCancelled, and every later one at once."""
        self.cancelled = True
        if self._current is not None:
            self._current.cancel()

    def wait(self, make: Callable[[], Awaitable[R]]) -> R:
        """In the thread: await ``make()`` on the loop, in this code's context; returns what it gives.

        Raises:
            WaitCancelled: the job is not wanted any more.
            RuntimeError: the loop has ended.
        """
        if self.cancelled:
            raise WaitCancelled
        return _Wait(self, make).result()

    def begin(self, wait: _Wait[Any] | None) -> None:
        """Note the wait in progress, on the loop."""
        self._current = wait


@final
class _Wait(Generic[R]):
    """One awaitable, in a task of its own, and the thread that waits for it."""

    __slots__ = ("_begun", "_done", "_error", "_make", "_task", "_value", "_waits")

    def __init__(self, waits: Waits, make: Callable[[], Awaitable[R]]) -> None:
        self._waits = waits
        self._make: Callable[[], Awaitable[R]] | None = make
        self._done = threading.Event()
        self._begun = False
        self._task: Task | None = None
        self._value: R | None = None
        self._error: BaseException | None = None

    def result(self) -> R:
        """In the thread: what it gives, or the error that it raised."""
        context = contextvars.copy_context()
        backend = self._waits.backend

        def begin() -> None:
            self._waits.begin(self)
            self._task = backend.spawn(self._run, context=context)

        backend.call_soon_threadsafe(begin)
        backend.block(self._done, "A plain function")
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
            return self._value  # type: ignore[return-value]  # what was awaited
        finally:
            # The traceback holds this frame, and who waited may hold handles that end with it.
            del error

    def cancel(self) -> None:
        """Cancel it in its await; what has not begun finds out itself."""
        if self._begun and self._task is not None:
            self._waits.backend.cancel(self._task)

    async def _run(self) -> None:
        self._begun = True
        make, self._make = self._make, None
        assert make is not None
        try:
            if self._waits.cancelled:
                raise WaitCancelled
            self._value = await make()
        except (Exception, WaitCancelled) as error:
            self._error = error
        except BaseException:
            # Cancelled by us, or the loop is ending.
            self._error = WaitCancelled()
            raise
        finally:
            # The thread drops what it waited with; here nothing of it may be left by then.
            del make
            self._task = None
            self._waits.begin(None)
            self._done.set()
