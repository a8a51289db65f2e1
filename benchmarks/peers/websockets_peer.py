"""The peer websockets: JSON by hand over its asyncio implementation; ``by_hand.py`` says in which ways.

Compression is off, the C speed-ups are in, the JSON encoder is the standard library's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websocket
from websockets.exceptions import ConnectionClosed

from benchmarks.peers.by_hand import CANNOT, CONVERSATIONS, WAYS, Line, session_on
from benchmarks.workloads import Session

__all__ = ["CANNOT", "NAME", "WAYS", "connect", "serve"]

NAME: Final = "websockets"


def _line(socket: ClientConnection | ServerConnection) -> Line:
    return Line(socket.send, socket.send, socket.recv)


async def serve(way: str, started: Callable[[int], object]) -> None:
    """Serve until cancelled; ``started`` learns the port."""

    async def converse(socket: ServerConnection) -> None:
        try:
            await CONVERSATIONS[way](_line(socket))
        except ConnectionClosed:
            pass

    async with serve_websocket(converse, "127.0.0.1", 0, compression=None, max_size=None) as server:
        started(next(iter(server.sockets)).getsockname()[1])
        await server.serve_forever()


@asynccontextmanager
async def connect(port: int, way: str) -> AsyncIterator[Session]:
    """One connection."""
    async with (
        connect_websocket(f"ws://127.0.0.1:{port}", compression=None, max_size=None) as socket,
        session_on(_line(socket), way) as session,
    ):
        yield session
