"""Which cases a requirement set has, fixed with its version; ``python -m telewire_spec.frozen`` writes it.

``requirements/1.0.yaml`` says what the sets are for, by patterns; ``1.0.csv`` beside it lists their cases one
by one, and is what counts. While a version is not released, new cases join it; then its list stays as it is.
"""

from __future__ import annotations

import csv
import fnmatch
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import click
import yaml

from telewire_spec.casefile import Case, load_suites

__all__ = ["VERSION", "fits", "problems", "requirement_sets"]

VERSION: Final = "1.0"
FOLDER: Final = Path(__file__).resolve().parent / "requirements"


@dataclass(frozen=True, slots=True)
class Set:
    """What a requirement set is for: cases by patterns, and what its implementations offer besides."""

    patterns: tuple[str, ...]
    offers: frozenset[str]

    def wants(self, case: Case) -> bool:
        """Whether a case is one of it."""
        flags = [name for name in ("resume", "exchange", "places") if getattr(case, name)]
        # More than one call is what every connection carries.
        needs = {*case.needs, *flags} - {"session"}
        return needs <= self.offers and any(fits(case.id, each) for each in self.patterns)


def fits(name: str, pattern: str) -> bool:
    """Whether an id fits a pattern: as for files, or, without a star, all that begins with it."""
    if "*" in pattern:
        return fnmatch.fnmatchcase(name, pattern)
    return name == pattern or name.startswith(pattern.rstrip("/") + "/")


@cache
def _listed(version: str = VERSION) -> dict[str, tuple[str, ...]]:
    """Case → the sets that it stands in."""
    with (FOLDER / f"{version}.csv").open(encoding="utf-8", newline="") as file:
        return {row["case"]: tuple(row["sets"].split()) for row in csv.DictReader(file, strict=True)}


@cache
def _described(version: str = VERSION) -> tuple[bool, dict[str, Set]]:
    """Whether a version is released, and what its sets are for."""
    document = yaml.safe_load((FOLDER / f"{version}.yaml").read_text(encoding="utf-8"))
    sets = {
        name: Set(tuple(each["cases"]), frozenset(each.get("offers", ())))
        for name, each in document["sets"].items()
    }
    return bool(document["released"]), sets


def requirement_sets(version: str = VERSION) -> dict[str, list[str]]:
    """Name of a set → the ids of its cases."""
    listed = _listed(version)
    return {name: [case for case, sets in listed.items() if name in sets] for name in _described(version)[1]}


def problems(cases: Sequence[Case], version: str = VERSION) -> list[str]:
    """What is wrong with the list, as sentences: a case that is gone, or one that is in no set yet."""
    listed = _listed(version)
    released, sets = _described(version)
    there = {case.id for case in cases}
    found = [
        f"{name} stands in a set of version {version} and is gone; bring it back, ids stay."
        for name in listed
        if name not in there
    ]
    for case in cases:
        wanted = tuple(name for name, each in sets.items() if each.wants(case))
        if not released and listed.get(case.id, ()) != wanted:
            found.append(f"{case.id} is not listed in {' '.join(wanted) or 'no set'}; write the list anew.")
        elif case.id not in listed:
            found.append(f"{case.id} is newer than version {version}; give it to a later one.")
    return found


def as_csv(cases: Sequence[Case], version: str = VERSION) -> str:
    """The list by the patterns: a line for each case, with the names of its sets."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "sets"])
    sets = _described(version)[1]
    for case in cases:
        writer.writerow([case.id, " ".join(name for name, each in sets.items() if each.wants(case))])
    return text.getvalue()


def main() -> int:
    """Write the list of a version that is not released yet; refuse to drop a case."""
    cases = load_suites()
    gone = [each for each in problems(cases) if "is gone" in each]
    if gone or _described()[0]:
        click.echo("\n".join(gone or [f"Version {VERSION} is released; its list stays as it is."]))
        return 1
    (FOLDER / f"{VERSION}.csv").write_text(as_csv(cases), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
