"""counter: the client passes a lambda that an interval on the server calls; `on_close` clears it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

import telewire
from telewire import Remote, Service, get_context
from telewire_transports import connect, serve

service = Service()
sent: list[int] = []  # what the server recorded, to be compared with what arrived
ended: list[str] = []  # which clean-ups have run on the server


class Interval:
    """Calls a function again and again until it is cleared, as JavaScript's setInterval does."""

    def __init__(self, function: Callable[[], object], seconds: float) -> None:
        self._function = function
        self._seconds = seconds
        self._cleared = anyio.Event()

    async def run(self) -> None:
        """Call it every so often."""
        while not self._cleared.is_set():
            self._function()
            with anyio.move_on_after(self._seconds):
                await self._cleared.wait()

    def clear(self) -> None:
        """Call it no more."""
        self._cleared.set()
        ended.append("the interval was cleared")


@service.function
async def on_count(on_tick: Callable[[int], Awaitable[None]], seconds: float = 0.5) -> None:
    """Count for the client: it returns at once, and lives as long as the interval holds ``on_tick``."""

    def tick() -> None:
        sent.append(len(sent) + 1)
        on_tick(sent[-1])  # nobody waits for it

    context = get_context()
    interval = Interval(tick, seconds)
    context.on_close(interval.clear)
    context.start_soon(interval.run)


async def client(remote: Remote, show: Callable[[str], object], interval: float = 0.5) -> list[int]:
    """Count to five, then end the call; returns the ticks that arrived."""
    arrived: list[int] = []
    five = anyio.Event()

    def tick(number: int) -> None:
        if len(arrived) < 5:
            arrived.append(number)
            show(str(number))
        if len(arrived) == 5:
            five.set()

    async with remote[on_count](telewire.callback(lambda number: tick(number)), interval):
        await five.wait()
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
