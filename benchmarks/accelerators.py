"""What each optional accelerator brings to telewire: ``python benchmarks/accelerators.py``.

The same program with and without uvloop and the C mask of ``telewire[fast]``, in turns, each in
processes of its own. The ratio of a round is to pure Python on asyncio in the same round.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Final

# This checkout is measured, whatever is installed.
ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "transports"), str(ROOT / "spec")]

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.peers.telewire_peer import WAYS
from benchmarks.processes import Sides
from benchmarks.results import Spread
from benchmarks.workloads import WORKLOADS

NONE: Final = "nothing"
WITH: Final = {NONE: "", "C mask": "mask", "uvloop": "uvloop", "C mask and uvloop": "mask uvloop"}
"""Name → the words of ``TELEWIRE_BENCHMARK_WITH``, which ``side.py`` reads."""
NEEDS: Final = {"mask": "websockets", "uvloop": "uvloop"}
ASKED: Final = ("W1", "W1c", "W2", "W3d", "W3u", "W4", "W5")


def read(workload: str, names: Sequence[str], rounds: int, scale: float) -> dict[str, Spread]:
    """Rates of one workload with each accelerator, as ratios to the rate without any in the same round."""
    work = WORKLOADS[workload]
    count = max(1, round(work.count * scale))
    ratios: dict[str, list[float]] = {name: [] for name in names}
    with ExitStack() as stack:
        sides = {
            name: stack.enter_context(
                Sides("telewire", WAYS[workload][0], {"TELEWIRE_BENCHMARK_WITH": WITH[name]})
            )
            for name in names
        }
        for number in range(rounds):
            turn = number % len(names)
            rates = {}
            for name in [*names[turn:], *names[:turn]]:
                figures = sides[name].measure(workload, count, one_cpu=work.pinned)
                rates[name] = figures["count"] / figures["seconds"]
            for name, rate in rates.items():
                ratios[name].append(rate / rates[NONE])
    return {name: Spread.of(found) for name, found in ratios.items()}


def main(argv: Sequence[str]) -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks/accelerators.py", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, metavar="N")
    parser.add_argument("--scale", type=float, default=1.0, help="multiply the work of a measurement")
    options = parser.parse_args(argv)
    missing = [need for need in NEEDS.values() if find_spec(need) is None]
    names = [
        name for name, words in WITH.items() if not any(NEEDS[word] in missing for word in words.split())
    ]
    console = Console()
    table = Table(title="times as fast as without", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for name in names[1:]:
        table.add_column(name, justify="right", no_wrap=True)
    for workload in ASKED:
        found = read(workload, names, options.rounds, options.scale)
        cells = [f"{each.median:.2f} ×  {each.low:.2f}–{each.high:.2f}" for each in list(found.values())[1:]]
        table.add_row(workload, *cells)
    console.print(table)
    for need in missing:
        console.print(f"{need} is not installed, so what it brings was not measured.", style="yellow")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
