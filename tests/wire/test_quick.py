"""The quick paths write and read what the full ones do: small values, small frames, small payloads."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import cbor2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.wire import frames as f
from telewire.wire.codec import encode_frame
from telewire.wire.encode import encode_call, encode_end
from telewire.wire.heads import ARRAY, BYTES, MAP, TEXT, encode_head, encode_int
from telewire.wire.quick import _keys, encode_arguments, encode_small
from telewire.wire.strict import load_strict
from telewire.wire.value_encode import _dump_plain, _Encoder
from telewire.wire.values import ValueEncodeError, decode_value, encode_value
from tests.wire import strategies

MARKED = b"\x49telewire\xff"
"""What the quick way of decoding puts behind the data."""
LEVELS, LENGTH, KEY, BYTES_LENGTH = 8, 32, 40, 255


def fully(value: object) -> bytes:
    """What the full encoder writes."""
    return _Encoder(None, 64).encode(value, 0)


def is_small(value: Any, levels: int = LEVELS) -> bool:
    """The definition of small and plain, written down a second time."""
    kind = type(value)
    if kind is str:
        return (
            all(not 0xD800 <= ord(letter) < 0xE000 for letter in value)
            and len(value.encode()) <= BYTES_LENGTH
        )
    if kind is bytes:
        return bool(len(value) <= BYTES_LENGTH)
    if kind is int:
        return bool(-(1 << 64) <= value < 1 << 64)
    if kind is float:
        return math.isfinite(value)
    if kind in (list, tuple):
        return levels > 0 and len(value) < LENGTH and all(is_small(part, levels - 1) for part in value)
    if kind is dict:
        return (
            levels > 0
            and len(value) < LENGTH
            and all(type(key) is str and len(key) <= KEY and is_small(key) for key in value)
            and all(is_small(part, levels - 1) for part in value.values())
        )
    return value is None or kind is bool


small: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 65), 1 << 65)
    | st.integers(-70_000, 70_000)
    | st.floats()
    | st.text(st.characters(), max_size=50)
    | st.text(st.characters(codec=None), max_size=3)
    | st.binary(max_size=50),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(st.text(max_size=45) | st.integers(), inner, max_size=4)
    ),
)


@settings(max_examples=400)
@given(small | strategies.values)
@example({"a": True, "b": False, "c": 7, "d": "text", "e": 70_000, "f": None})
@example(["text", 7, True, 1024, 70_000, 1.5, b"bytes", None, -3])
@example([float("inf")])
@example([bytes(256)])
@example({1: 2})
@example([object])
def test_small_values_have_the_bytes_of_the_full_encoder(value: object) -> None:
    quick = encode_small(value)
    assert (quick is not None) is is_small(value)
    if quick is not None:
        assert quick == fully(value)


@settings(max_examples=200)
@given(
    st.lists(small | strategies.values, max_size=3), st.dictionaries(st.text(max_size=3), small, max_size=2)
)
@example([7, "text"], {})
@example([7], {"named": True})
@example(["\ud800"], {})
@example([object], {})
def test_arguments_have_the_bytes_of_the_value_that_they_are(
    args: list[object], kwargs: dict[str, object]
) -> None:
    assert encode_arguments(tuple(args), kwargs) == encode_small([args, kwargs])
    assert encode_arguments(tuple(args), {}) == encode_small([args, {}])


def nested(levels: int, wrap: Callable[[object], object] = lambda value: [value]) -> object:
    value: object = 1
    for _ in range(levels):
        value = wrap(value)
    return value


def keyed(value: object) -> object:
    return {"k": value}


@pytest.mark.parametrize(
    ("inside", "beyond"),
    [
        ("ä" * 127 + "x", "ä" * 128),
        (b"x" * 255, b"x" * 256),
        ([0] * 31, [0] * 32),
        ((0,) * 31, (0,) * 32),
        ({str(n): n for n in range(31)}, {str(n): n for n in range(32)}),
        ({"k" * 40: 0}, {"k" * 41: 0}),
        ((1 << 64) - 1, 1 << 64),
        (-(1 << 64), -(1 << 64) - 1),
        (nested(8), nested(9)),
        (nested(8, keyed), nested(9, keyed)),
        (nested(8, lambda value: (value,)), nested(9, lambda value: (value,))),
        ({"x": [{}]}, {"x": [{1: 1}]}),
        (5e-324, math.inf),
        (-1.7976931348623157e308, -math.inf),
        (-0.0, math.nan),
        ("\ud7ff", "\ud800"),
        ({"\ue000": 1}, {"\udfff": 1}),
        (True, Decimal(1)),
        ([[[]]], {1}),
        (None, bytearray(b"x")),
    ],
)
def test_at_the_bound_and_beyond(inside: Any, beyond: Any) -> None:
    assert is_small(inside)
    assert encode_small(inside) == fully(inside)
    assert not is_small(beyond)
    assert encode_small(beyond) is None
    assert encode_small([inside, [beyond]]) is None
    assert encode_small({"k": beyond}) is None


@pytest.mark.parametrize(
    "edge", [0, 23, 24, 255, 256, 1023, 1024, 65_535, 65_536, (1 << 32) - 1, 1 << 32, (1 << 64) - 1]
)
def test_integers_at_each_width(edge: int) -> None:
    for value in (edge, ~edge):
        assert encode_small(value) == fully(value) == cbor2.dumps(value)


@pytest.mark.parametrize("number", [0, 1023, 1024, 65535, 65536, 1 << 40, -1])
def test_integers_within_others_have_their_bytes(number: int) -> None:
    for value in ({"a": number}, [number], (number, {"b": [number]})):
        assert encode_small(value) == cbor2.dumps(value)


def test_more_keys_than_are_kept() -> None:
    for begin in range(0, 5000, 20):
        value = {f"key {number}": number for number in range(begin, begin + 20)}
        assert encode_small(value) == cbor2.dumps(value)
    assert len(_keys) <= 1024
    assert encode_small({"k" * 41: 1}) is None


def test_text_that_cannot_be_encoded_is_left_to_the_full_encoder() -> None:
    with pytest.raises(ValueEncodeError, match="lone surrogate"):
        fully("\ud800")


@settings(max_examples=200)
@given(strategies.values)
def test_plain_values_that_cbor2_encodes_have_the_bytes_of_the_full_encoder(value: object) -> None:
    plain = _dump_plain(value, 63)
    if plain is not None:
        assert plain == encode_small(value) or plain == fully(value)


# ---- frames -----------------------------------------------------------------------------------------------


def plainly(frame: f.Call | f.End | f.Item) -> bytes:
    """The layouts of the specification, written down a second time for frames with nothing attached."""
    parts = [encode_int({f.Call: 16, f.End: 17, f.Item: 19}[type(frame)]), encode_int(frame.stream)]
    if isinstance(frame, f.Call):
        target = frame.target
        parts.append(
            encode_int(target)
            if isinstance(target, int)
            else encode_head(TEXT, len(target.encode())) + target.encode()
        )
    payload = encode_head(BYTES, len(frame.payload)) + frame.payload
    parts += [encode_int(frame.flags), encode_int(frame.size), payload]
    count = len(parts)
    if frame.declarations:
        count += 1
        parts.append(encode_head(ARRAY, len(frame.declarations)))
        for one in frame.declarations:
            fields = [one.stream, one.kind] + ([] if one.number is None else [one.number])
            parts.append(encode_head(ARRAY, len(fields)) + b"".join(map(encode_int, fields)))
    if frame.extensions:
        count += 1
        parts.append(cbor2.dumps(frame.extensions, canonical=True))
    return encode_head(ARRAY, count) + b"".join(parts)


@settings(max_examples=300)
@given(st.one_of(strategies.calls, strategies.ends, strategies.items))
@example(f.Call(0, "f", 0, 511, bytes(511)))
@example(f.Call(0, "f", 0, 512, bytes(512)))
@example(f.Call(0, -1, 0, 1, b"x"))
@example(f.End(-1, 0, 511, bytes(511)))
@example(f.End(-1, 0, 512, bytes(512)))
@example(f.Item(0, 1, 2, b"x"))
@example(f.Item(0, 0, 1, b"x", (f.Declaration(1, f.Kind.ITEMS),)))
@example(f.Call(0, "f", 0, 0, b"", (), {0: 1}))
@example(f.Call(0, "f", 0, 0, b"", (), {}))
@example(f.Call(0, "f", 1, 3, b"x"))
def test_frames_have_the_bytes_of_their_layout(frame: f.Call | f.End | f.Item) -> None:
    assert encode_frame(frame) == plainly(frame)


@given(st.integers(0, 70_000), strategies.names | strategies.streams, st.binary(max_size=40))
@example(0, "f", bytes(511))
@example(0, "f", bytes(512))
@example(5, -1, bytes(65_536))
def test_frames_without_an_object_have_the_bytes_of_those_with(
    stream: int, target: str | int, payload: bytes
) -> None:
    size = len(payload)
    assert encode_call(stream, target, payload) == plainly(f.Call(stream, target, 0, size, payload))
    for reference in (stream, ~stream):
        assert encode_end(reference, payload) == plainly(f.End(reference, 0, size, payload))


# ---- one item, whole --------------------------------------------------------------------------------------


def strictly(data: bytes) -> object:
    """Decode in strict mode: the quick way where it may be taken."""
    return load_strict(data, "thing", 4, {}, ErrorCode.MALFORMED)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01\xf7",
        b"\xf7\xf7",
        b"\x01\x01",
        b"\x01\xf8\xf7",
        b"\x01\xf8\x17",
        b"\x01\xe7",
        b"\x41",
        b"\x61",
        b"\x18",
        b"\x82\x01",
        b"\xa1\x01",
        b"\xf8",
        b"\xd9\x01",
        b"\x81",
        b"\x42\x01",
        b"\x01\xf6",
        b"\x01\x80\xf7",
        b"\x01\x81\xf7",
        b"\x83\x01\x02",
        b"\x01" + MARKED,
        MARKED + MARKED,
        b"\x01" + MARKED[:-1],
        b"\x4a" + MARKED[:-1],
        b"\x83\x01" + MARKED,
    ],
)
def test_bytes_that_imitate_the_mark_of_the_end(data: bytes) -> None:
    """The quick way puts a mark behind the data and looks for it behind the first item."""
    with pytest.raises(RemoteProtocolError) as caught:
        strictly(data)
    assert caught.value.code is ErrorCode.MALFORMED


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"\x41\xf7", b"\xf7"),
        (b"\x82\x41\xf7\x01", [b"\xf7", 1]),
        (b"\x18\xf7", 247),
        (b"\x62\xc3\xb7", "÷"),
        (b"\xf7", cbor2.undefined),
        (b"\x82\xf7\x01", [cbor2.undefined, 1]),
        (MARKED, MARKED[1:]),
        (b"\x82" + MARKED + b"\x01", [MARKED[1:], 1]),
        (b"\x41\xff", b"\xff"),
        (b"\x81\x81\x81\x81\x01", [[[[1]]]]),
        (b"\x59\x20\x00" + bytes(8192), bytes(8192)),
    ],
)
def test_data_that_holds_the_mark_or_is_large_is_decoded_the_other_way(data: bytes, value: object) -> None:
    assert strictly(data) == value


@settings(max_examples=400)
@given(
    st.binary(max_size=12) | strategies.plain.map(cbor2.dumps),
    st.sampled_from([b"", b"\xf7", b"\x01", b"\xf8", MARKED, MARKED[:-1]]),
)
def test_both_ways_of_decoding_agree(data: bytes, behind: bytes) -> None:
    data += behind
    # The same data in a byte string that is too long for the quick way is decoded by the other.
    both: list[str | int] = []
    for padded in (data, b"\x82" + data + b"\x59\x20\x00" + bytes(8192)):
        try:
            value: Any = strictly(padded)
            if padded is not data and value[1] != bytes(8192):
                return  # What came behind the first item has taken the padding in.
            both.append(repr(value if padded is data else value[0]))
        except RemoteProtocolError as error:
            both.append(error.code)
    if isinstance(both[1], str):
        assert both[0] == both[1]


def test_an_empty_map_is_a_level_too() -> None:
    for levels in range(LEVELS - 2, LEVELS + 2):
        value: object = {}
        for _ in range(levels):
            value = [value]
        quick = encode_small(value)
        assert (quick is not None) is (levels < LEVELS)
        assert quick is None or quick == fully(value)


def test_maps_are_left_to_right() -> None:
    assert encode_small({"b": 1, "a": 2}) == encode_head(MAP, 2) + b"\x61b\x01\x61a\x02"


@pytest.mark.parametrize(
    "value", [247, {"a": 247, "b": 1}, {1: 247, 247: [247, {"a": None}]}, [247, {"a": 247}]]
)
def test_numbers_that_look_like_what_is_refused_are_taken(value: object) -> None:
    """In a small map, whose parts are looked at one by one: keys and values, plain ones and others."""
    payload = encode_value(value)
    assert b"\xf7" in payload
    assert decode_value(payload) == value


def test_what_is_refused_is_found_in_a_small_map() -> None:
    for payload in (b"\xa1\x61a\xf7", b"\xa2\x61a\x01\x61b\x81\xf7", b"\xa1\xf7\x01"):
        with pytest.raises(RemoteProtocolError):
            decode_value(payload)
