"""Calls: started at once, awaited by anyone any number of times, and named as the service names them."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import AsyncIterator

import anyio
import pytest

from telewire import FunctionNotFound, InvalidArgument, Limits, LocalProtocolError, Service, with_options
from tests.runtime.world import Bugs, Connected, caught, quiescent, until


@dataclasses.dataclass
class Point:
    x: int
    y: int


async def test_a_call_gives_its_result(connected: Connected) -> None:
    service = Service()

    @service.function
    async def add(left: int, right: int) -> int:
        return left + right

    async with connected(service) as world:
        assert await world.remote.add(1, 2) == 3
        assert await world.remote.add(1, right=2) == 3
        assert await world.remote["add"](1, 2) == 3


async def test_a_call_starts_before_it_is_awaited_and_is_awaited_often(connected: Connected) -> None:
    service = Service()
    started = anyio.Event()

    @service.function
    async def note() -> list[int]:
        started.set()
        return [1]

    async with connected(service) as world:
        call = world.remote.note()
        await started.wait()
        first = await call
        assert first == [1]
        assert await call is first
        assert await call.result() is first
        assert "note" in repr(call)


async def test_an_error_is_raised_by_every_await(connected: Connected) -> None:
    async with connected(Service()) as world:
        call = world.remote.nothing()
        assert isinstance(await caught(call), FunctionNotFound)
        assert isinstance(await caught(call), FunctionNotFound)


async def test_names_with_dots_and_any_text(connected: Connected) -> None:
    service = Service()

    @service.function(name="chat.room.join")
    async def join(name: str) -> str:
        return f"welcome {name}"

    @service.function(name="ça va?")
    async def how() -> str:
        return "bien"

    async with connected(service) as world:
        remote = world.remote
        assert await remote.chat.room.join("Ada") == "welcome Ada"
        assert await remote["chat.room.join"]("Ada") == "welcome Ada"
        assert await remote["ça va?"]() == "bien"
        assert await remote[join]("Ada") == "welcome Ada"


async def test_a_function_that_nobody_serves(connected: Connected) -> None:
    async with connected(Service()) as world:
        for call, name in ((world.remote.gone(1), "gone"), (world.remote.chat.gone(), "chat.gone")):
            error = await caught(call)
            assert isinstance(error, FunctionNotFound)
            assert isinstance(error, LookupError)
            assert error.retryable
            assert repr(name) in str(error)


async def test_private_names_are_not_remote(connected: Connected) -> None:
    async with connected(Service()) as world:
        with pytest.raises(AttributeError, match="use remote\\['_x'\\]"):
            _ = world.remote._x
        with pytest.raises(AttributeError):
            _ = world.remote.chat._x
        assert not hasattr(world.remote, "__len__")
        assert {name for name in dir(world.remote) if not name.startswith("_")} == set()


async def test_the_functions_key_types_results_and_items(connected: Connected) -> None:
    service = Service()

    @service.function
    async def corner() -> Point:
        return Point(1, 2)

    @service.function
    async def corners() -> AsyncIterator[Point]:
        yield Point(3, 4)

    async with connected(service) as world:
        remote = world.remote
        assert await remote.corner() == {"x": 1, "y": 2}
        assert await remote[corner]() == Point(1, 2)
        assert [point async for point in remote.corners()] == [{"x": 3, "y": 4}]
        assert [point async for point in remote[corners]()] == [Point(3, 4)]
        iterator = await remote[corners]()
        assert [point async for point in iterator] == [Point(3, 4)]


async def test_a_function_keyed_under_another_name(connected: Connected) -> None:
    service = Service()

    @service.function(name="when")
    async def on_when(day: dt.date) -> dt.date:
        return day + dt.timedelta(days=1)

    async with connected(service) as world:
        assert await world.remote[on_when](dt.date(2024, 2, 28)) == dt.date(2024, 2, 29)
        with pytest.raises(TypeError, match="no name to call it by"):
            world.remote[Point(1, 2)]  # type: ignore[call-overload]


async def test_arguments_of_the_wrong_type_are_refused_before_the_body_runs(connected: Connected) -> None:
    service = Service()
    ran: list[object] = []

    @service.function
    async def on_join(team_id: str, *, size: int = 1) -> None:
        ran.append(team_id)

    async with connected(service) as world:
        for call, message in (
            (world.remote.on_join(3), "on_join(team_id): expected str, got int"),
            (world.remote.on_join("a", size="b"), "on_join(size): expected int, got str"),
            (world.remote.on_join(), "on_join() misses the argument team_id"),
            (world.remote.on_join("a", "b"), "on_join() takes at most 1 positional argument, got 2"),
            (world.remote.on_join("a", tall=1), "on_join() has no parameter tall"),
        ):
            error = await caught(call)
            assert isinstance(error, InvalidArgument)
            assert isinstance(error, ValueError)
            assert str(error) == message
        assert ran == []
        await world.remote.on_join("a", size=2)
        assert ran == ["a"]


async def test_arguments_that_cannot_travel_name_their_path(connected: Connected) -> None:
    service = Service()

    @service.function
    async def take(value: object) -> None:
        """Anything."""

    async with connected(service) as world:
        with pytest.raises(InvalidArgument) as raised:
            world.remote.take({"a": [1, object()]})
        text = str(raised.value)
        assert text.startswith("take() argument[0]['a'][1]: A builtins.object cannot travel")
        with pytest.raises(InvalidArgument, match=r"take\(\) argument\['value'\]"):
            world.remote.take(value=object())
        circle: list[object] = []
        circle.append(circle)
        with pytest.raises(InvalidArgument):
            world.remote.take(circle)
        await world.remote.take(1)


async def test_a_result_that_cannot_travel_is_that_sides_bug(connected: Connected, bugs: Bugs) -> None:
    service = Service()

    @service.function
    async def give() -> object:
        return {"a": object()}

    @service.function
    async def lie() -> int:
        return "one"  # type: ignore[return-value]  # the lie

    async with connected(service) as world:
        for name in ("give", "lie"):
            error = await caught(world.remote[name]())
            assert type(error).__name__ == "RemoteError"
            assert "cannot travel" not in str(error)
            assert "str" not in str(error).replace("string", "")
    assert "['a']" in str(bugs.errors[0])
    assert str(bugs.errors[1]) == "lie() result: expected int, got str"


async def test_a_thousand_concurrent_calls(connected: Connected) -> None:
    service = Service()
    running = 0
    most = 0
    everyone = anyio.Event()

    @service.function
    async def square(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 1000:
            everyone.set()
        await everyone.wait()
        running -= 1
        return number * number

    async with connected(service) as world:
        calls = [world.remote.square(number) for number in range(1000)]
        assert [await call for call in calls] == [number * number for number in range(1000)]
    assert most == 1000


async def test_unrelated_calls_do_not_wait_for_each_other(connected: Connected) -> None:
    service = Service()
    gate = anyio.Event()

    @service.function
    async def slow() -> str:
        await gate.wait()
        return "slow"

    @service.function
    async def quick() -> str:
        return "quick"

    async with connected(service) as world:
        slow_call = world.remote.slow()
        assert await world.remote.quick() == "quick"
        gate.set()
        assert await slow_call == "slow"


async def test_large_arguments_and_results(connected: Connected) -> None:
    service = Service()

    @service.function
    async def double(data: bytes) -> bytes:
        return data * 2

    async with connected(service) as world:
        data = bytes(range(256)) * 8192
        assert await world.remote.double(data) == data * 2


async def test_two_tasks_await_one_call(connected: Connected) -> None:
    service = Service()
    gate = anyio.Event()

    @service.function
    async def wait() -> int:
        await gate.wait()
        return 7

    async with connected(service) as world:
        call = world.remote.wait()
        results: list[int] = []

        async def take() -> None:
            results.append(await call)

        async with anyio.create_task_group() as group:
            group.start_soon(take)
            group.start_soon(take)
            await quiescent(world.remote)
            gate.set()
        assert results == [7, 7]


async def test_result_is_a_coroutine_for_task_groups(connected: Connected) -> None:
    service = Service()
    ran: list[int] = []

    @service.function
    async def note(number: int) -> None:
        ran.append(number)

    async with connected(service) as world, anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(world.remote.note(number).result)
    assert sorted(ran) == [0, 1, 2]


async def test_asyncio_takes_a_call_where_it_takes_a_coroutine(
    connected: Connected, anyio_backend: str
) -> None:
    service = Service()

    @service.function
    async def add(left: int, right: int) -> int:
        return left + right

    async with connected(service) as world:
        if anyio_backend == "trio":
            # The nearest that trio has: a call driven by a task of its own.
            found: list[int] = []

            async def take() -> None:
                found.append(await world.remote.add(1, 2))

            async with anyio.create_task_group() as group:
                group.start_soon(take)
            assert found == [3]
            return
        assert await asyncio.create_task(world.remote.add(1, 2)) == 3
        assert [*await asyncio.gather(world.remote.add(1, 2), world.remote.add(3, 4))] == [3, 7]
        assert await asyncio.wait_for(world.remote.add(1, 2), 5) == 3
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(world.remote.add(5, 6))
        assert task.result() == 11


async def test_with_options_says_what_it_wants(connected: Connected) -> None:
    async def local() -> None:
        """Not remote."""

    async with connected(Service()) as world:
        with pytest.raises(TypeError, match="takes a function of a remote"):
            with_options(local, timeout=1)
        for timeout in (0, -1, float("nan")):
            with pytest.raises(ValueError, match="leaves no time"):
                with_options(world.remote.f, timeout=timeout)


async def test_a_name_too_long_for_the_peer(connected: Connected) -> None:
    async with connected(Service(), limits=Limits(name_bytes=32)) as world:
        assert isinstance(await caught(world.remote["n" * 32]()), FunctionNotFound)
        with pytest.raises(LocalProtocolError, match="the peer allows 32"):
            world.remote["n" * 33]()


async def test_call_dropped_keeps_running(connected: Connected, bugs: Bugs) -> None:
    service = Service()
    gate = anyio.Event()
    done: list[str] = []

    @service.function
    async def work() -> str:
        await gate.wait()
        done.append("worked")
        return "unseen"

    @service.function
    async def fail() -> None:
        await gate.wait()
        raise ValueError("nobody will know")

    @service.function
    async def count() -> AsyncIterator[int]:
        try:
            for number in range(10_000):
                yield number
        finally:
            done.append("counted")

    async with connected(service) as world:
        world.remote.work()
        world.remote.fail()
        world.remote.count()
        await quiescent(world.remote)
        assert "worked" not in done
        gate.set()
        await until(lambda: "worked" in done, lambda: "the dropped call to run to its end")
        # A result that nobody takes is closed when it arrives.
        await until(lambda: "counted" in done, lambda: "the untaken iterator to be closed")
        await world.settled()
        await quiescent(world.remote)
    unheard = [text for text in bugs.messages if "nobody awaited" in text]
    assert len(unheard) == 1
    assert "fail()" in unheard[0]


async def test_a_failure_that_was_awaited_is_not_logged_again(connected: Connected) -> None:
    async with connected(Service()) as world:
        call = world.remote.nothing()
        assert isinstance(await caught(call), FunctionNotFound)
        del call
        await quiescent(world.remote)
