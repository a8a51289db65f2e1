"""The second decoder, in JavaScript and from the specification alone, against the vectors and telewire."""

from __future__ import annotations

import pytest

from second.compare import difference, find_node, random_cases, second_verdicts
from telewire_spec.judge import Case
from telewire_spec.vectors import load, load_cases

SHORT = 6_000
"""Inputs at random; ``python scripts/dev.py second`` compares a million."""


@pytest.fixture(scope="module")
def node() -> str:
    return find_node()


def test_it_agrees_with_every_vector(node: str) -> None:
    vectors = load()
    wrong = []
    for vector, verdict in zip(vectors, second_verdicts([v.case for v in vectors], node), strict=True):
        if vector.accepted:
            right = verdict == {"meaning": vector.meaning}
        else:
            expected = {vector.error, vector.reason, *vector.others}
            right = not expected.isdisjoint(verdict.get("errors", ()))
        if not right:
            wrong.append(f"{vector.id}: {str(verdict)[:200]}")
    assert wrong == []


@pytest.mark.parametrize("seed", [1, 2])
def test_it_agrees_with_telewire_on_inputs_at_random(node: str, seed: int) -> None:
    cases = list(random_cases(seed, SHORT, load_cases()))
    verdicts = second_verdicts(cases, node)
    differences = [difference(case, verdict) for case, verdict in zip(cases, verdicts, strict=True)]
    assert [said for said in differences if said] == []
    taken = sum("meaning" in verdict for verdict in verdicts)
    assert SHORT / 10 < taken < SHORT * 9 / 10, "inputs that are all taken or all refused show nothing"


def test_a_difference_would_be_seen() -> None:
    two = Case("value", b"\x02")
    assert difference(two, {"meaning": 2}) is None
    assert "second" in (difference(two, {"meaning": 3}) or "")
    assert difference(two, {"errors": ["MALFORMED_VALUE"]}) is not None
    tag = Case("frame", b"\x82\x04\xc1\x01")
    assert difference(tag, {"errors": ["FORBIDDEN_TAG", "INVALID_FRAME"]}) is None
    assert difference(tag, {"errors": ["MALFORMED"]}) is not None
    assert difference(tag, {"meaning": {}}) is not None


def test_inputs_follow_from_their_seed() -> None:
    assert list(random_cases(5, 300)) == list(random_cases(5, 300))
    assert list(random_cases(5, 300)) != list(random_cases(6, 300))
    assert {case.kind for case in random_cases(5, 300)} == {"batch", "frame", "value", "items", "stream"}
