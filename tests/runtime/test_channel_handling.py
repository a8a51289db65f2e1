"""A handler at work: what it holds up, the credit of its message, and what not, requests."""

from __future__ import annotations

import anyio
import pytest

from telewire import Limits
from tests.runtime.channels import both_ends
from tests.runtime.world import Connected, quiescent, until

COST = Limits().item_cost


async def test_a_message_counts_until_it_is_handled(connected: Connected) -> None:
    limits = Limits(stream_window=4096, stream_window_read=4096)
    async with both_ends(connected, limits=limits) as (world, mine, theirs):
        window = 4096 // COST
        handled: list[int] = []
        gate = anyio.Event()

        async def handler(number: int) -> None:
            # Credit returns in steps of half a window: this is the one that would complete the first.
            if number == window // 2 - 1:
                await gate.wait()
            handled.append(number)

        theirs.listen(handler)
        for number in range(window):
            mine.send_nowait(number)
        await until(lambda: len(handled) == window // 2 - 1)
        await quiescent(world.remote)
        with pytest.raises(anyio.WouldBlock):
            mine.send_nowait(window)
        gate.set()
        await mine.send(window)
        await until(lambda: handled == list(range(window + 1)))
        await mine.aclose()


@pytest.mark.parametrize("made_by", ["client", "server"])
async def test_requests_do_not_wait_for_a_message_that_is_handled(connected: Connected, made_by: str) -> None:
    async with both_ends(connected, made_by) as (_, mine, theirs):
        gate, began = anyio.Event(), anyio.Event()
        handled: list[str] = []

        async def handler(message: str) -> str:
            if message == "blocks":
                began.set()
                await gate.wait()
            handled.append(message)
            return message

        theirs.listen(handler)
        await mine.send("blocks")
        await mine.send("waits")
        await began.wait()
        assert await mine.request("asks") == "asks"
        assert handled == ["asks"]
        gate.set()
        await until(lambda: handled == ["asks", "blocks", "waits"])
        await mine.aclose()
