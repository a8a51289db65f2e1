"""Why a call ended, as both sides hear it: the reason of a cancel, and what is no news to anybody."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

from telewire import CallCancelled, Service, get_context
from tests.runtime.world import Bugs, Connected, until

Reasons = list[BaseException | None]


def parked(reasons: Reasons) -> Service:
    """Offer functions that do not end by themselves and note why their call did."""
    service = Service()

    @service.function
    async def on_items() -> AsyncIterator[int]:
        get_context().on_close(reasons.append)
        yield 1
        await anyio.sleep_forever()

    @service.function
    async def wait() -> None:
        get_context().on_close(reasons.append)
        await anyio.sleep_forever()

    return service


async def test_cancelling_an_answered_call_gives_both_sides_the_reason(connected: Connected) -> None:
    theirs: Reasons = []
    ours: Reasons = []
    async with connected(parked(theirs)) as world:
        call = world.remote.on_items()
        call.on_close(ours.append)
        iterator = await call
        assert await anext(iterator) == 1
        call.cancel({"why": "no time"})
        with pytest.raises(CallCancelled) as raised:
            await anext(iterator)
        assert raised.value.reason == {"why": "no time"}
        await until(lambda: len(ours) == len(theirs) == 1)
    for reason in (*ours, *theirs):
        assert isinstance(reason, CallCancelled)
        assert reason.reason == {"why": "no time"}


async def test_closing_an_answered_call_is_a_natural_end(connected: Connected) -> None:
    reasons: Reasons = []
    async with connected(parked(reasons)) as world:
        call = world.remote.on_items()
        await call
        await call.aclose()
        await until(lambda: len(reasons) == 1)
        assert reasons == [None]
        assert [item async for item in call] == []


async def test_a_deadline_that_ends_the_only_await_is_not_logged_as_unawaited(
    connected: Connected, log: Bugs
) -> None:
    async with connected(parked([])) as world:
        for _ in range(20):
            with pytest.raises(TimeoutError), anyio.fail_after(0.001):
                await world.remote.wait()
        await world.settled()
    assert log.messages == []
