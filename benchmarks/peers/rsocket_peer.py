"""The peer rsocket: the package rsocket over TCP, JSON payloads, its streams and channels.

It reads 1 KiB at a time unless told otherwise; here it reads 256 KiB, which is faster. Streams ask for
as many items as there are, so that no credit is waited for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

# Any: what JSON brings, and what rsocket does not type.
from typing import Any, Final, final

from reactivestreams.subscriber import DefaultSubscriber
from rsocket.payload import Payload
from rsocket.request_handler import BaseRequestHandler
from rsocket.rsocket_client import RSocketClient
from rsocket.rsocket_server import RSocketServer
from rsocket.streams.stream_from_async_generator import StreamFromAsyncGenerator
from rsocket.transports.tcp import TransportTCP

from benchmarks.workloads import TEXT, Callback, Pipe, Session, blocks, follow, row

__all__ = ["CANNOT", "NAME", "WAYS", "connect", "serve"]

NAME: Final = "rsocket"
WAYS: Final = {
    "W1": ("tcp",),
    "W1c": ("tcp",),
    "W2": ("tcp",),
    "W3d": ("tcp",),
    "W3u": ("tcp",),
    "W4": ("tcp",),
    "W5": ("tcp",),
    "first": ("tcp",),
    "beside": ("tcp",),
}
CANNOT: Final = dict.fromkeys(("W2x", "W2s"), "it is TCP")
READ_BYTES: Final = 1 << 18
MOST: Final = 0x7FFFFFFF


def _payload(value: object) -> Any:
    return Payload(json.dumps(value).encode())


def _publisher(items: AsyncIterator[bytes]) -> Any:
    """A publisher of these payloads; the last one is an empty one that says so."""

    async def pairs() -> AsyncIterator[tuple[Any, bool]]:
        async for item in items:
            yield Payload(item), False
        yield Payload(b""), True

    return StreamFromAsyncGenerator(pairs)


class _Queue(DefaultSubscriber):  # type: ignore[misc]  # rsocket has no types
    """A subscriber that keeps what arrives; an empty payload ends it."""

    def __init__(self, *, asks: bool) -> None:
        super().__init__()
        # Who opens a stream has asked with its request.
        self._asks = asks
        self.items: asyncio.Queue[bytes] = asyncio.Queue()

    def on_subscribe(self, subscription: Any) -> None:
        super().on_subscribe(subscription)
        if self._asks:
            subscription.request(MOST)

    def on_next(self, value: Any, is_complete: bool = False) -> None:
        self.items.put_nowait(value.data or b"")

    def on_complete(self) -> None:
        self.items.put_nowait(b"")

    def on_error(self, exception: Exception) -> None:
        raise exception

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while item := await self.items.get():
            yield item


# --- server --------------------------------------------------------------------------------------


class _Handler(BaseRequestHandler):  # type: ignore[misc]  # rsocket has no types
    """What the client asks for."""

    def __init__(self, peer: Callable[[], Any]) -> None:
        self._peer = peer
        self._tasks: set[asyncio.Task[None]] = set()

    async def request_response(self, payload: Any) -> Any:
        name, *arguments = json.loads(payload.data)
        future = asyncio.get_running_loop().create_future()
        if name == "echo":
            a, b = arguments
            future.set_result(_payload({"a": a, "b": b}))
        else:
            task = asyncio.create_task(self._call_back(arguments[0], future))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return future

    async def _call_back(self, count: int, answer: asyncio.Future[Any]) -> None:
        right = 0
        for number in range(count):
            result = await self._peer().request_response(_payload([number, TEXT]))
            right += json.loads(result.data) == {"a": number, "b": TEXT}
        answer.set_result(_payload(right))

    async def request_stream(self, payload: Any) -> Any:
        name, count = json.loads(payload.data)

        async def rows() -> AsyncIterator[bytes]:
            for number in range(count):
                yield json.dumps(row(number)).encode()

        return _publisher(rows() if name == "rows" else blocks(count))

    async def request_channel(self, payload: Any) -> tuple[Any, Any]:
        incoming = _Queue(asks=True)

        async def taken() -> AsyncIterator[bytes]:
            count = 0
            async for chunk in incoming:
                count = follow(count, chunk)
            yield json.dumps(count).encode()

        async def back() -> AsyncIterator[bytes]:
            async for message in incoming:
                yield json.dumps(json.loads(message)).encode()

        (name,) = json.loads(payload.data)
        return _publisher(taken() if name == "upload" else back()), incoming


async def serve(way: str, started: Callable[[int], object]) -> None:
    """Serve until cancelled; ``started`` learns the port."""
    sockets: set[Any] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held: list[Any] = []
        transport = TransportTCP(reader, writer, read_buffer_size=READ_BYTES)
        held.append(RSocketServer(transport, handler_factory=lambda: _Handler(lambda: held[0])))
        sockets.update(held)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=READ_BYTES)
    started(server.sockets[0].getsockname()[1])
    async with server:
        await server.serve_forever()


# --- client --------------------------------------------------------------------------------------


class _Answering(BaseRequestHandler):  # type: ignore[misc]  # rsocket has no types
    """What the server asks for: the callback."""

    callback: Callback

    async def request_response(self, payload: Any) -> Any:
        future = asyncio.get_running_loop().create_future()
        future.set_result(_payload(await self.callback(*json.loads(payload.data))))
        return future


@final
class _Session:
    """One connection."""

    def __init__(self, client: Any, answering: _Answering) -> None:
        self._client = client
        self._answering = answering

    async def echo(self, number: int, text: str) -> object:
        answer = await self._client.request_response(_payload(["echo", number, text]))
        value: object = json.loads(answer.data)
        return value

    def _stream(self, name: str, count: int) -> _Queue:
        queue = _Queue(asks=False)
        self._client.request_stream(_payload([name, count])).initial_request_n(MOST).subscribe(queue)
        return queue

    async def rows(self, count: int) -> AsyncIterator[object]:
        async for item in self._stream("rows", count):
            yield json.loads(item)

    async def download(self, count: int) -> AsyncIterator[bytes]:
        async for chunk in self._stream("download", count):
            yield chunk

    def _channel(self, name: str, items: AsyncIterator[bytes]) -> _Queue:
        queue = _Queue(asks=False)
        channel = self._client.request_channel(_payload([name]), _publisher(items))
        channel.initial_request_n(MOST).subscribe(queue)
        return queue

    async def upload(self, chunks: AsyncIterator[bytes]) -> object:
        async for answer in self._channel("upload", chunks):
            taken: object = json.loads(answer)
        return taken

    async def pipe(self) -> Pipe:
        outgoing: asyncio.Queue[bytes] = asyncio.Queue(64)

        async def items() -> AsyncIterator[bytes]:
            while item := await outgoing.get():
                yield item

        return _Pipe(outgoing, self._channel("pipe", items()))

    async def call_back(self, callback: Callback, count: int) -> object:
        self._answering.callback = callback
        answer = await self._client.request_response(_payload(["call_back", count]))
        value: object = json.loads(answer.data)
        return value


@final
class _Pipe:
    """A channel, fed through a queue."""

    def __init__(self, outgoing: asyncio.Queue[bytes], incoming: _Queue) -> None:
        self._outgoing = outgoing
        self._incoming = incoming

    async def send(self, message: object, /) -> None:
        await self._outgoing.put(json.dumps(message).encode())

    async def receive(self) -> object:
        message: object = json.loads(await self._incoming.items.get())
        return message

    async def aclose(self) -> None:
        await self._outgoing.put(b"")
        async for message in self._incoming:
            raise ValueError(f"{message!r} came back, which nobody had sent.")


@asynccontextmanager
async def connect(port: int, way: str) -> AsyncIterator[Session]:
    """One connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=READ_BYTES)
    answering = _Answering()

    async def transports() -> AsyncIterator[Any]:
        yield TransportTCP(reader, writer, read_buffer_size=READ_BYTES)

    async with RSocketClient(transports(), handler_factory=lambda: answering) as client:
        yield _Session(client, answering)  # type: ignore[misc]  # it is not asked to hold streams
