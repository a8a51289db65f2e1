"""The fuzz targets in short: what is in their corpora, and bytes that Hypothesis finds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fuzz.choices import Choices
from fuzz.credit import Ledger
from fuzz.run import CORPUS, TARGETS, corpus, generate, load, seeds
from telewire.wire import frames as f

ROOT = Path(__file__).parents[2]
EXAMPLES = {
    **{"decode": 150, "values": 150, "frames_after_hello": 120},
    **{"pair": 60, "resume_cuts": 60, "references": 60, "credit": 50},
}
# Bytes that Hypothesis draws one by one are few; a story of some length needs more.
stories = st.builds(
    lambda seed, size: Random(seed).randbytes(size), st.integers(0, 1 << 32), st.integers(50, 300)
)
FEW = settings(
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # What fails is shrunk by whoever looks at it.
)


def test_every_target_has_a_file_a_corpus_and_a_number_of_examples() -> None:
    assert set(EXAMPLES) == set(TARGETS) == {path.name for path in CORPUS.iterdir()}
    for name in TARGETS:
        assert 5 <= len(corpus(name)) <= 60, name
        assert all(len(data) <= 4096 for data in corpus(name)), name


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_its_corpus(name: str) -> None:
    target = load(name)
    for data in corpus(name):
        target(data)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_what_hypothesis_finds(name: str) -> None:
    target = load(name)

    @settings(FEW, max_examples=EXAMPLES[name])
    @given(st.binary(max_size=100) | stories)
    def run(data: bytes) -> None:
        target(data)

    run()


@pytest.mark.parametrize("name", ["decode", "values"])
def test_a_target_takes_what_the_driver_makes(name: str) -> None:
    target, pool, dice = load(name), seeds(name), Random(1)
    for _ in range(1_000):
        target(generate(name, pool, dice))


def test_inputs_follow_from_their_seed() -> None:
    pool = seeds("decode")
    made = [[generate("decode", pool, dice) for _ in range(50)] for dice in (Random(3), Random(3))]
    assert made[0] == made[1]


def test_the_ledger_notices_what_was_not_granted() -> None:
    ledger = Ledger()
    ledger.emitted(True, f.Chunk(0, 0, bytes(2000)))
    with pytest.raises(AssertionError, match="without credit"):
        ledger.emitted(True, f.Chunk(0, 0, bytes(2000)))
    with pytest.raises(AssertionError, match="a grant of"):
        ledger.emitted(False, f.Grant(-1, 1 << 20))
    ledger.emitted(False, f.Grant(-1, 8192))
    ledger.emitted(True, f.Chunk(0, 0, bytes(2000)))


def test_choices_end_as_zeros() -> None:
    choices = Choices(b"\x05\x02")
    assert (choices.left, choices.below(3), choices.one("abc"), choices.left) == (2, 2, "c", 0)
    assert (choices.byte(), choices.below(1000), choices.chance(255), choices.left) == (0, 0, False, 0)
    assert Choices(b"\x01\x00\x00\x00\x01").below(1 << 24) == 0
    assert Choices(b"ab").rest() == b"ab"


def test_the_driver_lists_the_targets_and_runs_one(tmp_path: Path) -> None:
    def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "fuzz" / "run.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    listed = fuzz()
    assert listed.returncode == 2
    assert "decode, frames_after_hello" in listed.stdout
    ran = fuzz("decode", "--seconds", "0.2", "--no-atheris")
    assert ran.returncode == 0, ran.stderr
    assert "nothing found" in ran.stdout
    kept = tmp_path / "input"
    kept.write_bytes(b"\x00\x00\x81\x82\x04\x01")
    assert "takes this input" in fuzz("decode", "--input", str(kept)).stdout
