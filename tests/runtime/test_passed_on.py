"""What a call passes on: code in it finds the call's context, and a generator in it ends with the call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest

import telewire
from telewire import (
    Abort,
    ByteStream,
    Call,
    CallCancelled,
    Channel,
    Service,
    get_context,
    with_options,
)
from tests.runtime.world import Connected, caught, until


async def test_code_that_a_call_passed_on_finds_its_context(connected: Connected) -> None:
    service = Service()
    found: dict[str, set[str]] = {"one": set(), "two": set()}

    def note(kind: str) -> str:
        found[get_context().metadata["x-name"]].add(kind)
        return kind

    async def promise() -> str:
        return note("promise")

    async def items() -> AsyncIterator[object]:
        yield note("items")
        # What an item brings belongs to the call too.
        yield lambda: note("function in an item")

    def steps() -> Any:
        yield note("steps")

    async def chunks() -> AsyncIterator[bytes]:
        yield note("bytes").encode()

    def end() -> Channel[str, str]:
        channel = Channel[str, str]()
        channel.listen(lambda message: note(message))
        return channel.peer

    @service.function
    async def give() -> dict[str, Any]:
        return {
            "promise": promise(),
            "items": items(),
            "steps": steps(),
            "bytes": ByteStream(chunks()),
            "function": lambda: note("function"),
            "channel": end(),
        }

    functions = {"function", "function in an item", "message", "request"}
    everything = {"promise", "items", "steps", "bytes"} | functions
    async with connected(service) as world:
        # Side by side, so that none has the connection to itself.
        values = []
        for name in found:
            values.append(await with_options(world.remote.give, headers={"x-name": name})())
        for value in values:
            assert await value["promise"] == "promise"
            text, function = [item async for item in value["items"]]
            assert (text, await function()) == ("items", "function in an item")
            assert [step async for step in value["steps"]] == ["steps"]
            assert await value["bytes"].read() == b"bytes"
            assert await value["function"]() == "function"
            await value["channel"].send("message")
            assert await value["channel"].request("request") == "request"
            del function
            await telewire.aclose(value)
        assert found == {"one": everything, "two": everything}
        values.clear()


async def it_returns(call: Call[Any], gate: anyio.Event) -> None:
    gate.set()
    await call


async def it_refuses(call: Call[Any], gate: anyio.Event) -> None:
    gate.set()
    assert isinstance(await caught(call), Abort)


async def it_is_cancelled(call: Call[Any], gate: anyio.Event) -> None:
    call.cancel()
    assert isinstance(await caught(call), CallCancelled)


async def it_is_closed(call: Call[Any], gate: anyio.Event) -> None:
    await call.aclose()


@pytest.mark.parametrize("where", ["parked", "blocked"])
@pytest.mark.parametrize("end", [it_returns, it_refuses, it_is_cancelled, it_is_closed])
async def test_a_generator_in_an_argument_ends_with_its_call(
    connected: Connected, end: Callable[[Call[Any], anyio.Event], Any], where: str
) -> None:
    service = Service()
    gate, taken = anyio.Event(), anyio.Event()
    ended: list[str] = []
    # The body does not drop it, so only the end of the call ends it.
    kept: list[AsyncIterator[bytes]] = []

    @service.function
    async def take(items: AsyncIterator[bytes], refuse: bool) -> str:
        kept.append(items)
        await anext(items)
        taken.set()
        await gate.wait()
        if refuse:
            raise Abort("enough")
        return "done"

    async def items() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            while where == "parked":
                yield bytes(5_000)
            await anyio.sleep_forever()
        finally:
            ended.append(where)

    async with connected(service) as world:
        call = world.remote.take(items(), end is it_refuses)
        await taken.wait()
        await end(call, gate)
        if end is it_returns:
            # It lives on with what the body has kept of it.
            await world.remote["test.round_trip"]()
            assert not ended
            await call.aclose()
        await until(lambda: ended == [where])
        kept.clear()
