"""Threads of plain functions, and sources that such functions wait for, as tests want them."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from typing import Any

import anyio

from telewire.runtime import threads

__all__ = ["Unread", "join_workers", "workers"]


def workers() -> list[threading.Thread]:
    """The threads that telewire runs at present."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("telewire ")]


def join_workers() -> None:
    """See that no thread of ours is left, whatever its function was waiting for: idle ones end."""
    for thread in workers():
        thread.join(5)
    assert not workers()
    assert threads._running == 0


class Unread:
    """A generator that gives what it is told to and then waits, and says when it is closed."""

    def __init__(self, *given: Any) -> None:
        self.given = given
        self.produced = 0
        self.closed = anyio.Event()

    async def items(self) -> AsyncIterator[Any]:
        try:
            for item in self.given:
                self.produced += 1
                yield item
            await anyio.Event().wait()
        finally:
            self.closed.set()
