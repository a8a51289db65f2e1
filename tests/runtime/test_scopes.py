"""Scopes across a yield: timeouts, task groups and context variables work in a generator as in any code."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import pytest

from telewire import Service
from tests.runtime.world import Bugs, Connected, until

COLOUR: contextvars.ContextVar[str] = contextvars.ContextVar("COLOUR", default="none")


async def test_scope_held_across_yield(connected: Connected, anyio_backend: str) -> None:
    service = Service()
    seen: list[object] = []

    @service.function
    async def scoped() -> AsyncIterator[int]:
        COLOUR.set("red")
        with anyio.CancelScope() as scope:
            for number in range(500):
                yield number
                assert COLOUR.get() == "red"
            scope.cancel()
            await anyio.lowlevel.checkpoint()
            seen.append("not cancelled")
        seen.append(scope.cancelled_caught)

    @service.function
    async def grouped() -> AsyncIterator[int]:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            for number in range(500):
                yield number
            group.cancel_scope.cancel()
        seen.append("group left")

    @service.function
    async def timed() -> AsyncIterator[int]:
        if anyio_backend == "asyncio":
            async with asyncio.timeout(60):
                for number in range(500):
                    yield number
        else:
            with anyio.fail_after(60):
                for number in range(500):
                    yield number
        seen.append("in time")

    async with connected(service) as world:
        for name in ("scoped", "grouped", "timed"):
            assert [number async for number in world.remote[name]()] == list(range(500))
        # Left early, each is closed in its own task: a scope closed elsewhere would complain.
        for name in ("scoped", "grouped", "timed"):
            async for number in world.remote[name]():
                if number == 3:
                    break
        await world.settled()
    assert seen == [True, "group left", "in time"]
    assert COLOUR.get() == "none"


async def test_cancellations_at_a_yield_lose_no_item(connected: Connected) -> None:
    service = Service()
    seen: list[str] = []
    left_inner, over = anyio.Event(), anyio.Event()
    inner, outer = anyio.CancelScope(), anyio.CancelScope()

    @service.function
    async def twice() -> AsyncIterator[int]:
        number = 0
        with outer:
            with inner:
                while True:
                    yield number
                    number += 1
            seen.append("inner")
            left_inner.set()
            yield -1
            yield -2
        seen.append("outer")
        over.set()

    async with connected(service) as world:
        iterator = await world.remote.twice()
        assert await anext(iterator) == 0
        # Until it stands at a yield, for want of credit.
        await anyio.wait_all_tasks_blocked()
        inner.cancel()
        await left_inner.wait()
        await anyio.wait_all_tasks_blocked()
        outer.cancel()
        await over.wait()
        rest = [number async for number in iterator]
        assert rest == [*range(1, len(rest)), -1]
    assert seen == ["inner", "outer"]


@pytest.mark.parametrize("native", [False, True])
async def test_timeout_while_parked_at_yield(connected: Connected, anyio_backend: str, native: bool) -> None:
    service = Service()
    seen: list[object] = []
    timed_out = anyio.Event()

    @service.function
    async def slow_consumer() -> AsyncIterator[int]:
        number = 0
        try:
            if native and anyio_backend == "asyncio":
                async with asyncio.timeout(0.02):
                    while True:
                        yield number
                        number += 1
            else:
                with anyio.fail_after(0.02):
                    while True:
                        yield number
                        number += 1
        except TimeoutError:
            seen.append("timeout")
            timed_out.set()
        yield -1

    async with connected(service) as world:
        iterator = await world.remote.slow_consumer()
        assert await anext(iterator) == 0
        await timed_out.wait()
        rest = [number async for number in iterator]
        # The item that it was parked at counts as delivered; nothing is lost or doubled.
        assert rest == [*range(1, len(rest)), -1]
        assert len(rest) > 10
    assert seen == ["timeout"]


async def test_a_generator_that_yields_again_while_it_is_closed(connected: Connected, bugs: Bugs) -> None:
    service = Service()
    closed = anyio.Event()

    @service.function
    async def stubborn() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()
            yield 2

    async with connected(service) as world:
        async for _ in world.remote.stubborn():
            break
        await closed.wait()
        await world.settled()
    assert any("ignored GeneratorExit" in str(error) for error in bugs.errors)


async def test_a_generator_that_fails_while_it_is_closed(connected: Connected, bugs: Bugs) -> None:
    service = Service()

    @service.function
    async def clumsy() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            raise ValueError("dropped it")

    async with connected(service) as world:
        async for _ in world.remote.clumsy():
            break
        await until(lambda: bool(bugs.records))
        await world.settled()
    assert [str(error) for error in bugs.errors] == ["dropped it"]
