"""Safe values only (D17), where the tests of the wire leave a corner: tags at every place, and in frames."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.limits import Limits
from telewire.wire import frames as f
from telewire.wire.codec import decode_batch, encode_batch, encode_frame
from telewire.wire.heads import ARRAY, BYTES, MAP, TAG, TEXT, encode_head
from telewire.wire.values import ALLOWED_TAGS, decode_items, decode_value
from tests.wire.value_cases import refused

C = ErrorCode

SAMPLE = sorted(
    {(1 << bits) + step for bits in range(17, 65) for step in (-1, 0, 1)} - {1 << 64, (1 << 64) + 1}
)
CONTENTS = (b"\x01", b"\x41\x00", b"\x61x", b"\x82\x01\x02", b"\xa1\x01\x01", b"\x50" + bytes(16))


def code_of_batch(batch: bytes) -> ErrorCode:
    """With which code a batch is refused."""
    with pytest.raises(RemoteProtocolError) as caught:
        decode_batch(batch, Limits())
    return caught.value.code


def ping_with(value: bytes) -> bytes:
    """A batch of one PING whose extension map holds an encoded value."""
    return b"\x81\x83\x04\x00\xa1\x0e" + value


@pytest.mark.parametrize("tag", SAMPLE)
def test_tags_up_to_the_largest(tag: int) -> None:
    for content in CONTENTS:
        assert refused(encode_head(TAG, tag) + content) is C.FORBIDDEN_TAG


@given(st.integers(0, (1 << 64) - 1).filter(lambda tag: tag not in ALLOWED_TAGS), st.sampled_from(CONTENTS))
def test_a_tag_that_is_not_allowed_is_refused_wherever_it_stands(tag: int, content: bytes) -> None:
    tagged = encode_head(TAG, tag) + content
    inside = encode_head(TAG, 258) + b"\x81"
    for around in (b"\x81", b"\x82\x00", b"\xa1\x00", b"\xa1\x61k", inside, encode_head(TAG, 60000)):
        assert refused(around + tagged) is C.FORBIDDEN_TAG
    for key in (b"\xa1", b"\xa1\x81"):
        assert refused(key + tagged + b"\x00") is C.FORBIDDEN_TAG
    with pytest.raises(RemoteProtocolError) as caught:
        decode_items(b"\x81" + tagged, 1)
    assert caught.value.code is C.FORBIDDEN_TAG


def test_frames_hold_no_tag_at_all() -> None:
    for tag in [*range(70_001), *SAMPLE]:
        assert code_of_batch(ping_with(encode_head(TAG, tag) + b"\x01")) is C.FORBIDDEN_TAG, tag


@pytest.mark.parametrize("tag", sorted(ALLOWED_TAGS))
def test_what_is_allowed_in_values_is_not_in_frames(tag: int) -> None:
    for content in CONTENTS:
        assert code_of_batch(ping_with(encode_head(TAG, tag) + content)) in (C.FORBIDDEN_TAG, C.MALFORMED)


def test_nothing_decodes_to_a_tag_of_cbor2() -> None:
    """What cbor2 does not know it would hand out as it is; nothing of the kind gets through."""
    seen: list[object] = []
    for tag in ALLOWED_TAGS:
        for content in CONTENTS:
            try:
                seen.append(decode_value(encode_head(TAG, tag) + content))
            except RemoteProtocolError:
                continue
    assert seen
    assert not [value for value in seen if isinstance(value, cbor2.CBORTag)]


@pytest.mark.parametrize("size", [8192, 8193, 1 << 20])
@pytest.mark.parametrize("head", ["", "81", "a100", "d90102 81", "c482 00", "d81e 82 00", "d9ea63 83 00 00"])
def test_integers_have_at_most_8_kib_wherever_they_stand(head: str, size: int) -> None:
    number = b"\xc2" + encode_head(BYTES, size) + b"\x01" + bytes(size - 1)
    payload = bytes.fromhex(head) + number
    if size > 8192 or head.startswith("d9ea63"):
        assert refused(payload) is C.MALFORMED_VALUE
    else:
        decode_value(payload)


@pytest.mark.parametrize("open_head", ["9f", "bf", "5f", "7f"])
@pytest.mark.parametrize("around", ["", "81", "a100", "a1", "d90102", "c2", "c482", "d9ea60"])
def test_nothing_of_indefinite_length_wherever_it_stands(open_head: str, around: str) -> None:
    for inside in ("ff", "00ff", "0000ff", "4100ff", "6161ff"):
        code = refused(bytes.fromhex(around + open_head + inside))
        assert code is C.MALFORMED_VALUE
    assert code_of_batch(ping_with(bytes.fromhex(open_head + "ff"))) is C.MALFORMED
    assert code_of_batch(bytes.fromhex("9f820400ff")) is C.MALFORMED


def test_duplicate_keys_in_frames() -> None:
    assert code_of_batch(b"\x81\x83\x04\x00\xa2\x0e\x01\x0e\x02") is C.DUPLICATE_KEY
    assert code_of_batch(b"\x81\x83\x04\x00\xa2\x0e\x01\x18\x0e\x02") is C.DUPLICATE_KEY
    assert code_of_batch(ping_with(b"\xa2\x61a\x01\x61a\x02")) is C.DUPLICATE_KEY


@pytest.mark.parametrize("levels", [64, 65, 10_000, 200_000])
def test_depth_in_frames(levels: int) -> None:
    batch = ping_with(b"\x81" * (levels - 1) + b"\x80")
    if levels <= Limits().nesting:
        assert len(decode_batch(batch, Limits())) == 1
    else:
        assert code_of_batch(batch) is C.NESTING_TOO_DEEP


@pytest.mark.parametrize("major", [BYTES, TEXT, ARRAY, MAP])
@pytest.mark.parametrize("size", [(1 << 32) - 1, (1 << 63) - 1, (1 << 64) - 1])
def test_declared_lengths_without_bytes(major: int, size: int) -> None:
    head = encode_head(major, size)
    assert refused(head) is C.MALFORMED_VALUE
    assert code_of_batch(ping_with(head)) is C.MALFORMED
    assert code_of_batch(encode_head(ARRAY, size)) in (C.MALFORMED, C.BATCH_TOO_LARGE)


def test_the_hand_made_batch_is_one() -> None:
    frames = decode_batch(ping_with(b"\x00"), Limits())
    assert frames == [f.Ping(0, {14: 0})]
    assert encode_batch([encode_frame(frame) for frame in frames]) == ping_with(b"\x00")
