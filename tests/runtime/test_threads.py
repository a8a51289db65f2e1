"""Plain functions and sync iterators: one thread from first to last, and never the loop's."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from telewire import (
    Abort,
    CallCancelled,
    CancelOutcome,
    InvalidArgument,
    Limits,
    ReferenceReleased,
    RemoteError,
    ResourceExhausted,
    Return,
    Service,
    get_context,
)
from telewire.runtime import threads
from tests.runtime.own_threads import workers
from tests.runtime.world import Bugs, Connected, caught, drained, until

pytestmark = pytest.mark.usefixtures("guarded")


async def test_plain_def_does_not_block_the_loop(connected: Connected) -> None:
    service = Service()
    gate = threading.Event()

    @service.function
    def slow(number: int) -> int:
        assert gate.wait(5)
        return number + 1

    @service.function
    async def quick() -> str:
        return "quick"

    async with connected(service) as world:
        calls = [world.remote.slow(number) for number in range(5)]
        assert await world.remote.quick() == "quick"
        assert not any(call.closed for call in calls)
        gate.set()
        assert [await call for call in calls] == [1, 2, 3, 4, 5]


async def test_sqlite_cursor_in_ten_concurrent_streams(connected: Connected) -> None:
    service = Service()

    @service.function
    def search(table: int) -> Iterator[tuple[int, str]]:
        database = sqlite3.connect(":memory:")
        get_context().on_close(database.close)
        database.execute("create table rows (number integer, text text)")
        database.executemany(
            "insert into rows values (?, ?)", [(number, f"{table}:{number}") for number in range(700)]
        )
        return database.execute("select number, text from rows order by number")

    async with connected(service) as world:
        found: dict[int, list[Any]] = {}

        async def read(table: int) -> None:
            found[table] = [row async for row in world.remote[search](table)]

        async with anyio.create_task_group() as group:
            for table in range(10):
                group.start_soon(read, table)
        assert found == {
            table: [(number, f"{table}:{number}") for number in range(700)] for table in range(10)
        } or found == {table: [[number, f"{table}:{number}"] for number in range(700)] for table in range(10)}


async def test_one_thread_from_first_to_last(connected: Connected) -> None:
    service = Service()
    seen: list[tuple[str, int]] = []

    def here(what: str) -> None:
        seen.append((what, threading.get_ident()))

    @service.function
    def steps(count: int) -> Iterator[int]:
        here("function")
        get_context().on_close(lambda: here("closed"))

        def generate() -> Iterator[int]:
            try:
                for number in range(count):
                    here("step")
                    yield number
            finally:
                here("finally")

        return generate()

    async with connected(service) as world:
        assert [number async for number in world.remote.steps(600)] == list(range(600))
        await until(lambda: "closed" in dict(seen))
        assert len({thread for _, thread in seen}) == 1
        assert seen[0][1] != threading.get_ident()
        seen.clear()
        async for number in world.remote.steps(10_000_000):
            if number == 5:
                break
        await until(lambda: {"closed", "finally"} <= dict(seen).keys())
        assert len({thread for _, thread in seen}) == 1


async def test_a_stopped_iterator_tells_on_close_before_it_is_closed(connected: Connected) -> None:
    service = Service()
    seen: list[object] = []

    @service.function
    def forever() -> Iterator[int]:
        def closed(reason: BaseException | None) -> None:
            seen.append(reason)

        get_context().on_close(closed)

        def generate() -> Iterator[int]:
            try:
                while True:
                    yield 1
            finally:
                seen.append("finally")

        return generate()

    async with connected(service) as world:
        async for _ in world.remote.forever():
            break
        await until(lambda: len(seen) == 2)
        assert seen == [None, "finally"]
        call = world.remote.forever()
        await call
        call.cancel("enough")
        await until(lambda: len(seen) == 4)
        assert isinstance(seen[2], CallCancelled)
        assert seen[3] == "finally"


async def test_what_a_plain_generator_returns_is_the_value(connected: Connected) -> None:
    service = Service()

    @service.function
    def counted(to: int) -> Iterator[int]:
        yield from range(to)
        return to  # that is what is tested

    @service.function
    def told(to: int) -> Iterator[int]:
        yield from range(to)
        raise Return({"to": to})

    async with connected(service) as world:
        for function, value in ((world.remote.counted, 3), (world.remote.told, {"to": 3})):
            iterator = await function(3)
            assert [number async for number in iterator] == [0, 1, 2]
            assert iterator.value == value


async def test_failures_in_a_thread(connected: Connected, bugs: Bugs) -> None:
    errors: list[Exception] = []
    service = Service(on_error=lambda error, context: errors.append(error))

    @service.function
    def refuse() -> None:
        raise Abort({"why": 7})

    @service.function
    def break_down() -> None:
        raise ValueError("a secret")

    @service.function
    def half() -> Iterator[int]:
        yield 1
        yield 2
        raise Abort("half-way")

    @service.function
    def misfit() -> Iterator[int]:
        yield 1
        yield "two"  # type: ignore[misc]

    async with connected(service) as world:
        error = await caught(world.remote.refuse())
        assert isinstance(error, Abort)
        assert error.value == {"why": 7}
        error = await caught(world.remote.break_down())
        assert isinstance(error, RemoteError)
        assert "secret" not in str(error)
        items, failure = await drained(world.remote.half())
        assert items == [1, 2]
        assert isinstance(failure, Abort)
        items, failure = await drained(world.remote.misfit())
        assert items == [1]
        assert isinstance(failure, RemoteError)
        assert isinstance(await caught(world.remote.refuse(1)), InvalidArgument)
    assert [type(error) for error in errors] == [ValueError, InvalidArgument]


async def test_sync_iterators_anywhere_in_a_value(connected: Connected) -> None:
    service = Service()

    @service.function
    async def mixed() -> dict[str, Any]:
        return {"squares": (number * number for number in range(4)), "pairs": [zip("ab", "cd", strict=True)]}

    @service.function
    def from_a_thread() -> dict[str, Any]:
        database = sqlite3.connect(":memory:")
        return {"rows": database.execute("select 1 union select 2")}

    @service.function
    async def total(numbers: AsyncIterator[int]) -> int:
        return sum([number async for number in numbers])

    async with connected(service) as world:
        result = await world.remote.mixed()
        assert [item async for item in result["squares"]] == [0, 1, 4, 9]
        assert [item async for item in result["pairs"][0]] == [["a", "c"], ["b", "d"]]
        result = await world.remote.from_a_thread()
        assert [row async for row in result["rows"]] == [[1], [2]]
        assert await world.remote.total(iter([1, 2, 3])) == 6
        assert await world.remote.total(number for number in range(1000)) == sum(range(1000))


async def test_items_with_a_life_and_large_ones(connected: Connected) -> None:
    service = Service()

    @service.function
    def given() -> Iterator[object]:
        yield 1
        yield {"call": abs}
        yield b"x" * 200_000
        yield (n for n in range(3))
        yield 2

    async with connected(service) as world:
        items = [item async for item in world.remote.given()]
        assert items[0] == 1
        assert await items[1]["call"](-4) == 4
        assert len(items[2]) == 200_000
        assert [number async for number in items[3]] == [0, 1, 2]
        assert items[4] == 2
        del items


async def test_a_sync_generator_is_never_further_ahead_than_its_credit(connected: Connected) -> None:
    service = Service()
    produced = 0

    @service.function
    def numbers() -> Iterator[int]:
        nonlocal produced
        while True:
            produced += 1
            yield produced

    async with connected(service, limits=Limits(stream_window=4096, stream_window_read=4096)) as world:
        iterator = await world.remote.numbers()
        # Nobody reads: it goes to the end of the window, and stays there.
        await until(lambda: produced >= 4096 // 256)
        await world.remote["test.round_trip"]()
        assert produced == 4096 // 256
        for _ in range(100):
            consumed = await anext(iterator)
            assert produced - consumed <= 4096 // 256
        await iterator.aclose()


async def test_a_step_that_blocks_holds_nothing_back(connected: Connected) -> None:
    service = Service()
    gate = threading.Event()

    @service.function
    def blocks() -> Iterator[int]:
        yield from range(3)
        assert gate.wait(5)
        yield 3

    async with connected(service) as world:
        items = await world.remote.blocks()
        assert [await anext(items) for _ in range(3)] == [0, 1, 2]
        gate.set()
        assert [item async for item in items] == [3]


@pytest.mark.parametrize("odd", [False, True])
async def test_what_a_frame_costs_besides_its_items_is_not_overspent(connected: Connected, odd: bool) -> None:
    window, cost = 4096, Limits().item_cost
    item = bytes((window - cost) // 3 - 3)
    last: object = iter([1]) if odd else b"last"
    service = Service()
    gate = threading.Event()

    @service.function
    def fills() -> Iterator[object]:
        yield from [item] * 3
        assert gate.wait(5)
        yield last

    async with connected(service, limits=Limits(stream_window=window, stream_window_read=window)) as world:
        items = await world.remote.fills()
        # Now that the three have left, less is left for the fourth than their own bytes would leave.
        await until(lambda: len(world.sent) > 3 * len(item))
        gate.set()
        assert [await anext(items) for _ in range(3)] == [item] * 3
        fourth = await anext(items)
        assert [each async for each in fourth] == [1] if odd else fourth == b"last"
        assert [each async for each in items] == []


async def test_a_plain_function_cannot_be_interrupted(connected: Connected) -> None:
    service = Service()
    gate, began = threading.Event(), anyio.Event()
    seen: list[object] = []

    @service.function
    def stubborn(tell: Callable[[], object]) -> str:
        get_context().on_close(lambda reason: seen.append(type(reason)))
        tell()
        assert gate.wait(5)
        seen.append("step over")
        return "result"

    async with connected(service) as world:
        call = world.remote.stubborn(began.set)
        await began.wait()
        call.cancel("now")
        await world.remote["test.round_trip"]()
        assert seen == []
        gate.set()
        error = await caught(call)
        assert isinstance(error, CallCancelled)
        assert error.outcome is CancelOutcome.FINISHED
        await until(lambda: len(seen) == 2)
        assert seen == ["step over", CallCancelled]


async def test_a_plain_function_that_does_not_end_leaves_the_outcome_unknown(connected: Connected) -> None:
    service = Service()
    gate, began = threading.Event(), anyio.Event()
    seen: list[str] = []

    @service.function
    def stuck(tell: Callable[[], object]) -> Iterator[int]:
        get_context().on_close(lambda reason: seen.append("closed"))
        tell()
        assert gate.wait(5)
        return iter([1])

    async with connected(service, limits=Limits(cleanup_seconds=0.02)) as world:
        call = world.remote.stuck(began.set)
        await began.wait()
        call.cancel()
        error = await caught(call)
        assert isinstance(error, CallCancelled)
        assert error.outcome is CancelOutcome.UNKNOWN
        assert seen == []
        gate.set()
        await until(lambda: seen == ["closed"])


async def test_the_context_in_a_thread(connected: Connected) -> None:
    variable: ContextVar[str] = ContextVar("variable")
    service = Service(context=lambda request: variable.set("set by the provider"))
    seen: list[object] = []

    @service.function
    def look(callback: Callable[[int], object]) -> list[object]:
        context = get_context()
        context.start_soon(background)
        for number in range(3):
            callback(number)
        return [variable.get(), context.closed, context.time_left, dict(context.metadata)]

    @service.function
    def end() -> Iterator[int]:
        context = get_context()
        context.on_close(lambda: seen.append("closed"))
        context.on_close(finish)
        yield 1
        context.aclose()
        yield 2

    async def finish() -> None:
        await anyio.lowlevel.checkpoint()
        seen.append(get_context().closed)

    async def background() -> None:
        seen.append(get_context().closed)

    async with connected(service) as world:
        got: list[int] = []
        assert await world.remote.look(got.append) == ["set by the provider", False, None, {}]
        await until(lambda: got == [0, 1, 2])
        assert seen == [False]
        seen.clear()
        items, _ = await drained(world.remote.end())
        assert items in ([], [1])
        await until(lambda: len(seen) == 2)
        assert sorted(map(str, seen)) == ["True", "closed"]


async def test_other_use_off_the_loop_is_refused(connected: Connected) -> None:
    service = Service()

    @service.function
    def misuse(function: Callable[[], Any], promise: Any) -> list[str]:
        found = []
        for use in (function().cancel, promise.aclose().__await__().__next__):
            with pytest.raises(RuntimeError) as caught:
                use()
            found.append(str(caught.value))
        return found

    @service.function
    def in_a_loop_of_its_own(function: Callable[[], Any]) -> str:
        async def awaited() -> None:
            await function()

        try:
            asyncio.run(awaited())
        except RuntimeError as error:
            return str(error)
        return "no error"

    gate = anyio.Event()

    async def answer() -> None:
        await gate.wait()

    async with connected(service) as world:
        promise = answer()
        found = await world.remote.misuse(answer, promise)
        assert len(found) == 2
        assert all("another thread" in sentence for sentence in found)
        assert "another thread" in await world.remote.in_a_loop_of_its_own(answer)
        remote = world.remote
        with pytest.raises(RuntimeError, match="another thread"):
            await anyio.to_thread.run_sync(lambda: remote.misuse(answer, None))
        gate.set()


async def test_errors_of_forwarded_calls_are_raised_in_the_thread(connected: Connected) -> None:
    service = Service()

    @service.function
    def use(function: Any, gate: Any) -> list[str]:
        found = []
        try:
            function(object())
        except InvalidArgument as error:
            found.append(type(error).__name__)
        on_loop = get_context().start_soon
        on_loop(function.aclose)
        while not function.closed:
            gate.wait(0.001)
        try:
            function()
        except ReferenceReleased as error:
            found.append(type(error).__name__)
        return found

    service.function(name="use_it")(lambda function: use(function, threading.Event()))
    async with connected(service) as world:
        assert await world.remote.use_it(lambda: None) == ["InvalidArgument", "ReferenceReleased"]


async def test_one_thread_too_many_is_refused(
    connected: Connected, monkeypatch: pytest.MonkeyPatch, bugs: Bugs
) -> None:
    monkeypatch.setattr(threads, "THREADS", 3)
    service = Service()
    gate = threading.Event()

    @service.function
    def wait(number: int) -> int:
        assert gate.wait(5)
        return number

    @service.function
    async def rows() -> dict[str, Any]:
        return {"rows": iter([1]), "more": "text"}

    async with connected(service) as world:
        calls = [world.remote.wait(number) for number in range(3)]
        await until(lambda: len(workers()) == 3)
        error = await caught(world.remote.wait(3))
        assert isinstance(error, ResourceExhausted)
        assert error.retryable
        result = await world.remote.rows()
        assert result["more"] == "text"
        with pytest.raises(ResourceExhausted):
            await anext(result["rows"])
        gate.set()
        assert [await call for call in calls] == [0, 1, 2]
        await until(lambda: not workers())
        assert await world.remote.wait(4) == 4


async def test_on_the_loop_where_asked(connected: Connected) -> None:
    service = Service()

    @service.function(thread=False)
    def here() -> int:
        return threading.get_ident()

    @service.function
    async def call(function: Callable[[], Any]) -> int:
        result: int = await function()
        return result

    service.add(threading.get_ident, "there")
    async with connected(service) as world:
        assert await world.remote.here() == threading.get_ident()
        assert await world.remote.there() != threading.get_ident()
        # Passed functions run on the loop.
        assert await world.remote.call(threading.get_ident) == threading.get_ident()
