"""A short flood of garbage on a server in a process of its own; `make flood` is the long one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from tests.security import flood

FLOOD = Path(flood.__file__)


def test_a_short_flood_leaves_nothing_behind(run_python: Callable[..., CompletedProcess[str]]) -> None:
    done = run_python(FLOOD, "--seconds", "2", "--seed", "7")
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["problems"] == []
    assert report["flood"]["connections"] >= 50
    assert report["busy"]["calls"] > 10


def test_what_a_flood_may_not_leave_is_told() -> None:
    fine = {"objects": 1, "conversations": 0, "tasks": 2, "log lines": 0, "first line": "", "alive": True}
    report = {"before": fine, "after": fine, "exit status": 0, "busy": {"calls": 1}}
    assert flood.problems(report) == []
    for change, says in (
        ({"conversations": 1}, "1 conversations"),
        ({"tasks": 3}, "3 tasks"),
        ({"objects": 1_000_000}, "objects more"),
        ({"log lines": 1000, "first line": "oops"}, "oops"),
        ({"alive": False}, "did not live"),
    ):
        [problem] = flood.problems(report | {"after": fine | change})
        assert says in problem
    [problem] = flood.problems(report | {"exit status": 1})
    assert "did not live" in problem
