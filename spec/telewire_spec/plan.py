"""Which cases are run, in which roles, and how their results are judged as a whole."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from telewire_spec.casefile import Case
from telewire_spec.engine import PASSING, Result
from telewire_spec.frozen import fits, requirement_sets

__all__ = ["Summary", "chosen", "known_failing", "summarise"]


def chosen(
    cases: Sequence[Case],
    *,
    patterns: Iterable[str] = (),
    rules: Iterable[str] = (),
    named_set: str | None = None,
    seed: int | None = None,
) -> list[Case]:
    """The cases whose id fits a pattern, that prove a rule and belong to the set, shuffled by the seed.

    A pattern is as for files, ``calls/*``, and one without a star means all that begins with it.

    Raises:
        KeyError: there is no such set.
    """
    wanted = list(patterns)
    of_rules = set(rules)
    of_set = set(requirement_sets()[named_set]) if named_set is not None else None
    found = [
        case
        for case in cases
        if (not wanted or any(fits(case.id, each) for each in wanted))
        and (not of_rules or of_rules & set(case.rules))
        and (of_set is None or case.id in of_set)
    ]
    if seed is not None:
        random.Random(seed).shuffle(found)
    return found


def _listed(result: Result, line: str) -> bool:
    pattern, _, where = line.partition(" ")
    return fits(result.case.id, pattern) and where.strip() in ("", result.role, result.carrier)


def known_failing(path: Path) -> list[str]:
    """The patterns of a file, one a line, maybe with a role or a carrier behind; ``#`` begins a comment."""
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


@dataclass(slots=True)
class Summary:
    """What came out of a run.

    Attributes:
        counts: how many of each verdict.
        known: failures that were expected.
        unexpected: failures that were not.
        surprising: what passed although it was listed as failing.
    """

    counts: Counter[str] = field(default_factory=Counter)
    known: list[Result] = field(default_factory=list)
    unexpected: list[Result] = field(default_factory=list)
    surprising: list[Result] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing failed, or passed, that should not have."""
        return not self.unexpected and not self.surprising


def summarise(results: Iterable[Result], failing: Sequence[str] = ()) -> Summary:
    """Count the verdicts, and hold them against what is known to fail."""
    summary = Summary()
    for result in results:
        summary.counts[result.verdict] += 1
        listed = any(_listed(result, each) for each in failing)
        if result.verdict == "fail":
            (summary.known if listed else summary.unexpected).append(result)
        elif listed and result.verdict in PASSING:
            summary.surprising.append(result)
    return summary
