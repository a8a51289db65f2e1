"""How channels end, once on each side: closed, aborted, lost, dropped, or with the call that owns them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from telewire import (
    Abort,
    Channel,
    ChannelClosed,
    InvalidArgument,
    Limits,
    LocalProtocolError,
    NetworkError,
    ResourceExhausted,
    Service,
    TelewireError,
)
from tests.runtime.channels import Reasons, both_ends, ends_service, open_ends
from tests.runtime.world import Connected, expect_network_error, quiescent, until

made_by_either = pytest.mark.parametrize("made_by", ["client", "server"])


def aborts(reasons: list[TelewireError | None]) -> list[object]:
    assert all(isinstance(reason, Abort) for reason in reasons), reasons
    return [reason.value for reason in reasons if isinstance(reason, Abort)]


# --- closing -------------------------------------------------------------------------------------


@made_by_either
async def test_close_delivers_what_was_sent_and_then_the_end(connected: Connected, made_by: str) -> None:
    async with both_ends(connected, made_by) as (_, mine, theirs):
        reasons = Reasons(mine, theirs)
        for number in range(200):
            await mine.send(number)
        await mine.aclose()
        assert mine.closed
        assert reasons.mine == [None]
        # The other side is told at once that nobody listens, and still gets everything.
        await until(lambda: theirs.closed)
        with pytest.raises(ChannelClosed):
            await theirs.send("too late")
        with pytest.raises(ChannelClosed):
            theirs.send_nowait("too late")
        with pytest.raises(ChannelClosed):
            await theirs.request("too late")
        assert reasons.theirs == []
        assert [number async for number in theirs] == list(range(200))
        assert reasons.both == [None, None]
        with pytest.raises(anyio.EndOfStream):
            await theirs.receive()
        with pytest.raises(anyio.EndOfStream):
            await mine.receive()
        await mine.aclose()
        await theirs.aclose()
        assert reasons.both == [None, None]


@made_by_either
async def test_close_with_messages_for_listeners_in_flight(connected: Connected, made_by: str) -> None:
    async with both_ends(connected, made_by) as (_, mine, theirs):
        reasons = Reasons(mine, theirs)
        handled: list[int] = []
        gate = anyio.Event()

        async def handler(number: int) -> None:
            await gate.wait()
            handled.append(number)

        theirs.listen(handler)
        for number in range(100):
            await mine.send(number)
        await mine.aclose()
        await quiescent()
        # It fires after the last one is handled.
        assert (handled, reasons.theirs) == ([], [])
        gate.set()
        await until(lambda: reasons.told)
        assert handled == list(range(100))
        assert reasons.both == [None, None]


async def test_leaving_the_call_after_closing_loses_nothing(connected: Connected) -> None:
    service = Service()
    handled: list[int] = []

    async def handler(number: int) -> None:
        await anyio.lowlevel.checkpoint()
        handled.append(number)

    @service.function
    async def chat() -> Channel[int, int]:
        channel = Channel[int, int]()
        channel.listen(handler)
        return channel.peer

    async with connected(service) as world:
        async with world.remote.chat() as channel:
            for number in range(100):
                await channel.send(number)
            await channel.aclose()
        await until(lambda: len(handled) == 100)
        assert handled == list(range(100))


async def test_closing_waits_while_the_other_side_is_behind(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        closed = anyio.Event()

        async def send_and_close() -> None:
            for number in range(1000):
                await mine.send(number)
            await mine.aclose()
            closed.set()

        async with anyio.create_task_group() as group:
            group.start_soon(send_and_close)
            await anyio.wait_all_tasks_blocked()
            assert not closed.is_set()
            assert [number async for number in theirs] == list(range(1000))
            await closed.wait()


async def test_closing_does_not_wait_for_ever(connected: Connected) -> None:
    limits = Limits(cleanup_seconds=0.01)
    async with both_ends(connected, limits=limits) as (_, mine, theirs):
        reasons = Reasons(mine, theirs)
        sent = 0
        while True:
            try:
                mine.send_nowait(sent)
            except anyio.WouldBlock:
                break
            sent += 1
        with anyio.fail_after(5):
            await mine.aclose()
        assert reasons.mine == []
        # The rest leaves as the other side takes it.
        assert [number async for number in theirs] == list(range(sent))
        await until(lambda: reasons.told)
        assert reasons.both == [None, None]


async def test_both_close_at_once(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        reasons = Reasons(mine, theirs)
        for number in range(10):
            await mine.send(number)
            await theirs.send(number)
        async with anyio.create_task_group() as group:
            group.start_soon(mine.aclose)
            group.start_soon(theirs.aclose)
        assert reasons.both == [None, None]


async def test_close_and_abort_cross(connected: Connected) -> None:
    async with both_ends(connected) as (world, mine, theirs):
        reasons = Reasons(mine, theirs)
        await mine.send("unread")
        # Neither has heard of the other.
        await mine.aclose()
        theirs.abort("no")
        await quiescent(world.remote)
        assert reasons.told
        assert reasons.mine == [None]
        assert aborts(reasons.theirs) == ["no"]


async def test_async_with_closes(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        reasons = Reasons(mine, theirs)
        async with mine as entered:
            assert entered is mine
            await mine.send("last")
        assert await theirs.receive() == "last"
        await until(lambda: reasons.told)
        assert reasons.both == [None, None]


async def test_requests_under_way_are_answered_when_either_side_closes(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        gate = anyio.Event()
        started: list[str] = []

        async def handler(message: str) -> str:
            started.append(message)
            await gate.wait()
            return message

        theirs.listen(handler)
        mine.listen(handler)
        replies: list[str] = []

        async def ask(channel: Channel[str, str], text: str) -> None:
            replies.append(await channel.request(text))

        async with anyio.create_task_group() as group:
            group.start_soon(ask, mine, "from mine")
            group.start_soon(ask, theirs, "from theirs")
            await until(lambda: len(started) == 2)
            await mine.aclose()
            await until(lambda: theirs.closed)
            gate.set()
        assert sorted(replies) == ["from mine", "from theirs"]


async def test_a_request_after_close_and_one_that_waits_for_a_listener(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        errors: list[Exception] = []

        async def ask() -> None:
            try:
                await mine.request("anybody?")
            except Exception as error:
                errors.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            await theirs.aclose()
        assert [type(error) for error in errors] == [ChannelClosed]
        with pytest.raises(ChannelClosed):
            await mine.request("after")


async def test_a_request_is_not_lost_by_closing_behind_it(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        theirs.listen(lambda text: text.upper())
        replies: list[str] = []

        async def ask() -> None:
            replies.append(await mine.request("first"))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            while not mine._end.requests:
                await anyio.lowlevel.checkpoint()
            await mine.aclose()
        assert replies == ["FIRST"]
        await until(lambda: theirs.closed)


async def test_what_arrives_while_a_closing_end_waits_for_an_answer_is_dropped(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        gate = anyio.Event()
        asked, dropped = anyio.Event(), anyio.Event()

        async def handler(message: str) -> str:
            asked.set()
            await gate.wait()
            return message

        async def unwanted() -> AsyncIterator[int]:
            try:
                yield 1
                await anyio.sleep_forever()
            finally:
                dropped.set()

        theirs.listen(handler)
        replies: list[str] = []

        async def ask() -> None:
            replies.append(await mine.request("asked"))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await asked.wait()
            # It cannot know yet, so these are on their way.
            await theirs.send("unwanted")
            await theirs.send({"items": unwanted()})
            await mine.aclose()
            await dropped.wait()
            gate.set()
        assert replies == ["asked"]
        await until(lambda: theirs.closed)


async def test_listening_on_a_closed_channel_holds_nothing(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        await mine.aclose()
        mine.listen(print)()
        assert repr(mine) == "<Channel, closed>"
        assert not mine._end.listeners.handlers
        late: list[object] = []
        mine.on_close(late.append)
        assert late == [None]
        assert [message async for message in theirs] == []


async def test_a_message_that_is_too_large_runs_nothing_of_what_it_holds(connected: Connected) -> None:
    async with both_ends(connected, limits=Limits(message_bytes=1024)) as (_, mine, theirs):

        async def never() -> None:
            raise AssertionError("it ran")

        with pytest.raises(ResourceExhausted):
            await mine.send({"promise": never(), "bytes": b"x" * 1024})
        await mine.aclose()
        await until(lambda: theirs.closed)


# --- aborting ------------------------------------------------------------------------------------


@made_by_either
@pytest.mark.parametrize("side", ["mine", "theirs"])
async def test_abort_reaches_both_sides(connected: Connected, made_by: str, side: str) -> None:
    async with both_ends(connected, made_by) as (_, mine, theirs):
        reasons = Reasons(mine, theirs)
        await mine.send("void")
        await theirs.send("void")
        (mine if side == "mine" else theirs).abort({"why": 1})
        await until(lambda: reasons.told)
        assert aborts(reasons.both) == [{"why": 1}, {"why": 1}]
        for channel in (mine, theirs):
            assert channel.closed
            with pytest.raises(Abort) as seen:
                await channel.receive()
            assert seen.value.value == {"why": 1}
            with pytest.raises(ChannelClosed) as refused:
                await channel.send("late")
            assert isinstance(refused.value.__cause__, Abort)
            with pytest.raises(ChannelClosed):
                await channel.request("late")
            channel.abort("again")
            await channel.aclose()
        assert aborts(reasons.both) == [{"why": 1}, {"why": 1}]


async def test_aborts_cross(connected: Connected) -> None:
    async with both_ends(connected) as (world, mine, theirs):
        reasons = Reasons(mine, theirs)
        mine.abort(1)
        theirs.abort(2)
        await quiescent(world.remote)
        assert (aborts(reasons.mine), aborts(reasons.theirs)) == ([1], [2])


@pytest.mark.parametrize("side", ["mine", "theirs"])
async def test_abort_while_others_are_blocked(connected: Connected, side: str) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        outcomes: dict[str, Exception] = {}
        started: list[str] = []
        ended: list[str] = []

        async def note(what: str, awaitable: Any) -> None:
            try:
                await awaitable
            except Exception as error:
                outcomes[what] = error

        async def send_for_ever() -> None:
            while True:
                await mine.send("x" * 1000)

        async def forever(message: Any) -> None:
            started.append(message)
            try:
                await anyio.sleep_forever()
            finally:
                ended.append(message)

        theirs.listen(forever)
        async with anyio.create_task_group() as group:
            group.start_soon(note, "first send", send_for_ever())
            group.start_soon(note, "second send", send_for_ever())
            group.start_soon(note, "request", mine.request("anybody?"))
            group.start_soon(note, "receive", mine.receive())
            await until(lambda: len(started) == 2)
            await anyio.wait_all_tasks_blocked()
            assert not outcomes
            (mine if side == "mine" else theirs).abort("enough")
        assert {what: type(error) for what, error in outcomes.items()} == {
            "first send": ChannelClosed,
            "second send": ChannelClosed,
            "request": ChannelClosed,
            "receive": Abort,
        }
        # Handlers that run are cancelled, of messages and requests.
        await until(lambda: sorted(ended) == sorted(started))


async def test_a_handler_that_aborts_goes_on(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        reasons = Reasons(mine, theirs)
        finished = anyio.Event()

        async def handler(message: str) -> None:
            theirs.abort(message)
            await anyio.lowlevel.checkpoint()
            finished.set()

        theirs.listen(handler)
        await mine.send("out")
        await mine.send("never handled")
        with anyio.fail_after(5):
            await finished.wait()
        await until(lambda: reasons.told)
        assert aborts(reasons.both) == ["out", "out"]


async def test_a_handler_that_closes_goes_on_and_gets_no_further_message(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        reasons = Reasons(mine, theirs)
        handled: list[str] = []

        async def handler(message: str) -> None:
            await theirs.aclose()
            await anyio.lowlevel.checkpoint()
            handled.append(message)

        theirs.listen(handler)
        await mine.send("bye")
        await mine.send("unwanted")
        await until(lambda: reasons.told and bool(handled))
        await quiescent()
        assert (handled, reasons.both) == (["bye"], [None, None])


async def test_values_of_abort_that_cannot_travel(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        with pytest.raises(InvalidArgument):
            mine.abort(object())
        with pytest.raises(LocalProtocolError):
            mine.abort("x" * 100_000)
        # Nothing has happened.
        await mine.send("open")
        assert await theirs.receive() == "open"
        await mine.aclose()
        await until(lambda: theirs.closed)


# --- losing --------------------------------------------------------------------------------------


@made_by_either
async def test_a_lost_connection_ends_both(connected: Connected, made_by: str) -> None:
    service, ends = ends_service()
    async with connected(service, settle=False) as world:
        mine, theirs = await open_ends(world, ends, made_by)
        reasons = Reasons(mine, theirs)
        outcomes: dict[str, Exception] = {}

        async def note(what: str, awaitable: Any) -> None:
            try:
                await awaitable
            except Exception as error:
                outcomes[what] = error

        async with anyio.create_task_group() as group:
            group.start_soon(note, "request", mine.request("anybody?"))
            group.start_soon(note, "receive", mine.receive())
            await quiescent(world.remote)
            world.cut()
        await until(lambda: reasons.told)
        for error in (*reasons.both, *outcomes.values()):
            expect_network_error(error)
        assert len(outcomes) == 2
        for channel in (mine, theirs):
            assert channel.closed
            with pytest.raises(NetworkError):
                await channel.send("late")
            with pytest.raises(NetworkError):
                await channel.request("late")
            with pytest.raises(NetworkError):
                await channel.receive()
