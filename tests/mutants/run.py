"""Break the code on purpose, one small patch at a time, and demand that the named test notices.

A mutant is a file ``NAME.patch`` beside this one: header lines, then a unified diff from the
project's root (``git diff > tests/mutants/NAME.patch``)::

    # invariant: I5
    # test: tests/runtime/test_context.py::test_on_close_while_blocked
    diff --git a/telewire/runtime/context.py b/telewire/runtime/context.py
    …

Each patch is applied to a copy of the checkout, never to the checkout itself. A mutant is

* killed, where the named test ran and failed: the only good end;
* survived, where it passed: the test does not hold the invariant;
* stale, where the patch does not apply any more: write it anew;
* broken, where the test did not get as far as its body (no such test, an import that fails), or where
  it does not pass on the unpatched code: nothing is proved;
* hung, where the test did not end in time: a test that waits for ever tells nobody what is wrong.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

PARALLEL: Final = 2
TEST_SECONDS: Final = 120.0
SOURCE_ROOTS: Final = ("", "transports", "spec")
NOT_COPIED: Final = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "node_modules")


@dataclass(frozen=True)
class Mutant:
    """One patch and what it says of itself."""

    path: Path
    invariant: str
    test: str

    @property
    def name(self) -> str:
        """The patch's file name without its ending."""
        return self.path.stem


@dataclass(frozen=True)
class Verdict:
    """What became of one mutant; ``detail`` says why where it was not killed."""

    mutant: Mutant
    outcome: str
    detail: str = ""


class BadPatch(Exception):
    """A patch file does not say what it is for."""


def load(path: Path) -> Mutant:
    """Read the header of one patch.

    Raises:
        BadPatch: a header line is missing or stands twice.
    """
    header = path.read_text(encoding="utf-8").split("\ndiff --git", 1)[0].split("\n--- ", 1)[0]
    found = {}
    for key in ("invariant", "test"):
        values = re.findall(rf"^# {key}: *(\S.*?) *$", header, re.MULTILINE)
        if len(values) != 1:
            raise BadPatch(f"{path.name} has {len(values)} header lines '# {key}: …' and needs one.")
        found[key] = values[0]
    return Mutant(path, **found)


def copy_checkout(root: Path, target: Path) -> Path:
    """Copy what the tests need; returns the copy."""
    return Path(shutil.copytree(root, target, ignore=NOT_COPIED))


def apply(mutant: Mutant, copy: Path) -> str:
    """Apply the patch to a copy; returns git's complaint, empty where it applied."""
    done = subprocess.run(
        ["git", "apply", "--whitespace=nowarn", str(mutant.path.resolve())],
        cwd=copy,
        # Inside a repository git would leave out paths that it does not track.
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(copy.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else (done.stderr.strip() or f"git apply: {done.returncode}")


@dataclass(frozen=True)
class TestRun:
    """How pytest ended, and how many tests passed and failed in their bodies."""

    __test__ = False

    status: int | None
    passed: int
    failed: int
    output: str


def run_tests(copy: Path, tests: Sequence[str], seconds: float) -> TestRun:
    """Run the named tests against a copy; ``status`` is None where time ran out."""
    # Before site-packages, so that the copy wins over an editable installation of the checkout.
    places = [str(copy / source) for source in SOURCE_ROOTS]
    report = copy / "mutant-report.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-qx",
        f"--junitxml={report}",
        *tests,
    ]
    try:
        done = subprocess.run(
            command,
            cwd=copy,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(places), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return TestRun(None, 0, 0, "")
    cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    failed = sum(case.find("failure") is not None for case in cases)
    passed = sum(len(case.findall("*")) == len(case.findall("properties")) for case in cases)
    return TestRun(done.returncode, passed, failed, done.stdout)


def last_lines(output: str, count: int = 15) -> str:
    """The end of a program's output, indented to stand under a row of the table."""
    return "\n".join("    " + line for line in output.rstrip().splitlines()[-count:])


def judge(mutant: Mutant, root: Path, scratch: Path, seconds: float) -> Verdict:
    """Apply one patch to a copy of its own and run its test."""
    copy = copy_checkout(root, scratch / mutant.name)
    try:
        complaint = apply(mutant, copy)
        if complaint:
            return Verdict(mutant, "stale", last_lines(complaint))
        run = run_tests(copy, [mutant.test], seconds)
    finally:
        shutil.rmtree(copy)
    if run.status is None:
        return Verdict(mutant, "hung", f"    no end after {seconds:g} s")
    # pytest: 1 says that tests ran and some failed, 2 and above that they could not be run.
    if run.status == 1 and run.failed:
        return Verdict(mutant, "killed")
    if run.status == 0 and run.passed:
        return Verdict(mutant, "survived", f"    {run.passed} test(s) passed on the broken code")
    return Verdict(mutant, "broken", last_lines(run.output))


def check_unbroken(mutants: Sequence[Mutant], root: Path, scratch: Path) -> list[Verdict]:
    """Run each named test on unpatched code: one that fails or skips there can prove nothing."""
    copy = copy_checkout(root, scratch / "unpatched")
    verdicts = []
    tests = sorted({mutant.test for mutant in mutants})
    together = run_tests(copy, tests, TEST_SECONDS * len(tests))
    if together.status != 0 or together.passed < len(tests):
        for test in tests:
            run = run_tests(copy, [test], TEST_SECONDS)
            if run.status != 0 or not run.passed:
                detail = "    its test does not pass on the unpatched code:\n" + last_lines(run.output)
                verdicts += [Verdict(mutant, "broken", detail) for mutant in mutants if mutant.test == test]
    shutil.rmtree(copy)
    return verdicts


def print_table(verdicts: Sequence[Verdict]) -> None:
    """One row for each mutant, and why where it was not killed."""
    width = max(len(verdict.mutant.name) for verdict in verdicts)
    for verdict in sorted(verdicts, key=lambda each: each.mutant.name):
        mutant = verdict.mutant
        print(f"{verdict.outcome:<9} {mutant.name:<{width}}  {mutant.invariant:<6}  {mutant.test}")
        if verdict.detail:
            print(verdict.detail)


def main(argv: Sequence[str]) -> int:
    """Judge all mutants, or those named; returns 0 only where every one was killed."""
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these, without .patch")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    parser.add_argument(
        "--seconds", type=float, default=TEST_SECONDS, help="how long a mutant's test may take"
    )
    options = parser.parse_args(argv)
    root: Path = options.root.resolve()
    paths = sorted((root / "tests" / "mutants").glob("*.patch"))
    unknown = set(options.names) - {path.stem for path in paths}
    if unknown:
        print(f"There is no mutant named {', '.join(sorted(unknown))} in tests/mutants.")
        return 2
    if not paths:
        print("tests/mutants holds no patch, so nothing is proved; add NAME.patch.")
        return 2
    try:
        mutants = [load(path) for path in paths if not options.names or path.stem in options.names]
    except BadPatch as bad:
        print(bad)
        return 2
    with tempfile.TemporaryDirectory(prefix="telewire-mutants-") as name:
        scratch = Path(name)
        verdicts = check_unbroken(mutants, root, scratch)
        useless = {verdict.mutant for verdict in verdicts}
        with ThreadPoolExecutor(PARALLEL) as pool:
            rest = [mutant for mutant in mutants if mutant not in useless]
            verdicts += pool.map(lambda mutant: judge(mutant, root, scratch, options.seconds), rest)
    print_table(verdicts)
    killed = sum(verdict.outcome == "killed" for verdict in verdicts)
    print(f"mutation score: {killed} of {len(verdicts)} killed ({100 * killed // len(verdicts)} %)")
    return 0 if killed == len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
