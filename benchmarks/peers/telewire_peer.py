"""The peer telewire: over WebSocket, with everything switched on, called as the README shows it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeAlias, cast

from benchmarks.workloads import TEXT, Callback, Session, row
from telewire import Channel, Service
from telewire_transports import connect as connect_telewire
from telewire_transports import serve as serve_telewire

__all__ = ["NAME", "WAYS", "connect", "serve", "service"]

NAME: Final = "telewire"
PATH: Final = "/telewire"
WAYS: Final = {"W1": ("plain",), "W1c": ("plain",), "W2": ("plain",), "W4": ("plain",), "W5": ("plain",)}

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
async def pipe() -> Channel[Row, Row]:
    channel = Channel[Row, Row]()
    channel.listen(channel.send)
    return channel.peer


@service.function
async def call_back(callback: Callback, count: int) -> int:
    right = 0
    for number in range(count):
        right += await callback(number, TEXT) == {"a": number, "b": TEXT}
    return right


async def serve(way: str, started: Callable[[int], object]) -> None:
    """Serve until cancelled; ``started`` learns the port."""
    await serve_telewire(service, port=0, path=PATH, on_started=started)


@asynccontextmanager
async def connect(port: int, way: str) -> AsyncIterator[Session]:
    """One connection."""
    async with connect_telewire(f"http://127.0.0.1:{port}{PATH}") as remote:
        # A remote has every name; that the server has these, the calls will show.
        yield cast("Session", remote)
