"""Life: a call is answered by its result, and over when all that crossed in it has ended."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest

from telewire import (
    Abort,
    Call,
    CallCancelled,
    Limits,
    ReferenceReleased,
    RemoteError,
    RemotePromise,
    Service,
    get_context,
)
from tests.runtime.lives import KINDS, Giving
from tests.runtime.world import Bugs, Connected, World, caught, drained, quiescent, until


async def use_up(world: World, given: Giving, kind: str, thing: Any) -> None:
    """Bring ``thing`` to its natural end."""
    if kind == "promise":
        given.gate.set()
        assert await thing == "late"
    elif kind == "iterator":
        given.items_gate.set()
        assert [number async for number in thing] == [1, 2]
    else:
        assert await thing(1) == 2
        await thing.aclose()


@pytest.mark.parametrize("last", KINDS)
async def test_a_call_is_over_when_its_last_thing_has_ended(connected: Connected, last: str) -> None:
    given = Giving()
    async with connected(given.service) as world:
        call = world.remote.give(*KINDS)
        result = await call
        for kind in (*(kind for kind in KINDS if kind != last), last):
            await quiescent()
            assert not call.closed
            assert given.over == []
            await use_up(world, given, kind, result.pop(kind))
        await until(lambda: given.over == [None])
        await until(lambda: call.closed)


async def test_a_call_with_nothing_in_it_is_over_with_its_answer(connected: Connected) -> None:
    given = Giving()
    async with connected(given.service) as world:
        call = world.remote.give()
        assert await call == {}
        assert call.closed
        await until(lambda: given.over == [None])


async def ends_by_aclose(call: Call[Any], given: Giving) -> None:
    await call.aclose()


async def ends_by_cancel(call: Call[Any], given: Giving) -> None:
    call.cancel("why")


async def ends_by_leaving(call: Call[Any], given: Giving) -> None:
    async with call:
        pass


@pytest.mark.parametrize("end", [ends_by_aclose, ends_by_cancel, ends_by_leaving])
async def test_the_end_of_a_call_ends_all_that_crossed_in_it(
    connected: Connected, end: Callable[[Call[Any], Giving], Awaitable[None]]
) -> None:
    given = Giving()
    async with connected(given.service) as world:
        call = world.remote.give(*KINDS)
        result = await call
        assert await anext(result["iterator"]) == 1
        await end(call, given)
        await until(lambda: len(given.over) == 1)
        await until(lambda: sorted(given.cleaned) == ["iterator", "promise"])
        if end is ends_by_cancel:
            assert isinstance(given.over[0], CallCancelled)
            assert given.over[0].reason == "why"
        else:
            assert given.over == [None]
        await until(lambda: call.closed)
        assert all(result[kind].closed for kind in KINDS)
        with pytest.raises(ReferenceReleased):
            result["function"](1)
        with pytest.raises(CallCancelled):
            await result["promise"]


async def test_context_aclose_ends_it_from_the_other_side(connected: Connected) -> None:
    service = Service()
    captured: list[Any] = []

    @service.function
    async def give() -> dict[str, Any]:
        captured.append(get_context())
        return {"promise": anyio.sleep_forever(), "function": lambda: None}

    async with connected(service) as world:
        call = world.remote.give()
        result = await call
        reasons: list[object] = []
        call.on_close(reasons.append)
        await captured[0].aclose()
        assert captured[0].closed
        await until(lambda: call.closed)
        assert reasons == [None]
        with pytest.raises(ReferenceReleased):
            result["function"]()
        with pytest.raises(CallCancelled):
            await result["promise"]


async def test_what_was_passed_is_revoked_with_its_call(connected: Connected) -> None:
    service = Service()
    kept: list[Any] = []

    @service.function
    async def keep(function: Callable[[], Any]) -> None:
        kept.append(function)

    async with connected(service) as world:
        async with world.remote.keep(lambda: 5):
            assert await kept[0]() == 5
        await until(lambda: kept[0].closed)
        with pytest.raises(ReferenceReleased):
            kept[0]()


async def test_passed_lambda_keeps_the_call_open(connected: Connected) -> None:
    service = Service()
    kept: list[Any] = []
    over: list[object] = []
    ticks: list[int] = []

    @service.function
    async def on_init(on_tick: Callable[[int], Any]) -> None:
        get_context().on_close(over.append)
        kept.append(on_tick)

    async with connected(service) as world:
        call = world.remote.on_init(lambda number: ticks.append(number))
        assert await call is None
        await quiescent(world.remote)
        assert not call.closed
        assert over == []
        for number in range(3):
            kept[0](number)
        await until(lambda: ticks == [0, 1, 2])
        assert not call.closed
        kept.clear()
        gc.collect()
        await until(lambda: call.closed)
        await until(lambda: over == [None])


async def test_same_function_in_two_calls_one_closed(connected: Connected) -> None:
    service = Service()
    kept: dict[str, Any] = {}

    @service.function
    async def keep(name: str, function: Callable[[int], Any], again: Callable[[int], Any]) -> bool:
        kept[name] = function
        return function is again

    def double(number: int) -> int:
        return number * 2

    async with connected(service) as world:
        one, two = world.remote.keep("one", double, double), world.remote.keep("two", double, double)
        assert await one
        assert await two
        assert kept["one"] == kept["two"]
        assert hash(kept["one"]) == hash(kept["two"])
        assert len({kept["one"], kept["two"]}) == 1
        await one.aclose()
        await until(lambda: kept["one"].closed)
        with pytest.raises(ReferenceReleased):
            kept["one"](1)
        assert not kept["two"].closed
        assert await kept["two"](4) == 8
        kept.clear()


async def test_which_functions_are_the_same(connected: Connected) -> None:
    service = Service()

    @service.function
    async def same(left: Any, right: Any) -> bool:
        return bool(left == right)

    class Thing:
        def method(self) -> None: ...

    one, two = Thing(), Thing()
    items: list[int] = []
    others: list[int] = []
    pairs = [
        (one.method, one.method, True),
        (one.method, two.method, False),
        (items.append, items.append, True),
        (items.append, others.append, False),
        (len, len, True),
        (same, same, True),
        (lambda: None, lambda: None, False),
    ]
    async with connected(service) as world:
        for left, right, expected in pairs:
            assert await world.remote.same(left, right) is expected, (left, right)
        await until(lambda: not world.client_driver.exports._numbers)


async def test_a_thousand_promises_each_settled_alone(connected: Connected) -> None:
    service = Service()
    gates = [anyio.Event() for _ in range(1000)]

    async def later(number: int) -> int:
        await gates[number].wait()
        if number % 10 == 3:
            raise Abort(number)
        return number

    @service.function
    async def many() -> list[Any]:
        return [later(number) for number in range(1000)]

    async with connected(service) as world:
        promises = await world.remote.many()
        for number in (999, 0, 3, 500):
            assert not promises[number].closed
            gates[number].set()
            if number == 3:
                with pytest.raises(Abort):
                    await promises[number]
            else:
                assert await promises[number] == number
        assert sum(promise.closed for promise in promises) == 4
        for gate in gates:
            gate.set()
        for number, promise in enumerate(promises):
            if number % 10 == 3:
                assert isinstance(await caught(promise), Abort)
            else:
                assert await promise == number


async def test_the_same_promise_is_one(connected: Connected) -> None:
    service = Service()
    runs: list[int] = []

    @service.function
    async def twice() -> list[Any]:
        async def later() -> int:
            runs.append(1)
            return 5

        promise = later()
        return [promise, {"again": promise}]

    async with connected(service) as world:
        first, second = await world.remote.twice()
        assert first is second["again"]
        assert [await first, await first, await second["again"]] == [5, 5, 5]
    assert runs == [1]


async def test_cancelling_an_await_of_a_promise_ends_only_that_wait(connected: Connected) -> None:
    given = Giving()
    async with connected(given.service) as world:
        promise = (await world.remote.give("promise"))["promise"]
        with anyio.move_on_after(0.01) as scope:
            await promise
        assert scope.cancelled_caught
        assert not promise.closed
        given.gate.set()
        assert await promise == "late"


async def test_a_dropped_promise_cancels_its_coroutine(connected: Connected) -> None:
    given = Giving()
    async with connected(given.service) as world:
        result = await world.remote.give("promise")
        await quiescent(world.remote)
        assert given.cleaned == []
        result.clear()
        await until(lambda: given.cleaned == ["promise"])
        await until(lambda: given.over == [None])


async def test_a_promise_nobody_could_take_is_cancelled(connected: Connected) -> None:
    given = Giving()
    async with connected(given.service) as world:
        call = world.remote.give("promise", "iterator")
        del call
        await until(lambda: given.over == [None])
        await quiescent(world.remote)
        assert not world.server_driver.connection._ours


async def test_a_promise_as_an_argument(connected: Connected) -> None:
    service = Service()

    @service.function
    async def wait_for(promise: Awaitable[int], more: dict[str, Any]) -> list[Any]:
        assert isinstance(promise, RemotePromise)
        return [await promise, await more["other"]]

    @service.function
    async def strict(promise: Awaitable[int]) -> int:
        return await promise

    async def answer(value: object) -> object:
        await anyio.lowlevel.checkpoint()
        return value

    async with connected(service) as world:
        call = world.remote.wait_for(answer(1), {"other": world.remote.strict(answer(2))})
        assert await call == [1, 2]


async def test_a_rejected_promise_leaves_its_siblings_alone(connected: Connected, bugs: Bugs) -> None:
    service = Service()
    gate = anyio.Event()

    @service.function
    async def mixed() -> dict[str, Any]:
        async def fails() -> None:
            raise ValueError("a secret")

        async def refuses() -> None:
            raise Abort("refused")

        async def late() -> int:
            await gate.wait()
            return 3

        async def items() -> AsyncIterator[int]:
            yield 1
            raise ValueError("another secret")

        async def unread() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 1000

        return {
            "fails": fails(),
            "refuses": refuses(),
            "late": late(),
            "items": items(),
            "unread": unread(),
            "function": lambda: 4,
        }

    async with connected(service) as world:
        async with world.remote.mixed() as result:
            assert isinstance(await caught(result["fails"]), RemoteError)
            assert isinstance(await caught(result["refuses"]), Abort)
            items, error = await drained(result["items"])
            assert items == [1]
            assert isinstance(error, RemoteError)
            gate.set()
            assert await result["late"] == 3
            assert await result["function"]() == 4
            assert len(await anext(result["unread"])) == 1000
        assert b"secret" not in world.sent


async def test_unread_siblings(connected: Connected) -> None:
    service = Service()

    @service.function
    async def streams() -> list[AsyncIterator[bytes]]:
        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 4000

        async def counted() -> AsyncIterator[bytes]:
            for _ in range(500):
                yield b"y" * 4000

        return [endless(), endless(), counted(), endless()]

    async with connected(service) as world, world.remote.streams() as (first, _second, counted, _third):
        # The others fill their windows and stop; this one flows, and calls pass.
        assert sum([len(item) async for item in counted]) == 500 * 4000
        await world.remote["test.round_trip"]()
        assert len(await anext(first)) == 4000


async def test_message_larger_than_its_window(connected: Connected) -> None:
    service = Service()
    sizes = [1_000_000, 10, 1_000_000, 2_000_000, 1]

    @service.function
    async def large() -> AsyncIterator[bytes]:
        for size in sizes:
            yield b"x" * size

    @service.function
    async def measure(items: AsyncIterator[bytes]) -> list[int]:
        return [len(item) async for item in items]

    async def ours() -> AsyncIterator[bytes]:
        for size in sizes:
            yield b"y" * size

    limits = Limits(stream_window=64 * 1024, stream_window_read=64 * 1024)
    async with connected(service, limits=limits) as world:
        found = []
        async for item in world.remote.large():
            found.append(len(item))
            # A small call in between is not held up.
            await world.remote["test.round_trip"]()
        assert found == sizes
        assert await world.remote.measure(ours()) == sizes
