"""The core compiled by mypyc: built as a wheel, installed where the checkout is not, and tested there.

``python scripts/dev.py compiled`` calls it; ``--short`` compiles without optimisation and runs what fits
into CI, ``--tests …`` runs these and nothing else. The wheel of a whole run stays in
``build/compiled``, where ``benchmarks/accelerators.py`` finds it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
WHEELS: Final = ROOT / "build" / "compiled"
PACKAGES: Final = ("telewire", "transports/telewire_transports", "spec/telewire_spec")
"""What the tests must find in the wheel and nowhere else."""
MADE: Final = ("build", "dist", "node_modules", "__pycache__", ".*")

WHOLE: Final = ("tests/core", "tests/wire", "tests/simulation", "tests/runtime", "tests/transports")
SHORT: Final = (
    "tests/core",
    *(f"tests/wire/test_{name}.py" for name in ("codec", "frames", "values", "references", "flooding")),
    *(f"tests/runtime/test_{name}.py" for name in ("calls", "generators", "pairs")),
)
"""About 30 s of CPU on a busy machine, behind 40 for the build."""

# Runs in the environment of the wheel: each compiled module must come from it.
IMPORT: Final = """
import importlib, importlib.machinery, pathlib, sys
home = pathlib.Path(sys.argv[1]).resolve()
for name in ("core.connection", "core.scheduler", "wire.encode", "wire.decode"):
    name = f"telewire.{name}"
    place = pathlib.Path(importlib.import_module(name).__file__).resolve()
    if home not in place.parents:
        sys.exit(f"{name} came from {place}, not from the wheel.")
    if not place.name.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES)):
        sys.exit(f"{name} is Python, in {place}: it was not compiled.")
"""


def run(command: Sequence[str | Path], cwd: Path, also: Mapping[str, str] | None = None) -> int:
    """Run a program that sees no other telewire than its own environment's; returns its exit status."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        list(map(str, command)), cwd=cwd, env=kept | dict(also or {}), check=False
    ).returncode


def build(folder: Path, level: str) -> Path:
    """Build the compiled wheel as who installs from source would.

    Raises:
        SystemExit: it does not build; the compiler's output stands above.
    """
    shutil.rmtree(folder, ignore_errors=True)
    wanted = {"TELEWIRE_COMPILE": "1", "TELEWIRE_COMPILE_LEVEL": level}
    if run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, "."], ROOT, wanted):
        sys.exit("The compiled wheel does not build; what failed stands above.")
    [wheel] = folder.glob("telewire-*.whl")
    return wheel


def install(wheel: Path, venv: Path) -> Path:
    """Make an environment of the wheel, and of the packages beside this interpreter; returns its interpreter.

    Raises:
        SystemExit: it does not install, or what is imported is not compiled.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / ("Scripts" if os.name == "nt" else "bin") / Path(sys.executable).name
    into: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
        wheel,
    ]
    if run(into, venv):
        sys.exit("The compiled wheel does not install.")
    # What a file in a folder named so would add is not read: our own editable installation is not there.
    [site] = venv.rglob("site-packages")
    (site / "beside.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    if run([python, "-I", "-c", IMPORT, venv], venv):
        sys.exit("What the compiled wheel installs is not what was compiled.")
    return python


def copy_tests(place: Path) -> None:
    """Copy the checkout without the packages, so that only the wheel has them."""
    shutil.copytree(ROOT, place, ignore=shutil.ignore_patterns(*MADE))
    for package in PACKAGES:
        shutil.rmtree(place / package)


def main(argv: Sequence[str]) -> int:
    """Build, install and test; returns the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/compiled.py", description=__doc__)
    parser.add_argument("--short", action="store_true", help="what CI runs: less tests, not optimised")
    parser.add_argument("--tests", nargs="+", metavar="PATH", help="run these tests, and nothing else")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="telewire-compiled-") as name:
        work = Path(name)
        wheel = build(work / "wheel" if options.short else WHEELS, "0" if options.short else "3")
        print(f"compiled: {wheel.name} built", flush=True)
        python = install(wheel, work / "venv")
        copy_tests(work / "tree")
        tests = options.tests or (SHORT if options.short else WHOLE)
        status = run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests], work / "tree")
        if not options.short and not options.tests:
            status |= run([python, "scripts/conformance.py"], work / "tree")
    print("compiled: " + ("FAILED" if status else "the same tests pass"), flush=True)
    return 1 if status else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
