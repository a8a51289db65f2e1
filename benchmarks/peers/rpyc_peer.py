"""The peer rpyc: blocking, one thread a connection; rows and bytes through its buffered iteration.

What is returned crosses as tuples, since only what cannot change is copied: a dict would be fetched
key by key. The compression that rpyc has on from 3,000 bytes is off, and TCP_NODELAY is set, without
which a chunk of 64 KiB would take 40 ms. The client blocks its loop, on which nothing else runs;
``async_`` keeps many calls in flight.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

# Any: what crosses has no types.
from typing import Any, Final, final

import rpyc
from rpyc.core.channel import Channel
from rpyc.core.stream import SocketStream
from rpyc.utils.helpers import buffiter
from rpyc.utils.server import ThreadedServer

from benchmarks.workloads import BLOCK, TEXT, Callback, Session, follow, row

__all__ = ["CANNOT", "NAME", "WAYS", "connect", "serve"]

NAME: Final = "rpyc"
WAYS: Final = {
    "W1": ("plain",),
    "W1c": ("plain",),
    "W2": ("plain", "buffered"),
    "W3d": ("buffered",),
    "W3u": ("plain",),
    "W5": ("plain",),
    "first": ("plain",),
}
CANNOT: Final = {
    **dict.fromkeys(("W2x", "W2s"), "it is TCP"),
    "W4": "it has calls, no channel",
    "beside": "a client that waits for a chunk can make no other call on its connection",
}
CHUNKS: Final = 4
"""Blocks of bytes that are fetched at once, and that an upload has on their way."""

# For both sides, since both import this file.
Channel.COMPRESSION_THRESHOLD = 1 << 60


# --- server --------------------------------------------------------------------------------------


class _Service(rpyc.Service):  # type: ignore[misc]  # rpyc has no types
    """What the client calls; one for each connection."""

    def __init__(self) -> None:
        self._taken = 0

    def on_connect(self, connection: Any) -> None:
        connection._channel.stream.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def exposed_echo(self, a: int, b: str) -> tuple[int, str]:
        return a, b

    def exposed_rows(self, count: int) -> Iterator[tuple[object, ...]]:
        return (tuple(row(number).values()) for number in range(count))

    def exposed_download(self, count: int) -> Iterator[bytes]:
        return (BLOCK for _ in range(count))

    def exposed_take(self, chunk: bytes) -> None:
        self._taken = follow(self._taken, chunk)

    def exposed_taken(self) -> int:
        taken, self._taken = self._taken, 0
        return taken

    def exposed_call_back(self, callback: Any, count: int) -> int:
        right = 0
        for number in range(count):
            a, b = callback(number, TEXT)
            right += {"a": a, "b": b} == {"a": number, "b": TEXT}
        return right


async def serve(way: str, started: Callable[[int], object]) -> None:
    """Serve until cancelled; ``started`` learns the port."""
    server = ThreadedServer(_Service, hostname="127.0.0.1", port=0)
    serving = asyncio.create_task(asyncio.to_thread(server.start))
    started(server.port)
    try:
        await asyncio.shield(serving)
    finally:
        server.close()
        await asyncio.gather(serving, return_exceptions=True)


# --- client --------------------------------------------------------------------------------------


def _at_once(waiting: Any) -> object:
    """The result of an awaitable that waits for nothing."""
    try:
        waiting.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("It waits for something, and a blocking client cannot.")


@final
class _Session:
    """One connection."""

    def __init__(self, connection: Any, buffered: bool) -> None:
        self._root = connection.root
        # A look-up of a name on the root is a round trip.
        self._echo_soon = rpyc.async_(connection.root.echo)
        self._take_soon = rpyc.async_(connection.root.take)
        self._buffered = buffered

    async def echo(self, number: int, text: str) -> object:
        answer = self._echo_soon(number, text)
        # The others send theirs before the first of them waits.
        await asyncio.sleep(0)
        a, b = answer.value
        return {"a": a, "b": b}

    async def rows(self, count: int) -> AsyncIterator[object]:
        remote = self._root.rows(count)
        for number, name, ok in buffiter(remote, chunk=100) if self._buffered else remote:
            yield {"id": number, "name": name, "ok": ok}

    async def download(self, count: int) -> AsyncIterator[bytes]:
        for chunk in buffiter(self._root.download(count), chunk=CHUNKS, max_chunk=CHUNKS):
            yield chunk

    async def upload(self, chunks: AsyncIterator[bytes]) -> object:
        waiting: list[Any] = []
        async for chunk in chunks:
            waiting.append(self._take_soon(chunk))
            if len(waiting) == CHUNKS:
                waiting.pop(0).wait()
        for each in waiting:
            each.wait()
        return self._root.taken()

    async def call_back(self, callback: Callback, count: int) -> object:
        def answer(number: int, text: str) -> tuple[object, ...]:
            value: Any = _at_once(callback(number, text))
            return value["a"], value["b"]

        return self._root.call_back(answer, count)


@asynccontextmanager
async def connect(port: int, way: str) -> AsyncIterator[Session]:
    """One connection."""
    stream = SocketStream.connect("127.0.0.1", port, nodelay=True)
    connection = rpyc.connect_stream(stream, config={"sync_request_timeout": None})
    try:
        yield _Session(connection, way == "buffered")  # type: ignore[misc]  # it has no pipe: CANNOT
    finally:
        connection.close()
