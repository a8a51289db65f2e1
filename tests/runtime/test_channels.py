"""Channels: messages and requests in both directions, whoever made the channel and however it crossed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from telewire import (
    Abort,
    Channel,
    ChannelClosed,
    FunctionNotFound,
    InvalidArgument,
    LocalProtocolError,
    RemoteError,
    Service,
    get_context,
)
from tests.runtime.channels import Reasons, both_ends, ends_service, open_ends
from tests.runtime.world import Bugs, Connected, quiescent, until

made_by_either = pytest.mark.parametrize("made_by", ["client", "server"])


@made_by_either
async def test_messages_both_ways(connected: Connected, made_by: str) -> None:
    async with both_ends(connected, made_by) as (_, mine, theirs):
        for number in range(3):
            await mine.send(number)
            await theirs.send({"text": str(number)})
        assert [await theirs.receive() for _ in range(3)] == [0, 1, 2]
        assert [await mine.receive() for _ in range(3)] == [{"text": "0"}, {"text": "1"}, {"text": "2"}]
        await mine.send(None)
        assert await theirs.receive() is None
        await mine.aclose()
        assert [message async for message in theirs] == []


@made_by_either
async def test_messages_of_all_sizes_keep_their_order(connected: Connected, made_by: str) -> None:
    sizes = [1, 70_000, 0, 3_000, 3, 200_000, 17_000, 64 * 1024, 64 * 1024 + 1, 2]
    async with both_ends(connected, made_by) as (_, mine, theirs):

        async def send_all(channel: Channel[Any, bytes]) -> None:
            for size in sizes:
                await channel.send(b"x" * size)
            await channel.aclose()

        async with anyio.create_task_group() as group:
            group.start_soon(send_all, mine)
            assert [len(message) async for message in theirs] == sizes


@made_by_either
async def test_ten_thousand_messages_in_order(connected: Connected, made_by: str) -> None:
    async with both_ends(connected, made_by) as (_, mine, theirs):
        received: list[int] = []
        theirs.listen(received.append)
        for number in range(10_000):
            await mine.send(number)
        await mine.aclose()
        await until(lambda: len(received) == 10_000)
        assert received == list(range(10_000))


@made_by_either
async def test_requests_are_answered(connected: Connected, made_by: str) -> None:
    async with both_ends(connected, made_by) as (_, mine, theirs):
        theirs.listen(lambda text: text.upper())

        async def doubled(number: int) -> int:
            await anyio.lowlevel.checkpoint()
            return number * 2

        mine.listen(doubled)
        assert await mine.request("loud") == "LOUD"
        assert await theirs.request(21) == 42
        assert await theirs.request(21, int) == 42
        with pytest.raises(InvalidArgument):
            await theirs.request(21, str)
        await mine.aclose()
        await until(lambda: theirs.closed)


@made_by_either
async def test_a_handler_refuses_or_fails(connected: Connected, made_by: str, bugs: Bugs) -> None:
    async with both_ends(connected, made_by) as (_, mine, theirs):
        handled: list[str] = []

        async def handler(message: str) -> str:
            handled.append(message)
            if message == "refused":
                raise Abort({"because": 1})
            if message == "broken":
                raise ValueError("a secret")
            return message

        theirs.listen(handler)
        with pytest.raises(Abort) as refused:
            await mine.request("refused")
        assert refused.value.value == {"because": 1}
        with pytest.raises(RemoteError) as failed:
            await mine.request("broken")
        assert "secret" not in str(failed.value)
        await mine.send("refused")
        await mine.send("broken")
        # The channel goes on.
        await mine.send("fine")
        assert await mine.request("asked") == "asked"
        await until(lambda: "fine" in handled)
        assert handled[:2] == ["refused", "broken"]
        assert sorted(handled[2:]) == ["asked", "broken", "fine", "refused"]
        await mine.aclose()
        await until(lambda: theirs.closed)
    assert [str(error) for error in bugs.errors if error is not None] == ["a secret"] * 2


async def test_what_fails_in_a_handler_is_given_to_on_error(connected: Connected, bugs: Bugs) -> None:
    told: list[str] = []
    service = Service(on_error=lambda error, context: told.append(f"{error} in {type(context).__name__}"))
    channels: list[Channel[Any, Any]] = []

    @service.function
    async def chat() -> Channel[Any, Any]:
        channel = Channel[Any, Any]()

        def handler(message: Any) -> None:
            raise ValueError(message)

        channel.listen(handler)
        channels.append(channel)
        return channel.peer

    async with connected(service) as world:
        mine = await world.remote.chat()
        await mine.send("message")
        await until(lambda: len(told) == 1)
        with pytest.raises(RemoteError):
            await mine.request("request")
        await mine.aclose()
        await until(lambda: channels[0].closed)
    assert told == ["message in Context", "request in Context"]


async def test_messages_and_requests_keep_their_order(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        messages: list[int] = []
        started: list[int] = []
        gate = anyio.Event()

        async def handler(message: tuple[str, int]) -> int:
            kind, number = message
            (messages if kind == "message" else started).append(number)
            if kind == "request":
                await gate.wait()
            return number

        replies: dict[int, int] = {}

        async def ask(number: int) -> None:
            replies[number] = await mine.request(("request", number))

        async with anyio.create_task_group() as group:
            for number in range(100):
                await mine.send(("message", number))
                group.start_soon(ask, number)
                # So that they are made in order: trio starts tasks in any.
                while len(mine._end.requests) <= number:
                    await anyio.lowlevel.checkpoint()
            assert not messages
            theirs.listen(handler)
            # They all run at once, and no message waits for one of them.
            await until(lambda: len(started) == 100 and len(messages) == 100)
            assert not replies
            gate.set()
        assert messages == started == list(range(100))
        assert replies == {number: number for number in range(100)}
        await mine.aclose()
        await until(lambda: theirs.closed)


async def test_requests_crossing_on_one_channel(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):

        async def ask_back(channel: Channel[Any, Any], depth: int) -> int:
            return 0 if not depth else 1 + await channel.request(depth - 1)

        mine.listen(lambda depth: ask_back(mine, depth))
        theirs.listen(lambda depth: ask_back(theirs, depth))
        replies: list[int] = []

        async def ask(channel: Channel[Any, Any]) -> None:
            replies.append(await channel.request(20))

        async with anyio.create_task_group() as group:
            group.start_soon(ask, mine)
            group.start_soon(ask, theirs)
        assert replies == [20, 20]
        await mine.aclose()
        await until(lambda: theirs.closed)


async def test_a_message_handler_that_asks_back_does_not_block(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        answers: list[Any] = []

        async def handler(message: int) -> int | None:
            if message < 10:
                answers.append(await theirs.request(message))
            return None

        theirs.listen(handler)
        mine.listen(lambda message: message + 10)
        await mine.send(1)
        await mine.send(2)
        await until(lambda: answers == [11, 12])
        await mine.aclose()
        await until(lambda: theirs.closed)


async def test_cancelling_a_request_cancels_the_handler(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        started, cancelled = anyio.Event(), anyio.Event()

        async def forever(message: str) -> None:
            started.set()
            try:
                await anyio.sleep_forever()
            finally:
                cancelled.set()

        theirs.listen(forever)
        async with anyio.create_task_group() as group:
            group.start_soon(mine.request, "wait")
            await started.wait()
            group.cancel_scope.cancel()
        with anyio.fail_after(5):
            await cancelled.wait()
        assert not mine.closed
        await mine.aclose()
        await until(lambda: theirs.closed)


async def test_everything_with_a_life_in_messages_and_replies(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):

        async def count(to: int) -> AsyncIterator[int]:
            for number in range(to):
                yield number

        async def later(value: str) -> str:
            await anyio.lowlevel.checkpoint()
            return value

        async def answer(message: dict[str, Any]) -> dict[str, Any]:
            return {
                "items": [item async for item in message["items"]],
                "promised": await message["promise"],
                "called": await message["function"](2),
                "count": count(3),
                "later": later("reply"),
                "inner": inner.peer,
            }

        inner = Channel[str, str]()
        inner.listen(str.upper)
        theirs.listen(answer)
        reply = await mine.request(
            {"items": count(4), "promise": later("message"), "function": lambda number: number + 1}
        )
        assert reply["items"] == [0, 1, 2, 3]
        assert (reply["promised"], reply["called"]) == ("message", 3)
        assert [number async for number in reply["count"]] == [0, 1, 2]
        assert await reply["later"] == "reply"
        assert await reply["inner"].request("deep") == "DEEP"
        await reply["inner"].aclose()
        del reply

        # In a message the same, and it belongs to the channel's call.
        outer = Channel[Any, Any]()
        await theirs.send({"items": count(2), "channel": outer.peer})
        message = await mine.receive()
        assert [number async for number in message["items"]] == [0, 1]
        await outer.send("within")
        assert await message["channel"].receive() == "within"
        reasons = Reasons(message["channel"], outer)
        await mine.aclose()
        await message["channel"].aclose()
        await until(lambda: reasons.told)


async def test_channels_inside_values_and_in_items(connected: Connected) -> None:
    service = Service()
    kept: list[Channel[int, int]] = []

    def doubling() -> Channel[int, int]:
        channel = Channel[int, int]()
        channel.listen(lambda number: number * 2)
        kept.append(channel)
        return channel.peer

    @service.function
    async def several(count: int) -> dict[str, Any]:
        return {"channels": [doubling() for _ in range(count)], "title": "several"}

    @service.function
    async def one_by_one(count: int) -> AsyncIterator[Channel[int, int]]:
        for _ in range(count):
            yield doubling()

    @service.function
    async def ask(channels: list[Channel[int, int]]) -> list[int]:
        return [await channel.request(index) for index, channel in enumerate(channels)]

    async with connected(service) as world:
        value = await world.remote.several(5)
        assert [await channel.request(4) for channel in value["channels"]] == [8] * 5
        del value
        call = world.remote.one_by_one(3)
        async for channel in call:
            assert await channel.request(7) == 14
        del channel, call
        mine = [Channel[int, int]() for _ in range(3)]
        for index, each in enumerate(mine):
            each.listen(lambda number, index=index: number * 10 + index)
        assert await world.remote.ask([each.peer for each in mine]) == [0, 11, 22]
        await quiescent(world.remote)
    assert all(channel.closed for channel in mine + kept)


async def test_iterating_a_call_takes_the_messages_of_the_channel_in_its_result(connected: Connected) -> None:
    service, theirs = ends_service()
    async with connected(service) as world:
        call = world.remote.hand_out()
        await call
        other = theirs.pop()
        reasons: list[object] = []
        other.on_close(reasons.append)
        for number in range(5):
            await other.send(number)
        seen = []
        async for number in call:
            seen.append(number)
            if number == 2:
                break
        assert seen == [0, 1, 2]
        # The loop owned it, so its end is the channel's, though the call has a name.
        await until(lambda: bool(reasons))
        assert reasons == [None]
        with pytest.raises(ChannelClosed):
            await other.send(5)

        call = world.remote.hand_out()
        await call
        other = theirs.pop()
        await other.send("only")
        await other.aclose()
        assert [message async for message in call] == ["only"]


async def test_leaving_a_loop_over_a_channel_leaves_it_open(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        for number in range(4):
            await theirs.send(number)
        async for number in mine:
            if number == 1:
                break
        assert await mine.receive() == 2
        assert [await mine.receive()] == [3]
        await mine.aclose()
        await until(lambda: theirs.closed)


async def test_either_listen_or_iterate(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        stop = mine.listen(print)
        with pytest.raises(LocalProtocolError, match="either listen or iterate"):
            await mine.receive()
        with pytest.raises(LocalProtocolError, match="either listen or iterate"):
            async for _message in mine:
                pass
        stop()
        await theirs.send("taken")
        assert await mine.receive() == "taken"
        with pytest.raises(LocalProtocolError, match="either listen or iterate"):
            mine.listen(print)
        # Nobody there can answer.
        with pytest.raises(FunctionNotFound, match="one by one"):
            await theirs.request("anything")
        await mine.aclose()
        await until(lambda: theirs.closed)


async def test_a_request_that_waits_is_refused_once_its_end_is_iterated(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        async with anyio.create_task_group() as group:
            errors: list[Exception] = []

            async def ask() -> None:
                try:
                    await mine.request("anything")
                except Exception as error:
                    errors.append(error)

            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            assert not errors
            await mine.send("message")
            assert await theirs.receive() == "message"
        assert isinstance(errors[0], FunctionNotFound)
        await mine.aclose()
        await until(lambda: theirs.closed)


async def test_the_peer_end_is_for_the_other_side(connected: Connected, bugs: Bugs) -> None:
    service, theirs = ends_service()

    @service.function
    async def take_any(*values: Any) -> None: ...

    async with connected(service) as world:
        channel = Channel[int, int]()
        peer = channel.peer
        assert channel.peer is peer
        for use in (
            lambda: peer.send_nowait(1),
            lambda: peer.listen(print),
            lambda: peer.abort(),
            lambda: peer.on_close(print),
        ):
            with pytest.raises(LocalProtocolError, match="the end for the other side"):
                use()
        with pytest.raises(InvalidArgument, match=r"take_any\(\) argument\[0\]\[.own.\]: This end"):
            world.remote.take_any({"own": channel})
        with pytest.raises(InvalidArgument, match=r"argument\[1\]\[0\]: The same channel stands twice"):
            world.remote.take_any(peer, [peer])
        # A value that could not be sent has handed nothing over.
        await world.remote.take_any(peer)
        with pytest.raises(InvalidArgument, match=r"argument\[0\]: This end of the channel was handed over"):
            world.remote.take_any(peer)
        mine, other = await open_ends(world, theirs, "server")
        with pytest.raises(LocalProtocolError, match="was received"):
            _ = mine.peer
        mine.listen(print)
        with pytest.raises(InvalidArgument, match=r"argument\[0\]: This end of the channel is in use here"):
            world.remote.take_any(mine)
        await mine.aclose()
        await until(lambda: other.closed)


async def test_a_handler_finds_the_context_of_the_call_that_passed_the_channel(connected: Connected) -> None:
    service = Service(context=lambda request: "state of the call")
    seen: list[Any] = []
    channels: list[Channel[Any, Any]] = []

    async def note(message: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        seen.append((message, get_context().state))
        return get_context().state

    @service.function
    async def hand_out() -> Channel[Any, Any]:
        channel = Channel[Any, Any]()
        channel.listen(note)
        channels.append(channel)
        return channel.peer

    @service.function
    async def take(channel: Channel[Any, Any]) -> None:
        channel.listen(note)
        channels.append(channel)

    async with connected(service) as world:
        mine = await world.remote.hand_out()
        passed = Channel[Any, Any]()
        await world.remote.take(passed.peer)
        for channel in (mine, passed):
            await channel.send("message")
            assert await channel.request("request") == "state of the call"
            await channel.aclose()
        await until(lambda: len(seen) == 4)
    assert {state for _, state in seen} == {"state of the call"}


async def test_a_handler_runs_in_one_task_where_scopes_work(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        outcomes: list[str] = []

        async def handler(message: str) -> str:
            with anyio.move_on_after(0.001):
                await anyio.sleep_forever()
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.lowlevel.checkpoint)
            with contextlib.suppress(TimeoutError), anyio.fail_after(0):
                await anyio.sleep_forever()
            outcomes.append(message)
            return message

        theirs.listen(handler)
        await mine.send("message")
        assert await mine.request("request") == "request"
        await until(lambda: len(outcomes) == 2)
        await mine.aclose()
        await until(lambda: theirs.closed)
