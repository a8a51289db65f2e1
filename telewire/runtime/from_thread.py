"""From a thread: how a plain function takes what arrives on the loop, while its thread waits."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterator
from types import CoroutineType
from typing import TypeVar, final

from telewire.runtime.threads import current_worker
from telewire.runtime.waits import Waits

__all__ = ["ThreadIterator", "wait"]

R = TypeVar("R")
T = TypeVar("T")


def wait(awaitable: Awaitable[R]) -> R:
    """In the thread of a plain function: wait until the loop has awaited ``awaitable``; returns its result.

    ``telewire.wait(promise)``, ``telewire.wait(call)``, ``telewire.wait(stream.read())``: whatever a
    coroutine of the loop could await here. The loop goes on meanwhile. Handles with items need no
    ``wait``: a plain ``for`` takes them. Where the call is over before, or nobody wants the iterator
    any more in which this code runs, the function is unwound by a ``BaseException``, as a coroutine is
    by a cancellation: ``finally`` blocks run, and every later wait ends in the same way.

    Raises:
        RuntimeError: this is no thread of a plain function that telewire runs.
        Exception: whatever the awaitable raises.
    """
    try:
        return _waits_here("telewire.wait()", "await").wait(lambda: awaitable)
    finally:
        # It may never have begun: this is no such thread, or nobody wants its result any more.
        if isinstance(awaitable, CoroutineType):
            awaitable.close()


def _waits_here(what: str, instead: str) -> Waits:
    worker = current_worker()
    if worker is None:
        raise RuntimeError(
            f"{what} is for plain functions and iterators in threads of telewire's, which wait while the "
            f"event loop goes on; use `{instead}` in a coroutine."
        )
    return worker.waits


@final
class ThreadIterator(Iterator[T]):
    """An async iterable, stepped by a plain ``for`` in a thread of ours; each step waits for the loop.

    Nothing is taken ahead of the loop body, so its pace is what the sender is held to.

    Raises:
        RuntimeError: this is no such thread. ``what`` begins the sentence.
    """

    __slots__ = ("_iterator", "_source", "_what")

    def __init__(self, source: AsyncIterable[T], what: str) -> None:
        _waits_here(what, "async for")
        self._source = source
        self._what = what
        self._iterator: AsyncIterator[T] | None = None

    def __next__(self) -> T:
        try:
            return _waits_here(self._what, "async for").wait(self._step)
        except StopAsyncIteration:
            raise StopIteration from None

    async def _step(self) -> T:
        if self._iterator is None:
            self._iterator = aiter(self._source)
        return await anext(self._iterator)
