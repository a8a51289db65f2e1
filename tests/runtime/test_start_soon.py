"""context.start_soon: background work that lives and dies with its call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest

from telewire import Context, Limits, Service, get_context
from tests.runtime.world import Bugs, Connected, until


async def test_it_dies_with_the_call_and_does_not_keep_it_open(connected: Connected) -> None:
    service = Service()
    seen: list[object] = []

    async def work(name: str) -> None:
        seen.append((name, get_context() is captured[-1]))
        try:
            await anyio.sleep_forever()
        finally:
            seen.append(f"{name} cancelled")

    captured: list[Context[Any]] = []

    @service.function
    async def at_once() -> str:
        captured.append(get_context())
        get_context().start_soon(work, "at once")
        await anyio.wait_all_tasks_blocked()
        return "done"

    @service.function
    async def stream() -> AsyncIterator[int]:
        captured.append(get_context())
        get_context().start_soon(work, "stream")
        while True:
            yield 1

    async with connected(service) as world:
        assert await world.remote.at_once() == "done"
        await until(lambda: "at once cancelled" in seen)
        assert captured[0].closed
        iterator = await world.remote.stream()
        assert await anext(iterator) == 1
        await until(lambda: ("stream", True) in seen)
        assert "stream cancelled" not in seen
        await iterator.aclose()
        await until(lambda: "stream cancelled" in seen)
    assert seen == [("at once", True), "at once cancelled", ("stream", True), "stream cancelled"]


async def test_it_does_its_work_as_long_as_the_call_lives(connected: Connected) -> None:
    service = Service()

    @service.function
    async def tick(callback: Callable[[int], Any]) -> None:
        async def work() -> None:
            for number in range(3):
                await callback(number)
            done.set()

        get_context().start_soon(work)

    done = anyio.Event()
    got: list[int] = []
    async with connected(service) as world, world.remote.tick(got.append):
        await done.wait()
    assert got == [0, 1, 2]


async def test_its_failure_is_told(connected: Connected, bugs: Bugs) -> None:
    told: list[tuple[Exception, str]] = []
    service = Service(on_error=lambda error, context: told.append((error, repr(context))))
    gate = anyio.Event()

    @service.function
    async def failing() -> str:
        async def work() -> None:
            gate.set()
            raise ValueError("in the background")

        get_context().start_soon(work)
        await gate.wait()
        await anyio.lowlevel.checkpoint()
        return "unharmed"

    async with connected(service) as world:
        assert await world.remote.failing() == "unharmed"
    assert [str(error) for error, _ in told] == ["in the background"]
    assert "failing" in told[0][1]
    assert any("Background work of failing()" in message for message in bugs.messages)


async def test_its_clean_up_is_bounded(connected: Connected, anyio_backend: str) -> None:
    service = Service()
    gate = anyio.Event()
    seen: list[str] = []

    @service.function
    async def starts() -> None:
        async def work() -> None:
            began.set()
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    try:
                        await gate.wait()
                        seen.append("cleaned up")
                    finally:
                        seen.append("left")

        began = anyio.Event()
        get_context().start_soon(work)
        await began.wait()

    async with connected(service, limits=Limits(cleanup_seconds=0.02)) as world:
        await world.remote.starts()
        if anyio_backend == "asyncio":
            await until(lambda: bool(seen))
            assert seen == ["left"]
        gate.set()
        await until(lambda: "left" in seen)


async def test_after_the_end_it_is_refused(connected: Connected) -> None:
    service = Service()
    captured: list[Context[Any]] = []

    @service.function
    async def leave() -> None:
        captured.append(get_context())

    async def work() -> None:
        raise AssertionError("it must not run")

    async with connected(service) as world:
        await world.remote.leave()
        await until(lambda: captured[0].closed)
        with pytest.raises(RuntimeError, match=r"leave\(\) is over"):
            captured[0].start_soon(work)


async def test_one_that_has_not_begun_never_will(connected: Connected) -> None:
    service = Service()
    seen: list[str] = []

    @service.function
    async def ends_itself() -> None:
        get_context().start_soon(work)
        await get_context().aclose()

    async def work() -> None:
        seen.append("began")

    async with connected(service) as world:
        await world.remote.ends_itself().aclose()
        await world.remote["test.round_trip"]()
    assert seen in ([], ["began"])
