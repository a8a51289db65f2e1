"""Bytes that nobody would send: mutations of good ones, and CBOR that is nearly right, all from one seed.

What is made follows from the :class:`random.Random` that the caller passes, on every platform and in
every version of Python: a seed is all that is needed to see a failure again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from telewire.wire.heads import encode_head, encode_text
from telewire.wire.tags import ALLOWED_TAGS

__all__ = ["mutate", "noisy_batch", "noisy_frame", "noisy_item"]

_EDGES: Final = (0, 1, 2, 3, 5, 15, 16, 23, 24, 27, 28, 64, 127, 128, 255, 256, 65535, 65536, 1 << 32)
_FAR: Final = ((1 << 53) - 1, 1 << 53, (1 << 53) + 1, (1 << 63), (1 << 64) - 1)
_BYTES: Final = (
    0x00,
    0x18,
    0x1F,
    0x40,
    0x5F,
    0x60,
    0x7F,
    0x80,
    0x9F,
    0xA0,
    0xBF,
    0xC0,
    0xF6,
    0xF7,
    0xF8,
    0xFB,
    0xFF,
)
_TAGS: Final = tuple(sorted(ALLOWED_TAGS))
_TYPES: Final = (*range(28), 28, 63, 64, 65, 120, 127, 128, 129, 255, 65535, 65536)
_TEXTS: Final = (
    *("", "a", "ä", "\U0001f600", "name", "size", "content_type", "home", "countdown"),
    *("2024-02-29T23:59:59Z", "2024-02-29t23:59:59.5z", "1999-12-31T00:00:00.123456+05:30"),
    *("0001-01-01T00:00:00+23:59", "2023-02-29T00:00:00Z", "2024-06-30T23:59:60Z", "2024-01-01T24:00:00Z"),
    *(
        "2024-01-01T00:00:00-00:00",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-23:59",
        "2024-01-01T00:00:00+00:60",
    ),
    *(
        "2024-01-01T00:00:00.1234567891Z",
        "2024-01-01 00:00:00Z",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00Z",
    ),
    *(
        "12:00:00+00:99",
        "12:00:00+00:00:99",
        "12:00:00+01:30:15",
        "12:00:00+00:00:00.5",
        "23:59:60",
        "24:00:00",
        "2024-02-29T24:00:00",
    ),
    *("2024-02-29", "0000-01-01", "9999-12-31", "2024-13-01", "2024-02-29T12:00:00", "2024-02-29T12:00:00.5"),
    *(
        "12:00:00",
        "12:00:00.000001",
        "12:00:00-00:00",
        "12:00:00+23:59:59.999999",
        "12:00:00+24:00",
        "12:00Z",
    ),
    *("NaN", "-NaN", "Infinity", "-Infinity", "-0E+0", "-0E-999999", "-0E+1000000", "0E+0", "nan", "sNaN"),
)


# ---- mutations ------------------------------------------------------------------------------------


def mutate(data: bytes, dice: Random, others: Sequence[bytes] = ()) -> bytes:
    """Return ``data`` with one to four changes: bits, bytes, slices, edges, pieces of ``others``."""
    changed = bytearray(data)
    for _ in range(1 + dice.randrange(4) * dice.randrange(2)):
        change = dice.choice(_CHANGES)
        change(changed, dice)
        if others and dice.random() < 0.15:
            other = dice.choice(others)
            begin = dice.randrange(len(other) + 1)
            piece = other[begin : begin + 1 + dice.randrange(32)]
            at = dice.randrange(len(changed) + 1)
            changed[at : at + dice.choice((0, len(piece)))] = piece
    return bytes(changed)


def _flip(data: bytearray, dice: Random) -> None:
    if data:
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def _replace(data: bytearray, dice: Random) -> None:
    if data:
        data[dice.randrange(len(data))] = dice.choice((dice.choice(_BYTES), dice.randrange(256)))


def _step(data: bytearray, dice: Random) -> None:
    if data:
        at = dice.randrange(len(data))
        data[at] = (data[at] + dice.choice((-1, 1))) % 256


def _insert(data: bytearray, dice: Random) -> None:
    at = dice.randrange(len(data) + 1)
    data[at:at] = bytes(dice.choice(_BYTES) for _ in range(1 + dice.randrange(3)))


def _cut(data: bytearray, dice: Random) -> None:
    if data:
        at = dice.randrange(len(data))
        del data[at : at + 1 + dice.randrange(4)]


def _truncate(data: bytearray, dice: Random) -> None:
    del data[dice.randrange(len(data) + 1) :]


def _repeat(data: bytearray, dice: Random) -> None:
    if data:
        begin = dice.randrange(len(data))
        piece = data[begin : begin + 1 + dice.randrange(16)]
        at = dice.randrange(len(data) + 1)
        data[at:at] = piece * dice.choice((1, 1, 2))


def _item(data: bytearray, dice: Random) -> None:
    at = dice.randrange(len(data) + 1)
    data[at : at + dice.choice((0, 1))] = noisy_item(dice, 2)


def _longer_head(data: bytearray, dice: Random) -> None:
    """Write the small argument of a head in more bytes, which a receiver takes as well."""
    places = [at for at, byte in enumerate(data) if byte & 31 < 24 and byte >> 5 != 7]
    if places:
        at = dice.choice(places)
        width = dice.randrange(4)
        data[at : at + 1] = bytes([data[at] & 0xE0 | 24 + width]) + (data[at] & 31).to_bytes(
            1 << width, "big"
        )


_CHANGES: Final[tuple[Callable[[bytearray, Random], None], ...]] = (
    *(_flip, _replace, _replace, _step, _insert, _cut, _truncate, _repeat, _item, _longer_head),
)


# ---- CBOR that is nearly right --------------------------------------------------------------------


def _number(dice: Random) -> int:
    roll = dice.random()
    if roll < 0.6:
        return dice.randrange(6)
    return dice.choice(_EDGES) if roll < 0.9 else dice.choice(_FAR)


def _head(dice: Random, major: int, argument: int) -> bytes:
    if dice.random() < 0.95:
        return encode_head(major, argument)
    width = next((width for width in range(dice.randrange(4), 4) if argument < 1 << (8 << width)), 3)
    return bytes([major << 5 | 24 + width]) + argument.to_bytes(1 << width, "big")


def noisy_item(dice: Random, depth: int = 3) -> bytes:
    """Return one CBOR item of at most about ``depth`` levels, well-formed but for a few."""
    roll = dice.randrange(20 if depth > 0 else 11)
    if roll < 3:
        return _head(dice, 0, _number(dice))
    if roll < 5:
        return _head(dice, 1, _number(dice))
    if roll == 5:
        return _head(dice, 2, length := dice.choice((0, 0, 1, 4, 16, 24))) + dice.randbytes(length)
    if roll < 8:
        return encode_text(dice.choice(_TEXTS))
    if roll == 8:
        return dice.choice((b"\xf4", b"\xf5", b"\xf6", b"\xf6", b"\xf7", b"\xe0", b"\xf8\x20", b"\xf8\x14"))
    if roll == 9:
        return _float(dice)
    if roll == 10:
        return dice.choice(
            (b"\x62\xc3\x28", b"\x63\xed\xa0\x80", b"\x9f\xff", b"\x5f\xff", b"\x1c", b"\xff", b"")
        )
    if roll < 14:
        parts = [noisy_item(dice, depth - 1) for _ in range(dice.randrange(4))]
        return _head(dice, 4, len(parts)) + b"".join(parts)
    if roll < 17:
        return _map(dice, depth)
    return _tagged(dice, depth)


def _float(dice: Random) -> bytes:
    return dice.choice(
        (
            *(
                b"\xf9\x00\x00",
                b"\xf9\x80\x00",
                b"\xf9\x3c\x00",
                b"\xf9\x7e\x00",
                b"\xf9\x7c\x00",
                b"\xf9\x00\x01",
            ),
            *(b"\xfa\x3f\x80\x00\x00", b"\xfa\x7f\xc0\x00\x00", b"\xfa\xff\x80\x00\x00"),
            *(
                b"\xfb\x3f\xf0" + bytes(6),
                b"\xfb\x7f\xf8" + bytes(6),
                b"\xfb\x3f\xb9" + b"\x99" * 5 + b"\x9a",
            ),
            b"\xfb" + dice.randbytes(8),
        )
    )


def _map(dice: Random, depth: int) -> bytes:
    count = dice.randrange(4)
    simple = dice.random() < 0.6
    keys = [
        dice.choice((_head(dice, 0, dice.randrange(16)), encode_text(dice.choice(_TEXTS[:9]))))
        if simple
        else noisy_item(dice, depth - 1)
        for _ in range(count)
    ]
    return _head(dice, 5, count) + b"".join(key + noisy_item(dice, depth - 1) for key in keys)


def _tagged(dice: Random, depth: int) -> bytes:
    tag = dice.choice(_TAGS) if dice.random() < 0.95 else dice.choice((1, 5, 24, 32, 55799, 60005, 1 << 33))
    if dice.random() < 0.15:
        content = noisy_item(dice, depth - 1)
    elif tag in (0, 1004, 60001, 60002, 60004):
        content = encode_text(dice.choice(_TEXTS[9:]))
    elif tag in (2, 3):
        content = encode_head(2, length := dice.choice((0, 1, 8, 9))) + dice.randbytes(length)
    elif tag in (37, 52, 54):
        content = encode_head(2, length := {37: 16, 52: 4, 54: 16}[tag]) + dice.randbytes(length)
    elif tag in (4, 30):
        content = b"\x82" + _integer(dice) + _integer(dice)
    elif tag == 60003:
        content = b"\x83" + b"".join(encode_head(dice.choice((0, 0, 1)), _number(dice)) for _ in range(3))
    elif tag == 60000:
        index = encode_head(0, dice.randrange(3))
        content = index if dice.random() < 0.6 else b"\x82" + index + _map(dice, 1)
    else:
        parts = [noisy_item(dice, depth - 1) for _ in range(dice.randrange(4))]
        content = encode_head(4, len(parts)) + b"".join(parts)
    return _head(dice, 6, tag) + content


def _integer(dice: Random) -> bytes:
    if dice.random() < 0.8:
        return encode_head(dice.choice((0, 0, 1)), _number(dice))
    return (
        encode_head(6, dice.choice((2, 3)))
        + encode_head(2, length := dice.randrange(3))
        + dice.randbytes(length)
    )


# ---- frames that are nearly right -----------------------------------------------------------------

# A letter for each field after the type: u a number, s a stream, t a target, f flags and z the size that goes
# with them, b a payload, o declarations, c a text, r a session or token, a features, l limits.
_FIELDS: Final = {
    **{0: "uualrr", 1: "rruu", 2: "uu", 3: "u", 4: "u", 5: "u", 6: "u"},
    **{16: "utfzbo", 17: "sfzbo", 18: "sufzbo", 19: "sfzbo", 20: "sfub", 21: "sfb", 22: "sfbo"},
    **{23: "sub", 24: "sub", 25: "su", 26: "uuc", 27: "uc"},
}


def noisy_frame(dice: Random) -> bytes:
    """Return one frame: its layout is mostly as it should be, its fields are anything of their type."""
    if dice.random() < 0.03:
        return noisy_item(dice, 2)
    kind = dice.choice(_TYPES) if dice.random() < 0.2 else dice.choice(tuple(_FIELDS))
    payload = dice.randbytes(dice.choice((0, 1, 1, 4, 30))) if dice.random() < 0.5 else noisy_item(dice, 2)
    more = dice.random() < 0.15
    parts = [_head(dice, 0, kind)]
    for letter in _FIELDS.get(kind, dice.choice(("", "s", "su"))):
        if dice.random() < 0.01:
            parts.append(noisy_item(dice, 2))
        elif letter == "f":
            parts.append(encode_head(0, int(more) if dice.random() < 0.97 else dice.randrange(9)))
        elif letter == "z":
            right = len(payload) + (1 + dice.randrange(9) if more else 0)
            parts.append(_head(dice, 0, right if dice.random() < 0.97 else _number(dice)))
        elif letter == "b":
            parts.append(_head(dice, 2, len(payload)) + payload)
        elif letter != "o" or (dice.random() < 0.2 and not more):
            parts.append(_field(letter, dice))
    if dice.random() < 0.15:
        parts.append(_extensions(dice))
    if dice.random() < 0.03:
        parts.append(noisy_item(dice, 2))
    return _head(dice, 4, len(parts)) + b"".join(parts)


def _field(letter: str, dice: Random) -> bytes:
    if letter == "s":
        return _head(dice, dice.choice((0, 1)), _number(dice))
    if letter == "t":
        return encode_text(dice.choice(_TEXTS)) if dice.random() < 0.7 else _field("s", dice)
    if letter == "c":
        return encode_text(dice.choice(_TEXTS))
    if letter == "r":
        return dice.choice((b"\xf6", b"\x42id"))
    if letter == "a":
        features = [_head(dice, 0, _number(dice)) for _ in range(dice.randrange(3))]
        return _head(dice, 4, len(features)) + b"".join(features)
    if letter == "l":
        numbers = dice.sample(range(20), dice.randrange(4))
        limits = [_head(dice, 0, number) + _head(dice, 0, _number(dice)) for number in numbers]
        return _head(dice, 5, len(limits)) + b"".join(limits)
    if letter == "o":
        declared = [_declaration(dice) for _ in range(dice.choice((0, 1, 1, 2)))]
        return _head(dice, 4, len(declared)) + b"".join(declared)
    return _head(dice, 0, _number(dice))


def _declaration(dice: Random) -> bytes:
    kind = dice.randrange(7)
    numbered = kind >= 4 if dice.random() < 0.95 else kind < 4
    parts = [_field("u", dice), encode_head(0, kind), *([_field("u", dice)] if numbered else [])]
    return _head(dice, 4, len(parts)) + b"".join(parts)


def _extensions(dice: Random) -> bytes:
    parts = []
    keys = dice.sample((0, 1, 2, 3, 4, 6, 8, 10, 12, 14, 65280, (1 << 53) - 1, 1 << 53), dice.randrange(4))
    for key in keys:
        roll = dice.random()
        if roll < 0.2:
            value = noisy_item(dice, 2)
        elif key in (6, 12):
            value = b"\xa1" + encode_text(dice.choice(_TEXTS)) + encode_text(dice.choice(_TEXTS))
        elif key == 8:
            value = encode_text(dice.choice(_TEXTS))
        elif key == 10:
            value = b"\x41k"
        else:
            value = _field("u", dice)
        parts.append(_head(dice, 0, key) + value)
    return _head(dice, 5, len(parts)) + b"".join(parts)


def noisy_batch(dice: Random) -> bytes:
    """Return a batch of one to four such frames."""
    frames = [noisy_frame(dice) for _ in range(dice.choice((1, 1, 2, 4)))]
    return _head(dice, 4, len(frames)) + b"".join(frames)
