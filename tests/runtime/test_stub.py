"""Stubs: a remote seen as a Protocol class, with what it gives converted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Protocol

import pytest

from telewire import InvalidArgument, Service, callback, stub
from telewire.runtime.stubs import StubGenerator
from tests.runtime.world import Connected, caught, until


@dataclass
class Point:
    x: int
    y: int


class ChatApi(Protocol):
    async def prompt(self, text: str) -> str: ...


class Api(Protocol):
    chat: ChatApi

    async def point(self, x: int) -> Point: ...
    async def wrong(self) -> str: ...
    def on_countdown(self, start: int) -> AsyncGenerator[int, None]: ...
    def points(self) -> AsyncIterator[Point]: ...


class Larger(Api, Protocol):
    async def more(self) -> int: ...


def served(seen: list[str]) -> Service[None]:
    service: Service[None] = Service()
    chat: Service[None] = Service()
    service.include(chat, "chat")

    @chat.function
    async def prompt(text: str) -> str:
        return f"you said {text}"

    @service.function
    async def point(x: int) -> dict[str, int]:
        return {"x": x, "y": 0}

    @service.function
    async def wrong() -> int:
        return 3

    @service.function
    async def more() -> int:
        return 4

    @service.function
    async def on_countdown(start: int) -> AsyncIterator[int]:
        try:
            for number in range(start, -1, -1):
                yield number
        finally:
            seen.append("finally")

    @service.function
    async def points() -> AsyncIterator[dict[str, int]]:
        yield {"x": 1, "y": 2}

    return service


async def test_methods_call_and_convert(connected: Connected) -> None:
    async with connected(served([])) as world:
        api = stub(world.remote, Larger)
        assert await api.point(3) == Point(3, 0)
        assert [point async for point in api.points()] == [Point(1, 2)]
        assert await api.more() == 4
        assert await api.chat.prompt("hi") == "you said hi"
        assert repr(api) == "<stub of Larger>"
        error = await caught(api.wrong())  # type: ignore[arg-type]  # a Call, though typed as what it gives
        assert isinstance(error, InvalidArgument)
        assert str(error) == "wrong() result: expected str, got int"


async def test_generators_are_generators(connected: Connected) -> None:
    seen: list[str] = []
    async with connected(served(seen)) as world:
        api = stub(world.remote, Api)
        assert [number async for number in api.on_countdown(3)] == [3, 2, 1, 0]
        await until(lambda: seen == ["finally"])
        numbers = api.on_countdown(1_000_000)
        assert isinstance(numbers, StubGenerator)
        assert await anext(numbers) == 1_000_000
        async for number in numbers:
            assert number == 999_999
            break
        # Held by a name, it stays open after a break, as any generator does.
        assert await numbers.asend(None) == 999_998
        await numbers.aclose()
        assert [number async for number in numbers] == []
        await until(lambda: len(seen) == 2)
        async for _ in api.on_countdown(1_000_000):
            break
        await until(lambda: len(seen) == 3)
        numbers = api.on_countdown(5)
        with pytest.raises(KeyError):
            await numbers.athrow(KeyError("mine"))
        with pytest.raises(TypeError, match="pass it a channel"):
            await api.on_countdown(0).asend(3)  # type: ignore[arg-type]
        await until(lambda: not world.client_driver.connection._ours)


async def test_what_it_does_not_declare(connected: Connected) -> None:
    async with connected(served([])) as world:
        api = stub(world.remote, Api)
        with pytest.raises(
            AttributeError, match="Api declares no method 'pont'; it has: on_countdown, point"
        ):
            _ = api.pont  # type: ignore[attr-defined]
        with pytest.raises(AttributeError):
            _ = api._hidden  # type: ignore[attr-defined]
        with pytest.raises(TypeError, match="takes the remote"):
            stub(world.client, Api)  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="takes a class"):
            stub(world.remote, served)


async def test_callback_is_the_function_itself(connected: Connected) -> None:
    assert callback(print) is print
    with pytest.raises(TypeError, match="is not a function"):
        callback(3)  # type: ignore[call-overload]
