"""The peer websockets: JSON by hand over WebSocket, as one would write it without a library for calls.

Compression is off, the C speed-ups are in, the JSON encoder is the standard library's. Three ways,
from the least that can be written to what telewire does:

* ``bare``: the client sends and receives on the socket itself and has one call at a time; messages
  carry no numbers; the server answers in its receive loop.
* ``reader``: messages carry a call's number and a task of the client hands each answer to its
  caller, so several calls may be open; the server answers in its receive loop, so a slow function
  would keep all others waiting.
* ``tasks``: as ``reader``, and the server runs each call in a task of its own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

# Any: what JSON brings.
from typing import Any, Final, final

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websocket

from benchmarks.workloads import TEXT, Callback, Pipe, Session, blocks, follow, row

__all__ = ["NAME", "WAYS", "connect", "serve"]

NAME: Final = "websockets"
WAYS: Final = {
    "W1": ("bare", "reader"),
    "W1c": ("reader", "tasks"),
    "W2": ("bare", "reader"),
    "W3d": ("bare", "reader"),
    "W3u": ("bare", "reader"),
    "W4": ("bare", "reader"),
    "W5": ("bare", "tasks"),
}


# --- server --------------------------------------------------------------------------------------


async def _answer_bare(socket: ServerConnection, request: dict[str, Any]) -> None:
    if request["name"] == "echo":
        a, b = request["args"]
        await socket.send(json.dumps({"a": a, "b": b}))
    elif request["name"] == "pipe":
        # Until it ends, the socket carries nothing else.
        async for message in socket:
            if message == "null":
                return
            await socket.send(json.dumps(json.loads(message)))
    elif request["name"] == "call_back":
        (count,) = request["args"]
        right = 0
        for number in range(count):
            await socket.send(json.dumps([number, TEXT]))
            right += json.loads(await socket.recv()) == {"a": number, "b": TEXT}
        await socket.send(json.dumps({"result": right}))
    elif request["name"] == "download":
        async for block in blocks(*request["args"]):
            await socket.send(block)
        await socket.send("null")
    elif request["name"] == "upload":
        taken = 0
        async for message in socket:
            if isinstance(message, str):
                break
            taken = follow(taken, message)
        await socket.send(json.dumps(taken))
    else:
        for number in range(*request["args"]):
            await socket.send(json.dumps(row(number)))
        await socket.send("null")


async def _answer(socket: ServerConnection, request: dict[str, Any]) -> None:
    call = request["call"]
    if request["name"] == "echo":
        a, b = request["args"]
        await socket.send(json.dumps({"call": call, "result": {"a": a, "b": b}}))
    elif request["name"] == "pipe":
        await socket.send(json.dumps({"call": call, "item": request["args"]}))
    elif request["name"] == "download":
        head = call.to_bytes(4, "big")
        async for block in blocks(*request["args"]):
            await socket.send(head + block)
        await socket.send(json.dumps({"call": call, "end": None}))
    else:
        for number in range(*request["args"]):
            await socket.send(json.dumps({"call": call, "item": row(number)}))
        await socket.send(json.dumps({"call": call, "end": None}))


async def _converse_bare(socket: ServerConnection) -> None:
    async for message in socket:
        await _answer_bare(socket, json.loads(message))


async def _converse_inline(socket: ServerConnection) -> None:
    taken: dict[int, int] = {}
    async for message in socket:
        if isinstance(message, bytes):
            call = int.from_bytes(message[:4], "big")
            taken[call] = follow(taken.get(call, 0), memoryview(message)[4:])
            continue
        request = json.loads(message)
        if request["name"] == "uploaded":
            call = request["call"]
            await socket.send(json.dumps({"call": call, "result": taken.pop(call, 0)}))
        else:
            await _answer(socket, request)


async def _call_back(
    socket: ServerConnection, call: int, count: int, waiting: dict[int, asyncio.Future[object]]
) -> None:
    right = 0
    for number in range(count):
        # Numbered, since others may be on their way.
        future = waiting[number] = asyncio.get_running_loop().create_future()
        await socket.send(json.dumps({"call": call, "callback": number, "args": [number, TEXT]}))
        right += await future == {"a": number, "b": TEXT}
    await socket.send(json.dumps({"call": call, "result": right}))


async def _converse_in_tasks(socket: ServerConnection) -> None:
    tasks: set[asyncio.Task[None]] = set()
    waiting: dict[int, asyncio.Future[object]] = {}
    async for message in socket:
        request = json.loads(message)
        if "callback" in request:
            waiting.pop(request["callback"]).set_result(request["result"])
            continue
        if request["name"] == "call_back":
            answering = _call_back(socket, request["call"], request["args"][0], waiting)
        else:
            answering = _answer(socket, request)
        task = asyncio.create_task(answering)
        tasks.add(task)
        task.add_done_callback(tasks.discard)


CONVERSATIONS: Final = {"bare": _converse_bare, "reader": _converse_inline, "tasks": _converse_in_tasks}


async def serve(way: str, started: Callable[[int], object]) -> None:
    """Serve until cancelled; ``started`` learns the port."""
    async with serve_websocket(CONVERSATIONS[way], "127.0.0.1", 0, compression=None) as server:
        started(next(iter(server.sockets)).getsockname()[1])
        await server.serve_forever()


# --- client --------------------------------------------------------------------------------------


@final
class _Bare:
    """The socket itself: whoever asks reads the answer."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def echo(self, number: int, text: str) -> object:
        await self._socket.send(json.dumps({"name": "echo", "args": [number, text]}))
        answer: object = json.loads(await self._socket.recv())
        return answer

    async def rows(self, count: int) -> AsyncIterator[object]:
        await self._socket.send(json.dumps({"name": "rows", "args": [count]}))
        async for message in self._socket:
            item = json.loads(message)
            if item is None:
                return
            yield item

    async def call_back(self, callback: Callback, count: int) -> object:
        await self._socket.send(json.dumps({"name": "call_back", "args": [count]}))
        async for message in self._socket:
            asked = json.loads(message)
            if isinstance(asked, dict):
                result: object = asked["result"]
                return result
            await self._socket.send(json.dumps(await callback(*asked)))
        return None

    async def download(self, count: int) -> AsyncIterator[bytes]:
        await self._socket.send(json.dumps({"name": "download", "args": [count]}))
        async for message in self._socket:
            if isinstance(message, str):
                return
            yield message

    async def upload(self, chunks: AsyncIterator[bytes]) -> object:
        await self._socket.send(json.dumps({"name": "upload"}))
        async for chunk in chunks:
            await self._socket.send(chunk)
        await self._socket.send("null")
        taken: object = json.loads(await self._socket.recv())
        return taken

    async def pipe(self) -> Pipe:
        await self._socket.send(json.dumps({"name": "pipe"}))
        return _BarePipe(self._socket)


@final
class _BarePipe:
    """The socket itself, of which nobody asks anything else."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def send(self, message: object, /) -> None:
        await self._socket.send(json.dumps(message))

    async def receive(self) -> object:
        message: object = json.loads(await self._socket.recv())
        return message

    async def aclose(self) -> None:
        await self._socket.send("null")


@final
class _Numbered:
    """Several calls on one socket: :meth:`read`, in a task, hands out what arrives."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._loop = asyncio.get_running_loop()
        self._last = 0
        self._results: dict[int, asyncio.Future[object]] = {}
        # None ends the items.
        self._items: dict[int, asyncio.Queue[object]] = {}
        self._callbacks: dict[int, Callback] = {}

    async def read(self) -> None:
        async for message in self._socket:
            if isinstance(message, bytes):
                chunk = memoryview(message)
                self._items[int.from_bytes(chunk[:4], "big")].put_nowait(chunk[4:])
                continue
            answer = json.loads(message)
            call = answer["call"]
            if "callback" in answer:
                result = await self._callbacks[call](*answer["args"])
                await self._socket.send(json.dumps({"callback": answer["callback"], "result": result}))
            elif "result" in answer:
                self._results.pop(call).set_result(answer["result"])
            elif "item" in answer:
                self._items[call].put_nowait(answer["item"])
            else:
                self._items.pop(call).put_nowait(None)

    async def echo(self, number: int, text: str) -> object:
        self._last += 1
        call = self._last
        future = self._results[call] = self._loop.create_future()
        await self._socket.send(json.dumps({"call": call, "name": "echo", "args": [number, text]}))
        return await future

    async def rows(self, count: int) -> AsyncIterator[object]:
        self._last += 1
        queue = self._items[self._last] = asyncio.Queue()
        await self._socket.send(json.dumps({"call": self._last, "name": "rows", "args": [count]}))
        while (item := await queue.get()) is not None:
            yield item

    async def call_back(self, callback: Callback, count: int) -> object:
        self._last += 1
        call = self._last
        future = self._results[call] = self._loop.create_future()
        self._callbacks[call] = callback
        await self._socket.send(json.dumps({"call": call, "name": "call_back", "args": [count]}))
        try:
            return await future
        finally:
            del self._callbacks[call]

    async def download(self, count: int) -> AsyncIterator[bytes | memoryview]:
        self._last += 1
        queue = self._items[self._last] = asyncio.Queue()
        await self._socket.send(json.dumps({"call": self._last, "name": "download", "args": [count]}))
        while isinstance(chunk := await queue.get(), memoryview):
            yield chunk

    async def upload(self, chunks: AsyncIterator[bytes]) -> object:
        self._last += 1
        call = self._last
        future = self._results[call] = self._loop.create_future()
        head = call.to_bytes(4, "big")
        async for chunk in chunks:
            await self._socket.send(head + chunk)
        await self._socket.send(json.dumps({"call": call, "name": "uploaded"}))
        return await future

    async def pipe(self) -> Pipe:
        self._last += 1
        queue = self._items[self._last] = asyncio.Queue()
        return _NumberedPipe(self._socket, self._last, queue)


@final
class _NumberedPipe:
    """Messages that carry the number of their pipe; nothing keeps the sender from running ahead."""

    def __init__(self, socket: ClientConnection, number: int, queue: asyncio.Queue[object]) -> None:
        self._socket = socket
        self._number = number
        self.receive = queue.get

    async def send(self, message: object, /) -> None:
        await self._socket.send(json.dumps({"call": self._number, "name": "pipe", "args": message}))

    async def aclose(self) -> None:
        """Nobody else has its number."""


@asynccontextmanager
async def connect(port: int, way: str) -> AsyncIterator[Session]:
    """One connection."""
    async with connect_websocket(f"ws://127.0.0.1:{port}", compression=None) as socket:
        if way == "bare":
            yield _Bare(socket)
            return
        session = _Numbered(socket)
        reader = asyncio.create_task(session.read())
        try:
            yield session
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
