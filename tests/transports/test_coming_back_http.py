"""What coming back costs an HTTP session: as many round trips as connecting."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import pytest

from telewire import Service
from telewire.runtime.transport import TransportName
from telewire_transports import connect
from tests.transports.exchanges import serving
from tests.transports.raw_http import port_of

pytestmark = pytest.mark.anyio


class Turns:
    """A proxy that notes which way bytes pass, on all connections; what follows the same way is one turn."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.turns: list[str] = []
        self.scopes: list[anyio.CancelScope] = []

    async def serve(self, client: anyio.abc.SocketStream) -> None:
        async with client, await anyio.connect_tcp("127.0.0.1", self.target) as server:
            with anyio.CancelScope() as scope:
                self.scopes.append(scope)
                async with anyio.create_task_group() as group:
                    group.start_soon(self.carry, client, server, "up", scope)
                    group.start_soon(self.carry, server, client, "down", scope)

    async def carry(
        self,
        source: anyio.abc.SocketStream,
        to: anyio.abc.SocketStream,
        way: str,
        scope: anyio.CancelScope,
    ) -> None:
        try:
            while True:
                data = await source.receive()
                if self.turns[-1:] != [way]:
                    self.turns.append(way)
                await to.send(data)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            scope.cancel()

    def cut(self) -> None:
        """Break every connection off, and begin to count anew."""
        for scope in self.scopes:
            scope.cancel()
        self.turns.clear()


@asynccontextmanager
async def turns_before(target: int) -> AsyncIterator[Turns]:
    turns = Turns(target)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        turns.port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, turns.serve)
            yield turns
            group.cancel_scope.cancel()


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_over_http_coming_back_costs_no_more_than_connecting(transport: TransportName) -> None:
    service: Service[None] = Service()
    seen: list[list[str]] = []

    @service.function
    async def look() -> None:
        seen.append(list(turns.turns))

    async with (
        serving(service, hosts=("127.0.0.1",)) as url,
        turns_before(port_of(url)) as turns,
        connect(f"http://127.0.0.1:{turns.port}/telewire", transport=transport) as remote,
    ):
        await remote.look()
        turns.cut()
        await remote.look()
    connecting, coming_back = seen
    # The second round trip of connecting shows that POSTs find their way; of coming back, that it is granted.
    assert connecting == ["up", "down", "up", "down", "up"]
    assert coming_back == connecting
