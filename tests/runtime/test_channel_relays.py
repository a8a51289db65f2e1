"""A received end of a channel that is passed on: the one in the middle relays (TW-VAL-038)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest

from telewire import (
    Abort,
    CallCancelled,
    Channel,
    ChannelClosed,
    FunctionNotFound,
    InvalidArgument,
    Limits,
    LocalProtocolError,
    RemoteError,
    Service,
    TelewireError,
)
from telewire_transports import memory
from tests.runtime.channels import Reasons
from tests.runtime.world import Bugs, until

pytestmark = pytest.mark.usefixtures("guarded")

WINDOW = 4096
LEAST = Limits().item_cost
SMALL = Limits(stream_window=WINDOW, stream_window_read=WINDOW)
ROUTES = ["between servers", "between clients", "back", "twice"]
either_way = pytest.mark.parametrize("way", ["there", "back"])
every_route = pytest.mark.parametrize("route", ROUTES)

Ends = tuple[Channel[Any, Any], Channel[Any, Any]]


def taking() -> tuple[Service[Any], list[Channel[Any, Any]]]:
    """A service that makes channels, takes ends and gives them to whoever asks; the list has what it kept."""
    service = Service()
    kept: list[Channel[Any, Any]] = []

    @service.function
    async def make() -> Channel[Any, Any]:
        channel = Channel[Any, Any]()
        kept.append(channel)
        return channel.peer

    @service.function
    async def take(channel: Channel[Any, Any]) -> None:
        kept.append(channel)

    @service.function
    async def give() -> Channel[Any, Any]:
        return kept.pop()

    return service, kept


@asynccontextmanager
async def relayed(route: str, limits: Limits | None = None) -> AsyncIterator[Ends]:
    """The two ends that are in use, with one who passed on between them, or two."""
    async with AsyncExitStack() as stack:
        service, kept = taking()
        first = await stack.enter_async_context(memory.connect(service, limits=limits))
        if route == "back":
            mine = Channel[Any, Any]()
            await first.take(mine.peer)
            other = await first.give()
        elif route == "between clients":
            second = await stack.enter_async_context(memory.connect(service, limits=limits))
            mine = Channel[Any, Any]()
            await first.take(mine.peer)
            other = await second.give()
        else:
            near, kept_there = taking()
            second = await stack.enter_async_context(memory.connect(near, limits=limits))
            await second.take(await first.make())
            mine = kept.pop()
            if route == "between servers":
                other = kept_there.pop()
            else:
                other = await second.give()
        yield mine, other
        # What a test leaves open ends with its references.
        del mine, other


def ordered(way: str, ends: Ends) -> Ends:
    """The ends, or the ends the other way round."""
    return ends if way == "there" else (ends[1], ends[0])


@every_route
@either_way
async def test_messages_in_order_and_a_graceful_end(route: str, way: str) -> None:
    async with relayed(route) as ends:
        mine, other = ordered(way, ends)
        reasons = Reasons(mine, other)
        sizes = [1, 70_000, 0, 3_000, 200_000, 2]

        async def send_all() -> None:
            for size in sizes:
                await mine.send(b"x" * size)
            for number in range(500):
                await mine.send(number)
            await mine.aclose()

        async with anyio.create_task_group() as group:
            group.start_soon(send_all)
            received = [message async for message in other]
        assert [len(message) for message in received[: len(sizes)]] == sizes
        assert received[len(sizes) :] == list(range(500))
        await until(lambda: reasons.told)
        assert reasons.both == [None, None]
        with pytest.raises(ChannelClosed):
            await other.send(1)


@every_route
@either_way
async def test_requests_both_ways(route: str, way: str, bugs: Bugs) -> None:
    async with relayed(route) as ends:
        mine, other = ordered(way, ends)

        async def answer(message: Any) -> Any:
            await anyio.lowlevel.checkpoint()
            if message == "refused":
                raise Abort({"because": 1})
            if message == "broken":
                raise ValueError("a secret")
            return {"answer": message}

        other.listen(answer)
        mine.listen(lambda message: message * 2)
        assert await mine.request("a") == {"answer": "a"}
        assert await other.request(21, int) == 42
        assert await mine.request(lambda: 1) is not None
        with pytest.raises(Abort) as refused:
            await mine.request("refused")
        assert refused.value.value == {"because": 1}
        with pytest.raises(RemoteError) as failed:
            await mine.request("broken")
        assert "secret" not in str(failed.value)
        # The channel goes on.
        assert await mine.request("b") == {"answer": "b"}
        await mine.aclose()
        await until(lambda: other.closed)


@every_route
async def test_requests_run_side_by_side_and_can_be_cancelled(route: str) -> None:
    async with relayed(route) as (mine, other):
        began: list[int] = []
        ended: list[int] = []
        gate = anyio.Event()

        async def slow(number: int) -> int:
            began.append(number)
            try:
                await gate.wait()
            finally:
                ended.append(number)
            return number

        other.listen(slow)
        results: list[int] = []

        async def ask(number: int, scope: anyio.CancelScope) -> None:
            with scope:
                results.append(await mine.request(number))

        scopes = [anyio.CancelScope() for _ in range(3)]
        async with anyio.create_task_group() as group:
            for number, scope in enumerate(scopes):
                group.start_soon(ask, number, scope)
                await until(lambda number=number: number in began)  # type: ignore[misc]  # bound at once
            scopes[1].cancel()
            await until(lambda: ended == [1])
            gate.set()
        assert began == [0, 1, 2]
        assert sorted(results) == [0, 2]
        await mine.aclose()


@every_route
async def test_who_iterates_answers_no_requests(route: str) -> None:
    async with relayed(route) as (mine, other):
        await mine.send("hello")
        assert await other.receive() == "hello"
        with pytest.raises(FunctionNotFound):
            await mine.request("anybody?")
        await other.send("still here")
        assert await mine.receive() == "still here"
        await mine.aclose()
        assert [message async for message in other] == []


@every_route
@either_way
async def test_an_abort_reaches_the_other_end(route: str, way: str) -> None:
    async with relayed(route) as ends:
        mine, other = ordered(way, ends)
        reasons = Reasons(mine, other)
        mine.abort({"thrown": "out"})
        await until(lambda: reasons.told)
        for reason in reasons.both:
            assert isinstance(reason, Abort)
            assert reason.value == {"thrown": "out"}
        with pytest.raises(ChannelClosed):
            await other.send(1)


@every_route
@either_way
async def test_who_sends_is_held_to_the_pace_of_who_receives(route: str, way: str) -> None:
    async with relayed(route, SMALL) as ends:
        mine, other = ordered(way, ends)
        sent = 0

        async def send_all() -> None:
            nonlocal sent
            for number in range(1000):
                await mine.send(number)
                sent += 1
            await mine.aclose()

        # Each who relays is a receiver of its own.
        most = (3 if route == "twice" else 2) * (WINDOW // LEAST) + 3
        async with anyio.create_task_group() as group:
            group.start_soon(send_all)
            for taken in range(100):
                assert await other.receive() == taken
                assert sent - taken - 1 <= most
            await anyio.wait_all_tasks_blocked()
            assert sent - 100 <= most
            assert [message async for message in other] == list(range(100, 1000))


@every_route
async def test_values_with_a_life_cross_in_messages(route: str) -> None:
    async with relayed(route) as (mine, other):

        async def items() -> AsyncIterator[int]:
            for number in range(3):
                yield number

        async def later() -> str:
            return "later"

        inner = Channel[Any, Any]()
        await mine.send({"items": items(), "later": later(), "most": max, "channel": inner.peer})
        value = await other.receive()
        assert [item async for item in value["items"]] == [0, 1, 2]
        assert await value["later"] == "later"
        # What comes back to its own side is itself again, through the relay too.
        assert value["most"] is max if route == "back" else await value["most"](1, 2) == 2
        await inner.send("inside")
        assert await value["channel"].receive() == "inside"
        await inner.aclose()
        await mine.aclose()
        del value


@every_route
@pytest.mark.parametrize("gone", ["mine", "other"])
async def test_dropping_an_end_closes_the_other(route: str, gone: str) -> None:
    async with relayed(route) as (mine, other):
        kept, reasons = (other if gone == "mine" else mine), list[TelewireError | None]()
        kept.on_close(reasons.append)
        if gone == "other":
            # The sender of the relayed end waits for nobody.
            await mine.send("unread")
        del mine, other
        await anyio.wait_all_tasks_blocked()
    assert reasons == [None]
    assert kept.closed


async def test_what_waited_is_relayed_and_the_handle_is_spent() -> None:
    service, kept = taking()
    near, kept_there = taking()
    async with memory.connect(service) as first, memory.connect(near) as second:
        received = await first.make()
        mine = kept.pop()
        for number in range(3):
            await mine.send(number)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(InvalidArgument, match="cannot travel"):
            second.take(received, object())
        await second.take(received)
        other = kept_there.pop()
        assert [await other.receive() for _ in range(3)] == [0, 1, 2]
        spent: list[Callable[[], Any]] = [
            lambda: received.send_nowait(1),
            lambda: received.listen(print),
            lambda: aiter(received),
        ]
        for use in spent:
            with pytest.raises(LocalProtocolError, match="was passed on"):
                use()
        for waiting in (received.send, received.request):
            with pytest.raises(LocalProtocolError, match="was passed on"):
                await waiting(1)
        with pytest.raises(LocalProtocolError, match="was passed on"):
            await received.receive()
        with pytest.raises(InvalidArgument, match="passed on already"):
            second.take(received)
        # Whoever passed it on may still end it.
        reasons = Reasons(mine, other)
        received.abort("enough")
        await until(lambda: reasons.told)
        assert [reason.value for reason in reasons.both if isinstance(reason, Abort)] == ["enough"] * 2
        closed = await first.make()
        await closed.aclose()
        with pytest.raises(InvalidArgument, match="is closed"):
            second.take(closed)


async def test_a_message_that_does_not_fit_ends_both_channels() -> None:
    service, kept = taking()
    near = Service()
    kept_there: list[Channel[int, int]] = []

    @near.function
    async def numbers(channel: Channel[int, int]) -> None:
        kept_there.append(channel)

    async with memory.connect(service) as first, memory.connect(near) as second:
        await second.numbers(await first.make())
        mine, other = kept.pop(), kept_there.pop()
        reasons = Reasons(mine, other)
        await mine.send(1)
        assert await other.receive() == 1
        await mine.send("two")
        with pytest.raises(InvalidArgument, match="expected int, got str"):
            await other.receive()
        await until(lambda: reasons.told)
        assert [type(reason) for reason in reasons.both] == [InvalidArgument] * 2


async def test_a_message_too_large_for_the_next_leaves_no_hole() -> None:
    service, kept = taking()
    near, kept_there = taking()
    async with (
        memory.connect(service) as first,
        memory.connect(near, limits=Limits(message_bytes=50_000)) as second,
    ):
        await second.take(await first.make())
        mine, other = kept.pop(), kept_there.pop()
        reasons = Reasons(mine, other)
        other.listen(lambda message: len(message))
        assert await mine.request(b"small") == 5
        with pytest.raises(TelewireError, match="50000"):
            await mine.request(b"x" * 60_000)
        assert await mine.request(b"small") == 5
        await mine.send(b"x" * 60_000)
        await until(lambda: reasons.told)
        assert not any(reason is None for reason in reasons.both)


@pytest.mark.parametrize("how", ["left", "cancelled"])
async def test_the_end_of_one_connection_ends_the_channel_on_the_other(how: str) -> None:
    service, kept = taking()
    near, kept_there = taking()
    async with memory.connect(near) as second:
        async with memory.connect(service) as first:
            call = first.make()
            await second.take(await call)
            mine, other = kept.pop(), kept_there.pop()
            reasons = Reasons(mine, other)
            await mine.send(1)
            assert await other.receive() == 1
            if how == "cancelled":
                call.cancel("enough")
                await until(lambda: reasons.told)
        await until(lambda: reasons.told)
        if how == "cancelled":
            assert all(isinstance(reason, CallCancelled) for reason in reasons.both)
        assert other.closed
