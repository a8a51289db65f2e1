"""The peer socketio: python-socketio on aiohttp, over WebSocket from the start, JSON.

Two ways: ``inline`` runs handlers one after the other, ``tasks`` runs each event in a task of its own,
as python-socketio does unless told otherwise; only so can a handler wait for its client. Rows and bytes
are events, since there are no streams; nothing keeps a sender from running ahead but that it lets
others run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

# Any: what JSON brings.
from typing import Any, Final, final

import socketio
from aiohttp import web

from benchmarks.peers.aiohttp_serving import serve_application
from benchmarks.workloads import TEXT, Callback, Pipe, Session, blocks, follow, row

__all__ = ["CANNOT", "NAME", "WAYS", "connect", "serve"]

NAME: Final = "socketio"
WAYS: Final = {
    "W1": ("inline", "tasks"),
    "W1c": ("inline", "tasks"),
    "W2": ("inline", "tasks"),
    "W3d": ("inline",),
    "W3u": ("inline",),
    "W4": ("inline",),
    "W5": ("tasks",),
    "first": ("tasks",),
    "beside": ("tasks",),
}
CANNOT: Final = dict.fromkeys(("W2x", "W2s"), "over HTTP it polls; here it is a WebSocket")
MOST_BYTES: Final = 1 << 28
TOGETHER: Final = 64
"""Events that are handed over before others may run: what is sent has a queue without a bound."""


class _Taken:
    """How many bytes of an upload have arrived."""

    count = 0


def _application(way: str) -> web.Application:
    server = socketio.AsyncServer(
        async_mode="aiohttp", async_handlers=way == "tasks", max_http_buffer_size=MOST_BYTES
    )
    taken: dict[str, _Taken] = {}

    async def echo(sid: str, a: int, b: str) -> dict[str, object]:
        return {"a": a, "b": b}

    async def rows(sid: str, call: int, count: int) -> None:
        for number in range(count):
            await server.emit("item", (call, row(number)), to=sid)
            if number % TOGETHER == 0:
                await asyncio.sleep(0)
        await server.emit("item", (call, None), to=sid)

    async def download(sid: str, call: int, count: int) -> None:
        async for block in blocks(count):
            await server.emit("item", (call, block), to=sid)
            await asyncio.sleep(0)
        await server.emit("item", (call, None), to=sid)

    async def chunk(sid: str, data: bytes) -> None:
        state = taken.setdefault(sid, _Taken())
        state.count = follow(state.count, data)

    async def uploaded(sid: str) -> int:
        return taken.pop(sid, _Taken()).count

    async def message(sid: str, call: int, item: object) -> None:
        await server.emit("item", (call, item), to=sid)

    async def call_back(sid: str, count: int) -> int:
        right = 0
        for number in range(count):
            answer = await server.call("callback", (number, TEXT), to=sid)
            right += answer == {"a": number, "b": TEXT}
        return right

    for handler in (echo, rows, download, chunk, uploaded, message, call_back):
        server.on(handler.__name__, handler)
    application = web.Application()
    server.attach(application)
    return application


async def serve(way: str, started: Callable[[int], object]) -> None:
    """Serve until cancelled; ``started`` learns the port."""
    await serve_application(_application(way), started)


@final
class _Session:
    """One connection."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._last = 0
        self._items: dict[int, asyncio.Queue[Any]] = {}
        client.on("item", self._item)

    async def _item(self, call: int, item: object) -> None:
        self._items[call].put_nowait(item)

    def _queue(self) -> tuple[int, asyncio.Queue[Any]]:
        self._last += 1
        queue = self._items[self._last] = asyncio.Queue()
        return self._last, queue

    async def echo(self, number: int, text: str) -> object:
        answer: object = await self._client.call("echo", (number, text))
        return answer

    async def rows(self, count: int) -> AsyncIterator[object]:
        call, queue = self._queue()
        await self._client.emit("rows", (call, count))
        while (item := await queue.get()) is not None:
            yield item

    async def download(self, count: int) -> AsyncIterator[bytes]:
        call, queue = self._queue()
        await self._client.emit("download", (call, count))
        while (item := await queue.get()) is not None:
            yield item

    async def upload(self, chunks: AsyncIterator[bytes]) -> object:
        async for chunk in chunks:
            await self._client.emit("chunk", chunk)
            await asyncio.sleep(0)
        answer: object = await self._client.call("uploaded", timeout=120)
        return answer

    async def pipe(self) -> Pipe:
        return _Pipe(self._client, *self._queue())

    async def call_back(self, callback: Callback, count: int) -> object:
        self._client.on("callback", callback)
        answer: object = await self._client.call("call_back", count, timeout=120)
        return answer


@final
class _Pipe:
    """Events with the number of their pipe."""

    def __init__(self, client: Any, call: int, queue: asyncio.Queue[Any]) -> None:
        self._client = client
        self._call = call
        self._sent = 0
        self.receive = queue.get

    async def send(self, message: object, /) -> None:
        await self._client.emit("message", (self._call, message))
        self._sent += 1
        if self._sent % TOGETHER == 0:
            await asyncio.sleep(0)

    async def aclose(self) -> None:
        """Nobody else has its number."""


@asynccontextmanager
async def connect(port: int, way: str) -> AsyncIterator[Session]:
    """One connection."""
    client = socketio.AsyncClient(reconnection=False)
    await client.connect(f"http://127.0.0.1:{port}", transports=["websocket"])
    try:
        yield _Session(client)  # type: ignore[misc]  # it is not asked to hold streams
    finally:
        await client.disconnect()
