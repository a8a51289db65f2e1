"""Whole-system simulation: whatever befalls peers, all calls settle and all credit returns."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.world import Simulation

ROOT = Path(__file__).resolve().parents[2]
SEEDS = 2_000
"""In all, in parts of so many that two processes share them; more by ``make simulate SEEDS=100000``."""
PART = 100


@pytest.mark.parametrize("first", range(0, SEEDS, PART))
def test_whatever_befalls_them_everything_settles(first: int) -> None:
    happened: Counter[str] = Counter()
    for seed in range(first, first + PART):
        simulation = Simulation(seed)
        try:
            simulation.run()
        except BaseException as error:
            error.add_note(f"Again: make simulate SEED={seed}")
            raise
        happened.update(simulation.happened())
    # A story in which nothing happens proves nothing.
    for name in ("cut", "cut at", "hole", "hold", "blackout", "move", "crash", "vanish"):
        assert happened[name] >= 5, happened
    assert happened["resumed"] > 50
    assert happened["calls"] > 500
    assert happened["payloads"] > 500


def test_a_seed_is_the_same_story_again() -> None:
    for seed in range(5):
        stories = [Simulation(seed), Simulation(seed)]
        for story in stories:
            story.run()
        assert stories[0].happened() == stories[1].happened()
        assert stories[0].network.now == stories[1].network.now


def test_the_command_runs_seeds_and_names_one_that_fails(tmp_path: Path) -> None:
    def run(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "tests" / "simulation" / "run.py"), *arguments]
        if code:
            command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)

    ran = run("--seeds", "30", "--processes", "1")
    assert ran.returncode == 0, ran.stderr
    assert "simulate: 30 seeds from 0" in ran.stdout
    assert "nothing found" in ran.stdout
    assert "seed 7 holds" in run("--seed", "7").stdout
    broken = """
from tests.simulation import run
from tests.simulation.world import Simulation
Simulation.check = lambda self: 1 / 0
print(run.simulate_some(range(3, 5)))
print(run.report([(3, "trace")]))
"""
    failed = run(code=broken)
    assert "ZeroDivisionError" in failed.stdout, failed.stderr
    assert "again: make simulate SEED=3" in failed.stdout
