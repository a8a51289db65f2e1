"""The vectors of the wire: bytes, the rules that they prove, and what they mean or which code they earn.

The JSON files beside this module are made by ``python -m telewire_spec.vectors.generate`` from the
tables, and are what other implementations read; ``spec/README.md`` describes them.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Final

from telewire_spec.judge import Case
from telewire_spec.vectors.build import Vector

__all__ = ["FILES", "load", "load_cases"]

FILES: Final = ("values.json", "tags.json", "references.json", "frames.json", "batches.json")


def load() -> list[Vector]:
    """Return all vectors, as their files say."""
    vectors = []
    for name in FILES:
        text = (files(__name__) / name).read_text(encoding="utf-8")
        vectors += [_vector(each) for each in json.loads(text)["vectors"]]
    return vectors


def load_cases() -> list[Case]:
    """Return the questions of all vectors, without their answers."""
    return [vector.case for vector in load()]


# Any: JSON, whose form the schema says.
def _vector(each: dict[str, Any]) -> Vector:
    return Vector(
        id=each["id"],
        rules=each["rules"],
        kind=each["kind"],
        data=bytes.fromhex(each["hex"]),
        meaning=each.get("meaning"),
        error=each.get("error"),
        reason=each.get("reason"),
        others=each.get("others", ()),
        limits=each.get("limits", {}),
        declarations=each.get("declarations", ()),
        count=each.get("count", 0),
        note=each.get("note", ""),
    )
