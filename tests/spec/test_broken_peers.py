"""The suite is tested, too: peers that break one rule each, and every one of them must be caught."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest

from telewire_spec.broken import PEERS, BrokenPeer, caught_by
from telewire_spec.casefile import load_suites
from telewire_spec.driver.application import Application
from telewire_spec.engine import run_case
from tests.test_spec_ids import known_ids

CASES = [case for case in load_suites() if case.against == "driver"]
REQUIRED_SCORE = 1.0


def test_there_are_many_and_each_names_its_rule() -> None:
    names = [peer.name for peer in PEERS]
    assert len(names) == len(set(names)) >= 25
    assert {peer.rule for peer in PEERS} <= known_ids()


def test_every_broken_peer_is_caught(capsys: pytest.CaptureFixture[str]) -> None:
    blind = [peer.name for peer in PEERS if caught_by(peer, CASES) is None]
    score = 1 - len(blind) / len(PEERS)
    with capsys.disabled():
        print(f"\nmutation score of the scenarios: {len(PEERS) - len(blind)} of {len(PEERS)}")  # noqa: T201
    assert score >= REQUIRED_SCORE, f"The suite is blind to {blind}."


def test_a_peer_without_a_mistake_passes() -> None:
    honest = BrokenPeer("honest", "TW-MOD-001")
    assert caught_by(honest, [case for case in CASES if case.suite in ("calls", "credit")]) is None


def test_what_catches_a_peer_is_told_with_its_rule() -> None:
    [peer] = [peer for peer in PEERS if peer.name == "overspends"]
    result = caught_by(peer, CASES)
    assert result is not None
    assert result.broken == "TW-STR-031"
    again = run_case(result.case, result.role, Application())
    assert again.verdict == "pass"


def test_a_crash_is_a_failure() -> None:
    peer = BrokenPeer("crashes", "TW-CAL-010", enforces=lambda limits: limits | {"no_such_limit": 1})
    case = next(case for case in CASES if case.id == "calls/answer/value")
    result = run_case(case, "server", peer.make())
    assert result.verdict == "fail"
    assert "It crashed with TypeError" in result.reason


def test_what_departs_from_a_should_is_not_strict() -> None:
    def one_by_one(batch: list[list[Any]]) -> list[list[Any]]:
        return [
            [20, frame[1], 0, 1, cbor2.dumps([item])] if frame[0] == 20 else frame
            for frame in batch
            for item in (cbor2.loads(frame[4]) if frame[0] == 20 else [None])
        ]

    peer = BrokenPeer("groups-nothing", "TW-STR-011", says=one_by_one)
    [case] = [case for case in CASES if case.id == "generators/ours/grouped"]
    result = run_case(case, "server", peer.make())
    assert result.verdict == "non-strict"
    assert "ITEMS" in result.reason
