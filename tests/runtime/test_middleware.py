"""Middleware: around each call, after the provider and before validation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import anyio
import pytest

from telewire import Abort, CallCancelled, Context, InvalidArgument, RemoteError, Service, get_context
from tests.runtime.world import Bugs, Connected, caught, drained, until

Proceed = Callable[[], Awaitable[Any]]


async def test_it_surrounds_each_call_in_order_of_registration(connected: Connected) -> None:
    service = Service(context=lambda request: "state")
    seen: list[object] = []

    @service.middleware
    async def outer(context: Context[Any], proceed: Proceed) -> Any:
        seen.append(("outer", context.state, context is get_context()))
        result = await proceed()
        seen.append("outer done")
        return result

    @service.middleware
    async def inner(context: Context[Any], proceed: Proceed) -> Any:
        seen.append("inner")
        return (await proceed()) + 1

    @service.function
    async def add(left: int, right: int) -> int:
        seen.append("add")
        return left + right

    @service.function
    def plain() -> int:
        return 1

    async with connected(service) as world:
        assert await world.remote.add(1, 2) == 4
        assert seen == [("outer", "state", True), "inner", "add", "outer done"]
        assert await world.remote.plain() == 2
    assert await add(1, 2) == 3


async def test_for_generators_it_wraps_the_whole_iteration(connected: Connected) -> None:
    service = Service()
    seen: list[object] = []

    @service.middleware
    async def around(context: Context[Any], proceed: Proceed) -> Any:
        seen.append("before")
        try:
            return await proceed()
        finally:
            seen.append("after")

    @service.function
    async def count(to: int) -> AsyncIterator[int]:
        for number in range(to):
            seen.append(number)
            yield number

    @service.function
    def rows(to: int) -> Iterator[int]:
        for number in range(to):
            seen.append(number)
            yield number

    async with connected(service) as world:
        for function in (world.remote.count, world.remote.rows):
            seen.clear()
            assert [number async for number in function(3)] == [0, 1, 2]
            await until(lambda: "after" in seen)
            assert seen == ["before", 0, 1, 2, "after"]
            seen.clear()
            async for _ in function(1_000_000):
                break
            await until(lambda: "after" in seen)
            assert seen[-1] == "after"


async def test_it_may_refuse(connected: Connected) -> None:
    service = Service()

    @service.middleware
    async def guard(context: Context[Any], proceed: Proceed) -> Any:
        if context.metadata.get("key") != "right":
            raise Abort({"status": 403})
        return await proceed()

    @service.function
    async def secret() -> str:
        return "treasure"

    async with connected(service) as world:
        error = await caught(world.remote.secret())
        assert isinstance(error, Abort)
        assert error.value == {"status": 403}


async def test_it_sees_what_the_call_fails_with(connected: Connected, bugs: Bugs) -> None:
    told: list[Exception] = []
    service = Service(on_error=lambda error, context: told.append(error))
    seen: list[str] = []

    @service.middleware
    async def watch(context: Context[Any], proceed: Proceed) -> Any:
        try:
            return await proceed()
        except Exception as error:
            seen.append(type(error).__name__)
            raise

    @service.function
    async def strict(number: int) -> int:
        return number

    @service.function
    async def refuses() -> None:
        raise Abort

    @service.function
    async def fails() -> AsyncIterator[int]:
        yield 1
        raise ValueError("in the middle")

    async with connected(service) as world:
        assert isinstance(await caught(world.remote.strict("x")), InvalidArgument)
        assert isinstance(await caught(world.remote.refuses()), Abort)
        items, error = await drained(world.remote.fails())
        assert items == [1]
        assert isinstance(error, RemoteError)
        await until(lambda: len(seen) == 3)
    assert seen == ["InvalidArgument", "Abort", "ValueError"]
    assert [str(error) for error in told] == ["in the middle"]


async def test_it_may_answer_itself_and_replace_failures(connected: Connected) -> None:
    service = Service()

    @service.middleware
    async def cache(context: Context[Any], proceed: Proceed) -> Any:
        if context.metadata.get("cached"):
            return "from the cache"
        try:
            return await proceed()
        except InvalidArgument:
            return "replaced"

    @service.function
    async def look(number: int) -> Any:
        return number

    async with connected(service) as world:
        assert await world.remote.look(3) == 3
        assert await world.remote.look("three") == "replaced"


async def test_its_own_bugs_are_told(connected: Connected, bugs: Bugs) -> None:
    told: list[str] = []
    service = Service(on_error=lambda error, context: told.append(str(error)))

    @service.middleware
    async def broken(context: Context[Any], proceed: Proceed) -> Any:
        await proceed()
        raise ValueError("broken behind the result")

    @service.function
    async def answer() -> int:
        return 1

    @service.function
    async def count() -> AsyncIterator[int]:
        yield 1

    async with connected(service) as world:
        assert isinstance(await caught(world.remote.answer()), RemoteError)
        assert [number async for number in world.remote.count()] == [1]
        await until(lambda: len(told) == 2)
    assert told == ["broken behind the result"] * 2


async def test_proceed_goes_on_once(connected: Connected, bugs: Bugs) -> None:
    service = Service()

    @service.middleware
    async def twice(context: Context[Any], proceed: Proceed) -> Any:
        await proceed()
        return await proceed()

    @service.function
    async def answer() -> int:
        return 1

    async with connected(service) as world:
        assert isinstance(await caught(world.remote.answer()), RemoteError)
    assert "called twice" in str(bugs.errors[0])


async def test_a_scope_in_it_bounds_the_call(connected: Connected) -> None:
    service = Service()
    cleaned: list[str] = []

    @service.middleware
    async def bounded(context: Context[Any], proceed: Proceed) -> Any:
        with anyio.move_on_after(0.01):
            return await proceed()
        return "too slow"

    @service.function
    async def slow() -> str:
        try:
            await anyio.sleep_forever()
        finally:
            cleaned.append("slow")
        return "never"

    @service.function
    def rows() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            cleaned.append("rows")

    async with connected(service) as world:
        assert await world.remote.slow() == "too slow"
        iterator = await world.remote.rows()
        _, error = await drained(iterator)
        assert isinstance(error, CallCancelled)
    assert cleaned == ["slow", "rows"]


def test_a_plain_function_is_no_middleware() -> None:
    with pytest.raises(TypeError, match="async def"):
        Service().middleware(lambda context, proceed: None)  # type: ignore[arg-type, return-value]
