"""The peer telewire, with everything switched on, called as the README shows it; its ways are transports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeAlias, cast, final

from benchmarks.workloads import TEXT, Callback, Session, blocks, follow, row
from telewire import ByteStream, Channel, Remote, Service
from telewire.limits import ServerLimits
from telewire.runtime.transport import TransportName
from telewire_transports import connect as connect_telewire
from telewire_transports import serve as serve_telewire

__all__ = ["CANNOT", "NAME", "WAYS", "connect", "serve", "service"]

NAME: Final = "telewire"
PATH: Final = "/telewire"
WAYS: Final = {
    "W1": ("plain",),
    "W1c": ("plain",),
    "W2": ("plain",),
    "W2x": ("exchange",),
    "W2s": ("sse",),
    "W3d": ("plain",),
    "W3u": ("bytes",),
    "W4": ("plain",),
    "W5": ("plain",),
    "first": ("plain", "exchange"),
    "beside": ("plain",),
    "streams": ("plain",),
    "sizes": ("plain",),
    "connections": ("plain",),
    "idle streams": ("plain",),
    "idle connections": ("plain",),
}
CANNOT: Final[dict[str, str]] = {}

TRANSPORTS: Final[dict[str, TransportName]] = {"exchange": "exchange", "sse": "sse"}
"""Way → transport, where it is not a WebSocket."""

Row: TypeAlias = dict[str, object]

service: Final[Service[None]] = Service()


@service.function
async def echo(a: int, b: str) -> dict[str, object]:
    return {"a": a, "b": b}


@service.function
async def rows(count: int) -> AsyncIterator[dict[str, object]]:
    for number in range(count):
        yield row(number)


@service.function
async def download(count: int) -> ByteStream:
    return ByteStream(blocks(count))


@service.function
async def upload(file: ByteStream) -> int:
    taken = 0
    async for chunk in file:
        taken = follow(taken, chunk)
    return taken


@service.function
async def pipe() -> Channel[Row, Row]:
    channel = Channel[Row, Row]()
    channel.listen(channel.send)
    return channel.peer


@service.function
async def hold() -> AsyncIterator[dict[str, object]]:
    yield row(0)
    await asyncio.Event().wait()


@service.function
async def call_back(callback: Callback, count: int) -> int:
    right = 0
    for number in range(count):
        right += await callback(number, TEXT) == {"a": number, "b": TEXT}
    return right


async def serve(way: str, started: Callable[[int], object]) -> None:
    """Serve until cancelled; ``started`` learns the port."""
    # All clients of a benchmark come from one address, and some a thousand at a time.
    many = ServerLimits(sessions=20_000, sessions_per_address=20_000, unauthenticated=20_000, arrivals=20_000)
    await serve_telewire(service, port=0, path=PATH, on_started=started, server_limits=many)


@asynccontextmanager
async def connect(port: int, way: str) -> AsyncIterator[Session]:
    """One connection."""
    transport = TRANSPORTS.get(way, "websocket")
    async with connect_telewire(f"http://127.0.0.1:{port}{PATH}", transport=transport) as remote:
        # A remote has every name; that the server has these, the calls will show.
        yield cast("Session", _Uploading(remote) if way == "bytes" else remote)


@final
class _Uploading:
    """What makes a byte stream of the bytes: an async generator as it stands is one of items."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    async def upload(self, chunks: AsyncIterator[bytes]) -> object:
        taken: object = await self._remote.upload(ByteStream(chunks))
        return taken
