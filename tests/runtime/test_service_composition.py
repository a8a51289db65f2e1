"""Services made of others: include, add of modules, and what stays with whom."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import pytest

from telewire import Abort, FunctionNotFound, RemoteError, Service, get_context
from tests.runtime.world import Bugs, Connected, caught


def module_of(source: str, name: str = "made") -> ModuleType:
    """A module with that source."""
    module = ModuleType(name)
    exec(source, module.__dict__)  # a module is made of source
    return module


async def test_include_is_a_live_view(connected: Connected) -> None:
    service, chat = Service(), Service()
    service.include(chat, prefix="chat")

    @chat.function
    async def prompt(text: str) -> str:
        return f"chat: {text}"

    @chat.function(name="rooms.list")
    async def rooms() -> list[str]:
        return ["a"]

    @service.function(name="chat.own")
    async def own() -> str:
        return "own"

    async with connected(service) as world:
        assert await world.remote.chat.prompt("hi") == "chat: hi"
        assert await world.remote["chat.rooms.list"]() == ["a"]
        assert await world.remote.chat.own() == "own"
        assert await world.remote[prompt]("typed") == "chat: typed"
        for missing in ("prompt", "chat.nothing", "chatprompt", "chat."):
            assert isinstance(await caught(world.remote[missing]()), FunctionNotFound)


async def test_provider_hook_and_middleware_stay_with_their_service(connected: Connected, bugs: Bugs) -> None:
    told: list[tuple[str, str]] = []
    outer = Service(
        context=lambda request: "outer", on_error=lambda error, context: told.append(("outer", str(error)))
    )
    inner = Service(
        context=lambda request: "inner", on_error=lambda error, context: told.append(("inner", str(error)))
    )
    deepest = Service()
    inner.include(deepest, "deep")
    outer.include(inner)

    @inner.middleware
    async def around(context: Any, proceed: Any) -> Any:
        told.append(("middleware", context.state))
        return await proceed()

    @outer.function
    async def outside() -> object:
        return get_context().state

    @inner.function
    async def inside(fail: bool = False) -> object:
        if fail:
            raise ValueError("inside")
        return get_context().state

    @deepest.function
    async def bottom() -> object:
        return get_context().state

    async with connected(outer) as world:
        assert await world.remote.outside() == "outer"
        assert await world.remote.inside() == "inner"
        assert await world.remote.deep.bottom() is None
        assert await world.remote[bottom]() is None
        assert isinstance(await caught(world.remote.inside(fail=True)), RemoteError)
    assert told == [("middleware", "inner"), ("middleware", "inner"), ("inner", "inside")]


def test_a_service_cannot_include_itself() -> None:
    one, two, three = Service(), Service(), Service()
    one.include(two, "two")
    two.include(three)
    for inner, outer in ((one, one), (one, two), (one, three)):
        with pytest.raises(ValueError, match="cannot include itself"):
            outer.include(inner, "again")


async def test_a_module_is_added_with_its_public_functions(connected: Connected) -> None:
    module = module_of(
        "from math import floor\n"
        "from os.path import join\n"
        "async def hello(name: str) -> str: return f'hello {name}'\n"
        "async def count():\n    yield 1\n    yield 2\n"
        "def plain(): return 'plain'\n"
        "async def _hidden(): return 'hidden'\n"
        "class Thing: pass\n"
        "limit = 3\n"
    )
    service = Service()
    service.add(module)
    async with connected(service) as world:
        assert await world.remote.hello("you") == "hello you"
        assert [number async for number in world.remote.count()] == [1, 2]
        assert await world.remote.plain() == "plain"
        for missing in ("_hidden", "join", "floor", "Thing", "limit"):
            assert isinstance(await caught(world.remote[missing]()), FunctionNotFound)


def test_what_cannot_be_added() -> None:
    service = Service()
    with pytest.raises(ValueError, match="have their own names"):
        service.add(module_of("", "empty"), "prefix")
    with pytest.raises(TypeError, match="is not a function"):
        service.add(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs a name"):
        service.add(lambda: None)
    service.add(math.floor)
    with pytest.raises(ValueError, match="already offers 'floor'"):
        service.add(math.floor)


async def test_a_sync_provider_can_refuse(connected: Connected) -> None:
    def who(request: Any) -> str:
        user = request.headers.get("user")
        if user is None:
            raise Abort({"status": 401})
        return str(user)

    service = Service(context=who, principal=lambda request: request.peer, introspection=True)

    @service.function
    async def me() -> str:
        return service.get_context().state

    assert service.introspection
    assert service.principal is not None
    async with connected(service, headers={"User": "ann"}) as world:
        assert await world.remote.me() == "ann"
