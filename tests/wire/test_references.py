"""References: how streams stand in values, what is said about them, and what a peer may not do with them."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest

from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.wire.heads import encode_head
from telewire.wire.values import (
    DETAILS,
    NESTING,
    Reference,
    ValueEncodeError,
    decode_items,
    decode_value,
    encode_value,
)
from tests.wire.value_cases import refused

C = ErrorCode
REFERENCE = "d9ea60"

# A reference and its bytes.
CASES: list[tuple[Reference, str]] = [
    (Reference(0), "00"),
    (Reference(1000), "1903e8"),
    (Reference(1, {}), "01"),
    (Reference(0, {"name": "a.txt"}), "82 00 a1 646e616d65 65612e747874"),
    (
        Reference(1, {"size": 256, "content_type": None}),
        "82 01 a2 6473697a65 190100 6c636f6e74656e745f74797065 f6",
    ),
    (Reference(2, {"home": 7}), "82 02 a1 64686f6d65 07"),
    (Reference(0, {"later": -1, "more": "x" * 24}), "82 00 a2 656c61746572 20 646d6f7265 7818" + "78" * 24),
    (Reference(0, {"later": 1 << 64}), "82 00 a1 656c61746572 c249010000000000000000"),
]


def always(index: int) -> bool:
    """Every index may repeat."""
    return True


@pytest.mark.parametrize(("reference", "data"), CASES)
def test_the_bytes_of_a_reference(reference: Reference, data: str) -> None:
    handles = [object() for _ in range(reference.index + 1)]
    payload = bytes.fromhex(REFERENCE + data)
    assert encode_value(reference) == payload
    assert encode_value([1, {"k": reference}]) == b"\x82\x01\xa1\x61k" + payload
    others = b"".join(encode_value(Reference(index)) for index in range(reference.index))
    array = encode_head(4, len(handles)) + others + payload

    seen: list[tuple[object, dict[str, object]]] = []

    def describe(handle: object, details: dict[str, object]) -> object:
        seen.append((handle, details))
        return "described"

    last = "described" if reference.details else handles[-1]
    assert decode_value(array, handles, describe) == [*handles[:-1], last]
    assert seen == ([(handles[-1], reference.details)] if reference.details else [])
    assert decode_value(array, handles) == handles


def test_a_reference_is_shown() -> None:
    assert repr(Reference(3)) == "Reference(3)"
    assert repr(Reference(3, {"size": 1})) == "Reference(3, {'size': 1})"


def test_empty_details_of_another_sender_are_details() -> None:
    payload = bytes.fromhex(REFERENCE + "82 00 a0")
    assert decode_value(payload, ("a",), lambda handle, details: (handle, details)) == ("a", {})


@pytest.mark.parametrize(
    "details",
    [{1: "x"}, {"x": 1.5}, {"x": True}, {"x": b""}, {"x": []}, {"x": {}}]
    + [{name: wrong} for name, kind in DETAILS.items() for wrong in ([1] if kind is str else ["1"])]
    + [{name: wrong} for name, kind in DETAILS.items() if kind is int for wrong in (-1, 1 << 53, True)],
)
def test_details_that_are_none(details: dict[Any, Any]) -> None:
    with pytest.raises(ValueEncodeError, match=r"value\['k'\] is described wrongly: ") as caught:
        encode_value({"k": Reference(0, details)})
    assert caught.value.path == "value['k']"
    payload = bytes.fromhex(REFERENCE + "8200") + cbor2.dumps(details)
    assert refused(payload, ("a",)) is C.MALFORMED_VALUE


def test_details_at_their_bounds() -> None:
    for details in ({"size": 0}, {"home": (1 << 53) - 1}, dict.fromkeys(DETAILS), {"other": 1 << 53}):
        payload = encode_value(Reference(0, details))
        assert decode_value(payload, ("a",), lambda _, said: said) == details


def test_text_that_cannot_be_encoded() -> None:
    with pytest.raises(ValueEncodeError, match="lone surrogate"):
        encode_value(Reference(0, {"name": "\ud800"}))


@pytest.mark.parametrize(
    "content",
    [
        "80",
        "81 00",
        "83 00 a0 00",
        "82 00 00",
        "82 00 f6",
        "82 00 80",
        "82 a0 00",
        "82 01 a0",
        "82 f5 a0",
        "a0",
        "f6",
    ],
)
def test_contents_that_are_none(content: str) -> None:
    payload = b"\x82" + encode_value(Reference(0)) + bytes.fromhex(REFERENCE + content)
    assert refused(payload, ("a",)) is C.MALFORMED_VALUE


def test_references_are_put_in_place() -> None:
    first, second = object(), [1]
    payload = encode_value({"a": Reference(1), "b": [Reference(0)]})
    assert decode_value(payload, (first, second)) == {"a": second, "b": [first]}
    assert decode_value(encode_value({1, Reference(0)}, None), (first,)) == {1, first}


def test_only_what_may_repeat_repeats() -> None:
    payload = encode_value([Reference(1), Reference(0), Reference(1, {"home": 3})])
    asked: list[int] = []

    def repeatable(index: int) -> bool:
        asked.append(index)
        return index == 1

    def describe(handle: object, details: object) -> object:
        return handle, details

    assert decode_value(payload, ("a", "b"), describe, repeatable) == ["b", "a", ("b", {"home": 3})]
    assert asked == [1]
    assert refused(payload, ("a", "b")) is C.MALFORMED_VALUE
    with pytest.raises(RemoteProtocolError, match="refers to declaration 1 twice"):
        decode_value(payload, ("a", "b"), None, lambda index: index == 0)


@pytest.mark.parametrize("index", ["02", "20", "f5", "f6", "6130", "1bffffffffffffffff"])
def test_references_to_nothing(index: str) -> None:
    payload = b"\x83" + encode_value(Reference(0)) + encode_value(Reference(1))
    assert refused(payload + b"\xd9\xea\x60" + bytes.fromhex(index), ("a", "b")) is C.MALFORMED_VALUE


def test_a_declaration_that_is_not_used() -> None:
    with pytest.raises(RemoteProtocolError, match="3 declarations, but does not use number 1") as caught:
        decode_value(encode_value([Reference(0), Reference(2)]), ("a", "b", "c"))
    assert caught.value.code is C.MALFORMED_VALUE


@pytest.mark.parametrize("before", ["", "81", "82 01", "d90102 81", "a1 01", "a1 81"])
def test_references_cannot_stand_in_keys(before: str) -> None:
    key = bytes.fromhex(before) + encode_value(Reference(0)) + (b"\x00" if before == "a1 81" else b"")
    with pytest.raises(RemoteProtocolError, match="The key of a map refers to a stream") as caught:
        decode_value(b"\xa1" + key + b"\x01", ("hashable",))
    assert caught.value.code is C.MALFORMED_VALUE


@pytest.mark.parametrize("wrap", [lambda r: r, lambda r: (1, r), lambda r: frozenset({r})])
def test_references_in_keys_are_not_sent(wrap: Any) -> None:
    with pytest.raises(ValueEncodeError, match="stands in the key of a map"):
        encode_value({wrap(Reference(0)): 1})
    # Beside a key that is more than plain they are.
    payload = encode_value({(1, frozenset({2})): Reference(0)})
    assert decode_value(payload, ("a",)) == {(1, frozenset({2})): "a"}


def test_members_of_sets_must_be_hashable() -> None:
    assert refused(b"\xd9\x01\x02\x81" + encode_value(Reference(0)), (bytearray(),)) is C.MALFORMED_VALUE


def test_references_are_not_looked_into() -> None:
    handle: list[object] = [cbor2.undefined]
    handle.append(handle)
    back: Any = decode_value(encode_value([Reference(0), "ñ"]), (handle,))
    assert back[0] is handle
    back = decode_value(encode_value([Reference(0, {"x": 1}), "ñ"]), ("a",), lambda *_: handle)
    assert back[0] is handle


@pytest.mark.parametrize("own", [1, 3])
def test_references_at_the_bound_of_nesting(own: int) -> None:
    value: object = Reference(0, {"size": 1} if own == 3 else None)
    for _ in range(NESTING - own):
        value = [value]
    payload = encode_value(value)
    back: Any = decode_value(payload, ("a",), lambda handle, _: handle)
    while isinstance(back, list):
        [back] = back
    assert back == "a"
    with pytest.raises(ValueEncodeError, match="nests deeper"):
        encode_value([value])
    assert refused(b"\x81" + payload, ("a",)) is C.NESTING_TOO_DEEP


# Refused at once, at the second and at the third attempt; and taken at the third.
@pytest.mark.parametrize(
    ("payload", "wrong"),
    [
        (encode_value([Reference(0, {"size": 1}), Reference(1)]) + b"\x00", True),
        (encode_value([Reference(0, {"size": 1}), Reference(1), "\u00f7" * 3000]), False),
        (encode_value([Reference(0, {"size": 1}), Reference(1)])[:-1] + b"\x01\x80", True),
        (
            b"\x83"
            + encode_value(Reference(0, {"size": 1}))
            + encode_value(Reference(1))
            + b"\x81" * 63
            + b"\x80",
            True,
        ),
        (
            b"\x83"
            + encode_value(Reference(0, {"size": 1}))
            + encode_value(Reference(1))
            + b"\x81" * 62
            + b"\x80",
            False,
        ),
        (
            b"\x84"
            + encode_value(Reference(0, {"size": 1}))
            + encode_value(Reference(1))
            + b"\x81" * 62
            + b"\x80\xc1\x00",
            True,
        ),
        (
            b"\x83"
            + encode_value(Reference(0, {"size": 1}))
            + encode_value(Reference(1))
            + b"\xb9\x00\x00"
            + b"\x58" * 600,
            True,
        ),
    ],
)
def test_a_place_is_described_once_however_often_decoding_begins_again(payload: bytes, wrong: bool) -> None:
    seen: list[object] = []

    def describe(handle: object, details: object) -> object:
        seen.append(handle)
        return "c"

    try:
        back: Any = decode_value(payload, ("a", "b"), describe)
    except RemoteProtocolError:
        assert wrong
    else:
        assert back[:2] == ["c", "b"]
        assert not wrong
    assert seen == ["a"]


def test_what_describe_refuses_is_malformed() -> None:
    payload = encode_value(Reference(0, {"home": 1}))

    def describe(handle: object, details: dict[str, object]) -> object:
        raise LookupError("no such stream")

    with pytest.raises(RemoteProtocolError) as caught:
        decode_value(payload, ("a",), describe)
    assert caught.value.code is C.MALFORMED_VALUE


def test_items_hold_no_references() -> None:
    with pytest.raises(RemoteProtocolError, match="none came with it") as caught:
        decode_items(b"\x81" + encode_value(Reference(0)), 1)
    assert caught.value.code is C.MALFORMED_VALUE
    assert refused(encode_value(Reference(0, {"size": 1}))) is C.MALFORMED_VALUE
