"""What a call and an item may cost, as counts that are the same on every machine, and as ratios of CPU.

Nothing here is in seconds: a ratio is of CPU times that were taken in turns, against what cbor2 alone
costs for the same values, with a bound that a busy machine does not reach (benchmarks/README.md).
"""

from __future__ import annotations

from collections.abc import Awaitable

import anyio
import pytest

from benchmarks import counting, gates

PASS_ITEMS = 256
"""Items that a generator may make in one pass of the loop, which then leave in one write."""


@pytest.mark.parametrize("count", [1_000, 10_000])
async def test_a_fast_generator_costs_one_write_and_one_wait_for_many_items(anyio_backend, count) -> None:
    counts = await counting.count_generator(count)
    passes = -(-count // PASS_ITEMS)
    assert counts.server_writes == passes <= count / 50
    assert counts.passes <= passes
    # Who consumes waits for a write, and never for an item.
    assert counts.suspensions <= passes
    # Credit goes back by the half window.
    assert counts.client_writes <= 3 + count / 1_000


async def test_calls_that_start_together_leave_together_and_so_do_their_answers(anyio_backend) -> None:
    async def one_after_the_other(calls: list[Awaitable[int]]) -> None:
        assert [await call for call in calls] == list(range(64))

    counts = await counting.count_calls(64, one_after_the_other)
    # The calls, or the answers, and what is over; trio runs tasks in an order of its own.
    most = 2 if anyio_backend == "asyncio" else 6
    assert counts.client_writes <= most
    assert counts.server_writes <= most


@pytest.mark.parametrize("anyio_backend", [pytest.param("asyncio", id="passes of asyncio")])
async def test_a_pass_of_the_loop_has_one_write(anyio_backend) -> None:
    counts = await counting.count_generator(10_000)
    assert counts.crowded == 0
    assert counts.server_writes > 1


async def test_a_second_write_in_a_pass_is_seen(anyio_backend) -> None:
    backend = counting.current_backend()
    seen: list[bool] = []
    ours, theirs = counting.memory_transports()
    counted = counting._Counting(ours, backend, seen.append)
    counted.send([b"1"])
    counted.send([b"2"])
    with anyio.fail_after(5):
        while counted._in_this_pass:
            await anyio.lowlevel.checkpoint()
    counted.send([b"3"])
    assert seen == [False, True, False]
    theirs.abort()


PYTHON_CALLS = {"unary call": 72, "coalesced item": 9.3, "item in its own frame": 71}
"""A tenth more than there are on CPython 3.11; later versions need fewer."""


@pytest.mark.parametrize("unit", list(counting.UNITS))
def test_a_unit_takes_no_more_calls_of_python_functions_than_it_did(unit) -> None:
    calls = counting.python_calls(unit)
    assert 1 < calls <= PYTHON_CALLS[unit]


@pytest.mark.parametrize("unit", list(counting.UNITS))
def test_a_unit_leaves_nothing_behind_in_memory(unit) -> None:
    assert counting.blocks_left(unit) < 0.02


def test_what_a_unit_leaves_behind_is_seen() -> None:
    kept: list[object] = []

    def leaks(count: int) -> float:
        kept.extend([number] for number in range(count))
        return 0.0

    assert counting._blocks_left_by(leaks) >= 1


@pytest.mark.parametrize("gate", gates.GATES, ids=lambda gate: gate.name)
def test_cpu_stays_below_its_bound_against_bare_cbor2(gate: gates.Gate) -> None:
    assert gate.goal < gate.bound
    ratio = gates.read(gate, rounds=7, count=2_000).ratio
    assert 1 < ratio.median <= gate.bound, f"{ratio.median:.2f} × instead of {gate.bound} × at most"
