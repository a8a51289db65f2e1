"""Every rule is proved by a vector, a scenario or a test, and the matrix that says so is up to date."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from telewire_spec import coverage
from telewire_spec.links import websocket as link
from telewire_spec.rules import rule_texts
from telewire_transports.websocket import client, server
from tests.test_spec_ids import known_ids

ROOT = Path(__file__).parents[2]


def proofs() -> list[tuple[str, str]]:
    """Rules and the tests that prove them without naming them."""
    with (ROOT / "tests" / "spec" / "proofs.csv").open(encoding="utf-8", newline="") as file:
        return [(row["rule"], row["test"]) for row in csv.DictReader(file, strict=True)]


def test_the_matrix_is_up_to_date() -> None:
    made = (ROOT / "spec" / "coverage.csv").read_text(encoding="utf-8")
    assert made == coverage.as_csv(), "Run python -m telewire_spec.coverage, and commit what it changed."


def test_every_rule_is_proved() -> None:
    assert coverage.uncovered() == [], "Add a scenario, or name a test in tests/spec/proofs.csv."


def test_an_id_stays_where_its_rule_is_dropped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert coverage.gone() == []
    texts = rule_texts()
    dropped = next(iter(texts))
    monkeypatch.setattr(coverage, "rule_texts", lambda: {k: v for k, v in texts.items() if k != dropped})
    assert coverage.gone() == [dropped]
    assert coverage.main() == 1
    assert f"{dropped}: no id goes" in capsys.readouterr().out
    monkeypatch.setattr(coverage, "rule_texts", lambda: texts | {"TW-" + "MOD-999": "*withdrawn* since 2."})
    assert coverage.uncovered() == []


@pytest.mark.parametrize(("rule", "test"), proofs(), ids=[rule for rule, _ in proofs()])
def test_a_proof_exists(rule: str, test: str) -> None:
    path, _, name = test.partition("::")
    assert rule in known_ids()
    assert re.search(rf"^(?:async )?def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)


def test_a_rule_without_proof_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "by_scenarios", dict)
    assert coverage.uncovered() != []


def test_departures_are_told_with_their_rules() -> None:
    text = (ROOT / "spec" / "rationale.md").read_text(encoding="utf-8")
    told = text.partition("## What the implementation beside this text leaves out")[2].partition("\n## ")[0]
    left_out = set(re.findall(r"TW-[A-Z]{3}-\d{3}", told)) - {rule for rule in known_ids() if "DOC" in rule}
    assert left_out >= {"TW-NEG-052"}
    assert all("SHOULD" in rule_texts()[rule] or "MAY" in rule_texts()[rule] for rule in left_out)


def test_the_wire_family_is_what_both_sides_ask_for() -> None:
    family = "telewire.1"
    assert rule_texts()["TW-DOC-010"].startswith(f"The *wire family* is `{family}`")
    assert family == link.SUBPROTOCOL
    for module in (client, server):
        assert family in vars(module).values(), module.__name__
