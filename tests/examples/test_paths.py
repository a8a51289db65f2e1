"""Examples take the same paths as the workloads that are measured: the quick ones, wherever there is one.

What is counted says so, and not a clock: ``benchmarks/paths.py``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import date
from types import ModuleType
from typing import cast

import pytest

from benchmarks.paths import PATHS, Paths, counting
from benchmarks.peers import telewire_peer
from benchmarks.workloads import WORKLOADS, Session
from telewire import Remote, Service
from telewire_transports import memory
from tests.examples.test_examples import NAMES

# The workloads and one of the examples are programs of asyncio's; the ways are the same on trio.
pytestmark = pytest.mark.parametrize("anyio_backend", [pytest.param("asyncio", id="asyncio alone")])

UNITS = {"W1": 20, "W1c": 128, "W2": 1000, "W3d": 20, "W3u": 20, "W4": 200, "W5": 20}


def session_for(workload: str, remote: Remote) -> Session:
    return cast("Session", telewire_peer._Uploading(remote) if workload == "W3u" else remote)


async def paths_of_workload(name: str) -> Paths:
    async with memory.connect(telewire_peer.service) as remote:
        with counting() as paths:
            await WORKLOADS[name].run(session_for(name, remote), UNITS[name])
    return paths


async def paths_of_example(example: ModuleType) -> Paths:
    pauses = "interval" in inspect.signature(example.client).parameters
    async with memory.connect(example.service, headers=getattr(example, "headers", None)) as remote:
        with counting() as paths:
            await example.client(remote, [].append, *([0] if pauses else []))
    return paths


def taken(paths: Paths) -> set[str]:
    """What took a quick way at least once."""
    return {name for name in PATHS if paths.quick[name]}


@pytest.mark.parametrize("name", sorted(UNITS))
async def test_what_is_measured_takes_the_quick_ways(anyio_backend: str, name: str) -> None:
    paths = await paths_of_workload(name)
    assert not paths.thorough
    # The one call or answer that refers to a stream, and batches that are large.
    assert paths.needed["value out"] <= 1
    assert paths.needed["call or answer"] <= 1
    assert not paths.needed["item or message"]


async def test_each_quick_way_is_taken_by_something_that_is_measured(anyio_backend: str) -> None:
    seen: set[str] = set()
    for name in UNITS:
        seen |= taken(await paths_of_workload(name))
    assert seen == set(PATHS)


@pytest.mark.parametrize("name", NAMES)
async def test_an_example_takes_the_ways_that_are_measured(
    load: Callable[[str], ModuleType], anyio_backend: str, name: str
) -> None:
    paths = await paths_of_example(load(name))
    assert not paths.thorough
    assert taken(paths)
    # What refers to streams goes the other way, which is a call and its answer and never an item.
    assert not paths.needed["item or message"]
    assert paths.needed["value out"] <= paths.needed["call or answer"]


async def test_the_thorough_way_is_seen(anyio_backend: str) -> None:
    service = Service()

    @service.function
    async def later(day: date, days: int) -> list[date]:
        return [day] * days

    @service.function
    async def half(number: float) -> float:
        return number / 2

    async with memory.connect(service) as remote:
        with counting() as paths:
            assert await remote.later(date(2026, 11, 23), 2) == [date(2026, 11, 23)] * 2
        assert paths.thorough["value out"] == 2
        assert paths.quick["call or answer"] == 2
        with counting() as paths:
            assert await remote.half(number=3) == 1.5
        assert paths.thorough["arguments"] == 1
        with counting() as paths:
            # A text of 300 characters is larger than what is called small.
            assert await remote.half(3) == 1.5
            with pytest.raises(Exception, match="half"):
                await remote.half("x" * 300)
        assert paths.needed["value out"] == 1
        assert paths.needed["call or answer"] == 1
