"""Channels under load and before anybody listens: credit, order, what waits where, and for whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from telewire import Abort, Channel, ChannelClosed, InvalidArgument, Limits, ResourceExhausted, Service
from telewire.runtime.line import Line
from tests.runtime.channels import Reasons, both_ends, ends_service, open_ends
from tests.runtime.world import Bugs, Connected, quiescent, until

made_by_either = pytest.mark.parametrize("made_by", ["client", "server"])
WINDOW = Limits().stream_window
READ_WINDOW = Limits().stream_window_read
COST = Limits().item_cost


def filled(channel: Channel[Any, Any], message: object = 0) -> int:
    """Send until it would wait; returns how many went."""
    sent = 0
    while True:
        try:
            channel.send_nowait(message)
        except anyio.WouldBlock:
            return sent
        sent += 1


# --- credit --------------------------------------------------------------------------------------


@made_by_either
async def test_a_sender_is_never_more_than_its_credit_ahead(connected: Connected, made_by: str) -> None:
    async with both_ends(connected, made_by) as (_, mine, theirs):
        sent = handled = most = 0
        gates = [anyio.Event() for _ in range(3000)]

        async def handler(number: int) -> None:
            nonlocal handled
            await gates[number].wait()
            handled += 1

        async def send_all() -> None:
            nonlocal sent, most
            for number in range(len(gates)):
                await mine.send(number)
                sent += 1
                # The one that has just been handled counts as consumed a moment later.
                most = max(most, sent - handled)

        async with anyio.create_task_group() as group:
            group.start_soon(send_all)
            await anyio.wait_all_tasks_blocked()
            # Nobody listens: the initial credit.
            assert sent == WINDOW // COST
            theirs.listen(handler)
            await quiescent()
            # Nothing is handled yet, so there is no more.
            assert sent == WINDOW // COST
            for gate in gates:
                gate.set()
                if sent < len(gates):
                    await anyio.lowlevel.checkpoint()
        assert most <= READ_WINDOW // COST
        await until(lambda: handled == len(gates))
        await mine.aclose()
        await until(lambda: theirs.closed)


async def test_one_at_a_time_is_never_ahead_by_more_than_a_window(connected: Connected) -> None:
    limits = Limits(stream_window=4096, stream_window_read=4096)
    async with both_ends(connected, limits=limits) as (_, mine, theirs):
        assert filled(mine) == 4096 // COST
        for _ in range(20):
            await theirs.receive()
            await quiescent()
            filled(mine)
            # What has not been taken is within the window.
            assert len(theirs._end.buffer) <= 4096 // COST
        await mine.aclose()
        assert len([message async for message in theirs]) <= 4096 // COST


async def test_send_waits_and_send_nowait_refuses(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        assert filled(mine) == WINDOW // COST
        with pytest.raises(anyio.WouldBlock):
            mine.send_nowait(1)
        order: list[int] = []

        async def send(number: int) -> None:
            await mine.send(number)
            order.append(number)

        async with anyio.create_task_group() as group:
            for number in range(1, 11):
                group.start_soon(send, number)
                await anyio.wait_all_tasks_blocked()
            assert not order
            received = [await theirs.receive() for _ in range(WINDOW // COST)]
            assert received == [0] * len(received)
            # Who waits goes first, and in order.
            assert [await theirs.receive() for _ in range(10)] == list(range(1, 11))
        assert order == list(range(1, 11))
        await mine.aclose()
        await until(lambda: theirs.closed)


async def test_a_cancelled_send_leaves_its_place_to_the_next(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        count = filled(mine)
        scopes: list[anyio.CancelScope] = []

        async def send(number: int) -> None:
            with anyio.CancelScope() as scope:
                scopes.append(scope)
                await mine.send(number)

        async with anyio.create_task_group() as group:
            for number in range(1, 4):
                group.start_soon(send, number)
                await anyio.wait_all_tasks_blocked()
            scopes[0].cancel()
            await anyio.wait_all_tasks_blocked()
            for _ in range(count):
                await theirs.receive()
        await mine.aclose()
        assert [number async for number in theirs] == [2, 3]


async def test_a_message_larger_than_its_window(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        async with anyio.create_task_group() as group:
            for message in (b"x" * (WINDOW * 3), b"next", b"y" * (WINDOW * 20), b"last"):
                group.start_soon(mine.send, message)
                await anyio.wait_all_tasks_blocked()
            sizes = [len(await theirs.receive()) for _ in range(4)]
        assert sizes == [WINDOW * 3, 4, WINDOW * 20, 4]
        with pytest.raises(ResourceExhausted):
            await mine.send(b"x" * (Limits().message_bytes + 1))
        await mine.send("still open")
        assert await theirs.receive() == "still open"
        await mine.aclose()
        await until(lambda: theirs.closed)


async def test_an_unread_channel_holds_no_sibling_up(connected: Connected) -> None:
    service, ends = ends_service()
    async with connected(service) as world:
        unread, their_unread = await open_ends(world, ends, "server")
        read, their_read = await open_ends(world, ends, "server")
        filled(their_unread)
        for number in range(1000):
            async with anyio.create_task_group() as group:
                group.start_soon(their_read.send, number)
                assert await read.receive() == number
        for channel in (unread, read):
            await channel.aclose()


async def test_messages_that_cannot_travel_and_the_channel_goes_on(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):

        async def later() -> int:
            return 1

        for message in (object(), {"deep": [object()]}, [later(), object()]):
            with pytest.raises(InvalidArgument, match=r"channel message.*cannot travel"):
                await mine.send(message)
        with pytest.raises(InvalidArgument, match=r"channel\(\) argument\[0\].*cannot travel"):
            await mine.request([object()])
        await mine.send("fine")
        assert await theirs.receive() == "fine"
        await mine.aclose()
        await until(lambda: theirs.closed)


# --- before the other end is handed over ---------------------------------------------------------


@made_by_either
async def test_what_is_sent_before_the_handover_waits_within_the_initial_credit(
    connected: Connected, made_by: str
) -> None:
    service = Service()
    channels: list[Channel[Any, Any]] = []

    @service.function
    async def hand_out() -> Channel[Any, Any]:
        channels.append(Channel[Any, Any]())
        channels.append(channels[0].peer)
        return await prepared()

    @service.function
    async def take(channel: Channel[Any, Any]) -> None:
        channels.append(channel)

    async def count() -> AsyncIterator[int]:
        yield 1
        yield 2

    async def prepared() -> Channel[Any, Any]:
        early = channels[0]
        with pytest.raises(InvalidArgument, match=r"channel message\[0\] has a lone surrogate"):
            await early.send(["\ud800"])
        mutable = ["as it was"]
        await early.send(mutable)
        mutable.append("changed since")
        await early.send({"items": count()})
        # A large one costs its bytes.
        await early.send(b"x" * (WINDOW // 2 - 10))
        assert filled(early) == (WINDOW // 2 - 2 * COST) // COST
        assert not early.closed
        return early.peer

    async with connected(service) as world:
        if made_by == "server":
            theirs = await world.remote.hand_out()
            mine = channels[0]
            channels.clear()
        else:
            channels.append(Channel[Any, Any]())
            mine = channels[0]
            await world.remote.take(await prepared())
            theirs = channels.pop()
            channels.clear()
        assert await theirs.receive() == ["as it was"]
        assert [item async for item in (await theirs.receive())["items"]] == [1, 2]
        assert len(await theirs.receive()) == WINDOW // 2 - 10
        await mine.send("after")
        await mine.aclose()
        rest = [message async for message in theirs]
        assert rest == [0] * (len(rest) - 1) + ["after"]


async def test_requests_and_sends_wait_for_the_handover_in_order(connected: Connected) -> None:
    service, ends = ends_service()
    async with connected(service) as world:
        mine = Channel[Any, Any]()
        filled(mine)
        replies: list[int] = []
        started: list[int] = []

        async def ask(number: int) -> None:
            replies.append(await mine.request(number))

        async with anyio.create_task_group() as group:
            for number in range(1, 6):
                group.start_soon(ask, number)
                group.start_soon(mine.send, number)
                await anyio.wait_all_tasks_blocked()
            await world.remote.take(mine.peer)
            theirs = ends.pop()
            messages: list[int] = []

            async def handler(number: int) -> int:
                (messages if asking() else started).append(number)
                return number

            def asking() -> bool:
                return not theirs._end.listeners.inside

            # Which it is, only telewire can say.
            theirs.listen(handler)
        await mine.aclose()
        await until(lambda: len(started) == WINDOW // COST + 5)
        assert messages == [1, 2, 3, 4, 5]
        assert started[-5:] == [1, 2, 3, 4, 5]
        assert sorted(replies) == [1, 2, 3, 4, 5]


async def test_a_request_cancelled_before_the_handover(connected: Connected) -> None:
    service, ends = ends_service()
    async with connected(service) as world:
        mine = Channel[Any, Any]()
        replies: list[int] = []

        async def ask(number: int, scope: anyio.CancelScope) -> None:
            with scope:
                replies.append(await mine.request(number))

        scopes = [anyio.CancelScope() for _ in range(3)]
        async with anyio.create_task_group() as group:
            for number, scope in enumerate(scopes):
                group.start_soon(ask, number, scope)
                await anyio.wait_all_tasks_blocked()
            scopes[1].cancel()
            await world.remote.take(mine.peer)
            ends[0].listen(lambda number: number)
        assert sorted(replies) == [0, 2]
        await mine.aclose()
        ends.clear()


async def test_closing_and_aborting_before_the_handover(connected: Connected) -> None:
    service, ends = ends_service()
    async with connected(service) as world:
        closed, aborted = Channel[Any, Any](), Channel[Any, Any]()
        await closed.send("last words")
        await aborted.send("void")
        errors: list[Exception] = []

        async def ask() -> None:
            try:
                await closed.request("nobody will")
            except Exception as error:
                errors.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            await closed.aclose()
        assert [type(error) for error in errors] == [ChannelClosed]
        aborted.abort("no")
        for channel in (closed, aborted):
            assert channel.closed
            with pytest.raises(ChannelClosed):
                await channel.send("late")
            await world.remote.take(channel.peer)
        theirs_closed, theirs_aborted = ends
        ends.clear()
        assert [message async for message in theirs_closed] == ["last words"]
        with pytest.raises(Abort) as seen:
            await theirs_aborted.receive()
        assert seen.value.value == "no"

        # One whose own end is gone when it is handed over.
        await world.remote.take(Channel[Any, Any]().peer)
        with pytest.raises(anyio.EndOfStream):
            await ends.pop().receive()


async def test_an_early_message_that_cannot_travel_is_a_bug_and_the_rest_goes_on(
    connected: Connected, bugs: Bugs
) -> None:
    service, ends = ends_service()
    async with connected(service) as world:
        mine = Channel[Any, Any]()
        # That it is nothing with a life can only be seen when there is a connection.
        await mine.send(object())
        await mine.send("fine")
        await world.remote.take(mine.peer)
        assert await ends[0].receive() == "fine"
        await mine.aclose()
        ends.clear()
    assert "cannot travel" in str(bugs.errors[0])


# --- before the first listener, and after the last -----------------------------------------------


async def test_messages_and_requests_wait_for_the_first_listener(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        replies: list[int] = []
        handled: list[int] = []

        async def ask(number: int) -> None:
            replies.append(await mine.request(number))

        async with anyio.create_task_group() as group:
            for number in range(5):
                await mine.send(number)
                group.start_soon(ask, number + 100)
                await anyio.wait_all_tasks_blocked()
            await quiescent()
            assert not replies

            def handler(number: int) -> int:
                handled.append(number)
                return number

            theirs.listen(handler)
        await until(lambda: len(handled) == 10)
        assert [number for number in handled if number < 100] == list(range(5))
        assert [number for number in handled if number >= 100] == list(range(100, 105))
        assert sorted(replies) == list(range(100, 105))
        await mine.aclose()
        await until(lambda: theirs.closed)


async def test_several_listen_in_order_and_the_first_reply_counts(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        seen: list[str] = []

        def first(message: str) -> None:
            seen.append(f"first {message}")

        async def second(message: str) -> str | None:
            await anyio.lowlevel.checkpoint()
            seen.append(f"second {message}")
            return "from second" if message != "nothing" else None

        def third(message: str) -> str:
            seen.append(f"third {message}")
            return "from third"

        for handler in (first, second):
            theirs.listen(handler)
        stop = theirs.listen(third)
        assert await mine.request("a") == "from second"
        assert await mine.request("nothing") == "from third"
        assert seen == [f"{who} {what}" for what in ("a", "nothing") for who in ("first", "second", "third")]
        stop()
        stop()
        assert await mine.request("nothing") is None
        seen.clear()
        await mine.send("b")
        await until(lambda: seen == ["first b", "second b"])
        await mine.aclose()
        await until(lambda: theirs.closed)


async def test_no_handler_is_called_after_it_was_stopped(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        seen: list[tuple[str, int]] = []

        def first(number: int) -> None:
            seen.append(("first", number))
            if number == 2:
                stop_second()
            if number == 4:
                stop_first()

        async def second(number: int) -> None:
            seen.append(("second", number))

        stop_first = theirs.listen(first)
        stop_second = theirs.listen(second)
        for number in range(8):
            await mine.send(number)
        await until(lambda: ("first", 4) in seen)
        await quiescent()
        assert seen == [
            ("first", 0),
            ("second", 0),
            ("first", 1),
            ("second", 1),
            ("first", 2),
            ("first", 3),
            ("first", 4),
        ]
        # The rest waits for the next one, and so does a request.
        async with anyio.create_task_group() as group:
            group.start_soon(mine.request, 8)
            await quiescent()
            assert len(seen) == 7

            def third(number: int) -> None:
                seen.append(("third", number))

            theirs.listen(third)
        await until(lambda: len(seen) == 11)
        assert sorted(seen[7:]) == [("third", number) for number in (5, 6, 7, 8)]
        await mine.aclose()
        await until(lambda: theirs.closed)


async def test_listeners_added_in_the_middle(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        seen: list[tuple[str, int]] = []

        def late(number: int) -> None:
            seen.append(("late", number))

        def first(number: int) -> None:
            seen.append(("first", number))
            if number == 1:
                theirs.listen(late)

        theirs.listen(first)
        for number in range(4):
            await mine.send(number)
        await until(lambda: len(seen) == 6)
        # Who begins to listen inside a message hears the next.
        assert seen == [("first", 0), ("first", 1), ("first", 2), ("late", 2), ("first", 3), ("late", 3)]
        await mine.aclose()
        await until(lambda: theirs.closed)


async def test_several_receivers_take_turns(connected: Connected) -> None:
    async with both_ends(connected) as (_, mine, theirs):
        taken: list[tuple[int, Any]] = []

        async def take(who: int) -> None:
            taken.append((who, await theirs.receive()))

        async with anyio.create_task_group() as group:
            for who in range(4):
                group.start_soon(take, who)
                await anyio.wait_all_tasks_blocked()
            for number in range(4):
                await mine.send(number)
        assert taken == [(0, 0), (1, 1), (2, 2), (3, 3)]
        reasons = Reasons(mine, theirs)
        async with anyio.create_task_group() as group:
            ended: list[int] = []

            async def end(who: int) -> None:
                with pytest.raises(anyio.EndOfStream):
                    await theirs.receive()
                ended.append(who)

            for who in range(4):
                group.start_soon(end, who)
            await anyio.wait_all_tasks_blocked()
            await mine.aclose()
        assert sorted(ended) == [0, 1, 2, 3]
        assert reasons.both == [None, None]


async def test_requests_beyond_the_open_calls_wait(connected: Connected) -> None:
    async with both_ends(connected, limits=Limits(open_calls=4)) as (_, mine, theirs):
        theirs.listen(lambda number: number + 1)
        replies: list[int] = []

        async def ask(number: int) -> None:
            replies.append(await mine.request(number))

        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(ask, number)
        assert sorted(replies) == list(range(1, 51))
        await mine.aclose()
        await until(lambda: theirs.closed)


# --- lines ---------------------------------------------------------------------------------------


async def test_a_line_lets_nobody_overtake(guarded: None) -> None:
    room = 0
    line = Line(lambda: room > 0)
    passed: list[int] = []

    async def enter(who: int) -> None:
        nonlocal room
        await line.turn()
        room -= 1
        passed.append(who)
        line.advance()

    async with anyio.create_task_group() as group:
        for who in range(3):
            group.start_soon(enter, who)
            await anyio.wait_all_tasks_blocked()
        room = 1
        line.advance()
        # The first has been called and has not come yet; whoever comes now is behind them all.
        assert not line.free
        room = 0
        await anyio.wait_all_tasks_blocked()
        assert passed == []
        room = 3
        line.advance()
    assert passed == [0, 1, 2]
