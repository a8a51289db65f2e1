"""Checks the model with Spin: every run of it, and that each mutant of it is caught.

``python spec/model/check.py`` needs spin and a C compiler; README.md says what is proved.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

__all__ = ["CHECKS", "Check", "Outcome", "main", "missing_tools", "run_check"]

MODEL: Final = Path(__file__).resolve().parent / "session.pml"
COMPILER: Final = ("-w", "-O2", "-DVECTORSZ=2048", "-DCOLLAPSE", "-DNOFAIR")
DEPTH: Final = "-m100000"
SECONDS: Final = 600


@dataclass(frozen=True, slots=True)
class Check:
    """One run of Spin.

    Attributes:
        about: what it looks at.
        options: macros of the model.
        caught: what Spin says of a mutant; None where there must be no error.
        cycles: look for runs without an end instead of for assertions and states where nothing can happen.
    """

    about: str
    options: tuple[str, ...] = ()
    caught: str | None = None
    cycles: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What Spin found: errors, in how many states, and whether it saw all of them."""

    errors: int
    states: int
    said: str
    whole: bool

    def good(self, check: Check) -> bool:
        """Whether that is what is right for the check."""
        if check.caught is None:
            return self.whole and self.errors == 0 and self.states > 0
        return self.errors > 0 and check.caught in self.said


CHECKS: Final = (
    Check("a cut at any moment, any of stop, cancel, error, reset, close and expiry"),
    Check("a larger window, without a cut", ("-DCUTS=0", "-DITEMS=4", "-DWINDOW=2")),
    Check("a second cut while the first is mended", ("-DCUTS=2", "-DITEMS=1")),
    Check("a carrier that repeats and reorders, and a cut", ("-DRETRYING",)),
    Check("every run ends", ("-DITEMS=1",), cycles=True),
    Check(
        "every run ends, where frames are repeated and reordered", ("-DRETRYING", "-DITEMS=1"), cycles=True
    ),
    Check("a server that drains, without a cut", ("-DDRAINING", "-DCUTS=0")),
    Check("a server that drains, and a cut", ("-DDRAINING", "-DITEMS=1")),
    Check(
        "the same, where a RESUME says what comes again: no call is refused",
        ("-DDRAINING", "-DITEMS=1", "-DRESUME_TELLS"),
    ),
    Check("every run ends, where a server drains", ("-DDRAINING", "-DITEMS=1", "-DCUTS=0"), cycles=True),
    Check(
        "mutant: a gap in the positions is taken",
        ("-DRETRYING", "-DMUTANT_GAP_IS_TAKEN"),
        "assertion violated",
    ),
    Check("mutant: the old transport still speaks", ("-DMUTANT_OLD_TRANSPORT_SPEAKS",), "assertion violated"),
    Check(
        "mutant: the replay begins one late", ("-DMUTANT_REPLAY_FROM_ACKED_PLUS_ONE",), "assertion violated"
    ),
    Check("mutant: a grant adds to the limit", ("-DMUTANT_GRANT_ADDS", "-DITEMS=3"), "assertion violated"),
    Check("mutant: a stop is not answered", ("-DMUTANT_STOP_IS_NOT_ANSWERED",), "invalid end state"),
    Check(
        "mutant: a last call is stated at once",
        ("-DDRAINING", "-DCUTS=0", "-DMUTANT_GOAWAY_IN_ONE_STEP"),
        "assertion violated",
    ),
    Check(
        "mutant: what has not arrived is cut off",
        ("-DDRAINING", "-DCUTS=0", "-DMUTANT_DRAIN_CUTS_OFF"),
        "assertion violated",
    ),
)


def missing_tools() -> list[str]:
    """Programs that a check needs and that are not on the PATH."""
    return [name for name in ("spin", "gcc") if shutil.which(name) is None]


def run_check(check: Check) -> Outcome:
    """Generate the checker, compile it and run it.

    Raises:
        subprocess.CalledProcessError: the model or the checker cannot be compiled.
        subprocess.TimeoutExpired: there are more states than ten minutes suffice for.
    """
    with tempfile.TemporaryDirectory(prefix="telewire-model-") as folder:
        search = "-DNP" if check.cycles else "-DSAFETY"
        for command in (
            ["spin", *check.options, "-a", str(MODEL)],
            ["gcc", *COMPILER, search, "-o", "pan", "pan.c"],
        ):
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
        flags = [DEPTH, "-l"] if check.cycles else [DEPTH]
        done = subprocess.run(
            [str(Path(folder) / "pan"), *flags],
            cwd=folder,
            check=False,
            capture_output=True,
            encoding="utf-8",
            timeout=SECONDS,
        )
    said = done.stdout
    errors = re.search(r"errors: (\d+)", said)
    states = re.search(r"(\d+) states, stored", said)
    whole = "Search not completed" not in said and "max search depth too small" not in said
    return Outcome(int(errors[1]) if errors else -1, int(states[1]) if states else 0, said, whole)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all checks, or those whose description holds a word; returns the exit status."""
    parser = argparse.ArgumentParser(description="Check the model of sessions with Spin.")
    parser.add_argument("--only", default="", metavar="WORD", help="those whose description holds it")
    options = parser.parse_args(arguments)
    missing = missing_tools()
    if missing:
        click.echo(
            f"The model needs {' and '.join(missing)} on the PATH; apt-get install spin gcc brings them."
        )
        return 2
    chosen = [check for check in CHECKS if options.only in check.about]
    bad = 0
    for check in chosen:
        begun = time.perf_counter()
        outcome = run_check(check)
        good = outcome.good(check)
        bad += not good
        verdict = "ok" if good else "WRONG"
        took = time.perf_counter() - begun
        click.echo(f"{verdict:<6} {outcome.states:>10,} states {took:6.1f} s  {check.about}")
        if not good:
            click.echo(outcome.said)
    click.echo(f"model: {len(chosen) - bad} of {len(chosen)} checks came out right")
    return 1 if bad or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
