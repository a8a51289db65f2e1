"""Runs one fuzz target with atheris, led by coverage: ``fuzz/run.py`` starts it in a process of its own.

A process of its own, since atheris instruments modules while they are imported, and ends the process itself.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "transports"), str(ROOT / "spec")]
    sys.path.remove(str(ROOT / "fuzz"))


def main() -> None:
    """Read the command line and feed the target; does not return."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--found", type=Path, required=True, help="where inputs that fail are kept")
    parser.add_argument("--grown", type=Path, required=True, help="where inputs that reach more are kept")
    options = parser.parse_args()
    atheris = import_module("atheris")
    # The bytes of these are counted: they are what is tried, and the target is the way in.
    with atheris.instrument_imports(include=["telewire", "fuzz"]):
        runner = import_module("fuzz.run")
        target = runner.load(options.target)
    grown: Path = options.grown
    grown.mkdir(parents=True, exist_ok=True)
    options.found.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(runner.seeds(options.target)):
        (grown / f"seed-{number:04}").write_bytes(data)
    arguments = [
        f"-max_total_time={options.seconds:.0f}",
        f"-seed={options.seed}",
        f"-max_len={runner.LONGEST}",
        f"-artifact_prefix={options.found / options.target}-",
        "-print_final_stats=1",
        # A story of many steps takes a while under instrumentation; only one that does not end is a failure.
        "-timeout=60",
    ]
    atheris.Setup([sys.argv[0], *arguments, str(grown)], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
