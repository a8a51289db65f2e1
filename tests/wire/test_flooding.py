"""Keys that collide on purpose: what they may cost, counted in comparisons, and that all others pass."""

from __future__ import annotations

import contextlib
from typing import Any
from uuid import UUID

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.limits import Limits
from telewire.wire.codec import decode_batch
from telewire.wire.flooding import ONE_HASH, find_flooding, may_flood
from telewire.wire.heads import ARRAY, MAP, TAG, encode_head
from telewire.wire.values import decode_items, decode_value, encode_value
from tests.compiled import replaces_a_part
from tests.wire.value_cases import refused

C = ErrorCode
PRIME = (1 << 61) - 1  # What numbers are hashed by.


def uuids(count: int) -> list[UUID]:
    """So many UUIDs with one hash."""
    return [UUID(int=7 + PRIME * (number + 1)) for number in range(count)]


def big_integers(count: int) -> list[int]:
    """So many integers beyond 64 bits with one hash."""
    return [7 + PRIME * (number + 100) for number in range(count)]


def pairs(count: int) -> list[tuple[int, int]]:
    """So many tuples with one hash: the inverse of how tuples are hashed."""
    size, first_prime, second_prime, start = (
        1 << 64,
        11400714785074694791,
        14029467366897019727,
        2870177450012600261,
    )

    def rotate(value: int, by: int) -> int:
        return (value << by | value >> 64 - by) % size

    found: list[tuple[int, int]] = []
    number = 0
    while len(found) < count:
        number += 1
        lane = rotate((start + number * second_prime) % size, 31) * first_prime % size
        wanted = rotate(12345 * pow(first_prime, -1, size) % size, 33)
        second = (wanted - lane) * pow(second_prime, -1, size) % size
        second -= size if second >= size // 2 else 0
        if abs(second) < PRIME:
            found.append((number, second))
    return found


def map_of(keys: list[Any], head: bytes | None = None) -> bytes:
    """A map from each key to 0; not made by a dict, which would compare them all."""
    body = b"".join(encode_value(key) + b"\x00" for key in keys)
    return (head or encode_head(MAP, len(keys))) + body


PADDING = b"\x59\x02\x00" + bytes(512)

KINDS = [uuids, big_integers, pairs]


@pytest.fixture
def comparisons(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts how often two UUIDs are compared."""
    count = [0]
    original = UUID.__eq__

    def counting(self: UUID, other: object) -> bool:
        count[0] += 1
        return original(self, other)

    monkeypatch.setattr(UUID, "__eq__", counting)
    return count


@pytest.mark.parametrize("keys", KINDS)
def test_the_keys_of_these_tests_do_collide(keys: Any) -> None:
    assert len({hash(key) for key in keys(100)}) == 1


@pytest.mark.parametrize("keys", KINDS)
def test_keys_with_one_hash_at_the_bound_and_beyond(keys: Any) -> None:
    others = [f"key {number}" for number in range(200)]
    good, bad = keys(ONE_HASH - 1), keys(ONE_HASH)
    assert decode_value(map_of([*others, *good])) == dict.fromkeys([*others, *good], 0)
    assert refused(map_of([*others, *bad])) is C.MALFORMED_VALUE
    assert refused(map_of([*bad, *others])) is C.MALFORMED_VALUE
    tag = encode_head(TAG, 258)
    for key in (b"", b"\xa1"):
        members = (
            tag + encode_head(ARRAY, ONE_HASH) + b"".join(map(encode_value, bad)) + (b"\x00" if key else b"")
        )
        assert refused(key + members) is C.MALFORMED_VALUE
    members = tag + encode_head(ARRAY, ONE_HASH - 1) + b"".join(map(encode_value, good))
    assert decode_value(members) == set(good)


def test_flooding_costs_no_more_than_its_bytes(comparisons: list[int]) -> None:
    """Without the bound these are 32 million comparisons."""
    payload = map_of(uuids(8000))
    assert refused(payload) is C.MALFORMED_VALUE
    assert refused(b"\xd9\x01\x02" + encode_head(ARRAY, 8000) + b"".join(map(encode_value, uuids(8000))))
    assert comparisons[0] < ONE_HASH**2


def test_what_is_taken_costs_no_more_than_the_bound_allows(comparisons: list[int]) -> None:
    maps = encode_head(ARRAY, 50) + map_of(uuids(ONE_HASH - 1)) * 50
    assert len(decode_value(maps)) == 50  # type: ignore[arg-type]  # It is a list.
    assert comparisons[0] <= 50 * ONE_HASH**2


@pytest.mark.parametrize("head", ["b840", "b90040", "ba00000040", "bb0000000000000040"])
@pytest.mark.parametrize(
    "around", ["", "81", "82 00", "d90102 81", "a1 00", "a1 81", "83 6178 4178 fb0000000000000000"]
)
def test_wherever_the_map_is_and_however_its_size_is_written(head: str, around: str) -> None:
    payload = bytes.fromhex(around) + map_of(pairs(ONE_HASH), bytes.fromhex(head))
    assert len(payload) > 512
    with pytest.raises(RemoteProtocolError, match="64 keys of one map have the same hash"):
        decode_value(payload)


@pytest.mark.parametrize("rest", [b"", b"\x00", b"\xff", b"\x9f", b"\xc1\x00", b"\x1c"])
def test_before_what_would_be_refused_anyway(rest: bytes, comparisons: list[int]) -> None:
    """A map that is cut short, or followed by rubbish, would be built before anybody sees it."""
    flood = map_of(uuids(1000), encode_head(MAP, 5000)) + rest
    assert refused(flood) is C.MALFORMED_VALUE
    # Small, and without the byte that would keep it from the quick way of decoding.
    trailing = b"\x00" + map_of([key for key in uuids(2000) if 0xF7 not in key.bytes][:200])
    assert len(trailing) < 4096
    assert b"\xf7" not in trailing
    assert refused(trailing) is C.MALFORMED_VALUE
    assert comparisons[0] < ONE_HASH**2


@pytest.mark.parametrize("inner", [b"\xbf\xff", b"\x1f", b"\xdf", b"\xc1\x00", b"\x7f\xff"])
def test_behind_what_is_refused_nothing_is_looked_at(inner: bytes) -> None:
    flood = b"\x83" + inner + map_of(pairs(200)) + b"\x00"
    assert find_flooding(flood, strictly) is None or inner == b"\xc1\x00"
    assert refused(flood) in (C.MALFORMED_VALUE, C.FORBIDDEN_TAG)
    key = b"\xb9\x00\x40" + inner + b"\x00" + PADDING
    assert find_flooding(key, strictly) is None
    assert refused(key) in (C.MALFORMED_VALUE, C.FORBIDDEN_TAG)


def strictly(data: bytes) -> Any:
    """Decode as the values are, without what is tested here."""
    return cbor2.loads(data, allow_indefinite=False, allow_duplicate_keys=False, tag_hook=refuse)


def refuse(tag: cbor2.CBORTag, immutable: bool) -> object:
    raise ValueError(tag)


def test_large_maps_in_keys_of_large_maps() -> None:
    inner = map_of(list(range(ONE_HASH)))
    rest = b"".join(encode_value(number) + b"\x00" for number in range(ONE_HASH - 1)) + PADDING
    for key in (inner, b"\x81" + inner, b"\xa1\x00" + inner):
        payload = b"\x82\xb8\x40" + key + b"\x00" + rest
        with pytest.raises(RemoteProtocolError, match="A key of a map of 64 keys or more holds another map"):
            decode_value(payload)
    # As values, and in keys of small maps, they are as good as others.
    assert decode_value(b"\x82\xb8\x40\x18\xc8" + inner + rest) == [
        {200: dict.fromkeys(range(64), 0), **dict.fromkeys(range(63), 0)},
        bytes(512),
    ]
    [key] = decode_value(b"\x82\xa1" + inner + b"\x00" + PADDING)[0]  # type: ignore[index]  # It is a list.
    assert len(key) == ONE_HASH


def test_in_items_and_batches_too() -> None:
    with pytest.raises(RemoteProtocolError, match="array of items is refused") as caught:
        decode_items(b"\x81" + map_of(pairs(64)), 1)
    assert caught.value.code is C.MALFORMED_VALUE
    # An extension may hold maps as well.
    batch = b"\x81\x83\x03\x00\xa1\x0e"
    with pytest.raises(RemoteProtocolError, match="The batch is refused: 64 keys") as caught:
        decode_batch(batch + map_of(pairs(64)), Limits())
    assert caught.value.code is C.MALFORMED
    assert len(decode_batch(batch + map_of(pairs(63)), Limits())) == 1


@pytest.mark.parametrize(
    "value",
    [
        {number: number for number in range(1000)},
        {str(number): [number] for number in range(1000)},
        {number / 7: {"x": number / 3} for number in range(1000)},
        {(number, str(number)): b"\xb9" for number in range(300)},
        {UUID(int=number << 64): [{}, []] for number in range(300)},
        [{True: 1, False: 2, None: 3, **{"x" * number: -number for number in range(300)}}],
        {bytes([number % 256] * number): {number: {}} for number in range(300)},
        {"и" * number: "ш" for number in range(100)},
        [[{"x": number * 0.37, "y": number}] for number in range(500)],
        {frozenset({number, "x"}) for number in range(300)},
        {"wide": {number: {str(key): key for key in range(100)} for number in range(70)}},
    ],
)
def test_honest_values_pass(value: Any) -> None:
    payload = encode_value(value)
    assert decode_value(payload) == value
    assert find_flooding(payload, lambda data: cbor2.loads(data)) is None


@replaces_a_part
def test_most_data_is_not_walked_over(monkeypatch: pytest.MonkeyPatch) -> None:
    walked: list[int] = []
    monkeypatch.setattr("telewire.wire.strict.find_flooding", lambda data, _: walked.append(len(data)))
    rows = [{"id": number, "name": "abc", "ok": True, "tags": ["x", {}]} for number in range(150)]
    for value in (rows, {"text": "x" * 10_000}, {str(number): number for number in range(63)}, "и" * 200):
        decode_value(encode_value(value))
    assert walked == []
    decode_value(encode_value({str(number): number for number in range(64)}))
    assert walked == []
    assert not may_flood(b"\xb9" * 511)
    decode_value(encode_value({str(number) * 4: number for number in range(64)}))
    assert len(walked) == 1


@pytest.mark.parametrize("head", [b"\x5b", b"\x7b"])
@pytest.mark.parametrize("size", [1 << 63, (1 << 64) - 1, 1 << 40])
def test_a_length_beyond_any_memory_ends_the_walk(head: bytes, size: int) -> None:
    data = b"\xb9\x00\x40" + head + size.to_bytes(8, "big") + bytes(600)
    assert may_flood(data)
    assert find_flooding(data, strictly) is None
    with pytest.raises(RemoteProtocolError):
        decode_value(data)


@given(
    st.binary(max_size=60), st.integers(0, 40), st.sampled_from([b"", b"\xb8\x40", b"\xb9\x00\x40", b"\xba"])
)
def test_any_bytes_are_walked_over(data: bytes, at: int, wide: bytes) -> None:
    damaged = data[:at] + wide + data[at:] + PADDING
    problem = find_flooding(damaged, strictly)
    assert problem is None or problem.startswith("A key of a map")
    with contextlib.suppress(RemoteProtocolError):
        decode_value(damaged)
