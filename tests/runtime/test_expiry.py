"""Expiry as applications see it: with the session ends all that was open on either side, each thing once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
from anyio.abc import TaskGroup

from telewire import ByteStream, Channel, Limits, RemoteFunction, RemoteIterator, Service, SessionLost
from telewire import get_context as context_of_call
from telewire.runtime.promise import RemotePromise
from tests.runtime.world import Connected, until

KINDS = ("promise", "iterator", "bytes", "messages", "requests", "function")


class Side:
    """One side: gives one thing of each kind, none of which ever ends, and waits for those it was given."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.left: list[str] = []
        self.settled: dict[str, list[object]] = {}
        self.reasons: dict[str, list[object]] = {}
        # An end that nobody listens to is closed with its handle.
        self.kept: list[object] = []

    def give(self) -> dict[str, Any]:
        """One of each, for the other side."""
        messages, requests = Channel[int, int](), Channel[int, int]()
        requests.listen(self.answer)
        for name, channel in (("messages", messages), ("requests", requests)):
            self.watch(f"own end for {name}", channel)
        return {
            "promise": self.wait("promise"),
            "iterator": self.items(),
            "bytes": ByteStream(self.chunks()),
            "messages": messages.peer,
            "requests": requests.peer,
            "function": lambda: self.wait("function"),
        }

    async def wait(self, name: str) -> None:
        """Wait for what does not come; notes the beginning and the end."""
        self.begun.append(name)
        try:
            await anyio.sleep_forever()
        finally:
            self.left.append(name)

    async def answer(self, message: int) -> None:
        await self.wait("requests")

    async def items(self) -> AsyncIterator[int]:
        yield 1
        await self.wait("iterator")

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b"1"
        await self.wait("bytes")

    def watch(self, name: str, handle: Any) -> None:
        """Note with what reason the end of a handle is told."""
        self.kept.append(handle)
        reasons = self.reasons.setdefault(name, [])
        handle.on_close(lambda reason: reasons.append(reason))

    async def use(self, name: str, wait: Callable[[], Awaitable[object]]) -> None:
        """Note what a wait ends with."""
        try:
            outcome: object = await wait()
        except Exception as error:
            outcome = error
        self.settled.setdefault(name, []).append(outcome)

    def use_all(self, given: dict[str, Any], group: TaskGroup) -> None:
        """Wait for each thing that the other side gave."""

        async def drain(stream: AsyncIterator[object]) -> None:
            async for _ in stream:
                pass

        async def promised() -> object:
            return await given["promise"]

        async def called() -> object:
            return await given["function"]()

        waits: dict[str, Callable[[], Awaitable[object]]] = {
            "promise": promised,
            "iterator": lambda: drain(given["iterator"]),
            "bytes": lambda: drain(given["bytes"]),
            "messages": given["messages"].receive,
            "requests": lambda: given["requests"].request(1),
            "function": called,
        }
        for name, handle in given.items():
            self.watch(name, handle)
            group.start_soon(self.use, name, waits[name])


async def test_all_that_is_open_on_either_side_ends_with_its_session_and_is_told_once(
    connected: Connected,
) -> None:
    client, server = Side(), Side()
    taken: list[dict[str, Any]] = []
    service = Service()

    @service.function
    async def exchange(given: Any) -> dict[str, Any]:
        server.watch("call", context_of_call())
        taken.append(given)
        return server.give()

    limits = Limits(resume_seconds=0.05)
    async with connected(service, limits=limits, resume=True, settle=False) as world:
        call = world.remote.exchange(client.give())
        client.watch("call", call)
        given = await call
        kinds = [type(given[name]) for name in KINDS]
        assert kinds == [RemotePromise, RemoteIterator, ByteStream, Channel, Channel, RemoteFunction]
        async with anyio.create_task_group() as group:
            client.use_all(given, group)
            server.use_all(taken[0], group)
            for side in (client, server):
                await until(lambda side=side: len(side.begun) == 5, lambda side=side: side.begun)
            assert not client.settled
            assert not server.settled
            world.shut()
            world.cut()
            await until(
                lambda: len(client.settled) == len(server.settled) == len(KINDS),
                lambda: (client.settled, server.settled),
            )
        assert world.client.state == "lost"
    watched = {*KINDS, "call", "own end for messages", "own end for requests"}
    for side in (client, server):
        # Each wait has ended with an error, once; each callback has run, once; no body waits any more.
        assert {name: list(map(type, found)) for name, found in side.settled.items()} == {
            name: [SessionLost] for name in KINDS
        }
        assert {name: list(map(type, found)) for name, found in side.reasons.items()} == {
            name: [SessionLost] for name in watched
        }
        assert sorted(side.left) == sorted(side.begun) == sorted(set(KINDS) - {"messages"})
