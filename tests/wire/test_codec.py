"""Batches and frames to bytes and back: exact bytes, exact frames, and a named error for all else."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.limits import Limits
from telewire.wire import frames as f
from telewire.wire.codec import (
    KNOWN_ODD_KEYS,
    decode_batch,
    encode_batch,
    encode_frame,
    encode_head,
    items_payload,
)
from telewire.wire.heads import encode_int
from tests.wire import strategies
from tests.wire.cases import CASES

LIMITS = Limits()
TOP = (1 << 53) - 1
C = ErrorCode


def decode(raw: object, limits: Limits = LIMITS) -> list[f.Frame]:
    """Decode a batch given as what it holds."""
    return decode_batch(cbor2.dumps(raw), limits)


def refused(batch: bytes, limits: Limits = LIMITS) -> ErrorCode:
    """Decode a batch that must be refused and return the code."""
    with pytest.raises(RemoteProtocolError) as caught:
        decode_batch(batch, limits)
    assert str(caught.value).endswith("."), "A message is a sentence."
    assert len(str(caught.value)) < 400
    return caught.value.code


def refused_frame(*frame: object, limits: Limits = LIMITS) -> ErrorCode:
    return refused(cbor2.dumps([list(frame)]), limits)


# ---- the table --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("frame", "data"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_case_is_encoded(frame: f.Frame, data: str) -> None:
    assert encode_frame(frame).hex() == data.replace(" ", "")


@pytest.mark.parametrize(("frame", "data"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_case_is_decoded(frame: f.Frame, data: str) -> None:
    encoded = bytes.fromhex(data)
    assert decode_batch(b"\x81" + encoded, LIMITS) == [frame]
    assert decode_batch(b"\x98\x02" + encoded * 2, LIMITS) == [frame, frame]


@pytest.mark.parametrize("data", [case[2] for case in CASES], ids=[case[0] for case in CASES])
def test_every_truncation_and_every_trailing_byte_is_malformed(data: str) -> None:
    batch = b"\x81" + bytes.fromhex(data)
    for length in range(len(batch)):
        assert refused(batch[:length]) is C.MALFORMED
    for byte in range(256):
        assert refused(batch + bytes((byte,))) is C.MALFORMED


def test_every_type_has_a_case() -> None:
    assert {type(frame) for _, frame, _ in CASES} == set(f.Frame.__args__)


@given(strategies.frames)
def test_what_is_encoded_is_decoded_and_deterministic(frame: f.Frame) -> None:
    encoded = encode_frame(frame)
    assert decode_batch(encode_batch([encoded]), LIMITS) == [frame]
    assert cbor2.dumps(cbor2.loads(encoded), canonical=True) == encoded


@given(st.lists(strategies.frames, min_size=1, max_size=30))
def test_a_batch_keeps_the_order(frames: list[f.Frame]) -> None:
    assert decode_batch(encode_batch([encode_frame(frame) for frame in frames]), LIMITS) == frames


def test_an_empty_extension_map_is_left_out_and_taken() -> None:
    assert encode_frame(f.Ping(1, {})) == b"\x82\x04\x01"
    assert decode([[4, 1, {}]]) == [f.Ping(1, {})]


# ---- heads ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (0, "00"),
        (23, "17"),
        (24, "1818"),
        (255, "18ff"),
        (256, "190100"),
        (1023, "1903ff"),
        (1024, "190400"),
        (65535, "19ffff"),
        (65536, "1a00010000"),
        ((1 << 32) - 1, "1affffffff"),
        (1 << 32, "1b0000000100000000"),
        ((1 << 64) - 1, "1bffffffffffffffff"),
    ],
)
def test_heads_are_the_shortest(value: int, data: str) -> None:
    assert encode_int(value).hex() == data
    assert encode_int(~value) == encode_head(1, value)
    for major in range(7):
        head = bytes.fromhex(data)
        assert encode_head(major, value) == bytes((head[0] | major << 5,)) + head[1:]


@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_a_head_that_does_not_exist(value: int) -> None:
    with pytest.raises(OverflowError):
        encode_head(2, value)


def test_items_payload() -> None:
    assert items_payload([b"\x01", b"\x61x"]) == b"\x82\x01\x61x"


# ---- batches ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("", C.MALFORMED),
        ("80", C.MALFORMED),
        ("98 00", C.MALFORMED),
        ("01", C.MALFORMED),
        ("f6", C.MALFORMED),
        ("a1 01 02", C.MALFORMED),
        ("9f 82 04 01 ff", C.MALFORMED),
        ("81 9f 04 01 ff", C.MALFORMED),
        ("81 82 04 9c", C.MALFORMED),
        ("81 82 04 ff", C.MALFORMED),
        ("81 85 11 00 00 00 5f ff", C.MALFORMED),
        ("81 83 04 01 bf ff", C.MALFORMED),
        ("81 83 1b 00 7f ff", C.MALFORMED),
        ("81 83 1b 00 61 ff", C.MALFORMED),
        ("81 83 04 01 a1 0e f8 10", C.MALFORMED),
        ("81 01", C.INVALID_FRAME),
        ("81 80", C.INVALID_FRAME),
        ("81 a0", C.INVALID_FRAME),
        ("81 82 f5 01", C.INVALID_FRAME),
        ("81 82 f9 4400 01", C.INVALID_FRAME),
        ("81 82 80 01", C.INVALID_FRAME),
        ("81 82 61 61 01", C.INVALID_FRAME),
    ],
)
def test_a_batch_that_is_none(data: str, code: ErrorCode) -> None:
    assert refused(bytes.fromhex(data)) is code


@pytest.mark.parametrize(
    "data",
    ["98 01 82 04 01", "9a 00000001 82 04 01", "81 9b 0000000000000002 18 04 1b 0000000000000001"],
)
def test_encodings_that_are_not_the_shortest_are_taken(data: str) -> None:
    assert decode_batch(bytes.fromhex(data), LIMITS) == [f.Ping(1)]


def test_the_length_of_a_batch_at_the_bound_and_beyond() -> None:
    batch = encode_batch([encode_frame(f.Ping(1))])
    assert decode_batch(batch, Limits(batch_bytes=len(batch))) == [f.Ping(1)]
    assert refused(batch, Limits(batch_bytes=len(batch) - 1)) is C.BATCH_TOO_LARGE


@pytest.mark.parametrize("count", [1, 23, 24, 255, 256])
def test_the_frames_of_a_batch_at_the_bound_and_beyond(count: int) -> None:
    batch = encode_batch([encode_frame(f.Ping(1))] * count)
    assert len(decode_batch(batch, Limits(batch_frames=count))) == count
    assert refused(batch, Limits(batch_frames=count - 1)) is C.BATCH_TOO_LARGE


def test_declared_length_of_2_to_62() -> None:
    tracemalloc.start()
    length = (1 << 62).to_bytes(8, "big")
    assert refused(b"\x9b" + length) is C.BATCH_TOO_LARGE
    for inside in (b"\x9b", b"\xbb", b"\x5b", b"\x7b", b"\x82\x04\x9b", b"\x83\x04\x01\xbb"):
        assert refused(b"\x81" + inside + length) is C.MALFORMED
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("depth", [10_000, 1_000_000])
@pytest.mark.parametrize("head", [b"\x81", b"\xc6", b"\xd9\xea\x60", b"\xa1\x0e", b"\xd9\x01\x02\x81"])
def test_nesting_ten_thousand_deep(head: bytes, depth: int) -> None:
    batch = b"\x81" + head * depth + b"\x01"
    limits = Limits(batch_bytes=1 << 30)
    tracemalloc.start()
    assert refused(batch, limits) is C.NESTING_TOO_DEEP
    assert refused(b"\x81\x83\x04\x01\xa1\x0e" + batch, limits) is C.NESTING_TOO_DEEP
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * len(batch) + (1 << 20)


def test_nesting_at_the_bound_and_beyond() -> None:
    value: list[Any] = []
    for _ in range(63):
        value = [value]
    assert decode([[4, 1, {14: value}]]) == [f.Ping(1, {14: value})]
    assert refused(cbor2.dumps([[4, 1, {14: [value]}]])) is C.NESTING_TOO_DEEP
    text = cbor2.dumps([[4, 1, {0: 1, 14: ["x", b"y", 1.5, value]}]])
    assert refused(text + b"\x00") is C.NESTING_TOO_DEEP
    assert decode([[4, 1, {14: [[]]}]], Limits(nesting=2)) == [f.Ping(1, {14: [[]]})]
    assert refused(cbor2.dumps([[4, 1, {14: [[[]]]}]]), Limits(nesting=2)) is C.NESTING_TOO_DEEP


@pytest.mark.parametrize(
    "data",
    [
        "81 83 04 01 a2 0e 01 0e 01",
        "81 83 04 01 a2 0e 01 180e 01",
        "81 83 04 01 a1 06 a2 61 61 61 62 61 61 61 62",
        "81 87 00 01 01 80 a2 00 01 00 02 f6 f6",
    ],
)
def test_duplicate_key(data: str) -> None:
    assert refused(bytes.fromhex(data)) is C.DUPLICATE_KEY


def test_forbidden_tag() -> None:
    for tag in [*range(70_001), 1 << 32, (1 << 64) - 1]:
        head = encode_head(6, tag)
        with pytest.raises(RemoteProtocolError) as caught:
            decode_batch(b"\x81\x83\x04\x01\xa1\x0e" + head + b"\x41\x01", LIMITS)
        assert caught.value.code is C.FORBIDDEN_TAG, tag
        assert f"Tag {tag} " in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        "d9d9f7 81 82 04 01",
        "81 d9d9f7 82 04 01",
        "81 82 d9d9f7 04 01",
        "81 82 04 c2 41 01",
        "81 83 04 01 a1 c2 41 0e 01",
        "81 83 04 01 a1 0e 81 c1 01",
        "d90100 81 82 04 01",
    ],
)
def test_forbidden_tag_wherever_it_stands(data: str) -> None:
    assert refused(bytes.fromhex(data)) is C.FORBIDDEN_TAG


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_refused(data: bytes) -> None:
    for batch in (data, b"\x81" + data, b"\x81\x83" + data, b"\x81\x83\x04\x01\xa1\x0e" + data):
        try:
            frames = decode_batch(batch, LIMITS)
        except RemoteProtocolError:
            continue
        assert frames


@given(st.lists(strategies.frames, min_size=1, max_size=3), st.data())
def test_a_damaged_batch_is_frames_or_refused(frames: list[f.Frame], data: st.DataObject) -> None:
    batch = bytearray(encode_batch([encode_frame(frame) for frame in frames]))
    for _ in range(data.draw(st.integers(1, 3))):
        batch[data.draw(st.integers(0, len(batch) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode_batch(bytes(batch), LIMITS)
    except RemoteProtocolError:
        return
    again = encode_batch([encode_frame(frame) for frame in decoded])
    # Bytes, not frames: keys may have come in another order, and NaN equals nothing.
    assert encode_batch([encode_frame(frame) for frame in decode_batch(again, LIMITS)]) == again


# ---- fields -----------------------------------------------------------------------------------------

# A legal frame of each type, and which elements are protocol integers, streams, bytes or texts.
LEGAL: dict[int, tuple[list[Any], dict[int, str]]] = {
    0: ([0, 1, 1, [], {}, None, None], {1: "uint", 2: "uint", 3: "array", 4: "map", 5: "bytes", 6: "bytes"}),
    1: ([1, b"i", b"t", 1, 1], {1: "bytes", 2: "bytes", 3: "uint", 4: "uint"}),
    2: ([2, 1, 1], {1: "uint", 2: "uint"}),
    3: ([3, 1], {1: "uint"}),
    4: ([4, 1], {1: "uint"}),
    5: ([5, 1], {1: "uint"}),
    6: ([6, 1], {1: "uint"}),
    16: ([16, 1, "f", 0, 1, b"x"], {1: "uint", 2: "target", 3: "flags", 4: "size", 5: "bytes"}),
    17: ([17, 1, 0, 1, b"x"], {1: "stream", 2: "flags", 3: "size", 4: "bytes"}),
    18: ([18, 1, 2, 0, 1, b"x"], {1: "stream", 2: "uint", 3: "flags", 4: "size", 5: "bytes"}),
    19: ([19, 1, 0, 1, b"x"], {1: "stream", 2: "flags", 3: "size", 4: "bytes"}),
    20: ([20, 1, 0, 1, b"x"], {1: "stream", 2: "flags", 3: "uint", 4: "bytes"}),
    21: ([21, 1, 0, b"x"], {1: "stream", 2: "flags", 3: "bytes"}),
    22: ([22, 1, 0, b"x"], {1: "stream", 2: "flags", 3: "bytes"}),
    23: ([23, 1, 1, b""], {1: "stream", 2: "uint", 3: "bytes"}),
    24: ([24, 1, 1, b""], {1: "stream", 2: "uint", 3: "bytes"}),
    25: ([25, 1, 1], {1: "stream", 2: "uint"}),
    26: ([26, 1, 1, ""], {1: "uint", 2: "uint", 3: "text"}),
    27: ([27, 1, ""], {1: "uint", 2: "text"}),
    130: ([130, 1], {1: "stream"}),
}
GOOD: dict[str, list[Any]] = {
    "uint": [1, TOP],
    "stream": [0, -1, TOP, -TOP - 1],
    "target": ["", "f", 0, TOP, -TOP - 1],
    "flags": [0],
    "size": [1],
    "bytes": [b"x"],
    "text": ["", "x"],
    "array": [[], [0, TOP]],
    "map": [{}, {0: TOP, TOP: 0, 1000: 1}],
}
COMMON_BAD: list[Any] = [None, True, False, 1.0, cbor2.undefined, cbor2.CBORSimpleValue(5)]
BAD: dict[str, list[Any]] = {
    "uint": [-1, TOP + 1, (1 << 64) - 1, "1", b"", [], {}],
    "stream": [TOP + 1, -TOP - 2, "1", b"", [], {}],
    "target": [TOP + 1, -TOP - 2, b"f", ["f"], {}],
    "flags": [-1, 8, 9, 256, 1 << 60, "0", b"", [], {}],
    "size": [0, 2, -1, TOP + 1, "1", b"", [], {}],
    "bytes": ["x", 1, [], {}],
    "text": [b"x", 1, [], {}],
    "array": ["x", 1, {}, [-1], [TOP + 1], ["x"], [True], [[]]],
    "map": [
        "x",
        1,
        [],
        {-1: 0},
        {0: -1},
        {0: TOP + 1},
        {TOP + 1: 0},
        {"x": 1},
        {1: "x"},
        {True: 1},
        {0: True},
    ],
}
SLOTS = [(kind, at, rule) for kind, (_, rules) in LEGAL.items() for at, rule in rules.items()]


@pytest.mark.parametrize(("kind", "at", "rule"), SLOTS)
def test_a_field_of_each_legal_form_is_taken(kind: int, at: int, rule: str) -> None:
    for good in GOOD[rule]:
        frame = list(LEGAL[kind][0])
        frame[at] = good
        if kind == 0 and at == 1:
            frame[2] = TOP
        if kind == 0 and at >= 5:
            frame[5] = frame[6] = good
        assert len(decode([frame])) == 1


@pytest.mark.parametrize(("kind", "at", "rule"), SLOTS)
def test_a_field_of_another_form_is_refused(kind: int, at: int, rule: str) -> None:
    for bad in [*COMMON_BAD, *BAD[rule]]:
        if kind == 0 and rule == "bytes" and bad is None:
            continue  # No session and no token.
        for extra in ([], [{4: 1}]):
            frame = [*LEGAL[kind][0], *extra]
            frame[at] = bad
            assert refused_frame(*frame) is C.INVALID_FRAME, bad


@pytest.mark.parametrize("kind", LEGAL)
def test_arity(kind: int) -> None:
    frame = LEGAL[kind][0]
    assert len(decode([frame])) == 1
    for length in range(1, len(frame)):
        assert refused_frame(*frame[:length]) is C.INVALID_FRAME
    if kind < 128:
        assert len(decode([[*frame, {4: 1}]])) == 1
        extras: list[list[Any]] = [[{4: 1}, {4: 1}], [1], [[]], [{4: 1}, 1], [{4: 1}, []], [None]]
        for extra in extras:
            assert refused_frame(*frame, *extra) is C.INVALID_FRAME


def test_integers_at_2_to_53() -> None:
    assert decode([[3, TOP]]) == [f.Ack(TOP)]
    assert refused_frame(3, TOP + 1) is C.INVALID_FRAME
    assert decode([[25, -TOP - 1, TOP]]) == [f.Grant(-TOP - 1, TOP)]
    assert refused_frame(25, -TOP - 2, TOP) is C.INVALID_FRAME
    assert decode([[16, TOP, -TOP - 1, 1, TOP, b"x"]]) == [f.Call(TOP, -TOP - 1, 1, TOP, b"x")]
    assert refused_frame(16, TOP, "f", 1, TOP + 1, b"x") is C.INVALID_FRAME
    assert refused_frame(4, 1, {TOP + 1: 0}) is C.INVALID_FRAME
    assert refused_frame(4, 1, {0: TOP + 1}) is C.INVALID_FRAME
    # An extension that we do not know may have any integer as its value.
    assert decode([[4, 1, {TOP: (1 << 64) - 1}]]) == [f.Ping(1, {TOP: (1 << 64) - 1})]


@pytest.mark.parametrize("kind", [16, 17, 18, 19, 22])
@pytest.mark.parametrize("flags", [2, 3, 4, 5, 6, 7])
def test_flags_of_features_that_do_not_exist(kind: int, flags: int) -> None:
    frame, rules = LEGAL[kind]
    at = next(at for at, rule in rules.items() if rule == "flags")
    assert refused_frame(*frame[:at], flags, *frame[at + 1 :]) is C.UNSUPPORTED


@pytest.mark.parametrize("frame", [[20, 1, 1, 1, b"x"], [21, 1, 1, b"x"]])
def test_items_and_chunks_are_never_fragmented(frame: list[Any]) -> None:
    assert refused_frame(*frame) is C.INVALID_FRAME


@pytest.mark.parametrize("frame", [[20, 1, 0, 1, b""], [20, 1, 0, 0, b"x"], [21, 1, 0, b""], [22, 1, 0, b""]])
def test_frames_that_carry_nothing(frame: list[Any]) -> None:
    assert refused_frame(*frame) is C.INVALID_FRAME


@pytest.mark.parametrize("front", [[16, 1, "f"], [17, 1], [18, 1, 2], [19, 1]])
def test_size_with_and_without_more(front: list[Any]) -> None:
    assert len(decode([[*front, 0, 0, b""]])) == 1
    assert len(decode([[*front, 1, 2, b"x"]])) == 1
    for flags, size, payload in ((0, 2, b"x"), (0, 0, b"x"), (1, 1, b"x"), (1, 0, b"x"), (1, 1, b"")):
        assert refused_frame(*front, flags, size, payload) is C.INVALID_FRAME
    assert refused_frame(*front, 1, 2, b"x", [[1, 1]]) is C.INVALID_FRAME
    assert refused_frame(22, 1, 1, b"x", [[1, 1]]) is C.INVALID_FRAME


@pytest.mark.parametrize(
    "frame", [[16, 1, "f", 0], [17, 1, 0], [18, 1, 1, 0], [19, 1, 0], [20, 1, 0], [21, 1, 0], [22, 1, 0]]
)
def test_fragment_bytes_at_the_bound_and_beyond(frame: list[Any]) -> None:
    limits = Limits(fragment_bytes=5)
    sizes = {20: [1], 21: [], 22: []}
    for length in (5, 6):
        whole = [*frame, *sizes.get(frame[0], [length]), b"x" * length]
        if length == 5:
            assert len(decode([whole], limits)) == 1
        else:
            assert refused_frame(*whole, limits=limits) is C.INVALID_FRAME


@pytest.mark.parametrize("kind", [23, 24])
def test_reason_bytes_at_the_bound_and_beyond(kind: int) -> None:
    limits = Limits(reason_bytes=5)
    assert len(decode([[kind, 1, 1, b"12345"]], limits)) == 1
    assert refused_frame(kind, 1, 1, b"123456", limits=limits) is C.LIMIT_EXCEEDED
    assert refused_frame(kind, 1, 1, b"123456", limits=replace(limits, fragment_bytes=5)) is C.INVALID_FRAME


@pytest.mark.parametrize("front", [[26, 1, 1], [27, 1]])
def test_texts_at_the_bound_and_beyond(front: list[Any]) -> None:
    limits = Limits(reason_bytes=4)
    assert len(decode([[*front, "ää"], [*front, "1234"]], limits)) == 2
    assert refused_frame(*front, "äää", limits=limits) is C.LIMIT_EXCEEDED
    assert refused_frame(*front, "12345", limits=limits) is C.LIMIT_EXCEEDED


@pytest.mark.parametrize("tail", [[], [{4: 1}]])
def test_name_bytes_at_the_bound_and_beyond(tail: list[Any]) -> None:
    limits = Limits(name_bytes=8)
    for name in ("12345678", "ääää", "\U0001f600\U0001f600", "12"):
        assert len(decode([[16, 1, name, 0, 1, b"x", *tail]], limits)) == 1
    for name in ("123456789", "äääää", "\U0001f600\U0001f600x"):
        assert refused_frame(16, 1, name, 0, 1, b"x", *tail, limits=limits) is C.LIMIT_EXCEEDED


@pytest.mark.parametrize(("value", "size"), [(b"12345", 6), (float("nan"), 9), ([{float("inf"): 1.5}], 20)])
def test_metadata_bytes_at_the_bound_and_beyond(value: object, size: int) -> None:
    extensions: f.Extensions = {6: {"a": "b"}, 14: value}
    [taken] = decode([[4, 1, extensions]], Limits(metadata_bytes=8 + size))
    assert repr(taken) == repr(f.Ping(1, extensions))  # A NaN is equal to nothing.
    assert refused_frame(4, 1, extensions, limits=Limits(metadata_bytes=7 + size)) is C.LIMIT_EXCEEDED


def test_references_at_the_bound_and_beyond() -> None:
    limits = Limits(references=2)
    declarations = [[1, 1], [2, 4, 0]]
    expected = (f.Declaration(1, f.Kind.PROMISE), f.Declaration(2, f.Kind.FUNCTION, 0))
    assert decode([[22, 1, 0, b"x", declarations]], limits) == [f.Fragment(1, 0, b"x", expected)]
    frame = [22, 1, 0, b"x", [*declarations, [3, 1]]]
    assert refused_frame(*frame, limits=limits) is C.LIMIT_EXCEEDED


@pytest.mark.parametrize(
    "bad",
    [
        1,
        [],
        [1],
        [1, 0],
        [1, 6],
        [1, True],
        [1, 1.0],
        [1, "x"],
        [1, []],
        [-1, 1],
        [TOP + 1, 1],
        [True, 1],
        ["x", 1],
        [1, 1, 0],
        [1, 2, 0],
        [1, 3, 0],
        [1, 4],
        [1, 5],
        [1, 4, -1],
        [1, 5, "x"],
        [1, 4, TOP + 1],
        [1, 4, 0, 0],
        {1: 1},
    ],
)
def test_declarations_that_are_none(bad: object) -> None:
    assert refused_frame(17, 1, 0, 1, b"x", [[1, 1], bad]) is C.INVALID_FRAME


@pytest.mark.parametrize("bad", [[], 1, None, "x"])
def test_declarations_are_a_list_of_at_least_one(bad: object) -> None:
    assert refused_frame(17, 1, 0, 1, b"x", bad) is C.INVALID_FRAME


def test_hello_whose_fields_contradict_each_other() -> None:
    assert refused_frame(0, 2, 1, [], {}, None, None) is C.INVALID_FRAME
    assert refused_frame(0, 1, 1, [], {}, b"i", None) is C.INVALID_FRAME
    assert refused_frame(0, 1, 1, [], {}, None, b"t") is C.INVALID_FRAME


# ---- extension maps -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        *((key, [0, TOP], [-1, TOP + 1, 1.5, "1", None, True]) for key in (0, 2, 4, 16)),
        (6, [{}, {"a": "b"}], [1, [], {"a": 1}, {1: "a"}, {b"a": "b"}, None]),
        (8, ["", "x"], [1, b"x", None]),
        (10, [b"", b"x"], [1, "x", None]),
        (12, [{}, {"a": "b"}], [1, [], {"a": 1}, {1: "a"}, None]),
        (18, ["", "x"], [1, b"x", None]),
    ],
)
def test_known_extension_keys_have_types(key: int, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert decode([[4, 1, {key: value}]]) == [f.Ping(1, {key: value})]
    for value in bad:
        assert refused_frame(4, 1, {key: value}) is C.INVALID_FRAME, value


def test_unknown_extension_keys_are_kept_for_the_core() -> None:
    extensions: f.Extensions = {1: [1, {"x": None}], 14: True, 99: {1: [b"x"], "y": -1.5, (1, 2): {}}}
    assert decode([[4, 1, extensions]]) == [f.Ping(1, extensions)]
    assert frozenset() == KNOWN_ODD_KEYS


@pytest.mark.parametrize("bad", [cbor2.undefined, cbor2.CBORSimpleValue(0), cbor2.CBORSimpleValue(255)])
def test_values_that_mean_nothing(bad: object) -> None:
    for value in (bad, [bad], {1: bad}, {bad: 1}, [[1, {2: [bad]}]], {(1, bad): 1}):
        assert refused_frame(4, 1, {14: value}) is C.INVALID_FRAME
        assert refused_frame(64, value) is C.INVALID_FRAME
    nested = bytes.fromhex("81 83 04 01 a1 0e a1 a1 01") + cbor2.dumps(bad) + b"\x00"
    assert refused(nested) is C.INVALID_FRAME


@pytest.mark.parametrize("key", ["0", -1, 1.5, None, True, b"x", (1,)])
def test_extension_keys_are_uints(key: object) -> None:
    assert refused_frame(4, 1, {key: 0}) is C.INVALID_FRAME


# ---- types --------------------------------------------------------------------------------------------


def test_every_type_is_known_ignorable_or_refused() -> None:
    for kind in [*range(-2, 70), 127, 128, 129, 65534, 65535, 65536, 65537, TOP, (1 << 64) - 1]:
        if kind in LEGAL:
            continue
        if 7 <= kind <= 15 or 64 <= kind <= 127:
            assert decode([[kind]]) == decode([[kind, "x", {1: 2}, {1: 2}]]) == [f.Unknown(kind)]
        elif 128 <= kind <= 65535:
            assert decode([[kind, -5], [kind, 5, "x", {}]]) == [f.Unknown(kind, -5), f.Unknown(kind, 5)]
            assert refused_frame(kind) is refused_frame(kind, "x") is C.INVALID_FRAME
        else:
            assert refused_frame(kind, 1) is C.INVALID_FRAME


def test_all_codes_are_legal() -> None:
    for code in (0, 1, 45, 46, 9999, TOP):
        assert decode([[18, 1, code, 0, 0, b""], [23, 1, code, b""], [24, 1, code, b""]]) == [
            f.Error(1, code, 0, 0, b""),
            f.Stop(1, code),
            f.Reset(1, code),
        ]
        assert decode([[26, 1, code, ""], [27, code, ""]]) == [f.GoAway(1, code), f.Close(code)]


def test_messages_are_short_whatever_came() -> None:
    for huge in ("x" * 60_000, b"x" * 60_000, ["x" * 20_000] * 3, {i: i for i in range(9000)}):
        assert refused_frame(3, huge) is C.INVALID_FRAME
        assert refused(cbor2.dumps([[4, 1, {14: {"k" * 50_000: 1}}]]) + b"\x00") is C.MALFORMED
    key = cbor2.dumps("k" * 50_000)
    assert refused(b"\x81\x83\x04\x01\xa1\x0e\xa2" + key + b"\x01" + key + b"\x01") is C.DUPLICATE_KEY
