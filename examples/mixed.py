"""mixed: a generator, promise, byte stream, function and channel in one argument list and in one value."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypedDict

import anyio

from telewire import ByteStream, Channel, Remote, Service, get_context
from telewire_transports import connect, serve

service = Service()
sent: list[str] = []  # what the server recorded, to be compared with what arrived
ended: list[str] = []  # which clean-ups have run on the server


class Mixture(TypedDict):
    """One of each, and each with a life of its own."""

    squares: AsyncIterator[int]
    answer: Awaitable[str]
    loud: ByteStream
    greet: Callable[[str], Awaitable[str]]
    channel: Channel[str, str]


@service.function
async def on_mixed(
    numbers: AsyncIterator[int],
    question: Awaitable[str],
    quiet: ByteStream,
    name: Callable[[], Awaitable[str]],
    channel: Channel[str, str],
) -> Mixture:
    """Make of each argument a part of the result, of the same kind."""
    # They run side by side, so each has a list of its own.
    parts: list[list[str]] = [[], [], [], [], []]

    async def squares() -> AsyncIterator[int]:
        async for number in numbers:
            parts[0].append(str(number**2))
            yield number**2

    async def answer() -> str:
        parts[1].append(f"{await question} Yes.")
        return parts[1][-1]

    async def loud() -> AsyncIterator[bytes]:
        async for chunk in quiet:
            parts[2].append(chunk.decode().upper())
            yield chunk.upper()

    async def greet(greeting: str) -> str:
        parts[3].append(f"{greeting}, {await name()}")
        return parts[3][-1]

    async def relay(message: str) -> str:
        parts[4].append(await channel.request(f"{message}, relayed", str))
        return parts[4][-1]

    def over() -> None:
        for part in parts:
            sent.extend(part)
        ended.append("everything is over")

    mine = Channel[str, str]()
    mine.listen(relay)
    get_context().on_close(over)
    return {
        "squares": squares(),
        "answer": answer(),
        "loud": ByteStream(loud()),
        "greet": greet,
        "channel": mine.peer,
    }


async def client(remote: Remote, show: Callable[[str], object], interval: float = 0.3) -> list[str]:
    """Pass one of each, get one of each, take one after the other; returns what arrived."""
    arrived: list[str] = []

    def take(text: str) -> None:
        arrived.append(text)
        show(text)

    async def numbers() -> AsyncIterator[int]:
        for number in (2, 3, 5):
            yield number
            await anyio.sleep(interval)

    async def question() -> str:
        await anyio.sleep(interval)
        return "Do promises cross, too?"

    async def name() -> str:
        return "world"

    mine = Channel[str, str]()
    mine.listen(lambda message: f"{message}, and answered")

    call = remote[on_mixed](numbers(), question(), ByteStream(b"bytes cross"), name, mine.peer)
    async with call as mixture:
        async for square in mixture["squares"]:
            take(str(square))
        take(await mixture["answer"])
        take((await mixture["loud"].read()).decode())
        take(await mixture["greet"]("Hello"))
        take(await mixture["channel"].request("a message", str))
    return arrived


async def main() -> None:
    """Serve on a free port and call from the same program, over a real socket."""

    async def visit(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/telewire") as remote:
            await client(remote, print)
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        await serve(service, port=0, on_started=lambda port: group.start_soon(visit, port))


if __name__ == "__main__":
    anyio.run(main)
