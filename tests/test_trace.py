"""The annotated trace in spec/trace.md: its bytes are what our codec writes and reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import cbor2
import pytest

from telewire.limits import Limits
from telewire.wire.codec import decode_batch, encode_batch, encode_frame
from telewire.wire.frames import Close, End, Error, Hello, Items

TRACE = Path(__file__).parents[1] / "spec" / "trace.md"

# Where the payload of a frame stands, by type: it is shown as embedded CBOR.
PAYLOAD_AT = {16: 5, 17: 4, 18: 5, 19: 4, 20: 4, 23: 3, 24: 3}


class Batch(NamedTuple):
    """One block of the trace."""

    title: str
    notation: str
    frames: list[bytes]
    head: bytes

    @property
    def data(self) -> bytes:
        """The whole batch."""
        return self.head + b"".join(self.frames)


def _read_hex(line: str) -> bytes:
    return bytes.fromhex(line.split("#")[0])


def batches() -> list[Batch]:
    """Cut the trace into batches: heading, diagnostic notation, and hex with one frame a line."""
    pattern = re.compile(r"^### (.+?)$.*?^```cbor-diag\n(.*?)^```$.*?^```hex\n(.*?)^```$", re.M | re.S)
    found = []
    for title, notation, block in pattern.findall(TRACE.read_text(encoding="utf-8")):
        head, *frames = [_read_hex(line) for line in block.splitlines()]
        found.append(Batch(title, notation, frames, head))
    return found


# Any: a decoded CBOR item is whatever was encoded.
def notation(value: Any) -> str:
    """Diagnostic notation (RFC 8949 §8) of what the trace uses."""
    if value is None:
        return "null"
    if isinstance(value, bytes):
        return f"h'{value.hex()}'"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, cbor2.CBORTag):
        return f"{value.tag}({notation(value.value)})"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(notation(element) for element in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{notation(key)}: {notation(one)}" for key, one in value.items()) + "}"
    return str(value)


def frame_notation(frame: bytes) -> str:
    """Diagnostic notation of one frame, its payload shown as what it contains."""
    fields = cbor2.loads(frame)
    parts = [notation(field) for field in fields]
    at = PAYLOAD_AT.get(fields[0])
    if at is not None and fields[at]:
        parts[at] = f"<<{notation(cbor2.loads(fields[at]))}>>"
    return f"[{', '.join(parts)}]"


BATCHES = batches()


def test_the_trace_was_found() -> None:
    assert len(BATCHES) >= 8
    assert len(BATCHES) == TRACE.read_text(encoding="utf-8").count("```hex")


@pytest.mark.parametrize("batch", BATCHES, ids=[batch.title for batch in BATCHES])
def test_our_codec_reads_and_writes_the_same_bytes(batch: Batch) -> None:
    frames = decode_batch(batch.data, Limits())
    assert [encode_frame(frame) for frame in frames] == batch.frames
    assert encode_batch(batch.frames) == batch.data


@pytest.mark.parametrize("batch", BATCHES, ids=[batch.title for batch in BATCHES])
def test_notation_says_what_the_bytes_say(batch: Batch) -> None:
    expected = ",\n".join(f"  {frame_notation(frame)}" for frame in batch.frames)
    assert batch.notation == f"[\n{expected}\n]\n"


def test_the_conversation_is_whole() -> None:
    frames = [frame for batch in BATCHES for frame in decode_batch(batch.data, Limits())]
    assert isinstance(frames[0], Hello)
    assert isinstance(frames[-1], Close)
    items = [cbor2.loads(frame.payload) for frame in frames if isinstance(frame, Items)]
    assert [number for group in items for number in group] == [3, 2, 1, 0]
    assert [type(frame) for frame in frames if isinstance(frame, (End, Error))] == [End, End, Error]
