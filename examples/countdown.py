"""countdown: an async generator runs on the server, its items arrive one a second: 3 2 1 0."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import anyio

from telewire import Remote, Service
from telewire_transports import connect, serve

service = Service()
sent: list[int] = []  # what the server recorded, to be compared with what arrived


@service.function
async def on_countdown(start: int, interval: float = 1.0) -> AsyncIterator[int]:
    """Count down to zero, one number every ``interval`` seconds."""
    for number in range(start, -1, -1):
        sent.append(number)
        yield number
        await anyio.sleep(interval)


async def client(remote: Remote, show: Callable[[int], object], interval: float = 1.0) -> list[int]:
    """Show the numbers as they come; returns them."""
    arrived: list[int] = []
    async for number in remote[on_countdown](3, interval):
        arrived.append(number)
        show(number)
    return arrived


async def main() -> None:
    """Serve on a free port and call from the same program, over a real socket."""

    async def visit(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/telewire") as remote:
            await client(remote, print)
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        await serve(service, port=0, on_started=lambda port: group.start_soon(visit, port))


if __name__ == "__main__":
    anyio.run(main)
