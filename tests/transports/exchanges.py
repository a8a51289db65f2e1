"""Serving on a free port and calling by plain HTTP, and a service that notes how its calls end: for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel

from telewire import (
    Client,
    Service,
    get_context,
)
from telewire_transports import connect, serve


@asynccontextmanager
async def serving(service: Service, **options: object) -> AsyncIterator[str]:
    """Serve until the block ends; gives the URL."""
    ports: list[int] = []
    started = anyio.Event()

    def on_started(port: int) -> None:
        ports.append(port)
        started.set()

    async def run() -> None:
        await serve(service, host="localhost", port=0, on_started=on_started, **options)  # type: ignore[arg-type]

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await started.wait()
        # Who waits for ever tells nobody what is wrong.
        with anyio.fail_after(20):
            yield f"http://localhost:{ports[0]}/telewire"
        group.cancel_scope.cancel()


@asynccontextmanager
async def calling(service: Service, **options: object) -> AsyncIterator[Client]:
    """A client of ``service`` whose calls are exchanges."""
    async with serving(service) as url:
        client = connect(url, transport="exchange", **options)  # type: ignore[arg-type]  # its own options
        async with client:
            yield client


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until something holds."""
    with anyio.fail_after(5):
        while not condition():
            await anyio.lowlevel.checkpoint()


class Life:
    """A service that notes how its calls end."""

    def __init__(self) -> None:
        self.service = Service()
        self.reasons: list[object] = []
        self.cleaned = 0
        self.waiting = 0
        self.produced = 0
        self.service.add(self.on_ticks, "ticks")
        self.service.add(self.on_wait, "wait")
        self.service.add(self.on_both, "both")

    def watch(self) -> None:
        get_context().on_close(lambda reason: self.reasons.append(reason))

    async def on_ticks(self) -> AsyncIterator[int]:
        self.watch()
        try:
            while True:
                yield self.produced
                self.produced += 1
        finally:
            self.cleaned += 1

    async def on_wait(self) -> None:
        self.watch()
        self.waiting += 1
        try:
            await anyio.sleep_forever()
        finally:
            self.cleaned += 1

    async def on_both(self) -> dict[str, object]:
        self.watch()

        async def soon() -> str:
            await anyio.lowlevel.checkpoint()
            return "soon"

        return {"ticks": self.on_ticks(), "title": soon()}
