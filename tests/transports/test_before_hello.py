"""A connection that is lost before the server has said hello: what connect() makes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import pytest

from telewire import NetworkError, Service
from telewire.runtime.transport import TransportName
from telewire_transports import connect
from tests.transports.exchanges import serving
from tests.transports.raw_http import port_of

pytestmark = pytest.mark.anyio


class Door:
    """Loses connections when their request is here: the first of them, or all that open an HTTP session."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.lost = 0
        self.left = 1
        self.sessions_only = False
        self.answers = False
        """Whether the head of the server's answer passes before."""

    async def serve(self, client: anyio.abc.SocketStream) -> None:
        async with client:
            first = await client.receive()
            opens = b"telewire-session: open" in first.lower()
            if self.left and (opens or not self.sessions_only):
                self.left -= 1
                self.lost += 1
                if self.answers:
                    await client.send(await self.head_of_answer(first))
                return
            async with await anyio.connect_tcp("127.0.0.1", self.target) as server:
                await server.send(first)
                async with anyio.create_task_group() as group:
                    group.start_soon(self.carry, client, server, group.cancel_scope)
                    group.start_soon(self.carry, server, client, group.cancel_scope)

    async def head_of_answer(self, request: bytes) -> bytes:
        async with await anyio.connect_tcp("127.0.0.1", self.target) as server:
            await server.send(request)
            data = b""
            while b"\r\n\r\n" not in data:
                data += await server.receive()
        return data[: data.index(b"\r\n\r\n") + 4]

    async def carry(
        self, source: anyio.abc.SocketStream, target: anyio.abc.SocketStream, scope: anyio.CancelScope
    ) -> None:
        try:
            while True:
                await target.send(await source.receive())
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            scope.cancel()


@asynccontextmanager
async def door_before(target: int) -> AsyncIterator[Door]:
    door = Door(target)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        door.port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, door.serve)
            yield door
            group.cancel_scope.cancel()


def adding() -> Service[None]:
    service: Service[None] = Service()

    @service.function
    async def add(left: int, right: int) -> int:
        return left + right

    return service


@pytest.mark.parametrize("answers", [False, True])
@pytest.mark.parametrize("transport", ["websocket", "http", "sse"])
async def test_a_transport_that_was_asked_for_is_tried_once(transport: TransportName, answers: bool) -> None:
    async with serving(adding(), hosts=("127.0.0.1",)) as url, door_before(port_of(url)) as door:
        where = f"http://127.0.0.1:{door.port}/telewire"
        door.answers = answers
        failure: NetworkError | None = None
        try:
            async with connect(where, transport=transport):
                pass
        except NetworkError as error:
            failure = error
        assert failure is not None
        assert str(failure)
        assert door.lost == 1
        # Whoever asks again is served.
        async with connect(where, transport=transport) as remote:
            assert await remote.add(1, 2) == 3


@pytest.mark.parametrize("answers", [False, True])
async def test_who_may_choose_goes_on_over_the_other_carrier(answers: bool) -> None:
    async with serving(adding(), hosts=("127.0.0.1",)) as url, door_before(port_of(url)) as door:
        door.left, door.sessions_only, door.answers = 1_000, True, answers
        client = connect(f"http://127.0.0.1:{door.port}/telewire")
        async with client as remote:
            assert await remote.add(1, 2) == 3
            assert client.transport == "websocket"
        assert door.lost
