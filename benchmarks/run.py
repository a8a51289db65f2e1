"""Compare telewire with what one would use instead: ``python benchmarks/run.py``, or ``make bench``.

Every peer runs in the same run and in turns, a new order each round, so that whatever else the
machine does falls on all of them. Read the ratios: they hold from machine to machine where the
figures themselves do not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

# This checkout is measured, whatever is installed.
ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "transports"), str(ROOT / "spec")]

from rich.console import Console

from benchmarks.curves import CURVES
from benchmarks.entrants import PEERS, Peer, find_peers
from benchmarks.latencies import LATENCIES
from benchmarks.outputs import add_outputs, write_json
from benchmarks.plots import draw
from benchmarks.processes import PINNING, SideFailed, Sides
from benchmarks.report import print_curves, print_latencies, print_missing, print_report
from benchmarks.results import CurvePoint, Measurement, Samples, document, summarise
from benchmarks.workloads import WORKLOADS

ROUNDS: Final = 3
FULL_ROUNDS: Final = 7
CURVE_ROUNDS: Final = 3
"""In how many of them curves are measured, with ``--full``; else in the first."""
SECONDS: Final = 0.2
FULL_SECONDS: Final = 1.5
NAMES: Final = (*WORKLOADS, *LATENCIES, *CURVES)


@dataclass
class Found:
    """Everything that a run has measured."""

    measurements: list[Measurement] = field(default_factory=list)
    samples: list[Samples] = field(default_factory=list)
    points: list[CurvePoint] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    """Peer and workload → what went wrong, where something did."""


def _among(known: Sequence[str], what: str) -> Callable[[str], list[str]]:
    def parse_names(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",")]
        unknown = [name for name in names if name not in known]
        if unknown:
            listed = ", ".join(known)
            raise argparse.ArgumentTypeError(f"there is no {what} {', '.join(unknown)}; there are {listed}")
        return names

    return parse_names


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
        type=_among(NAMES, "workload"),
        default=list(NAMES),
        metavar="W1,W2",
        help=f"only these; there are {', '.join(NAMES)}",
    )
    parser.add_argument(
        "--peers",
        type=_among(PEERS, "peer"),
        default=list(PEERS),
        metavar="A,B",
        help=f"only these; there are {', '.join(PEERS)}",
    )
    parser.add_argument("--rounds", type=int, metavar="N", help=f"how often each is measured; {ROUNDS}")
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="start all processes anew for each round: one may be a sixth slower than the next",
    )
    parser.add_argument("--scale", type=_positive, default=1.0, help="multiply the work of a measurement")
    parser.add_argument(
        "--seconds",
        type=_positive,
        help=f"do less of the work where all would take longer; {SECONDS:g}, with --full {FULL_SECONDS:g}",
    )
    add_outputs(parser)
    options = parser.parse_args(argv)
    if options.rounds is None:
        options.rounds = FULL_ROUNDS if options.full else ROUNDS
    if options.rounds < 1:
        parser.error(f"--rounds {options.rounds} measures nothing; give 1 or more")
    if options.seconds is None:
        options.seconds = FULL_SECONDS if options.full else SECONDS
    return options


class Run:
    """One comparison: the processes of all peers, and what has been measured."""

    def __init__(self, peers: Mapping[str, Peer], options: argparse.Namespace, console: Console) -> None:
        self._peers = peers
        self._options = options
        self._console = console
        self._sides: dict[tuple[str, str], Sides] = {}
        self._rates: dict[tuple[str, str, str], float] = {}
        self.found = Found()

    def measure_all(self) -> Found:
        """Measure every peer in every way it has for what was asked for, in turns."""
        names: list[str] = self._options.workloads
        with ExitStack() as stack:
            for number in range(self._options.rounds):
                if number == 0 or self._options.fresh:
                    stack.close()
                    self._start(stack, names)
                self._console.print(f"round {number + 1} of {self._options.rounds}", style="dim")
                for name in names:
                    entrants = [
                        (peer, way)
                        for peer, loaded in self._peers.items()
                        for way in loaded.WAYS.get(name, ())
                    ]
                    # Whoever comes first in one round comes last in the next.
                    turn = number % max(1, len(entrants))
                    for peer, way in entrants[turn:] + entrants[:turn]:
                        self._one(name, peer, way, number)
        order = {name: place for place, name in enumerate(self._peers)}
        self.found.measurements.sort(
            key=lambda each: (names.index(each.workload), order[each.peer], each.round)
        )
        return self.found

    def _start(self, stack: ExitStack, names: Sequence[str]) -> None:
        """Start the processes that the workloads need."""
        # They are cold again.
        self._rates.clear()
        for peer, loaded in self._peers.items():
            for way in dict.fromkeys(way for name in names for way in loaded.WAYS.get(name, ())):
                self._sides[peer, way] = stack.enter_context(Sides(peer, way))

    def _one(self, name: str, peer: str, way: str, number: int) -> None:
        if f"{peer} ({way})" in self.found.failures:
            return
        sides = self._sides[peer, way]
        full: bool = self._options.full
        scale: float = self._options.scale
        try:
            if name in LATENCIES:
                latency = LATENCIES[name]
                count = max(1, round((latency.full_count if full else latency.count) * scale))
                found = sides.measure(name, count)
                self.found.samples.append(
                    Samples(name, peer, way, number, found["samples"], found.get("bytes_a_second"))
                )
            elif name in CURVES:
                if number < (CURVE_ROUNDS if full else 1):
                    self._curve(name, peer, way, number)
            else:
                self._rate(name, peer, way, number)
        except SideFailed as failed:
            # Its process has gone, and the others shall not suffer from it; main() ends with a failure.
            self.found.failures[f"{peer} ({way})"] = str(failed)
            self._console.print(f"FAILED: {failed}", style="red")

    def _curve(self, name: str, peer: str, way: str, number: int) -> None:
        curve = CURVES[name]
        count = max(1, round((curve.full_count if self._options.full else curve.count) * self._options.scale))
        points = curve.full_points if self._options.full else curve.points
        # A part of the work is a part of the sizes, too.
        points = points[: max(1, round(len(points) * min(1.0, self._options.scale)))]
        if curve.fresh:
            # What a process has had before, it may use again without growing.
            with Sides(peer, way) as sides:
                answer = sides.measure(name, count, points=points)
        else:
            answer = self._sides[peer, way].measure(name, count, points=points)
        self.found.points += [CurvePoint(name, peer, way, number, **point) for point in answer["points"]]

    def _rate(self, name: str, peer: str, way: str, number: int) -> None:
        workload = WORKLOADS[name]
        full: bool = self._options.full
        budget: float = self._options.seconds
        most = max(1, round((workload.full_count if full else workload.count) * self._options.scale))
        sides, key = self._sides[peer, way], (name, peer, way)
        if key not in self._rates:
            # Warms both processes up, and says how much of the work the time allows.
            glimpse = sides.measure(name, most, one_cpu=workload.pinned, seconds=budget / 4)
            self._rates[key] = glimpse["count"] / glimpse["seconds"]
        count = max(1, min(most, max(most // 50, round(self._rates[key] * budget))))
        figures = sides.measure(name, count, one_cpu=workload.pinned)
        measured = Measurement(name, peer, way, number, **figures)
        self._rates[key] = measured.rate
        self.found.measurements.append(measured)


def main(argv: Sequence[str]) -> int:
    """Measure, print and, where asked, write; returns the exit status."""
    options = parse(argv)
    console = Console()
    peers, missing = find_peers(options.peers)
    found = Run(peers, options, console).measure_all()
    goals = {(name, peer): goal for name, work in WORKLOADS.items() for peer, goal in work.goals.items()}
    summaries = summarise(found.measurements, goals)
    cannot = {
        name: {peer: loaded.CANNOT[name] for peer, loaded in peers.items() if name in loaded.CANNOT}
        for name in options.workloads
    }
    print_report(summaries, console, cannot)
    print_latencies(found.samples, console, cannot)
    print_curves(found.points, console)
    console.print(
        f"{options.rounds} rounds in turns, server and client in two processes on loopback, one connection, "
        "asyncio. Ratios are taken round by round; bold: against the peer's fastest way."
    )
    if not PINNING and any(name in WORKLOADS and WORKLOADS[name].pinned for name in options.workloads):
        console.print(
            "This system cannot keep a process on one CPU, so W1 and W5 ran unpinned.", style="yellow"
        )
    print_missing(missing, console)
    whole = document(
        found.measurements,
        summaries,
        pinned=PINNING,
        samples=found.samples,
        points=found.points,
        missing=missing,
        failures=found.failures,
        note=options.note,
    )
    if options.json is not None:
        write_json(options.json, whole)
        console.print(f"written to {options.json}")
    if options.plots is not None:
        for path in draw(whole, options.plots):
            console.print(f"drawn to {path}")
    return 1 if found.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
