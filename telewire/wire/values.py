"""The codec of values under one name: payloads out of what users pass, and back."""

from __future__ import annotations

from telewire.wire.tags import (
    ALLOWED_TAGS,
    DETAILS,
    MAX_BIGNUM_BYTES,
    MAX_EXPONENT,
    NESTING,
    TAG_REFERENCE,
    Reference,
)
from telewire.wire.value_decode import decode_items, decode_value
from telewire.wire.value_encode import encode_value
from telewire.wire.value_error import ValueEncodeError

__all__ = [
    "ALLOWED_TAGS",
    "DETAILS",
    "MAX_BIGNUM_BYTES",
    "MAX_EXPONENT",
    "NESTING",
    "TAG_REFERENCE",
    "Reference",
    "ValueEncodeError",
    "decode_items",
    "decode_value",
    "encode_value",
]
