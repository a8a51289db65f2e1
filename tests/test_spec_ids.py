"""The rule ids of the spec: well-formed, unique, ascending, and every reference leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPEC = ROOT / "spec"

CHAPTERS = {
    "README.md": "DOC",
    "01-model.md": "MOD",
    "02-frames.md": "FRM",
    "03-calls.md": "CAL",
    "04-streams.md": "STR",
    "05-errors.md": "ERR",
    "06-negotiation.md": "NEG",
    "07-sessions.md": "SES",
    "08-values.md": "VAL",
    "09-limits.md": "LIM",
}
RULE = re.compile(r"^- \*\*(?P<id>[^*]+)\*\* (?P<text>.+)$", re.M)
WELL_FORMED = re.compile(r"TW-[A-Z]{3}-\d{3}")
REFERENCE = re.compile(r"\bTW-[A-Z]{3,}-\d+\b")
KEYWORD = re.compile(r"\b(?:MUST|SHOULD|MAY)\b")

REFERRING = [*sorted(SPEC.glob("*.md")), *sorted(SPEC.glob("*.cddl")), *sorted(SPEC.glob("registries/*.csv"))]


def rules(name: str) -> list[tuple[str, str]]:
    """Ids and texts of the rules of one chapter, in order."""
    text = (SPEC / name).read_text(encoding="utf-8")
    return [(match["id"], match["text"]) for match in RULE.finditer(text)]


def known_ids() -> set[str]:
    """Every id that some chapter defines."""
    return {rule for name in CHAPTERS for rule, _ in rules(name)}


def references(text: str) -> set[str]:
    """Every id that a text names."""
    return set(REFERENCE.findall(text))


def test_every_chapter_is_listed() -> None:
    chapters = {path.name for path in SPEC.glob("[0-9][0-9]-*.md")} | {"README.md"}
    assert chapters == set(CHAPTERS)


@pytest.mark.parametrize(("name", "letters"), CHAPTERS.items())
def test_ids_of_a_chapter_are_well_formed_and_ascend(name: str, letters: str) -> None:
    ids = [rule for rule, _ in rules(name)]
    assert ids, f"{name} has no rules."
    for rule in ids:
        assert WELL_FORMED.fullmatch(rule), f"{rule} in {name} is no id."
        assert rule.startswith(f"TW-{letters}-"), f"{rule} stands in {name}."
    assert ids == sorted(set(ids)), f"The ids of {name} do not ascend, or one stands twice."


def test_ids_are_unique_over_all_chapters() -> None:
    ids = [rule for name in CHAPTERS for rule, _ in rules(name)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("path", REFERRING, ids=[str(path.relative_to(SPEC)) for path in REFERRING])
def test_references_of_the_spec_exist(path: Path) -> None:
    missing = references(path.read_text(encoding="utf-8")) - known_ids()
    assert not missing, f"{path.name} refers to rules that do not exist: {sorted(missing)}."


def test_references_of_the_code_exist() -> None:
    known = known_ids()
    missing = {
        f"{path.relative_to(ROOT)}: {rule}"
        for folder in ("telewire", "transports", "spec", "tests")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for rule in references(path.read_text(encoding="utf-8")) - known
    }
    assert not missing, f"The code refers to rules that do not exist: {sorted(missing)}."


@pytest.mark.parametrize("name", [name for name in CHAPTERS if name != "README.md"])
def test_normative_words_stand_in_rules_only(name: str) -> None:
    text = (SPEC / name).read_text(encoding="utf-8")
    loose = [line for line in text.splitlines() if KEYWORD.search(line) and not RULE.match(line)]
    assert not loose, f"{name} has normative words outside its rules: {loose}."


def test_a_missing_rule_would_be_noticed() -> None:
    # Put together here, or the test above would find them in this file.
    wrong = {"TW-" + "FRM-0", "TW-" + "NONE-001"}
    assert references(f"see TW-FRM-010, {' and '.join(sorted(wrong))}") - known_ids() == wrong
