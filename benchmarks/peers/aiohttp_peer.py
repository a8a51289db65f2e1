"""The peer aiohttp: JSON by hand over its WebSockets; ``by_hand.py`` says in which ways.

Compression is off, its C parser and mask are in, the JSON encoder is the standard library's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from aiohttp import web

from benchmarks.peers.aiohttp_serving import serve_application
from benchmarks.peers.by_hand import CANNOT, CONVERSATIONS, WAYS, Line, session_on
from benchmarks.workloads import Session

__all__ = ["CANNOT", "NAME", "WAYS", "connect", "serve"]

NAME: Final = "aiohttp"


def _line(socket: aiohttp.ClientWebSocketResponse | web.WebSocketResponse) -> Line:
    async def receive() -> str | bytes:
        message = await socket.receive()
        if message.type is aiohttp.WSMsgType.TEXT or message.type is aiohttp.WSMsgType.BINARY:
            data: str | bytes = message.data
            return data
        raise ConnectionResetError(f"The WebSocket ended with {message.type.name}.")

    return Line(socket.send_str, socket.send_bytes, receive)


async def serve(way: str, started: Callable[[int], object]) -> None:
    """Serve until cancelled; ``started`` learns the port."""

    async def converse(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False, max_msg_size=0)
        await socket.prepare(request)
        try:
            await CONVERSATIONS[way](_line(socket))
        except ConnectionResetError:
            pass
        return socket

    application = web.Application()
    application.router.add_get("/", converse)
    await serve_application(application, started)


@asynccontextmanager
async def connect(port: int, way: str) -> AsyncIterator[Session]:
    """One connection."""
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"http://127.0.0.1:{port}/", max_msg_size=0) as socket,
        session_on(_line(socket), way) as session,
    ):
        yield session
