"""Calls: started at once, awaited by anyone any number of times, refused and failed as sentences."""

from __future__ import annotations

from telewire import Service
from tests.runtime.world import Connected


async def test_a_call_gives_its_result(connected: Connected) -> None:
    service = Service()

    @service.function
    async def add(left: int, right: int) -> int:
        return left + right

    async with connected(service) as world:
        assert await world.remote.add(1, 2) == 3
        assert await world.remote.add(1, right=2) == 3
