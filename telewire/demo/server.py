"""One example served in a process of its own: ``python -m telewire.demo.server FOLDER NAME``.

It prints its port, serves until its standard input ends, and then prints what it recorded. So the
client learns what was sent by another way than the one that is demonstrated.
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


def say(**facts: object) -> None:
    """Print one line for the process that started this one."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


async def run(example: Example) -> None:
    """Serve until standard input ends."""
    async with anyio.create_task_group() as group:

        async def until_input_ends() -> None:
            await anyio.to_thread.run_sync(sys.stdin.buffer.read)
            group.cancel_scope.cancel()

        group.start_soon(until_input_ends)
        await serve(example.service, port=0, on_started=lambda port: say(port=port))


def main(place: str, name: str) -> None:
    """Serve one example, then print its record."""
    example = load(Path(place), name)
    anyio.run(run, example)
    say(sent=[repr(item) for item in example.sent], ended=getattr(example, "ended", []))


if __name__ == "__main__":
    main(*sys.argv[1:])
