"""Running: user code that still runs on account of one conversation, and who waits for its end.

A server that stops and a client that is left wait for it (R2): a body that was cancelled cleans up,
and an ``on_close`` callback of a coroutine function comes to its end. Whoever waits inside such code
does not wait for itself.
"""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from telewire.runtime.backend import Backend, Signal

__all__ = ["Running", "enter_work"]

_inside: contextvars.ContextVar[tuple[object, ...]] = contextvars.ContextVar("telewire_work", default=())


def enter_work(work: object) -> None:
    """Note that this code, and the tasks it starts, are part of ``work``."""
    _inside.set((*_inside.get(), work))


@final
class Running:
    """The works of one conversation: bodies of calls, tasks of sources, clean-ups."""

    __slots__ = ("_backend", "_ended", "works")

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._ended: Signal | None = None
        # An empty set takes three times as much, for each client.
        self.works: dict[object, None] = {}
        """The loop refers to tasks weakly; what stands here is kept until it has ended."""

    def discard(self, work: object) -> None:
        """Note that ``work`` has ended."""
        self.works.pop(work, None)
        if self._ended is not None:
            self._ended.set()
            self._ended = None

    async def wait(self, *but: object) -> None:
        """Wait until all has ended, but for what the caller is part of; those that it starts too.

        ``but`` names more that is not waited for.
        """
        mine = {*_inside.get(), *but}
        while self.works.keys() - mine:
            if self._ended is None:
                self._ended = self._backend.signal()
            await self._ended.wait()
