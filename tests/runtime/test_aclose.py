"""telewire.aclose: the end of everything with a life anywhere inside a value."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

import telewire
from telewire import (
    CallCancelled,
    ReferenceReleased,
    RemoteFunction,
    RemoteIterator,
    RemotePromise,
    Service,
    get_context,
)
from tests.runtime.world import Connected, until


@dataclass
class Page:
    title: str
    rows: RemoteIterator[int]
    more: dict[str, Any]


def living(seen: list[str]) -> Service[Any]:
    """A service that gives a value with all kinds of things in it."""
    service = Service()

    async def numbers() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            seen.append("iterator")

    async def later() -> int:
        try:
            await anyio.sleep_forever()
        finally:
            seen.append("promise")
        return 1

    @service.function
    async def page() -> dict[str, Any]:
        get_context().on_close(lambda: seen.append("over"))
        return {
            "title": "all",
            "rows": numbers(),
            "more": {"promise": (later(), "text"), "function": [lambda: None]},
        }

    return service


async def test_everything_inside_a_value(connected: Connected) -> None:
    seen: list[str] = []
    async with connected(living(seen)) as world:
        value = await world.remote.page()
        page = Page(**value)
        promise, function = page.more["promise"][0], page.more["function"][0]
        assert isinstance(promise, RemotePromise)
        assert isinstance(function, RemoteFunction)
        await telewire.aclose([page, {"again": page}, 3, "text", None])
        assert page.rows.closed
        assert promise.closed
        assert function.closed
        with pytest.raises(CallCancelled):
            await promise
        with pytest.raises(ReferenceReleased):
            function()
        await until(lambda: "over" in seen)
        await until(lambda: len(seen) == 3)
        await telewire.aclose(page)


async def test_a_call(connected: Connected) -> None:
    seen: list[str] = []
    async with connected(living(seen)) as world:
        call = world.remote.page()
        value = await call
        await telewire.aclose({"call": call})
        assert call.closed
        assert value["rows"].closed
        await until(lambda: len(seen) == 3)


async def test_a_function_that_was_passed(connected: Connected) -> None:
    service = Service()
    kept: list[Any] = []
    reasons: list[object] = []

    @service.function
    async def on_tick(callback: Callable[[int], Any]) -> None:
        get_context().on_close(reasons.append)
        kept.append(callback)

    gate = anyio.Event()
    began = anyio.Event()

    async def tick(number: int) -> int:
        began.set()
        await gate.wait()
        return number + 1

    async with connected(service) as world:
        await world.remote.on_tick(tick)
        call = kept[0](4)
        await began.wait()
        await telewire.aclose(tick)
        await until(lambda: kept[0].closed)
        with pytest.raises(ReferenceReleased):
            kept[0](5)
        await until(lambda: reasons == [None])
        # Calls already made on it go on.
        gate.set()
        assert await call == 5
        await telewire.aclose(tick)


async def test_a_generator_that_was_passed(connected: Connected) -> None:
    service = Service()
    seen: list[object] = []
    ended = anyio.Event()

    @service.function
    async def consume(numbers: AsyncIterator[int]) -> None:
        async def work() -> None:
            async for number in numbers:
                seen.append(number)
            seen.append("ended")
            ended.set()
            await gate.wait()

        get_context().start_soon(work)

    gate = anyio.Event()

    async def waiting() -> AsyncIterator[int]:
        try:
            yield 1
            await anyio.sleep_forever()
        finally:
            seen.append("closed")

    def stepped() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            seen.append("closed")

    async with connected(service) as world:
        for numbers in (waiting(), stepped()):
            await world.remote.consume(numbers)
            await until(lambda: 1 in seen)
            await telewire.aclose([numbers])
            await until(lambda: "closed" in seen)
            seen.clear()
        gate.set()


async def test_one_that_was_never_passed(connected: Connected) -> None:
    seen: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            seen.append("closed")

    def rows() -> Iterator[int]:
        try:
            yield 1
        finally:
            seen.append("closed too")

    async with connected(Service()):
        mine, other = numbers(), rows()
        await anext(mine)
        next(other)
        await telewire.aclose({"mine": mine, "other": other, "data": [1, "x", b"y", iter([])]})
        assert seen == ["closed", "closed too"]
