"""The scenarios: well-formed, many, about rules that exist; our implementation passes them in both roles."""

from __future__ import annotations

import pytest

from telewire_spec.casefile import Case, load_suites
from telewire_spec.driver.application import Application
from telewire_spec.engine import run_case
from tests.test_spec_ids import known_ids

CASES = load_suites()
MACHINE = [case for case in CASES if case.against == "driver"]


@pytest.mark.parametrize("suite", sorted({case.suite for case in MACHINE}))
@pytest.mark.parametrize("role", ["client", "server"])
def test_our_machine_passes(suite: str, role: str) -> None:
    mine = [case for case in MACHINE if case.suite == suite and role in case.roles]
    results = [run_case(case, role, Application()) for case in mine]
    assert [f"{each.name}: {each.verdict}: {each.reason}" for each in results if each.verdict != "pass"] == []


def test_a_case_fails_where_something_else_comes() -> None:
    [case] = [case for case in MACHINE if case.id == "calls/answer/value"]
    steps = ({"send": [{"PING": {"number": 7}}]}, {"expect": [{"PONG": {"number": 8}}]})
    result = run_case(
        Case(case.id, case.suite, "driver", "", case.rules, steps=steps), "server", Application()
    )
    assert (result.verdict, "number 7" in result.reason) == ("fail", True)
    assert any("PONG" in line for line in result.log)


def test_the_rules_that_they_quote_exist() -> None:
    assert {rule for case in CASES for rule in case.rules} <= known_ids()
