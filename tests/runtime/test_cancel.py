"""Cancelling and closing: from any task, at any moment, and what each side learns of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import anyio
import anyio.lowlevel
import pytest

from telewire import Call, CallCancelled, CancelOutcome, InvalidArgument, RemoteIterator, Service
from tests.runtime.world import Connected, caught, drained, quiescent, until


class Blocked:
    """A service whose functions wait for ever, and what has become of them."""

    def __init__(self) -> None:
        self.service = Service()
        self.started = anyio.Event()
        self.ended: list[str] = []
        self.service.add(self.wait)
        self.service.add(self.count)
        self.service.add(self.stuck)

    async def wait(self) -> None:
        try:
            self.started.set()
            await anyio.sleep_forever()
        finally:
            self.ended.append("wait")

    async def count(self) -> AsyncIterator[int]:
        number = 0
        try:
            while True:
                yield number
                number += 1
                self.started.set()
        finally:
            self.ended.append("count")

    async def stuck(self) -> AsyncIterator[int]:
        try:
            yield 0
            self.started.set()
            await anyio.sleep_forever()
        finally:
            self.ended.append("stuck")


async def test_cancel_tells_reason_and_outcome(connected: Connected) -> None:
    blocked = Blocked()
    async with connected(blocked.service) as world:
        call = world.remote.wait()
        await blocked.started.wait()
        call.cancel({"by": "me"})
        call.cancel("too late to give another")
        error = await caught(call)
        assert isinstance(error, CallCancelled)
        assert error.outcome is CancelOutcome.STOPPED
        assert error.reason == {"by": "me"}
        assert not error.retryable
        assert blocked.ended == ["wait"]
        assert call.closed


async def test_cancel_before_it_has_left_never_starts(connected: Connected) -> None:
    blocked = Blocked()
    async with connected(blocked.service) as world:
        call = world.remote.wait()
        call.cancel()
        error = await caught(call)
        assert isinstance(error, CallCancelled)
        assert error.outcome is CancelOutcome.NOT_STARTED
        assert error.retryable
        await quiescent(world.remote)
    assert not blocked.started.is_set()


async def test_cancel_with_a_reason_that_cannot_travel(connected: Connected) -> None:
    blocked = Blocked()
    async with connected(blocked.service) as world:
        call = world.remote.wait()
        with pytest.raises(InvalidArgument, match="reason of cancel"):
            call.cancel(object())
        await blocked.started.wait()
        await call.aclose()


async def test_cancel_after_the_result_crossed(connected: Connected) -> None:
    service = Service()
    ended: list[str] = []

    @service.function
    async def count() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            ended.append("count")

    async with connected(service) as world:
        call = world.remote.count()
        iterator = await call
        assert await anext(iterator) == 1
        call.cancel("enough")
        with pytest.raises(CallCancelled, match="enough"):
            await anext(iterator)
        assert await call is iterator
        await world.settled()
        await quiescent(world.remote)
    assert ended == ["count"]


async def test_cancel_of_what_is_over_does_nothing(connected: Connected) -> None:
    service = Service()

    @service.function
    async def one() -> int:
        return 1

    async with connected(service) as world:
        call = world.remote.one()
        assert await call == 1
        call.cancel()
        await call.aclose()
        assert await call == 1


async def test_stop_from_another_task(connected: Connected) -> None:
    blocked = Blocked()

    async def stop_once(ready: Callable[[], bool], how: Callable[[], object]) -> None:
        await until(ready)
        stopped = how()
        if hasattr(stopped, "__await__"):
            await stopped

    async with connected(blocked.service) as world:
        for name in ("count", "stuck"):
            # aclose: the loop ends as if it had finished.
            call = world.remote[name]()
            got: list[int] = []
            async with anyio.create_task_group() as group:
                group.start_soon(stop_once, lambda got=got: len(got) > 0, call.aclose)
                async for number in call:
                    got.append(number)
                    await anyio.lowlevel.checkpoint()
            assert got == list(range(len(got)))
            assert call.closed
            # cancel: it raises.
            call = world.remote[name]()
            loop = aiter(call)
            first = await anext(loop)
            async with anyio.create_task_group() as group:
                group.start_soon(stop_once, lambda: True, lambda call=call: call.cancel("stop"))
                rest, error = await drained(loop)
            assert [first, *rest] == list(range(1 + len(rest)))
            assert isinstance(error, CallCancelled)
            assert error.reason == "stop"
            await quiescent(world.remote)
            assert blocked.ended == [name, name]
            blocked.ended.clear()
        # A loop that still waits for its stream ends too.
        unanswered = world.remote.wait()
        async with anyio.create_task_group() as group:
            group.start_soon(stop_once, blocked.started.is_set, unanswered.aclose)
            assert await drained(unanswered) == ([], None)
        # Who awaits the result of a call that another task closes is told so.
        call = world.remote.wait()
        async with anyio.create_task_group() as group:
            group.start_soon(stop_once, blocked.started.is_set, call.aclose)
            with pytest.raises(CallCancelled):
                await call


async def test_an_iterator_closed_from_another_task(connected: Connected) -> None:
    blocked = Blocked()
    async with connected(blocked.service) as world:
        iterator = await world.remote.stuck()
        got: list[int] = []
        ended = anyio.Event()

        async def take() -> None:
            async for number in iterator:
                got.append(number)
            ended.set()

        async with anyio.create_task_group() as group:
            group.start_soon(take)
            await blocked.started.wait()
            await quiescent(world.remote)
            await iterator.aclose()
            await ended.wait()
        assert got == [0]
        await quiescent(world.remote)
        assert blocked.ended == ["stuck"]


async def test_break_on_a_named_call(connected: Connected) -> None:
    blocked = Blocked()
    async with connected(blocked.service) as world:
        call = world.remote.count()
        async for number in call:
            if number == 3:
                break
        await quiescent(world.remote)
        assert blocked.ended == ["count"]
        assert call.closed
        # The loop has had the stream: another finds it ended, and does not hang.
        assert [number async for number in call] == []
        assert [number async for number in await call] == []
        # A RemoteIterator that one holds stays open after break, as any async generator does.
        iterator = await world.remote.count()
        async for number in iterator:
            if number == 3:
                break
        await quiescent(world.remote)
        assert blocked.ended == ["count"]
        assert await anext(iterator) == 4
        await iterator.aclose()
        await quiescent(world.remote)
        assert blocked.ended == ["count", "count"]


async def test_async_with_a_call_and_an_iterator(connected: Connected) -> None:
    blocked = Blocked()
    async with connected(blocked.service) as world:
        call: Call[RemoteIterator[int]] = world.remote.count()
        async with call as iterator:
            assert await anext(iterator) == 0
        await quiescent(world.remote)
        assert blocked.ended == ["count"]
        assert call.closed
        async with await world.remote.count() as iterator:
            assert await anext(iterator) == 0
        await quiescent(world.remote)
        assert blocked.ended == ["count", "count"]
        assert [number async for number in iterator] == []


async def test_cancelling_the_awaiting_task_cancels_the_call(connected: Connected) -> None:
    blocked = Blocked()
    async with connected(blocked.service) as world:
        async with anyio.create_task_group() as group:
            group.start_soon(world.remote.wait().result)
            await blocked.started.wait()
            group.cancel_scope.cancel()
        await quiescent(world.remote)
        assert blocked.ended == ["wait"]


async def test_a_loop_that_never_has_to_wait_long_can_be_cancelled(connected: Connected) -> None:
    blocked = Blocked()
    async with connected(blocked.service) as world:
        with anyio.move_on_after(0.02) as scope:
            async for _ in world.remote.count():
                pass
        assert scope.cancelled_caught
        await until(lambda: blocked.ended == ["count"])


async def test_cancelling_one_of_two_awaiting_tasks_leaves_the_call(connected: Connected) -> None:
    service = Service()
    started, gate = anyio.Event(), anyio.Event()

    @service.function
    async def wait() -> str:
        started.set()
        await gate.wait()
        return "still here"

    async with connected(service) as world:
        call = world.remote.wait()
        scope = anyio.CancelScope()
        results: list[str] = []

        async def first() -> None:
            with scope:
                await call

        async def second() -> None:
            results.append(await call)

        async with anyio.create_task_group() as group:
            group.start_soon(first)
            group.start_soon(second)
            await started.wait()
            await quiescent(world.remote)
            scope.cancel()
            await quiescent(world.remote)
            gate.set()
        assert results == ["still here"]


async def test_asyncio_wait_for_cancels_the_call(connected: Connected, anyio_backend: str) -> None:
    blocked = Blocked()
    async with connected(blocked.service) as world:
        call = world.remote.wait()
        await blocked.started.wait()
        if anyio_backend == "asyncio":
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(call, 0.01)
        else:
            with pytest.raises(TimeoutError):
                with anyio.fail_after(0.01):
                    await call
        await quiescent(world.remote)
        assert blocked.ended == ["wait"]


async def test_a_loop_over_what_has_no_items(connected: Connected) -> None:
    service = Service()

    @service.function
    async def one() -> int:
        return 1

    async with connected(service) as world:
        items, error = await drained(world.remote.one())
        assert items == []
        assert isinstance(error, TypeError)
        assert "one() is int, which has no items" in str(error)


async def test_random_trees_of_calls_leave_nothing(connected: Connected) -> None:
    service = Service()
    ended: list[int] = []

    @service.function
    async def wait(number: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(number)

    @service.function
    async def count(number: int) -> AsyncIterator[int]:
        try:
            while True:
                yield number
        finally:
            ended.append(number)

    async with connected(service) as world:
        remote = world.remote
        calls = [remote.wait(number) if number % 2 else remote.count(number) for number in range(60)]
        for number, call in enumerate(calls):
            if number % 3 == 0:
                call.cancel(number)
        await quiescent(remote)
        assert not {number for number in range(0, 60, 3)} & set(ended)
        for number, call in enumerate(calls):
            if number % 3 == 1:
                await call.aclose()
        async with anyio.create_task_group() as group:
            for call in calls[2::3]:
                group.start_soon(call.result)
            await quiescent(remote)
            group.cancel_scope.cancel()
        del call, calls
        await world.settled()
        await quiescent(remote)
    assert sorted(ended) == [number for number in range(60) if number % 3]
