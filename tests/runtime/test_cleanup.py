"""Cleaning up: bodies that take their time, swallow their cancellation or fail while they leave."""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterator

import anyio
import pytest

from telewire import CallCancelled, CancelOutcome, Limits, Service
from telewire_transports import memory
from tests.runtime.world import Bugs, Connected, caught, quiescent, until


async def test_a_body_that_swallows_its_cancellation(connected: Connected, anyio_backend: str) -> None:
    service = Service()
    started = anyio.Event()
    seen: list[str] = []

    @service.function
    async def stubborn() -> str:
        started.set()
        try:
            await anyio.sleep_forever()
        except BaseException:
            seen.append("swallowed")
        return "finished"

    @service.function
    async def stream() -> AsyncIterator[int]:
        started.set()
        try:
            yield 1
            await anyio.sleep_forever()
        except BaseException:
            seen.append("swallowed")
        yield 2
        seen.append("never resumed")

    async with connected(service) as world:
        call = world.remote.stubborn()
        await started.wait()
        call.cancel()
        error = await caught(call)
        assert isinstance(error, CallCancelled)
        # Its result had crossed the cancel as far as the caller can tell.
        assert error.outcome in (CancelOutcome.FINISHED, CancelOutcome.STOPPED)
        async with world.remote.stream() as iterator:
            assert await anext(iterator) == 1
        await world.settled()
        await quiescent(world.remote)
    assert seen == ["swallowed", "swallowed"]


async def test_cleanup_that_takes_too_long_leaves_the_outcome_unknown(connected: Connected) -> None:
    service = Service()
    started, gate = anyio.Event(), anyio.Event()
    ended: list[str] = []

    @service.function
    async def slow_to_leave() -> None:
        try:
            started.set()
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                try:
                    await gate.wait()
                finally:
                    ended.append("left")

    async with connected(service, limits=Limits(cleanup_seconds=0.02)) as world:
        call = world.remote.slow_to_leave()
        await started.wait()
        call.cancel("now")
        error = await caught(call)
        assert isinstance(error, CallCancelled)
        assert error.outcome is CancelOutcome.UNKNOWN
        assert error.reason == "now"
        gate.set()
        await until(lambda: bool(ended))


async def test_cleanup_of_a_parked_generator_is_bounded(connected: Connected) -> None:
    service = Service()
    ended: list[str] = []

    @service.function
    async def slow_to_leave() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            try:
                await anyio.sleep_forever()
            finally:
                ended.append("left")

    async with connected(service, limits=Limits(cleanup_seconds=0.02)) as world:
        async for _ in world.remote.slow_to_leave():
            break
        await until(lambda: bool(ended), lambda: "the clean-up to be cancelled")


async def test_cleanup_of_a_parked_generator_may_await(connected: Connected) -> None:
    service = Service()
    gate = anyio.Event()
    ended: list[str] = []

    @service.function
    async def tidy() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            await gate.wait()
            ended.append("tidied")

    async with connected(service) as world:
        async for _ in world.remote.tidy():
            break
        await quiescent(world.remote)
        assert ended == []
        gate.set()
        await until(lambda: ended == ["tidied"])


async def test_a_failure_after_the_cancel_is_logged(connected: Connected, bugs: Bugs) -> None:
    service = Service()
    started = anyio.Event()

    @service.function
    async def clumsy() -> None:
        try:
            started.set()
            await anyio.sleep_forever()
        finally:
            raise ValueError("while leaving")

    async with connected(service) as world:
        call = world.remote.clumsy()
        await started.wait()
        call.cancel()
        assert isinstance(await caught(call), CallCancelled)
        await until(lambda: bool(bugs.records))
    assert [str(error) for error in bugs.errors] == ["while leaving"]


async def test_a_body_that_ends_by_a_cancellation_of_its_own(connected: Connected, bugs: Bugs) -> None:
    service = Service()

    @service.function
    async def inner() -> str:
        with anyio.move_on_after(0.01):
            await anyio.sleep_forever()
        return "moved on"

    async with connected(service) as world:
        assert await world.remote.inner() == "moved on"


async def test_a_shielded_scope_is_not_broken_by_a_cancel(connected: Connected, anyio_backend: str) -> None:
    service = Service()
    started, release = anyio.Event(), anyio.Event()
    seen: list[str] = []

    @service.function
    async def careful() -> None:
        with anyio.CancelScope(shield=True):
            started.set()
            await release.wait()
            seen.append("kept its shield")
        await anyio.sleep_forever()

    async with connected(service) as world:
        call = world.remote.careful()
        await started.wait()
        call.cancel()
        await quiescent()
        assert seen == []
        release.set()
        error = await caught(call)
        assert isinstance(error, CallCancelled)
        assert error.outcome is CancelOutcome.STOPPED
        assert seen == ["kept its shield"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_who_ends_the_program_while_cleaning_up_ends_it(
    anyio_backend: str, kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    # asyncio has a task left whose exception nobody has asked for.
    monkeypatch.setattr(logging.getLogger("asyncio"), "disabled", True)
    service = Service()
    began: list[anyio.Event] = []

    @service.function
    async def wait() -> None:
        began[0].set()
        try:
            await anyio.sleep_forever()
        finally:
            raise kind

    async def main() -> None:
        began.append(anyio.Event())
        async with memory.connect(service) as remote:
            call = remote.wait()
            await began[0].wait()
            call.cancel()
            # It ends everything, so it comes here as a cancellation, or not at all.
            with anyio.fail_after(5):
                await anyio.sleep_forever()

    with pytest.raises(BaseException) as raised:
        anyio.run(main, backend=anyio_backend)
    found = [raised.value, raised.value.__cause__]
    while found and isinstance(found[-1], BaseExceptionGroup):
        found.append(found[-1].exceptions[0])
    assert any(isinstance(error, kind) for error in found)
    del raised, found
    gc.collect()
