"""Backend: one behaviour on asyncio and trio, in tasks and in plain callbacks of the loop."""

from __future__ import annotations

import contextvars
import gc
import threading
import weakref
from collections.abc import Callable

import anyio
import anyio.to_thread
import pytest

from telewire.runtime.backend import current_backend

pytestmark = pytest.mark.anyio

COLOUR: contextvars.ContextVar[str] = contextvars.ContextVar("COLOUR", default="none")


async def test_one_backend_per_loop(anyio_backend: str) -> None:
    backend = current_backend()
    assert backend.name == anyio_backend
    assert current_backend() is backend
    assert backend.now() == pytest.approx(anyio.current_time(), abs=5)


async def test_current_backend_works_in_plain_callbacks() -> None:
    backend = current_backend()
    done = anyio.Event()
    seen: list[object] = []

    def look() -> None:
        seen.append(current_backend())
        done.set()

    backend.call_soon(look)
    await done.wait()
    assert seen == [backend]


async def test_without_a_loop_the_error_says_where_to_call() -> None:
    messages: list[str] = []

    def elsewhere() -> None:
        try:
            current_backend()
        except RuntimeError as error:
            messages.append(str(error))

    # An anyio worker thread would know the loop it came from; this one does not.
    thread = threading.Thread(target=elsewhere)
    thread.start()
    await anyio.to_thread.run_sync(thread.join)
    assert "run by asyncio.run, trio.run or anyio.run" in messages[0]


async def test_spawn_runs_to_the_end_with_its_context() -> None:
    backend = current_backend()
    done = anyio.Event()
    seen: list[str] = []

    async def body(word: str) -> None:
        await backend.checkpoint()
        seen.extend((word, COLOUR.get()))
        done.set()

    context = contextvars.copy_context()
    context.run(COLOUR.set, "green")
    backend.spawn(body, "word", context=context)
    assert seen == []
    await done.wait()
    assert seen == ["word", "green"]
    assert COLOUR.get() == "none"


async def test_spawn_copies_the_callers_context() -> None:
    backend = current_backend()
    done = anyio.Event()
    seen: list[str] = []

    async def body() -> None:
        seen.append(COLOUR.get())
        done.set()

    token = COLOUR.set("red")
    backend.spawn(body)
    COLOUR.reset(token)
    await done.wait()
    assert seen == ["red"]


async def test_cancel_reaches_the_await_and_runs_cleanup() -> None:
    backend = current_backend()
    parked, cleaned = anyio.Event(), anyio.Event()

    async def body() -> None:
        try:
            parked.set()
            await backend.signal().wait()
        finally:
            cleaned.set()

    task = backend.spawn(body)
    await parked.wait()
    task.cancel()
    await cleaned.wait()
    task.cancel()


async def test_a_cancellation_wins_over_a_signal_of_the_same_pass() -> None:
    backend = current_backend()
    signal = backend.signal()
    parked, ended = anyio.Event(), anyio.Event()
    seen: list[str] = []

    async def body() -> None:
        try:
            parked.set()
            await signal.wait()
            seen.append("woken")
        finally:
            ended.set()

    task = backend.spawn(body)
    await parked.wait()
    signal.set()
    task.cancel()
    await ended.wait()
    assert seen == []


async def test_call_soon_keeps_order_and_lets_others_run() -> None:
    backend = current_backend()
    seen: list[int] = []
    first = anyio.Event()
    backend.call_soon(lambda: seen.append(1))
    backend.call_soon(lambda: seen.append(2))
    backend.call_soon(first.set)
    assert seen == []
    await first.wait()
    assert seen == [1, 2]

    # A callback that asks for itself again must not starve the task that will stop it.
    going, enough = True, anyio.Event()
    rounds = 0

    def again() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 3:
            enough.set()
        if going and rounds < 100_000:
            backend.call_soon(again)

    backend.call_soon(again)
    await enough.wait()
    going = False
    assert rounds < 100


async def test_call_soon_threadsafe_wakes_the_loop() -> None:
    backend = current_backend()
    done = anyio.Event()
    owned: list[bool] = [backend.owns_current_thread()]

    def elsewhere() -> None:
        owned.append(backend.owns_current_thread())
        backend.call_soon_threadsafe(done.set)

    await anyio.to_thread.run_sync(elsewhere)
    await done.wait()
    assert owned == [True, False]


async def test_timers_run_in_order_of_time_and_not_once_cancelled() -> None:
    backend = current_backend()
    done = anyio.Event()
    seen: list[str] = []

    def note(word: str) -> Callable[[], object]:
        return lambda: seen.append(word)

    now = backend.now()
    backend.call_at(now + 0.03, done.set)
    backend.call_at(now + 0.02, note("late"))
    backend.call_at(now + 0.01, note("early"))
    cancelled = backend.call_at(now + 0.015, note("cancelled"))
    cancelled.cancel()
    past = backend.call_at(now - 1, note("past"))
    await done.wait()
    assert seen == ["past", "early", "late"]
    past.cancel()
    cancelled.cancel()


async def test_a_timer_that_has_run_is_held_by_nobody() -> None:
    class Callback:
        def __call__(self) -> None:
            done.set()

    backend = current_backend()
    done = anyio.Event()
    callback = Callback()
    gone = weakref.ref(callback)
    backend.call_at(backend.now(), callback)
    del callback
    await done.wait()
    await anyio.wait_all_tasks_blocked()
    gc.collect()
    assert gone() is None


async def test_many_cancelled_timers_leave_the_live_ones() -> None:
    backend = current_backend()
    done = anyio.Event()
    now = backend.now()
    doomed = [backend.call_at(now + 3600 + number, done.set) for number in range(500)]
    seen: list[int] = []
    backend.call_at(now + 0.01, lambda: seen.append(1))
    for timer in doomed:
        timer.cancel()
    backend.call_at(now + 0.02, done.set)
    await done.wait()
    assert seen == [1]


async def test_signal_wakes_all_and_stays_set() -> None:
    backend = current_backend()
    signal = backend.signal()
    seen: list[int] = []

    async def wait(number: int) -> None:
        await signal.wait()
        seen.append(number)

    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(wait, number)
        await anyio.lowlevel.checkpoint()
        assert seen == []
        signal.set()
        signal.set()
    assert sorted(seen) == [0, 1, 2]
    await signal.wait()


async def test_cancelled_waiter_leaves_the_others() -> None:
    backend = current_backend()
    signal = backend.signal()
    with anyio.move_on_after(0.01) as scope:
        await signal.wait()
    assert scope.cancelled_caught
    seen: list[str] = []

    async def wait() -> None:
        await signal.wait()
        seen.append("woken")

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.lowlevel.checkpoint()
        signal.set()
    assert seen == ["woken"]
