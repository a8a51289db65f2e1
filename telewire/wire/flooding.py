"""Map keys that collide on purpose, found before a dict compares each of them with all others.

Python hashes numbers, and tuples of numbers, without a secret: whoever knows how can choose keys that
all have one hash, and a map of n of them costs n² comparisons inside cbor2 (TW-VAL-009). Data that
may hold such a map is walked over once, head by head, and those keys that can be chosen so are hashed
one by one and counted. Most data holds none, which a search for four bytes tells.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Final, final

import cbor2

__all__ = ["ONE_HASH", "SHORT", "find_flooding", "many_collide", "may_flood"]

ONE_HASH: Final = 64
"""So many keys of one map, or members of one set, with one hash are refused (TW-VAL-009)."""

SHORT: Final = 512
"""Below so many bytes no number of collisions costs much."""

_wide = re.compile(rb"\xb8[\x40-\xff]|[\xb9-\xbb]").search

_FIRST_RISKY: Final = 0x80
"""First bytes of keys that can be chosen by their hash: of arrays, maps, tags and floats."""

_HAS_CONTENT: Final = 0
_NOT_DEFINITE: Final = -1


def _step(first: int) -> int:
    """How far the next item is from a first byte that tells; else what must be done instead."""
    major, argument = first >> 5, first & 0x1F
    if argument > 27:
        return _NOT_DEFINITE
    if major in (0, 1, 7):
        return 1 if argument < 24 else 1 + (1 << argument - 24)
    return 1 + argument if major in (2, 3) and argument < 24 else _HAS_CONTENT


_STEPS: Final = tuple(_step(first) for first in range(256))


def may_flood(data: bytes) -> bool:
    """Whether ``data`` may hold a map of that many keys; quick, and seldom wrong."""
    if len(data) < SHORT:
        return False
    return (b"\xb8" in data or b"\xb9" in data or b"\xba" in data or b"\xbb" in data) and bool(_wide(data))


def many_collide(keys: Iterable[Hashable]) -> bool:
    """Whether so many of ``keys`` have one hash that nobody meant well."""
    return max(Counter(map(hash, keys)).values(), default=0) >= ONE_HASH


@final
class _Map:
    """A map of many keys that is being walked over; ``begin`` is where its current key began."""

    __slots__ = ("around", "begin", "hashes", "left")

    def __init__(self, keys: int, around: int) -> None:
        self.left = 2 * keys  # Keys and values that have not begun.
        self.around = around  # Items still to come behind the map, in what holds it.
        self.begin = -1
        self.hashes: Counter[int] = Counter()


def find_flooding(data: bytes, decode: Callable[[bytes], Any]) -> str | None:
    """Return what is wrong where keys of a map in ``data`` have been chosen to collide, else None.

    ``decode`` decodes one item strictly, and raises CBORDecodeError for what it refuses. Data that is
    not CBOR, or that ``decode`` refuses, is walked over as far as it goes: decoding it ends there too.
    The walk takes a step for each item, and decodes each key that can collide once more.

    Any: what ``decode`` returns is a map with the one key that it was given.
    """
    maps: list[_Map] = []
    position = 0
    pending = 2  # What trails an item may be decoded as well, before it is refused.
    try:
        while True:
            position, pending, keys = _skip(data, position, pending)
            if keys:
                if maps and maps[-1].begin >= 0:
                    # Each level of these would have to be decoded once more.
                    return f"A key of a map of {ONE_HASH} keys or more holds another map of that size"
                maps.append(_Map(keys, pending))
            elif not maps:
                return None
            current = maps[-1]
            if current.begin >= 0 and data[current.begin] >= _FIRST_RISKY:
                code = hash(next(iter(decode(b"\xa1" + data[current.begin : position] + b"\x00"))))
                current.hashes[code] += 1
                if current.hashes[code] >= ONE_HASH:
                    return f"{ONE_HASH} keys of one map have the same hash, which does not happen by chance"
            if not current.left:
                pending = current.around
                maps.pop()
                continue
            position = _skip_plain(data, position, current)
            pending = 0
            if current.left:
                current.begin = -1 if current.left % 2 else position
                current.left -= 1
                pending = 1
    except (IndexError, cbor2.CBORDecodeError):
        return None


def _skip_plain(data: bytes, position: int, current: _Map) -> int:
    """Go over keys that cannot be chosen by their hash, and values without content: nearly all."""
    steps = _STEPS
    left = current.left
    current.begin = -1
    while left:
        first = data[position]
        step = steps[first]
        if step <= 0 or (first >= _FIRST_RISKY and not left % 2):
            break
        position += step
        left -= 1
    current.left = left
    return position


def _skip(data: bytes, position: int, pending: int) -> tuple[int, int, int]:
    """Go over ``pending`` items, or to the contents of a map of many keys, whichever comes first.

    Returns the position, the items still to come and the number of keys of that map, 0 for none.
    Raises IndexError at the end of the data, and where it is not definite.
    """
    steps = _STEPS
    while pending:
        pending -= 1
        first = data[position]
        step = steps[first]
        if step > 0:
            position += step
            continue
        if step == _NOT_DEFINITE:
            raise IndexError(position)
        major, argument = first >> 5, first & 0x1F
        position += 1
        if argument >= 24:
            size = 1 << argument - 24
            argument = int.from_bytes(data[position : position + size], "big")
            position += size
        if major < 4:
            if argument > len(data):
                # A compiled index beyond 63 bits is a ValueError.
                raise IndexError(position)
            position += argument
        elif major == 4:
            pending += argument
        elif major == 6:
            pending += 1
        elif argument < ONE_HASH:
            pending += 2 * argument
        else:
            return position, pending, argument
    return position, 0, 0
