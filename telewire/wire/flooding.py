"""Map keys that collide on purpose, found before a dict compares each of them with all others.

Python hashes numbers, and tuples of numbers, without a secret: whoever knows how can choose keys that
all have one hash, and a map of n of them costs n² comparisons inside cbor2 (TW-VAL-009). Data that
may hold such a map is walked over once, head by head, and the keys that can collide are hashed one
by one and counted. Most data holds none, which four searches for a byte tell.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Final, final

__all__ = ["ONE_HASH", "Flooded", "check_flooding", "find_flooding", "may_flood"]

ONE_HASH: Final = 64
"""So many keys of one map, or members of one set, with one hash are refused (TW-VAL-009)."""

_SHORT: Final = 512
"""Bytes of data in which no number of collisions costs much."""

_WIDE_HEADS: Final = (b"\xb8", b"\xb9", b"\xba", b"\xbb")
_find_wide = re.compile(rb"\xb8[\x40-\xff]|[\xb9-\xbb]").search

_RISKY: Final = frozenset({4, 5, 6, 7})
"""Major types of keys whose hash can be chosen freely: arrays, maps, tags and floats."""

_CONTENTS_FOLLOW: Final = 0
_NOT_WALKED: Final = -1


def _steps() -> tuple[int, ...]:
    """How far the next item is from each first byte, where that byte tells; else one of two marks."""
    steps = [_CONTENTS_FOLLOW] * 256
    for first in range(256):
        major, argument = first >> 5, first & 0x1F
        if argument > 27:
            steps[first] = _NOT_WALKED
        elif major in (0, 1, 7):
            steps[first] = 1 if argument < 24 else 1 + (1 << argument - 24)
        elif major in (2, 3) and argument < 24:
            steps[first] = 1 + argument
    return tuple(steps)


_STEPS: Final = _steps()


class Flooded(Exception):
    """The data holds a map whose keys have been chosen to collide; the text says which rule it breaks."""


def may_flood(data: bytes) -> bool:
    """Whether ``data`` may hold a map of as many keys as it takes; quick, and seldom wrong."""
    if len(data) < _SHORT:
        return False
    for head in _WIDE_HEADS:
        if head in data:
            return _find_wide(data) is not None
    return False


def find_flooding(hashes: Counter[int], key: object) -> None:
    """Count one more key of a map or member of a set; raises Flooded where too many have its hash."""
    code = hash(key)
    hashes[code] += 1
    if hashes[code] >= ONE_HASH:
        raise Flooded(f"{ONE_HASH} keys of one map or members of one set have the same hash")


@final
class _Map:
    """A wide map that is being walked over."""

    __slots__ = ("begin", "hashes", "in_key", "left", "outside")

    def __init__(self, parts: int, outside: int, in_key: bool) -> None:
        self.left = parts  # Keys and values still to come.
        self.outside = outside  # Items still to come around it, in the part that holds it.
        self.in_key = in_key
        self.begin = 0
        self.hashes: Counter[int] = Counter()


def check_flooding(data: bytes, decode: Callable[[bytes], object]) -> None:
    """Raise Flooded where a map of the first item of ``data`` has keys that collide on purpose.

    ``decode`` decodes one item strictly, and raises ValueError for what it refuses. Data that is no
    CBOR, or that ``decode`` refuses, is walked over as far as it goes: decoding it ends there too.
    The walk takes a step for each item, and decodes each key of a wide map that can collide once.
    """
    try:
        _walk(data, decode)
    except (IndexError, ValueError):
        return


def _walk(data: bytes, decode: Callable[[bytes], object]) -> None:
    steps = _STEPS
    position, pending = 0, 1
    maps: list[_Map] = []
    while True:
        while pending:
            pending -= 1
            first = data[position]
            step = steps[first]
            if step > 0:
                position += step
                continue
            if step == _NOT_WALKED:
                return
            major, argument = first >> 5, first & 0x1F
            position += 1
            if argument >= 24:
                size = 1 << argument - 24
                argument = int.from_bytes(data[position : position + size], "big")
                position += size
            if major < 4:
                position += argument
            elif major == 4:
                pending += argument
            elif major == 6:
                pending += 1
            elif argument < ONE_HASH:
                pending += 2 * argument
            else:
                in_key = bool(maps) and (maps[-1].in_key or maps[-1].left % 2 == 1)
                if in_key:
                    raise Flooded(f"A key of a large map holds a map of {argument} keys")
                maps.append(_Map(2 * argument, pending, in_key))
                pending = 0
                maps[-1].left += 1
        position, pending = _next_part(data, position, maps, decode)
        if not pending:
            return
