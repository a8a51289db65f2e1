"""Values as text for terminals and scripts: Python or JSON, and never a control character (D14)."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping
from datetime import date, time
from pprint import pformat
from typing import final

__all__ = ["Placeholder", "harmless", "json_text", "python_text"]


@final
class Placeholder:
    """Stands in a value where something with a life was: ``<promise>``."""

    def __init__(self, kind: str) -> None:
        self._text = f"<{kind}>"

    def __repr__(self) -> str:
        return self._text


def harmless(text: str) -> str:
    """Text of the other side on one line, with all escaped that a terminal might obey."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text
    )


def python_text(value: object, width: int | None = None) -> str:
    """A value as Python writes it: on one line, or on several where one would be wider than ``width``.

    What cannot be printed is escaped, since Python's own ``repr`` of texts does so.
    """
    if width is None:
        return repr(value)
    return pformat(value, width=max(width, 20), sort_dicts=False)


def json_text(value: object) -> str:
    """A value as one line of JSON, in ASCII.

    What JSON does not have becomes text, as Python writes it: dates as ISO 8601, decimals and
    addresses as they are read, bytes as base64. Sets are arrays; keys are texts; NaN and the
    infinities are null.
    """
    return json.dumps(_plain(value), allow_nan=False)


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else repr(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and isinstance(value, Iterable):
        return [_plain(one) for one in value]
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value)
