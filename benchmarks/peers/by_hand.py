"""JSON by hand over the WebSocket of any library, as one would write it without a library for calls.

Three ways, from the least that can be written to what telewire does:

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
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

# Any: what JSON brings.
from typing import Any, Final, final

from benchmarks.workloads import TEXT, Callback, Pipe, Session, blocks, follow, row

__all__ = ["CANNOT", "CONVERSATIONS", "WAYS", "Line", "session_on"]

WAYS: Final = {
    "W1": ("bare", "reader"),
    "W1c": ("reader", "tasks"),
    "W2": ("bare", "reader"),
    "W3d": ("bare", "reader"),
    "W3u": ("bare", "reader"),
    "W4": ("bare", "reader"),
    "W5": ("bare", "tasks"),
    "first": ("reader", "tasks"),
    "beside": ("tasks",),
    "streams": ("tasks",),
    "sizes": ("reader",),
    "connections": ("reader",),
    "idle streams": ("tasks",),
    "idle connections": ("reader",),
}
CANNOT: Final = dict.fromkeys(("W2x", "W2s"), "it is a WebSocket")


@final
@dataclass(frozen=True, slots=True)
class Line:
    """A socket, by its library's own methods: nothing stands between. ``receive`` raises at its end."""

    send_text: Callable[[str], Awaitable[None]]
    send_bytes: Callable[[bytes], Awaitable[None]]
    receive: Callable[[], Awaitable[str | bytes]]


# --- server --------------------------------------------------------------------------------------


async def _answer_bare(line: Line, request: dict[str, Any]) -> None:
    if request["name"] == "echo":
        a, b = request["args"]
        await line.send_text(json.dumps({"a": a, "b": b}))
    elif request["name"] == "pipe":
        # Until it ends, the socket carries nothing else.
        while True:
            message = await line.receive()
            if message == "null":
                return
            await line.send_text(json.dumps(json.loads(message)))
    elif request["name"] == "call_back":
        (count,) = request["args"]
        right = 0
        for number in range(count):
            await line.send_text(json.dumps([number, TEXT]))
            right += json.loads(await line.receive()) == {"a": number, "b": TEXT}
        await line.send_text(json.dumps({"result": right}))
    elif request["name"] == "download":
        async for block in blocks(*request["args"]):
            await line.send_bytes(block)
        await line.send_text("null")
    elif request["name"] == "upload":
        taken = 0
        while True:
            message = await line.receive()
            if isinstance(message, str):
                break
            taken = follow(taken, message)
        await line.send_text(json.dumps(taken))
    else:
        for number in range(*request["args"]):
            await line.send_text(json.dumps(row(number)))
        await line.send_text("null")


async def _answer(line: Line, request: dict[str, Any]) -> None:
    call = request["call"]
    if request["name"] == "echo":
        a, b = request["args"]
        await line.send_text(json.dumps({"call": call, "result": {"a": a, "b": b}}))
    elif request["name"] == "pipe":
        await line.send_text(json.dumps({"call": call, "item": request["args"]}))
    elif request["name"] == "download":
        head = call.to_bytes(4, "big")
        async for block in blocks(*request["args"]):
            await line.send_bytes(head + block)
        await line.send_text(json.dumps({"call": call, "end": None}))
    elif request["name"] == "hold":
        await line.send_text(json.dumps({"call": call, "item": row(0)}))
        await asyncio.Event().wait()
    else:
        for number in range(*request["args"]):
            await line.send_text(json.dumps({"call": call, "item": row(number)}))
        await line.send_text(json.dumps({"call": call, "end": None}))


async def converse_bare(line: Line) -> None:
    while True:
        message = await line.receive()
        await _answer_bare(line, json.loads(message))


async def converse_inline(line: Line) -> None:
    taken: dict[int, int] = {}
    while True:
        message = await line.receive()
        if isinstance(message, bytes):
            call = int.from_bytes(message[:4], "big")
            taken[call] = follow(taken.get(call, 0), memoryview(message)[4:])
            continue
        request = json.loads(message)
        if request["name"] == "uploaded":
            call = request["call"]
            await line.send_text(json.dumps({"call": call, "result": taken.pop(call, 0)}))
        else:
            await _answer(line, request)


async def _call_back(line: Line, call: int, count: int, waiting: dict[int, asyncio.Future[object]]) -> None:
    right = 0
    for number in range(count):
        # Numbered, since others may be on their way.
        future = waiting[number] = asyncio.get_running_loop().create_future()
        await line.send_text(json.dumps({"call": call, "callback": number, "args": [number, TEXT]}))
        right += await future == {"a": number, "b": TEXT}
    await line.send_text(json.dumps({"call": call, "result": right}))


async def converse_in_tasks(line: Line) -> None:
    tasks: set[asyncio.Task[None]] = set()
    waiting: dict[int, asyncio.Future[object]] = {}
    while True:
        message = await line.receive()
        request = json.loads(message)
        if "callback" in request:
            waiting.pop(request["callback"]).set_result(request["result"])
            continue
        if request["name"] == "call_back":
            answering = _call_back(line, request["call"], request["args"][0], waiting)
        else:
            answering = _answer(line, request)
        task = asyncio.create_task(answering)
        tasks.add(task)
        task.add_done_callback(tasks.discard)


CONVERSATIONS: Final = {"bare": converse_bare, "reader": converse_inline, "tasks": converse_in_tasks}


# --- client --------------------------------------------------------------------------------------


@final
class Bare:
    """The socket itself: whoever asks reads the answer."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def echo(self, number: int, text: str) -> object:
        await self._line.send_text(json.dumps({"name": "echo", "args": [number, text]}))
        answer: object = json.loads(await self._line.receive())
        return answer

    async def rows(self, count: int) -> AsyncIterator[object]:
        await self._line.send_text(json.dumps({"name": "rows", "args": [count]}))
        while True:
            message = await self._line.receive()
            item = json.loads(message)
            if item is None:
                return
            yield item

    async def call_back(self, callback: Callback, count: int) -> object:
        await self._line.send_text(json.dumps({"name": "call_back", "args": [count]}))
        while True:
            message = await self._line.receive()
            asked = json.loads(message)
            if isinstance(asked, dict):
                result: object = asked["result"]
                return result
            await self._line.send_text(json.dumps(await callback(*asked)))

    async def download(self, count: int) -> AsyncIterator[bytes]:
        await self._line.send_text(json.dumps({"name": "download", "args": [count]}))
        while True:
            message = await self._line.receive()
            if isinstance(message, str):
                return
            yield message

    async def upload(self, chunks: AsyncIterator[bytes]) -> object:
        await self._line.send_text(json.dumps({"name": "upload"}))
        async for chunk in chunks:
            await self._line.send_bytes(chunk)
        await self._line.send_text("null")
        taken: object = json.loads(await self._line.receive())
        return taken

    async def pipe(self) -> Pipe:
        await self._line.send_text(json.dumps({"name": "pipe"}))
        return _BarePipe(self._line)


@final
class _BarePipe:
    """The socket itself, of which nobody asks anything else."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def send(self, message: object, /) -> None:
        await self._line.send_text(json.dumps(message))

    async def receive(self) -> object:
        message: object = json.loads(await self._line.receive())
        return message

    async def aclose(self) -> None:
        await self._line.send_text("null")


@final
class Numbered:
    """Several calls on one socket: :meth:`read`, in a task, hands out what arrives."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._loop = asyncio.get_running_loop()
        self._last = 0
        self._results: dict[int, asyncio.Future[object]] = {}
        # None ends the items.
        self._items: dict[int, asyncio.Queue[object]] = {}
        self._callbacks: dict[int, Callback] = {}

    async def read(self) -> None:
        while True:
            message = await self._line.receive()
            if isinstance(message, bytes):
                chunk = memoryview(message)
                self._items[int.from_bytes(chunk[:4], "big")].put_nowait(chunk[4:])
                continue
            answer = json.loads(message)
            call = answer["call"]
            if "callback" in answer:
                result = await self._callbacks[call](*answer["args"])
                await self._line.send_text(json.dumps({"callback": answer["callback"], "result": result}))
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
        await self._line.send_text(json.dumps({"call": call, "name": "echo", "args": [number, text]}))
        return await future

    async def rows(self, count: int) -> AsyncIterator[object]:
        self._last += 1
        queue = self._items[self._last] = asyncio.Queue()
        await self._line.send_text(json.dumps({"call": self._last, "name": "rows", "args": [count]}))
        while (item := await queue.get()) is not None:
            yield item

    async def hold(self) -> AsyncIterator[object]:
        self._last += 1
        queue = self._items[self._last] = asyncio.Queue()
        await self._line.send_text(json.dumps({"call": self._last, "name": "hold", "args": []}))
        while True:
            yield await queue.get()

    async def call_back(self, callback: Callback, count: int) -> object:
        self._last += 1
        call = self._last
        future = self._results[call] = self._loop.create_future()
        self._callbacks[call] = callback
        await self._line.send_text(json.dumps({"call": call, "name": "call_back", "args": [count]}))
        try:
            return await future
        finally:
            del self._callbacks[call]

    async def download(self, count: int) -> AsyncIterator[bytes | memoryview]:
        self._last += 1
        queue = self._items[self._last] = asyncio.Queue()
        await self._line.send_text(json.dumps({"call": self._last, "name": "download", "args": [count]}))
        while isinstance(chunk := await queue.get(), memoryview):
            yield chunk

    async def upload(self, chunks: AsyncIterator[bytes]) -> object:
        self._last += 1
        call = self._last
        future = self._results[call] = self._loop.create_future()
        head = call.to_bytes(4, "big")
        async for chunk in chunks:
            await self._line.send_bytes(head + chunk)
        await self._line.send_text(json.dumps({"call": call, "name": "uploaded"}))
        return await future

    async def pipe(self) -> Pipe:
        self._last += 1
        queue = self._items[self._last] = asyncio.Queue()
        return _NumberedPipe(self._line, self._last, queue)


@final
class _NumberedPipe:
    """Messages that carry the number of their pipe; nothing keeps the sender from running ahead."""

    def __init__(self, line: Line, number: int, queue: asyncio.Queue[object]) -> None:
        self._line = line
        self._number = number
        self.receive = queue.get

    async def send(self, message: object, /) -> None:
        await self._line.send_text(json.dumps({"call": self._number, "name": "pipe", "args": message}))

    async def aclose(self) -> None:
        """Nobody else has its number."""


@asynccontextmanager
async def session_on(line: Line, way: str) -> AsyncIterator[Session]:
    """What a client has of one connection."""
    if way == "bare":
        yield Bare(line)  # type: ignore[misc]  # it holds no stream beside another one
        return
    session = Numbered(line)
    reader = asyncio.create_task(session.read())
    try:
        yield session
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
