"""Lines on standard output that wait for a slow reader without holding up the conversation."""

from __future__ import annotations

import functools
import select
import sys
from typing import Final, final

import anyio
import anyio.to_thread
import click

__all__ = ["Output"]

AT_ONCE: Final = 4096
"""A pipe that takes anything takes so many bytes (PIPE_BUF)."""


@final
class Output:
    """Standard output, line by line.

    A pager that nobody scrolls takes nothing for minutes. A write that waited for it on the event loop
    would keep this side from answering, until the other side took it for dead.
    """

    def __init__(self) -> None:
        self._lock = anyio.Lock(fast_acquire=True)

    async def line(self, text: str) -> None:
        """Write one line, and wait until it is written.

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        async with self._lock:
            # Four bytes are the most that a character takes.
            if 4 * len(text) < AT_ONCE and _takes():
                click.echo(text)
            else:
                write = functools.partial(click.echo, text)
                await anyio.to_thread.run_sync(write, abandon_on_cancel=True)


def _takes() -> bool:
    """Whether a short write will not wait; where that cannot be asked it is taken for granted."""
    try:
        return bool(select.select([], [sys.stdout.fileno()], [], 0)[1])
    except (OSError, ValueError):
        return True
