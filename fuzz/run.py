"""Runs one fuzz target: ``python fuzz/run.py TARGET --seconds N --seed S``; without a target it lists them.

With atheris, where it is installed, inputs are led by what they cover; without it they are mutations
of the corpus, drawn from the seed. An input that fails is kept under ``build/fuzz`` and the run ends;
``--input FILE`` runs it again. ``--keep N`` adds up to N inputs to the corpus, each of which reached
lines that none before it had.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from random import Random
from types import CodeType, FrameType
from typing import Any, Final, TypeAlias

ROOT: Final = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "transports"), str(ROOT / "spec")]
    sys.path.remove(str(ROOT / "fuzz"))

from telewire_spec.noise import mutate, noisy_batch, noisy_item
from telewire_spec.vectors import load_cases

TARGETS: Final = (*("decode", "frames_after_hello", "pair", "resume_cuts", "references", "credit", "values"),)
CORPUS: Final = Path(__file__).resolve().parent / "corpus"
FOUND: Final = ROOT / "build" / "fuzz"
LONGEST: Final = 4096
Target: TypeAlias = Callable[[bytes], None]


def load(name: str) -> Target:
    """Return the function of a target."""
    function: Target = import_module(f"fuzz.{name}").target
    return function


def corpus(name: str) -> list[bytes]:
    """Return the inputs that are kept for a target, in the order of their names."""
    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]


def seeds(name: str) -> list[bytes]:
    """Return what inputs are made from: the corpus, and for what is decoded the vectors."""
    kept = corpus(name)
    if name == "decode":
        kept += [bytes([0, 0]) + case.data for case in load_cases() if case.kind == "batch"]
        kept += [bytes([0, 0, 0x81]) + case.data for case in load_cases() if case.kind == "frame"]
        kept += [bytes([0, 1, 1, 2, 3, 4]) + case.data for case in load_cases() if case.kind == "stream"]
    if name == "values":
        for case in load_cases():
            if case.kind == "value":
                kinds = [kind - 1 for kind in case.declarations][:3]
                kept.append(bytes([len(kinds), *kinds, 0, 0]) + case.data)
    return [data for data in kept if len(data) <= LONGEST]


def generate(name: str, pool: list[bytes], dice: Random) -> bytes:
    """Return the next input."""
    roll = dice.random()
    if roll < 0.6 and pool:
        return mutate(dice.choice(pool), dice, pool)[:LONGEST]
    if name == "decode" and roll < 0.9:
        return bytes([dice.randrange(2), 0]) + noisy_batch(dice)
    if name == "values" and roll < 0.9:
        return bytes([0, dice.randrange(4), dice.randrange(3)]) + noisy_item(dice, 4)
    return dice.randbytes(dice.choice((4, 16, 64, 256, 512)))


class Lines:
    """Which lines of telewire inputs have reached; slow, and only for choosing what the corpus keeps."""

    def __init__(self) -> None:
        self.seen: set[tuple[CodeType, int]] = set()
        self._ours = str(ROOT / "telewire")
        self._new = False

    def watch(self, target: Target, data: bytes) -> bool:
        """Run the target; whether it reached a line for the first time."""
        self._new = False
        before = sys.gettrace()
        sys.settrace(self._called)
        try:
            target(data)
        finally:
            sys.settrace(before)
        return self._new

    # Any: what Python passes to such functions, and takes from them.
    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(self._ours) else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        place = (frame.f_code, frame.f_lineno)
        if place not in self.seen:
            self.seen.add(place)
            self._new = True
        return self._line


def report(name: str, data: bytes, seed: int) -> None:
    """Keep an input that failed, and say how to see it again."""
    FOUND.mkdir(parents=True, exist_ok=True)
    path = FOUND / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    traceback.print_exc()
    print(f"fuzz: {name} FAILED (seed {seed}); again: python fuzz/run.py {name} --input {path}")


def run(name: str, seconds: float, seed: int, keep: int) -> int:
    """Feed a target for a time; returns the exit status."""
    target = load(name)
    pool = seeds(name)
    dice = Random(seed)
    lines = Lines() if keep else None
    count = kept = 0
    began = last = time.monotonic()
    queue = list(pool)
    while time.monotonic() < began + seconds:
        data = queue.pop() if queue else generate(name, pool, dice)
        try:
            if lines is None:
                target(data)
            elif lines.watch(target, data) and kept < keep:
                kept += 1
                (CORPUS / name).mkdir(parents=True, exist_ok=True)
                (CORPUS / name / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
                pool.append(data)
        except Exception:
            report(name, data, seed)
            return 1
        count += 1
        if time.monotonic() > last + 10:
            last = time.monotonic()
            print(f"fuzz: {name}: {count} inputs, {last - began:.0f} s", flush=True)
    print(f"fuzz: {name}: {count} inputs in {seconds:g} s, seed {seed}, nothing found", flush=True)
    return 0


def run_with_atheris(name: str, seconds: float, seed: int) -> int:
    """Feed a target inputs that are led by coverage; returns the exit status."""
    options = ["--seconds", str(seconds), "--seed", str(seed)]
    options += ["--found", str(FOUND), "--grown", str(FOUND / "grown" / name)]
    print(f"fuzz: {name} with atheris, led by coverage, for {seconds:g} s", flush=True)
    led = [sys.executable, str(ROOT / "fuzz" / "led.py"), name, *options]
    status = subprocess.run(led, check=False).returncode
    if status:
        print(
            f"fuzz: {name} FAILED; again: python fuzz/run.py {name} --input FILE, with the file named above"
        )
        return 1
    print(f"fuzz: {name}: nothing found; what reached more is in {FOUND / 'grown' / name}", flush=True)
    return 0


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("target", nargs="?", choices=TARGETS)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=int, default=0, help="inputs to add to the corpus")
    parser.add_argument("--input", type=Path, help="run this input and nothing else")
    parser.add_argument(
        "--no-atheris", action="store_true", help="mutate the corpus even where atheris is installed"
    )
    options = parser.parse_args()
    if options.target is None:
        print("fuzz: the targets are " + ", ".join(TARGETS))
        return 2
    if options.input:
        load(options.target)(options.input.read_bytes())
        print(f"fuzz: {options.target} takes this input")
        return 0
    if find_spec("atheris") and not options.no_atheris and not options.keep:
        return run_with_atheris(options.target, options.seconds, options.seed)
    return run(options.target, options.seconds, options.seed, options.keep)


if __name__ == "__main__":
    sys.exit(main())
