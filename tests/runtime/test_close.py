"""on_close: every callback runs exactly once, with the reason, on whichever side and for whatever end."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from telewire import (
    Abort,
    Call,
    CallCancelled,
    Context,
    DeadlineExceeded,
    NetworkError,
    Remote,
    RemoteError,
    Service,
    get_context,
    with_options,
)
from tests.runtime.world import Bugs, Connected, World, caught, drained, quiescent, until


class Watched:
    """A service whose calls write down their reasons, and how often they got them."""

    def __init__(self) -> None:
        self.reasons: list[object] = []
        self.order: list[str] = []
        self.started = anyio.Event()
        self.service = Service()
        for function in (
            self.answer,
            self.count,
            self.three,
            self.wait,
            self.refuse,
            self.fail,
            self.fail_late,
        ):
            self.service.add(function)

    def watch(self) -> None:
        context = get_context()
        context.on_close(self.closed)
        self.started.set()

    def closed(self, reason: object) -> None:
        self.reasons.append(reason)
        self.order.append("on_close")

    async def answer(self) -> int:
        self.watch()
        return 1

    async def count(self) -> AsyncIterator[int]:
        self.watch()
        number = 0
        try:
            while True:
                yield number
                number += 1
        finally:
            self.order.append("finally")

    async def three(self) -> AsyncIterator[int]:
        self.watch()
        for number in range(3):
            yield number

    async def wait(self) -> None:
        self.watch()
        try:
            await anyio.sleep_forever()
        finally:
            self.order.append("finally")

    async def refuse(self) -> None:
        self.watch()
        raise Abort("no")

    async def fail(self) -> None:
        self.watch()
        raise ValueError("bug")

    async def fail_late(self) -> AsyncIterator[int]:
        self.watch()
        yield 1
        raise ValueError("late bug")


async def await_it(call: Call[Any]) -> None:
    await call


async def iterate_it(call: Call[Any]) -> None:
    async for _ in call:
        pass


async def break_it(call: Call[Any]) -> None:
    async for number in call:
        if number == 2:
            break


async def close_it(call: Call[Any]) -> None:
    await (await call).aclose()


async def drop_it(call: Call[Any]) -> None:
    iterator = await call
    assert await anext(iterator) == 0


async def with_it(call: Call[Any]) -> None:
    async with call as iterator:
        assert await anext(iterator) == 0


async def aclose_it(call: Call[Any]) -> None:
    await call
    await call.aclose()


async def cancel_it(call: Call[Any]) -> None:
    iterator = await call
    call.cancel()
    with pytest.raises(CallCancelled):
        await anext(iterator)


async def fail_it(call: Call[Any]) -> None:
    assert isinstance(await caught(call), Exception)


async def fail_it_late(call: Call[Any]) -> None:
    assert isinstance((await drained(call))[1], Exception)


Use = Callable[[Call[Any]], Any]


# What is called, how it is used, what the server's callback and the client's get.
ENDS: dict[str, tuple[str, Use, type | None, type | None]] = {
    "answered": ("answer", await_it, None, None),
    "natural end": ("three", iterate_it, None, None),
    "break": ("count", break_it, None, None),
    "iterator aclose": ("count", close_it, None, None),
    "dropped": ("count", drop_it, None, None),
    "async with": ("count", with_it, None, None),
    "call aclose": ("count", aclose_it, None, None),
    "cancel": ("count", cancel_it, CallCancelled, CallCancelled),
    "abort": ("refuse", fail_it, Abort, Abort),
    "bug": ("fail", fail_it, ValueError, RemoteError),
    # The call was answered: on the client its stream has failed, not the call.
    "late bug": ("fail_late", fail_it_late, ValueError, None),
}


@pytest.mark.parametrize("end", list(ENDS))
async def test_i5_every_on_close_runs_exactly_once_with_its_reason(
    connected: Connected, bugs: Bugs, end: str
) -> None:
    name, use, on_server, on_client = ENDS[end]
    watched = Watched()
    reasons: list[object] = []

    async def call_it(remote: Remote) -> None:
        call = remote[name]()
        call.on_close(lambda reason: reasons.append(reason))
        await use(call)

    async with connected(watched.service) as world:
        await call_it(world.remote)
        await world.settled()
        await quiescent(world.remote)
    assert [type(reason) for reason in watched.reasons] == [on_server or type(None)]
    assert [type(reason) for reason in reasons] == [on_client or type(None)]


async def test_i5_a_deadline_is_the_reason(connected: Connected) -> None:
    for name in ("wait", "count"):
        watched = Watched()
        reasons: list[object] = []
        async with connected(watched.service) as world:
            call = with_options(world.remote[name], timeout=0.05)()
            call.on_close(lambda reason, reasons=reasons: reasons.append(reason))
            if name == "wait":
                assert isinstance(await caught(call), DeadlineExceeded)
            else:
                assert isinstance((await drained(await call))[1], DeadlineExceeded)
            await world.settled()
            await quiescent(world.remote)
        assert [type(reason) for reason in watched.reasons] == [DeadlineExceeded]
        assert [type(reason) for reason in reasons] == [DeadlineExceeded]


async def test_i5_a_cut_is_a_network_error_on_both_sides(connected: Connected) -> None:
    watched = Watched()
    reasons: list[object] = []
    async with connected(watched.service) as world:
        waiting = world.remote.wait()
        counting = world.remote.count()
        for call in (waiting, counting):
            call.on_close(lambda reason: reasons.append(reason))
        iterator = await counting
        iterator.on_close(lambda reason: reasons.append(reason))
        await until(lambda: len(watched.order) == 0 and watched.started.is_set())
        await quiescent(world.remote)
        world.cut()
        assert isinstance(await caught(waiting), NetworkError)
        assert isinstance((await drained(iterator))[1], NetworkError)
        await until(lambda: len(watched.reasons) == 2 and len(reasons) == 3)
        await until(lambda: watched.order.count("finally") == 2)
        await quiescent()
    assert (len(watched.reasons), len(reasons)) == (2, 3)
    assert all(isinstance(reason, NetworkError) for reason in (*watched.reasons, *reasons))


async def test_i5_leaving_connect_closes_what_is_open(connected: Connected) -> None:
    watched = Watched()
    reasons: list[object] = []
    world: World
    async with connected(watched.service, settle=False) as world:
        waiting = world.remote.wait()
        iterator = await world.remote.count()
        for handle in (waiting, iterator):
            handle.on_close(lambda reason: reasons.append(reason))
        assert await anext(iterator) == 0
        await quiescent(world.remote)
    await until(lambda: len(watched.reasons) == 2, lambda: watched.order)
    await until(lambda: watched.order.count("finally") == 2, lambda: watched.order)
    assert watched.reasons == [None, None]
    assert reasons == [None, None]
    assert waiting.closed
    assert iterator.closed


async def test_on_close_while_blocked(connected: Connected) -> None:
    watched = Watched()
    async with connected(watched.service) as world:
        call = world.remote.wait()
        await watched.started.wait()
        call.cancel("stop")
        assert isinstance(await caught(call), CallCancelled)
        await world.settled()
        # Before the body was unwound, though it was blocked in an await; and once.
        assert watched.order == ["on_close", "finally"]
        (reason,) = watched.reasons
        assert isinstance(reason, CallCancelled)
        assert reason.reason == "stop"


async def test_on_close_while_a_generator_is_blocked(connected: Connected) -> None:
    service = Service()
    order: list[str] = []

    @service.function
    async def upstream() -> AsyncIterator[str]:
        get_context().on_close(lambda: order.append("on_close"))
        try:
            yield "token"
            await anyio.sleep_forever()
        finally:
            order.append("finally")

    async with connected(service) as world:
        async for token in world.remote.upstream():
            assert token == "token"
            await quiescent(world.remote)
            break
        await until(lambda: "finally" in order)
    assert order == ["on_close", "finally"]


async def test_sync_and_async_with_and_without_reason(connected: Connected) -> None:
    service = Service()
    got: list[tuple[str, object]] = []

    def plain() -> None:
        got.append(("plain", None))

    def positional(why: object) -> None:
        got.append(("positional", why))

    def optional(why: object = "default") -> None:
        got.append(("optional", why))

    def named(extra: object = None, *, reason: object = "default") -> None:
        got.append(("named", reason))

    def defaulted(reason: object = "default") -> None:
        got.append(("defaulted", reason))

    async def coroutine() -> None:
        await anyio.lowlevel.checkpoint()
        got.append(("coroutine", None))

    async def coroutine_with(reason: object) -> None:
        await anyio.lowlevel.checkpoint()
        assert get_context().closed
        got.append(("coroutine_with", reason))

    @service.function
    async def work() -> None:
        context = get_context()
        for callback in (plain, positional, optional, named, defaulted, coroutine, coroutine_with):
            context.on_close(callback)
        context.on_close(functools.partial(positional, "bound"))
        context.on_close(got[:].clear)
        raise Abort("over")

    async with connected(service) as world:
        assert isinstance(await caught(world.remote.work()), Abort)
        await until(lambda: len(got) == 8, lambda: got)
        await quiescent(world.remote)
    names = [name for name, _ in got]
    assert names[:6] == ["plain", "positional", "optional", "named", "defaulted", "positional"]
    assert sorted(names[6:]) == ["coroutine", "coroutine_with"]
    reasons = dict(reversed(got))
    assert isinstance(reasons["positional"], Abort)
    assert reasons["optional"] == "default"
    assert isinstance(reasons["named"], Abort)
    assert isinstance(reasons["defaulted"], Abort)
    assert isinstance(reasons["coroutine_with"], Abort)
    assert got[5] == ("positional", "bound")


async def test_a_failing_callback_disturbs_nothing(connected: Connected, bugs: Bugs) -> None:
    told: list[tuple[str, object]] = []
    service = Service(on_error=lambda error, context: told.append((str(error), context)))
    ran: list[str] = []
    contexts: list[Context[object]] = []

    def broken() -> None:
        raise ValueError("sync callback")

    async def broken_later() -> None:
        await anyio.lowlevel.checkpoint()
        raise ValueError("async callback")

    @service.function
    async def work() -> int:
        contexts.append(get_context())
        for callback in (broken, broken_later, lambda: ran.append("the one after")):
            get_context().on_close(callback)
        return 1

    async with connected(service) as world:
        assert await world.remote.work() == 1
        await until(lambda: len(told) == 2)
        call = world.remote.work()
        call.on_close(broken)
        iterator_ran: list[object] = []
        call.on_close(lambda: iterator_ran.append(1))
        await call
        await until(lambda: len(told) == 4 and bool(iterator_ran))
    assert ran == ["the one after"] * 2
    assert sorted({text for text, _ in told}) == ["async callback", "sync callback"]
    assert {id(context) for _, context in told} == {id(context) for context in contexts}
    assert len(bugs.records) == 5


async def test_registered_after_the_end_it_runs_at_once(connected: Connected) -> None:
    watched = Watched()
    late: list[object] = []
    async with connected(watched.service) as world:
        call = world.remote.refuse()
        assert isinstance(await caught(call), Abort)
        call.on_close(lambda reason: late.append(reason))
        assert len(late) == 1
        assert isinstance(late[0], Abort)
        iterator = await world.remote.three()
        assert [number async for number in iterator] == [0, 1, 2]
        iterator.on_close(lambda reason: late.append(reason))
        assert late[1:] == [None]


async def test_an_iterators_on_close_runs_once_for_each_way_it_ends(connected: Connected, bugs: Bugs) -> None:
    watched = Watched()
    async with connected(watched.service) as world:
        for name, end, expected in (
            ("three", drained, None),
            ("count", lambda iterator: iterator.aclose(), None),
            ("fail_late", drained, RemoteError),
        ):
            reasons: list[object] = []
            iterator = await world.remote[name]()
            iterator.on_close(lambda reason, reasons=reasons: reasons.append(reason))
            await end(iterator)
            await world.settled()
            assert [type(reason) for reason in reasons] == [expected or type(None)]
        reasons = []
        iterator = await world.remote.count()
        iterator.on_close(lambda reason, reasons=reasons: reasons.append(reason))
        del iterator
        await world.settled()
        assert reasons == [None]
