"""Everything: a service whose one call mixes every primitive both ways, and notes what reached it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel

from telewire import Abort, ByteStream, CallCancelled, Channel, Limits, Service, get_context
from telewire_transports import serve

__all__ = ["Everything", "exchange_everything", "serving"]

COUNT = 60
CHUNK = 1_500


class Everything:
    """The server's side. What it has got stands in ``got``; a call begins with nothing in it."""

    def __init__(self) -> None:
        self.service: Service[Any] = Service()
        for function in (self.mix, self.fails, self.endless):
            self.service.add(function, function.__name__)
        self.got: dict[str, list[Any]] = {}
        self.closed: list[object] = []

    def note(self, what: str, value: object) -> None:
        """Note what has come."""
        self.got.setdefault(what, []).append(value)

    async def mix(
        self,
        data: ByteStream,
        numbers: AsyncIterator[int],
        tick: Callable[[int], Any],
        later: Awaitable[int],
        refused: Awaitable[int],
        passed: Channel[int, int],
        text: str,
    ) -> dict[str, Any]:
        """Take one of everything, and give one of everything."""
        self.got = {"text": [text]}
        channel = Channel[int, int]()

        async def answer(message: int) -> int:
            self.note("messages", message)
            await channel.send(-message)
            return message + 1

        channel.listen(answer)

        async def squares() -> AsyncIterator[int]:
            async for number in numbers:
                self.note("numbers", number)
                self.note("ticked", await tick(number))
                yield number * number

        async def total() -> int:
            whole = await data.read()
            self.note("bytes", whole)
            return len(whole)

        async def failing() -> int:
            raise Abort("not today")

        async def settled() -> list[Any]:
            """What became of what the client has promised."""
            number = await later
            self.note("promised", number)
            try:
                said: object = await refused
            except Abort as error:
                said = error.value
            self.note("refused", said)
            return [number, said]

        async def talked() -> int:
            """Use the channel that the client passed; the sum of its messages."""
            total = 0
            for number in range(20):
                self.note("replies", await passed.request(number))
                message = await passed.receive()
                self.note("passed", message)
                total += message
            await passed.aclose()
            return total

        return {
            "total": total(),
            "failing": failing(),
            "settled": settled(),
            "talked": talked(),
            "squares": squares(),
            "channel": channel.peer,
            "download": ByteStream(iter([bytes([number]) * CHUNK for number in range(COUNT)])),
            "double": lambda number: 2 * number,
            "text": text[::-1],
        }

    async def fails(self, number: int) -> int:
        """Refuse."""
        raise Abort([number])

    async def endless(self) -> AsyncIterator[int]:
        """Count until nobody listens any more."""
        get_context().on_close(lambda reason: self.closed.append(reason))
        number = 0
        while True:
            yield number
            number += 1


async def exchange_everything(remote: Any, server: Everything) -> None:
    """Call, from the client's side, and compare what either side has got with what the other sent."""
    sent: list[int] = list(range(COUNT))
    ticks: list[int] = []

    async def numbers() -> AsyncIterator[int]:
        for number in sent:
            yield number

    def tick(number: int) -> int:
        ticks.append(number)
        return number + 100

    own = Channel[int, int]()
    asked: list[int] = []
    downloaded: list[bytes] = []
    ready = anyio.Event()

    async def reply(message: int) -> int:
        asked.append(message)
        await own.send(message + 1000)
        return message + 500

    async def later() -> int:
        await ready.wait()
        return len(downloaded[0])

    async def refused_later() -> int:
        await ready.wait()
        raise Abort("not here")

    own.listen(reply)
    pieces = [bytes([number]) * CHUNK for number in range(COUNT)]
    text = "some text " * 200
    value = await remote.mix(
        ByteStream(iter(pieces)), numbers(), tick, later(), refused_later(), own.peer, text
    )
    squares: list[int] = []
    replies: list[int] = []
    back: list[int] = []
    endless: list[int] = []

    async def read_squares() -> None:
        squares.extend([number async for number in value["squares"]])

    async def talk() -> None:
        channel = value["channel"]
        for number in range(20):
            replies.append(await channel.request(number))
            back.append(await channel.receive())
        await channel.aclose()

    async def download() -> None:
        downloaded.append(await value["download"].read())
        ready.set()

    async def stop_endless() -> None:
        before = len(server.closed)
        async for number in remote.endless():
            endless.append(number)
            if number == 30:
                break
        while len(server.closed) == before:
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        for part in (read_squares, talk, download, stop_endless):
            group.start_soon(part)
    assert [await value["double"](number) for number in range(5)] == [0, 2, 4, 6, 8]
    assert await value["total"] == COUNT * CHUNK
    assert await value["settled"] == [COUNT * CHUNK, "not here"]
    assert await value["talked"] == sum(range(1000, 1020))
    for refused, said in ((value["failing"], "not today"), (remote.fails(7), [7])):
        answer: object = None
        try:
            answer = await refused
        except Abort as error:
            answer = ["refused", error.value]
        assert answer == ["refused", said]
    cancelled = remote.endless()
    cancelled.cancel()
    try:
        await cancelled
    except CallCancelled:
        pass
    assert value["text"] == text[::-1]
    assert squares == [number * number for number in sent]
    assert replies == [number + 1 for number in range(20)]
    assert back == [-number for number in range(20)]
    assert downloaded == [b"".join(pieces)]
    assert endless == list(range(31))
    assert ticks == sent
    assert asked == list(range(20))
    assert server.got == {
        "text": [text],
        "numbers": sent,
        "ticked": [number + 100 for number in sent],
        "bytes": [b"".join(pieces)],
        "messages": list(range(20)),
        "promised": [COUNT * CHUNK],
        "refused": ["not here"],
        "replies": [number + 500 for number in range(20)],
        "passed": [number + 1000 for number in range(20)],
    }


@asynccontextmanager
async def serving(service: Service[Any], limits: Limits | None = None) -> AsyncIterator[int]:
    """Serve until the block ends; gives the port."""
    ports: list[int] = []
    started = anyio.Event()

    def on_started(port: int) -> None:
        ports.append(port)
        started.set()

    async def run() -> None:
        await serve(
            service, host="127.0.0.1", port=0, hosts=("127.0.0.1",), limits=limits, on_started=on_started
        )

    failure: BaseException | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await started.wait()
        try:
            yield ports[0]
        except Exception as error:
            # Raised below, since the group would wrap it.
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
