"""What each optional accelerator brings to telewire: ``python benchmarks/accelerators.py``.

The same program with and without uvloop, the C mask of ``telewire[fast]`` and the core compiled by mypyc, in
turns, each in processes of its own. The ratio of a round is to pure Python on asyncio in the same round.
The compiled core is that of the wheel which ``make compiled`` leaves in ``build/compiled``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zipfile
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
WITH: Final = {
    NONE: "",
    "C mask": "mask",
    "uvloop": "uvloop",
    "C mask and uvloop": "mask uvloop",
    "compiled": "compiled",
    "all three": "mask uvloop compiled",
}
"""Name → the words of ``TELEWIRE_BENCHMARK_WITH``, which ``side.py`` reads."""
NEEDS: Final = {"mask": "websockets", "uvloop": "uvloop"}
WHEELS: Final = ROOT / "build" / "compiled"
ASKED: Final = ("W1", "W1c", "W2", "W3d", "W3u", "W4", "W5")


def environment(name: str, compiled: Path) -> dict[str, str]:
    """What tells the processes which accelerators they may use."""
    words = {"TELEWIRE_BENCHMARK_WITH": WITH[name]}
    return words | {"TELEWIRE_BENCHMARK_COMPILED": str(compiled)} if "compiled" in WITH[name] else words


def read(workload: str, names: Sequence[str], rounds: int, scale: float, compiled: Path) -> dict[str, Spread]:
    """Rates of one workload with each accelerator, as ratios to the rate without any in the same round.

    ``compiled`` is where the wheel was unpacked.
    """
    work = WORKLOADS[workload]
    count = max(1, round(work.count * scale))
    ratios: dict[str, list[float]] = {name: [] for name in names}
    with ExitStack() as stack:
        sides = {
            name: stack.enter_context(Sides("telewire", WAYS[workload][0], environment(name, compiled)))
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
    parser.add_argument("--workloads", default=",".join(ASKED), metavar="A,B")
    options = parser.parse_args(argv)
    wheels = list(WHEELS.glob("telewire-*.whl"))
    missing = {word: f"{need} is not installed" for word, need in NEEDS.items() if find_spec(need) is None}
    if len(wheels) != 1:
        missing["compiled"] = "build/compiled holds no wheel, which make compiled leaves there"
    names = [name for name, words in WITH.items() if not any(word in missing for word in words.split())]
    console = Console(width=120)
    table = Table(title="times as fast as without", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for name in names[1:]:
        table.add_column(name, justify="right", no_wrap=True)
    with tempfile.TemporaryDirectory(prefix="telewire-accelerators-") as place:
        for wheel in wheels if "compiled" not in missing else []:
            with zipfile.ZipFile(wheel) as packed:
                packed.extractall(place)
        for workload in options.workloads.split(","):
            found = read(workload, names, options.rounds, options.scale, Path(place))
            cells = [
                f"{each.median:.2f} ×  {each.low:.2f}–{each.high:.2f}" for each in list(found.values())[1:]
            ]
            table.add_row(workload, *cells)
    console.print(table)
    for reason in missing.values():
        console.print(f"{reason}, so what it brings was not measured.", style="yellow")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
