"""Which rule is proved by what; ``python -m telewire_spec.coverage`` writes ``spec/coverage.csv``."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Final

import click

from telewire_spec.casefile import load_suites
from telewire_spec.rules import rule_texts
from telewire_spec.vectors import load

__all__ = ["as_csv", "gone", "uncovered"]

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = Path(__file__).resolve().parent
PROOFS: Final = ROOT / "tests" / "spec" / "proofs.csv"
MATRIX: Final = ROOT / "spec" / "coverage.csv"
RULE: Final = re.compile(r"\bTW-[A-Z]{3}-\d{3}\b")
# Range of rules, as tests write it: TW-CAL-020 to 025.
RANGE: Final = re.compile(r"\b(TW-[A-Z]{3}-)(\d{3}) to (?:TW-[A-Z]{3}-)?(\d{3})\b")


def by_vectors() -> dict[str, set[str]]:
    """Rule → files of the vectors that prove it."""
    found: dict[str, set[str]] = defaultdict(set)
    for vector in load():
        for rule in vector.rules:
            found[rule].add(vector.id.partition("/")[0])
    return found


def by_scenarios() -> dict[str, set[str]]:
    """Rule → suites whose cases prove it; ``watch`` is what holds every frame in all of them."""
    found: dict[str, set[str]] = defaultdict(set)
    for name in ("watch.py", "watch_streams.py"):
        for rule in RULE.findall((PACKAGE / name).read_text(encoding="utf-8")):
            found[rule].add("watch")
    for case in load_suites():
        for rule in case.rules:
            found[rule].add(case.suite)
    return found


def by_tests() -> dict[str, set[str]]:
    """Rule → files of tests that name it, or that ``proofs.csv`` names for it."""
    found: dict[str, set[str]] = defaultdict(set)
    with PROOFS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found[row["rule"]].add(row["test"].partition("::")[0].removeprefix("tests/"))
    for path in sorted((ROOT / "tests").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        rules = set(RULE.findall(text))
        for chapter, first, last in RANGE.findall(text):
            rules |= {f"{chapter}{number:03}" for number in range(int(first), int(last) + 1)}
        for rule in rules:
            found[rule].add(path.relative_to(ROOT / "tests").as_posix())
    return found


def as_csv() -> str:
    """The matrix: a line for each rule, with the names of what proves it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rule", "vectors", "scenarios", "tests"])
    columns = by_vectors(), by_scenarios(), by_tests()
    for rule in rule_texts():
        writer.writerow([rule, *(" ".join(sorted(column.get(rule, ()))) for column in columns)])
    return text.getvalue()


def uncovered() -> list[str]:
    """Rules that nothing proves, but for those that were withdrawn."""
    columns = by_vectors(), by_scenarios(), by_tests()
    return [
        rule
        for rule, text in rule_texts().items()
        if not any(column.get(rule) for column in columns) and not text.startswith("*withdrawn*")
    ]


def gone() -> list[str]:
    """Rules of the matrix as it was written last that no chapter has any more, not even as withdrawn."""
    with MATRIX.open(encoding="utf-8", newline="") as file:
        return [row["rule"] for row in csv.DictReader(file) if row["rule"] not in rule_texts()]


def main() -> int:
    """Write the matrix, and tell what is missing; refuse where an id has gone, which could be used again."""
    lost = gone()
    if lost:
        click.echo(
            f"{' '.join(lost)}: no id goes; leave its line, with '*withdrawn*' and since which version."
        )
        return 1
    MATRIX.write_text(as_csv(), encoding="utf-8")
    missing = uncovered()
    texts = rule_texts()
    click.echo(
        f"{len(texts) - len(missing)} of {len(texts)} rules are proved by a vector, a scenario or a test."
    )
    for rule in missing:
        click.echo(f"  {rule} {texts[rule]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
