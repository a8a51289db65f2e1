"""Services that tests of life share: things that end when they are told to, and say how they did."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.lowlevel

from telewire import (
    ByteStream,
    Channel,
    Service,
    get_context,
)

KINDS = ("promise", "iterator", "function")
EVERY_KIND = (*KINDS, "bytes", "channel")


class Giving:
    """A service that gives one thing of each kind, and notes when its call is over."""

    def __init__(self) -> None:
        self.service = Service()
        self.over: list[object] = []
        self.gate = anyio.Event()
        self.items_gate = anyio.Event()
        self.cleaned: list[str] = []
        self.service.function(self.give)

    async def give(self, *kinds: str) -> dict[str, Any]:
        get_context().on_close(self.over.append)
        makers: dict[str, Callable[[], Any]] = {
            "promise": self.later,
            "iterator": self.items,
            "function": lambda: self.called,
            "bytes": lambda: ByteStream(self.chunks()),
            "channel": self.listened,
        }
        return {kind: makers[kind]() for kind in kinds}

    async def later(self) -> str:
        try:
            await self.gate.wait()
        finally:
            self.cleaned.append("promise")
        return "late"

    async def items(self) -> AsyncIterator[int]:
        try:
            yield 1
            await self.items_gate.wait()
            yield 2
        finally:
            self.cleaned.append("iterator")

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            yield b"1"
            await self.items_gate.wait()
            yield b"2"
        finally:
            self.cleaned.append("bytes")

    def listened(self) -> Channel[int, int]:
        channel = Channel[int, int]()
        # An end that nobody listens to is closed with its handle.
        channel.listen(lambda number: None)
        return channel.peer

    async def called(self, number: int) -> int:
        await anyio.lowlevel.checkpoint()
        return number + 1


class Endless:
    """A source that never ends and tells what becomes of it."""

    def __init__(self, chunk: int = 1000) -> None:
        self.given = 0
        self.chunk = chunk
        self.closed = anyio.Event()
        self.reasons: list[object] = []

    async def generator(self) -> AsyncIterator[bytes]:
        task = current_task()
        try:
            while True:
                self.given += self.chunk
                yield bytes(self.chunk)
        finally:
            assert current_task() == task
            self.closed.set()

    def stream(self) -> ByteStream:
        stream = ByteStream(self.generator())
        stream.on_close(lambda reason: self.reasons.append(reason))
        return stream


def current_task() -> int:
    return anyio.get_current_task().id


# --- credit --------------------------------------------------------------------------------------
