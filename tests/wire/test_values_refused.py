"""Payloads that are refused, each with its named error, and references: what a peer can send."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.limits import Limits
from telewire.wire.heads import encode_head
from telewire.wire.values import (
    ALLOWED_TAGS,
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
from tests.wire.value_cases import CASES, HUGE, plain, refused

C = ErrorCode


# ---- what is refused --------------------------------------------------------------------------------------


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
        # 12:00:00 with the offsets +00:99, +00:00:99 and +24:00, and 24:00 in each form.
        "d9ea62 6e 31323a30303a30302b30303a3939",
        "d9ea62 71 31323a30303a30302b30303a30303a3939",
        "d9ea62 6e 31323a30303a30302b32343a3030",
        "d9ea62 68 32343a30303a3030",
        "d9ea61 73 323032342d30312d30315432343a30303a3030",
        "c0 74 323032342d30312d30315432343a30303a30305a",
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
    frozen: Any = cbor2.frozendict({1: (2, frozenset({3}))})
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
