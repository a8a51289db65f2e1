"""One table of values and their exact payloads, and helpers of the tests of values."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from uuid import UUID

import pytest

from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.wire.values import (
    MAX_BIGNUM_BYTES,
    decode_value,
)

HUGE = 1 << MAX_BIGNUM_BYTES * 8

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


def plain(value: object) -> object:
    """What a value is at the other side: tuples are lists, but where they must be hashable."""
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    return value


def refused(payload: bytes, references: tuple[object, ...] = ()) -> ErrorCode:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_value(payload, references)
    assert str(caught.value).endswith(".")
    assert len(str(caught.value)) < 400
    return caught.value.code
