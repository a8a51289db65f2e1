"""Values with a life as they are typed: promises, functions, stubs, middleware, background work."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, assert_type

import telewire
from telewire import (
    Call,
    Context,
    Remote,
    RemoteFunction,
    RemoteIterator,
    RemotePromise,
    Service,
    callback,
    get_context,
    stub,
)
from telewire_transports import connect, memory

service = Service()
ours = Service()


@dataclass
class Dashboard:
    title: str
    summary: Awaitable[str]
    rows: AsyncIterator[int]


@service.function
async def on_tick(callback: Callable[[int], Awaitable[None]]) -> None:
    assert_type(callback(1), Awaitable[None])
    get_context().start_soon(background, callback)


@service.function(thread=False)
def quick(number: int) -> int:
    return number


@service.function(name="rows.search", thread=True)
def search(text: str) -> Iterator[str]:
    context = get_context()
    context.start_soon(background, None)
    yield text


@service.function
async def load() -> Dashboard:
    raise telewire.Abort("nothing to show")


async def background(what: object) -> None:
    assert_type(get_context().remote, Remote)


@service.middleware
async def timed(context: Context[Any], proceed: Callable[[], Awaitable[Any]]) -> Any:
    return await proceed()


service.include(ours, prefix="ours")
service.include(ours)
service.add(quick, "again", thread=False)

# A decorated function stays what it was.
assert_type(quick(1), int)


def principal(request: telewire.Request) -> str:
    return request.headers["user"]


assert_type(Service(principal=principal, introspection=True), Service[Any])


class Api(Protocol):
    async def load(self) -> Dashboard: ...
    def on_countdown(self, start: int) -> AsyncGenerator[int, None]: ...
    def numbers(self) -> AsyncIterator[int]: ...


async def print_later(number: int) -> None:
    print(number)


async def use(remote: Remote) -> None:
    assert_type(remote[on_tick](print_later), Call[None])
    remote[on_tick](callback(print))
    remote[on_tick](callback(print_later))
    assert_type(await remote[quick](1), int)
    assert_type(remote[search]("x"), Call[RemoteIterator[str]])
    async for row in remote[search]("x"):
        assert_type(row, str)
    assert_type(await remote[load](), Dashboard)

    api = stub(remote, Api)
    assert_type(api, Api)
    assert_type(await api.load(), Dashboard)
    async for number in api.on_countdown(3):
        assert_type(number, int)
    await api.on_countdown(3).aclose()

    await telewire.aclose(api)
    await telewire.aclose([print_later, {"a": 1}])


async def handles(
    function: RemoteFunction[[int], str], promise: RemotePromise[int], items: RemoteIterator[int]
) -> None:
    assert_type(function(1), Call[str])
    assert_type(await function(1), str)
    assert_type(await promise, int)
    assert_type(function.closed, bool)
    async with promise as same:
        assert_type(same, RemotePromise[int])
    async with function as again:
        assert_type(again, RemoteFunction[[int], str])
    assert_type(await anext(items), int)
    function.on_close(print)
    await function.aclose()
    await promise.aclose()


async def connecting() -> None:
    async with connect("http://127.0.0.1:8000/telewire", service=ours) as remote:
        assert_type(remote, Remote)
    async with memory.connect(service, client_service=ours) as remote:
        assert_type(remote, Remote)


async def mistakes(remote: Remote, function: RemoteFunction[[int], str]) -> None:
    function("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    remote[on_tick](print)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stub(remote, Api).missing()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    get_context().start_soon(quick, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    service.middleware(quick)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    callback(3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
