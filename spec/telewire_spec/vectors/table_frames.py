"""The vectors of frames: each type, each of its fields at its bounds, beyond them, and of another type."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from telewire_spec.meaning import Json
from telewire_spec.vectors.build import (
    FALSE,
    NULL,
    TOP,
    TRUE,
    Vector,
    arr,
    byt,
    f64,
    mp,
    num,
    txt,
)

__all__ = ["bad", "good", "vectors"]

TYPES: Final = {
    **{"HELLO": 0, "RESUME": 1, "RESUMED": 2, "ACK": 3, "PING": 4, "PONG": 5, "POSITION": 6},
    **{"CALL": 16, "END": 17, "ERROR": 18, "ITEM": 19, "ITEMS": 20, "CHUNK": 21, "FRAGMENT": 22},
    **{"STOP": 23, "RESET": 24, "GRANT": 25, "GOAWAY": 26, "CLOSE": 27},
}
PAYLOAD: Final = (("flags", 0), ("size", 1), ("payload", b"\x01"))
# Each frame with fields that are right; the loops below change one at a time.
FRAMES: Final[dict[str, tuple[tuple[str, object], ...]]] = {
    "HELLO": (
        *(("version_min", 1), ("version_max", 1), ("features", [1])),
        *(("limits", {0: 65536}), ("session", b"id"), ("token", b"secret")),
    ),
    "RESUME": (("session", b"id"), ("token", b"secret"), ("attempt", 1), ("received", 2)),
    "RESUMED": (("attempt", 1), ("received", 2)),
    "ACK": (("received", 2),),
    "PING": (("number", 1),),
    "PONG": (("number", 1),),
    "POSITION": (("position", 3),),
    "CALL": (("stream", 0), ("target", "f"), *PAYLOAD),
    "END": (("stream", -1), *PAYLOAD),
    "ERROR": (("stream", -1), ("code", 1), *PAYLOAD),
    "ITEM": (("stream", 0), *PAYLOAD),
    "ITEMS": (("stream", 0), ("flags", 0), ("count", 1), ("payload", b"\x81\x01")),
    "CHUNK": (("stream", 0), ("flags", 0), ("payload", b"x")),
    "FRAGMENT": (("stream", 0), ("flags", 0), ("payload", b"x")),
    "STOP": (("stream", 0), ("code", 5), ("payload", b"")),
    "RESET": (("stream", 0), ("code", 5), ("payload", b"")),
    "GRANT": (("stream", 0), ("limit", 65536)),
    "GOAWAY": (("calls", 7), ("code", 0), ("text", "bye")),
    "CLOSE": (("code", 0), ("text", "bye")),
}
DECLARING: Final = ("CALL", "END", "ERROR", "ITEM", "FRAGMENT")
SIZED: Final = ("CALL", "END", "ERROR", "ITEM")
LAYOUT: Final = "TW-FRM-023"


def _encode(value: object) -> bytes:
    if isinstance(value, int):
        return num(value)
    if isinstance(value, str):
        return txt(value)
    if isinstance(value, bytes):
        return byt(value)
    if isinstance(value, list):
        return arr(*map(_encode, value))
    if isinstance(value, dict):
        return mp(*((_encode(key), _encode(part)) for key, part in value.items()))
    return NULL


def _say(value: object) -> Json:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return [[key, part] for key, part in value.items()]
    if isinstance(value, int | str | list) or value is None:
        return value
    raise TypeError(f"A field is no {type(value).__name__}.")


def _parts(name: str, **changed: object) -> list[bytes]:
    fields = {**dict(FRAMES[name]), **changed}
    return [num(TYPES[name]), *map(_encode, fields.values())]


def _meaning(name: str, **changed: object) -> dict[str, Json]:
    fields = {**dict(FRAMES[name]), **changed}
    return {"frame": name, **{field: _say(value) for field, value in fields.items()}}


def good(name: str, rules: Sequence[str], data: bytes, meaning: Json, **limits: int) -> Vector:
    """A frame that is taken."""
    return Vector(id=f"frame/{name}", rules=rules, kind="frame", data=data, meaning=meaning, limits=limits)


def bad(
    name: str,
    rules: Sequence[str],
    data: bytes,
    error: str = "INVALID_FRAME",
    others: Sequence[str] = (),
    **limits: int,
) -> Vector:
    """A frame that closes the connection."""
    return Vector(
        id=f"frame/{name}", rules=rules, kind="frame", data=data, error=error, others=others, limits=limits
    )


def _frame(name: str, *tail: bytes, **changed: object) -> bytes:
    return arr(*_parts(name, **changed), *tail)


# ---- one field at a time --------------------------------------------------------------------------

WRONG: Final = (
    *(("text", txt("1")), ("bytes", byt(b"1")), ("null", NULL), ("true", TRUE), ("float", f64(1.0))),
    *(("array", arr()), ("map", mp())),
)
NEGATIVE: Final = frozenset({"stream", "target"})
OPEN_TYPES: Final[dict[str, frozenset[str]]] = {
    "text": frozenset({"target", "text"}),
    "bytes": frozenset({"payload", "session", "token"}),
    "null": frozenset({"session", "token"}),
    "array": frozenset({"features"}),
    "map": frozenset({"limits"}),
}


def layouts() -> Iterator[Vector]:
    """Each frame as it should be, cut, too long, and with each field of another type."""
    for name, fields in FRAMES.items():
        label = name.lower()
        yield good(f"{label}/plain", [LAYOUT], _frame(name), _meaning(name))
        yield bad(f"{label}/a-field-too-few", [LAYOUT], arr(*_parts(name)[:-1]))
        yield bad(f"{label}/type-alone", [LAYOUT], arr(num(TYPES[name])))
        yield bad(f"{label}/a-field-too-many", [LAYOUT], _frame(name, num(0)))
        longer = arr(num(TYPES[name], 2), *_parts(name)[1:], width=1)
        yield good(f"{label}/longer-heads", ["TW-FRM-021"], longer, _meaning(name))
        extended: Json = {**_meaning(name), "extensions": [[14, "x"]]}
        tail = mp((num(14), txt("x")))
        yield good(f"{label}/extension", ["TW-FRM-070", "TW-FRM-071"], _frame(name, tail), extended)
        empty = {**_meaning(name), "extensions": []}
        yield good(f"{label}/empty-extension-map", ["TW-FRM-070"], _frame(name, mp()), empty)
        yield bad(f"{label}/extension-map-twice", [LAYOUT], _frame(name, mp(), mp()))
        yield bad(f"{label}/extension-map-first", [LAYOUT], arr(num(TYPES[name]), mp(), *_parts(name)[1:]))
        if name not in DECLARING:
            yield bad(f"{label}/declares", [LAYOUT], _frame(name, arr(arr(num(0), num(1)))))
        for index, (field, value) in enumerate(fields, 1):
            yield from _field(name, index, field, value)


def _field(name: str, index: int, field: str, value: object) -> Iterator[Vector]:
    label = f"{name.lower()}/{field.replace('_', '-')}"
    for what, other in WRONG:
        if field in OPEN_TYPES.get(what, ()) or (field == "flags" and what != "text"):
            continue
        parts = _parts(name)
        parts[index] = other
        yield bad(f"{label}/{what}", [LAYOUT], arr(*parts))
    if not isinstance(value, int) and field != "target":
        return
    for number in (1 << 53, -1, -(1 << 53) - 1, (1 << 64) - 1):
        if number == -1 and field in NEGATIVE and name != "CALL":
            continue
        if number == -1 and field == "target":
            continue
        rule = "TW-FRM-012" if name == "CALL" and field == "stream" else "TW-FRM-011"
        parts = _parts(name)
        parts[index] = num(number)
        yield bad(f"{label}/{number}", [rule], arr(*parts))
    for number in (0, TOP, *((-1, -TOP - 1) if field in NEGATIVE else ())):
        allowed = field not in ("flags", "size", "count", "version_min", "version_max")
        if allowed and not (number < 0 and name == "CALL" and field == "stream"):
            rules = ["TW-FRM-010", "TW-FRM-011"]
            yield good(
                f"{label}/{number}", rules, _frame(name, **{field: number}), _meaning(name, **{field: number})
            )


# ---- hello ----------------------------------------------------------------------------------------


def hellos() -> Iterator[Vector]:
    """Versions, features, limits and identity."""
    plain: dict[str, object] = {"session": None, "token": None}
    cases: Sequence[tuple[str, str, dict[str, object]]] = (
        ("of-a-client", "TW-NEG-011", plain),
        ("versions", "TW-NEG-020", {**plain, "version_min": 0, "version_max": TOP}),
        ("no-features", "TW-NEG-030", {**plain, "features": []}),
        ("features-twice-and-unknown", "TW-NEG-030", {**plain, "features": [9, 1, 1, 65280]}),
        ("no-limits", "TW-NEG-041", {**plain, "limits": {}}),
        ("unknown-limits", "TW-NEG-041", {**plain, "limits": {99: 0, 65280: TOP}}),
        ("all-limits", "TW-NEG-040", {**plain, "limits": dict.fromkeys(range(16), 4096)}),
        ("empty-identity", "TW-NEG-011", {"session": b"", "token": b""}),
    )
    for name, rule, changed in cases:
        yield good(f"hello/{name}", [rule], _frame("HELLO", **changed), _meaning("HELLO", **changed))
    unsorted = _parts("HELLO")
    unsorted[4] = mp((num(3), num(4096)), (num(0), num(65536)))
    yield good(
        "hello/limits-in-any-order",
        ["TW-FRM-021", "TW-FRM-025"],
        arr(*unsorted),
        _meaning("HELLO", limits={0: 65536, 3: 4096}),
    )
    yield bad("hello/versions-crossed", ["TW-NEG-020"], _frame("HELLO", version_min=2))
    yield bad("hello/session-without-token", ["TW-NEG-011"], _frame("HELLO", token=None))
    yield bad("hello/token-without-session", ["TW-NEG-011"], _frame("HELLO", session=None))
    wrong: Sequence[tuple[str, int, bytes]] = (
        ("negative-feature", 3, arr(num(-1))),
        ("feature-of-2^53", 3, arr(num(1 << 53))),
        ("feature-is-text", 3, arr(txt("resume"))),
        ("limit-under-a-text", 4, mp((txt("nesting"), num(1)))),
        ("limit-under-a-negative", 4, mp((num(-1), num(1)))),
        ("negative-limit", 4, mp((num(0), num(-1)))),
        ("limit-of-2^53", 4, mp((num(0), num(1 << 53)))),
        ("limit-is-null", 4, mp((num(0), NULL))),
        ("limit-is-float", 4, mp((num(0), f64(65536.0)))),
    )
    for name, index, part in wrong:
        parts = _parts("HELLO")
        parts[index] = part
        yield bad(f"hello/{name}", ["TW-NEG-041" if index == 4 else "TW-FRM-011"], arr(*parts))
    parts = _parts("HELLO")
    parts[4] = mp((num(0), num(65536)), (num(0, 1), num(65536)))
    yield bad("hello/limit-twice", ["TW-FRM-022", "TW-FRM-025"], arr(*parts), "DUPLICATE_KEY")


# ---- payloads -------------------------------------------------------------------------------------


def payloads() -> Iterator[Vector]:
    """Flags, sizes, counts and declarations."""
    for name in SIZED:
        label = name.lower()
        begun = {"flags": 1, "size": 2}
        yield good(f"{label}/begun", ["TW-FRM-043"], _frame(name, **begun), _meaning(name, **begun))
        far = {"flags": 1, "size": TOP}
        yield good(f"{label}/begun-of-2^53-1", ["TW-FRM-043"], _frame(name, **far), _meaning(name, **far))
        none = {"size": 0, "payload": b""}
        yield good(f"{label}/empty", ["TW-FRM-043"], _frame(name, **none), _meaning(name, **none))
        for size in (0, 2):
            yield bad(f"{label}/size-{size}-of-1", ["TW-FRM-043"], _frame(name, size=size))
        yield bad(f"{label}/begun-and-whole", ["TW-FRM-043"], _frame(name, flags=1, size=1))
        yield bad(f"{label}/begun-with-nothing", ["TW-FRM-043"], _frame(name, flags=1, size=2, payload=b""))
        yield bad(
            f"{label}/begun-and-declares", ["TW-FRM-044"], _frame(name, arr(arr(num(1), num(1))), **begun)
        )
    more = {"flags": 1}
    yield good("fragment/more", ["TW-FRM-045"], _frame("FRAGMENT", **more), _meaning("FRAGMENT", **more))
    yield bad(
        "fragment/more-and-declares", ["TW-FRM-044"], _frame("FRAGMENT", arr(arr(num(1), num(1))), **more)
    )
    yield bad("fragment/empty", ["TW-FRM-045"], _frame("FRAGMENT", payload=b""))
    yield bad("chunk/empty", ["TW-FRM-049"], _frame("CHUNK", payload=b""))
    yield bad("items/empty", ["TW-FRM-049"], _frame("ITEMS", payload=b""))
    yield bad("items/count-0", ["TW-FRM-049"], _frame("ITEMS", count=0))
    top = {"count": TOP}
    yield good("items/count-is-trusted", ["TW-FRM-042"], _frame("ITEMS", **top), _meaning("ITEMS", **top))
    for name in ("CHUNK", "ITEMS"):
        yield bad(f"{name.lower()}/more", ["TW-FRM-050"], _frame(name, flags=1))
    for name in (*SIZED, "ITEMS", "CHUNK", "FRAGMENT"):
        for flags in (2, 4, 6):
            yield bad(
                f"{name.lower()}/flags-{flags}", ["TW-FRM-041"], _frame(name, flags=flags), "UNSUPPORTED"
            )
        for flags in (8, 16, 1 << 32):
            yield bad(f"{name.lower()}/flags-{flags}", ["TW-FRM-040"], _frame(name, flags=flags))


def declarations() -> Iterator[Vector]:
    """What a payload declares."""
    for name in DECLARING:
        label = name.lower()
        declared = arr(
            *(arr(num(kind), num(kind)) for kind in (1, 2, 3)),
            *(arr(num(k), num(k), num(TOP)) for k in (4, 5)),
        )
        said: Json = [[1, 1], [2, 2], [3, 3], [4, 4, TOP], [5, 5, TOP]]
        meaning = {**_meaning(name), "declarations": said}
        rules = ["TW-FRM-060", "TW-FRM-061"]
        yield good(f"{label}/declares-every-kind", rules, _frame(name, declared), meaning)
        both = {**meaning, "extensions": [[4, 1]]}
        yield good(
            f"{label}/declares-and-extends", [LAYOUT], _frame(name, declared, mp((num(4), num(1)))), both
        )
        yield bad(f"{label}/extends-and-declares", [LAYOUT], _frame(name, mp(), declared))
        yield bad(f"{label}/declares-twice", [LAYOUT], _frame(name, declared, declared))
        yield bad(f"{label}/declares-nothing", ["TW-FRM-060"], _frame(name, arr()))
    wrong: Sequence[tuple[str, bytes]] = (
        ("call", arr(num(0), num(0))),
        ("kind-6", arr(num(0), num(6))),
        ("negative-kind", arr(num(0), num(-1))),
        ("kind-is-text", arr(num(0), txt("items"))),
        ("promise-with-number", arr(num(0), num(1), num(0))),
        ("bytes-with-details", arr(num(0), num(3), mp())),
        ("function-without-number", arr(num(0), num(4))),
        ("channel-without-number", arr(num(0), num(5))),
        ("function-with-negative-number", arr(num(0), num(4), num(-1))),
        ("function-number-2^53", arr(num(0), num(4), num(1 << 53))),
        ("four-parts", arr(num(0), num(4), num(0), num(0))),
        ("one-part", arr(num(0))),
        ("empty", arr()),
        ("number-alone", num(0)),
        ("map", mp((num(0), num(1)))),
        ("stream-2^53", arr(num(1 << 53), num(1))),
        ("stream-is-null", arr(NULL, num(1))),
        ("kind-is-true", arr(num(0), TRUE)),
    )
    for name, part in wrong:
        yield bad(f"declaration/{name}", ["TW-FRM-060"], _frame("END", arr(part)))
    yield bad("declaration/negative", ["TW-FRM-012"], _frame("END", arr(arr(num(-1), num(1)))))


# ---- extensions, unassigned types, codes ----------------------------------------------------------


def extensions() -> Iterator[Vector]:
    """Keys that are known, unknown, and no keys at all."""
    known: Sequence[tuple[int, str, bytes, Json, Sequence[bytes]]] = (
        (0, "deadline", num(TOP), TOP, (num(-1), num(1 << 53), f64(1.0), txt("1"), NULL, TRUE)),
        (2, "lifetime", num(0), 0, (num(-1), num(1 << 53), byt(b"1"))),
        (4, "urgency", num(7), 7, (num(-1), FALSE)),
        (
            6,
            "metadata",
            mp((txt("b"), txt("")), (txt("a"), txt("1"))),
            {"map": [["a", "1"], ["b", ""]]},
            (NULL, arr(), mp((txt("a"), num(1))), mp((num(1), txt("a")))),
        ),
        (8, "trace", txt("x"), "x", (byt(b"x"), num(1))),
        (10, "idempotency", byt(b"k"), {"bytes": "6b"}, (txt("k"), NULL)),
        (12, "trailers", mp(), {"map": []}, (arr(), mp((txt("a"), NULL)))),
        (16, "reconnect-after", num(1500), 1500, (num(-1), num(1 << 53), f64(1.5), txt("1"))),
        (18, "elsewhere", txt("https://b.example/t"), "https://b.example/t", (byt(b"x"), NULL)),
        (20, "downlink", txt("w.n.s"), "w.n.s", (byt(b"w"), num(1))),
        (22, "requested", num(3), 3, (num(-1), txt("3"))),
    )
    for key, name, value, said, wrong in known:
        own = {16: "GOAWAY", 18: "GOAWAY", 20: "HELLO", 22: "RESUME"}.get(key, "CALL")
        for frame in (own, "PING"):
            meaning = {**_meaning(frame), "extensions": [[key, said]]}
            data = _frame(frame, mp((num(key), value)))
            yield good(f"extension/{name}-on-{frame.lower()}", ["TW-FRM-074"], data, meaning)
        for number, other in enumerate(wrong):
            data = _frame("END", mp((num(key), other)))
            yield bad(f"extension/{name}/another-type-{number}", ["TW-FRM-074"], data)
    plain: Sequence[tuple[str, bytes, Json]] = (
        (
            "integers",
            arr(num((1 << 64) - 1), num(-(1 << 64))),
            [{"int": hex((1 << 64) - 1)}, {"int": hex(-(1 << 64))}],
        ),
        ("float", f64(1.5), {"float": "3ff8000000000000"}),
        ("nested", mp((arr(NULL), arr(TRUE, byt(b"")))), {"map": [[[None], [True, {"bytes": ""}]]]}),
        ("null", NULL, None),
    )
    for name, value, said in plain:
        for key in (14, 1, 3, 65280, 65281, TOP):
            meaning = {**_meaning("GRANT"), "extensions": [[key, said]]}
            data = _frame("GRANT", mp((num(key), value)))
            rules = ["TW-FRM-070", "TW-NEG-054"]
            if name == "nested" or key == 14:
                yield good(f"extension/{name}-under-{key}", rules, data, meaning)
    keys: Sequence[tuple[str, bytes]] = (
        ("negative", num(-1)),
        ("2^53", num(1 << 53)),
        ("text", txt("deadline")),
        ("bytes", byt(b"")),
        ("float", f64(0.0)),
        ("null", NULL),
        ("true", TRUE),
        ("array", arr()),
    )
    for name, wrong_key in keys:
        yield bad(f"extension/key-is-{name}", ["TW-FRM-070"], _frame("PING", mp((wrong_key, num(1)))))
    twice = _frame("PING", mp((num(14), num(1)), (num(14, 4), num(2))))
    yield bad("extension/key-twice", ["TW-FRM-022"], twice, "DUPLICATE_KEY")
    deep = _frame("PING", mp((num(14), mp((txt("a"), NULL), (txt("a"), NULL)))))
    yield bad("extension/key-twice-inside", ["TW-FRM-022", "TW-FRM-025"], deep, "DUPLICATE_KEY")


def unassigned() -> Iterator[Vector]:
    """Types that this version does not know."""
    for kind in (*range(7, 16), 64, 65, 119, 120, 127):
        said: Json = {"frame": "UNKNOWN", "type": kind}
        yield good(f"unassigned/{kind}", ["TW-FRM-031"], arr(num(kind)), said)
    contents = arr(num(8), num((1 << 64) - 1), mp((txt("a"), arr())), f64(1.0), NULL, byt(b"x"))
    yield good("unassigned/8-with-contents", ["TW-FRM-037"], contents, {"frame": "UNKNOWN", "type": 8})
    large = arr(num(64), mp((num(0), byt(bytes(8192)))))
    yield good("unassigned/64-with-a-large-map", ["TW-FRM-037"], large, {"frame": "UNKNOWN", "type": 64})
    for kind in (128, 129, 255, 65279, 65280, 65535):
        for stream in (0, -1, TOP, -TOP - 1):
            said = {"frame": "UNKNOWN", "type": kind, "stream": stream}
            if stream in (0, -1) or kind == 128:
                yield good(
                    f"unassigned/{kind}-on-{stream}", ["TW-FRM-033"], arr(num(kind), num(stream)), said
                )
    for name, second in (
        ("none", ()),
        ("text", (txt("0"),)),
        ("null", (NULL,)),
        ("2^53", (num(1 << 53),)),
        ("map", (mp(),)),
    ):
        yield bad(f"unassigned/128-on-{name}", ["TW-FRM-033"], arr(num(128), *second))
    for kind in (28, 29, 63, 65536, 1 << 32, (1 << 64) - 1, -1, -17):
        yield bad(f"unassigned/{kind}", ["TW-FRM-032"], arr(num(kind), num(0)))
    for name, first in (
        ("text", txt("CALL")),
        ("float", f64(4.0)),
        ("null", NULL),
        ("true", TRUE),
        ("array", arr()),
    ):
        yield bad(f"type-is-{name}", [LAYOUT], arr(first, num(1)))


def codes() -> Iterator[Vector]:
    """Every error code where it may stand, and numbers that are none."""
    registry = Path(__file__).parents[2] / "registries" / "errors.csv"
    with registry.open(encoding="utf-8", newline="") as file:
        names = {int(row["number"]): row["name"] for row in csv.DictReader(file)}
    for code in (*names, 31, 63, 65535, TOP):
        name = "CLOSE" if code >= 32 or code == 16 else "RESET" if code == 0 else "ERROR"
        label = names.get(code, str(code))
        meaning = _meaning(name, code=code)
        yield good(f"code/{label}", ["TW-ERR-001", "TW-ERR-002"], _frame(name, code=code), meaning)
        for other in ("STOP", "GOAWAY"):
            if code in (0, 5, 11, 33, TOP):
                said = _meaning(other, code=code)
                yield good(f"code/{label}-in-{other.lower()}", ["TW-ERR-002"], _frame(other, code=code), said)


def vectors() -> Iterator[Vector]:
    """All of this file."""
    for part in (layouts, hellos, payloads, declarations, extensions, unassigned, codes):
        yield from part()
