"""Values to payloads and back: exact bytes, every type there and back, paths of errors, hostile bytes."""

from __future__ import annotations

import collections
import enum
import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction
from ipaddress import IPv4Interface, IPv4Network, IPv6Address, IPv6Interface
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import cbor2
import pytest
from hypothesis import given

from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.wire.values import (
    MAX_EXPONENT,
    NESTING,
    Reference,
    ValueEncodeError,
    decode_items,
    decode_value,
    encode_value,
)
from tests.wire import strategies
from tests.wire.value_cases import CASES, HUGE, plain, refused

C = ErrorCode


class Point(NamedTuple):
    x: int
    y: int


class Number(enum.IntEnum):
    TWO = 2


class Word(enum.StrEnum):
    YES = "yes"


class Colour(enum.Enum):
    RED = 1


class Text(str):
    pass


class Real(float):
    pass


class Row(dict[str, int]):
    pass


class Moment(datetime):
    pass


@dataclass
class Box:
    x: Any


def attributes(value: object) -> object:
    """A default that knows dataclasses of these tests."""
    if isinstance(value, Box):
        return {"x": value.x}
    raise LookupError(f"no {type(value).__name__}")


@pytest.mark.parametrize(("value", "data"), CASES)
def test_case_there_and_back(value: object, data: str) -> None:
    payload = bytes.fromhex(data)
    assert encode_value(value) == payload
    back = decode_value(payload)
    assert back == value
    assert type(back) is type(value)
    assert decode_items(b"\x82" + payload * 2, 2) == [value, value]
    # The same inside what cbor2 cannot encode by itself.
    assert encode_value([Word.YES, value]) == b"\x82\x63yes" + payload


@pytest.mark.parametrize("data", [case[1] for case in CASES])
def test_every_truncation_and_trailing_bytes_are_malformed(data: str) -> None:
    payload = bytes.fromhex(data)
    for length in range(len(payload)):
        assert refused(payload[:length]) is C.MALFORMED_VALUE
    for byte in (0x00, 0x60, 0x80, 0xF6, 0xFF):
        assert refused(payload + bytes((byte,))) is C.MALFORMED_VALUE


@pytest.mark.parametrize(
    ("value", "back"),
    [
        (bytearray(b"x"), b"x"),
        (memoryview(b"abcd")[::2], b"ac"),
        ((1, (2,)), [1, [2]]),
        (Point(1, 2), [1, 2]),
        (Number.TWO, 2),
        (Word.YES, "yes"),
        ({Word.YES: Number.TWO}, {"yes": 2}),
        (Text("x"), "x"),
        (Real(0.5), 0.5),
        (Row(a=1), {"a": 1}),
        (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (frozenset({1}), {1}),
        (Moment(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)),
        (datetime(2026, 1, 2, tzinfo=ZoneInfo("UTC")), datetime(2026, 1, 2, tzinfo=UTC)),
        ([None, "x", ("y",), {"z": [b""]}], [None, "x", ["y"], {"z": [b""]}]),
    ],
)
def test_relatives_travel_as_what_they_extend(value: object, back: object) -> None:
    assert decode_value(encode_value(value)) == back


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("-NaN"), Decimal("NaN123"), math.nan])
def test_nan(value: Any) -> None:
    back: Any = decode_value(encode_value([value]))
    assert math.isnan(back[0])
    assert type(back[0]) is type(value)


@given(strategies.values)
def test_every_value_comes_back(value: object) -> None:
    payload = encode_value(value)
    back = decode_value(payload)
    assert back == plain(value)
    assert decode_items(b"\x81" + payload, 1) == [back]


def test_what_was_decoded_in_a_key_can_be_sent_back() -> None:
    payload = bytes.fromhex("a1 82 a1 01 81 02 d90102 81 a0 03")
    value = decode_value(payload)
    assert encode_value(value) == payload
    assert encode_value([value]) == b"\x81" + payload


@given(strategies.values)
def test_both_ways_of_encoding_give_the_same_bytes(value: object) -> None:
    assert encode_value([value, Word.YES]) == b"\x82" + encode_value(value) + b"\x63yes"


def test_decimals_do_not_depend_on_the_context() -> None:
    value = Decimal("1." + "123456789" * 600)
    with localcontext() as context:
        context.prec, context.Emax, context.Emin = 2, 5, -5
        assert decode_value(encode_value(value)).as_tuple() == value.as_tuple()  # type: ignore[attr-defined]


# ---- default --------------------------------------------------------------------------------------------


def test_default_replaces_each_object_once() -> None:
    seen: list[object] = []

    def default(value: object) -> object:
        seen.append(value)
        return attributes(value)

    value = {"rows": [Box(1), Box({"y": Box([])})]}
    assert decode_value(encode_value(value, default)) == {"rows": [{"x": 1}, {"x": {"y": {"x": []}}}]}
    assert len(seen) == 3


def test_default_may_give_a_reference() -> None:
    def default(value: object) -> object:
        return Reference(0) if value is Colour.RED else Box(value)

    payload = encode_value([Colour.RED, {"k": Colour.RED}], default)
    assert payload == bytes.fromhex("82 d9ea60 00 a1 616b d9ea60 00")


def test_default_may_need_several_steps() -> None:
    steps: dict[object, object] = {Colour: Box, Box: Box(1)}
    assert encode_value(Colour, lambda value: steps[value] if value in (Colour, Box) else 7) == b"\x07"


def test_default_that_never_ends() -> None:
    with pytest.raises(ValueEncodeError, match=r"^value\[0\] is replaced again and again, at last by a Box"):
        encode_value([Box(1)], lambda value: Box(2))


def test_errors_of_default_pass_through_with_the_path() -> None:
    with pytest.raises(LookupError, match="no object") as caught:
        encode_value({"a": [Box(object())]}, attributes)
    assert caught.value.__notes__ == ["While encoding value['a'][0].x."]


def test_the_path_of_an_error_of_default_is_completed() -> None:
    def default(value: object) -> object:
        raise ValueEncodeError("stands twice", "value.y[1]")

    with pytest.raises(ValueEncodeError) as caught:
        encode_value({"a": [1, Colour.RED]}, default)
    assert caught.value.path == "value['a'][1].y[1]"
    assert str(caught.value) == "value['a'][1].y[1] stands twice"


@pytest.mark.parametrize("replacement", [Reference(0), 7, [1, "x"]], ids=["handle", "number", "list"])
def test_the_keys_behind_something_replaced_are_keys(replacement: object) -> None:
    def default(value: object) -> object:
        if value is Colour.RED:
            return replacement
        raise ValueEncodeError("is refused")

    with pytest.raises(ValueEncodeError) as caught:
        encode_value({"first": Colour.RED, "second": {"a": object()}}, default)
    assert caught.value.path == "value['second']['a']"


def test_the_keys_behind_an_object_without_parts_are_keys() -> None:
    with pytest.raises(LookupError) as caught:
        encode_value(
            [Box(Colour.RED), {"a": object()}], lambda value: 1 if value is Colour.RED else attributes(value)
        )
    assert caught.value.__notes__ == ["While encoding value[1]['a']."]


# ---- what cannot be encoded -------------------------------------------------------------------------------


def error_of(value: object) -> ValueEncodeError:
    with pytest.raises(ValueEncodeError) as caught:
        encode_value(value, attributes if isinstance(value, Box) else None)
    assert isinstance(caught.value, TypeError)
    assert str(caught.value) == f"{caught.value.path} {caught.value.problem}"
    return caught.value


@pytest.mark.parametrize(
    ("value", "path", "problem"),
    [
        (object(), "value", "is a object, which has no encoding"),
        ({"rows": [1, 2, 3, {"x": Colour.RED}]}, "value['rows'][3]['x']", "is a Colour"),
        (Box([{"x": 1j}]), "value.x[0]['x']", "no complex"),
        ({1: {(1, 2): {3}, "k": IPv4Network("1.2.3.0/24")}}, "value[1]['k']", "is a IPv4Network"),
        (IPv4Interface("1.2.3.4/8"), "value", "is a IPv4Interface"),
        (IPv6Interface("::1/8"), "value", "is a IPv6Interface"),
        (re.compile("x"), "value", "is a Pattern"),
        (range(3), "value", "is a range"),
        (collections.deque([1]), "value", "is a deque"),
        (cbor2.CBORTag(5, 1), "value", "is a CBORTag"),
        (cbor2.undefined, "value", "which has no encoding"),
        ({Colour.RED: 1}, "value (its key <Colour.RED: 1>)", "is a Colour"),
        (["x", "\ud800"], "value[1]", "has a lone surrogate at index 0"),
        ("ab\udfff", "value", "has a lone surrogate at index 2"),
        ({"a": "\ud800"}, "value['a']", "has a lone surrogate"),
        ({"\ud800": 1}, "value (its key '\\ud800')", "has a lone surrogate"),
        ([Word.YES, ["\ud800"]], "value[1][0]", "has a lone surrogate"),
        pytest.param(HUGE, "value", "is an integer of 65537 bits", id="huge"),
        ([-HUGE - 1], "value[0]", "is an integer of 65537 bits"),
        ({"a": HUGE}, "value['a']", "is an integer of"),
        ({HUGE: 1}, "value (its key an integer of 65537 bits)", "is an integer of"),
        ([(1, {"a": [HUGE]})], "value[0][1]['a'][0]", "is an integer of"),
        (Fraction(1, HUGE), "value", "is an integer of"),
        (Decimal("sNaN"), "value", "is a signalling NaN"),
        (Decimal((0, (1,), MAX_EXPONENT + 1)), "value", "the exponent 1000000"),
        (IPv6Address("fe80::1%eth0"), "value", "has the scope 'eth0'"),
        (time(1, tzinfo=ZoneInfo("Europe/Berlin")), "value", "depends on the date"),
    ],
)
def test_the_path_and_the_reason(value: object, path: str, problem: str) -> None:
    if isinstance(value, Box):
        with pytest.raises(LookupError, match=problem) as caught:
            encode_value(value, attributes)
        assert caught.value.__notes__ == [f"While encoding {path}."]
        return
    error = error_of(value)
    assert error.path == path
    assert problem in error.problem


def nested(levels: int, inside: object, wrap: Any = lambda value: [value]) -> object:
    value = inside
    for _ in range(levels):
        value = wrap(value)
    return value


@pytest.mark.parametrize(
    ("own", "inside"),
    [
        (0, 1),
        (1, []),
        (1, {}),
        (1, {"a": 1}),
        (2, [[], {"a": b"xy", "b": "z" * 30, "c": 1.5}]),
        (2, set()),
        (1, 1 << 64),
        (1, date(2026, 1, 1)),
        (1, Decimal("NaN")),
        (2, {1}),
        (2, {"a": (1 << 70)}),
        (2, timedelta(1)),
        (2, Decimal(1)),
        (3, Decimal(1 << 64)),
        (3, Fraction(1 << 64, 3)),
        (3, {(1,)}),
    ],
)
@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: {"k": v}, lambda v: (v,), Box, lambda v: Row(k=v)])
def test_nesting_at_the_bound_and_beyond(own: int, inside: object, wrap: Any) -> None:
    value = nested(NESTING - own, inside, wrap)
    payload = encode_value(value, attributes)
    decode_value(payload)
    decode_items(b"\x81" + payload, 1)
    with pytest.raises(ValueEncodeError, match="nests deeper than 64 levels; does it contain itself"):
        encode_value(wrap(value), attributes)
    assert refused(b"\x81" + payload) is C.NESTING_TOO_DEEP


@pytest.mark.parametrize("inside", [1, Word.YES])
@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: {"k": v}, lambda v: (v,), Box])
def test_nesting_ten_thousand_deep(inside: object, wrap: Any) -> None:
    with pytest.raises(ValueEncodeError, match="nests deeper"):
        encode_value(nested(10_000, inside, wrap), attributes)


def test_values_that_contain_themselves() -> None:
    loop: list[object] = []
    loop += [loop, loop, 1]
    mapping: dict[str, object] = {}
    mapping["m"] = mapping
    box = Box(None)
    box.x = [box]
    for value in (loop, mapping, box):
        with pytest.raises(ValueEncodeError, match="contain itself"):
            encode_value(value, attributes)


def test_large_plain_values_without_large_integers() -> None:
    value = {"text": "x" * 10_000, "rows": [(1, {"y": HUGE - 1}), -HUGE]}
    assert decode_value(encode_value(value)) == {"text": "x" * 10_000, "rows": [[1, {"y": HUGE - 1}], -HUGE]}
    wide = {str(index): index for index in range(100)}
    assert decode_value(encode_value(wide)) == wide


@pytest.mark.parametrize("nesting", [0, 1, 2, 7, 8, 9, 63, 64, 1000])
@pytest.mark.parametrize("inside", [1, Word.YES, [], "ñ" * 3000])
def test_what_the_receiver_takes_may_be_less(nesting: int, inside: object) -> None:
    allowed = min(nesting, NESTING)
    value = nested(allowed - (inside == []), inside) if allowed else 1
    payload = encode_value(value, None, nesting)
    assert payload == encode_value(value)
    assert decode_value(payload, nesting=nesting) == value
    assert decode_items(b"\x81" + payload, 1, nesting) == [value]
    with pytest.raises(ValueEncodeError, match=f"nests deeper than {allowed} levels"):
        encode_value([value], None, nesting)
    with pytest.raises(RemoteProtocolError, match=f"nests deeper than {allowed}") as caught:
        decode_value(b"\x81" + payload, nesting=nesting)
    assert caught.value.code is C.NESTING_TOO_DEEP
    with pytest.raises(RemoteProtocolError, match="nests deeper than") as caught:
        decode_items(b"\x81\x81" + payload, 1, nesting)
    assert caught.value.code is C.NESTING_TOO_DEEP
