"""The vectors of tags: moments, big numbers, addresses, sets, and references to streams (chapter 8)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from telewire_spec.meaning import Json, ascii_json
from telewire_spec.vectors.build import (
    FALSE,
    NULL,
    TRUE,
    Vector,
    arr,
    byt,
    f64,
    mp,
    num,
    tag,
    txt,
)
from telewire_spec.vectors.table_values import float_of, integer_of, refused, taken

__all__ = ["vectors"]

BIG: Final = 8192
BOUND: Final = ["TW-VAL-011", "TW-VAL-019"]

# What stands under the tag, and what it says; None where it says nothing that exists.
MOMENTS: Final[tuple[tuple[str, str | None], ...]] = (
    ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00"),
    ("2026-01-02t03:04:05z", "2026-01-02T03:04:05+00:00"),
    ("2026-01-02T03:04:05+00:00", "2026-01-02T03:04:05+00:00"),
    ("2026-01-02T03:04:05-00:00", "2026-01-02T03:04:05+00:00"),
    ("2026-01-02T03:04:05+05:30", "2026-01-02T03:04:05+05:30"),
    ("2026-01-02T03:04:05-23:59", "2026-01-02T03:04:05-23:59"),
    ("2026-01-02T03:04:05.5Z", "2026-01-02T03:04:05.500000+00:00"),
    ("2026-01-02T03:04:05.123456Z", "2026-01-02T03:04:05.123456+00:00"),
    ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456+00:00"),
    ("2026-01-02T03:04:05.000000Z", "2026-01-02T03:04:05+00:00"),
    ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00"),
    ("0001-01-01T00:00:00+23:59", "0001-01-01T00:00:00+23:59"),
    ("9999-12-31T23:59:59.999999-23:59", "9999-12-31T23:59:59.999999-23:59"),
    ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00+00:00"),
    ("2000-02-29T00:00:00Z", "2000-02-29T00:00:00+00:00"),
    ("2026-02-29T00:00:00Z", None),
    ("1900-02-29T00:00:00Z", None),
    ("0000-01-01T00:00:00Z", None),
    ("2026-00-01T00:00:00Z", None),
    ("2026-13-01T00:00:00Z", None),
    ("2026-04-31T00:00:00Z", None),
    ("2026-01-00T00:00:00Z", None),
    ("2026-01-02T24:00:00Z", None),
    ("2026-01-02T23:60:00Z", None),
    ("2026-12-31T23:59:60Z", None),
    ("2026-01-02T03:04:05", None),
    ("2026-01-02T03:04Z", None),
    ("2026-01-02 03:04:05Z", None),
    ("2026-01-02", None),
    ("2026-01-02T03:04:05.Z", None),
    ("2026-01-02T03:04:05.1234567890Z", None),
    ("2026-01-02T03:04:05,5Z", None),
    ("2026-01-02T03:04:05+24:00", None),
    ("2026-01-02T03:04:05+00:60", None),
    ("2026-01-02T03:04:05+0530", None),
    ("2026-01-02T03:04:05+05", None),
    ("2026-01-02T03:04:05+05:30:00", None),
    ("2026-01-02T03:04:05 Z", None),
    ("2026-01-02T03:04:05Z ", None),
    ("+2026-01-02T03:04:05Z", None),
    ("12026-01-02T03:04:05Z", None),
    ("20260102T030405Z", None),
    ("2026-W01-5T03:04:05Z", None),
    ("٢٠٢٦-01-02T03:04:05Z", None),
    ("", None),
)
DATES: Final[tuple[tuple[str, str | None], ...]] = (
    *((text, text) for text in ("2026-01-02", "0001-01-01", "9999-12-31", "2024-02-29")),
    *((text, None) for text in ("2026-02-29", "0000-01-01", "2026-13-01", "2026-01-32", "2026-1-2")),
    *(
        (text, None)
        for text in ("20260102", "2026-01", "2026-W01-5", "2026-01-02T00:00:00", "10000-01-01", "")
    ),
)
LOCALS: Final[tuple[tuple[str, str | None], ...]] = (
    ("2026-01-02T03:04:05", "2026-01-02T03:04:05"),
    ("2026-01-02T03:04:05.000001", "2026-01-02T03:04:05.000001"),
    ("2026-01-02T03:04:05.000000", "2026-01-02T03:04:05"),
    ("9999-12-31T23:59:59.999999", "9999-12-31T23:59:59.999999"),
    ("2026-01-02T03:04:05.5", None),
    ("2026-01-02T03:04:05.1234567", None),
    ("2026-01-02T03:04:05Z", None),
    ("2026-01-02T03:04:05+00:00", None),
    ("2026-01-02t03:04:05", None),
    ("2026-01-02 03:04:05", None),
    ("2026-01-02T24:00:00", None),
    ("2026-01-02T03:04:60", None),
    ("2026-02-30T03:04:05", None),
    ("2026-01-02T03:04", None),
    ("2026-01-02", None),
)
TIMES: Final[tuple[tuple[str, str | None], ...]] = (
    ("00:00:00", "00:00:00"),
    ("23:59:59.999999", "23:59:59.999999"),
    ("03:04:05.000000", "03:04:05"),
    ("03:04:05+05:30", "03:04:05+05:30"),
    ("03:04:05-00:00", "03:04:05+00:00"),
    ("03:04:05+01:02:03", "03:04:05+01:02:03"),
    ("03:04:05-23:59:59.999999", "03:04:05-23:59:59.999999"),
    ("24:00:00", None),
    ("23:60:00", None),
    ("23:59:60", None),
    ("03:04", None),
    ("3:04:05", None),
    ("03:04:05.5", None),
    ("03:04:05Z", None),
    ("03:04:05+24:00", None),
    ("03:04:05+00:60", None),
    ("03:04:05+00:99", None),
    ("03:04:05+00:00:60", None),
    ("03:04:05+0530", None),
    ("03:04:05+01:02:03.5", None),
    ("T03:04:05", None),
)
DECIMAL_TEXTS: Final[tuple[tuple[str, str | None], ...]] = (
    *((text, text) for text in ("NaN", "-NaN", "Infinity", "-Infinity", "-0E+0", "-0E-999999", "-0E+999999")),
    ("-0E+007", "-0E+7"),
    ("-0E-0", "-0E+0"),
    *((text, None) for text in ("nan", "sNaN", "+NaN", "Inf", "infinity", "+Infinity", "0E+0", "-0", "-0E5")),
    *((text, None) for text in ("-0E+1000000", "-0.0", "-0e+1", "-1E+0", "1.5", "", "-0E+", " NaN", "NaN1")),
)
FORMS: Final = (
    *(
        (0, "datetime", MOMENTS),
        (1004, "date", DATES),
        (60001, "local_datetime", LOCALS),
        (60002, "time", TIMES),
    ),
    (60004, "decimal", DECIMAL_TEXTS),
)


def texts() -> Iterator[Vector]:
    """Tags whose content is a text of a certain form."""
    for number, kind, table in FORMS:
        for written, said in table:
            name = f"tag-{number}/{written or 'empty'}"
            if said is None:
                yield refused(name, BOUND, tag(number, txt(written)))
            else:
                yield taken(name, BOUND, tag(number, txt(written)), {kind: said})
        for what, content in (("integer", num(1)), ("bytes", byt(b"NaN")), ("null", NULL), ("array", arr())):
            yield refused(f"tag-{number}/of-{what}", ["TW-VAL-011"], tag(number, content))


def big_integers() -> Iterator[Vector]:
    """Tags 2 and 3."""
    magnitudes = (b"", b"\0", b"\1", b"\xff", b"\1" + bytes(8), b"\xff" * 8, b"\0" * 4 + b"\7", b"\x7f" * 40)
    for content in magnitudes:
        n = int.from_bytes(content, "big")
        rules = ["TW-VAL-012"]
        yield taken(f"tag-2/{content.hex() or 'empty'}", rules, tag(2, byt(content)), integer_of(n))
        yield taken(f"tag-3/{content.hex() or 'empty'}", rules, tag(3, byt(content)), integer_of(-1 - n))
    for number in (2, 3):
        largest = b"\xff" * BIG
        n = int.from_bytes(largest, "big")
        meaning = integer_of(n if number == 2 else -1 - n)
        yield taken(f"tag-{number}/largest", ["TW-VAL-011"], tag(number, byt(largest)), meaning)
        yield refused(f"tag-{number}/too-large", ["TW-VAL-011"], tag(number, byt(b"\0" + largest)))
        for what, content in (
            ("integer", num(1)),
            ("text", txt("1")),
            ("null", NULL),
            ("array", arr(byt(b"\1"))),
        ):
            yield refused(f"tag-{number}/of-{what}", ["TW-VAL-011"], tag(number, content))
    yield taken("tag-2/longer-head", ["TW-FRM-021"], tag(2, byt(b"\1"), 8), 1)


def fractions() -> Iterator[Vector]:
    """Tags 4 and 30."""
    for exponent, mantissa in (
        (0, 0),
        (-2, 27315),
        (2, 1),
        (-1, -1),
        (999_999, 1),
        (-999_999, -7),
        (0, (1 << 64) - 1),
    ):
        data = tag(4, arr(num(exponent), num(mantissa)))
        yield taken(
            f"tag-4/{mantissa}e{exponent}",
            ["TW-VAL-011"],
            data,
            {"decimal": [exponent, integer_of(mantissa)]},
        )
    big = tag(2, byt(b"\1" + bytes(8)))
    rules = ["TW-VAL-012", "TW-VAL-018"]
    yield taken(
        "tag-4/big-mantissa", rules, tag(4, arr(num(-5), big)), {"decimal": [-5, integer_of(1 << 64)]}
    )
    data = tag(4, arr(tag(2, byt(b"\5")), num(1)))
    yield taken("tag-4/exponent-under-a-tag", rules, data, {"decimal": [5, 1]})
    wrong: Sequence[tuple[str, bytes]] = (
        ("exponent-too-large", arr(num(1_000_000), num(1))),
        ("exponent-too-small", arr(num(-1_000_000), num(1))),
        ("huge-exponent-under-a-tag", arr(big, num(1))),
        ("float-exponent", arr(f64(1.0), num(1))),
        ("boolean-exponent", arr(TRUE, num(1))),
        ("float-mantissa", arr(num(1), f64(1.0))),
        ("text-mantissa", arr(num(1), txt("1"))),
        ("one-part", arr(num(1))),
        ("three-parts", arr(num(1), num(1), num(1))),
        ("no-array", num(1)),
        ("map", mp((num(1), num(1)))),
    )
    for name, content in wrong:
        yield refused(f"tag-4/{name}", ["TW-VAL-011"], tag(4, content))
    for n, d, up, down in (
        (1, 3, 1, 3),
        (2, 6, 1, 3),
        (-4, 2, -2, 1),
        (0, 9, 0, 1),
        (7, (1 << 64) - 1, 7, (1 << 64) - 1),
    ):
        meaning: Json = {"rational": [integer_of(up), integer_of(down)]}
        yield taken(f"tag-30/{n}-{d}", ["TW-VAL-011", "TW-VAL-014"], tag(30, arr(num(n), num(d))), meaning)
    wrong = (
        ("denominator-0", arr(num(1), num(0))),
        ("negative-denominator", arr(num(1), num(-1))),
        ("denominator-0-under-a-tag", arr(num(1), tag(2, byt(b"")))),
        ("float", arr(f64(1.0), num(2))),
        ("boolean", arr(num(1), TRUE)),
        ("one-part", arr(num(1))),
        ("three-parts", arr(num(1), num(2), num(3))),
        ("no-array", txt("1/2")),
    )
    for name, content in wrong:
        yield refused(f"tag-30/{name}", ["TW-VAL-011"], tag(30, content))


def bytes_of_a_length() -> Iterator[Vector]:
    """Tags 37, 52 and 54."""
    for number, kind, length in ((37, "uuid", 16), (52, "ipv4", 4), (54, "ipv6", 16)):
        for content in (bytes(range(length)), b"\xff" * length):
            meaning: Json = {kind: content.hex()}
            yield taken(f"tag-{number}/{content.hex()}", ["TW-VAL-011"], tag(number, byt(content)), meaning)
        for other in (0, length - 1, length + 1):
            yield refused(f"tag-{number}/{other}-bytes", ["TW-VAL-011"], tag(number, byt(bytes(other))))
        for what, inner in (
            ("text", txt("x" * length)),
            ("integer", num(1)),
            ("prefix", arr(num(8), byt(b"\1"))),
        ):
            yield refused(f"tag-{number}/of-{what}", ["TW-VAL-011"], tag(number, inner))


def sets() -> Iterator[Vector]:
    """Tag 258."""
    right: Sequence[tuple[str, Sequence[bytes], list[Json]]] = (
        ("empty", (), []),
        ("numbers", (num(2), num(1)), [1, 2]),
        ("types", (num(1), txt("1"), byt(b"1"), NULL), ["1", 1, None, {"bytes": "31"}]),
        ("arrays", (arr(num(1)), arr(num(2))), [[1], [2]]),
        ("maps", (mp((num(1), arr())),), [{"map": [[1, []]]}]),
        ("sets", (tag(258, arr(num(1))), tag(258, arr())), [{"set": [1]}, {"set": []}]),
        ("nan-twice", (f64(float("nan")), f64(float("nan"))), [float_of(float("nan"))] * 2),
    )
    for name, members, said in right:
        meaning: Json = {"set": sorted(said, key=ascii_json)}
        yield taken(f"tag-258/{name}", ["TW-VAL-013"], tag(258, arr(*members)), meaning)
    for name, members in (
        ("integer-twice", (num(1), num(1))),
        ("integer-and-float", (num(1), f64(1.0))),
        ("true-and-1", (TRUE, num(1))),
        ("false-and-0", (FALSE, num(0))),
        ("arrays-twice", (arr(num(1)), arr(num(1)))),
        ("maps-twice", (mp((num(1), num(1))), mp((num(1), num(1))))),
        ("sets-twice", (tag(258, arr(num(1), num(2))), tag(258, arr(num(2), num(1))))),
    ):
        yield refused(f"tag-258/{name}", ["TW-VAL-013", "TW-VAL-016"], tag(258, arr(*members)))
    for what, content in (("map", mp()), ("integer", num(1)), ("text", txt("a")), ("set", tag(258, arr()))):
        yield refused(f"tag-258/of-{what}", ["TW-VAL-011"], tag(258, content))


def durations() -> Iterator[Vector]:
    """Tag 60003."""
    for parts in (
        (0, 0, 0),
        (1, 2, 3),
        (-1, 86_399, 999_999),
        (999_999_999, 86_399, 999_999),
        (-999_999_999, 0, 0),
    ):
        name = "-".join(map(str, parts))
        yield taken(
            f"tag-60003/{name}", ["TW-VAL-011"], tag(60003, arr(*map(num, parts))), {"duration": list(parts)}
        )
    data = tag(60003, arr(tag(3, byt(b"\1")), num(0), num(0)))
    yield taken("tag-60003/days-under-a-tag", ["TW-VAL-018"], data, {"duration": [-2, 0, 0]})
    wrong: Sequence[tuple[str, bytes]] = (
        ("too-many-days", arr(num(1_000_000_000), num(0), num(0))),
        ("too-few-days", arr(num(-1_000_000_000), num(0), num(0))),
        ("a-day-of-seconds", arr(num(0), num(86_400), num(0))),
        ("negative-seconds", arr(num(0), num(-1), num(0))),
        ("a-second-of-microseconds", arr(num(0), num(0), num(1_000_000))),
        ("negative-microseconds", arr(num(0), num(0), num(-1))),
        ("float", arr(f64(1.0), num(0), num(0))),
        ("boolean", arr(num(0), TRUE, num(0))),
        ("two-parts", arr(num(0), num(0))),
        ("four-parts", arr(num(0), num(0), num(0), num(0))),
        ("no-array", num(5)),
    )
    for name, content in wrong:
        yield refused(f"tag-60003/{name}", ["TW-VAL-011"], tag(60003, content))


def forbidden() -> Iterator[Vector]:
    """Every other tag."""
    for number in (
        *(
            1,
            5,
            6,
            21,
            22,
            23,
            24,
            25,
            28,
            29,
            31,
            32,
            33,
            34,
            35,
            36,
            38,
            43,
            53,
            64,
            100,
            256,
            257,
            259,
            260,
        ),
        *(261, 1003, 43000, 55799, 59999, 60005, 65535, 1 << 32, (1 << 64) - 1),
    ):
        yield refused(f"forbidden-tag/{number}", ["TW-VAL-002"], tag(number, num(1)), "FORBIDDEN_TAG")
    yield refused("forbidden-tag/in-a-map", ["TW-VAL-002"], mp((num(1), tag(32, txt("x")))), "FORBIDDEN_TAG")
    yield refused("forbidden-tag/in-a-key", ["TW-VAL-002"], mp((tag(32, txt("x")), num(1))), "FORBIDDEN_TAG")
    yield refused(
        "forbidden-tag/under-a-tag", ["TW-VAL-002"], tag(4, arr(tag(1, num(1)), num(1))), "FORBIDDEN_TAG"
    )
    yield refused("forbidden-tag/no-content", ["TW-VAL-001"], b"\xc2")


def vectors() -> Iterator[Vector]:
    """All of this file."""
    for part in (texts, big_integers, fractions, bytes_of_a_length, sets, durations, forbidden):
        yield from part()
