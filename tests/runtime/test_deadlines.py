"""Deadlines: budgets that travel with a call, bound its answer or the whole of it, and are inherited."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import pytest

from telewire import CallCancelled, DeadlineExceeded, Remote, Service, get_context, with_options
from telewire_transports import memory
from tests.runtime.world import Bugs, Connected, caught, drained, quiescent, until


def timed_service() -> tuple[Service, list[str]]:
    """Functions that wait for ever, stream for ever, and tell how much time they have."""
    service = Service()
    ended: list[str] = []

    @service.function
    async def wait() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("wait")

    @service.function
    async def count() -> AsyncIterator[int]:
        number = 0
        try:
            while True:
                yield number
                number += 1
        finally:
            ended.append("count")

    @service.function
    async def stuck() -> AsyncIterator[int]:
        try:
            yield 0
            await anyio.sleep_forever()
        finally:
            ended.append("stuck")

    @service.function
    async def time_left() -> float | None:
        return get_context().time_left

    @service.function
    async def scope_left() -> float:
        left = anyio.current_effective_deadline() - anyio.current_time()
        return min(left, 1e9)

    return service, ended


async def test_no_call_has_a_deadline_unless_given(connected: Connected) -> None:
    service, _ = timed_service()
    async with connected(service) as world:
        assert await world.remote.time_left() is None
        assert await world.remote.scope_left() == 1e9


async def test_an_ambient_deadline_travels(connected: Connected) -> None:
    service, _ = timed_service()
    async with connected(service) as world:
        with anyio.fail_after(60):
            for name in ("time_left", "scope_left"):
                left = await world.remote[name]()
                assert 30 < left <= 60
        with anyio.move_on_after(50), anyio.fail_after(100):
            assert 20 < await world.remote.time_left() <= 50


async def test_an_explicit_timeout_travels_and_the_nearer_one_counts(connected: Connected) -> None:
    service, _ = timed_service()
    async with connected(service) as world:
        assert 15 < await with_options(world.remote.time_left, timeout=30)() <= 30
        with anyio.fail_after(60):
            assert 15 < await with_options(world.remote.time_left, timeout=30)() <= 30
            assert 30 < await with_options(world.remote.time_left, timeout=90)() <= 60


async def test_a_call_from_a_cancelled_scope_has_no_deadline(connected: Connected) -> None:
    service, _ = timed_service()
    left: list[object] = []
    async with connected(service) as world:
        with anyio.CancelScope() as scope:
            try:
                scope.cancel()
                await anyio.sleep_forever()
            finally:
                call = world.remote.time_left()
                with anyio.CancelScope(shield=True):
                    left.append(await call)
        assert left == [None]


async def test_fail_after_ends_the_call_on_both_sides(connected: Connected) -> None:
    service, ended = timed_service()
    async with connected(service) as world:
        with pytest.raises(TimeoutError):
            with anyio.fail_after(0.02):
                await world.remote.wait()
        await until(lambda: ended == ["wait"])


async def test_move_on_after_moves_on(connected: Connected) -> None:
    service, ended = timed_service()
    async with connected(service) as world:
        for _ in range(10):
            with anyio.move_on_after(0.01) as scope:
                await world.remote.wait()
            assert scope.cancelled_caught
        await until(lambda: len(ended) == 10)
        # Awaited outside of the scope that gave the deadline, the call itself tells of it.
        with anyio.move_on_after(0.01):
            call = world.remote.wait()
            await anyio.lowlevel.checkpoint()
        assert isinstance(await caught(call), DeadlineExceeded)


async def test_a_timeout_is_deadline_exceeded(connected: Connected) -> None:
    service, ended = timed_service()
    reasons: list[object] = []
    async with connected(service) as world:
        call = with_options(world.remote.wait, timeout=0.02)()
        call.on_close(lambda reason: reasons.append(reason))
        error = await caught(call)
        assert isinstance(error, DeadlineExceeded)
        assert isinstance(error, TimeoutError)
        assert not error.retryable
        assert "deadline" in str(error)
        await until(lambda: ended == ["wait"])
        await world.settled()
        assert [type(reason) for reason in reasons] == [DeadlineExceeded]


@pytest.mark.parametrize("name", ["count", "stuck"])
async def test_a_timeout_bounds_the_whole_call(connected: Connected, name: str) -> None:
    service, ended = timed_service()
    reasons: list[object] = []
    async with connected(service) as world:
        call = with_options(world.remote[name], timeout=0.05)()
        iterator = await call
        iterator.on_close(lambda reason: reasons.append(reason))
        items, error = await drained(iterator)
        assert items == list(range(len(items)))
        assert isinstance(error, DeadlineExceeded)
        await until(lambda: ended == [name])
        await world.settled()
        assert [type(reason) for reason in reasons] == [DeadlineExceeded]


@pytest.mark.parametrize("name", ["count", "stuck"])
async def test_an_ambient_deadline_bounds_only_the_answer(connected: Connected, name: str) -> None:
    service, ended = timed_service()
    contexts: list[object] = []

    @service.function
    async def patient() -> AsyncIterator[object]:
        # Inherited until the answer has left, then gone.
        contexts.append(anyio.current_effective_deadline())
        yield "started"
        await gate.wait()
        contexts.append(anyio.current_effective_deadline())
        yield "after the deadline"

    gate = anyio.Event()
    async with connected(service) as world:
        with anyio.fail_after(0.25) as scope:
            iterator = await world.remote.patient()
            other = await world.remote[name]()
            deadline = scope.deadline
        assert await anext(iterator) == "started"
        assert await anext(other) == 0
        await until(lambda: anyio.current_time() > deadline)
        await quiescent(world.remote)
        gate.set()
        assert [item async for item in iterator] == ["after the deadline"]
        assert contexts[-1] == math.inf
        assert ended == []
        await other.aclose()
        await quiescent(world.remote)
        assert ended == [name]


async def test_the_body_sees_its_deadline_as_a_cancellation(connected: Connected) -> None:
    service = Service()
    reasons: list[object] = []
    began, cleaned = anyio.Event(), anyio.Event()

    @service.function
    async def work() -> None:
        began.set()
        get_context().on_close(lambda reason: reasons.append(reason))
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
            cleaned.set()

    async with connected(service) as world:
        # Where the machine is busy, the time may be over before the body has begun.
        while not began.is_set():
            error = await caught(with_options(world.remote.work, timeout=0.02)())
            assert isinstance(error, DeadlineExceeded)
        await cleaned.wait()
        await world.settled()
        assert [type(reason) for reason in reasons] == [DeadlineExceeded]


async def test_a_nested_call_inherits_what_is_left(connected: Connected) -> None:
    inner, _ = timed_service()
    outer = Service()
    inner_remote: list[Remote] = []

    @outer.function
    async def relay() -> object:
        return await inner_remote[0].time_left()

    async with memory.connect(inner) as remote, connected(outer) as world:
        inner_remote.append(remote)
        assert await world.remote.relay() is None
        with anyio.fail_after(60):
            left = await world.remote.relay()
            assert 30 < left <= 60


async def test_a_timeout_nearer_than_the_scope_does_not_wait_for_the_scope(connected: Connected) -> None:
    service, _ = timed_service()
    async with connected(service) as world:
        with anyio.move_on_after(5) as scope:
            with pytest.raises(DeadlineExceeded):
                await with_options(world.remote.wait, timeout=0.05)()
        assert not scope.cancelled_caught


async def test_a_body_that_ends_in_time_is_not_disturbed(connected: Connected) -> None:
    service = Service()

    @service.function
    async def quick() -> int:
        return 1

    async with connected(service) as world:
        calls = [with_options(world.remote.quick, timeout=60)() for _ in range(100)]
        assert [await call for call in calls] == [1] * 100


async def test_a_timeout_of_the_body_is_its_own(connected: Connected, bugs: Bugs) -> None:
    service = Service()

    @service.function
    async def slow() -> None:
        with anyio.fail_after(0.01):
            await anyio.sleep_forever()

    async with connected(service) as world:
        error = await caught(world.remote.slow())
        assert type(error).__name__ == "RemoteError"
        assert not isinstance(error, CallCancelled)
    assert [type(each) for each in bugs.errors] == [TimeoutError]
