"""The mistakes that newcomers make most, each as a program that makes it; CONTRIBUTING has the table."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import anyio

import telewire
from telewire import Abort, ByteStream, Channel, Remote, Service, get_context
from telewire_transports import connect, memory, serve

__all__ = ["MISTAKES", "make_service"]


def make_service() -> Service[None]:
    """What the mistakes are made with."""
    service = Service()

    @service.function
    async def add(a: int, b: int) -> int:
        return a + b

    @service.function
    async def count(start: int) -> AsyncIterator[int]:
        for number in range(start, 0, -1):
            yield number

    @service.function
    async def greet(name: str) -> str:
        return f"Hello {name}"

    @service.function
    async def twice() -> list[object]:
        numbers = count(3)
        return [numbers, numbers]

    @service.function
    async def short() -> ByteStream:
        return ByteStream(b"abc", size=4)

    @service.function
    async def room() -> Channel[str, str]:
        channel = Channel[str, str]()
        channel.listen(lambda message: message)
        return channel.peer

    @service.function
    async def take(value: object) -> None:
        """Take anything."""

    @service.function
    async def refuse() -> None:
        raise Abort("closed on Sundays")

    return service


# Any: each mistake is what it is.
Mistake = Callable[[Remote, str], Awaitable[Any]]

MISTAKES: Final[dict[str, Mistake]] = {}
"""By what the table calls them, in its order."""


def mistake(name: str) -> Callable[[Mistake], Mistake]:
    """Enter a mistake."""

    def enter(made: Mistake) -> Mistake:
        MISTAKES[name] = made
        return made

    return enter


@mistake('`await` forgotten: `remote.greet("Ada").upper()`')
async def forgotten_await(remote: Remote, url: str) -> Any:
    return remote.greet("Ada").upper()  # type: ignore[attr-defined]  # the mistake


@mistake("`for` instead of `async for`: `for number in remote.count(3)`")
async def forgotten_async_for(remote: Remote, url: str) -> Any:
    return [number for number in remote.count(3)]  # type: ignore[attr-defined]  # the mistake


@mistake("`async for` over a call that gives no items")
async def loop_over_a_value(remote: Remote, url: str) -> Any:
    return [number async for number in remote.add(1, 2)]


@mistake("a remote function called from another thread")
async def from_another_thread(remote: Remote, url: str) -> Any:
    errors: list[Exception] = []

    def work() -> None:
        try:
            remote.add(1, 2)
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    await anyio.to_thread.run_sync(thread.join)
    raise errors[0]


@mistake('`connect("127.0.0.1:8000/telewire")`')
async def no_scheme(remote: Remote, url: str) -> Any:
    return connect("127.0.0.1:8000/telewire")


@mistake('`connect("tcp://127.0.0.1:8000")`')
async def wrong_scheme(remote: Remote, url: str) -> Any:
    return connect("tcp://127.0.0.1:8000")


@mistake('the wrong path: `connect("http://127.0.0.1:8000/api")`')
async def wrong_path(remote: Remote, url: str) -> Any:
    async with connect(url.replace("/telewire", "/api")) as other:
        return await other.add(1, 2)


@mistake("no server is running there")
async def no_server(remote: Remote, url: str) -> Any:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with connect(f"http://127.0.0.1:{port}/telewire") as other:
        return await other.add(1, 2)


@mistake('an object that cannot travel: `remote.take({"file": [object()]})`')
async def an_object_that_cannot_travel(remote: Remote, url: str) -> Any:
    return await remote.take({"file": [object()]})


@mistake("an argument is missing: `remote.add(1)`")
async def missing_argument(remote: Remote, url: str) -> Any:
    return await remote.add(1)


@mistake("one argument too many: `remote.add(1, 2, 3)`")
async def one_argument_too_many(remote: Remote, url: str) -> Any:
    return await remote.add(1, 2, 3)


@mistake('an argument of the wrong type: `remote.add("1", 2)`')
async def wrong_type(remote: Remote, url: str) -> Any:
    return await remote.add("1", 2)


@mistake("a function that is not served: `remote.ad(1, 2)`")
async def not_served(remote: Remote, url: str) -> Any:
    return await remote.ad(1, 2)


@mistake("`async with` forgotten: `connect(url).add(1, 2)`")
async def forgotten_async_with(remote: Remote, url: str) -> Any:
    client: Any = connect(url)
    return await client.add(1, 2)


@mistake("`with` instead of `async with`: `with connect(url) as remote`")
async def with_instead_of_async_with(remote: Remote, url: str) -> Any:
    client: Any = connect(url)
    with client as other:
        return await other.add(1, 2)


@mistake("the remote used after its `async with`")
async def after_leaving(remote: Remote, url: str) -> Any:
    async with connect(url) as other:
        pass
    return await other.add(1, 2)


@mistake("the same generator twice in a value")
async def an_iterator_twice(remote: Remote, url: str) -> Any:
    async def numbers() -> AsyncIterator[int]:
        yield 1

    one = numbers()
    return await remote.take([one, {"again": one}])


@mistake("`get_context()` outside of a call")
async def context_outside_of_a_call(remote: Remote, url: str) -> Any:
    return get_context()


@mistake('`ByteStream(b"abc", size=4)`, seen by who reads it')
async def wrong_size(remote: Remote, url: str) -> Any:
    return await (await remote.short()).read()


@mistake("a channel is awaited")
async def await_a_channel(remote: Remote, url: str) -> Any:
    channel: Any = await remote.room()
    return await channel


@mistake("`channel.listen(…)` and `async for` over the same end")
async def listen_and_iterate(remote: Remote, url: str) -> Any:
    async with await remote.room() as channel:
        channel.listen(print)
        async for message in channel:
            return message


@mistake("a message after `channel.aclose()`")
async def send_after_close(remote: Remote, url: str) -> Any:
    channel = await remote.room()
    await channel.aclose()
    await channel.send("late")


@mistake("`serve` on a port that is taken")
async def port_in_use(remote: Remote, url: str) -> Any:
    await serve(make_service(), port=int(url.rsplit(":", 1)[1].partition("/")[0]))


@mistake("two functions of one name in a service")
async def same_name_twice(remote: Remote, url: str) -> Any:
    service = make_service()
    service.add(make_service, "add")


@mistake("`service.add(…)` of what is no function")
async def serve_a_result(remote: Remote, url: str) -> Any:
    service: Any = Service()
    service.add(make_service())


@mistake("`service.add(lambda: 1)`")
async def a_lambda_without_a_name(remote: Remote, url: str) -> Any:
    Service().add(lambda: 1)


@mistake("an `Abort` of the other side that nobody catches")
async def an_abort_that_is_not_caught(remote: Remote, url: str) -> Any:
    await remote.refuse()


@mistake("`with_options` of a function that is not remote")
async def options_of_what_is_not_remote(remote: Remote, url: str) -> Any:
    return telewire.with_options(make_service, timeout=1)


@mistake('`serve(origins="https://app.example")`')
async def one_string_for_origins(remote: Remote, url: str) -> Any:
    await serve(make_service(), port=0, origins="https://app.example")


@mistake("a client entered twice")
async def entered_twice(remote: Remote, url: str) -> Any:
    client = connect(url)
    async with client:
        pass
    async with client:
        pass


@mistake("a plain function, in its thread, uses a channel as code on the loop does")
async def plain_function_in_its_thread(remote: Remote, url: str) -> Any:
    service = Service()
    caught: list[Exception] = []

    @service.function
    def plain(channel: Channel[str, str]) -> None:
        try:
            channel.send_nowait("hello")
        except Exception as error:
            caught.append(error)

    async with memory.connect(service) as other:
        await other.plain(Channel[str, str]().peer)
    raise caught[0]
