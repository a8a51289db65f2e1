"""Values to payloads and back: exact bytes, every type there and back, paths of errors, hostile bytes."""

from __future__ import annotations

import collections
import enum
import math
import re
import tracemalloc
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal, localcontext
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.limits import Limits
from telewire.wire.heads import encode_head
from telewire.wire.values import (
    ALLOWED_TAGS,
    MAX_BIGNUM_BYTES,
    MAX_EXPONENT,
    NESTING,
    TAG_REFERENCE,
    Reference,
    ValueEncodeError,
    decode_items,
    decode_value,
    encode_value,
)
from tests.wire import strategies

C = ErrorCode
HUGE = 1 << MAX_BIGNUM_BYTES * 8


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


# ---- the table: value, payload, what comes back where it differs ----------------------------------------

CASES: list[tuple[Any, str]] = [
    (None, "f6"),
    (True, "f5"),
    (False, "f4"),
    (0, "00"),
    (-1025, "390400"),
    ((1 << 64) - 1, "1bffffffffffffffff"),
    (-(1 << 64), "3bffffffffffffffff"),
    (1 << 64, "c2 49 010000000000000000"),
    (-(1 << 64) - 1, "c3 49 010000000000000000"),
    (1.5, "fb 3ff8000000000000"),
    (math.inf, "f9 7c00"),
    ("", "60"),
    ("ä\x00\U0001f600", "67 c3a4 00 f09f9880"),
    (b"\x00", "41 00"),
    ([], "80"),
    ([1, [2]], "82 01 81 02"),
    ({"b": 1, "a": 2}, "a2 6162 01 6161 02"),
    ({1: {2: None}}, "a1 01 a1 02 f6"),
    ({(1, 2): b""}, "a1 82 01 02 40"),
    (set(), "d90102 80"),
    ({1}, "d90102 81 01"),
    ([{(1, 2)}], "81 d90102 81 82 01 02"),
    ({frozenset({1})}, "d90102 81 d90102 81 01"),
    ({frozenset({1}): 2}, "a1 d90102 81 01 02"),
    ({((1, 2),)}, "d90102 81 81 82 01 02"),
    (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "c0 74 323032362d30312d30325430333a30343a30355a"),
    (
        datetime(2026, 1, 2, 3, 4, 5, 6, timezone(timedelta(hours=-1))),
        "c0 7820 323032362d30312d30325430333a30343a30352e3030303030362d30313a3030",
    ),
    (datetime(1, 2, 3), "d9ea61 73 303030312d30322d30335430303a30303a3030"),
    (date(2026, 1, 2), "d903ec 6a 323032362d30312d3032"),
    (time(1, 2), "d9ea62 68 30313a30323a3030"),
    (time(1, 2, 3, 4, UTC), "d9ea62 75 30313a30323a30332e3030303030342b30303a3030"),
    (timedelta(-1, 2, 3), "d9ea63 83 20 02 03"),
    (Decimal("1.50"), "c4 82 21 1896"),
    (Decimal("-7E+3"), "c4 82 03 26"),
    (Decimal(1 << 64), "c4 82 00 c2 49 010000000000000000"),
    (Decimal("Infinity"), "d9ea64 68 496e66696e697479"),
    (Decimal("-Infinity"), "d9ea64 69 2d496e66696e697479"),
    (Decimal("-0.00"), "d9ea64 65 2d30452d32"),
    (Fraction(-1, 3), "d81e 82 20 03"),
    (UUID(int=1), "d825 50 00000000000000000000000000000001"),
    (IPv4Address("1.2.3.4"), "d834 44 01020304"),
    (IPv6Address("::1"), "d836 50 00000000000000000000000000000001"),
]


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


def plain(value: object) -> object:
    """What a value is at the other side: tuples are lists, but where they must be hashable."""
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    return value


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
    assert decode_value(payload, ["handle"]) == ["handle", {"k": "handle"}]
    assert repr(Reference(3)) == "Reference(3)"


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


# ---- what is refused --------------------------------------------------------------------------------------


def refused(payload: bytes, references: tuple[object, ...] = ()) -> ErrorCode:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_value(payload, references)
    assert str(caught.value).endswith(".")
    assert len(str(caught.value)) < 400
    return caught.value.code


def test_every_tag_but_the_allowed_is_refused() -> None:
    for tag in [*range(70_001), 1 << 32, (1 << 64) - 1]:
        if tag not in ALLOWED_TAGS:
            for content in (b"\x01", b"\x82\x01\x02", b"\x61x"):
                assert refused(encode_head(6, tag) + content) is C.FORBIDDEN_TAG, tag
    assert refused(bytes.fromhex("a1 c4 82 01 c1 01 00")) is C.FORBIDDEN_TAG


@pytest.mark.parametrize(
    "data",
    [
        # Not CBOR, or not of definite length.
        "",
        "1c",
        "ff",
        "9f ff",
        "bf ff",
        "5f ff",
        "7f ff",
        "61 ff",
        "f8 10",
        "fc",
        # Values without a meaning.
        "f7",
        "e0",
        "f3",
        "f8 20",
        "f8 ff",
        "81 f7",
        "a1 01 f7",
        "a1 f7 01",
        "a1 81 f7 01",
        "a1 a1 01 f7 01",
        "81 d90102 81 f0",
        "a1 d90102 81 f0 01",
        # Tags with another content.
        "c0 01",
        "c0 61 78",
        "c0 6a 323031332d30332d3231",
        "c0 781c 323030302d30312d30315430303a30303a30302b30303a30303a3031",
        "c0 74 323032362d30322d33305430333a30343a30355a",
        "c2 01",
        "c2 61 31",
        "c3 f6",
        "c4 01",
        "c4 80",
        "c4 82 01 f93c00",
        "c4 82 01 f5",
        "c4 82 61 31 01",
        "c4 83 01 01 01",
        "c4 82 1a 000f4240 01",
        "c4 82 3a 000f423f 01",
        "c4 82 c2 49 ffffffffffffffffff 01",
        "d81e 82 01 00",
        "d81e 82 01 20",
        "d81e 82 f5 01",
        "d81e 81 01",
        "d825 41 00",
        "d825 70 78787878787878787878787878787878",
        "d834 43 010203",
        "d834 82 18 18 43 010203",
        "d834 64 31323334",
        "d836 44 01020304",
        "d836 82 44 01020304 1818",
        "d90102 01",
        "d90102 a1 01 02",
        "d90102 82 01 01",
        "d90102 82 81 01 81 01",
        "a1 d90102 82 01 01 00",
        "d903ec 01",
        "d903ec 68 3230323630313032",
        "d903ec 6a 323032362d30322d3330",
        "d9ea61 74 323032362d30312d30325430333a30343a30355a",
        "d9ea61 6a 323032362d30312d3032",
        "d9ea61 01",
        "d9ea62 65 30313a3032",
        "d9ea62 68 32353a30303a3030",
        "d9ea62 01",
        "d9ea63 82 00 00",
        "d9ea63 83 00 20 00",
        "d9ea63 83 00 1a 00015180 00",
        "d9ea63 83 00 00 1a 000f4240",
        "d9ea63 83 1a 3b9aca00 00 00",
        "d9ea63 01",
        "d9ea64 01",
        "d9ea64 64 734e614e",
        "d9ea64 63 312e35",
        "d9ea64 61 30",
        # No such declaration.
        "d9ea60 00",
        "d9ea60 f6",
        "81 d9ea60 20",
    ],
)
def test_malformed_values(data: str) -> None:
    payload = bytes.fromhex(data)
    assert refused(payload) is C.MALFORMED_VALUE
    assert refused(b"\x81" + payload) is C.MALFORMED_VALUE
    with pytest.raises(RemoteProtocolError) as caught:
        decode_items(b"\x81" + payload, 1)
    assert caught.value.code is C.MALFORMED_VALUE


def test_bytes_that_only_look_like_values_without_a_meaning() -> None:
    for value in (1.984375, "ðßà", b"\xf7\xf8\xe0", ["ñ", {"ó": ["ñ", 1.0]}, {("ñ", 1)}], {("ñ",): "ñ"}):
        assert decode_value(cbor2.dumps(value)) == plain(value)


def test_maps_in_sets_and_keys_are_frozen() -> None:
    frozen = cbor2.frozendict({1: (2, frozenset({3}))})
    inside = bytes.fromhex("a1 01 82 02 d90102 81 03")
    assert decode_value(b"\xd9\x01\x02\x81" + inside) == {frozen}
    assert decode_value(b"\xa1" + inside + b"\x00") == {frozen: 0}


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02t03:04:05z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.5-00:00", datetime(2026, 1, 2, 3, 4, 5, 500_000, UTC)),
        ("2026-01-02T03:04:05.123456789+00:00", datetime(2026, 1, 2, 3, 4, 5, 123456, UTC)),
    ],
)
def test_moments_as_others_write_them(text: str, moment: datetime) -> None:
    assert decode_value(b"\xc0" + encode_value(text)) == moment


def test_an_offset_with_seconds_becomes_utc() -> None:
    odd = timezone(timedelta(minutes=19, seconds=32))
    value = datetime(1900, 1, 1, tzinfo=odd)
    back: Any = decode_value(encode_value(value))
    assert back == value
    assert back.tzinfo == UTC
    with pytest.raises(ValueEncodeError, match="out of range in UTC"):
        encode_value(datetime.min.replace(tzinfo=odd))


def test_big_integers_at_the_bound_and_beyond() -> None:
    assert decode_value(encode_value([HUGE - 1, -HUGE])) == [HUGE - 1, -HUGE]
    for tag in (b"\xc2", b"\xc3"):
        assert refused(tag + b"\x59\x20\x01" + bytes(8193)) is C.MALFORMED_VALUE
    assert decode_value(b"\xc2\x42\x00\x05") == 5


@pytest.mark.parametrize("exponent", [MAX_EXPONENT, -MAX_EXPONENT])
def test_exponents_at_the_bound(exponent: int) -> None:
    value = Decimal((0, (1, 2), exponent))
    assert decode_value(encode_value(value)) == value
    # A zero may have one too: a sum with it would have all the digits.
    zero = Decimal((1, (0,), exponent))
    assert decode_value(encode_value(zero)).as_tuple() == zero.as_tuple()  # type: ignore[attr-defined]


def test_duplicate_key() -> None:
    for data in (
        "a2 01 00 01 00",
        "81 a2 61 61 00 7801 61 00",
        "a2 01 00 c2 41 01 00",
        "a1 a2 01 00 01 00 00",
    ):
        assert refused(bytes.fromhex(data)) is C.DUPLICATE_KEY
    key = encode_value(HUGE - 1)
    assert refused(b"\xa2" + key + b"\x00" + key + b"\x00") in (C.DUPLICATE_KEY, C.MALFORMED_VALUE)


def test_declared_length_of_2_to_62() -> None:
    tracemalloc.start()
    for head in (b"\x9b", b"\xbb", b"\x5b", b"\x7b", b"\xc2\x5b", b"\xd9\x01\x02\x9b"):
        assert refused(head + (1 << 62).to_bytes(8, "big")) is C.MALFORMED_VALUE
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("head", ["81", "a100", "c2", "d9ea60", "d9010281", "c482", "d81e82", "c0"])
def test_payload_nested_a_million_deep(head: str) -> None:
    assert refused(bytes.fromhex(head) * 1_000_000) is C.NESTING_TOO_DEEP


@given(st.binary(max_size=200), st.sampled_from(["", *(case[1] for case in CASES)]), st.data())
def test_any_bytes_are_a_value_or_refused(data: bytes, seed: str, draw: st.DataObject) -> None:
    damaged = bytearray(bytes.fromhex(seed))
    if damaged:
        damaged[draw.draw(st.integers(0, len(damaged) - 1))] = draw.draw(st.integers(0, 255))
    tag = encode_head(6, draw.draw(st.sampled_from(sorted(ALLOWED_TAGS))))
    for payload in (data, b"\x82" + data, b"\xa1" + data, tag + data, b"\xa1" + tag + data, bytes(damaged)):
        for decode in (decode_value, lambda p: decode_value(p, [[]]), lambda p: decode_items(p, 1)):
            try:
                decode(payload)
            except RemoteProtocolError as error:
                codes.add(error.code)
    assert codes <= {C.MALFORMED_VALUE, C.NESTING_TOO_DEEP, C.DUPLICATE_KEY, C.FORBIDDEN_TAG}


codes: set[ErrorCode] = set()


@given(strategies.values, st.data())
def test_a_damaged_value_is_a_value_or_refused(value: object, data: st.DataObject) -> None:
    payload = bytearray(encode_value(value))
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode_value(bytes(payload))
    except RemoteProtocolError:
        return
    encode_value(decoded)


# ---- references -------------------------------------------------------------------------------------------


def test_references_are_put_in_place() -> None:
    first, second = object(), [1]
    payload = encode_value({"a": Reference(1), "b": [Reference(0), Reference(1)]})
    assert decode_value(payload, (first, second)) == {"a": second, "b": [first, second]}


@pytest.mark.parametrize("index", ["02", "20", "f5", "f6", "6130", "1bffffffffffffffff"])
def test_references_to_nothing(index: str) -> None:
    payload = b"\x83" + encode_value(Reference(0)) + encode_value(Reference(1))
    assert refused(payload + b"\xd9\xea\x60" + bytes.fromhex(index), ("a", "b")) is C.MALFORMED_VALUE


def test_a_declaration_that_is_not_used() -> None:
    with pytest.raises(RemoteProtocolError, match="3 declarations, but does not use number 1") as caught:
        decode_value(encode_value([Reference(0), Reference(2)]), ("a", "b", "c"))
    assert caught.value.code is C.MALFORMED_VALUE


def test_references_that_cannot_be_keys() -> None:
    payload = b"\xa1" + encode_value(Reference(0)) + b"\x01"
    assert refused(payload, ([],)) is C.MALFORMED_VALUE
    assert refused(b"\xd9\x01\x02\x81" + encode_value(Reference(0)), (bytearray(),)) is C.MALFORMED_VALUE


def test_references_are_not_looked_into() -> None:
    handle: list[object] = [cbor2.undefined]
    handle.append(handle)
    back: Any = decode_value(encode_value([Reference(0), "ñ"]), (handle,))
    assert back[0] is handle


# ---- items ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", ["01", "80", "81 01", "83 01 02 03", "a2 01 02 03 04", "82 01 02 00", "82 01"]
)
def test_items_that_are_not_two(data: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_items(bytes.fromhex(data), 2)
    assert caught.value.code is C.MALFORMED_VALUE


def test_items_hold_no_references() -> None:
    with pytest.raises(RemoteProtocolError, match="none came with it") as caught:
        decode_items(b"\x81" + encode_value(Reference(0)), 1)
    assert caught.value.code is C.MALFORMED_VALUE


def test_constants() -> None:
    assert Limits().nesting == NESTING
    assert TAG_REFERENCE in ALLOWED_TAGS
