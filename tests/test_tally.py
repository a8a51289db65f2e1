"""The account of a test run names unexplained skips and tests that one backend did not run."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "tally.py"


@pytest.fixture(scope="module")
def tally() -> ModuleType:
    """scripts/tally.py, which no package holds."""
    spec = importlib.util.spec_from_file_location("tally", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tally"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def report(tmp_path: Path, *cases: str) -> Path:
    """A JUnit report as pytest writes it, with these test cases."""
    path = tmp_path / "junit.xml"
    path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    return path


def case(name: str, inside: str = "") -> str:
    """One test case of that report."""
    return f'<testcase classname="tests.test_x" name="{name}">{inside}</testcase>'


def skipped(reason: str, kind: str = "pytest.skip") -> str:
    """What pytest notes in a case that it skipped."""
    return f'<skipped type="{kind}" message="{reason}">place</skipped>'


def test_summary_names_outcomes_and_reasons(tally: ModuleType, tmp_path: Path) -> None:
    seen = tally.read(
        report(
            tmp_path,
            case("test_a"),
            case("test_b", '<failure message="no">trace</failure>'),
            case("test_c", skipped("needs ffmpeg")),
            case("test_d", skipped("needs ffmpeg")),
            case("test_e", skipped("later", "pytest.xfail")),
        )
    )
    expected = "1 failed, 1 passed, 3 skipped; skips by reason: 2 x needs ffmpeg; 1 x xfail: later"
    assert tally.summary(seen) == expected


def test_a_skip_must_have_an_agreed_reason(tally: ModuleType, tmp_path: Path) -> None:
    listing = tmp_path / "allowed.txt"
    listing.write_text("# why\n\nneeds ffmpeg*\n")
    cases = [case("test_a", skipped("needs ffmpeg 6")), case("test_b", skipped("flaky"))]
    problems = tally.unexpected_skips(tally.read(report(tmp_path, *cases)), tally.allowed_reasons(listing))
    assert len(problems) == 1
    assert problems[0].endswith("does not list: flaky")


def test_both_backends_run_the_same_tests(tally: ModuleType, tmp_path: Path) -> None:
    both = [case(f"test_a[{backend}-memory]") for backend in ("asyncio", "trio")]
    seen = tally.read(report(tmp_path, *both, case("test_pure"), case("test_pure[3-2]")))
    assert tally.backend_line(seen) == "runtime tests: 1 on asyncio, 1 on trio"
    assert tally.backend_differences(seen) == []


def test_i12_a_test_that_one_backend_did_not_run_is_named(tally: ModuleType, tmp_path: Path) -> None:
    cases = [case("test_a[memory-asyncio]"), case("test_a[memory-trio]", skipped("not on trio"))]
    seen = tally.read(report(tmp_path, *cases))
    problem = "1 test(s) did not run on trio: tests.test_x::test_a[memory]"
    assert tally.backend_differences(seen) == [problem]


def test_a_suite_without_runtime_tests_is_a_fault(tally: ModuleType, tmp_path: Path) -> None:
    seen = tally.read(report(tmp_path, case("test_pure")))
    assert tally.backend_differences(seen) == [
        "no test ran on an event loop; runtime tests take the fixture anyio_backend"
    ]
