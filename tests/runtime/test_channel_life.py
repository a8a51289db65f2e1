"""Channels and what holds them: their call, their handles and their listeners."""

from __future__ import annotations

import gc
from typing import Any

import anyio
import pytest

from telewire import (
    CallCancelled,
    Channel,
    ChannelClosed,
    InvalidArgument,
    Limits,
    Service,
    get_context,
)
from tests.runtime.channels import Reasons, ends_service, open_ends
from tests.runtime.world import Connected, quiescent, until

made_by_either = pytest.mark.parametrize("made_by", ["client", "server"])


# --- the call ------------------------------------------------------------------------------------


async def test_the_end_of_the_call_ends_its_channels_with_its_reason(connected: Connected) -> None:
    service, theirs = ends_service()
    async with connected(service) as world:
        call = world.remote.hand_out()
        mine = await call
        reasons = Reasons(mine, theirs[0])
        call.cancel("tired")
        await until(lambda: reasons.told)
        for reason in reasons.both:
            assert isinstance(reason, CallCancelled)
            assert reason.reason == "tired"
        with pytest.raises(CallCancelled):
            await mine.receive()
        with pytest.raises(ChannelClosed):
            await mine.send("late")

        call = world.remote.hand_out()
        mine = await call
        reasons = Reasons(mine, theirs[1])
        await mine.send("void")
        await call.aclose()
        await until(lambda: reasons.told)
        assert reasons.both == [None, None]
        assert [message async for message in mine] == []
        assert [message async for message in theirs[1]] == []


async def test_a_channel_keeps_its_call_open_and_the_call_ends_with_it(connected: Connected) -> None:
    service = Service()
    ends: list[Channel[Any, Any]] = []
    over: list[object] = []

    @service.function
    async def hand_out() -> Channel[Any, Any]:
        get_context().on_close(lambda reason: over.append(reason))
        channel = Channel[Any, Any]()
        ends.append(channel)
        return channel.peer

    async with connected(service) as world:
        call = world.remote.hand_out()
        mine = await call
        await quiescent(world.remote)
        assert not over
        assert not call.closed
        await ends[0].aclose()
        assert [message async for message in mine] == []
        await until(lambda: bool(over) and call.closed)
        assert over == [None]


async def test_the_end_of_the_call_cancels_a_handler(connected: Connected) -> None:
    service = Service()
    started, ended = anyio.Event(), anyio.Event()

    async def forever(message: str) -> None:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    @service.function
    async def hand_out() -> Channel[Any, Any]:
        channel = Channel[Any, Any]()
        channel.listen(forever)
        return channel.peer

    async with connected(service) as world:
        async with world.remote.hand_out() as mine:
            await mine.send("message")
            await started.wait()
        with anyio.fail_after(5):
            await ended.wait()


async def test_a_handler_runs_in_the_context_of_who_listens(connected: Connected) -> None:
    service, client_service = Service(), Service()
    contexts: list[Any] = []
    handled = anyio.Event()

    @service.function
    async def converse() -> None:
        channel = Channel[Any, Any]()

        def handle(message: str) -> None:
            contexts.append(get_context())
            handled.set()

        channel.listen(handle)
        contexts.append(get_context())
        # The channel crosses in a call that this side makes, so no call of the other side owns it.
        await get_context().remote.take(channel.peer)
        await handled.wait()

    @client_service.function
    async def take(channel: Channel[Any, Any]) -> None:
        await channel.send("message")
        await channel.aclose()

    async with connected(service, client_service=client_service) as world:
        await world.remote.converse()
        assert contexts[0] is contexts[1]


async def test_a_handler_outlives_a_close_only_as_long_as_the_call(connected: Connected) -> None:
    service = Service()
    started, ended = anyio.Event(), anyio.Event()
    ends: list[Channel[Any, Any]] = []

    async def forever(message: str) -> None:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    @service.function
    async def hand_out() -> list[Channel[Any, Any]]:
        for _ in range(2):
            ends.append(Channel[Any, Any]())
        ends[0].listen(forever)
        return [channel.peer for channel in ends]

    async with connected(service) as world:
        mine, other = await world.remote.hand_out()
        await mine.send("message")
        await started.wait()
        await ends[0].aclose()
        await quiescent(world.remote)
        assert not ended.is_set()
        # The last thing that was open.
        await other.aclose()
        await ends[1].aclose()
        with anyio.fail_after(5):
            await ended.wait()
        await mine.aclose()


async def test_a_handler_that_never_ends_is_cancelled_some_time_after_the_call(connected: Connected) -> None:
    service = Service()
    started, ended = anyio.Event(), anyio.Event()

    async def forever(message: str) -> None:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    reasons: list[object] = []
    others = [Channel[Any, Any]()]

    @service.function
    async def hand_out() -> list[Channel[Any, Any]]:
        channel = Channel[Any, Any]()
        channel.listen(forever)
        channel.on_close(reasons.append)
        return [channel.peer, others[0].peer]

    async with connected(service, limits=Limits(cleanup_seconds=0.01)) as world:
        # The other channel keeps the call open, so that leaving it ends it.
        async with world.remote.hand_out() as (mine, _other):
            await mine.send("message")
            await started.wait()
            await mine.aclose()
        with anyio.fail_after(5):
            await ended.wait()
        await until(lambda: reasons == [None])


# --- dropping ------------------------------------------------------------------------------------


@made_by_either
async def test_dropping_the_last_reference_closes(connected: Connected, made_by: str) -> None:
    service, ends = ends_service()
    async with connected(service) as world:
        mine, theirs = await open_ends(world, ends, made_by)
        reasons: list[object] = []
        theirs.on_close(reasons.append)
        await mine.send("last words")
        del mine
        gc.collect()
        assert await theirs.receive() == "last words"
        with pytest.raises(anyio.EndOfStream):
            await theirs.receive()
        assert reasons == [None]


@made_by_either
async def test_an_end_with_a_listener_is_held_by_the_connection(connected: Connected, made_by: str) -> None:
    service, ends = ends_service()
    async with connected(service) as world:
        mine, theirs = await open_ends(world, ends, made_by)
        stop = mine.listen(lambda text: text.upper())
        del mine
        await quiescent(world.remote)
        assert await theirs.request("still here") == "STILL HERE"
        reasons: list[object] = []
        theirs.on_close(reasons.append)
        # Without it, nobody can ever listen again.
        stop()
        with pytest.raises(anyio.EndOfStream):
            await theirs.receive()
        assert reasons == [None]


async def test_an_end_dropped_unread_tells_its_callbacks_though_the_call_is_over(
    connected: Connected,
) -> None:
    service, ends = ends_service()
    async with connected(service) as world:
        reasons: list[object] = []
        async with world.remote.hand_out() as mine:
            theirs = ends.pop()
            theirs.on_close(reasons.append)
            await mine.send("unread")
            await mine.aclose()
        await quiescent(world.remote)
        assert reasons == []
        del theirs
        gc.collect()
        await until(lambda: reasons == [None])


async def test_an_end_that_nobody_took_is_closed(connected: Connected) -> None:
    service, ends = ends_service()

    @service.function
    async def ignore(value: Any) -> None: ...

    @service.function
    async def refuse(value: int) -> None: ...

    async with connected(service) as world:
        reasons: list[object] = []
        ignored, refused = Channel[Any, Any](), Channel[Any, Any]()
        for channel in (ignored, refused):
            channel.on_close(reasons.append)
        await world.remote.ignore(ignored.peer)
        with pytest.raises(InvalidArgument):
            await world.remote.refuse(refused.peer)
        await until(lambda: len(reasons) == 2)
        # A result that is not taken.
        call = world.remote.hand_out()
        del call
        await until(lambda: bool(ends))
        with pytest.raises(anyio.EndOfStream):
            await ends.pop().receive()
