"""The vectors of batches, of limits at their bounds and beyond, of ITEMS payloads and of streams of bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from telewire_spec.meaning import Json
from telewire_spec.vectors.build import (
    NULL,
    UNDEFINED,
    Vector,
    arr,
    byt,
    f16,
    f64,
    head,
    mp,
    num,
    tag,
    txt,
)
from telewire_spec.vectors.table_frames import bad, good

__all__ = ["vectors"]

PING = arr(num(4), num(1))
PONG = arr(num(5), num(1))
PING_SAID: Json = {"frame": "PING", "number": 1}
PONG_SAID: Json = {"frame": "PONG", "number": 1}


def _batch(
    name: str,
    rules: Sequence[str],
    data: bytes,
    meaning: Json = None,
    error: str | None = None,
    others: Sequence[str] = (),
    limits: Mapping[str, int] | None = None,
) -> Vector:
    return Vector(
        id=f"batch/{name}",
        rules=rules,
        kind="batch",
        data=data,
        meaning=meaning,
        error=error,
        others=others,
        limits=limits or {},
    )


# ---- batches --------------------------------------------------------------------------------------


def batches() -> Iterator[Vector]:
    """What is a batch and what is none."""
    one, two = ["TW-FRM-001"], ["TW-FRM-001", "TW-FRM-021"]
    yield _batch("one-frame", one, arr(PING), [PING_SAID])
    yield _batch("two-frames", ["TW-FRM-001", "TW-MOD-004"], arr(PING, PONG), [PING_SAID, PONG_SAID])
    for width in (1, 2, 4, 8):
        yield _batch(f"longer-head/{width}", two, arr(PING, width=width), [PING_SAID])
    yield _batch("24-frames", one, arr(*[PING] * 24), [PING_SAID] * 24)
    wrong: Sequence[tuple[str, bytes]] = (
        ("nothing", b""),
        ("no-frames", arr()),
        ("byte-behind", arr(PING) + b"\0"),
        ("batch-behind", arr(PING) + arr(PING)),
        ("cut-in-the-head", b"\x99\x00"),
        ("cut-in-the-head-of-many", b"\x9a\xff\xff"),
        ("cut-before-a-frame", head(4, 2) + PING),
        ("cut-in-a-frame", arr(PING)[:-1]),
        ("indefinite", b"\x9f" + PING + b"\xff"),
        ("indefinite-frame", b"\x81\x9f\x04\x01\xff"),
        ("indefinite-payload", b"\x81\x84\x15\x00\x00\x5f\x41a\xff"),
        ("indefinite-extension-map", b"\x81\x83\x04\x01\xbf\xff"),
        ("break", b"\xff"),
        ("reserved-head", b"\x9c" + PING),
        ("reserved-head-inside", b"\x81\x82\x04\x1c"),
        ("text-of-no-utf-8", arr(arr(num(27), num(0), b"\x61\xff"))),
        ("text-of-a-surrogate", arr(arr(num(27), num(0), b"\x63\xed\xa0\x80"))),
        ("name-of-no-utf-8", arr(arr(num(16), num(0), b"\x61\xff", num(0), num(0), byt(b"")))),
        ("number-cut", b"\x81\x82\x04\x1b\x00\x00"),
        ("payload-longer-than-all", b"\x81\x84\x15\x00\x00\x5b" + b"\xff" * 8),
        ("integer", num(1)),
        ("text", txt("PING")),
        ("bytes", byt(arr(PING))),
        ("map", mp((num(4), num(1)))),
        ("null", NULL),
        ("float", f64(1.0)),
        ("a-frame-alone-is-a-batch-of-none", txt("x")),
    )
    for name, data in wrong:
        rules = ["TW-FRM-022"] if "indefinite" in name or "utf" in name else ["TW-FRM-001"]
        yield _batch(name, rules, data, error="MALFORMED")
    for name, data in (
        ("frame-is-integer", arr(num(4))),
        ("frame-is-text", arr(txt("PING"))),
        ("frame-is-map", arr(mp((num(4), num(1))))),
        ("frame-is-bytes", arr(byt(PING))),
        ("frame-is-null", arr(PING, NULL)),
        ("frame-is-empty", arr(arr())),
        ("frame-inside-a-frame", arr(arr(PING))),
    ):
        yield _batch(name, ["TW-FRM-023"], data, error="INVALID_FRAME")
    yield _batch("second-frame-is-wrong", ["TW-FRM-006"], arr(PING, arr(num(4))), error="INVALID_FRAME")
    first_is_right = arr(PING, arr(num(4), tag(1, num(1))))
    yield _batch(
        "second-frame-has-a-tag", ["TW-FRM-022"], first_is_right, None, "FORBIDDEN_TAG", ["INVALID_FRAME"]
    )
    both = arr(arr(num(4)), arr(num(21), num(0), num(2), byt(b"x")))
    yield _batch("two-rules", ["TW-FRM-008"], both, None, "INVALID_FRAME", ["UNSUPPORTED"])


def forbidden() -> Iterator[Vector]:
    """Tags, undefined and the like, wherever they stand outside payloads."""
    tags: Sequence[tuple[str, bytes]] = (
        ("on-the-batch", tag(55799, arr(PING))),
        ("on-a-frame", arr(tag(0, PING))),
        ("on-a-number", arr(arr(num(4), tag(2, byt(b"\1"))))),
        ("on-a-payload", arr(arr(num(21), num(0), num(0), tag(24, byt(b"x"))))),
        (
            "in-declarations",
            arr(arr(num(17), num(0), num(0), num(0), byt(b""), arr(arr(num(0), tag(9, num(1)))))),
        ),
        ("in-an-extension", arr(arr(num(4), num(1), mp((num(14), tag(0, txt("2026-01-02T03:04:05Z"))))))),
        ("in-an-unassigned-frame", arr(arr(num(8), tag(258, arr())))),
        ("unknown", arr(arr(num(8), tag((1 << 64) - 1, NULL)))),
    )
    for name, data in tags:
        yield _batch(
            f"tag/{name}", ["TW-FRM-022"], data, None, "FORBIDDEN_TAG", ["INVALID_FRAME", "MALFORMED"]
        )
    payload = arr(arr(num(21), num(0), num(0), byt(tag(55799, b"\xff"))))
    said: Json = [{"frame": "CHUNK", "stream": 0, "flags": 0, "payload": "d9d9f7ff"}]
    yield _batch("tag/inside-a-payload", ["TW-MOD-005", "TW-FRM-022"], payload, said)
    for label, item in (("undefined", UNDEFINED), ("simple-0", b"\xe0"), ("simple-255", b"\xf8\xff")):
        for name, data in (
            ("as-number", arr(arr(num(4), item))),
            ("in-an-extension", arr(arr(num(4), num(1), mp((num(14), arr(item)))))),
            ("as-key-in-an-extension", arr(arr(num(4), num(1), mp((num(14), mp((item, num(1)))))))),
            ("in-an-unassigned-frame", arr(arr(num(8), item))),
            ("as-session", arr(arr(num(0), num(1), num(1), arr(), mp(), item, item))),
        ):
            yield _batch(f"{label}/{name}", ["TW-FRM-022"], data, error="INVALID_FRAME")
    for number in (20, 22, 24, 31):
        data = arr(arr(num(0), num(1), num(1), arr(), mp(), bytes([0xF8, number]), NULL))
        yield _batch(f"simple-in-two-bytes/{number}", ["TW-FRM-026"], data, error="MALFORMED")
    keys: Sequence[tuple[str, bytes, bytes]] = (
        ("integers", num(14), num(14, 8)),
        ("integer-and-float-inside", num(1), f64(1.0)),
        ("true-and-1-inside", b"\xf5", num(1)),
        ("zeros-inside", f16(0), f64(-0.0)),
        ("arrays-inside", arr(num(1)), arr(f64(1.0))),
    )
    for name, first, second in keys:
        same = mp((first, NULL), (second, NULL))
        inner = same if name == "integers" else mp((num(14), same))
        yield _batch(
            f"same-key/{name}",
            ["TW-FRM-022", "TW-FRM-025"],
            arr(arr(num(4), num(1), inner)),
            error="DUPLICATE_KEY",
        )
    unassigned = arr(arr(num(64), mp((txt("a"), NULL), (txt("a"), NULL))))
    yield _batch("same-key/in-an-unassigned-frame", ["TW-FRM-037"], unassigned, error="DUPLICATE_KEY")


# ---- limits ---------------------------------------------------------------------------------------


def _chunk(payload: bytes) -> tuple[bytes, Json]:
    said: Json = {"frame": "CHUNK", "stream": 0, "flags": 0, "payload": payload.hex()}
    return arr(num(21), num(0), num(0), byt(payload)), said


def limits() -> Iterator[Vector]:
    """Every limit that bytes alone can pass: at the bound, and one beyond."""
    rule = "TW-LIM-005"
    for most in (1024, 2048):
        data, said = _chunk(b"x" * most)
        yield good(f"limit/fragment-bytes/{most}", ["TW-FRM-048", rule], data, said, fragment_bytes=most)
        data, _ = _chunk(b"x" * (most + 1))
        yield bad(f"limit/fragment-bytes/{most}-and-one", ["TW-FRM-048", rule], data, fragment_bytes=most)
    rules = ["TW-FRM-002", rule]
    chunk, said = _chunk(b"x" * 2040)
    whole = arr(chunk)
    bound = {"batch_bytes": len(whole)}
    yield _batch("limit/batch-bytes/at", rules, whole, [said], limits=bound)
    longer = arr(_chunk(b"x" * 2041)[0])
    yield _batch("limit/batch-bytes/beyond", rules, longer, None, "BATCH_TOO_LARGE", (), bound)
    rubbish = b"\xff" * (len(whole) + 1)
    yield _batch(
        "limit/batch-bytes/before-decoding",
        [*rules, "TW-FRM-008"],
        rubbish,
        None,
        "BATCH_TOO_LARGE",
        (),
        bound,
    )
    for most in (1, 2, 23, 24, 256):
        few: Json = [PING_SAID] * most
        label = f"limit/batch-frames/{most}"
        yield _batch(label, rules, arr(*[PING] * most), few, limits={"batch_frames": most})
        many = arr(*[PING] * (most + 1))
        yield _batch(f"{label}-and-one", rules, many, None, "BATCH_TOO_LARGE", (), {"batch_frames": most})
    announced = head(4, 16385) + PING
    yield _batch("limit/batch-frames/announced", rules, announced, None, "BATCH_TOO_LARGE", ["MALFORMED"])
    for most, name in ((4, "name"), (5, "näme"), (1024, "n" * 1024), (0, "")):
        call = arr(num(16), num(0), txt(name), num(0), num(0), byt(b""))
        said = {"frame": "CALL", "stream": 0, "target": name, "flags": 0, "size": 0, "payload": ""}
        yield good(f"limit/name-bytes/{most}", ["TW-FRM-036", rule], call, said, name_bytes=most)
        longer = arr(num(16), num(0), txt(name + "x"), num(0), num(0), byt(b""))
        yield bad(
            f"limit/name-bytes/{most}-and-one",
            ["TW-FRM-036", rule],
            longer,
            "LIMIT_EXCEEDED",
            name_bytes=most,
        )
    yield from _reasons(rule)
    yield from _metadata(rule)
    for most in (1, 2, 1000):
        declared = [arr(num(n), num(1)) for n in range(most + 1)]
        end = [num(17), num(0), num(0), num(0), byt(b"")]
        said = {
            **{"frame": "END", "stream": 0, "flags": 0, "size": 0, "payload": ""},
            "declarations": [[n, 1] for n in range(most)],
        }
        rules = ["TW-FRM-063", rule]
        yield good(f"limit/references/{most}", rules, arr(*end, arr(*declared[:-1])), said, references=most)
        beyond = arr(*end, arr(*declared))
        yield bad(f"limit/references/{most}-and-one", rules, beyond, "LIMIT_EXCEEDED", references=most)
    yield bad(
        "limit/references/none", ["TW-FRM-063"], arr(*end, arr(declared[0])), "LIMIT_EXCEEDED", references=0
    )
    rules = ["TW-FRM-022", "TW-VAL-004"]
    for most in (0, 1, 4, 64):
        inside: Json = 1
        value = num(1)
        for _ in range(most):
            inside, value = [inside], arr(value)
        ping = [num(4), num(1)]
        said = {**{"frame": "PING", "number": 1}, "extensions": [[14, inside]]}
        yield good(f"limit/nesting/{most}", rules, arr(*ping, mp((num(14), value))), said, nesting=most)
        beyond = arr(*ping, mp((num(14), arr(value))))
        yield bad(f"limit/nesting/{most}-and-one", rules, beyond, "NESTING_TOO_DEEP", nesting=most)
    data = arr(num(4), num(1), mp((num(14), arr())))
    yield bad("limit/nesting/empty-array", rules, data, "NESTING_TOO_DEEP", nesting=0)


def _reasons(rule: str) -> Iterator[Vector]:
    for kind, name in ((23, "STOP"), (24, "RESET")):
        for most in (0, 8, 16384):
            said: Json = {"frame": name, "stream": 0, "code": 5, "payload": "78" * most}
            label = f"limit/reason-bytes/{name.lower()}-{most}"
            data = arr(num(kind), num(0), num(5), byt(b"x" * most))
            yield good(label, ["TW-FRM-051", rule], data, said, reason_bytes=most)
            data = arr(num(kind), num(0), num(5), byt(b"x" * (most + 1)))
            yield bad(f"{label}-and-one", ["TW-FRM-051", rule], data, "LIMIT_EXCEEDED", reason_bytes=most)
    for kind, name in ((26, "GOAWAY"), (27, "CLOSE")):
        fields = [num(kind), *([num(0)] if kind == 26 else []), num(0)]
        said = {"frame": name, **({"calls": 0} if kind == 26 else {}), "code": 0, "text": "äääx"}
        label = f"limit/reason-bytes/{name.lower()}-7"
        yield good(label, ["TW-FRM-051", rule], arr(*fields, txt("äääx")), said, reason_bytes=7)
        data = arr(*fields, txt("ääää"))
        yield bad(f"{label}-and-one", ["TW-FRM-051", rule], data, "LIMIT_EXCEEDED", reason_bytes=7)


def _metadata(rule: str) -> Iterator[Vector]:
    rules = ["TW-FRM-073", rule]
    for name, value, said, length in (
        ("text", txt("x" * 20), "x" * 20, 23),
        ("longer-heads-count-as-shortest", txt("x" * 20, 8), "x" * 20, 23),
        ("half-counts-as-double", f16(0x3E00), {"float": "3ff8000000000000"}, 11),
        ("nan-counts-as-double", f16(0x7E00), {"float": "nan"}, 11),
        ("infinity-counts-as-double", f16(0xFC00), {"float": "fff0000000000000"}, 11),
        ("integers", arr(num(255), num(1, 8)), [255, 1], 6),
    ):
        data = arr(num(4), num(1), mp((num(14), value), width=1))
        meaning: Json = {**{"frame": "PING", "number": 1}, "extensions": [[14, said]]}
        yield good(f"limit/metadata-bytes/{name}", rules, data, meaning, metadata_bytes=length)
        yield bad(
            f"limit/metadata-bytes/{name}-beyond", rules, data, "LIMIT_EXCEEDED", metadata_bytes=length - 1
        )
    # The head of the map, the key and the head of the byte string take five bytes.
    exact, longer = (arr(num(4), num(1), mp((num(14), byt(b"x" * n)))) for n in (8187, 8188))
    meaning = {**{"frame": "PING", "number": 1}, "extensions": [[14, {"bytes": "78" * 8187}]]}
    yield good("limit/metadata-bytes/8192", rules, exact, meaning)
    yield bad("limit/metadata-bytes/8192-beyond", rules, longer, "LIMIT_EXCEEDED")


# ---- payloads of ITEMS, and streams of bytes ------------------------------------------------------


def items() -> Iterator[Vector]:
    """Arrays of items, of the right number and of another."""

    def case(
        name: str, data: bytes, count: int, meaning: Json, reason: str = "", nesting: int = 64
    ) -> Vector:
        return Vector(
            id=f"items/{name}",
            rules=["TW-FRM-042", "TW-VAL-022", *(["TW-ERR-032"] if reason else [])],
            kind="items",
            data=data,
            count=count,
            meaning=meaning,
            error="MALFORMED_VALUE" if reason else None,
            reason=reason or None,
            limits={} if nesting == 64 else {"nesting": nesting},
        )

    wrong = "MALFORMED_VALUE"
    yield case("one", arr(num(1)), 1, [1])
    yield case("three", arr(num(1), txt("a"), mp()), 3, [1, "a", {"map": []}])
    yield case("longer-head", arr(num(1), width=2), 1, [1])
    yield case("256", arr(*[num(0)] * 256), 256, [0] * 256)
    yield case("depth-of-each", arr(b"\x81" * 2 + num(1), arr(arr())), 2, [[[1]], [[]]], nesting=2)
    yield case("depth-beyond", arr(b"\x81" * 3 + num(1)), 1, None, "NESTING_TOO_DEEP", 2)
    yield case("scalars-where-nothing-nests", arr(num(1)), 1, [1], nesting=0)
    yield case("too-few", arr(num(1)), 2, None, wrong)
    yield case("too-many", arr(num(1), num(2)), 1, None, wrong)
    yield case("none", arr(), 1, None, wrong)
    yield case("empty", b"", 1, None, wrong)
    yield case("no-array", num(1), 1, None, wrong)
    yield case("map", mp((num(1), num(2))), 1, None, wrong)
    yield case("bytes-behind", arr(num(1)) + num(1), 1, None, wrong)
    yield case("cut", head(4, 2) + num(1), 2, None, wrong)
    yield case("indefinite", b"\x9f\x01\xff", 1, None, wrong)
    yield case("last-is-undefined", arr(num(1), UNDEFINED), 2, None, wrong)
    yield case(
        "last-has-a-key-twice", arr(num(1), mp((num(1), NULL), (num(1), NULL))), 2, None, "DUPLICATE_KEY"
    )
    yield case("reference", arr(tag(60000, num(0))), 1, None, wrong)
    yield case("tag", arr(tag(1, num(0))), 1, None, "FORBIDDEN_TAG")


def streams() -> Iterator[Vector]:
    """Batches on a transport of bytes."""

    def case(
        name: str, data: bytes, batches: Sequence[bytes], waiting: int, error: str = "", most: int = 262144
    ) -> Vector:
        return Vector(
            id=f"stream/{name}",
            rules=["TW-FRM-003"],
            kind="stream",
            data=data,
            meaning=None if error else {"batches": [batch.hex() for batch in batches], "waiting": waiting},
            error=error or None,
            limits={} if most == 262144 else {"batch_bytes": most},
        )

    one = arr(PING)
    yield case("nothing", b"", [], 0)
    yield case("one-batch", byt(one), [one], 0)
    yield case("two-batches", byt(one) + byt(arr(PONG)), [one, arr(PONG)], 0)
    for width in (1, 2, 4, 8):
        yield case(f"longer-head/{width}", byt(one, width), [one], 0)
    yield case("empty-batch", byt(b"") + byt(one), [b"", one], 0)
    yield case("what-is-inside-does-not-matter", byt(b"\xff\xff"), [b"\xff\xff"], 0)
    yield case("waits-for-a-byte", byt(one) + byt(one)[:-1], [one], len(one))
    yield case("waits-for-a-body", byt(one) + b"\x44", [one], 1)
    yield case("waits-for-a-head", b"\x5a\x00\x00", [], 3)
    yield case("waits-though-the-length-is-known", b"\x5b\xff\xff", [], 3)
    for first in (0x00, 0x20, 0x60, 0x80, 0xA0, 0xC2, 0xF6, 0x5C, 0x5D, 0x5E, 0x5F, 0xFF):
        yield case(f"starts-with/{first:02x}", bytes([first]), [], 0, "MALFORMED")
        yield case(f"goes-on-with/{first:02x}", byt(one) + bytes([first]), [], 0, "MALFORMED")
    bound = arr(_chunk(b"x" * 2040)[0])
    yield case("at-the-bound", byt(bound), [bound], 0, most=len(bound))
    yield case("beyond", head(2, len(bound) + 1), [], 0, "BATCH_TOO_LARGE", len(bound))
    yield case("at-the-default", head(2, 262144) + b"x", [], 6)
    yield case("beyond-the-default", head(2, 262145), [], 0, "BATCH_TOO_LARGE")
    yield case("2^64-1", head(2, (1 << 64) - 1), [], 0, "BATCH_TOO_LARGE")
    yield case("beyond-after-a-batch", byt(one) + head(2, 1 << 32), [], 0, "BATCH_TOO_LARGE")


def vectors() -> Iterator[Vector]:
    """All of this file."""
    for part in (batches, forbidden, limits, items, streams):
        yield from part()
