"""Plain data: nothing in it has to be looked for by walking over it, as one regular expression tells.

What a value must not hold (undefined, unassigned simple values, maps of many keys) begins with bytes that
integers, floats and texts hold, too, so a search for them alone says too often that there may be some.
CBOR of definite lengths is a row of heads, each followed by as many bytes as it says; how the items nest
does not matter here. So one expression can go from head to head: in a quarter of the time that the walks
take which it saves (``benchmarks/profile_call.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

__all__ = ["is_plain"]


def _any_of(*ranges: tuple[int, int]) -> bytes:
    return (
        b"["
        + b"".join(re.escape(bytes([low])) + b"-" + re.escape(bytes([high])) for low, high in ranges)
        + b"]"
    )


def _strings(first: int, lengths: Iterable[int]) -> list[bytes]:
    """A string of each of ``lengths``, behind the byte that says it: ``first`` and its length."""
    return [re.escape(bytes([first + length])) + b".{%d}" % length for length in lengths]


# Integers, arrays, maps and tags whose head is one byte, false, true and null.
_ALONE: Final = (
    _any_of((0x00, 0x17), (0x20, 0x37), (0x80, 0x97), (0xA0, 0xB7), (0xC0, 0xD7), (0xF4, 0xF6)) + b"+"
)
# Longer heads: integers, arrays, tags, floats. No maps: those above have 23 keys at most, too few to flood.
_LONGER: Final = [
    rb"[\x19\x39\x99\xd9\xf9]..",
    rb"[\x18\x38\x98\xd8].",
    rb"[\x1a\x3a\x9a\xda\xfa].{4}",
    rb"[\x1b\x3b\x9b\xdb\xfb].{8}",
]
_SHORT_STRINGS: Final = [*_strings(0x60, range(24)), *_strings(0x40, range(24))]
_STRINGS: Final = rb"[\x58\x78](?:" + b"|".join(_strings(0, range(24, 256))) + b")"

_heads = re.compile(b"(?s)(?:" + b"|".join([_ALONE, *_SHORT_STRINGS, *_LONGER, _STRINGS]) + b")*+").fullmatch


def is_plain(data: bytes) -> bool:
    """Whether ``data`` holds neither undefined, nor simple values but false, true and null, nor large maps.

    True only where all of it is whole heads of definite lengths, each with what belongs to it. False says
    nothing: strings of more than 255 bytes, say, are not looked at.
    """
    return _heads(data) is not None
