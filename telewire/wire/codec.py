"""The codec of batches under one name: frames in, bytes out, and back."""

from __future__ import annotations

from telewire.wire.decode import KNOWN_ODD_KEYS, decode_batch
from telewire.wire.encode import encode_batch, encode_call, encode_end, encode_frame
from telewire.wire.heads import encode_head, items_payload

__all__ = [
    "KNOWN_ODD_KEYS",
    "decode_batch",
    "encode_batch",
    "encode_call",
    "encode_end",
    "encode_frame",
    "encode_head",
    "items_payload",
]
