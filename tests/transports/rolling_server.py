"""A server that notes what it runs in a file, and drains for so many seconds: for the rolling restart."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from functools import partial

import anyio

from telewire import Service
from telewire_transports import serve_until_signal

service = Service()


@service.function
async def note(number: int) -> int:
    """Write down that it ran; who kills this process cannot make it forget."""
    NOTES.write(f"{number}\n")
    NOTES.flush()
    return number


@service.function
async def count(most: int) -> AsyncIterator[int]:
    """So many numbers, as fast as they are taken."""
    for number in range(most):
        yield number


@service.function
async def forever() -> AsyncIterator[int]:
    """One number, and no end."""
    yield 0
    await anyio.sleep_forever()


def started(port: int) -> None:
    """Tell who waits."""
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    NOTES = open(sys.argv[1], "a", encoding="utf-8")  # noqa: SIM115  # it lives as long as the process
    anyio.run(
        partial(
            serve_until_signal,
            service,
            port=0,
            hosts=("127.0.0.1",),
            drain_seconds=float(sys.argv[2]),
            on_started=started,
        )
    )
