"""Generators: items in order, values after the end, and one task from the first step to the last."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest

from telewire import Abort, InvalidArgument, RemoteError, RemoteIterator, Return, Service
from tests.runtime.world import Bugs, Connected, drained, quiescent, until


async def test_items_arrive_in_order(connected: Connected) -> None:
    service = Service()

    @service.function
    async def count(to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number

    async with connected(service) as world:
        assert [number async for number in world.remote.count(3000)] == list(range(3000))
        assert [number async for number in world.remote.count(0)] == []
        iterator = await world.remote.count(3)
        assert isinstance(iterator, RemoteIterator)
        assert [number async for number in iterator] == [0, 1, 2]
        assert iterator.closed
        assert [number async for number in iterator] == []


async def test_return_gives_the_value_after_the_end(connected: Connected) -> None:
    service = Service()

    @service.function
    async def total(*numbers: int) -> AsyncIterator[int]:
        for number in numbers:
            yield number
        raise Return({"sum": sum(numbers)})

    async with connected(service) as world:
        iterator = await world.remote.total(1, 2, 3)
        assert [number async for number in iterator] == [1, 2, 3]
        assert iterator.value == {"sum": 6}


async def test_items_large_and_small_mixed(connected: Connected) -> None:
    service = Service()
    sizes = [1, 70_000, 0, 3_000, 3, 200_000, 5, 17_000, 17_000, 17_000, 64 * 1024, 64 * 1024 + 1, 2]

    @service.function
    async def blobs() -> AsyncIterator[bytes]:
        for size in sizes:
            yield b"x" * size

    async with connected(service) as world:
        assert [len(blob) async for blob in world.remote.blobs()] == sizes


async def test_two_generators_in_one_result(connected: Connected) -> None:
    service = Service()

    async def count(start: int) -> AsyncIterator[int]:
        yield start
        yield start + 1

    @service.function
    async def both() -> dict[str, Any]:
        return {"title": "both", "streams": [count(0), count(10)]}

    async with connected(service) as world:
        result = await world.remote.both()
        assert result["title"] == "both"
        left, right = result["streams"]
        assert [await anext(right), await anext(left), await anext(right), await anext(left)] == [
            10,
            0,
            11,
            1,
        ]
        assert [number async for number in left] == []
        assert [number async for number in right] == []


async def test_generators_in_items(connected: Connected) -> None:
    service = Service()

    async def row(number: int) -> AsyncIterator[int]:
        for column in range(number):
            yield number * 10 + column

    @service.function
    async def table() -> AsyncIterator[AsyncIterator[int]]:
        for number in range(4):
            yield row(number)

    async with connected(service) as world:
        rows = [[cell async for cell in cells] async for cells in world.remote.table()]
        assert rows == [[], [10], [20, 21], [30, 31, 32]]


async def test_the_same_generator_twice_in_one_value_is_refused(connected: Connected, bugs: Bugs) -> None:
    service = Service()
    made: list[AsyncIterator[int]] = []

    async def count() -> AsyncIterator[int]:
        yield 1

    @service.function
    async def twice() -> list[Any]:
        made.append(count())
        return [made[0], {"again": made[0]}]

    async with connected(service) as world:
        with pytest.raises(RemoteError):
            await world.remote.twice()
    assert "twice in one value" in str(bugs.errors[0])
    assert "twice() result[1]" in str(bugs.errors[0])


async def test_an_item_that_misfits_is_that_sides_bug(connected: Connected, bugs: Bugs) -> None:
    service = Service()
    closed: list[str] = []

    @service.function
    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield "two"  # type: ignore[misc]  # the mistake
        finally:
            closed.append("numbers")

    @service.function
    async def things() -> AsyncIterator[object]:
        try:
            yield 1
            yield object()
        finally:
            closed.append("things")

    async with connected(service) as world:
        for name in ("numbers", "things"):
            got, error = await drained(world.remote[name]())
            assert got == [1]
            assert isinstance(error, RemoteError)
        await quiescent(world.remote)
        assert closed == ["numbers", "things"]
    assert str(bugs.errors[0]) == "numbers() item: expected int, got str"
    assert "cannot travel" in str(bugs.errors[1])


async def test_an_item_that_misfits_the_callers_annotation(connected: Connected) -> None:
    service = Service()
    closed = anyio.Event()

    @service.function(name="feed")
    async def loose() -> AsyncIterator[object]:
        try:
            yield 1
            yield "two"
            yield 3
        finally:
            closed.set()

    elsewhere = Service()

    @elsewhere.function(name="feed")
    async def strict() -> AsyncIterator[int]:
        yield 1

    async with connected(service) as world:
        got, error = await drained(world.remote[strict]())
        assert got == [1]
        assert isinstance(error, InvalidArgument)
        assert "expected int, got str" in str(error)
        await closed.wait()


async def test_abort_inside_a_generator_comes_behind_its_items(connected: Connected) -> None:
    service = Service()

    @service.function
    async def few() -> AsyncIterator[int]:
        yield 1
        yield 2
        raise Abort({"enough": True})

    async with connected(service) as world:
        got, error = await drained(world.remote.few())
        assert got == [1, 2]
        assert isinstance(error, Abort)
        assert error.value == {"enough": True}


async def test_a_failure_inside_a_generator_comes_behind_its_items(connected: Connected, bugs: Bugs) -> None:
    service = Service()

    @service.function
    async def few() -> AsyncIterator[int]:
        yield 1
        raise ValueError("secret")

    async with connected(service) as world:
        got, error = await drained(world.remote.few())
        assert got == [1]
        assert isinstance(error, RemoteError)
        assert error.correlation_id in bugs.messages[0]


async def test_an_iterator_that_is_no_generator(connected: Connected) -> None:
    service = Service()
    log: list[str] = []

    class Plain:
        """No athrow, no aclose."""

        def __init__(self, to: int) -> None:
            self.numbers: Iterator[int] = iter(range(to))

        def __aiter__(self) -> Plain:
            return self

        async def __anext__(self) -> int:
            for number in self.numbers:
                return number
            log.append("exhausted")
            raise StopAsyncIteration

    @service.function
    async def plain(to: int) -> AsyncIterator[int]:
        return Plain(to)

    async with connected(service) as world:
        assert [number async for number in world.remote.plain(3)] == [0, 1, 2]
        async for number in world.remote.plain(1_000_000):
            if number == 5:
                break
        await world.settled()
    assert log == ["exhausted"]


async def test_one_iterator_failing_leaves_its_siblings_alone(connected: Connected) -> None:
    service = Service()

    async def good() -> AsyncIterator[int]:
        for number in range(1000):
            yield number

    async def bad() -> AsyncIterator[int]:
        yield 0
        raise Abort("bad")

    @service.function
    async def both() -> list[Any]:
        return [good(), bad(), good()]

    async with connected(service) as world:
        first, second, unread = await world.remote.both()
        assert await anext(second) == 0
        with pytest.raises(Abort):
            await anext(second)
        assert [number async for number in first] == list(range(1000))
        assert await anext(unread) == 0
        await unread.aclose()


async def test_dropping_one_of_two_iterators_leaves_the_other(connected: Connected) -> None:
    service = Service()
    closed: list[str] = []

    async def endless(name: str) -> AsyncIterator[int]:
        number = 0
        try:
            while True:
                yield number
                number += 1
        finally:
            closed.append(name)

    @service.function
    async def both() -> list[Any]:
        return [endless("left"), endless("right")]

    async with connected(service) as world:
        result = await world.remote.both()
        left, right = result
        del result[:]
        assert await anext(left) == await anext(right) == 0
        del left
        await until(lambda: closed == ["left"], lambda: closed)
        assert [await anext(right) for _ in range(2000)] == list(range(1, 2001))
        assert closed == ["left"]
        del right
        await until(lambda: closed == ["left", "right"], lambda: closed)
