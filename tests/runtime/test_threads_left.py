"""Plain functions that nobody wants any more: a thread that waits for the loop is unwound and freed."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator
from queue import SimpleQueue
from typing import Any

import anyio
import pytest

import telewire
from telewire import (
    ByteStream,
    CallCancelled,
    CancelOutcome,
    Channel,
    DeadlineExceeded,
    Limits,
    Service,
    get_context,
)
from telewire.runtime import context
from telewire.runtime.backend import current_backend
from telewire.runtime.threads import WorkerThread, on_loop
from telewire.runtime.waits import WaitCancelled
from tests.runtime.own_threads import Unread
from tests.runtime.world import Connected, caught, until

pytestmark = pytest.mark.usefixtures("guarded")


class Unwound:
    """A service whose functions wait for ever, and what became of them."""

    def __init__(self) -> None:
        self.service = Service()
        self.seen: list[object] = []
        self.began = anyio.Event()
        self.service.function(self.function)
        self.service.function(self.generator)
        self.service.function(self.bytes_back)
        self.service.function(self.stubborn)

    def note(self) -> None:
        get_context().on_close(lambda reason: self.seen.append(type(reason)))
        get_context().start_soon(self.tell)

    async def tell(self) -> None:
        self.began.set()

    def forever(self, source: Any) -> Iterator[bytes]:
        try:
            for _ in source:
                yield b"chunk"
        except Exception as error:
            # Like a cancellation, it is none that such a handler takes.
            self.seen.append(error)
        finally:
            self.seen.append("finally")

    def function(self, source: Any) -> Any:
        self.note()
        return list(self.forever(source))

    def generator(self, source: Any) -> Iterator[bytes]:
        self.note()
        yield from self.forever(source)

    def bytes_back(self, source: Any) -> ByteStream:
        self.note()
        return ByteStream(self.forever(source))

    def stubborn(self, source: Any) -> None:
        self.note()
        for _ in range(3):
            try:
                for _ in source:
                    pass
            except WaitCancelled:
                self.seen.append("again")
        raise WaitCancelled


KINDS = ["function", "generator", "bytes_back"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_that_is_cancelled_frees_the_thread(connected: Connected, kind: str) -> None:
    unwound = Unwound()
    unread = Unread(1)
    async with connected(unwound.service) as world:
        call = world.remote[kind](unread.items())
        await unwound.began.wait()
        if kind != "function":
            await anext(aiter(await call))
        call.cancel("enough")
        if kind == "function":
            error = await caught(call)
            assert isinstance(error, CallCancelled)
            assert error.outcome is CancelOutcome.STOPPED
        await until(lambda: len(unwound.seen) == 2)
        await unread.closed.wait()
    assert sorted(map(str, unwound.seen)) == sorted([str(CallCancelled), "finally"])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_that_leaves_frees_the_thread(connected: Connected, kind: str) -> None:
    unwound = Unwound()
    unread = Unread(1)
    async with connected(unwound.service, settle=False) as world:
        call = world.remote[kind](unread.items())
        await unwound.began.wait()
        if kind != "function":
            handle = await call
            await anext(aiter(handle))
    await until(lambda: len(unwound.seen) == 2)
    assert "finally" in unwound.seen


@pytest.mark.parametrize("kind", KINDS)
async def test_a_lost_connection_frees_the_thread(connected: Connected, kind: str) -> None:
    unwound = Unwound()
    unread = Unread(1)
    async with connected(unwound.service, settle=False) as world:
        call = world.remote[kind](unread.items())
        await unwound.began.wait()
        if kind != "function":
            handle = await call
            await anext(aiter(handle))
        world.cut()
        await until(lambda: len(unwound.seen) == 2)
        await unread.closed.wait()
        if kind == "function":
            await caught(call)
    assert "finally" in unwound.seen


@pytest.mark.parametrize("kind", ["generator", "bytes_back"])
async def test_a_result_that_nobody_reads_any_more_frees_the_thread(connected: Connected, kind: str) -> None:
    unwound = Unwound()
    async with connected(unwound.service) as world:
        # Neither the call nor its argument ends: the client keeps sending, and has enough of the result.
        mine = Channel[Any, Any]()
        handle = await world.remote[kind](mine.peer)
        await mine.send(1)
        async for _ in handle:
            break
        await handle.aclose()
        await until(lambda: "finally" in unwound.seen)


async def test_a_deadline_ends_the_wait(connected: Connected) -> None:
    unwound = Unwound()
    unread = Unread(1)
    async with connected(unwound.service) as world:
        call = telewire.with_options(world.remote.function, timeout=0.05)(unread.items())
        assert isinstance(await caught(call), DeadlineExceeded)
        await until(lambda: len(unwound.seen) == 2)
    assert sorted(map(str, unwound.seen)) == sorted([str(DeadlineExceeded), "finally"])


async def test_a_scope_of_the_middleware_ends_the_wait(connected: Connected) -> None:
    unwound = Unwound()
    unread = Unread(1)
    told: list[object] = []

    @unwound.service.middleware
    async def bounded(context: Any, proceed: Callable[[], Awaitable[Any]]) -> Any:
        with anyio.move_on_after(0.05) as scope:
            return await proceed()
        told.append(scope.cancelled_caught)
        return "late"

    async with connected(unwound.service) as world:
        assert await world.remote.function(unread.items()) == "late"
        await until(lambda: len(unwound.seen) == 2)
    assert told == [True]
    assert sorted(map(str, unwound.seen)) == sorted([str(type(None)), "finally"])


async def test_whoever_goes_on_is_unwound_at_each_wait(connected: Connected) -> None:
    unwound = Unwound()
    unread = Unread(1)
    async with connected(unwound.service) as world:
        call = world.remote.stubborn(unread.items())
        await unwound.began.wait()
        await anyio.wait_all_tasks_blocked()
        call.cancel()
        error = await caught(call)
        assert isinstance(error, CallCancelled)
        await until(lambda: len(unwound.seen) == 4)
    assert unwound.seen[:3] == ["again"] * 3


async def test_what_cleans_up_may_wait_for_a_bounded_time(connected: Connected) -> None:
    service = Service()
    seen: list[object] = []
    endless = anyio.Event()

    @service.function
    def rows(ask: Callable[[str], Awaitable[str]]) -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            seen.append(telewire.wait(ask("one more thing")))
            try:
                telewire.wait(endless.wait())
            finally:
                seen.append("out of patience")

    async with connected(service, limits=Limits(cleanup_seconds=0.5)) as world:
        handle = await world.remote.rows(lambda text: text.upper())
        await anext(handle)
        await handle.aclose()
        await until(lambda: len(seen) == 2)
    assert seen == ["ONE MORE THING", "out of patience"]


async def test_what_a_late_wait_was_given_is_closed(connected: Connected) -> None:
    service = Service()
    began = anyio.Event()
    left: list[str] = []

    async def never() -> None:
        raise AssertionError("nobody wants it any more")

    @service.function
    def work() -> None:
        try:
            telewire.wait(forever())
        finally:
            late = never()
            try:
                telewire.wait(late)
            finally:
                left.append(inspect.getcoroutinestate(late))

    async def forever() -> None:
        began.set()
        await anyio.sleep_forever()

    async with connected(service) as world:
        call = world.remote.work()
        await began.wait()
        call.cancel()
        await until(lambda: bool(left))
    assert left == [inspect.CORO_CLOSED]


async def test_a_callback_in_the_thread_waits_for_a_bounded_time(
    connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "CLEANUP_SECONDS", 0.05)
    service = Service()
    seen: list[object] = []
    endless = anyio.Event()

    def clean_up() -> None:
        try:
            telewire.wait(endless.wait())
        finally:
            seen.append("out of patience")

    @service.function
    def begin() -> int:
        get_context().on_close(clean_up)
        get_context().on_close(lambda: seen.append("the next"))
        return 1

    async with connected(service) as world:
        assert await world.remote.begin() == 1
        await until(lambda: len(seen) == 2)
    assert seen == ["out of patience", "the next"]


@pytest.mark.parametrize("how", ["waits", "asks"])
def test_a_thread_learns_that_the_loop_has_gone(anyio_backend: str, how: str) -> None:
    workers: list[WorkerThread] = []
    told: SimpleQueue[str] = SimpleQueue()

    async def make() -> None:
        workers.append(WorkerThread(current_backend(), "of a loop that ends"))

    async def never() -> None:
        told.put("this ran where no loop is")

    def job() -> None:
        (worker,) = workers
        try:
            if how == "waits":
                worker.waits.wait(never)
            else:
                on_loop(worker.backend, "close()", told.put, "so did this")
        except RuntimeError as error:
            told.put(str(error))

    anyio.run(make, backend=anyio_backend)
    workers[0].submit(job, lambda: None)
    workers[0].release()
    assert "waits for an event loop that has ended; close clients and servers" in told.get(timeout=5)
    assert told.empty()
