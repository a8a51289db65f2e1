"""The vectors of plain values: numbers, texts, byte strings, arrays, maps, keys and depth (chapter 8)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final

from telewire_spec.meaning import Json
from telewire_spec.vectors.build import (
    FALSE,
    NULL,
    TRUE,
    UNDEFINED,
    Vector,
    Width,
    arr,
    byt,
    f16,
    f32,
    f64,
    head,
    mp,
    num,
    tag,
    txt,
)

__all__ = ["float_of", "integer_of", "refused", "taken", "vectors"]

TEN: Final = b"0123456789"


def taken(name: str, rules: Sequence[str], data: bytes, meaning: Json, *, nesting: int = 64) -> Vector:
    """A value that is taken."""
    limits = {} if nesting == 64 else {"nesting": nesting}
    return Vector(id=f"value/{name}", rules=rules, kind="value", data=data, meaning=meaning, limits=limits)


def refused(
    name: str,
    rules: Sequence[str],
    data: bytes,
    reason: str = "MALFORMED_VALUE",
    *,
    nesting: int = 64,
    note: str = "",
) -> Vector:
    """A value that is refused; ``reason`` is what an implementation may tell beside MALFORMED_VALUE."""
    limits = {} if nesting == 64 else {"nesting": nesting}
    return Vector(
        id=f"value/{name}",
        rules=rules,
        kind="value",
        data=data,
        error="MALFORMED_VALUE",
        reason=reason,
        limits=limits,
        note=note,
    )


def integer_of(value: int) -> Json:
    """The meaning of an integer."""
    return value if abs(value) < 1 << 53 else {"int": hex(value)}


def float_of(value: float) -> Json:
    """The meaning of a float."""
    return {"float": "nan" if value != value else struct.pack(">d", value).hex()}


# ---- numbers --------------------------------------------------------------------------------------

INTEGERS: Final = (
    *(0, 1, 10, 23, 24, 25, 100, 255, 256, 1000, 65535, 65536, 1_000_000),
    *((1 << 32) - 1, 1 << 32, (1 << 53) - 1, 1 << 53, (1 << 63) - 1, 1 << 63, (1 << 64) - 1),
    *(-1, -10, -24, -25, -100, -256, -257, -65536, -65537, -(1 << 32), -(1 << 32) - 1),
    *(1 - (1 << 53), -(1 << 53), -(1 << 63), -(1 << 63) - 1, -(1 << 64)),
)
LONGER: Final[tuple[tuple[int, Width], ...]] = (
    *((0, 1), (0, 2), (0, 4), (0, 8), (23, 1), (24, 2), (255, 4), (65535, 8)),
    *((-1, 1), (-1, 2), (-1, 4), (-1, 8), (-256, 2), ((1 << 32) - 1, 8)),
)
HALVES: Final = (
    *(("0000", 0.0), ("8000", -0.0), ("3c00", 1.0), ("3e00", 1.5), ("7bff", 65504.0), ("0001", 2.0**-24)),
    *(
        ("0400", 2.0**-14),
        ("03ff", 1023 * 2.0**-24),
        ("c400", -4.0),
        ("7c00", float("inf")),
        ("fc00", -float("inf")),
    ),
    *(("7e00", float("nan")), ("7c01", float("nan")), ("fe00", float("nan")), ("ffff", float("nan"))),
)
SINGLES: Final = (
    *(("00000000", 0.0), ("80000000", -0.0), ("47c35000", 100000.0), ("7f7fffff", 3.4028234663852886e38)),
    *(
        ("7f800000", float("inf")),
        ("ff800000", -float("inf")),
        ("7fc00000", float("nan")),
        ("00000001", 2.0**-149),
    ),
    *(("7f800001", float("nan")), ("3f800000", 1.0)),
)
DOUBLES: Final = (
    *(0.0, -0.0, 1.0, 1.1, -4.1, 1.0e300, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308),
    *(float("inf"), -float("inf"), float("nan"), 9007199254740993.0, 0.1),
)


def numbers() -> Iterator[Vector]:
    """Integers and floats in every width."""
    for value in INTEGERS:
        rules = ["TW-VAL-001", "TW-VAL-003"]
        yield taken(f"integer/{value}", rules, num(value), integer_of(value))
    for value, width in LONGER:
        rules = ["TW-FRM-021", "TW-VAL-012"]
        yield taken(f"integer/longer-head/{value}-in-{width}", rules, num(value, width), integer_of(value))
    for bits, number in HALVES:
        yield taken(f"float/half/{bits}", ["TW-VAL-006"], f16(int(bits, 16)), float_of(number))
    for bits, number in SINGLES:
        yield taken(f"float/single/{bits}", ["TW-VAL-006"], b"\xfa" + bytes.fromhex(bits), float_of(number))
    for number in DOUBLES:
        yield taken(f"float/double/{number!r}", ["TW-VAL-006"], f64(number), float_of(number))
    odd = bytes.fromhex("fb7ff0000000000001")
    yield taken("float/double/signalling-nan", ["TW-VAL-006"], odd, {"float": "nan"})
    for data, name in (
        (b"\x18", "argument"),
        (b"\x19\x01", "half-an-argument"),
        (b"\x1b" + bytes(7), "seven"),
    ):
        yield refused(f"integer/cut/{name}", ["TW-VAL-001"], data)
    for first in (0x1C, 0x1D, 0x1E, 0x1F, 0x3C, 0x3F):
        yield refused(f"integer/reserved-head/{first:02x}", ["TW-VAL-002"], bytes([first]) + TEN)
    for data in (b"\xf9\x3c", b"\xfa\x3f\x80\x00", b"\xfb\x3f" + bytes(6)):
        yield refused(f"float/cut/{data[0]:02x}", ["TW-VAL-001"], data)


def simple() -> Iterator[Vector]:
    """false, true, null, and all that is none of them."""
    for data, meaning in ((FALSE, False), (TRUE, True), (NULL, None)):
        yield taken(f"simple/{data.hex()}", ["TW-VAL-005"], data, meaning)
    yield refused("simple/undefined", ["TW-VAL-005"], UNDEFINED)
    yield refused("simple/undefined-in-an-array", ["TW-VAL-005"], arr(num(1), UNDEFINED))
    yield refused("simple/undefined-under-a-key", ["TW-VAL-005"], mp((txt("a"), UNDEFINED)))
    yield refused("simple/undefined-as-key", ["TW-VAL-005"], mp((UNDEFINED, num(1))))
    yield refused("simple/undefined-in-a-set", ["TW-VAL-005"], tag(258, arr(UNDEFINED)))
    yield refused("simple/undefined-in-an-array-as-key", ["TW-VAL-005"], mp((arr(UNDEFINED), num(1))))
    for number in (0, 1, 16, 19):
        yield refused(f"simple/unassigned/{number}", ["TW-VAL-005"], bytes([0xE0 | number]))
    for number in (32, 99, 255):
        yield refused(f"simple/unassigned/{number}", ["TW-VAL-005"], bytes([0xF8, number]))
    for number in (0, 20, 21, 22, 23, 24, 31):
        rules = ["TW-VAL-002", "TW-FRM-026"]
        yield refused(f"simple/two-bytes/{number}", rules, bytes([0xF8, number]))
    for first in (0xFC, 0xFD, 0xFE, 0xFF):
        yield refused(f"simple/reserved-head/{first:02x}", ["TW-VAL-002"], bytes([first]))
    yield refused("simple/cut", ["TW-VAL-001"], b"\xf8")


# ---- texts and byte strings -----------------------------------------------------------------------

TEXTS: Final = (
    *(("empty", ""), ("letter", "a"), ("quotes", '"\\'), ("two-bytes", "ü"), ("three-bytes", "水")),
    *(("four-bytes", "\U00010151"), ("nul", "\0"), ("byte-order-mark", "\ufeffa"), ("last", "\U0010ffff")),
    *(("23", "x" * 23), ("24", "x" * 24), ("255", "x" * 255), ("256", "x" * 256), ("combining", "e\u0301")),
    *(("right-to-left", "\u202eabc"), ("noncharacter", "\uffff")),
)
NO_TEXTS: Final = (
    *(("lone-byte", "ff"), ("no-continuation", "c328"), ("continuation-alone", "80"), ("overlong-2", "c080")),
    *(
        ("overlong-3", "e08080"),
        ("overlong-4", "f0808080"),
        ("surrogate", "eda080"),
        ("pair", "eda081edb080"),
    ),
    *(("beyond-unicode", "f4908080"), ("five-bytes", "f888808080"), ("ends-within", "61c3")),
)


def strings() -> Iterator[Vector]:
    """Texts and byte strings, and what is neither."""
    for name, text in TEXTS:
        yield taken(f"text/{name}", ["TW-VAL-001"], txt(text), text)
    yield taken("text/longer-head", ["TW-FRM-021"], txt("a", 2), "a")
    for name, data in NO_TEXTS:
        raw = bytes.fromhex(data)
        yield refused(f"text/no-utf-8/{name}", ["TW-VAL-002"], head(3, len(raw)) + raw)
    yield refused("text/no-utf-8/as-key", ["TW-VAL-002"], mp((b"\x61\xff", num(1))))
    yield refused("text/cut", ["TW-VAL-001"], b"\x63ab")
    yield refused("text/indefinite", ["TW-VAL-002"], b"\x7f\x61a\xff")
    for length in (0, 1, 23, 24, 255, 256):
        content = bytes(range(256))[:length]
        yield taken(f"bytes/{length}", ["TW-VAL-007"], byt(content), {"bytes": content.hex()})
    yield taken("bytes/longer-head", ["TW-FRM-021"], byt(b"a", 8), {"bytes": "61"})
    yield refused("bytes/cut", ["TW-VAL-001"], b"\x44abc")
    yield refused("bytes/indefinite", ["TW-VAL-002"], b"\x5f\x41a\xff")
    yield refused("bytes/length-of-2^32", ["TW-VAL-001"], head(2, 1 << 32) + b"a")
    yield refused("bytes/length-of-2^64-1", ["TW-VAL-001"], head(2, (1 << 64) - 1) + b"a")
    for first in (0x5C, 0x5D, 0x5E, 0x7C, 0x7E):
        yield refused(f"bytes/reserved-head/{first:02x}", ["TW-VAL-002"], bytes([first]) + TEN)


# ---- arrays, maps and keys ------------------------------------------------------------------------


def containers() -> Iterator[Vector]:
    """Arrays and maps."""
    one = num(1)
    yield taken("array/empty", ["TW-VAL-001"], arr(), [])
    yield taken("array/three", ["TW-VAL-001"], arr(num(1), num(2), num(3)), [1, 2, 3])
    yield taken("array/nested", ["TW-VAL-004"], arr(one, arr(num(2), arr())), [1, [2, []]])
    for length in (23, 24, 256):
        yield taken(f"array/{length}", ["TW-VAL-001"], arr(*[one] * length), [1] * length)
    for width in (1, 2, 4, 8):
        yield taken(f"array/longer-head/{width}", ["TW-FRM-021"], arr(one, width=width), [1])
        yield taken(
            f"map/longer-head/{width}", ["TW-FRM-021"], mp((one, one), width=width), {"map": [[1, 1]]}
        )
    yield refused("array/cut", ["TW-VAL-001"], b"\x82\x01")
    yield refused("array/indefinite", ["TW-VAL-002"], b"\x9f\x01\xff")
    yield refused("array/length-of-2^62", ["TW-VAL-001"], head(4, 1 << 62) + b"\x01")
    yield refused("array/reserved-head", ["TW-VAL-002"], b"\x9c\x01")
    yield refused("array/break-inside", ["TW-VAL-002"], b"\x82\x01\xff")
    yield taken("map/empty", ["TW-VAL-001"], mp(), {"map": []})
    kept = mp((txt("b"), num(1)), (txt("a"), num(2)))
    yield taken("map/order-is-kept", ["TW-VAL-003"], kept, {"map": [["b", 1], ["a", 2]]})
    nested = mp((txt("a"), mp((txt("a"), arr()))))
    yield taken("map/nested", ["TW-VAL-004"], nested, {"map": [["a", {"map": [["a", []]]}]]})
    yield refused("map/cut-before-a-value", ["TW-VAL-001"], b"\xa1\x01")
    yield refused("map/cut-before-a-key", ["TW-VAL-001"], b"\xa2\x01\x01")
    yield refused("map/indefinite", ["TW-VAL-002"], b"\xbf\x01\x01\xff")
    yield refused("map/length-of-2^63", ["TW-VAL-001"], head(5, 1 << 63) + b"\x01\x01")
    yield refused("whole/empty", ["TW-VAL-001"], b"")
    yield refused("whole/byte-behind", ["TW-VAL-001"], b"\x01\x00")
    yield refused("whole/byte-behind-an-array", ["TW-VAL-001"], b"\x81\x01\xf6")
    yield refused("whole/byte-before", ["TW-VAL-001"], b"\xff\x01")


KEYS: Final[tuple[tuple[str, bytes, Json], ...]] = (
    ("integer", num(-1), -1),
    ("large-integer", tag(2, byt(b"\1" + bytes(8))), {"int": "0x10000000000000000"}),
    ("float", f64(1.5), float_of(1.5)),
    ("text", txt("a"), "a"),
    ("bytes", byt(b"a"), {"bytes": "61"}),
    ("false", FALSE, False),
    ("null", NULL, None),
    ("array", arr(num(1), arr(txt("a"))), [1, ["a"]]),
    ("empty-array", arr(), []),
    ("map", mp((num(1), num(2))), {"map": [[1, 2]]}),
    ("set", tag(258, arr(num(2), num(1))), {"set": [1, 2]}),
    ("moment", tag(0, txt("2026-01-02T03:04:05Z")), {"datetime": "2026-01-02T03:04:05+00:00"}),
    ("decimal", tag(4, arr(num(-1), num(15))), {"decimal": [-1, 15]}),
    ("rational", tag(30, arr(num(1), num(3))), {"rational": [1, 3]}),
    ("uuid", tag(37, byt(bytes(16))), {"uuid": "00" * 16}),
    ("ipv4", tag(52, byt(b"\x7f\0\0\1")), {"ipv4": "7f000001"}),
    ("ipv6", tag(54, byt(bytes(15) + b"\1")), {"ipv6": "00" * 15 + "01"}),
    ("date", tag(1004, txt("2026-01-02")), {"date": "2026-01-02"}),
    ("local", tag(60001, txt("2026-01-02T03:04:05")), {"local_datetime": "2026-01-02T03:04:05"}),
    ("time", tag(60002, txt("03:04:05")), {"time": "03:04:05"}),
    ("duration", tag(60003, arr(num(1), num(2), num(3))), {"duration": [1, 2, 3]}),
    ("infinite-decimal", tag(60004, txt("Infinity")), {"decimal": "Infinity"}),
)

half, one_third = tag(30, arr(num(1), num(2))), tag(30, arr(num(1), num(3)))
SAME: Final[tuple[tuple[str, bytes, bytes], ...]] = (
    ("texts", txt("a"), txt("a")),
    ("texts-of-other-heads", txt("a"), txt("a", 4)),
    ("bytes", byt(b"a"), byt(b"a", 1)),
    ("null", NULL, NULL),
    ("integers", num(1), num(1, 8)),
    ("integer-and-float", num(1), f64(1.0)),
    ("integer-and-half", num(65504), f16(0x7BFF)),
    ("floats-of-other-widths", f16(0x3E00), f32(1.5)),
    ("zeros", num(0), f64(-0.0)),
    ("large-integer-and-float", num(1 << 63), f64(2.0**63)),
    ("integer-under-a-tag", num(7), tag(2, byt(b"\7"))),
    ("negative-under-a-tag", num(-8), tag(3, byt(b"\7"))),
    ("integer-and-decimal", num(100), tag(4, arr(num(2), num(1)))),
    ("decimals", tag(4, arr(num(-1), num(10))), tag(4, arr(num(-2), num(100)))),
    ("float-and-decimal", f64(0.5), tag(4, arr(num(-1), num(5)))),
    ("float-and-rational", f64(0.5), half),
    ("decimal-and-rational", tag(4, arr(num(-1), num(5))), half),
    ("rationals", one_third, tag(30, arr(num(2), num(6)))),
    ("integer-and-rational", num(2), tag(30, arr(num(4), num(2)))),
    ("true-and-1", TRUE, num(1)),
    ("false-and-0.0", FALSE, f64(0.0)),
    ("infinities", f64(float("inf")), tag(60004, txt("Infinity"))),
    ("negative-infinities", f16(0xFC00), tag(60004, txt("-Infinity"))),
    ("negative-zero-of-tag-60004", num(0), tag(60004, txt("-0E+3"))),
    ("arrays", arr(num(1), txt("a")), arr(f64(1.0), txt("a"))),
    ("empty-arrays", arr(), arr(width=1)),
    ("maps-in-another-order", mp((num(1), num(2)), (num(3), num(4))), mp((num(3), num(4)), (num(1), num(2)))),
    ("sets-in-another-order", tag(258, arr(num(1), num(2))), tag(258, arr(num(2), num(1)))),
    ("moments", tag(0, txt("2026-01-02T12:00:00Z")), tag(0, txt("2026-01-02T14:00:00+02:00"))),
    (
        "moments-of-the-first-year",
        tag(0, txt("0001-01-01T00:00:00+01:00")),
        tag(0, txt("0001-01-01T01:00:00+02:00")),
    ),
    ("uuids", tag(37, byt(bytes(16))), tag(37, byt(bytes(16)), 4)),
    ("ipv4", tag(52, byt(bytes(4))), tag(52, byt(bytes(4)))),
    ("dates", tag(1004, txt("2026-01-02")), tag(1004, txt("2026-01-02"))),
    ("durations", tag(60003, arr(num(1), num(0), num(0))), tag(60003, arr(num(1, 1), num(0), num(0)))),
)
OTHER: Final[tuple[tuple[str, bytes, bytes, Json, Json], ...]] = (
    ("text-and-integer", txt("1"), num(1), "1", 1),
    ("text-and-bytes", txt("a"), byt(b"a"), "a", {"bytes": "61"}),
    ("array-and-its-item", arr(num(1)), num(1), [1], 1),
    ("null-and-0", NULL, num(0), None, 0),
    ("null-and-false", NULL, FALSE, None, False),
    ("signs", num(1), num(-1), 1, -1),
    ("nearly-equal", num((1 << 53) + 1), f64(2.0**53), {"int": hex((1 << 53) + 1)}, float_of(2.0**53)),
    ("tenth", f64(0.1), tag(4, arr(num(-1), num(1))), float_of(0.1), {"decimal": [-1, 1]}),
    ("third", f64(1 / 3), one_third, float_of(1 / 3), {"rational": [1, 3]}),
    ("nan", f64(float("nan")), f16(0x7E00), {"float": "nan"}, {"float": "nan"}),
    ("uuid-and-bytes", tag(37, byt(bytes(16))), byt(bytes(16)), {"uuid": "00" * 16}, {"bytes": "00" * 16}),
    ("ipv4-and-integer", tag(52, byt(b"\0\0\0\1")), num(1), {"ipv4": "00000001"}, 1),
    ("forms-of-a-text", txt("\u00e9"), txt("e\u0301"), "\u00e9", "e\u0301"),
    ("array-and-set", arr(num(1)), tag(258, arr(num(1))), [1], {"set": [1]}),
    (
        "date-and-its-midnight",
        tag(1004, txt("2026-01-02")),
        tag(60001, txt("2026-01-02T00:00:00")),
        {"date": "2026-01-02"},
        {"local_datetime": "2026-01-02T00:00:00"},
    ),
    (
        "local-and-utc",
        tag(60001, txt("2026-01-02T00:00:00")),
        tag(0, txt("2026-01-02T00:00:00Z")),
        {"local_datetime": "2026-01-02T00:00:00"},
        {"datetime": "2026-01-02T00:00:00+00:00"},
    ),
)


def keys() -> Iterator[Vector]:
    """Keys of every type, the same twice, and others that only look alike."""
    for name, key, said in KEYS:
        yield taken(f"key/{name}", ["TW-VAL-008"], mp((key, num(1))), {"map": [[said, 1]]})
    for name, first, second in SAME:
        data = mp((first, num(1)), (second, num(2)))
        yield refused(f"key/same/{name}", ["TW-VAL-008", "TW-VAL-016"], data, "DUPLICATE_KEY")
    for name, first, second, said, also in OTHER:
        data = mp((first, num(1)), (second, num(2)))
        meaning: Json = {"map": [[said, 1], [also, 2]]}
        yield taken(f"key/other/{name}", ["TW-VAL-008", "TW-VAL-016"], data, meaning)
    inner = arr(mp((txt("a"), num(1)), (txt("a"), num(1))))
    yield refused("key/same/deep-inside", ["TW-VAL-002"], inner, "DUPLICATE_KEY")
    # 63 keys of one hash in a table that takes numbers modulo 2^61 - 1.
    prime = (1 << 61) - 1
    numbers = [1 + prime * factor for factor in range(63)]
    encoded = [num(n) if n < 1 << 64 else tag(2, byt(n.to_bytes(9, "big"))) for n in numbers]
    data = mp(*((key, NULL) for key in encoded))
    meaning = {"map": [[integer_of(number), None] for number in numbers]}
    yield taken("key/63-of-one-hash", ["TW-VAL-009"], data, meaning)


# ---- depth ----------------------------------------------------------------------------------------


def _arrays(levels: int) -> Json:
    meaning: Json = 1
    for _ in range(levels):
        meaning = [meaning]
    return meaning


def _maps(levels: int) -> Json:
    meaning: Json = 1
    for _ in range(levels):
        meaning = {"map": [[0, meaning]]}
    return meaning


def depth() -> Iterator[Vector]:
    """Values as deep as is allowed, and a level deeper."""
    rules = ["TW-VAL-002", "TW-VAL-004"]
    for most in (1, 2, 8, 64):
        inside = b"\x81" * most + b"\x01"
        yield taken(f"depth/arrays/{most}", rules, inside, _arrays(most), nesting=most)
        yield refused(
            f"depth/arrays/{most}-and-one", rules, b"\x81" + inside, "NESTING_TOO_DEEP", nesting=most
        )
        inside = b"\xa1\x00" * most + b"\x01"
        yield taken(f"depth/maps/{most}", rules, inside, _maps(most), nesting=most)
        yield refused(
            f"depth/maps/{most}-and-one", rules, b"\xa1\x00" + inside, "NESTING_TOO_DEEP", nesting=most
        )
    for data, name in ((b"\x80", "array"), (b"\xa0", "map")):
        yield taken(f"depth/empty-{name}", rules, data, [] if name == "array" else {"map": []}, nesting=1)
        beyond = b"\x81" * 63 + b"\x81" + data
        yield refused(f"depth/empty-{name}-and-64", rules, beyond, "NESTING_TOO_DEEP")
        yield refused(f"depth/empty-{name}-where-none-is", rules, data, "NESTING_TOO_DEEP", nesting=0)
    yield taken("depth/scalar-where-none-is", rules, num(1), 1, nesting=0)
    yield taken("depth/text-where-none-is", rules, txt("a"), "a", nesting=0)
    yield refused("depth/tag-where-none-is", rules, tag(2, byt(b"\1")), "NESTING_TOO_DEEP", nesting=0)
    yield taken("depth/tag-at-the-bound", rules, tag(2, byt(b"\1")), 1, nesting=1)
    yield refused("depth/tag-beyond", rules, arr(tag(2, byt(b"\1"))), "NESTING_TOO_DEEP", nesting=1)
    key = mp((arr(num(1)), num(1)))
    yield taken("depth/key-at-the-bound", rules, key, {"map": [[[1], 1]]}, nesting=2)
    yield refused("depth/key-beyond", rules, key, "NESTING_TOO_DEEP", nesting=1)
    yield refused(
        "depth/65-with-a-limit-of-100", rules, b"\x81" * 65 + b"\x01", "NESTING_TOO_DEEP", nesting=100
    )
    hostile = b"\x81" * 5000 + b"\x01"
    yield refused(
        "depth/5000", rules, hostile, "NESTING_TOO_DEEP", note="A decoder that recurses survives it."
    )


def vectors() -> Iterator[Vector]:
    """All of this file."""
    for part in (numbers, simple, strings, containers, keys, depth):
        yield from part()
