"""Simulates many seeds: ``python tests/simulation/run.py --seeds N``, or ``make simulate SEEDS=N``.

Each seed is a story of peers, a network and faults, the same at each run. A seed that fails is named with
the way to run it again; after the first twenty of them it ends. The last lines say what has befallen the
peers in all.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "transports"), str(ROOT / "spec")]
    sys.path.remove(str(Path(__file__).parent))

from tests.simulation.world import Simulation

CHUNK = 25
MOST_FAILURES = 20
REPORT_SECONDS = 30.0


def say(text: str) -> None:
    """Tell the reader."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def simulate_some(seeds: range) -> tuple[int, Counter[str], list[tuple[int, str]]]:
    """Run some seeds; how many, what befell them, and which failed with which trace."""
    faults: Counter[str] = Counter()
    failures: list[tuple[int, str]] = []
    for seed in seeds:
        try:
            simulation = Simulation(seed)
            simulation.run()
            faults.update(simulation.happened())
        except Exception:
            failures.append((seed, traceback.format_exc()))
    return len(seeds), faults, failures


def chunks(first: int, count: int) -> Iterator[range]:
    """The seeds, a few at a time."""
    for begin in range(first, first + count, CHUNK):
        yield range(begin, min(begin + CHUNK, first + count))


def report(failures: list[tuple[int, str]]) -> list[int]:
    """Say which seeds have failed, how, and how to see it again; gives their numbers."""
    for seed, trace in failures:
        say(f"{trace}simulate: seed {seed} FAILED; again: make simulate SEED={seed}")
    return [seed for seed, _ in failures]


def run(first: int, count: int, processes: int) -> int:
    """Run seeds in several processes; returns the exit status."""
    began = told = time.monotonic()
    done = 0
    faults: Counter[str] = Counter()
    failed: list[int] = []
    with get_context("spawn").Pool(processes) as pool:
        for number, some, failures in pool.imap_unordered(simulate_some, chunks(first, count)):
            done += number
            faults += some
            failed += report(failures)
            if len(failed) >= MOST_FAILURES:
                say(f"simulate: {len(failed)} seeds have failed, the rest is not run")
                break
            if time.monotonic() > told + REPORT_SECONDS:
                told = time.monotonic()
                say(f"simulate: {done} seeds, {len(failed)} failed, {told - began:.0f} s")
    say("simulate: " + ", ".join(f"{name}: {number}" for name, number in sorted(faults.items())))
    outcome = f"{len(failed)} FAILED: {sorted(failed)}" if failed else "nothing found"
    say(f"simulate: {done} seeds from {first} in {time.monotonic() - began:.0f} s, {outcome}")
    return 1 if failed else 0


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description="Simulate peers, a network and its faults.")
    parser.add_argument("--seeds", type=int, default=2_000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="run this one and nothing else, in this process")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    if options.seed is not None:
        Simulation(options.seed).run()
        say(f"simulate: seed {options.seed} holds")
        return 0
    return run(options.first, options.seeds, options.processes)


if __name__ == "__main__":
    sys.exit(main())
