"""Balancer: passes TCP connections on, in turn, to servers that come and go: for tests."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.abc

__all__ = ["Balancer", "balancing"]

CHUNK = 64 * 1024
ROUTE = re.compile(rb"telewire-route: *(\S+)", re.IGNORECASE)


class Balancer:
    """Where connections go: each to the next server that takes it, those of one session's route to one."""

    def __init__(self) -> None:
        self.port = 0
        self.servers: list[int] = []
        self.routes: dict[bytes, int] = {}
        self._turn = 0

    async def serve(self, client: anyio.abc.SocketStream) -> None:
        """Pass one connection on, both ways."""
        async with client:
            try:
                first = await client.receive(CHUNK)
                server = await self._connect(ROUTE.search(first))
                async with server, anyio.create_task_group() as group:
                    await server.send(first)
                    group.start_soon(self._pass, client, server)
                    await self._pass(server, client)
                    group.cancel_scope.cancel()
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
                return

    async def _connect(self, route: re.Match[bytes] | None) -> anyio.abc.SocketStream:
        known = None if route is None else self.routes.get(route[1])
        if known is not None:
            return await anyio.connect_tcp("127.0.0.1", known)
        for _ in range(len(self.servers)):
            self._turn += 1
            port = self.servers[self._turn % len(self.servers)]
            try:
                stream = await anyio.connect_tcp("127.0.0.1", port)
            except OSError:
                continue
            if route is not None:
                self.routes[route[1]] = port
            return stream
        raise OSError("No server takes a connection.")

    @staticmethod
    async def _pass(source: anyio.abc.SocketStream, target: anyio.abc.SocketStream) -> None:
        try:
            async for data in source:
                await target.send(data)
            await target.send_eof()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            await target.aclose()


@asynccontextmanager
async def balancing() -> AsyncIterator[Balancer]:
    """Balance until the block ends."""
    balancer = Balancer()
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    balancer.port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, balancer.serve)
        yield balancer
        group.cancel_scope.cancel()
