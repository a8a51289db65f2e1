"""The tags that a value may contain, and telewire's own: the allow-list (``spec/registries/tags.csv``)."""

from __future__ import annotations

from typing import Final, final

__all__ = [
    "ALLOWED_TAGS",
    "MAX_BIGNUM_BYTES",
    "MAX_EXPONENT",
    "NESTING",
    "TAG_DATE",
    "TAG_DATETIME",
    "TAG_DECIMAL",
    "TAG_DECIMAL_TEXT",
    "TAG_IPV4",
    "TAG_IPV6",
    "TAG_LOCAL_DATETIME",
    "TAG_NEGATIVE_BIGNUM",
    "TAG_POSITIVE_BIGNUM",
    "TAG_RATIONAL",
    "TAG_REFERENCE",
    "TAG_SET",
    "TAG_TIME",
    "TAG_TIMEDELTA",
    "TAG_UUID",
    "Reference",
]

TAG_DATETIME: Final = 0
TAG_POSITIVE_BIGNUM: Final = 2
TAG_NEGATIVE_BIGNUM: Final = 3
TAG_DECIMAL: Final = 4
TAG_RATIONAL: Final = 30
TAG_UUID: Final = 37
TAG_IPV4: Final = 52
TAG_IPV6: Final = 54
TAG_SET: Final = 258
TAG_DATE: Final = 1004
TAG_REFERENCE: Final = 60000
"""Index of a declaration of the same payload: stands where a stream is."""
TAG_LOCAL_DATETIME: Final = 60001
"""Date and time without an offset, as ISO 8601 text."""
TAG_TIME: Final = 60002
"""Time of day, with an offset or without, as ISO 8601 text."""
TAG_TIMEDELTA: Final = 60003
"""[days, seconds, microseconds], the last two not negative and less than a day, less than a second."""
TAG_DECIMAL_TEXT: Final = 60004
"""A decimal that tag 4 cannot express: NaN, the infinities and the negative zeros, as text."""

ALLOWED_TAGS: Final = frozenset(
    {
        TAG_DATETIME,
        TAG_POSITIVE_BIGNUM,
        TAG_NEGATIVE_BIGNUM,
        TAG_DECIMAL,
        TAG_RATIONAL,
        TAG_UUID,
        TAG_IPV4,
        TAG_IPV6,
        TAG_SET,
        TAG_DATE,
        TAG_REFERENCE,
        TAG_LOCAL_DATETIME,
        TAG_TIME,
        TAG_TIMEDELTA,
        TAG_DECIMAL_TEXT,
    }
)

NESTING: Final = 64
"""Levels of arrays, maps and tags in one value: recursion in decoders must be bounded (TW-VAL-004)."""
MAX_BIGNUM_BYTES: Final = 8 * 1024
"""Bytes of one big integer: converting it to text is quadratic (TW-VAL-011)."""
MAX_EXPONENT: Final = 999_999
"""Of a decimal, either sign: written out, the number has that many digits (TW-VAL-011)."""


@final
class Reference:
    """What ``default`` of ``encode_value`` returns for a stream: the index of its declaration."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def __repr__(self) -> str:
        return f"Reference({self.index})"
