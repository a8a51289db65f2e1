"""Writes the JSON files of the vectors from their tables: ``python -m telewire_spec.vectors.generate``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from telewire_spec.diagnostic import diagnostic
from telewire_spec.meaning import Json
from telewire_spec.vectors import table_batches, table_frames, table_references, table_tags, table_values
from telewire_spec.vectors.build import Vector

__all__ = ["TABLES", "as_json", "as_text", "main"]

HERE: Final = Path(__file__).parent
TABLES: Final[dict[str, tuple[str, Callable[[], Iterator[Vector]]]]] = {
    "values.json": ("Values without a tag, keys and depth", table_values.vectors),
    "tags.json": ("Values under a tag", table_tags.vectors),
    "references.json": ("References to streams", table_references.vectors),
    "frames.json": ("Frames, each alone in its batch", table_frames.vectors),
    "batches.json": ("Batches, limits, payloads of ITEMS and streams of bytes", table_batches.vectors),
}


def as_json(vector: Vector) -> dict[str, Json]:
    """Return one vector as it stands in its file."""
    said: dict[str, Json] = {"id": vector.id, "rules": list(vector.rules), "kind": vector.kind}
    if vector.limits:
        said["limits"] = dict(vector.limits)
    if vector.declarations:
        said["declarations"] = list(vector.declarations)
    if vector.kind == "items":
        said["count"] = vector.count
    # A stream of bytes is a sequence of items, and not one.
    said["diagnostic"] = None if vector.kind == "stream" else diagnostic(vector.data)
    said["hex"] = vector.data.hex()
    if vector.error is None:
        said["meaning"] = vector.meaning
    else:
        said["error"] = vector.error
        if vector.reason not in (None, vector.error):
            said["reason"] = vector.reason
        if vector.others:
            said["others"] = list(vector.others)
    if vector.note:
        said["note"] = vector.note
    return said


def as_text(name: str) -> str:
    """Return the text of one of the files: a line for each vector, so that a change can be seen."""
    about, table = TABLES[name]
    lines = ",\n".join(json.dumps(as_json(vector), ensure_ascii=False) for vector in table())
    return f'{{"$schema": "schema.json", "about": {json.dumps(about)}, "vectors": [\n{lines}\n]}}\n'


def main() -> None:
    """Write every file."""
    for name in TABLES:
        (HERE / name).write_text(as_text(name), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
