"""Credit and limits: nobody runs ahead, being at a limit works, and one beyond is told in a sentence."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

from telewire import Limits, RemoteError, ResourceExhausted, Service
from tests.runtime.world import Bugs, Connected, caught, drained, quiescent, until


@pytest.mark.parametrize("size", [0, 300, 5_000, 40_000])
async def test_i2_a_producer_is_never_more_than_its_credit_ahead(connected: Connected, size: int) -> None:
    service = Service()
    limits = Limits(stream_window=64 * 1024, stream_window_read=128 * 1024)
    cost = max(size + 5, limits.item_cost)
    produced = 0

    @service.function
    async def count() -> AsyncIterator[bytes]:
        nonlocal produced
        while True:
            produced += 1
            yield b"x" * size

    async with connected(service, limits=limits) as world:
        iterator = await world.remote.count()
        # Unread: the initial window, and the one item that waits for credit.
        await quiescent(world.remote)
        assert 0 < produced * cost <= limits.stream_window + 2 * cost
        most = 0
        for taken in range(1, 300):
            await anext(iterator)
            if taken % 50 == 0:
                await quiescent(world.remote)
            most = max(most, produced - taken)
        assert most * cost <= limits.stream_window_read + 2 * cost
        assert produced > 300
        await iterator.aclose()


async def test_i2_two_streams_have_credit_of_their_own(connected: Connected) -> None:
    service = Service()

    @service.function
    async def count(to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number

    async with connected(service) as world:
        unread = await world.remote.count(1_000_000)
        await quiescent(world.remote)
        assert [number async for number in world.remote.count(5_000)] == list(range(5_000))
        assert await anext(unread) == 0
        await unread.aclose()


async def test_i11_open_calls(connected: Connected) -> None:
    service = Service()
    gate = anyio.Event()
    started: list[int] = []

    @service.function
    async def wait(number: int) -> int:
        started.append(number)
        await gate.wait()
        return number

    async with connected(service, limits=Limits(open_calls=5, queued_calls=3)) as world:
        calls = [world.remote.wait(number) for number in range(8)]
        await until(lambda: len(started) == 5)
        await anyio.wait_all_tasks_blocked()
        assert sorted(started) == [0, 1, 2, 3, 4]
        with pytest.raises(ResourceExhausted, match="await some of them first"):
            world.remote.wait(8)
        # One that is given up while it waits makes room, and never starts.
        calls[6].cancel()
        assert (await caught(calls[6])).retryable  # type: ignore[attr-defined]  # CallCancelled has it
        calls[6] = world.remote.wait(9)
        gate.set()
        assert [await call for call in calls] == [0, 1, 2, 3, 4, 5, 9, 7]
        assert sorted(started) == [0, 1, 2, 3, 4, 5, 7, 9]
        assert await world.remote.wait(10) == 10


async def test_i11_waiting_calls_start_in_order(connected: Connected) -> None:
    service = Service()
    started: list[int] = []
    gates = [anyio.Event() for _ in range(5)]

    @service.function
    async def wait(number: int) -> None:
        started.append(number)
        await gates[number].wait()

    async with connected(service, limits=Limits(open_calls=1)) as world:
        calls = [world.remote.wait(number) for number in range(5)]
        for number, call in enumerate(calls):
            gates[number].set()
            await call
            assert started[: number + 1] == list(range(number + 1))
        assert started == [0, 1, 2, 3, 4]


async def test_i11_argument_and_result_bytes(connected: Connected, bugs: Bugs) -> None:
    service = Service()
    limits = Limits(message_bytes=100_000)

    @service.function
    async def size(data: bytes) -> int:
        return len(data)

    @service.function
    async def give(size: int) -> bytes:
        return b"x" * size

    @service.function
    async def feed(*sizes: int) -> AsyncIterator[bytes]:
        for size in sizes:
            yield b"x" * size

    async with connected(service, limits=limits) as world:
        # [[data], {}] is eight bytes around the data, a result and an item five.
        assert await world.remote.size(b"x" * 99_992) == 99_992
        with pytest.raises(ResourceExhausted, match="100001 bytes is larger than the 100000"):
            world.remote.size(b"x" * 99_993)
        assert len(await world.remote.give(99_995)) == 99_995
        error = await caught(world.remote.give(99_996))
        assert isinstance(error, ResourceExhausted)
        assert "100001 bytes" in str(error)
        assert not error.retryable
        items, error_after = await drained(world.remote.feed(1, 99_995, 99_996, 1))
        assert [len(item) for item in items] == [1, 99_995]
        assert isinstance(error_after, ResourceExhausted)
        assert "100001 bytes" in str(error_after)
        assert not isinstance(error_after, RemoteError)
        assert await world.remote.size(b"") == 0
    assert len(bugs.records) == 2


async def test_i11_references_in_one_payload(connected: Connected, bugs: Bugs) -> None:
    service = Service()

    async def one() -> AsyncIterator[int]:
        yield 1

    @service.function
    async def many(count: int) -> list[AsyncIterator[int]]:
        return [one() for _ in range(count)]

    async with connected(service, limits=Limits(references=3)) as world:
        iterators = await world.remote.many(3)
        assert [[number async for number in iterator] for iterator in iterators] == [[1], [1], [1]]
        error = await caught(world.remote.many(4))
        assert isinstance(error, ResourceExhausted)
        assert "4 streams in one value" in str(error)
    assert len(bugs.records) == 1


async def test_i11_metadata(connected: Connected) -> None:
    from telewire import with_options

    service = Service()

    @service.function
    async def nothing() -> None:
        """Only the headers matter."""

    async with connected(service) as world:
        await with_options(world.remote.nothing, headers={"X-A": "x" * 8_000})()
        with pytest.raises(ResourceExhausted, match="headers take"):
            with_options(world.remote.nothing, headers={"X-A": "x" * 9_000})()
        await world.remote.nothing()
