"""The CDDL and the codec say the same: what one allows the other takes, what one refuses the other does."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cddl_verifier import Validator, schema_diagnostics  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.limits import Limits
from telewire.wire import frames as f
from telewire.wire.codec import decode_batch, encode_batch, encode_frame
from telewire.wire.values import ALLOWED_TAGS, decode_value, encode_value
from tests.wire import strategies
from tests.wire.cases import CASES

SCHEMA = Path(__file__).parents[2] / "spec" / "telewire.cddl"
VALIDATOR = Validator(SCHEMA)
logging.getLogger("cddl_verifier").setLevel(logging.CRITICAL)  # It logs each refusal.
LIMITS = Limits()

# What the CDDL says in comments only: two fields at once, or the limits of a connection.
BEYOND_CDDL = {ErrorCode.LIMIT_EXCEEDED, ErrorCode.NESTING_TOO_DEEP, ErrorCode.BATCH_TOO_LARGE}


def allows(data: bytes, rule: str = "batch") -> bool:
    """Whether the CDDL allows one item."""
    return bool(VALIDATOR.validate(data, root_type=rule).valid)


def takes(data: bytes) -> bool:
    """Whether the codec takes a batch."""
    try:
        decode_batch(data, LIMITS)
    except RemoteProtocolError:
        return False
    return True


def test_the_schema_is_sound() -> None:
    assert list(schema_diagnostics(SCHEMA)) == []


@pytest.mark.parametrize("data", [case[2] for case in CASES], ids=[case[0] for case in CASES])
def test_case_is_allowed(data: str) -> None:
    assert allows(b"\x81" + bytes.fromhex(data))


@given(st.lists(strategies.frames, min_size=1, max_size=3))
def test_everything_that_is_emitted_is_allowed(frames: list[f.Frame]) -> None:
    assert allows(encode_batch([encode_frame(frame) for frame in frames]))


atoms: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        False,
        -1,
        0,
        1,
        2,
        5,
        23,
        1 << 53,
        -(1 << 53) - 1,
        1.0,
        "x",
        b"",
        b"x",
        [],
        {},
        {0: 1},
        {0: "x"},
        {6: {"a": "b"}},
        {6: {"a": 1}},
        {8: b""},
        {10: ""},
        {1: [1.5]},
        {14: cbor2.CBORSimpleValue(7)},
        {-1: 1},
        {"x": 1},
        [[1, 1]],
        [[1, 4, 2]],
        [[1, 4]],
        [[-1, 1]],
        [[1, 1, 1]],
        [[1, 9]],
        cbor2.CBORTag(7, 1),
        cbor2.undefined,
        cbor2.CBORSimpleValue(7),
    ]
)


@settings(max_examples=300)
@given(strategies.frames, st.data())
def test_of_mutants_the_codec_takes_what_the_cddl_allows(frame: f.Frame, data: st.DataObject) -> None:
    """Change, drop or add elements of a frame and compare the two verdicts."""
    raw: list[Any] = cbor2.loads(encode_frame(frame))
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.integers(0, len(raw)))
        replacement = data.draw(st.lists(atoms, max_size=1))
        raw[at : at + data.draw(st.integers(0, 1))] = replacement
    batch = cbor2.dumps([raw])
    code = None
    try:
        decode_batch(batch, LIMITS)
    except RemoteProtocolError as error:
        code = error.code
    assert (code is None) == allows(batch) or code in BEYOND_CDDL or is_about_two_fields(raw), raw


def is_about_two_fields(raw: list[Any]) -> bool:
    """Whether a frame that the CDDL allows contradicts itself, as its comments say it must not."""
    kind = raw[0]
    if kind == f.FrameType.HELLO:
        return bool(raw[1] > raw[2])
    at = {16: 3, 17: 2, 18: 3, 19: 2}.get(kind)
    if at is not None:
        flags, size, payload, *rest = raw[at:]
        declared = bool(rest) and isinstance(rest[0], list)
        return bool(size <= len(payload) or not payload or declared if flags else size != len(payload))
    return kind == f.FrameType.FRAGMENT and raw[2] == 1 and any(isinstance(part, list) for part in raw[4:])


@pytest.mark.parametrize(("name", "frame", "data"), CASES, ids=[case[0] for case in CASES])
def test_every_element_replaced_by_every_atom(name: str, frame: f.Frame, data: str) -> None:
    del name, frame
    original: list[Any] = cbor2.loads(bytes.fromhex(data))
    replacements: list[Any] = [None, True, -1, 0, 1, 1 << 53, "x", b"", b"x", [], {}, cbor2.undefined]
    for at in range(1, len(original)):
        for atom in replacements:
            raw = [*original[:at], atom, *original[at + 1 :]]
            batch = cbor2.dumps([raw])
            assert takes(batch) == allows(batch) or is_about_two_fields(raw), raw


# ---- values -----------------------------------------------------------------------------------------------


@given(strategies.values)
def test_every_value_is_allowed(value: object) -> None:
    assert allows(encode_value(value), "value")


@pytest.mark.parametrize("tag", [*range(300), 1004, 43000, 55799, *range(59_995, 60_010)])
def test_the_same_tags_are_allowed(tag: int) -> None:
    contents = [1, "x", "2026-01-01T00:00:00Z", b"", b"1234", bytes(16), [], [1, 1], [1, 1, 1]]
    assert any(allows(cbor2.dumps(cbor2.CBORTag(tag, c)), "value") for c in contents) is (tag in ALLOWED_TAGS)


@pytest.mark.parametrize("value", [cbor2.undefined, cbor2.CBORSimpleValue(1), [cbor2.undefined]])
def test_values_without_a_meaning_are_not_allowed(value: object) -> None:
    data = cbor2.dumps(value)
    assert not allows(data, "value")
    with pytest.raises(RemoteProtocolError):
        decode_value(data)


@pytest.mark.parametrize(
    ("content", "allowed"),
    [
        (0, True),
        ((1 << 53) - 1, True),
        ([0, {}], True),
        ([0, {"name": "x", "size": 0, "content_type": "y", "home": (1 << 53) - 1}], True),
        ([0, {"name": None, "size": None, "content_type": None, "home": None}], True),
        ([0, {"later": "x", "more": -1, "most": 1 << 64, "none": None, "": ""}], True),
        (-1, False),
        ("0", False),
        (None, False),
        ([0], False),
        ([0, None], False),
        ([0, {}, 0], False),
        ([-1, {}], False),
        ([0, {1: "x"}], False),
        ([0, {"x": 1.5}], False),
        ([0, {"x": True}], False),
        ([0, {"x": b""}], False),
        ([0, {"x": ["x"]}], False),
        ([0, {"name": 1}], False),
        ([0, {"content_type": 1}], False),
        ([0, {"size": "1"}], False),
        ([0, {"size": -1}], False),
        ([0, {"home": 1 << 53}], False),
        ([0, {"home": False}], False),
    ],
)
def test_references_are_allowed_and_taken_alike(content: Any, allowed: bool) -> None:
    data = cbor2.dumps(cbor2.CBORTag(60000, content))
    assert allows(data, "value") is allowed
    with pytest.raises(RemoteProtocolError) as caught:
        decode_value(data, range(1 << 53))
    # Where the reference is taken, all other declarations are missing.
    assert ("does not use number" in str(caught.value)) is allowed
