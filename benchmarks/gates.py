"""What telewire adds to bare cbor2, in one process: ``python benchmarks/gates.py``.

From Python values on one side to Python values on the other, through two connections, without loop
or sockets; the floor is what cbor2 alone takes to encode and decode the same values. Floor and
figure are measured in turns, and only their ratio counts: it survives a busy machine. Beside them what
needs no clock: writes, waits, calls of Python functions. ``tests/benchmarks/test_gates.py`` holds both.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# This checkout is measured, whatever is installed.
ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "transports"), str(ROOT / "spec")]

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import counting, in_process
from benchmarks.results import Spread

ROUNDS: Final = 9
COUNT: Final = 20_000
ITEMS: Final = 10_000


@dataclass(frozen=True)
class Gate:
    """One ratio: ``figure`` and ``floor`` do a number of units and return their seconds of CPU.

    ``goal`` is meant to be reached. ``bound`` fails a build: a fifth to a quarter above the median of
    the day it was set, which ten runs beside two busy processes stayed below, and a third more exceeds.
    """

    name: str
    figure: Callable[[int], float]
    floor: Callable[[int], float]
    goal: float
    bound: float


GATES: Final = (
    Gate(
        "unary call",
        functools.partial(in_process.connections_unary, values=True),
        in_process.cbor2_unary,
        goal=2.2,
        bound=6.8,
    ),
    Gate(
        "coalesced item",
        functools.partial(in_process.connections_items, values=True),
        in_process.cbor2_items,
        goal=1.5,
        bound=2.9,
    ),
    Gate(
        "item in its own frame",
        functools.partial(in_process.connections_own_items, values=True),
        in_process.cbor2_own_items,
        goal=1.8,
        bound=9.5,
    ),
)


@dataclass(frozen=True)
class Reading:
    """One gate as measured: microseconds of CPU a unit, and the ratio, round by round."""

    gate: Gate
    figure: Spread
    floor: Spread
    ratio: Spread


def read(gate: Gate, rounds: int, count: int) -> Reading:
    """Measure one gate, floor and figure in turns."""
    gate.figure(count // 10 + 1)
    pairs = [(gate.figure(count), gate.floor(count)) for _ in range(rounds)]
    return Reading(
        gate,
        Spread.of(figure / count * 1e6 for figure, _ in pairs),
        Spread.of(floor / count * 1e6 for _, floor in pairs),
        Spread.of(figure / floor for figure, floor in pairs),
    )


def main(argv: Sequence[str]) -> int:
    """Measure and print; returns the exit status, 1 where a bound is exceeded."""
    parser = argparse.ArgumentParser(prog="benchmarks/gates.py", description="CPU ratios against bare cbor2.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"{ROUNDS} unless given")
    parser.add_argument("--count", type=int, default=COUNT, metavar="N", help="calls or items a round")
    options = parser.parse_args(argv)
    if options.rounds < 1 or options.count < 1:
        parser.error("--rounds and --count must be 1 or more")
    failed = False
    table = Table(
        title="µs of CPU, both sides together",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("", no_wrap=True)
    for heading in ("telewire", "cbor2", "ratio", "spread", "goal", "bound"):
        table.add_column(heading, justify="right", no_wrap=True)
    for gate in GATES:
        reading = read(gate, options.rounds, options.count)
        ratio = reading.ratio
        held = ratio.median <= gate.bound
        failed |= not held
        colour = "green" if ratio.median <= gate.goal else "yellow" if held else "red"
        table.add_row(
            gate.name,
            f"{reading.figure.median:.2f}",
            f"{reading.floor.median:.2f}",
            f"[bold {colour}]{ratio.median:.2f} ×[/]",
            f"{ratio.low:.2f}–{ratio.high:.2f}",
            f"≤ {gate.goal:g} ×",
            f"≤ {gate.bound:g} ×",
        )
    Console().print(table)
    _print_counts()
    return int(failed)


def _print_counts() -> None:
    counts = asyncio.run(counting.count_generator(ITEMS))
    table = Table(
        title="counts, the same in every run", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.add_column("", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_row(f"writes of the server for {ITEMS:,} items", str(counts.server_writes))
    table.add_row("second writes in a pass of the loop", str(counts.crowded))
    table.add_row("waits of who consumes them", str(counts.suspensions))
    table.add_row("writes of the client, which give credit back", str(counts.client_writes))
    for unit in counting.UNITS:
        table.add_row(f"calls of Python functions, {unit}", f"{counting.python_calls(unit):.1f}")
        table.add_row(f"blocks of memory left by one, {unit}", f"{counting.blocks_left(unit):.3f}")
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
