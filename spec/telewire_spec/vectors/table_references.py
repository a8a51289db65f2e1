"""The vectors of references to streams, with the declarations of their payloads (chapter 8)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from telewire_spec.meaning import Json
from telewire_spec.vectors.build import (
    FALSE,
    NULL,
    TOP,
    TRUE,
    UNDEFINED,
    Vector,
    arr,
    byt,
    f64,
    mp,
    num,
    tag,
    txt,
)
from telewire_spec.vectors.table_values import integer_of

__all__ = ["vectors"]

PROMISE, ITEMS, BYTES, FUNCTION, CHANNEL = 1, 2, 3, 4, 5


def _ref(index: int, details: bytes | None = None) -> bytes:
    return tag(60000, num(index) if details is None else arr(num(index), details))


def _placed(index: int) -> dict[str, Json]:
    return {"reference": index}


RULES: Final = ("TW-VAL-030", "TW-VAL-031")
NAMES: Final = {PROMISE: "promise", ITEMS: "items", BYTES: "bytes", FUNCTION: "function", CHANNEL: "channel"}


def good(name: str, data: bytes, kinds: Sequence[int], meaning: Json, more: Sequence[str] = ()) -> Vector:
    """A payload that is taken, with the kinds that it declares."""
    rules = [*RULES, *more]
    return Vector(
        id=f"reference/{name}", rules=rules, kind="value", data=data, declarations=kinds, meaning=meaning
    )


def bad(name: str, data: bytes, kinds: Sequence[int], more: Sequence[str] = ()) -> Vector:
    """A payload that is refused, with the kinds that it declares."""
    return Vector(
        id=f"reference/{name}",
        rules=[*RULES, *more],
        kind="value",
        data=data,
        declarations=kinds,
        error="MALFORMED_VALUE",
    )


def places() -> Iterator[Vector]:
    """Where references stand, and how often."""
    for kind, name in NAMES.items():
        yield good(f"one/{name}", _ref(0), [kind], _placed(0))
        twice = arr(_ref(0), _ref(0))
        if kind in (PROMISE, FUNCTION):
            yield good(f"twice/{name}", twice, [kind], [_placed(0), _placed(0)], ["TW-VAL-032"])
        else:
            yield bad(f"twice/{name}", twice, [kind])
        yield bad(f"unused/{name}", num(1), [kind])
    yield good(
        "not-ascending", arr(_ref(1), _ref(0)), [ITEMS, BYTES], [_placed(1), _placed(0)], ["TW-VAL-033"]
    )
    yield bad("beyond", arr(_ref(0), _ref(1)), [PROMISE])
    yield bad("without-declarations", _ref(0), [], ["TW-VAL-037"])
    yield bad("one-of-two-unused", _ref(1), [PROMISE, PROMISE])
    yield good("index-under-a-tag", tag(60000, tag(2, byt(b""))), [ITEMS], _placed(0), ["TW-VAL-018"])
    yield bad("as-key", mp((_ref(0), num(1))), [PROMISE], ["TW-VAL-008"])
    yield bad("in-an-array-as-key", mp((arr(_ref(0)), num(1))), [FUNCTION], ["TW-VAL-008"])
    yield bad("in-a-set-as-key", mp((tag(258, arr(_ref(0))), num(1))), [FUNCTION], ["TW-VAL-008"])
    member = tag(258, arr(_ref(0), num(1)))
    yield good("in-a-set", member, [FUNCTION], {"set": [1, _placed(0)]}, ["TW-VAL-017"])
    inside = tag(258, arr(arr(num(1), _ref(0))))
    yield good("inside-a-member-of-a-set", inside, [FUNCTION], {"set": [[1, _placed(0)]]}, ["TW-VAL-017"])
    yield bad("twice-in-a-set", tag(258, arr(_ref(0), _ref(0))), [FUNCTION], ["TW-VAL-013", "TW-VAL-017"])


def contents() -> Iterator[Vector]:
    """What is no reference."""
    wrong: Sequence[tuple[str, bytes]] = (
        ("negative", num(-1)),
        ("2^53", num(1 << 53)),
        ("float", f64(0.0)),
        ("text", txt("0")),
        ("null", NULL),
        ("false", FALSE),
        ("empty-array", arr()),
        ("index-alone-in-an-array", arr(num(0))),
        ("three-parts", arr(num(0), mp(), mp())),
        ("details-null", arr(num(0), NULL)),
        ("details-text", arr(num(0), txt("name"))),
        ("details-array", arr(num(0), arr())),
        ("map", mp((num(0), num(0)))),
    )
    for name, content in wrong:
        yield bad(f"content/{name}", tag(60000, content), [BYTES])


def details() -> Iterator[Vector]:
    """What a reference says about its stream."""
    right: Sequence[tuple[str, bytes, Json]] = (
        ("empty", mp(), []),
        ("name", mp((txt("name"), txt("a.txt"))), [["name", "a.txt"]]),
        ("size", mp((txt("size"), num(0))), [["size", 0]]),
        ("largest-size", mp((txt("size"), num(TOP))), [["size", TOP]]),
        ("content-type", mp((txt("content_type"), txt("text/plain"))), [["content_type", "text/plain"]]),
        ("nulls", mp((txt("size"), NULL), (txt("name"), NULL)), [["size", None], ["name", None]]),
        (
            "unknown",
            mp((txt("x"), txt("y")), (txt("z"), num(-(1 << 64)))),
            [["x", "y"], ["z", integer_of(-(1 << 64))]],
        ),
        ("big-unknown", mp((txt("x"), tag(2, byt(b"\1" + bytes(8))))), [["x", integer_of(1 << 64)]]),
        ("size-under-a-tag", mp((txt("size"), tag(2, byt(b"\7")))), [["size", 7]]),
        ("home-without-meaning", mp((txt("home"), num(3))), [["home", 3]]),
    )
    for name, said, meaning in right:
        whole: Json = {"reference": 0, "details": meaning}
        yield good(f"details/{name}", _ref(0, said), [BYTES], whole, ["TW-VAL-034"])
    for kind in (PROMISE, FUNCTION):
        whole = {"reference": 0, "details": [["home", 3]]}
        yield good(f"home/{NAMES[kind]}", _ref(0, mp((txt("home"), num(3)))), [kind], whole, ["TW-VAL-036"])
    wrong: Sequence[tuple[str, bytes]] = (
        ("integer-key", mp((num(1), txt("a")))),
        ("bytes-key", mp((byt(b"name"), txt("a")))),
        ("float-value", mp((txt("x"), f64(1.0)))),
        ("boolean-value", mp((txt("x"), TRUE))),
        ("bytes-value", mp((txt("x"), byt(b"a")))),
        ("array-value", mp((txt("x"), arr()))),
        ("undefined-value", mp((txt("x"), UNDEFINED))),
        ("name-is-integer", mp((txt("name"), num(1)))),
        ("content-type-is-integer", mp((txt("content_type"), num(1)))),
        ("size-is-text", mp((txt("size"), txt("1")))),
        ("negative-size", mp((txt("size"), num(-1)))),
        ("size-of-2^53", mp((txt("size"), num(1 << 53)))),
        ("size-is-true", mp((txt("size"), TRUE))),
        ("home-is-text", mp((txt("home"), txt("3")))),
        ("negative-home", mp((txt("home"), num(-1)))),
        ("home-of-2^53", mp((txt("home"), num(1 << 53)))),
    )
    for name, said in wrong:
        yield bad(f"details/{name}", _ref(0, said), [BYTES], ["TW-VAL-034"])
    twice = _ref(0, mp((txt("x"), num(1)), (txt("x"), num(1))))
    yield replace(bad("details/key-twice", twice, [BYTES], ["TW-VAL-002"]), reason="DUPLICATE_KEY")
    yield bad(
        "details/wrong-for-another-kind", _ref(0, mp((txt("size"), txt("1")))), [FUNCTION], ["TW-VAL-034"]
    )


def vectors() -> Iterator[Vector]:
    """All of this file."""
    for part in (places, contents, details):
        yield from part()
