"""The peer starlette: JSON over HTTP/1.1, a POST for each call, and rows as lines of JSON or as events.

Served by uvicorn with httptools on asyncio, without a log; the client is ``httpx``, or in the ways that
say so ``aiohttp``, which is faster. Connections are kept. Each row is a chunk of the response, as a
generator that is passed on makes it.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, final

import aiohttp
import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from benchmarks.workloads import Session, blocks, follow, row

__all__ = ["CANNOT", "NAME", "WAYS", "connect", "serve"]

NAME: Final = "starlette"
WAYS: Final = {
    "W1": ("httpx", "aiohttp"),
    "W1c": ("httpx", "aiohttp"),
    "W2": ("httpx", "aiohttp"),
    "W2x": ("httpx", "aiohttp"),
    "W2s": ("httpx sse", "aiohttp sse"),
    "W3d": ("httpx", "aiohttp"),
    "W3u": ("httpx", "aiohttp"),
    "first": ("httpx", "aiohttp"),
    "beside": ("httpx", "aiohttp"),
}
CANNOT: Final = {
    "W4": "a response over HTTP/1.1 follows its whole request: there is no channel",
    "W5": "a server cannot call its client over HTTP/1.1",
}
IN_FLIGHT: Final = 64


# --- server --------------------------------------------------------------------------------------


async def _echo(request: Request) -> Response:
    a, b = await request.json()
    return JSONResponse({"a": a, "b": b})


async def _rows(request: Request) -> Response:
    count = int(request.query_params["count"])

    async def lines() -> AsyncIterator[str]:
        for number in range(count):
            yield json.dumps(row(number)) + "\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


async def _events(request: Request) -> Response:
    count = int(request.query_params["count"])

    async def events() -> AsyncIterator[str]:
        for number in range(count):
            yield f"data: {json.dumps(row(number))}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


async def _download(request: Request) -> Response:
    return StreamingResponse(blocks(int(request.query_params["count"])))


async def _upload(request: Request) -> Response:
    taken = 0
    async for chunk in request.stream():
        if chunk:
            taken = follow(taken, chunk)
    return JSONResponse(taken)


async def serve(way: str, started: Callable[[int], object]) -> None:
    """Serve until cancelled; ``started`` learns the port."""
    routes = [
        Route("/echo", _echo, methods=["POST"]),
        Route("/rows", _rows),
        Route("/events", _events),
        Route("/download", _download),
        Route("/upload", _upload, methods=["POST"]),
    ]
    # No lifespan: the loop is the caller's, and uvicorn's own signals would take it over.
    config = uvicorn.Config(
        Starlette(routes=routes), http="httptools", log_level="error", access_log=False, lifespan="off"
    )
    # With its protocol named, asyncio sets TCP_NODELAY; without, each small answer would take 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(config)
    started(listener.getsockname()[1])
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = server.force_exit = True
        await asyncio.gather(serving, return_exceptions=True)


# --- client --------------------------------------------------------------------------------------


@final
class _Httpx:
    """Calls by ``httpx``."""

    def __init__(self, http: httpx.AsyncClient, rows: str) -> None:
        self._http = http
        self.rows = self._events if rows == "sse" else self._lines

    async def echo(self, number: int, text: str) -> object:
        response = await self._http.post("/echo", json=[number, text])
        answer: object = response.json()
        return answer

    async def _lines(self, count: int) -> AsyncIterator[object]:
        async with self._http.stream("GET", "/rows", params={"count": count}) as response:
            async for line in response.aiter_lines():
                yield json.loads(line)

    async def _events(self, count: int) -> AsyncIterator[object]:
        async with self._http.stream("GET", "/events", params={"count": count}) as response:
            async for line in response.aiter_lines():
                if line:
                    yield json.loads(line[6:])

    async def download(self, count: int) -> AsyncIterator[bytes]:
        async with self._http.stream("GET", "/download", params={"count": count}) as response:
            async for chunk in response.aiter_raw():
                yield chunk

    async def upload(self, chunks: AsyncIterator[bytes]) -> object:
        response = await self._http.post("/upload", content=chunks)
        answer: object = response.json()
        return answer


@final
class _Aiohttp:
    """Calls by ``aiohttp``."""

    def __init__(self, http: aiohttp.ClientSession, rows: str) -> None:
        self._http = http
        self.rows = self._events if rows == "sse" else self._lines

    async def echo(self, number: int, text: str) -> object:
        async with self._http.post("/echo", json=[number, text]) as response:
            answer: object = json.loads(await response.read())
            return answer

    async def _lines(self, count: int) -> AsyncIterator[object]:
        async with self._http.get("/rows", params={"count": count}) as response:
            rest = b""
            # Cut by hand: reading line by line takes an await for each.
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield json.loads(line)

    async def _events(self, count: int) -> AsyncIterator[object]:
        async with self._http.get("/events", params={"count": count}) as response:
            rest = b""
            async for chunk in response.content.iter_any():
                *events, rest = (rest + chunk).split(b"\n\n")
                for event in events:
                    yield json.loads(event[6:])

    async def download(self, count: int) -> AsyncIterator[bytes]:
        async with self._http.get("/download", params={"count": count}) as response:
            async for chunk in response.content.iter_any():
                yield chunk

    async def upload(self, chunks: AsyncIterator[bytes]) -> object:
        async with self._http.post("/upload", data=chunks) as response:
            answer: object = json.loads(await response.read())
            return answer


@asynccontextmanager
async def connect(port: int, way: str) -> AsyncIterator[Session]:
    """A client; connections are made as calls need them, and kept."""
    client, _, rows = way.partition(" ")
    base = f"http://127.0.0.1:{port}"
    if client == "httpx":
        limits = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
        async with httpx.AsyncClient(base_url=base, limits=limits, timeout=60, trust_env=False) as http:
            yield _Httpx(http, rows)  # type: ignore[misc]  # it has no pipe and no callbacks: CANNOT
    else:
        connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
        async with aiohttp.ClientSession(base, connector=connector) as session:
            yield _Aiohttp(session, rows)  # type: ignore[misc]  # as above
