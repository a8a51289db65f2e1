"""The annotated trace in spec/trace.md: its bytes are what our codec writes and reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import cbor2
import pytest

from telewire.cli.notation import frame_notation
from telewire.limits import Limits
from telewire.wire.codec import decode_batch, encode_batch, encode_frame
from telewire.wire.frames import Close, End, Error, Hello, Items

TRACE = Path(__file__).parents[1] / "spec" / "trace.md"


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
