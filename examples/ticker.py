"""ticker: a generator that never ends, held back by a reader that pauses, and stopped by its break."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from itertools import count

import anyio

from telewire import Remote, Service
from telewire_transports import connect, serve

BETWEEN_PAUSES = 3000
PAUSES = 4

service = Service()
sent: list[int] = []  # what the server recorded, to be compared with what arrived
ended: list[str] = []  # which clean-ups have run on the server


@service.function
async def on_ticks() -> AsyncIterator[int]:
    """Tick as fast as the reader allows, for ever."""
    try:
        for tick in count():
            sent.append(tick)
            yield tick
    finally:
        ended.append("the ticker was stopped")


@service.function
async def on_progress() -> int:
    """How many ticks have been produced so far."""
    return len(sent)


async def client(remote: Remote, show: Callable[[str], object], interval: float = 0.5) -> list[int]:
    """Read in bursts, and say at each pause how far ahead the producer is; returns what arrived."""
    arrived: list[int] = []
    async for tick in remote[on_ticks]():
        arrived.append(tick)
        if len(arrived) % BETWEEN_PAUSES == 0:
            await anyio.sleep(interval)  # a slow reader: the producer runs ahead, but not for long
            produced = await remote[on_progress]()
            show(f"{len(arrived)} ticks taken, {produced} produced: {produced - len(arrived)} ahead, waiting")
        if len(arrived) == BETWEEN_PAUSES * PAUSES:
            break  # stops the generator on the server: its finally block runs
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
