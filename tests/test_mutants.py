"""The mutant runner tells a killed mutant from one that survived, is stale, is broken or hangs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUNNER = Path(__file__).parent / "mutants" / "run.py"

CODE = "def double(number):\n    return number * 2\n"
TESTS = """
import toy


def test_double():
    assert toy.double(3) == 6


def test_nothing():
    assert toy.double


def test_already_failing():
    assert toy.double(3) == 7


def test_ends_only_when_right():
    while toy.double(3) != 6:
        pass
"""


def patch(test: str, wanted: str = "return number * 3", present: str = "return number * 2") -> str:
    """A patch file that changes the toy's only line of code."""
    return (
        f"# invariant: I0\n# test: tests/test_toy.py::{test}\n"
        "diff --git a/toy.py b/toy.py\n--- a/toy.py\n+++ b/toy.py\n@@ -1,2 +1,2 @@\n"
        f" def double(number):\n-    {present}\n+    {wanted}\n"
    )


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A project with one module and a few tests."""
    root = tmp_path / "toy"
    (root / "tests" / "mutants").mkdir(parents=True)
    (root / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (root / "toy.py").write_text(CODE)
    (root / "tests" / "test_toy.py").write_text(TESTS)
    return root


def run(root: Path, *arguments: str, **patches: str) -> tuple[int, str]:
    """Write the patches, run the runner; returns its exit status and output."""
    for name, text in patches.items():
        (root / "tests" / "mutants" / f"{name}.patch").write_text(text)
    command = [sys.executable, str(RUNNER), "--root", str(root), *arguments]
    # The toy needs no plugin, and without them each of its many runs starts in a moment.
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (root / "toy.py").read_text() == CODE, "the runner changed the checkout itself"
    return done.returncode, done.stdout + done.stderr


def test_a_killed_mutant_is_a_success(toy: Path) -> None:
    status, output = run(toy, wrong_factor=patch("test_double"))
    assert "killed    wrong_factor  I0" in output
    assert "mutation score: 1 of 1 killed (100 %)" in output
    assert status == 0


def test_each_other_end_fails_the_run_and_is_named(toy: Path) -> None:
    status, output = run(
        toy,
        killed=patch("test_double"),
        survivor=patch("test_nothing"),
        old=patch("test_double", present="return number + number"),
        syntax=patch("test_double", wanted="return number *"),
        no_such_test=patch("test_unwritten"),
        always_red=patch("test_already_failing"),
    )
    assert status == 1
    outcomes = dict(line.split()[1::-1] for line in output.splitlines() if "  I0  " in line)
    assert outcomes == {
        "killed": "killed",
        "survivor": "survived",
        "old": "stale",
        "syntax": "broken",
        "no_such_test": "broken",
        "always_red": "broken",
    }
    assert "mutation score: 1 of 6 killed (16 %)" in output


def test_a_test_that_never_ends_has_not_killed(toy: Path) -> None:
    status, output = run(toy, "--seconds=2", endless=patch("test_ends_only_when_right"))
    assert "hung      endless" in output
    assert status == 1


def test_only_named_mutants_run(toy: Path) -> None:
    status, output = run(toy, "good", good=patch("test_double"), bad=patch("test_nothing"))
    assert status == 0
    assert "bad" not in output


@pytest.mark.parametrize(
    ("arguments", "patches", "complaint"),
    [
        ((), {}, "tests/mutants holds no patch"),
        (("absent",), {"good": patch("test_double")}, "There is no mutant named absent"),
        (
            (),
            {"mute": patch("test_double").replace("# invariant: I0\n", "")},
            "mute.patch has 0 header lines",
        ),
    ],
)
def test_what_proves_nothing_is_refused(
    toy: Path, arguments: tuple[str, ...], patches: dict[str, str], complaint: str
) -> None:
    status, output = run(toy, *arguments, **patches)
    assert complaint in output
    assert status == 2
