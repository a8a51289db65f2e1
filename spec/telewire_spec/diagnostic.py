"""CBOR in diagnostic notation (RFC 8949 §8), with indicators wherever a head is not the shortest."""

from __future__ import annotations

import json
import struct
from typing import Final

__all__ = ["diagnostic"]

_LONGEST: Final = 4096
_DEEPEST: Final = 100
_SIMPLE: Final = {20: "false", 21: "true", 22: "null", 23: "undefined"}


class _NotWritten(Exception):
    """The bytes are no CBOR of definite lengths, or their text would help nobody."""


def diagnostic(data: bytes) -> str | None:
    """Return the diagnostic notation of one item that fills ``data``.

    None where it is not well-formed, has indefinite lengths, text that is not UTF-8, more than 4,096
    bytes or more than 100 levels.
    """
    if len(data) > _LONGEST:
        return None
    try:
        text, end = _item(data, 0, 0)
    except (_NotWritten, UnicodeDecodeError):
        return None
    return text if end == len(data) else None


def _head(data: bytes, at: int) -> tuple[int, int, int, str]:
    """Return the major type, the argument, the next position and an indicator where one is needed."""
    if at >= len(data):
        raise _NotWritten
    major, info = data[at] >> 5, data[at] & 31
    if info < 24:
        return major, info, at + 1, ""
    if info > 27:
        raise _NotWritten
    width = 1 << info - 24
    end = at + 1 + width
    if end > len(data):
        raise _NotWritten
    argument = int.from_bytes(data[at + 1 : end], "big")
    least = (24, 1 << 8, 1 << 16, 1 << 32)[info - 24]
    return major, argument, end, f"_{info - 24}" if argument < least else ""


def _item(data: bytes, at: int, depth: int) -> tuple[str, int]:
    if depth > _DEEPEST:
        raise _NotWritten
    major, argument, after, indicator = _head(data, at)
    if major == 0:
        return f"{argument}{indicator}", after
    if major == 1:
        return f"{-1 - argument}{indicator}", after
    if major in (2, 3):
        end = after + argument
        if end > len(data):
            raise _NotWritten
        content = data[after:end]
        text = f"h'{content.hex()}'" if major == 2 else json.dumps(content.decode(), ensure_ascii=False)
        return text + indicator, end
    if major == 4:
        parts, end = _items(data, after, argument, depth)
        return f"[{_led(indicator)}{', '.join(parts)}]", end
    if major == 5:
        parts, end = _items(data, after, 2 * argument, depth)
        pairs = [f"{key}: {value}" for key, value in zip(parts[::2], parts[1::2], strict=True)]
        return f"{{{_led(indicator)}{', '.join(pairs)}}}", end
    if major == 6:
        content_text, end = _item(data, after, depth + 1)
        return f"{argument}{indicator}({content_text})", end
    return _simple(data, at, argument, after), after


def _led(indicator: str) -> str:
    return f"{indicator} " if indicator else ""


def _items(data: bytes, at: int, count: int, depth: int) -> tuple[list[str], int]:
    parts = []
    for _ in range(count):
        text, at = _item(data, at, depth + 1)
        parts.append(text)
    return parts, at


def _simple(data: bytes, at: int, argument: int, after: int) -> str:
    info = data[at] & 31
    if info < 25:
        if info == 24 and argument < 32:
            raise _NotWritten
        return _SIMPLE.get(argument, f"simple({argument})")
    number: float = struct.unpack((">e", ">f", ">d")[info - 25], data[at + 1 : after])[0]
    if number != number:
        text = "NaN"
    elif number in (float("inf"), -float("inf")):
        text = "Infinity" if number > 0 else "-Infinity"
    else:
        text = repr(number)
    return f"{text}_{info - 24}"
