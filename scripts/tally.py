"""What a test run promises beyond passing: no unexplained skip, and the same tests on every backend.

Reads the JUnit report that pytest writes, so nothing here depends on how the tests are written.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from xml.etree import ElementTree

__all__ = [
    "Tally",
    "allowed_reasons",
    "backend_differences",
    "backend_line",
    "read",
    "summary",
    "unexpected_skips",
]

BACKENDS = ("asyncio", "trio")


@dataclass
class Tally:
    """What one run of pytest did."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """``passed``, ``failed``, ``error`` or ``skipped`` → number of tests."""
    skips: Counter[str] = field(default_factory=Counter)
    """Reason → number of tests skipped for it."""
    ran: dict[str, set[str]] = field(default_factory=lambda: {backend: set() for backend in BACKENDS})
    """Backend → the tests that ran on it, named without the backend."""


def read(*reports: Path) -> Tally:
    """Count what JUnit reports of pytest hold together."""
    seen = Tally()
    for case in (case for report in reports for case in ElementTree.parse(report).iter("testcase")):
        skipped = case.find("skipped")
        if case.find("error") is not None:
            outcome = "error"
        elif case.find("failure") is not None:
            outcome = "failed"
        elif skipped is not None:
            outcome = "skipped"
            reason = skipped.get("message") or "no reason given"
            prefix = "xfail: " if skipped.get("type") == "pytest.xfail" else ""
            seen.skips[prefix + reason] += 1
        else:
            outcome = "passed"
        seen.outcomes[outcome] += 1
        if outcome != "skipped":
            _note_backend(seen, case.get("classname", ""), case.get("name", ""))
    return seen


def _note_backend(seen: Tally, place: str, name: str) -> None:
    """Note a test whose parameters, ``test_name[asyncio-websocket]``, name a backend."""
    match = re.fullmatch(r"([^\[]*)\[(.*)\]", name, re.DOTALL)
    if match is None:
        return
    parameters = match[2].split("-")
    for backend in BACKENDS:
        if backend in parameters:
            rest = "-".join(part for part in parameters if part != backend)
            seen.ran[backend].add(f"{place}::{match[1]}[{rest}]")


def allowed_reasons(path: Path) -> list[str]:
    """The patterns in ``allowed_skips.txt``."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def unexpected_skips(seen: Tally, allowed: Iterable[str]) -> list[str]:
    """One sentence for each reason to skip that nobody agreed to."""
    patterns = list(allowed)
    return [
        f"{count} test(s) skipped for a reason that tests/allowed_skips.txt does not list: {reason}"
        for reason, count in sorted(seen.skips.items())
        if not any(fnmatchcase(reason, pattern) for pattern in patterns)
    ]


def backend_line(seen: Tally) -> str:
    """How many tests ran on each backend."""
    return "runtime tests: " + ", ".join(f"{len(seen.ran[backend])} on {backend}" for backend in BACKENDS)


def backend_differences(seen: Tally) -> list[str]:
    """One sentence for each way in which the backends were not tested alike."""
    everything = set().union(*seen.ran.values())
    if not everything:
        return ["no test ran on an event loop; runtime tests take the fixture anyio_backend"]
    problems = []
    for backend in BACKENDS:
        missing = sorted(everything - seen.ran[backend])
        if missing:
            problems.append(f"{len(missing)} test(s) did not run on {backend}: {_some(missing)}")
    return problems


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def summary(seen: Tally) -> str:
    """One line: the outcomes, and the skips by reason."""
    order = ("failed", "error", "passed", "skipped")
    outcomes = ", ".join(f"{seen.outcomes[name]} {name}" for name in order if seen.outcomes[name])
    reasons = "; ".join(f"{count} x {reason}" for reason, count in sorted(seen.skips.items()))
    return f"{outcomes or 'nothing ran'}; skips by reason: {reasons or 'none'}"
