"""I9 for every pair of kinds: a part of a value fails, is slow or stays unread, and the rest arrives."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from telewire import Abort, ByteStream, Call, Channel, RemoteError, Return, Service
from tests.runtime.world import Bugs, Connected, World, caught, until

KINDS = ("promise", "generator", "bytes", "function", "channel")
TROUBLES = ("refuses", "breaks", "is slow", "is unread")

TEXTS = [f"{number:04}".ljust(4096, ".") for number in range(50)]
"""Three times the initial credit of a stream: nothing arrives whole unless credit returns."""
FITTING = 15
"""So many of them fit into the initial credit for certain."""


@pytest.fixture
def transport() -> str:
    """One transport is enough: which one it is makes no difference between two streams."""
    return "memory"


# --- the rest of the value -----------------------------------------------------------------------


async def settles() -> str:
    await anyio.lowlevel.checkpoint()
    return "".join(TEXTS)


async def counts() -> AsyncIterator[str]:
    for text in TEXTS:
        yield text
    raise Return("whole")


async def flows() -> AsyncIterator[bytes]:
    for text in TEXTS:
        yield text.encode()


async def answers(text: str) -> str:
    await anyio.lowlevel.checkpoint()
    return text


def echoes() -> Channel[str, str]:
    channel = Channel[str, str]()

    async def echo(message: str) -> str:
        await channel.send(message)
        return message

    channel.listen(echo)
    return channel.peer


def make_healthy(kind: str) -> object:
    return {
        "promise": settles,
        "generator": counts,
        "bytes": lambda: ByteStream(flows(), name="whole"),
        "function": lambda: answers,
        "channel": echoes,
    }[kind]()


# Any: handles of every kind.
async def arrives_whole(kind: str, handle: Any) -> None:
    match kind:
        case "promise":
            assert await handle == "".join(TEXTS)
        case "generator":
            assert [text async for text in handle] == TEXTS
            assert handle.value == "whole"
        case "bytes":
            assert await handle.read() == "".join(TEXTS).encode()
        case "function":
            for text in TEXTS:
                assert await handle(text) == text
        case _:
            async with anyio.create_task_group() as group:
                group.start_soon(send_all, handle)
                assert [await handle.receive() for _ in TEXTS] == TEXTS
            assert await handle.request("asked") == await handle.receive() == "asked"


async def send_all(channel: Channel[str, str]) -> None:
    for text in TEXTS:
        await channel.send(text)


# --- the part in trouble -------------------------------------------------------------------------


class Troubled:
    """One part that misbehaves: how its owner makes it, and how its receiver provokes and sees it."""

    def __init__(self, kind: str, trouble: str) -> None:
        self.kind = kind
        self.trouble = trouble
        # How often it came to the trouble, or how much it gave that nobody takes.
        self.given = 0
        # Any: calls of every kind.
        self.calls: list[Call[Any]] = []

    def make(self) -> object:
        return {
            "promise": self.large,
            "generator": self.texts,
            "bytes": lambda: ByteStream(self.chunks()),
            "function": lambda: self.large,
            "channel": self.end,
        }[self.kind]()

    async def happen(self) -> None:
        self.given += 1
        match self.trouble:
            case "refuses":
                raise Abort("trouble")
            case "breaks":
                raise ValueError("trouble")
            case "is slow":
                await anyio.sleep_forever()

    async def large(self) -> str:
        await self.happen()
        return "".join(TEXTS)

    async def texts(self) -> AsyncGenerator[str, None]:
        yield "first"
        while True:
            await self.happen()
            yield TEXTS[0]

    async def chunks(self) -> AsyncIterator[bytes]:
        async with aclosing(self.texts()) as texts:
            async for text in texts:
                yield text.encode()

    def end(self) -> Channel[str, str]:
        channel = Channel[str, str]()

        async def handle(message: str) -> None:
            try:
                async with aclosing(self.texts()) as texts:
                    async for text in texts:
                        await channel.send(text)
            except Abort as refusal:
                channel.abort(refusal.value)

        channel.listen(handle)
        return channel.peer

    # Any: handles of every kind, here and below.
    async def provoke(self, handle: Any) -> None:
        """What the receiver has to do for it."""
        if self.kind == "function":
            self.calls = [handle() for _ in range(3)]
        elif self.kind == "channel":
            # The handler of the first is not through with it before the end: the rest stays where it is.
            for text in TEXTS[:FITTING]:
                handle.send_nowait(text)

    async def see(self, handle: Any) -> None:
        """It is in trouble, and has a life of its own all the same."""
        enough = 3 if self.kind == "function" else 1
        if self.trouble == "is unread" and self.kind in ("generator", "bytes", "channel"):
            enough = FITTING
        await until(lambda: self.given >= enough, lambda: self.given)
        assert self.given <= 2 * FITTING
        if self.kind == "function":
            for call in self.calls:
                await self.see_value(call)
        elif self.kind == "promise":
            await self.see_value(handle)
        else:
            await self.see_stream(handle)

    async def see_value(self, awaitable: Any) -> None:
        match self.trouble:
            case "refuses" | "breaks":
                assert isinstance(await caught(awaitable), self.failure)
            case "is slow":
                assert not awaitable.closed
            case _:
                assert await awaitable == "".join(TEXTS)

    async def see_stream(self, handle: Any) -> None:
        take: Any = {"generator": anext, "bytes": ByteStream.receive, "channel": Channel.receive}[self.kind]
        if self.kind == "channel" and self.trouble == "refuses":
            assert isinstance(await caught(take(handle)), Abort)
            return
        assert (await take(handle))[:5] in ("first", b"first")
        match self.trouble:
            case "is slow":
                assert not handle.closed
            case "refuses" | "breaks" if self.kind != "channel":
                assert isinstance(await caught(take(handle)), self.failure)

    @property
    def failure(self) -> type[Exception]:
        return Abort if self.trouble == "refuses" else RemoteError

    async def leave(self) -> None:
        """Give up what was started for it."""
        for call in self.calls:
            await call.aclose()


# --- every pair ----------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("healthy", KINDS)
@pytest.mark.parametrize("kind", KINDS)
async def test_i9_for_every_pair(
    connected: Connected, log: Bugs, kind: str, healthy: str, trouble: str
) -> None:
    log.expected = trouble == "breaks"
    async with connected(Service()) as world:
        for hand in (in_a_result, in_an_argument):
            troubled = Troubled(kind, trouble)
            async with hand(world, functools.partial(made, troubled, healthy)) as value:
                await troubled.provoke(value["troubled"])
                # One of them stands before the trouble and one behind, which flows when it is there for sure.
                await arrives_whole(healthy, value["first"])
                await arrives_whole(healthy, value["second"])
                await troubled.see(value["troubled"])
                await troubled.leave()
            await world.settled()


def made(troubled: Troubled, healthy: str) -> dict[str, Any]:
    return {
        "first": make_healthy(healthy),
        "troubled": troubled.make(),
        "second": make_healthy(healthy),
    }


Make = Callable[[], dict[str, Any]]


@asynccontextmanager
async def in_a_result(world: World, make: Make) -> AsyncIterator[dict[str, Any]]:
    """The client receives a value; its call is over at the end."""

    async def give() -> dict[str, Any]:
        return make()

    world.server.service.add(give)
    async with world.remote.give() as value:
        yield value


@asynccontextmanager
async def in_an_argument(world: World, make: Make) -> AsyncIterator[dict[str, Any]]:
    """The server receives it, likewise."""
    taken: list[dict[str, Any]] = []
    done = anyio.Event()

    async def take(value: dict[str, Any]) -> None:
        taken.append(value)
        await done.wait()

    world.server.service.add(take)
    async with anyio.create_task_group() as group:
        call = world.remote.take(make())
        group.start_soon(call.result)
        await until(lambda: bool(taken))
        yield taken.pop()
        done.set()
    await call.aclose()
