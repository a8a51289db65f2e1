"""I11 for values of every kind, wherever they cross: being at a limit works, one beyond is a typed error."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest

import telewire
from telewire import (
    ByteStream,
    Channel,
    InvalidArgument,
    Limits,
    RemoteError,
    ResourceExhausted,
    Return,
    Service,
    TelewireError,
)
from tests.runtime.world import Bugs, Connected, World, caught, until

MESSAGE_BYTES = 100_000
DEPTH = Limits().nesting


@pytest.fixture
def transport() -> str:
    """One transport is enough: values are the same on each."""
    return "memory"


# --- sizes and depths of values, wherever they cross ---------------------------------------------


def nested(depth: int) -> object:
    value: object = 0
    for _ in range(depth):
        value = [value]
    return value


# Any: lists of lists.
def depth_of(value: Any) -> int:
    depth = 0
    while isinstance(value, list):
        [value] = value
        depth += 1
    return depth


class Places:
    """A service that lets a value of a given measure cross anywhere, and tells what has arrived."""

    def __init__(self, make: Callable[[int], object], measure: Callable[[Any], int]) -> None:
        self.make = make
        self.measure = measure
        # Any: no provider.
        self.service: Service[Any] = Service()
        for function in (
            self.take,
            self.give,
            self.feed,
            self.back,
            self.promise,
            self.call,
            self.ask,
            self.talk,
        ):
            self.service.add(function)
        self.heard: list[int] = []

    async def take(self, value: object) -> int:
        return self.measure(value)

    async def give(self, measure: int) -> object:
        return self.make(measure)

    async def feed(self, measure: int) -> AsyncIterator[object]:
        yield self.make(measure)

    async def back(self, measure: int) -> AsyncIterator[object]:
        if measure < 0:
            yield None
        raise Return(self.make(measure))

    async def promise(self, measure: int) -> list[Awaitable[object]]:
        return [self.give(measure)]

    async def call(self, function: Callable[[object], Awaitable[int]], measure: int) -> object:
        try:
            return await function(self.make(measure))
        except TelewireError as error:
            return type(error).__name__

    async def ask(self, function: Callable[[], Awaitable[object]]) -> object:
        try:
            return self.measure(await function())
        except TelewireError as error:
            return type(error).__name__

    async def talk(self) -> Channel[Any, Any]:
        channel = Channel[Any, Any]()

        def handle(message: object) -> object:
            if isinstance(message, int):
                return self.make(message)
            self.heard.append(self.measure(message))
            return self.heard[-1]

        channel.listen(handle)
        return channel.peer

    async def cross(self, world: World, place: str, measure: int) -> object:
        """Let it cross; returns the measure of what has arrived, or the name of the error of who sent it."""
        remote = world.remote
        match place:
            case "argument":
                return await remote.take(self.make(measure))
            case "result":
                return self.measure(await remote.give(measure))
            case "item":
                [item] = [item async for item in remote.feed(measure)]
                return self.measure(item)
            case "return value":
                items = await remote.back(measure)
                assert [item async for item in items] == []
                return self.measure(items.value)
            case "promise":
                [promise] = await remote.promise(measure)
                return self.measure(await promise)
            case "argument of a callback":
                return await remote.call(self.measure, measure)
            case "result of a callback":
                return await remote.ask(lambda: self.make(measure))
        async with await remote.talk() as channel:
            if place == "message":
                await channel.send(self.make(measure))
                await until(lambda: bool(self.heard))
                return self.heard.pop()
            if place == "request":
                return await channel.request(self.make(measure))
            return self.measure(await channel.request(measure))


async def outcome(crossing: Awaitable[object]) -> object:
    try:
        return await crossing
    except TelewireError as error:
        return type(error).__name__


# Where a value crosses, and how much stands around it: the list of arguments and the map of named ones.
PLACES = {
    "argument": True,
    "result": False,
    "item": False,
    "return value": False,
    "promise": False,
    "argument of a callback": True,
    "result of a callback": False,
    "message": False,
    "request": True,
    "reply": False,
}


@pytest.mark.parametrize("place", PLACES)
async def test_i11_the_size_of_a_value(connected: Connected, bugs: Bugs, place: str) -> None:
    places = Places(bytes, len)
    # [[data], {}] is eight bytes around the data, anything else the five of its head.
    most = MESSAGE_BYTES - (8 if PLACES[place] else 5)
    async with connected(places.service, limits=Limits(message_bytes=MESSAGE_BYTES)) as world:
        for _ in range(2):
            assert await outcome(places.cross(world, place, most)) == most
            assert await outcome(places.cross(world, place, most + 1)) == ResourceExhausted.__name__


@pytest.mark.parametrize("place", PLACES)
async def test_i11_the_depth_of_a_value(connected: Connected, bugs: Bugs, place: str) -> None:
    places = Places(nested, depth_of)
    most = DEPTH - (2 if PLACES[place] else 0)
    # Who hands it over is told why; who would have received it learns that the other side has failed.
    ours = place in ("argument", "argument of a callback", "message", "request")
    refusal = InvalidArgument if ours else RemoteError
    async with connected(places.service) as world:
        for _ in range(2):
            assert await outcome(places.cross(world, place, most)) == most
            assert await outcome(places.cross(world, place, most + 1)) == refusal.__name__


async def test_a_chunk_has_no_limit_of_its_own(connected: Connected) -> None:
    service = Service()

    @service.function
    async def double(stream: ByteStream) -> ByteStream:
        return ByteStream([(await stream.read(1 << 20)) * 2])

    limits = Limits(message_bytes=MESSAGE_BYTES, stream_window=4096, stream_window_read=8192)
    async with connected(service, limits=limits) as world:
        data = bytes(range(256)) * 2000
        found = await world.remote.double(ByteStream([data]))
        assert await found.read(1 << 20) == data * 2


# --- how many ------------------------------------------------------------------------------------


async def number_of(number: int) -> int:
    return number


async def endless(number: int) -> AsyncIterator[int]:
    while True:
        yield number


class Many:
    """A service that gives and takes many values with a life."""

    def __init__(self, make: Callable[[int], object]) -> None:
        self.make = make
        # Any: no provider; values of every kind.
        self.service: Service[Any] = Service()
        self.service.add(self.give)
        self.service.add(self.take)
        self.kept: list[Any] = []

    async def give(self, count: int) -> list[object]:
        return [self.make(number) for number in range(count)]

    async def take(self, *values: object) -> int:
        self.kept.append(values)
        return len(values)


@pytest.mark.parametrize("kind", ["promise", "function"])
async def test_i11_a_thousand_references_in_one_value(connected: Connected, bugs: Bugs, kind: str) -> None:
    many = Many(number_of if kind == "promise" else lambda number: lambda: number)
    async with connected(many.service) as world:
        async with world.remote.give(1000) as values:
            assert [await (each if kind == "promise" else each()) for each in values] == list(range(1000))
        with pytest.raises(ResourceExhausted, match="1001 streams in one value"):
            await world.remote.give(1001)
        async with world.remote.take(*await many.give(1000)) as taken:
            assert taken == 1000
        with pytest.raises(ResourceExhausted, match="1001 streams in one value"):
            world.remote.take(*await many.give(1001))
        many.kept.clear()


@pytest.mark.parametrize(
    ("kind", "limits"),
    [
        ("iterator", Limits(credited_streams=3)),
        ("iterator", Limits(open_streams=3)),
        ("function", Limits(open_streams=3)),
    ],
)
async def test_i11_open_streams(connected: Connected, bugs: Bugs, kind: str, limits: Limits) -> None:
    many = Many(endless if kind == "iterator" else lambda number: lambda: number)
    async with connected(many.service, limits=limits) as world:
        # In one value or in several, given or taken.
        with pytest.raises(ResourceExhausted, match="4 more pass the peer's limit"):
            await world.remote.give(4)
        with pytest.raises(ResourceExhausted, match="4 more pass the peer's limit"):
            world.remote.take(*await many.give(4))
        first, second = await world.remote.give(1), await world.remote.give(2)
        assert not any(each.closed for each in first + second)
        with pytest.raises(ResourceExhausted, match="1 more pass the peer's limit"):
            await world.remote.give(1)
        # The streams of the other direction have places of their own.
        assert await world.remote.take(*await many.give(3)) == 3
        with pytest.raises(ResourceExhausted, match="1 more pass the peer's limit"):
            world.remote.take(*await many.give(1))
        # What ends makes room.
        await telewire.aclose(first)
        await world.remote["test.round_trip"]()
        assert len(await world.remote.give(1)) == 1
        await telewire.aclose(second)
        many.kept.clear()


async def test_i11_argument_bytes_of_unanswered_calls(connected: Connected) -> None:
    service = Service()
    gate = anyio.Event()

    @service.function
    async def wait(data: bytes) -> int:
        await gate.wait()
        return len(data)

    # [[data], {}] is six bytes around data of this length.
    size = 500 - 6
    async with connected(service, limits=Limits(argument_bytes=1000)) as world:
        calls = [world.remote.wait(bytes(size)) for _ in range(2)]
        error = await caught(world.remote.wait(b""))
        assert isinstance(error, ResourceExhausted)
        assert error.retryable
        gate.set()
        assert [await call for call in calls] == [size, size]
        assert await world.remote.wait(bytes(2 * size + 6)) == 2 * size + 6
        assert isinstance(await caught(world.remote.wait(bytes(2 * size + 7))), ResourceExhausted)
