"""A program of its own: TelewireASGI in an application under an ASGI server; says its port, ends at SIGTERM.

``python asgi_server.py SERVER APPLICATION``: uvicorn, hypercorn or hypercorn-trio; alone, starlette or
fastapi.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio

from telewire import ByteStream, Service, get_context
from telewire_transports.asgi import TelewireASGI
from tests.transports.mixing import Everything

service: Service[Any] = Service()


def say(what: object) -> None:
    """Tell the test."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


@service.function
async def countdown(start: int) -> AsyncIterator[int]:
    for number in range(start, -1, -1):
        yield number


@service.function
async def shout(data: ByteStream) -> ByteStream:
    async def shouted() -> AsyncIterator[bytes]:
        async for chunk in data:
            yield chunk.upper()

    return ByteStream(shouted())


@service.function
async def call_back(tick: Callable[[int], Any]) -> int:
    for number in range(5):
        await tick(number)
    return 5


@service.function
async def forever() -> AsyncIterator[str]:
    context = get_context()
    context.on_close(lambda reason: say(f"closed {type(reason).__name__}"))
    yield f"{context.request.transport} {type(context.request.native).__name__} {context.request.peer}"
    await anyio.sleep_forever()


@service.function
async def tools(numbers: AsyncIterator[int]) -> dict[str, Any]:
    """More than an exchange has: it is promoted."""
    get_context().on_close(lambda reason: say(f"closed {type(reason).__name__}"))

    async def total() -> int:
        return sum([number async for number in numbers])

    return {"total": total, "down": countdown(500), "again": countdown(700)}


@service.function
async def many(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield bytes(1000)


@service.function
async def mix(data: ByteStream, numbers: AsyncIterator[int], tick: Callable[[int], Any]) -> dict[str, Any]:
    """Every kind of value, in both directions."""
    return await Everything().mix(data, numbers, tick)


def application(kind: str) -> Any:
    """The ASGI application."""
    telewire = TelewireASGI(service, hosts=("127.0.0.1",), drain_seconds=0.2)
    if kind == "alone":
        return telewire
    if kind == "fastapi":
        from fastapi import FastAPI

        app = FastAPI(lifespan=telewire.lifespan)
        app.mount("/telewire", telewire)

        @app.get("/hello")
        async def hello() -> str:
            return "hello"

        return app
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route

    routes = [Mount("/telewire", telewire), Route("/hello", lambda _: PlainTextResponse('"hello"'))]
    return Starlette(routes=routes)


def main(server: str, kind: str) -> None:
    app = application(kind)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        if server == "uvicorn":
            import uvicorn

            config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=3)
            say(port)
            uvicorn.Server(config).run(sockets=[listener])
            return
        from hypercorn.config import Config

        settings = Config()
        settings.bind = [f"fd://{listener.fileno()}"]
        settings.graceful_timeout = 3
        say(port)
        if server == "hypercorn":
            asyncio.run(run_hypercorn(app, settings))
        else:
            import trio

            trio.run(run_hypercorn_on_trio, app, settings)


async def run_hypercorn(app: Any, settings: Any) -> None:
    from hypercorn.asyncio import serve

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    async def stopped() -> None:
        await stop.wait()

    await serve(app, settings, shutdown_trigger=stopped)


async def run_hypercorn_on_trio(app: Any, settings: Any) -> None:
    import trio
    from hypercorn.trio import serve

    async def stopped() -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                return

    await serve(app, settings, shutdown_trigger=stopped)


if __name__ == "__main__":
    main(*sys.argv[1:])
