"""Handles: collected, closed and lost, with calls on them under way; what they borrow and own."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import AsyncIterator, Callable
from types import CoroutineType
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import telewire
from telewire import (
    Abort,
    CallCancelled,
    InvalidArgument,
    NetworkError,
    ReferenceReleased,
    RemoteFunction,
    Service,
    get_context,
)
from tests.runtime.lives import EVERY_KIND, KINDS, Giving
from tests.runtime.world import Bugs, Connected, caught, quiescent, until


async def test_a_handle_collected_with_a_call_in_flight_still_gets_its_answer(connected: Connected) -> None:
    service = Service()
    gate, began = anyio.Event(), anyio.Event()

    @service.function
    async def tools() -> Callable[[], Any]:
        async def slow() -> str:
            began.set()
            await gate.wait()
            return "answered"

        return slow

    async with connected(service) as world:
        function = await world.remote.tools()
        one = function()
        await began.wait()
        two = function()
        del function
        gc.collect()
        await quiescent(world.remote)
        gate.set()
        assert await one == "answered"
        assert await two == "answered"


async def test_unawaited_calls_run(connected: Connected) -> None:
    service = Service()
    got: list[int] = []

    @service.function
    async def run(callback: Callable[[int], Any]) -> None:
        for number in range(100):
            callback(number)

    async with connected(service) as world:
        world.remote.run(got.append)
        await until(lambda: got == list(range(100)))


async def test_a_callback_may_refuse_and_fail(connected: Connected, bugs: Bugs) -> None:
    service = Service()
    seen: list[str] = []

    @service.function
    async def run(refuse: Callable[[], Any], fail: Callable[[], Any], typed: Callable[[str], Any]) -> str:
        for call in (refuse(), fail(), typed(3)):  # type: ignore[arg-type]
            seen.append(type(await caught(call)).__name__)
        return "unharmed"

    def refuse() -> None:
        raise Abort("no")

    async def fail() -> None:
        raise ValueError("a secret")

    def typed(text: str) -> None:
        raise AssertionError(text)

    async with connected(service) as world:
        assert await world.remote.run(refuse, fail, typed) == "unharmed"
        assert b"a secret" not in world.sent
    assert seen == ["Abort", "RemoteError", "InvalidArgument"]


async def test_coroutines_are_closed_when_encoding_fails(connected: Connected) -> None:
    service = Service()

    async def never() -> None:
        raise AssertionError("it must not run")

    async with connected(service) as world:
        coroutine = never()
        with pytest.raises(InvalidArgument, match=r"argument\[1\]"):
            world.remote.anything(coroutine, object())
        with pytest.raises(RuntimeError, match="cannot reuse"):
            await coroutine
        assert not world.client_driver.exports._numbers
        with pytest.raises(InvalidArgument):
            world.remote.anything(lambda: None, object())
        assert not world.client_driver.exports._numbers


async def test_tasks_and_futures_are_never_cancelled(connected: Connected, anyio_backend: str) -> None:
    if anyio_backend != "asyncio":
        return
    service = Service()
    gate = anyio.Event()
    tasks: list[asyncio.Future[int]] = []

    async def work() -> int:
        await gate.wait()
        return 3

    @service.function
    async def give() -> list[Any]:
        tasks.append(asyncio.create_task(work()))
        tasks.append(asyncio.get_running_loop().create_future())
        return list(tasks)

    async with connected(service) as world:
        task, future = await world.remote.give()
        await task.aclose()
        del future
        gc.collect()
        await quiescent(world.remote)
        await world.settled()
        assert not any(task.cancelled() for task in tasks)
        gate.set()
        assert await tasks[0] == 3
        tasks[1].set_result(4)


async def test_a_task_that_was_cancelled_rejects_its_promise(
    connected: Connected, anyio_backend: str
) -> None:
    if anyio_backend != "asyncio":
        return
    service = Service()
    tasks: list[asyncio.Task[None]] = []

    @service.function
    async def give() -> list[Any]:
        tasks.append(asyncio.create_task(asyncio.sleep(1000)))
        return list(tasks)

    async with connected(service) as world:
        (promise,) = await world.remote.give()
        tasks[0].cancel()
        with pytest.raises(CallCancelled):
            await promise


async def test_handles_as_async_with_and_on_close(connected: Connected) -> None:
    given = Giving()
    ended: list[str] = []
    async with connected(given.service) as world:
        result = await world.remote.give(*KINDS)
        for kind in KINDS:
            result[kind].on_close(lambda kind=kind: ended.append(kind))
            async with result[kind] as same:
                assert same is result[kind]
                assert not same.closed
            assert same.closed
            await same.aclose()
        await until(lambda: given.over == [None])
    assert ended == list(KINDS)


async def test_on_close_of_a_handle_that_is_dropped(connected: Connected) -> None:
    given = Giving()
    reasons: dict[str, object] = {}
    async with connected(given.service) as world:
        result = await world.remote.give(*EVERY_KIND)
        for kind in EVERY_KIND:
            result[kind].on_close(lambda reason, kind=kind: reasons.update({kind: reason}))
            del result[kind]
        await quiescent(world.remote)
        assert reasons == dict.fromkeys(EVERY_KIND)
        assert given.over == [None]


async def test_a_value_that_arrives_when_its_promise_is_dropped_is_closed(connected: Connected) -> None:
    service = Service()
    gates: list[anyio.Event] = []
    over: list[object] = []

    async def endless() -> AsyncIterator[int]:
        while True:
            yield 1

    async def later(gate: anyio.Event) -> list[AsyncIterator[int]]:
        await gate.wait()
        return [endless()]

    @service.function
    async def promise() -> list[Any]:
        get_context().on_close(over.append)
        gates.append(anyio.Event())
        return [later(gates[-1])]

    async with connected(service) as world:
        # Wherever the value is by then: not on its way, between both sides, or here already.
        for passes in range(10):
            result = await world.remote.promise()
            gc.collect()
            gates[passes].set()
            for _ in range(passes):
                await anyio.lowlevel.checkpoint()
            del result
            # No collection is needed.
            await until(lambda: len(over) == passes + 1)  # noqa: B023  # awaited here
        assert over == [None] * 10


async def test_coroutines_in_what_nobody_wants_any_more_are_closed(connected: Connected) -> None:
    service = Service()
    gate, began = anyio.Event(), anyio.Event()
    unwanted: list[CoroutineType[Any, Any, None]] = []

    async def never() -> None:
        """Given when it is too late."""

    async def late() -> list[CoroutineType[Any, Any, None]]:
        began.set()
        with anyio.CancelScope(shield=True):
            await gate.wait()
        unwanted.append(never())
        return unwanted[-1:]

    @service.function
    async def items() -> AsyncIterator[object]:
        yield await late()

    @service.function
    async def promise() -> list[Any]:
        return [late()]

    async with connected(service) as world:
        for name in ("items", "promise"):
            result = await world.remote[name]()
            await began.wait()
            await telewire.aclose(result)
            await quiescent(world.remote)
            gate.set()
            await until(lambda: len(unwanted) == 1)
            await until(lambda: inspect.getcoroutinestate(unwanted[0]) == inspect.CORO_CLOSED)
            unwanted.clear()
            gate, began = anyio.Event(), anyio.Event()


async def test_a_lost_connection_ends_every_handle(connected: Connected) -> None:
    given = Giving()
    reasons: list[object] = []
    async with connected(given.service) as world:
        result = await world.remote.give(*KINDS)
        for kind in KINDS:
            result[kind].on_close(reasons.append)
        assert await anext(result["iterator"]) == 1
        world.cut()
        await until(lambda: len(reasons) == 3)
        assert all(isinstance(reason, NetworkError) for reason in reasons)
        assert isinstance(await caught(result["promise"]), NetworkError)
        with pytest.raises(NetworkError):
            await anext(result["iterator"])
        with pytest.raises(ReferenceReleased):
            result["function"](1)
        await until(lambda: len(given.over) == 1)
        assert isinstance(given.over[0], NetworkError)


async def test_functions_in_functions(connected: Connected) -> None:
    service = Service()

    @service.function
    async def make_adder(left: int) -> Callable[[int], Any]:
        async def add(right: int) -> Callable[[], Any]:
            assert get_context().metadata == {}
            return lambda: left + right

        return add

    async with connected(service) as world:
        add = await world.remote.make_adder(1)
        assert isinstance(add, RemoteFunction)
        total = await add(2)
        assert await total() == 3
        del add, total
