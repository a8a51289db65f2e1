"""Calls as a typed client writes them: results, items and arguments have the types of the function called."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from dataclasses import dataclass
from typing import Any, assert_type

import anyio

import telewire
from telewire import Call, Remote, RemoteIterator, Service

service = Service()


@dataclass
class Person:
    name: str
    age: int


@service.function
async def add(left: int, right: int = 1) -> int:
    return left + right


@service.function(name="people.find")
async def find(name: str) -> Person | None:
    return Person(name, 40)


@service.function
async def on_countdown(start: int) -> AsyncIterator[int]:
    yield start


@service.function
async def on_people(*, older_than: int) -> AsyncGenerator[Person, None]:
    yield Person("Ann", older_than + 1)


@service.function
async def on_news(topic: str) -> AsyncIterator[str]:
    """Give a generator as the result of an async function."""
    return headlines(topic)


async def headlines(topic: str) -> AsyncIterator[str]:
    yield topic


@service.function
def on_rows(table: str) -> Iterator[tuple[str, int]]:
    """Give the rows of a cursor, say: a plain function."""
    yield table, 1


@service.function
def on_lines() -> Generator[str, None, None]:
    yield "one"


# The decorated function stays what it was.
async def locally() -> None:
    assert_type(await add(1, 2), int)
    assert_type(await find("Ann"), Person | None)
    async for number in on_countdown(1):
        assert_type(number, int)


async def by_key(remote: Remote) -> None:
    assert_type(remote[add](1, 2), Call[int])
    assert_type(remote[add](1), Call[int])
    assert_type(remote[add](left=1, right=2), Call[int])
    assert_type(await remote[add](1, 2), int)
    assert_type(await remote[find]("Ann"), Person | None)

    assert_type(remote[on_countdown](3), Call[RemoteIterator[int]])
    assert_type(remote[on_people](older_than=30), Call[RemoteIterator[Person]])
    async for number in remote[on_countdown](3):
        assert_type(number, int)
    async for person in remote[on_people](older_than=30):
        assert_type(person.age, int)
    assert_type(remote[on_rows]("people"), Call[RemoteIterator[tuple[str, int]]])
    assert_type(remote[on_lines](), Call[RemoteIterator[str]])
    async for headline in remote[on_news]("weather"):
        assert_type(headline, str)


async def by_name(remote: Remote) -> None:
    assert_type(remote.add(1, 2), Call[Any])
    assert_type(remote["people.find"]("Ann"), Call[Any])
    assert_type(remote.people.find("Ann"), Call[Any])
    async for number in remote.on_countdown(3):
        print(number)


async def by_handle(remote: Remote) -> None:
    iterator = await remote[on_countdown](3)
    assert_type(iterator, RemoteIterator[int])
    assert_type(await anext(iterator), int)
    assert_type(iterator.closed, bool)
    async with iterator as same:
        assert_type(same, RemoteIterator[int])
        assert_type([number async for number in same], list[int])
    await iterator.aclose()
    assert_type(iterator.value, Any)


async def with_a_life(remote: Remote) -> None:
    async with remote[on_countdown](3) as numbers:
        assert_type(numbers, RemoteIterator[int])
    async with remote[add](1) as answer:
        assert_type(answer, int)

    call = remote[on_countdown](3)
    call.cancel()
    call.cancel({"because": "too slow"})
    await call.aclose()
    assert_type(call.closed, bool)

    assert_type(await remote[add](1).result(), int)
    assert_type(await asyncio.create_task(remote[add](1)), int)
    assert_type(await asyncio.gather(remote[add](1), remote[find]("Ann")), tuple[int, Person | None])
    async with anyio.create_task_group() as group:
        group.start_soon(remote[add](1).result)


async def with_options(remote: Remote) -> None:
    in_time = telewire.with_options(remote[add], timeout=2.0, headers={"trace": "7"})
    assert_type(in_time(1, right=2), Call[int])
    async for number in telewire.with_options(remote[on_countdown], timeout=2)(3):
        assert_type(number, int)
    assert_type(telewire.with_options(remote.add, timeout=2.0)(1), Call[Any])


async def mistakes(remote: Remote) -> None:
    remote[add]("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    remote[add]()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    remote[add](1, right=2, more=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    remote[on_people](30)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    remote[3]  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    telewire.with_options(remote[add], timeout=2.0)("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    telewire.with_options(remote[add], timeout="2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # A number has no items, and an iterator is no number.
    async for _ in remote[add](1):  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
        pass
    number: int = await remote[on_countdown](1)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    # The names are for calling, never for setting.
    remote.add = add  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    print(number)
