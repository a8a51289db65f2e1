"""The tags that a value may contain, and telewire's own: the allow-list (``spec/registries/tags.csv``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

__all__ = [
    "ALLOWED_TAGS",
    "DETAILS",
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
    "wrong_detail",
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
"""Index of a declaration of the same payload, alone or as [index, details]: stands where a stream is."""
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
    """What ``default`` of ``encode_value`` returns for a stream: the index of its declaration.

    ``details`` say more about the stream (TW-VAL-030): texts as keys; texts, integers and None as
    values. Those of ``DETAILS`` must have the type given there, or be None, which says nothing.
    """

    __slots__ = ("details", "index")

    def __init__(self, index: int, details: Mapping[str, object] | None = None) -> None:
        self.index = index
        self.details = details

    def __repr__(self) -> str:
        return f"Reference({self.index}{f', {self.details!r}' if self.details else ''})"


DETAILS: Final[Mapping[str, type[str] | type[int]]] = {
    "content_type": str,
    "home": int,
    "name": str,
    "size": int,
}
"""The details that are assigned (TW-VAL-034, TW-VAL-036) and their types; integers from 0 to 2^53 - 1."""


def wrong_detail(details: Mapping[Any, Any]) -> str | None:
    """Return what no detail of a reference may be, as a sentence without its end, None where all is well.

    Any: a decoded map may hold anything.
    """
    for key, value in details.items():
        if type(key) is not str or (value is not None and type(value) is not str and type(value) is not int):
            return "Details of a reference are texts, integers and nulls under texts"
        if value is None or key not in DETAILS:
            continue
        if type(value) is not DETAILS[key] or (type(value) is int and not 0 <= value < 1 << 53):
            return f"The detail {key} of a reference has another type or range than the specification says"
    return None
