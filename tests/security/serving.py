"""A real server on a free port, and clients that are nothing but sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc

from telewire import Connection, Service
from telewire_transports import serve
from telewire_transports.websocket.masking import mask
from tests.core.dialogue import batch, hello

__all__ = ["Raw", "dialled", "serving"]

UPGRADE = (
    "GET /telewire HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: telewire.1\r\n{more}\r\n"
)
POST = (
    "POST /telewire HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/telewire\r\n"
    "Transfer-Encoding: chunked\r\n{more}\r\n"
)
KEY = b"\1\2\3\4"


# Any: a service of any provider, and the options of serve().
@asynccontextmanager
async def serving(service: Service[Any], **options: Any) -> AsyncIterator[int]:
    """Serve on a free port; gives the port."""
    ports: list[int] = []
    started = anyio.Event()

    def on_started(port: int) -> None:
        ports.append(port)
        started.set()

    async with anyio.create_task_group() as group:

        async def run() -> None:
            await serve(service, port=0, on_started=on_started, **options)

        group.start_soon(run)
        await started.wait()
        yield ports[0]
        group.cancel_scope.cancel()


class Raw:
    """One socket to a server."""

    def __init__(self, stream: anyio.abc.SocketStream, port: int) -> None:
        self.stream = stream
        self.port = port
        self.rest = b""

    async def send(self, data: bytes) -> None:
        """Send bytes; a server that has hung up takes none."""
        try:
            await self.stream.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return

    async def head(self) -> bytes:
        """The head of a response."""
        while b"\r\n\r\n" not in self.rest:
            self.rest += await self.stream.receive()
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        return head

    async def until_closed(self) -> bytes:
        """All that comes until the server hangs up."""
        try:
            while True:
                self.rest += await self.stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return self.rest

    async def ask(self, template: str, *more: str) -> bytes:
        """Send a request; returns the head of the answer."""
        lines = "".join(f"{line}\r\n" for line in more)
        await self.send(template.format(port=self.port, more=lines).encode())
        return await self.head()

    async def upgrade(self, *more: str) -> bytes:
        """Open a WebSocket, without saying hello on it; returns the head of the answer."""
        return await self.ask(UPGRADE, *more)

    async def message(self, data: bytes) -> None:
        """Send one binary WebSocket message."""
        size = len(data)
        head = bytes((0x82, 0x80 | size)) if size < 126 else b"\x82\xfe" + size.to_bytes(2, "big")
        if size >= 1 << 16:
            head = b"\x82\xff" + size.to_bytes(8, "big")
        await self.send(head + KEY + mask(data, KEY))

    async def say_hello(self) -> None:
        """The client's hello."""
        await self.message(batch(hello()))

    async def receive_message(self) -> bytes:
        """One binary WebSocket message of the server's."""
        while True:
            head = 2 if len(self.rest) < 2 else {126: 4, 127: 10}.get(self.rest[1], 2)
            if len(self.rest) >= head and len(self.rest) >= 2:
                size = self.rest[1] if head == 2 else int.from_bytes(self.rest[2:head], "big")
                if len(self.rest) >= head + size:
                    message, self.rest = self.rest[head : head + size], self.rest[head + size :]
                    return message
            self.rest += await self.stream.receive()


@asynccontextmanager
async def dialled(port: int) -> AsyncIterator[Raw]:
    """A socket to a server on this machine."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        yield Raw(stream, port)


def connection() -> Connection:
    """A client's machine."""
    return Connection("client")
