"""An ASGI application that is to end: its lifespan drains, and drain() says whether all have gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from telewire import Client, GoingAway, Service
from telewire.runtime.transport import TransportName
from telewire_transports import connect
from telewire_transports.asgi import TelewireASGI
from tests.runtime.world import drained
from tests.transports.exchanges import until
from tests.transports.hypercorn_here import under_hypercorn

pytestmark = pytest.mark.anyio
every = pytest.mark.parametrize("transport", ["websocket", "http", "sse"])
AGES = 60.0
AT_ONCE = 0.02


class Site:
    """An application of ours below another one, whose lifespan is its own; and a client of it."""

    def __init__(self, drain_seconds: float) -> None:
        self.go_on = anyio.Event()
        self.told = anyio.Event()
        self.stop = anyio.Event()
        self.ended: list[object] = []
        service: Service[Any] = Service()
        service.function(self.count)
        self.telewire = TelewireASGI(service, hosts=("127.0.0.1",), drain_seconds=drain_seconds)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await self.telewire(scope, receive, send)
            return
        for part in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{part}"
            await send({"type": f"lifespan.{part}.complete"})

    async def count(self, most: int) -> AsyncIterator[int]:
        """One number, and the others when they may come."""
        for number in range(most):
            if number == 1:
                await self.go_on.wait()
            yield number

    def connect(self, port: int, transport: TransportName) -> Client:
        """A client that tells when it is asked to leave: it looks for a successor then."""
        client = connect(f"http://127.0.0.1:{port}/telewire", transport=transport)
        client.on_state(lambda state: self.told.set() if state == "reconnecting" else None)
        return client

    async def live(self) -> None:
        """Its lifespan, until it is told to stop."""
        async with self.telewire.lifespan():
            await self.stop.wait()
        self.ended.append("lifespan")

    async def drain(self) -> None:
        """Note whether all have gone."""
        self.ended.append(await self.telewire.drain())


@asynccontextmanager
async def stopped_at_the_first_item(site: Site, transport: TransportName) -> AsyncIterator[Any]:
    """Items of a call of which one has come when the lifespan begins to end."""
    async with under_hypercorn(site) as port, anyio.create_task_group() as group:
        group.start_soon(site.live)
        async with site.connect(port, transport) as remote:
            numbers = await remote.count(3)
            assert await anext(numbers) == 0
            site.stop.set()
            yield numbers


@every
async def test_what_is_open_ends_in_order_when_the_lifespan_does(transport: TransportName) -> None:
    site = Site(AGES)
    async with stopped_at_the_first_item(site, transport) as numbers:
        await until(site.told.is_set)
        assert not site.ended
        site.go_on.set()
        assert await drained(numbers) == ([1, 2], None)
        await until(lambda: site.ended == ["lifespan"])


@every
async def test_what_does_not_end_in_time_is_going_away(transport: TransportName) -> None:
    site = Site(AT_ONCE)
    async with stopped_at_the_first_item(site, transport) as numbers:
        items, error = await drained(numbers)
        assert items == []
        assert isinstance(error, GoingAway)
        assert not error.retryable
        await until(lambda: site.ended == ["lifespan"])


@every
async def test_to_drain_is_to_ask_and_to_wait(transport: TransportName) -> None:
    site = Site(AGES)
    async with under_hypercorn(site) as port, site.connect(port, transport) as remote:
        numbers = await remote.count(3)
        assert await anext(numbers) == 0
        async with anyio.create_task_group() as group:
            group.start_soon(site.drain)
            await until(site.told.is_set)
            assert not site.ended
            site.go_on.set()
            assert await drained(numbers) == ([1, 2], None)
            await until(lambda: site.ended == [True])


@every
async def test_a_drain_that_runs_out_of_time_says_so_and_cuts_nothing_off(transport: TransportName) -> None:
    site = Site(AT_ONCE)
    async with under_hypercorn(site) as port, site.connect(port, transport) as remote:
        numbers = await remote.count(3)
        assert await anext(numbers) == 0
        await site.drain()
        assert site.ended == [False]
        site.go_on.set()
        assert await drained(numbers) == ([1, 2], None)
