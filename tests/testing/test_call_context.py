"""call_context: functions tested by calling them, as they would find themselves when called from afar."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator

import anyio
import anyio.to_thread
import pytest

from telewire import Abort, CallCancelled, Request, Service, get_context
from telewire.testing import call_context
from telewire_transports import memory

service: Service[str] = Service(context=lambda request: request.headers.get("x-user", ""))


@service.function
async def greet(greeting: str) -> str:
    await anyio.lowlevel.checkpoint()
    return f"{greeting} {service.get_context().state}"


async def test_functions_find_state_headers_and_metadata() -> None:
    async with call_context(state="ann", headers={"X-Token": "t"}, metadata={"trace": "1"}) as context:
        assert await greet("hello") == "hello ann"
        assert get_context() is context
        assert get_context().request.headers == {"x-token": "t"}
        assert get_context().metadata == {"trace": "1"}
        assert context.time_left is None
    with pytest.raises(RuntimeError, match=r"get_context\(\) was used outside of a call"):
        get_context()


async def test_the_end_of_the_block_is_the_end_of_the_call() -> None:
    reasons: list[object] = []

    async def at_leisure(reason: object) -> None:
        await anyio.lowlevel.checkpoint()
        reasons.append(("async", reason))

    async with call_context() as context:
        context.on_close(reasons.append)
        context.on_close(at_leisure)
        assert not context.closed
        assert reasons == []
    assert context.closed
    assert reasons == [None, ("async", None)]
    # Registered after the end, it runs at once.
    context.on_close(lambda: reasons.append("late"))
    assert reasons[-1] == "late"


@pytest.mark.parametrize("error", [Abort("no"), ValueError("a bug")])
async def test_what_the_block_raises_is_the_reason(error: Exception) -> None:
    reasons: list[object] = []

    async def block() -> None:
        async with call_context() as context:
            context.on_close(reasons.append)
            raise error

    with pytest.raises(type(error)) as caught:
        await block()
    assert caught.value is error
    assert reasons == [error]


async def test_a_block_that_is_cancelled_is_a_call_that_is() -> None:
    reasons: list[object] = []
    with anyio.CancelScope() as scope:
        async with call_context() as context:
            context.on_close(reasons.append)
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    (reason,) = reasons
    assert isinstance(reason, CallCancelled)


async def test_generators_and_threads_find_the_context() -> None:
    async def tokens() -> AsyncIterator[object]:
        yield get_context().state
        await anyio.lowlevel.checkpoint()
        yield get_context().state

    def rows() -> Iterator[object]:
        yield get_context().state

    async with call_context(state=7):
        assert [token async for token in tokens()] == [7, 7]
        assert await anyio.to_thread.run_sync(lambda: list(rows())) == [7]


async def test_background_work_lives_and_dies_with_the_call() -> None:
    said: list[object] = []
    begun = anyio.Event()

    async def work(name: str) -> None:
        said.append((name, get_context().state))
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
                said.append("cleaned up")

    async with call_context(state="s") as context:
        context.start_soon(work, "one")
        await begun.wait()
        assert said == [("one", "s")]
    assert said == [("one", "s"), "cleaned up"]
    with pytest.raises(RuntimeError, match="The call is over"):
        context.start_soon(work, "two")


async def test_background_work_that_had_no_time_to_begin_never_does() -> None:
    async def work() -> None:
        raise AssertionError("it began")

    async with call_context() as context:
        context.start_soon(work)


async def test_aclose_ends_the_call_early() -> None:
    reasons: list[object] = []
    async with call_context() as context:
        context.on_close(reasons.append)
        async with anyio.create_task_group() as group:

            async def wait() -> None:
                reasons.append(("waited", await context.wait_closed()))

            group.start_soon(wait)
            await anyio.lowlevel.checkpoint()
            await context.aclose()
        assert reasons == [None, ("waited", None)]
    assert len(reasons) == 2


async def test_failures_beside_the_block_are_raised_by_its_end(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(done: anyio.Event) -> None:
        done.set()
        raise ValueError("in the background")

    def also_fails() -> None:
        raise KeyError("in a callback")

    async def block(*callbacks: Callable[[], None]) -> None:
        async with call_context() as context:
            for callback in callbacks:
                context.on_close(callback)
            done = anyio.Event()
            context.start_soon(fails, done)
            await done.wait()

    with pytest.raises(ValueError, match="in the background"):
        await block()
    with caplog.at_level(logging.CRITICAL, "telewire"), pytest.raises(ExceptionGroup) as caught:
        await block(also_fails)
    assert sorted(type(error).__name__ for error in caught.value.exceptions) == ["KeyError", "ValueError"]


async def test_failures_beside_a_block_that_fails_are_notes() -> None:
    def fails() -> None:
        raise KeyError("in a callback")

    async def block() -> None:
        async with call_context() as context:
            context.on_close(fails)
            raise Abort

    with pytest.raises(Abort) as caught:
        await block()
    assert caught.value.__notes__ == ["Besides, in call_context(): KeyError('in a callback')"]


async def test_the_callers_functions_are_refused_or_given() -> None:
    async def ask() -> object:
        return await get_context().remote.greet("hello")

    async with call_context():
        with pytest.raises(
            RuntimeError, match=r"context\.remote\.greet\(\) was called inside of call_context"
        ):
            await ask()
    async with memory.connect(service, headers={"x-user": "bob"}) as remote, call_context(remote=remote):
        assert await ask() == "hello bob"


async def test_time_left_counts_down() -> None:
    async with call_context(timeout=60) as context:
        assert context.time_left is not None
        assert 0 < context.time_left <= 60


async def test_calls_one_inside_of_the_other() -> None:
    async with call_context(state=1):
        async with call_context(state=2):
            assert get_context().state == 2
        assert get_context().state == 1


def test_a_plain_function_needs_no_loop() -> None:
    closed: list[object] = []

    def save(name: str) -> str:
        context = get_context()
        context.on_close(lambda reason: closed.append(reason))
        return f"{context.state}/{name}"

    with call_context(state="home", timeout=5) as context:
        assert save("x") == "home/x"
        assert context.time_left is not None
    assert closed == [None]


async def test_a_plain_with_does_inside_of_a_loop_too() -> None:
    with call_context(state="ann"):
        assert await greet("hello") == "hello ann"


def test_what_takes_time_needs_async_with() -> None:
    async def later() -> None: ...

    with call_context() as context, pytest.raises(RuntimeError, match="use 'async with call_context"):
        context.start_soon(later)
    with (
        pytest.raises(RuntimeError, match=r"an async on_close callback needs an event loop"),
        call_context() as context,
    ):
        context.on_close(later)


def test_wrong_use_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="not both"):
        call_context(headers={}, request=Request())
    once = call_context()
    with once:
        pass
    with pytest.raises(RuntimeError, match="entered before"), once:
        pass


def test_a_whole_request() -> None:
    request = Request(path="/here", peer="10.0.0.1:5", headers={"a": "b"})
    with call_context(request=request) as context:
        assert context.request is request
