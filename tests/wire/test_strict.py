"""What strict decoding relies on in cbor2: its texts, its tags, its way of wrapping errors."""

from __future__ import annotations

import cbor2
import pytest

from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.wire.heads import encode_head
from telewire.wire.strict import CBOR2_TAGS, load_strict, refuse_unknown_tag, refusing, show


def code_of(data: bytes) -> ErrorCode:
    with pytest.raises(RemoteProtocolError) as caught:
        load_strict(data, "thing", 4, {25: refusing(25)}, ErrorCode.MALFORMED_VALUE)
    assert "thing" in str(caught.value) or "Tag 25" in str(caught.value)
    return caught.value.code


def test_the_two_texts_of_cbor2_that_have_codes_of_their_own() -> None:
    with pytest.raises(cbor2.CBORDecodeError, match=r"^maximum container nesting depth"):
        cbor2.loads(b"\x81\x81\x81\x01", max_depth=2)
    with pytest.raises(cbor2.CBORDecodeError, match="Duplicate map key"):
        cbor2.loads(b"\xa2\x01\x01\x01\x01", allow_duplicate_keys=False)
    assert code_of(b"\x81\x81\x81\x81\x81\x01") is ErrorCode.NESTING_TOO_DEEP
    assert code_of(b"\xa2\x01\x01\x01\x01") is ErrorCode.DUPLICATE_KEY


def test_an_empty_container_counts_as_a_level_although_cbor2_does_not_count_it() -> None:
    assert cbor2.loads(b"\x81\x81\x80", max_depth=2) == [[[]]]
    assert load_strict(b"\x81\x81\x81\x80", "thing", 4, {}, ErrorCode.MALFORMED) == [[[[]]]]
    assert load_strict(b"\x81\x81\x81\x81\x01", "thing", 4, {}, ErrorCode.MALFORMED) == [[[[1]]]]
    for head in (b"\x81", b"\xa1\x00"):
        for empty in (b"\x80", b"\xa0", b"\x98\x00", b"\xb8\x00"):
            assert code_of(head * 4 + empty) is ErrorCode.NESTING_TOO_DEEP


def test_what_comes_after_deep_data_is_looked_at_too() -> None:
    deep = b"\x81\x81\x81\x81\x01"
    assert code_of(deep + b"\x01") is ErrorCode.MALFORMED_VALUE
    beside = b"\x82\x81\x81\x81\x01\xd8\x19\x00"
    assert code_of(beside) is ErrorCode.FORBIDDEN_TAG


def test_every_tag_that_cbor2_knows_is_listed() -> None:
    contents = [b"\x01", b"\x41\x00", b"\x61x", b"\x82\x01\x02", b"\xa1\x01\x01", b"\x50" + bytes(16)]
    for tag in range(70_000):
        if tag in CBOR2_TAGS:
            continue
        for content in contents:
            decoded = cbor2.loads(encode_head(6, tag) + content)
            assert type(decoded) is cbor2.CBORTag, f"cbor2 now decodes tag {tag}; add it to CBOR2_TAGS."


def test_unknown_tags() -> None:
    with pytest.raises(RemoteProtocolError, match=r"^Tag 7 is not allowed here") as caught:
        refuse_unknown_tag(cbor2.CBORTag(7, 1), False)
    assert caught.value.code is ErrorCode.FORBIDDEN_TAG


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(1 << 100_000, "an integer of 100001 bits", id="huge"),
        (-5, "-5"),
        ("x\n\x1b", r"'x\n\x1b'"),
        ([[[["deep"]]]], "[[[...]]]"),
    ],
)
def test_values_in_messages_are_short_and_escaped(value: object, text: str) -> None:
    assert show(value) == text
    assert len(show("x" * 1000)) < 100
