"""context.remote: the server calls functions that the client serves, the same way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from telewire import (
    Abort,
    Context,
    FunctionNotFound,
    InvalidArgument,
    NetworkError,
    RemoteError,
    Service,
    get_context,
)
from telewire_transports import memory
from tests.runtime.world import Bugs, Connected, until


def asking(name: str) -> Service[Any]:
    """A service whose only function calls ``name`` of its caller."""
    service = Service()

    @service.function
    async def ask(*args: Any) -> Any:
        return await get_context().remote[name](*args)

    return service


async def test_the_server_calls_the_client(connected: Connected) -> None:
    ours = Service(context=lambda request: request.path)
    closed: list[object] = []

    @ours.function
    async def double(number: int) -> int:
        get_context().on_close(closed.append)
        return number * 2

    @ours.function
    async def count(to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number

    @ours.function
    def path() -> object:
        return get_context().state

    service = asking("double")

    @service.function
    async def total(to: int) -> int:
        return sum([number async for number in get_context().remote.count(to)])

    @service.function
    async def path_of_client() -> Any:
        return await get_context().remote.path()

    async with connected(service, client_service=ours) as world:
        assert await world.remote.ask(21) == 42
        await until(lambda: closed == [None])
        assert await world.remote.total(100) == sum(range(100))
        assert await world.remote.path_of_client() in ("/", "/telewire")


async def test_its_errors_are_told_as_everywhere(connected: Connected, bugs: Bugs) -> None:
    told: list[Exception] = []
    ours = Service(on_error=lambda error, context: told.append(error))

    @ours.function
    async def refuse() -> None:
        raise Abort("not here")

    @ours.function
    async def fail() -> None:
        raise ValueError("a secret of the client")

    service = Service()
    seen: list[BaseException] = []

    @service.function
    async def ask_all() -> None:
        remote = get_context().remote
        for call in (remote.refuse(), remote.fail(), remote.fail(1), remote.missing()):
            try:
                await call
            except Exception as error:
                seen.append(error)

    async with connected(service, client_service=ours) as world:
        await world.remote.ask_all()
        assert [type(error) for error in seen] == [Abort, RemoteError, InvalidArgument, FunctionNotFound]
        assert b"a secret of the client" not in world.sent
    assert [str(error) for error in told] == ["a secret of the client"]


async def test_a_client_that_serves_nothing(connected: Connected) -> None:
    service = Service()

    @service.function
    async def ask() -> str:
        try:
            await get_context().remote.anything(lambda: None)
        except FunctionNotFound:
            return "nothing is served"
        return "what?"

    async with connected(service) as world:
        assert await world.remote.ask() == "nothing is served"


async def test_after_the_connection_it_raises(connected: Connected) -> None:
    service = Service()
    captured: list[Context[Any]] = []

    @service.function
    async def leave() -> None:
        captured.append(get_context())

    async with connected(service) as world:
        await world.remote.leave()
    with pytest.raises(NetworkError):
        captured[0].remote.anything()


@pytest.mark.usefixtures("guarded")
async def test_memory_connect_takes_a_service_of_the_client() -> None:
    ours = Service()

    @ours.function
    async def double(number: int) -> int:
        return number * 2

    async with memory.connect(asking("double"), client_service=ours) as remote:
        assert await remote.ask(4) == 8
