"""Draining over real sockets: a server that is to end is left by its clients, and then ends by itself."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from telewire import GoingAway, Service
from telewire.runtime.transport import TransportName
from telewire_transports import connect, serve
from telewire_transports.asgi import TelewireASGI
from tests.runtime.world import caught
from tests.transports.balancer import balancing
from tests.transports.exchanges import until
from tests.transports.nginx import FOUND, UPGRADE, nginx_before

pytestmark = pytest.mark.anyio


class Place:
    """A server that can be told to end, and what its functions wait for."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.told = anyio.Event()
        self.ended = anyio.Event()
        self.go_on = anyio.Event()
        self.service: Service[None] = Service()
        self.service.function(self.who)
        self.service.function(self.count)

    async def who(self) -> str:
        """Which it is."""
        return self.name

    async def count(self, most: int) -> AsyncIterator[int]:
        """One number, and the others when they may come."""
        for number in range(most):
            if number == 1:
                await self.go_on.wait()
            yield number

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/telewire"

    async def run(self, started: anyio.Event, options: dict[str, Any]) -> None:
        def on_started(port: int) -> None:
            self.port = port
            started.set()

        await serve(
            self.service,
            port=0,
            hosts=("127.0.0.1", "servers"),
            until=self.told.wait,
            on_started=on_started,
            **{"drain_seconds": 60.0, **options},
        )
        self.ended.set()


@asynccontextmanager
async def places(*names: str, **options: Any) -> AsyncIterator[list[Place]]:
    found = [Place(name) for name in names]
    async with anyio.create_task_group() as group:
        for place in found:
            started = anyio.Event()
            group.start_soon(place.run, started, options)
            await started.wait()
        with anyio.fail_after(20):
            yield found
        group.cancel_scope.cancel()


@pytest.mark.parametrize("transport", ["websocket", "http", "sse", None])
async def test_clients_go_on_elsewhere_and_the_server_ends_by_itself(transport: TransportName | None) -> None:
    async with places("first", "second") as (first, second), balancing() as balancer:
        balancer.servers = [first.port]
        url = f"http://127.0.0.1:{balancer.port}/telewire"
        async with connect(url, transport=transport) as remote:
            assert await remote.who() == "first"
            numbers = await remote.count(3)
            assert await anext(numbers) == 0
            balancer.servers = [second.port]
            first.told.set()
            while await remote.who() != "second":
                # What is called before the server's word is here runs where it was.
                continue
            assert not first.ended.is_set()
            first.go_on.set()
            assert [number async for number in numbers] == [1, 2]
            await first.ended.wait()
            assert await remote.who() == "second"


async def test_exchanges_are_answered_while_the_server_drains() -> None:
    async with places("only") as (only,), connect(only.url, transport="exchange") as remote:
        numbers = await remote.count(3)
        assert await anext(numbers) == 0
        only.told.set()
        assert await remote.who() == "only"
        only.go_on.set()
        assert [number async for number in numbers] == [1, 2]
        await only.ended.wait()


@pytest.mark.parametrize("transport", ["websocket", "http"])
async def test_who_may_follow_goes_where_it_is_sent(transport: TransportName) -> None:
    async with places("second") as (second,), places("first", elsewhere=second.url) as (first,):
        asked: list[str] = []

        def follow(url: str) -> bool:
            asked.append(url)
            return True

        async with connect(first.url, transport=transport, follow=follow) as remote:
            assert await remote.who() == "first"
            first.told.set()
            await first.ended.wait()
            assert await remote.who() == "second"
        assert set(asked) == {second.url}


async def test_nobody_follows_without_leave() -> None:
    async with places("second") as (second,), places("first", elsewhere=second.url) as (first,):
        client = connect(first.url, transport="websocket")
        async with client as remote:
            numbers = await remote.count(3)
            assert await anext(numbers) == 0
            first.told.set()
            # It comes back to where it was, and is asked to leave again.
            await until(lambda: client.state == "reconnecting")
            first.go_on.set()
            assert [number async for number in numbers] == [1, 2]
            await first.ended.wait()
            # Nobody is there any more: it waits, and was never made.
            call = remote.who()
        error = await caught(call)
        assert isinstance(error, GoingAway)
        assert error.retryable


async def test_an_asgi_application_can_be_told_to_drain() -> None:
    application = TelewireASGI(Service(), drain_seconds=60)
    assert await application.drain()


@pytest.mark.skipif(
    FOUND is None and sys.platform != "linux", reason="nginx is tried on Linux, whose set-up brings it"
)
@pytest.mark.parametrize("transport", ["http", "sse", None])
async def test_clients_leave_one_of_several_behind_a_proxy(
    tmp_path: Path, transport: TransportName | None
) -> None:
    """Each request comes on a connection of its own, also to a server that drains."""
    async with places("one", "two", "three", "four") as found:
        ports = [place.port for place in found]
        with nginx_before(tmp_path, ports, UPGRADE, balance="hash $http_telewire_route consistent;") as port:
            async with connect(f"http://127.0.0.1:{port}/telewire", transport=transport) as remote:
                name = await remote.who()
                [left] = [place for place in found if place.name == name]
                numbers = await remote.count(3)
                assert await anext(numbers) == 0
                left.told.set()
                while await remote.who() == name:
                    continue
                assert not left.ended.is_set()
                left.go_on.set()
                assert [number async for number in numbers] == [1, 2]
                await left.ended.wait()
                assert await remote.who() != name
