"""Diagnostic notation (RFC 8949 §8): encoded CBOR as text that people read, without giving it a meaning."""

from __future__ import annotations

import math
import struct
from typing import Final

import cbor2

__all__ = ["diagnostic", "frame_notation", "item_end", "quoted"]

DEPTH: Final = 200
_SIMPLE: Final = {20: "false", 21: "true", 22: "null", 23: "undefined"}
_FLOATS: Final = {25: ">e", 26: ">f", 27: ">d"}

PAYLOAD_AT: Final = {16: 5, 17: 4, 18: 5, 19: 4, 20: 4, 23: 3, 24: 3}
"""Where the payload stands in a frame whose payload is CBOR, by the type of the frame (chapter 2)."""


def quoted(text: str) -> str:
    """A text in quotes, on one line, with all escaped that a terminal might obey."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\u{{{code:x}}}"


def diagnostic(data: bytes) -> str:
    """The notation of one data item that fills ``data``.

    Raises:
        ValueError: it is none of definite length, or nests deeper than any value may.
    """
    text, end = _item(data, 0, DEPTH)
    if end != len(data):
        raise ValueError(f"The item ends at byte {end} of {len(data)}.")
    return text


def item_end(data: bytes, start: int) -> int:
    """Where the data item that begins at ``start`` ends.

    Raises:
        ValueError: as :func:`diagnostic`.
    """
    return _item(data, start, DEPTH)[1]


def frame_notation(frame: bytes) -> str:
    """The notation of an encoded frame; a payload that is CBOR stands between ``<<`` and ``>>``."""
    fields = cbor2.loads(frame)
    parts: list[str] = []
    at = 0
    _, _, position = _head(frame, 0)
    for at in range(len(fields)):
        text, position = _item(frame, position, DEPTH)
        if fields[at] and at == PAYLOAD_AT.get(fields[0]):
            text = f"<<{diagnostic(fields[at])}>>"
        parts.append(text)
    return f"[{', '.join(parts)}]"


def _head(data: bytes, at: int) -> tuple[int, int, int]:
    """Major type, argument and end of the head at ``at``."""
    try:
        major, info = data[at] >> 5, data[at] & 0x1F
    except IndexError:
        raise ValueError("The data ends before its item.") from None
    at += 1
    if info < 24:
        return major, info, at
    if info > 27:
        raise ValueError("An item has no definite length.")
    size = 1 << info - 24
    if at + size > len(data):
        raise ValueError("The data ends inside of a head.")
    return major, int.from_bytes(data[at : at + size], "big"), at + size


def _item(data: bytes, at: int, depth: int) -> tuple[str, int]:
    """The notation of the item at ``at``, and its end."""
    if depth < 0:
        raise ValueError(f"The data nests deeper than {DEPTH} levels.")
    first = data[at] & 0x1F if at < len(data) else 0
    major, argument, at = _head(data, at)
    if major == 0:
        return str(argument), at
    if major == 1:
        return str(-1 - argument), at
    if major in (2, 3):
        end = at + argument
        if end > len(data):
            raise ValueError("The data ends inside of a string.")
        piece = data[at:end]
        if major == 2:
            return f"h'{piece.hex()}'", end
        return quoted(piece.decode()), end
    if major == 4:
        parts, at = _items(data, at, argument, depth)
        return f"[{', '.join(parts)}]", at
    if major == 5:
        parts, at = _items(data, at, 2 * argument, depth)
        pairs = zip(parts[::2], parts[1::2], strict=True)
        return "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}", at
    if major == 6:
        (content,), at = _items(data, at, 1, depth)
        return f"{argument}({content})", at
    return _simple(first, argument), at


def _items(data: bytes, at: int, count: int, depth: int) -> tuple[list[str], int]:
    parts: list[str] = []
    while len(parts) < count:
        text, at = _item(data, at, depth - 1)
        parts.append(text)
    return parts, at


def _simple(info: int, argument: int) -> str:
    form = _FLOATS.get(info)
    if form is None:
        return _SIMPLE.get(argument, f"simple({argument})")
    (number,) = struct.unpack(form, argument.to_bytes(struct.calcsize(form), "big"))
    if math.isnan(number):
        return "NaN"
    return str(number).replace("inf", "Infinity")
