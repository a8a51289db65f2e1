"""Fixtures of every test: the two backends that telewire runs on, and programs in processes of their own."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says more about the machine than about telewire.
settings.register_profile("without a clock", deadline=None)
settings.load_profile("without a clock")

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_finish() -> None:
    """Let the collector look at what tests make only: many tests collect, and the suite itself is large."""
    gc.collect()
    gc.freeze()


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run the test once on each backend."""
    chosen: str = request.param
    return chosen


@pytest.fixture
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Give a function that runs Python with arguments, importing from this checkout, warnings as errors."""
    paths = os.pathsep.join(str(ROOT / folder) for folder in (".", "transports", "spec"))

    def run(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", *map(str, arguments)],
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": paths, "PYTHONUTF8": "1", "NO_COLOR": "1"},
            check=False,
        )

    return run
