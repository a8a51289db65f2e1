"""The pieces of which the vectors are put together: CBOR by hand, with any head, right or wrong.

Nothing here uses the encoder of telewire: a vector must not be right because both make one mistake.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from telewire_spec.judge import Case, Kind
from telewire_spec.meaning import Json

__all__ = [
    "FALSE",
    "NULL",
    "TOP",
    "TRUE",
    "UNDEFINED",
    "Vector",
    "Width",
    "arr",
    "byt",
    "f16",
    "f32",
    "f64",
    "head",
    "mp",
    "num",
    "tag",
    "txt",
]

Width: TypeAlias = Literal[0, 1, 2, 4, 8] | None

FALSE: Final = b"\xf4"
TRUE: Final = b"\xf5"
NULL: Final = b"\xf6"
UNDEFINED: Final = b"\xf7"
TOP: Final = (1 << 53) - 1
"""The largest integer of the protocol (TW-FRM-011)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One case of the table: bytes, the rules that they prove, and what is to be made of them.

    Attributes:
        id: never reused; chapter, subject and what is special, joined by slashes.
        rules: ids of the specification.
        kind, data, limits, declarations, count: as in :class:`telewire_spec.judge.Case`.
        meaning: what the bytes mean; ``accepted`` is false where they are refused instead.
        error: the name of the code, where they are refused.
        reason: for a value the finer name that an implementation may tell (TW-VAL-002).
        others: codes that are right as well, where several rules are broken (TW-FRM-008).
        note: what is special, where the id does not say it.
    """

    id: str
    rules: Sequence[str]
    kind: Kind
    data: bytes
    meaning: Json = None
    error: str | None = None
    reason: str | None = None
    others: Sequence[str] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    declarations: Sequence[int] = ()
    count: int = 0
    note: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the bytes are to be taken."""
        return self.error is None

    @property
    def case(self) -> Case:
        """The question without its answer."""
        return Case(self.kind, self.data, self.limits, self.declarations, self.count)


def head(major: int, argument: int, width: Width = None) -> bytes:
    """Return a head: the shortest, or one whose argument takes ``width`` bytes, 0 for none."""
    if width is None:
        width = 0 if argument < 24 else 1 if argument < 1 << 8 else 2 if argument < 1 << 16 else 4
        if argument >= 1 << 32:
            width = 8
    if width == 0:
        return bytes([major << 5 | argument])
    info = {1: 24, 2: 25, 4: 26, 8: 27}[width]
    return bytes([major << 5 | info]) + argument.to_bytes(width, "big")


def num(value: int, width: Width = None) -> bytes:
    """Return an integer without a tag."""
    return head(0, value, width) if value >= 0 else head(1, -1 - value, width)


def byt(data: bytes, width: Width = None) -> bytes:
    """Return a byte string."""
    return head(2, len(data), width) + data


def txt(text: str, width: Width = None) -> bytes:
    """Return a text string."""
    data = text.encode()
    return head(3, len(data), width) + data


def arr(*items: bytes, width: Width = None) -> bytes:
    """Return an array of items that are encoded."""
    return head(4, len(items), width) + b"".join(items)


def mp(*pairs: tuple[bytes, bytes], width: Width = None) -> bytes:
    """Return a map of pairs that are encoded, in their order."""
    return head(5, len(pairs), width) + b"".join(key + value for key, value in pairs)


def tag(number: int, content: bytes, width: Width = None) -> bytes:
    """Return content under a tag."""
    return head(6, number, width) + content


def f16(bits: int) -> bytes:
    """Return a float of 16 bits by its bits."""
    return b"\xf9" + bits.to_bytes(2, "big")


def f32(value: float) -> bytes:
    """Return a float of 32 bits."""
    return b"\xfa" + struct.pack(">f", value)


def f64(value: float) -> bytes:
    """Return a float of 64 bits."""
    return b"\xfb" + struct.pack(">d", value)
