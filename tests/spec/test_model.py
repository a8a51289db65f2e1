"""The model of sessions: small runs of the checker, and its page; ``make model`` runs everything."""

from __future__ import annotations

import re
import sys

import pytest

from model.check import CHECKS, MODEL, Check, missing_tools, run_check
from telewire_spec.rules import rule_texts

needs_spin = pytest.mark.skipif(
    bool(missing_tools()) and sys.platform != "linux",
    reason="Spin is run on Linux, whose set-up brings it",
)


def named(word: str) -> Check:
    [check] = [check for check in CHECKS if word in check.about]
    return check


@needs_spin
def test_a_small_model_has_no_error() -> None:
    small = Check("small", ("-DITEMS=1", "-DCUTS=0"))
    outcome = run_check(small)
    assert outcome.good(small), outcome.said
    assert outcome.states > 10_000


@needs_spin
@pytest.mark.parametrize(
    "word", ["a gap in the positions", "a grant adds", "a stop is not answered", "a last call"]
)
def test_a_mutant_is_caught(word: str) -> None:
    outcome = run_check(named(word))
    assert outcome.good(named(word)), outcome.said


@needs_spin
def test_a_check_that_finds_nothing_is_not_good() -> None:
    """A mutant that is caught by nothing, or for another reason, is no good sign."""
    mutant = named("a stop is not answered")
    assert not run_check(Check("not broken", ("-DITEMS=1", "-DCUTS=0"), mutant.caught)).good(mutant)
    assert not run_check(Check("broken", mutant.options)).good(Check("broken"))


def test_every_mutant_is_checked_and_described() -> None:
    text = MODEL.read_text(encoding="utf-8")
    page = (MODEL.parent / "README.md").read_text(encoding="utf-8")
    there = set(re.findall(r"MUTANT_[A-Z_]+[A-Z]", text))
    checked = {
        option.removeprefix("-D") for check in CHECKS for option in check.options if "MUTANT" in option
    }
    assert there == checked == set(re.findall(r"MUTANT_[A-Z_]+[A-Z]", page))


def test_the_rules_that_it_names_exist() -> None:
    for path in (MODEL, MODEL.parent / "README.md"):
        named_rules = set(re.findall(r"TW-[A-Z]{3}-\d{3}", path.read_text(encoding="utf-8")))
        assert named_rules
        assert named_rules <= set(rule_texts())
