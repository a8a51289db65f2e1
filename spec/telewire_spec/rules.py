"""The sentences of the specification by their ids, from the chapters beside the package or inside it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["chapters", "document_path", "grammar_path", "rule_texts"]

PACKAGE: Final = Path(__file__).resolve().parent
RULE: Final = re.compile(r"^- \*\*(TW-[A-Z]{3}-\d{3})\*\* (.+)$", re.MULTILINE)


def _home() -> Path:
    """Where the chapters are: inside of an installed package, or beside it in a checkout."""
    inside = PACKAGE / "chapters"
    return inside if inside.is_dir() else PACKAGE.parent


def chapters() -> list[Path]:
    """The files that define rules, in their order."""
    home = _home()
    return [home / "README.md", *sorted(home.glob("[0-9][0-9]-*.md"))]


def grammar_path() -> Path:
    """The file of the grammar."""
    return _home() / "telewire.cddl"


def document_path() -> Path:
    """The file that describes the suite, for who writes a driver."""
    return _home() / "conformance.md"


@cache
def rule_texts() -> dict[str, str]:
    """Id → sentence of every rule, in the order of the chapters."""
    return {
        rule: text for path in chapters() for rule, text in RULE.findall(path.read_text(encoding="utf-8"))
    }
