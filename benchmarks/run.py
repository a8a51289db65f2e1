"""Compare telewire with what one would use instead: ``python benchmarks/run.py``, or ``make bench``.

Every peer runs in the same run and in turns, a new order each round, so that whatever else the
machine does falls on all of them. Read the ratios: they hold from machine to machine where the
figures themselves do not.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

# This checkout is measured, whatever is installed.
ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "transports"), str(ROOT / "spec")]

from rich.console import Console

from benchmarks.processes import PINNING, SideFailed, Sides
from benchmarks.report import print_report
from benchmarks.results import Measurement, document, summarise
from benchmarks.side import load_peer
from benchmarks.workloads import WORKLOADS

PEERS: Final = ("telewire", "websockets")
ROUNDS: Final = 7
FULL_ROUNDS: Final = 21


def _workloads(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in WORKLOADS]
    if unknown:
        known = ", ".join(WORKLOADS)
        raise argparse.ArgumentTypeError(f"there is no workload {', '.join(unknown)}; there are {known}")
    return names


def _positive(text: str) -> float:
    number = float(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{text} leaves nothing to measure; give a number above 0")
    return number


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description="Compare telewire with its peers.")
    parser.add_argument("--full", action="store_true", help=f"more work, and {FULL_ROUNDS} rounds")
    parser.add_argument(
        "--workloads",
        type=_workloads,
        default=list(WORKLOADS),
        metavar="W1,W2",
        help=f"only these; there are {', '.join(WORKLOADS)}",
    )
    parser.add_argument("--rounds", type=int, metavar="N", help=f"how often each is measured; {ROUNDS}")
    parser.add_argument("--scale", type=_positive, default=1.0, help="multiply the work of a measurement")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write everything measured to a file")
    options = parser.parse_args(argv)
    if options.rounds is None:
        options.rounds = FULL_ROUNDS if options.full else ROUNDS
    if options.rounds < 1:
        parser.error(f"--rounds {options.rounds} measures nothing; give 1 or more")
    return options


def run(
    workloads: Sequence[str], rounds: int, scale: float, full: bool, console: Console
) -> list[Measurement]:
    """Measure every peer in every way it has for these workloads, in turns.

    Raises:
        SideFailed: a process ended instead of answering.
    """
    ways = {name: load_peer(name).WAYS for name in PEERS}
    measurements: list[Measurement] = []
    with ExitStack() as stack:
        sides: dict[tuple[str, str], Sides] = {}
        for peer in PEERS:
            for way in dict.fromkeys(way for name in workloads for way in ways[peer].get(name, ())):
                sides[peer, way] = stack.enter_context(Sides(peer, way))
        for number in range(rounds):
            console.print(f"round {number + 1} of {rounds}", style="dim")
            for name in workloads:
                workload = WORKLOADS[name]
                count = max(1, round((workload.full_count if full else workload.count) * scale))
                entrants = [(peer, way) for peer in PEERS for way in ways[peer].get(name, ())]
                # Whoever comes first in one round comes last in the next.
                turn = number % len(entrants)
                for peer, way in entrants[turn:] + entrants[:turn]:
                    figures = sides[peer, way].measure(name, count, one_cpu=workload.pinned)
                    measurements.append(Measurement(name, peer, way, number, count, **figures))
    order = {name: place for place, name in enumerate(PEERS)}
    return sorted(
        measurements, key=lambda each: (workloads.index(each.workload), order[each.peer], each.round)
    )


def main(argv: Sequence[str]) -> int:
    """Measure, print and, where asked, write; returns the exit status."""
    options = parse(argv)
    console = Console()
    try:
        measurements = run(options.workloads, options.rounds, options.scale, options.full, console)
    except SideFailed as failed:
        console.print(f"FAILED: {failed}", style="red")
        return 1
    goals = {(name, peer): goal for name, work in WORKLOADS.items() for peer, goal in work.goals.items()}
    summaries = summarise(measurements, goals)
    print_report(summaries, console)
    console.print(
        f"{options.rounds} rounds in turns, server and client in two processes on loopback, one connection, "
        "asyncio. Ratios are taken round by round; bold: against the peer's fastest way."
    )
    if not PINNING and any(WORKLOADS[name].pinned for name in options.workloads):
        console.print(
            "This system cannot keep a process on one CPU, so W1 and W5 ran unpinned.", style="yellow"
        )
    if options.json is not None:
        text = json.dumps(document(measurements, summaries, pinned=PINNING), indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")
        console.print(f"written to {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
