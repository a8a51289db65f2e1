"""Where a program of the benchmarks puts what it has measured: a file of JSON, plots, a note under them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

__all__ = ["add_outputs", "write_json"]


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Take ``--json``, ``--plots`` and ``--note``."""
    parser.add_argument("--json", type=Path, metavar="PATH", help="write everything measured to a file")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw it as SVG into a folder")
    parser.add_argument("--note", default="", metavar="WORDS", help="stands under the plots")


def write_json(path: Path, measured: object) -> None:
    """Write what was measured."""
    path.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
