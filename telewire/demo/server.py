"""The examples served in a process of their own: ``python -m telewire.demo.server FOLDER``.

A line with a name on its standard input begins an example: the port is printed. The next line ends it:
what it recorded is printed. So the client learns what was sent by another way than the one that is
demonstrated. One process serves them all, since starting it takes longer than some of them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anyio
import anyio.to_thread

from telewire.demo.table import Example, load
from telewire_transports import serve

__all__ = ["main"]

answers = sys.stdout


def say(**facts: object) -> None:
    """Print one line for the process that started this one."""
    answers.write(json.dumps(facts) + "\n")
    answers.flush()


async def next_line() -> bytes:
    """The next line of standard input; none behind its end."""
    return await anyio.to_thread.run_sync(sys.stdin.buffer.readline)


async def run(place: Path) -> None:
    """Serve one example after the other until standard input ends."""
    while name := (await next_line()).decode().strip():
        example = load(place, name)
        await serve_until_told(example)
        say(sent=[repr(item) for item in example.sent], ended=getattr(example, "ended", []))


async def serve_until_told(example: Example) -> None:
    """Serve until the next line comes, or none any more."""
    async with anyio.create_task_group() as group:

        async def until_told() -> None:
            await next_line()
            group.cancel_scope.cancel()

        group.start_soon(until_told)
        await serve(example.service, port=0, on_started=lambda port: say(port=port))


def main(place: str) -> None:
    """Serve the examples of a folder."""
    sys.stdout = sys.stderr  # what an example prints is no answer
    anyio.run(run, Path(place))


if __name__ == "__main__":
    main(*sys.argv[1:])
