"""Values as scenarios write them, in YAML, and the CBOR that they mean."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

__all__ = ["encode", "is_form", "number", "payload"]

# Any, throughout: what YAML gives.


def head(major: int, argument: int) -> bytes:
    """The shortest head of a CBOR item."""
    if argument < 24:
        return bytes([major << 5 | argument])
    for width, code in ((1, 24), (2, 25), (4, 26), (8, 27)):
        if argument < 1 << (8 * width):
            return bytes([major << 5 | code]) + argument.to_bytes(width, "big")
    raise ValueError(f"{argument} does not fit the head of a CBOR item; write it with $tag 2 or 3.")


def number(value: Any) -> int:
    """An integer, or one that is computed by ``$sum`` or ``$peer``."""
    if isinstance(value, dict) and len(value) == 1:
        [(name, content)] = value.items()
        if name == "$sum":
            return sum(map(number, content))
        if name == "$peer":
            return -1 - number(content)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"{value!r} is no integer; write one, or {{$sum: […]}}, or {{$peer: n}}.")


def is_form(value: Any) -> bool:
    """Whether it is a map of one key that begins with ``$``."""
    return isinstance(value, dict) and len(value) == 1 and str(next(iter(value))).startswith("$")


def _many(content: Any) -> bytes:
    count, value = content
    return head(4, number(count)) + encode(value) * number(count)


def _tag(content: Any) -> bytes:
    tag, value = content
    return head(6, tag) + encode(value)


def _zeros(content: Any) -> bytes:
    return head(2, number(content)) + bytes(number(content))


def _text(content: Any) -> bytes:
    return head(3, number(content)) + b"x" * number(content)


def _bytes(content: str) -> bytes:
    data = bytes.fromhex(content)
    return head(2, len(data)) + data


FORMS: Final[dict[str, Callable[[Any], bytes]]] = {
    "$bytes": _bytes,
    "$zeros": _zeros,
    "$text": _text,
    "$ref": lambda content: _tag((60000, content)),
    "$tag": _tag,
    "$cbor": lambda content: bytes.fromhex(content),
    "$deep": lambda content: b"\x81" * number(content) + b"\x00",
    "$many": _many,
    "$sum": lambda content: encode(number({"$sum": content})),
    "$peer": lambda content: encode(number({"$peer": content})),
}
"""Form → what its content becomes."""


def encode(value: Any) -> bytes:
    """The CBOR of a value: shortest heads, floats in 64 bits, maps in their order."""
    if value is None:
        return b"\xf6"
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, float):
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, str):
        text = value.encode()
        return head(3, len(text)) + text
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, list | tuple):
        return head(4, len(value)) + b"".join(map(encode, value))
    if is_form(value):
        [(name, content)] = value.items()
        if name not in FORMS:
            raise ValueError(f"There is no form {name}; there are {', '.join(FORMS)}.")
        return FORMS[name](content)
    if isinstance(value, dict):
        parts = (encode(key) + encode(content) for key, content in value.items())
        return head(5, len(value)) + b"".join(parts)
    raise ValueError(f"A {type(value).__name__} has no form in a scenario.")


def payload(fields: dict[str, Any]) -> bytes | None:
    """The payload that the fields of a frame, command or event describe; None where they name none.

    ``value``, ``arguments``, ``items``, ``text`` and ``payload``, which is hex, or ``{$zeros: n}``.
    """
    if "value" in fields:
        return encode(fields["value"])
    if "arguments" in fields:
        return encode([fields["arguments"], fields.get("named", {})])
    if "items" in fields:
        return encode(fields["items"])
    if "payload" in fields:
        content = fields["payload"]
        if is_form(content) and "$zeros" in content:
            return bytes(number(content["$zeros"]))
        if is_form(content):
            return encode(content)
        return bytes.fromhex(content)
    return None
