"""Plain data: what the expression says of it is what going from head to head by hand says."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from telewire.wire.flooding import may_flood
from telewire.wire.plain import is_plain
from tests.wire import strategies


def by_hand(data: bytes) -> bool:
    """Head by head, as RFC 8949 says."""
    position = 0
    while position < len(data):
        major, argument = data[position] >> 5, data[position] & 31
        position += 1
        value = argument
        if argument > 27:
            return False
        if argument > 23:
            width = 1 << argument - 24
            if position + width > len(data):
                return False
            value = int.from_bytes(data[position : position + width])
            position += width
        if major == 5 and argument > 23:
            return False
        if major == 7 and argument not in (20, 21, 22, 25, 26, 27):
            return False
        if major in (2, 3):
            if argument > 24 or (argument == 24 and value < 24) or position + value > len(data):
                return False
            position += value
    return True


def holds_what_is_looked_for(value: object) -> bool:
    if isinstance(value, cbor2.CBORSimpleValue) or value is cbor2.undefined:
        return True
    if isinstance(value, dict):
        return len(value) > 23 or any(map(holds_what_is_looked_for, (*value, *value.values())))
    return isinstance(value, list | tuple | set | frozenset) and any(map(holds_what_is_looked_for, value))


@settings(max_examples=600)
@given(
    st.binary(max_size=40)
    | st.lists(st.sampled_from([0, 0x18, 0x19, 0x41, 0x61, 0x78, 0xA1, 0xF4, 0xF7, 0xB8, 0x99])).map(bytes)
)
@example(b"")
@example(b"\x78\x18" + bytes(24))
@example(b"\x58\xff" + bytes(255))
@example(b"\x58\xff" + bytes(254))
@example(b"\xda\x00\x00\x00\x01\x00")
def test_it_goes_from_head_to_head(data: bytes) -> None:
    assert is_plain(data) is by_hand(data)


@given(strategies.plain)
def test_what_is_plain_holds_nothing_of_it(value: object) -> None:
    data = cbor2.dumps(value)
    if is_plain(data):
        assert not holds_what_is_looked_for(value)


@pytest.mark.parametrize("count", [250, 1000])
def test_items_whose_numbers_look_like_heads_are_plain(count: int) -> None:
    data = cbor2.dumps([{"id": number * 7, "name": "abc", "ok": True} for number in range(count)])
    assert may_flood(data)
    assert is_plain(data)


@pytest.mark.parametrize(
    "data",
    [b"\xf7", b"\xe0", b"\xf8\x20", b"\xb8\x40", b"\xbf\xff", b"\x9f\xff", b"\x5f\xff", b"\x19\x01", b"\x61"],
)
def test_what_is_not(data: bytes) -> None:
    assert not is_plain(data)
