"""Heads of CBOR data items: the one to nine bytes that say what follows and how long it is."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final

__all__ = [
    "ARRAY",
    "BYTES",
    "MAP",
    "NEGATIVE",
    "TAG",
    "TEXT",
    "UINT",
    "encode_head",
    "encode_int",
    "encode_text",
    "items_payload",
]

UINT: Final = 0
NEGATIVE: Final = 1
BYTES: Final = 2
TEXT: Final = 3
ARRAY: Final = 4
MAP: Final = 5
TAG: Final = 6


def encode_head(major: int, value: int) -> bytes:
    """Return the shortest head of ``major`` type (0 to 6) with argument ``value`` (RFC 8949 §4.2.1).

    Raises OverflowError when ``value`` is negative or does not fit in 64 bits.
    """
    if 0 <= value < 24:
        return bytes((major << 5 | value,))
    if 0 <= value < 0x100:
        return bytes((major << 5 | 24, value))
    if 0 <= value < 0x1_0000:
        return bytes((major << 5 | 25, value >> 8, value & 0xFF))
    if 0 <= value < 0x1_0000_0000:
        return bytes((major << 5 | 26,)) + value.to_bytes(4, "big")
    return bytes((major << 5 | 27,)) + value.to_bytes(8, "big")


# Stream numbers, sizes and codes are mostly small: a lookup costs a third of building the head.
_CACHED: Final = 1024
_UINTS: Final = tuple(encode_head(UINT, value) for value in range(_CACHED))
_two_bytes = Struct(">BH").pack
_four_bytes = Struct(">BI").pack
_NEGATIVES: Final = tuple(encode_head(NEGATIVE, value) for value in range(_CACHED))


def encode_int(value: int) -> bytes:
    """Return the shortest encoding of an integer between -2^64 and 2^64 - 1."""
    if value >= 0:
        if value < _CACHED:
            return _UINTS[value]
        # Stream numbers of a connection that has been in use for a while.
        if value < 0x1_0000:
            return _two_bytes(0x19, value)
        if value < 0x1_0000_0000:
            return _four_bytes(0x1A, value)
        return encode_head(UINT, value)
    if value >= -_CACHED:
        return _NEGATIVES[~value]
    if value >= -0x1_0000:
        return _two_bytes(0x39, ~value)
    return encode_head(NEGATIVE, ~value)


def encode_text(value: str) -> bytes:
    """Return a text string; raises UnicodeEncodeError for lone surrogates."""
    data = value.encode()
    return encode_head(TEXT, len(data)) + data


def items_payload(items: Sequence[bytes]) -> bytes:
    """Return the payload of an ITEMS frame: one array of values that are already encoded (TW-FRM-042)."""
    return encode_head(ARRAY, len(items)) + b"".join(items)
