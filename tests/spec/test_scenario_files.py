"""Scenario files: they fit their schema, say what they prove, and the loader refuses what is not one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from telewire_spec.casefile import BadScenario, load_file, load_suites
from telewire_spec.frozen import problems, requirement_sets
from telewire_spec.plan import chosen
from telewire_spec.rules import rule_texts
from tests.spec.schema import Schema
from tests.test_spec_ids import known_ids

FOLDER = Path(__file__).parents[2] / "spec" / "telewire_spec" / "scenarios"
FILES = sorted(FOLDER.glob("*.yaml"))
SCHEMA = Schema(json.loads((FOLDER / "schema.json").read_text(encoding="utf-8")))

CASE: dict[str, Any] = {  # Any: YAML.
    "id": "one",
    "rules": ["TW-MOD-001"],
    "about": "It proves something.",
    "steps": [{"send": [{"PING": {"number": 1}}]}],
}


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_file_fits_the_schema(path: Path) -> None:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert SCHEMA.problems(document) == []


def test_there_are_many_in_every_chapter() -> None:
    cases = load_suites()
    assert len(cases) >= 600
    suites = {case.suite for case in cases}
    assert suites >= {
        *("calls", "values", "promises", "generators", "bytes", "functions", "channels", "cancel"),
        *("deadlines", "credit", "fragments", "limits", "negotiation", "extensions", "errors", "resume"),
        *("drain", "pairs", "keepalive", "exchange", "service", "carriers"),
    }
    assert all(case.about.endswith(".") for case in cases)


def test_no_two_cases_are_the_same() -> None:
    seen: dict[str, str] = {}
    for case in load_suites():
        key = repr(
            (
                *(case.roles, case.limits, case.peer_limits, case.open, case.steps),
                *(case.resume, case.exchange, case.places),
            )
        )
        assert key not in seen, f"{case.id} does what {seen[key]} does."
        seen[key] = case.id


def test_sets_hold_cases() -> None:
    cases = load_suites()
    sets = requirement_sets()
    assert set(sets) == {"core", "full", "resume", "exchange", "carriers", "promotion"}
    assert {case for name in sets if name != "core" for case in sets[name]} == {case.id for case in cases}
    assert set(sets["core"]) < set(sets["full"])
    assert {case.id for case in chosen(cases, named_set="core")} == set(sets["core"])


def test_sets_are_what_they_were() -> None:
    assert problems(load_suites()) == [], "Run python -m telewire_spec.frozen, and commit what it changed."


def test_no_case_goes_or_comes_unseen() -> None:
    """An id that was given stays (TW-DOC-001 is what the sets mean), and a new case is told."""
    cases = load_suites()
    [gone] = problems(cases[1:])
    assert f"{cases[0].id} stands in a set of version 1.0 and is gone" in gone
    [new] = problems([*cases, replace(cases[0], id="calls/newer")])
    assert "calls/newer is not listed in core full" in new or "calls/newer is not listed in full" in new


@pytest.mark.parametrize("name", ["core", "full"])
def test_who_offers_nothing_else_is_asked_for_nothing_else(name: str) -> None:
    """TW-DOC-001 and TW-DOC-002: chapter 7 binds nobody there, and no case needs what it describes."""
    for case in chosen(load_suites(), named_set=name):
        assert not [rule for rule in case.rules if rule.startswith("TW-SES-")], case.id
        assert (case.sort, case.resume) == ("connection", False), case.id


def test_filters_and_seeds() -> None:
    cases = load_suites()
    assert {case.suite for case in chosen(cases, patterns=["calls", "values/*"])} == {"calls", "values"}
    assert all("TW-CAL-010" in case.rules for case in chosen(cases, rules=["TW-CAL-010"]))
    one, two = (chosen(cases, patterns=["calls"], seed=seed) for seed in (1, 2))
    assert one != two
    assert sorted(case.id for case in one) == sorted(case.id for case in two)
    assert one == chosen(cases, patterns=["calls"], seed=1)


# Any: YAML.
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"surprise": 1}, "Case one of wrong.yaml has the unknown key 'surprise'"),
        ({"rules": []}, "as its key 'rules'"),
        ({"rules": ["MOD-1"]}, "as its key 'rules'"),
        ({"about": None}, "no key 'about'"),
        ({"roles": ["server", "proxy"]}, "as its key 'roles'"),
        ({"steps": []}, "no key 'steps'"),
        ({"steps": [{"sleep": 1}]}, "has a step with the keys sleep"),
        ({"steps": [{"send": [], "expect": []}]}, "has a step with the keys expect, send"),
        ({"steps": [{"send": [], "unordered": True}]}, "the unknown key 'unordered' beside 'send'"),
        ({"steps": ["alive"]}, "a step that is no map"),
        ({"id": "One"}, "has no id of small letters"),
        ({"each": [{"value": 1}]}, "a row without a name"),
        ({"each": [{"name": "a"}, {"name": "b", "x": 1}]}, "a row with the unknown key 'x'"),
        ({"each": [{"name": "a"}], "steps": ["$*nothing"]}, "names '$*nothing'"),
        ({"steps": [{"repeat": 2, "steps": [{"nap": 1}]}]}, "has a step with the keys nap"),
    ],
)
def test_the_loader_says_which_file_case_and_key(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    document = {"suite": "wrong", "about": "Wrong.", "cases": [CASE | change]}
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    with pytest.raises(BadScenario) as caught:
        load_file(path)
    assert said in str(caught.value)
    assert "wrong.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("suite: wrong\nabout: x\ncases: []\nmore: 1\n", "unknown key 'more'"),
        ("suite: other\nabout: x\ncases: []\n", "calls its suite 'other'"),
        ("suite: wrong\nagainst: nobody\nabout: x\ncases: []\n", "is against 'nobody'"),
        ("- 1\n", "is no map"),
        ("a: [\n", "is no YAML"),
    ],
)
def test_so_it_does_for_files(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadScenario, match=said):
        load_file(path)


def test_an_id_stands_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        document = {"suite": name, "about": "x", "cases": [CASE, CASE]}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    with pytest.raises(BadScenario, match="The id a/one stands twice"):
        load_suites(tmp_path)


def test_tables_are_filled(tmp_path: Path) -> None:
    row = {"name": "x", "frame": {"PING": {"number": 5}}, "rest": [{"alive": True}], "word": "one"}
    steps = [{"send": ["$frame"]}, "$*rest"]
    document = {
        "suite": "wrong",
        "about": "x",
        "cases": [CASE | {"each": [row], "steps": steps, "about": "The ${word} case."}],
    }
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    [case] = load_file(path)
    assert case.id == "wrong/one/x"
    assert case.about == "The one case."
    assert case.steps == ({"send": [{"PING": {"number": 5}}]}, {"alive": True})


def test_the_sentences_that_are_quoted_are_those_of_the_chapters() -> None:
    assert set(rule_texts()) == known_ids()
    assert rule_texts()["TW-NEG-003"].startswith("The server speaks first")
