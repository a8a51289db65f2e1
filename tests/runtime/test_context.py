"""The context of a call: found anywhere inside it, valid after it, with what the provider made."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import pytest

from telewire import Abort, Context, RemoteError, Request, Service, get_context, with_options
from tests.runtime.world import Bugs, Connected, caught, quiescent


async def test_the_context_is_found_anywhere_in_the_call(connected: Connected) -> None:
    service = Service()
    found: list[Context[object]] = []

    async def deeper() -> None:
        await anyio.lowlevel.checkpoint()
        found.append(get_context())

    @service.function
    async def look() -> None:
        found.append(get_context())
        await anyio.lowlevel.checkpoint()
        found.append(get_context())
        await deeper()
        async with anyio.create_task_group() as group:
            group.start_soon(deeper)
        found.append(service.get_context())

    @service.function
    async def look_often() -> AsyncIterator[int]:
        try:
            for number in range(3):
                found.append(get_context())
                yield number
        finally:
            found.append(get_context())

    async with connected(service) as world:
        await world.remote.look()
        assert len(found) == 5
        assert all(each is found[0] for each in found)
        first = found[0]
        found.clear()
        assert [number async for number in world.remote.look_often()] == [0, 1, 2]
        assert len(found) == 4
        assert all(each is found[0] for each in found)
        assert found[0] is not first
        assert first.closed


async def test_each_call_has_its_own_context(connected: Connected) -> None:
    service = Service()
    everyone = anyio.Event()
    contexts: dict[int, Context[object]] = {}

    @service.function
    async def look(number: int) -> bool:
        contexts[number] = get_context()
        if len(contexts) == 10:
            everyone.set()
        await everyone.wait()
        return get_context() is contexts[number]

    async with connected(service) as world:
        calls = [world.remote.look(number) for number in range(10)]
        assert [await call for call in calls] == [True] * 10
    assert len({id(context) for context in contexts.values()}) == 10


async def test_outside_of_a_call_the_error_says_where_to_use_it(connected: Connected) -> None:
    async with connected(Service()):
        with pytest.raises(RuntimeError, match="used outside of a call"):
            get_context()


async def test_request_and_metadata(connected: Connected, transport: str) -> None:
    service = Service()

    @service.function
    async def who() -> dict[str, object]:
        context = get_context()
        request = context.request
        return {
            "colour": request.headers.get("x-colour"),
            "transport": request.transport,
            "metadata": dict(context.metadata),
            "peer": bool(request.peer),
        }

    async with connected(service, headers={"X-Colour": "red"}) as world:
        told = await with_options(world.remote.who, headers={"X-Shade": "dark"})()
        assert told == {
            "colour": "red",
            "transport": transport,
            "metadata": {"X-Shade": "dark"},
            "peer": transport != "memory",
        }
        assert (await world.remote.who())["metadata"] == {}


async def test_the_provider_makes_the_state_of_each_call(connected: Connected) -> None:
    asked: list[str | None] = []

    def sync_provider(request: Request) -> str:
        asked.append(request.headers.get("x-user"))
        return f"sync {request.headers.get('x-user')}"

    async def async_provider(request: Request) -> str:
        await anyio.lowlevel.checkpoint()
        asked.append(request.headers.get("x-user"))
        return f"async {request.headers.get('x-user')}"

    for service, expected in (
        (Service(context=sync_provider), "sync ada"),
        (Service(context=async_provider), "async ada"),
    ):

        @service.function
        async def state(service: Service[str] = service) -> str:
            await anyio.lowlevel.checkpoint()
            return service.get_context().state

        @service.function
        async def states(service: Service[str] = service) -> AsyncIterator[str]:
            yield service.get_context().state

        asked.clear()
        async with connected(service, headers={"X-User": "ada"}) as world:
            assert await world.remote.state() == expected
            assert [each async for each in world.remote.states()] == [expected]
        assert asked == ["ada", "ada"]


async def test_without_a_provider_the_state_is_none(connected: Connected) -> None:
    service = Service()

    @service.function
    async def state() -> bool:
        return get_context().state is None

    async with connected(service) as world:
        assert await world.remote.state()


async def test_a_provider_that_refuses_or_fails(connected: Connected, bugs: Bugs) -> None:
    ran: list[str] = []

    async def provider(request: Request) -> str:
        user = request.headers.get("x-user")
        if user == "nobody":
            raise Abort("log in first")
        raise ValueError("the database is gone")

    service = Service(context=provider)

    @service.function
    async def work() -> None:
        ran.append("work")

    for user, expected in (("nobody", Abort), ("ada", RemoteError)):
        async with connected(service, headers={"X-User": user}) as world:
            error = await caught(world.remote.work())
            assert isinstance(error, expected)
            assert "database" not in str(error)
            if isinstance(error, Abort):
                assert error.value == "log in first"
    assert ran == []
    assert [str(error) for error in bugs.errors] == ["the database is gone"]


async def test_wait_closed_and_closed(connected: Connected) -> None:
    service = Service()
    contexts: list[Context[object]] = []
    told = anyio.Event()

    @service.function
    async def count() -> AsyncIterator[int]:
        contexts.append(get_context())
        while True:
            yield 1

    @service.function
    async def watch() -> str:
        reason = await contexts[0].wait_closed()
        told.set()
        assert await contexts[0].wait_closed() is None
        return repr(reason)

    async with connected(service) as world:
        call = world.remote.count()
        iterator = await call
        assert await anext(iterator) == 1
        (context,) = contexts
        assert not context.closed
        assert "open" in repr(context)
        assert "count" in repr(context)
        watching = world.remote.watch()
        await quiescent(world.remote)
        assert not told.is_set()
        await iterator.aclose()
        assert await watching == "None"
        assert repr(context) == "<Context of count, closed>"


async def test_the_server_ends_the_call_with_aclose(connected: Connected) -> None:
    service = Service()
    contexts: list[Context[object]] = []
    started = anyio.Event()
    ended: list[object] = []

    @service.function
    async def count() -> AsyncIterator[int]:
        context = get_context()
        contexts.append(context)
        context.on_close(lambda reason: ended.append(reason))
        try:
            number = 0
            while True:
                yield number
                number += 1
        finally:
            ended.append("finally")

    @service.function
    async def wait() -> None:
        contexts.append(get_context())
        get_context().on_close(lambda reason: ended.append(reason))
        started.set()
        await anyio.sleep_forever()

    async with connected(service) as world:
        call = world.remote.count()
        iterator = await call
        assert await anext(iterator) == 0
        await contexts[0].aclose()
        await contexts[0].aclose()
        rest = [number async for number in iterator]
        assert rest == list(range(1, 1 + len(rest)))
        await world.settled()
        await quiescent(world.remote)
        assert ended == [None, "finally"]
        assert call.closed
        ended.clear()
        unanswered = world.remote.wait()
        await started.wait()
        await contexts[1].aclose()
        error = await caught(unanswered)
        assert type(error).__name__ == "CallCancelled"
        assert ended == [None]


async def test_a_captured_context_stays_valid(connected: Connected) -> None:
    service = Service()
    contexts: list[Context[object]] = []

    @service.function
    async def come_and_go() -> None:
        contexts.append(get_context())

    async with connected(service, headers={"X-Colour": "red"}) as world:
        await world.remote.come_and_go()
        await world.settled()
        (context,) = contexts
        assert context.closed
        assert context.request.headers.get("x-colour") == "red"
        assert context.time_left is None
        assert await context.wait_closed() is None
        late: list[object] = []
        context.on_close(lambda reason: late.append(reason))
        assert late == [None]
        await context.aclose()
