"""What comes home becomes the original again; what cannot is relayed (TW-VAL-036, TW-VAL-038)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from telewire import Abort, RemoteError, RemoteFunction, RemotePromise, Service
from telewire_transports import memory
from tests.runtime.world import Bugs, Connected, caught, quiescent, until


async def test_a_function_comes_home_as_itself(connected: Connected) -> None:
    service = Service()

    @service.function
    async def echo(function: Callable[[int], Any]) -> dict[str, Any]:
        assert isinstance(function, RemoteFunction)
        return {"once": function, "twice": [function, function]}

    def add(number: int) -> int:
        return number + 1

    async with connected(service) as world:
        result = await world.remote.echo(add)
        assert result["once"] is add
        assert result["twice"][0] is result["twice"][1] is add
        result = await world.remote.echo(add.__call__)
        assert result["once"] == add.__call__
        result.clear()


async def test_a_function_of_the_server_comes_home_in_an_argument(connected: Connected) -> None:
    service = Service()
    found: list[bool] = []

    def unsubscribe() -> None: ...

    @service.function
    async def subscribe() -> Callable[[], None]:
        return unsubscribe

    @service.function
    async def is_yours(function: Callable[[], None]) -> bool:
        found.append(function is unsubscribe)
        return function is unsubscribe

    async with connected(service) as world:
        function = await world.remote.subscribe()
        assert await world.remote.is_yours(function)
        assert await world.remote.is_yours(function)
        assert not await world.remote.is_yours(lambda: None)
        await function.aclose()
    assert found == [True, True, False]


async def test_one_whose_original_is_gone_is_relayed(connected: Connected, bugs: Bugs) -> None:
    service = Service()
    kept: list[Any] = []

    @service.function
    async def keep(function: Any) -> None:
        kept.append(function)

    @service.function
    async def give_back() -> Any:
        return kept.pop()

    async with connected(service) as world:
        async with world.remote.keep(abs):
            pass
        await until(lambda: kept[0].closed)
        function = await world.remote.give_back()
        assert isinstance(function, RemoteFunction)
        assert isinstance(await caught(function(-3)), RemoteError)
        del function


async def test_a_promise_comes_home(connected: Connected, bugs: Bugs) -> None:
    service = Service()
    gate = anyio.Event()
    awaited: list[object] = []

    @service.function
    async def echo(promise: Awaitable[int]) -> dict[str, Any]:
        assert isinstance(promise, RemotePromise)
        awaited.append(promise)
        return {"promise": promise, "again": promise}

    async def compute() -> int:
        await gate.wait()
        return 42

    async def fail() -> int:
        await gate.wait()
        raise ValueError("mine")

    async with connected(service) as world:
        result, failing = await world.remote.echo(compute()), await world.remote.echo(fail())
        assert result["promise"] is result["again"]
        assert not isinstance(result["promise"], RemotePromise)
        awaited.clear()
        # Dropped there, and still wanted here.
        await world.remote["test.round_trip"]()
        gate.set()
        assert await result["promise"] == 42
        assert await result["promise"] == 42
        with pytest.raises(ValueError, match="mine"):
            await failing["promise"]


async def test_a_promise_that_is_wanted_only_at_home_gives_what_it_holds_there(connected: Connected) -> None:
    service = Service()
    gate = anyio.Event()

    @service.function
    async def echo(promise: Awaitable[Any]) -> list[Awaitable[Any]]:
        return [promise]

    async def answer() -> int:
        return 42

    async def compute() -> list[Awaitable[int]]:
        await gate.wait()
        return [answer()]

    async with connected(service) as world:
        [promise] = await world.remote.echo(compute())
        # By now nobody there has it any more.
        await quiescent(world.remote)
        gate.set()
        [inner] = await promise
        assert await inner == 42


async def test_a_future_comes_home_as_itself(connected: Connected, anyio_backend: str) -> None:
    if anyio_backend != "asyncio":
        return
    service = Service()

    @service.function
    async def echo(promise: Any) -> Any:
        return [promise]

    async with connected(service) as world:
        future = asyncio.get_running_loop().create_future()
        (home,) = await world.remote.echo(future)
        assert home is future
        future.set_result(1)
        (home,) = await world.remote.echo(future)
        assert await home == 1


async def test_a_promise_goes_back_and_is_settled_once(connected: Connected) -> None:
    service = Service()
    gate = anyio.Event()
    runs: list[int] = []

    async def compute() -> int:
        runs.append(1)
        await gate.wait()
        return 7

    @service.function
    async def begin() -> dict[str, Any]:
        return {"later": compute()}

    @service.function
    async def wait_for(promise: Awaitable[int]) -> int:
        assert not isinstance(promise, RemotePromise)
        gate.set()
        return await promise

    async with connected(service) as world:
        later = (await world.remote.begin())["later"]
        assert await world.remote.wait_for(later) == 7
        assert await later == 7
    assert runs == [1]


@pytest.mark.usefixtures("guarded")
async def test_handles_of_another_connection_are_relayed(bugs: Bugs) -> None:
    far, near = Service(), Service()

    @far.function
    async def tools() -> dict[str, Any]:
        async def later() -> int:
            return 5

        async def refuse() -> None:
            raise Abort("far away")

        return {"double": lambda number: number * 2, "later": later(), "refuse": refuse}

    @near.function
    async def use(tools: dict[str, Any]) -> list[Any]:
        error = await caught(tools["refuse"]())
        return [await tools["double"](4), await tools["later"], type(error).__name__]

    async with memory.connect(far) as away, memory.connect(near) as here:
        call = away.tools()
        # An Abort of another connection that is let through is a bug there.
        assert await here.use(await call) == [8, 5, "RemoteError"]
        del call
