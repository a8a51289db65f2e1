"""Annotated channels: messages, requests and replies converted and checked on both sides; plain functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from telewire import Channel, InvalidArgument, RemoteError, RemoteProtocolError, Service
from tests.runtime.channels import Reasons, both_ends
from tests.runtime.world import Bugs, Connected, quiescent, until


@dataclass
class Move:
    x: int
    y: int


@dataclass
class Board:
    moves: list[Move]


async def test_messages_become_what_the_annotations_say(connected: Connected) -> None:
    service = Service()
    ends: list[Channel[Move, Board]] = []
    seen: list[object] = []

    @service.function
    async def play() -> Channel[Board, Move]:
        channel = Channel[Move, Board]()
        ends.append(channel)

        def move(made: Move) -> Board:
            seen.append(made)
            return Board([made])

        channel.listen(move)
        return channel.peer

    @service.function
    async def join(channel: Channel[Move, Board]) -> Move:
        await channel.send(Board([]))
        return await channel.receive()

    async with connected(service) as world:
        # The caller knows the function, so its own end is converted too.
        mine = await world.remote[play]()
        await mine.send(Move(1, 2))
        reply = await mine.request(Move(3, 4), Board)
        assert reply == Board([Move(3, 4)])
        await until(lambda: len(seen) == 2)
        # Neither waits for the other.
        assert sorted(map(repr, seen)) == ["Move(x=1, y=2)", "Move(x=3, y=4)"]
        await ends[0].send(Board([Move(5, 6)]))
        assert await mine.receive() == Board([Move(5, 6)])
        await mine.aclose()

        passed = Channel[Board, Move]()
        call = world.remote[join](passed.peer)
        assert await passed.receive() == Board([])
        await passed.send(Move(7, 8))
        assert await call == Move(7, 8)
        await passed.aclose()
        ends.clear()


async def test_what_does_not_fit_is_refused_before_it_leaves(connected: Connected) -> None:
    service = Service()

    @service.function
    async def play() -> Channel[str, int]:
        channel = Channel[int, str]()
        with pytest.raises(InvalidArgument, match="channel message: expected str, got int"):
            await channel.send(1)  # type: ignore[arg-type]  # the mistake
        channel.listen(str)
        return channel.peer

    async with connected(service) as world:
        mine: Channel[Any, Any] = await world.remote[play]()
        for send in (mine.send, mine.request):
            with pytest.raises(InvalidArgument, match=r"channel (message|request): expected int, got str"):
                await send("one")
        with pytest.raises(InvalidArgument):
            mine.send_nowait("one")
        assert await mine.request(1) == "1"
        await mine.aclose()


async def test_a_request_that_misfits_is_refused_alone(connected: Connected) -> None:
    service = Service()

    @service.function
    async def play() -> Channel[Any, Any]:
        channel = Channel[int, Any]()
        channel.listen(lambda number: number + 1)
        return channel.peer

    async with connected(service) as world:
        mine = await world.remote.play()
        with pytest.raises(InvalidArgument, match="channel request: expected int, got str"):
            await mine.request("one")
        assert await mine.request(1) == 2
        await mine.aclose()


@pytest.mark.parametrize("listening", [True, False])
async def test_a_message_that_misfits_ends_the_channel_for_both(
    connected: Connected, listening: bool
) -> None:
    service = Service()
    ends: list[Channel[int, Any]] = []
    seen: list[int] = []

    @service.function
    async def play() -> Channel[Any, Any]:
        channel = Channel[int, Any]()
        if listening:
            channel.listen(seen.append)
        ends.append(channel)
        return channel.peer

    async with connected(service) as world:
        mine = await world.remote.play()
        reasons = Reasons(mine, ends[0])
        for message in (1, "two", 3):
            await mine.send(message)
        if not listening:
            seen.append(await ends[0].receive())
            with pytest.raises(InvalidArgument, match="channel message: expected int, got str"):
                await ends[0].receive()
        await until(lambda: reasons.told)
        assert seen == [1]
        for reason in reasons.both:
            assert isinstance(reason, InvalidArgument)
            assert str(reason) == "channel message: expected int, got str"
        ends.clear()


async def test_a_message_that_does_not_decode_ends_the_channel_behind_those_before_it(
    connected: Connected,
) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        reasons = Reasons(mine, theirs)
        await mine.send("fine")
        end = mine._end
        assert end.driver is not None
        assert end.stream is not None
        await quiescent()
        end.driver.connection.send_message(end.stream, b"\xff")
        end.driver.schedule()
        await until(lambda: bool(reasons.mine))
        assert await theirs.receive() == "fine"
        with pytest.raises(RemoteProtocolError):
            await theirs.receive()
        await until(lambda: reasons.told)
        assert None not in reasons.both


async def test_a_result_must_be_a_channel_where_one_is_annotated(connected: Connected, bugs: Bugs) -> None:
    service = Service()

    @service.function
    async def play() -> Channel[int, int]:
        return 5  # type: ignore[return-value]  # the mistake

    @service.function
    async def join(channel: Channel[int, int]) -> None: ...

    async with connected(service) as world:
        with pytest.raises(RemoteError):
            await world.remote.play()
        with pytest.raises(InvalidArgument, match=r"join\(channel\): expected Channel\[int, int\], got int"):
            await world.remote.join(5)


async def test_a_plain_function_makes_a_channel_in_its_thread(connected: Connected) -> None:
    service = Service()
    reasons: list[object] = []
    ends: list[Channel[Any, Any]] = []

    @service.function
    def play(greeting: str) -> Channel[str, str]:
        channel = Channel[str, str]()
        channel.listen(str.upper)
        channel.on_close(reasons.append)
        channel.send_nowait(greeting)
        ends.append(channel)
        return channel.peer

    async with connected(service) as world:
        mine = await world.remote.play("hello")
        assert await mine.receive() == "hello"
        assert await mine.request("loud") == "LOUD"
        # Once it is in use, it is the loop's.
        for use in (
            lambda: ends[0].send_nowait("elsewhere"),
            lambda: ends[0].listen(print),
            lambda: ends[0].abort(),
        ):
            with pytest.raises(RuntimeError, match="another thread"):
                await anyio.to_thread.run_sync(use)
        await mine.aclose()
        await until(lambda: reasons == [None])
        assert ends.pop().closed


async def test_a_handler_may_be_anything_that_can_be_called(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        received: list[int] = []
        stop = theirs.listen(received.append)
        await mine.send(1)
        await until(lambda: received == [1])
        stop()

        async def later(value: int) -> int:
            await anyio.lowlevel.checkpoint()
            return value + 1

        # A function of the other side, which answers with a call.
        back = Channel[Any, Any]()
        await mine.send({"function": later, "channel": back.peer})
        given = await theirs.receive()
        given["channel"].listen(given["function"])
        assert await back.request(41) == 42
        await back.aclose()
        del given
        await mine.aclose()
        await until(lambda: theirs.closed)
