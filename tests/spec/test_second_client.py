"""The client in JavaScript, from the specification alone: against a server, and by the set ``core``."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from second.compare import HERE, find_node
from telewire_spec.casefile import load_suites
from telewire_spec.cli import plan_of, run_all
from telewire_spec.plan import chosen
from telewire_spec.process import ProcessSubject
from tests.cli import serving

SAID = {
    "add": 3,
    "named": 6,
    "echo": [None, True, -1, 1.5, "text", [1, 2], {"deep": [[]]}],
    "large": 2_000_000,
    "fail": ["INTERNAL", 32],
    "abort": ["ABORTED", {"why": [1]}],
    "nowhere": "FUNCTION_NOT_FOUND",
    "wrong": "INVALID_ARGUMENT",
    "count": [5000, 12497500, 5000],
    "zeros": 3_000_000,
    "later": "kept",
    "invoke": 42,
    "refused": ["ABORTED", "not now"],
    "adder": [6, 7],
    "collect": [1, 2, 3],
    "keep": 9,
    "metadata": {"from": "far"},
    "cancelled": ["STOPPED", None],
    "left": 2,
    "closed": 0,
}
LATE = (["STOPPED", None], ["DEADLINE_EXCEEDED", None])
"""Either clock may be the first (TW-CAL-044, TW-CAL-046)."""


@pytest.fixture(scope="module")
def node() -> str:
    return find_node()


def visit(node: str, url: str, *options: str) -> dict[str, object]:
    command = [node, *options, str(HERE / "visit.mjs"), url.replace("http://", "ws://")]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    "options",
    [("--no-experimental-websocket",), ("--experimental-websocket",)],
    ids=["its own WebSocket", "that of node"],
)
def test_it_calls_all_that_a_server_has(node: str, tmp_path: Path, options: tuple[str, ...]) -> None:
    """Calls, errors, generators over several windows (TW-STR-034), callbacks, cancelling (TW-CAL-032)."""
    with serving(tmp_path, service="telewire_spec.service:service") as server:
        said = visit(node, server.url, *options)
    assert said.pop("late") in LATE
    assert said == SAID


def core(command: list[str], *patterns: str) -> list[str]:
    """Run the set, or a part of it; returns what did not pass."""
    subject = ProcessSubject(command, patience=30)
    subject.info()
    plan = plan_of(chosen(load_suites(), patterns=patterns, named_set="core"), subject)
    assert plan, "a set without cases shows nothing"
    results = list(run_all(plan))
    return [f"{each.name}: {each.verdict}: {each.reason}" for each in results if each.verdict != "pass"]


def test_it_passes_the_core_set(node: str) -> None:
    """A client can be written from the specification alone (TW-DOC-001)."""
    assert core([node, str(HERE / "driver.mjs")]) == []


@pytest.mark.parametrize(
    ("file", "right", "wrong", "suite"),
    [
        (
            "outbox.mjs",
            "item_cost * (count + 1)) > half.credit",
            "item_cost * (count + 1)) > half.limit",
            "credit",
        ),
        ("arrivals.mjs", "demand(number === this.machine.next.theirs)", "demand(number >= 0)", "calls"),
        ("machine.mjs", "if (call.stopped) return;", "", "cancel"),
    ],
)
def test_the_set_catches_one_that_breaks_a_rule(
    node: str, tmp_path: Path, file: str, right: str, wrong: str, suite: str
) -> None:
    for path in HERE.glob("*.mjs"):
        shutil.copy(path, tmp_path)
    text = (tmp_path / file).read_text(encoding="utf-8")
    assert text.count(right) == 1
    (tmp_path / file).write_text(text.replace(right, wrong), encoding="utf-8")
    assert core([node, str(tmp_path / "driver.mjs")], suite) != []


def test_it_says_what_it_does_not_support(node: str) -> None:
    subject = ProcessSubject([node, str(HERE / "driver.mjs")], patience=30)
    told = subject.info()
    plan = plan_of(chosen(load_suites(), patterns=["resume", "exchange"]), subject)
    verdicts = {result.verdict for result in run_all(plan[:5])}
    assert (told["roles"], told["needs"], verdicts) == (["client"], [], {"unsupported"})
