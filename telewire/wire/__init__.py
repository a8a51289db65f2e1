"""The wire: batches and frames to bytes and back, values to payloads and back, over cbor2.

This package knows layouts, limits and tags, and nothing of the conversation: no streams, no state,
no clock, no I/O. ``codec`` has batches and frames, ``values`` the payloads inside them, ``reader``
batches on byte streams, ``frames`` the vocabulary. Bytes from outside give frames or values, or
``RemoteProtocolError`` with the code that names the broken rule; never another exception.
"""

from __future__ import annotations

from telewire.wire.codec import (
    KNOWN_ODD_KEYS,
    decode_batch,
    encode_batch,
    encode_frame,
    encode_head,
    items_payload,
)
from telewire.wire.frames import Frame, FrameType
from telewire.wire.reader import BatchReader, write_batch
from telewire.wire.values import Reference, ValueEncodeError, decode_items, decode_value, encode_value

__all__ = [
    "KNOWN_ODD_KEYS",
    "BatchReader",
    "Frame",
    "FrameType",
    "Reference",
    "ValueEncodeError",
    "decode_batch",
    "decode_items",
    "decode_value",
    "encode_batch",
    "encode_frame",
    "encode_head",
    "encode_value",
    "items_payload",
    "write_batch",
]
