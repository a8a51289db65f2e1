"""The state diagrams of the specification are those of the tables that the code runs on."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from telewire.core.states import TABLES

ROOT = Path(__file__).resolve().parents[1]


def script() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("diagrams", ROOT / "scripts" / "diagrams.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_diagrams_are_up_to_date() -> None:
    rendered = script().render()
    assert (ROOT / "spec" / "diagrams.md").read_text(encoding="utf-8") == rendered, (
        "run python scripts/diagrams.py and commit spec/diagrams.md"
    )


def test_every_row_is_drawn() -> None:
    rendered = script().render()
    for table in TABLES.values():
        for state, row in table.items():
            for signal, target in row.items():
                lines = [
                    line for line in rendered.splitlines() if f" {state.value} --> {target.value}: " in line
                ]
                assert any(signal.value in line for line in lines)
