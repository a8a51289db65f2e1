"""Plain functions that take what arrives: `for` over handles and `telewire.wait`, in their own thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import anyio
import anyio.to_thread
import pytest

import telewire
from telewire import (
    Abort,
    ByteStream,
    Channel,
    Limits,
    RemoteError,
    RemoteIterator,
    Service,
)
from tests.runtime.lives import Endless
from tests.runtime.own_threads import Unread
from tests.runtime.world import Bugs, Connected, drained, until

WINDOW = 4096
LEAST = Limits().item_cost


pytestmark = pytest.mark.usefixtures("guarded")


async def numbers(to: int) -> AsyncIterator[int]:
    for number in range(to):
        yield number


# --- what arrives --------------------------------------------------------------------------------


async def test_a_plain_function_takes_items_bytes_and_messages(connected: Connected) -> None:
    service = Service()
    seen: set[int] = set()

    @service.function
    def total(items: Iterator[int], data: ByteStream, channel: Channel[str, str]) -> list[Any]:
        seen.add(threading.get_ident())
        return [sum(items), b"".join(data), list(channel)]

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(300):
            yield bytes([number % 256]) * 1000

    async with connected(service) as world:
        channel = Channel[str, str]()
        call = world.remote.total(numbers(1000), ByteStream(pieces()), channel.peer)
        for word in ("one", "two"):
            await channel.send(word)
        await channel.aclose()
        found = await call
    assert found == [sum(range(1000)), b"".join([chunk async for chunk in pieces()]), ["one", "two"]]
    assert threading.get_ident() not in seen


async def test_items_are_converted_and_their_value_is_there_after_the_end(connected: Connected) -> None:
    service = Service()

    @service.function
    def take(items: RemoteIterator[tuple[int, str]]) -> list[Any]:
        return [*(type(item).__name__ for item in items), items.value, list(items), items.closed]

    async def pairs() -> AsyncIterator[tuple[int, str]]:
        yield 1, "one"
        raise telewire.Return("the value")

    async with connected(service) as world:
        assert await world.remote.take(pairs()) == ["tuple", "the value", [], True]


async def test_the_function_and_its_generator_take_turns_in_one_thread(connected: Connected) -> None:
    service = Service()
    seen: list[int] = []

    @service.function
    def squares(items: Iterator[int]) -> Iterator[int]:
        seen.append(threading.get_ident())
        first = next(iter(items))
        yield first * first
        for item in items:
            seen.append(threading.get_ident())
            yield item * item

    turn = anyio.Semaphore(1)

    async def asked() -> AsyncIterator[int]:
        for number in range(1, 6):
            await turn.acquire()
            yield number

    async with connected(service) as world:
        # The next is sent when the square of the one before has come back.
        found = []
        async for square in world.remote.squares(asked()):
            found.append(square)
            turn.release()
    assert found == [1, 4, 9, 16, 25]
    assert len(set(seen)) == 1


async def test_a_byte_stream_is_given_back_while_it_comes_in(connected: Connected) -> None:
    service = Service()

    @service.function
    def louder(data: ByteStream) -> ByteStream:
        return ByteStream(chunk.upper() for chunk in data)

    turn = anyio.Semaphore(1)

    async def words() -> AsyncIterator[bytes]:
        for word in (b"one", b"two", b"three"):
            await turn.acquire()
            yield word

    async with connected(service) as world:
        found = []
        async for chunk in world.remote[louder](ByteStream(words())):
            found.append(chunk)
            turn.release()
    assert found == [b"ONE", b"TWO", b"THREE"]


async def test_wait_gives_what_the_loop_awaits(connected: Connected) -> None:
    service = Service()

    @service.function
    def use(ask: Callable[[int], Awaitable[int]], later: Awaitable[str], data: ByteStream) -> list[Any]:
        channel = Channel[Any, str]()
        listening = ask(-1)
        return [
            telewire.wait(ask(20)),
            telewire.wait(later),
            telewire.wait(later),
            telewire.wait(data.read()),
            telewire.wait(listening),
            telewire.wait(channel.send("waits for its receiver")),
        ]

    async def later() -> str:
        return "later"

    async with connected(service) as world:
        result = await world.remote.use(lambda number: number + 1, later(), ByteStream(b"abc"))
    assert result == [21, "later", "later", b"abc", 0, None]


async def test_a_generator_of_the_client_takes_too(connected: Connected) -> None:
    service = Service()

    @service.function
    async def double(items: AsyncIterator[int]) -> AsyncIterator[int]:
        async for item in items:
            yield item * 2

    @service.function
    async def collect(items: AsyncIterator[int], data: ByteStream) -> list[Any]:
        return [[item async for item in items], await data.read()]

    async with connected(service) as world:
        first, second = await world.remote.double(numbers(4)), await world.remote.double(numbers(3))
        found = await world.remote.collect(
            (item + 1 for item in Lazy(first)), ByteStream(bytes([item]) for item in Lazy(second))
        )
        assert found == [[1, 3, 5, 7], b"\x00\x02\x04"]
        del first, second


class Lazy:
    """Asks for the iterator when the first step is made, which a generator expression does not."""

    def __init__(self, source: Any) -> None:
        self.source = source

    def __iter__(self) -> Iterator[Any]:
        yield from self.source


# --- credit --------------------------------------------------------------------------------------


async def test_the_sender_is_held_to_the_pace_of_the_thread(connected: Connected) -> None:
    service = Service()
    taken = 0
    gate = threading.Semaphore(0)

    @service.function
    def slow(items: Iterator[int]) -> int:
        nonlocal taken
        for _ in items:
            taken += 1
            assert gate.acquire(timeout=5)
        return taken

    source = Unread(*range(1000))
    async with connected(service, limits=Limits(stream_window=WINDOW, stream_window_read=WINDOW)) as world:
        call = world.remote.slow(source.items())
        for step in range(1, 100):
            await until(lambda step=step: taken == step)  # type: ignore[misc]  # a default is no argument
            assert source.produced - taken <= WINDOW // LEAST
            gate.release()
        await until(lambda: taken == 100)
        await world.remote["test.round_trip"]()
        assert source.produced - taken <= WINDOW // LEAST
        call.cancel()
        gate.release(1000)
        await source.closed.wait()


async def test_bytes_are_held_back_as_well(connected: Connected) -> None:
    service = Service()
    taken = 0
    gate = threading.Event()

    @service.function
    def slow(data: ByteStream) -> int:
        nonlocal taken
        for chunk in data:
            taken += len(chunk)
            assert gate.wait(5)
        return taken

    endless = Endless()
    async with connected(service, limits=Limits(stream_window=WINDOW, stream_window_read=WINDOW)) as world:
        call = world.remote.slow(endless.stream())
        await until(lambda: taken > 0)
        for _ in range(5):
            await world.remote["test.round_trip"]()
        assert endless.given <= taken + WINDOW + endless.chunk
        gate.set()
        await until(lambda: taken > 100 * WINDOW)
        call.cancel()
        await endless.closed.wait()


# --- the function has enough ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["items", "bytes", "channel"])
async def test_who_returns_early_stops_the_other_side(connected: Connected, kind: str) -> None:
    service = Service()

    @service.function
    def first(source: RemoteIterator[Any]) -> Any:
        return next(iter(source))

    @service.function
    def first_bytes(source: ByteStream) -> Any:
        return len(next(iter(source))) > 0

    @service.function
    def first_message(source: Channel[Any, Any]) -> Any:
        return next(iter(source))

    async with connected(service) as world:
        if kind == "items":
            unread = Unread(*range(10_000))
            assert await world.remote.first(unread.items()) == 0
            await unread.closed.wait()
        elif kind == "bytes":
            endless = Endless()
            assert await world.remote.first_bytes(endless.stream())
            await endless.closed.wait()
        else:
            channel = Channel[Any, Any]()
            await channel.send("hello")
            assert await world.remote.first_message(channel.peer) == "hello"
            await until(lambda: channel.closed)


async def test_after_break_the_rest_can_still_be_taken(connected: Connected) -> None:
    service = Service()

    @service.function
    def in_two(source: RemoteIterator[int]) -> list[list[int]]:
        parts: list[list[int]] = [[]]
        for item in source:
            parts[0].append(item)
            if item == 2:
                break
        return [*parts, list(source)]

    async with connected(service) as world:
        assert await world.remote.in_two(numbers(6)) == [[0, 1, 2], [3, 4, 5]]


# --- failures ------------------------------------------------------------------------------------


async def test_what_the_stream_fails_with_is_raised_in_the_thread(connected: Connected, bugs: Bugs) -> None:
    service = Service()

    @service.function
    def told(items: Iterator[int], broken: Iterator[int], data: ByteStream) -> list[Any]:
        found: list[Any] = []
        try:
            for item in items:
                found.append(item)
        except Abort as error:
            found.append(error.value)
        try:
            found += broken
        except RemoteError as error:
            found.append(type(error).__name__)
        try:
            found += data
        except Abort as error:
            found.append(error.value)
        return found

    async def refusing() -> AsyncIterator[int]:
        yield 1
        raise Abort("enough")

    async def breaking() -> AsyncIterator[int]:
        yield 2
        raise ValueError("a secret")

    async def refusing_bytes() -> AsyncIterator[bytes]:
        yield b"3"
        raise Abort("no more bytes")

    async with connected(service) as world:
        found = await world.remote.told(refusing(), breaking(), ByteStream(refusing_bytes()))
    assert found == [1, "enough", 2, "RemoteError", b"3", "no more bytes"]


async def test_an_abort_that_is_let_through_crosses(connected: Connected) -> None:
    service = Service()

    @service.function
    def passes_on(items: Iterator[int]) -> Iterator[int]:
        yield from items

    async def refusing() -> AsyncIterator[int]:
        yield 1
        raise Abort("enough")

    async with connected(service) as world:
        items, error = await drained(world.remote.passes_on(refusing()))
        assert items == [1]
        assert isinstance(error, Abort)
        assert error.value == "enough"


# --- elsewhere -----------------------------------------------------------------------------------


async def test_a_plain_for_on_the_loop_says_what_to_use(connected: Connected) -> None:
    service = Service()

    @service.function
    async def give() -> list[Any]:
        return [numbers(3), ByteStream(b"abc"), Channel[Any, Any]().peer]

    async with connected(service) as world:
        handles = await world.remote.give()
        for handle in (*handles, ByteStream(b"abc"), Channel[Any, Any]()):
            with pytest.raises(RuntimeError, match="use `async for` in a coroutine"):
                iter(handle)
            with pytest.raises(RuntimeError, match="use `async for` in a coroutine"):
                await anyio.to_thread.run_sync(list, handle)
        with pytest.raises(RuntimeError, match="use `await` in a coroutine"):
            telewire.wait(handles[1].read())
        with pytest.raises(RuntimeError, match="use `await` in a coroutine"):
            telewire.wait(asyncio.sleep(0))
        await telewire.aclose(handles)
