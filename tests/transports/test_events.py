"""Batches as server-sent events: cut anywhere, with any end of line, and what is none is refused."""

from __future__ import annotations

import random
from base64 import b64encode

import pytest

from telewire.errors import ErrorCode
from telewire.limits import Limits
from telewire_transports.http1.events import COMMENT, EventReader, write_events

LIMITS = Limits(batch_bytes=100_000)
BATCHES = [b"\x81", bytes(range(256)), bytes(100_000), b"\x82\x00\x01"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("seed", range(5))
def test_events_that_are_cut_anywhere_are_the_batches_again(end: bytes, seed: int) -> None:
    choose = random.Random(seed)
    stream = (
        COMMENT + write_events(BATCHES[:2]) + b": a comment\nid: 7\nretry: 3\n\n" + write_events(BATCHES[2:])
    )
    stream = stream.replace(b"\n", end)
    reader, batches = EventReader(LIMITS), []
    while stream:
        size = choose.choice([1, 7, 1000, 50_000])
        found, error = reader.cut(stream[:size])
        assert error is None
        batches += found
        stream = stream[size:]
    assert batches == BATCHES
    assert reader.end() is None


def test_no_space_is_needed_behind_the_colon() -> None:
    assert EventReader(LIMITS).cut(b"data:" + b64encode(b"batch") + b"\n\n") == ([b"batch"], None)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"data: no base64!\n\n", ErrorCode.MALFORMED),
        (b"data: gA==\ndata: gA==\n\n", ErrorCode.PROTOCOL_ERROR),
        (b"data: " + b"A" * 140_000, ErrorCode.BATCH_TOO_LARGE),
        (b"data: " + b"A" * 140_000 + b"\n", ErrorCode.BATCH_TOO_LARGE),
        (b"x" * 140_000, ErrorCode.BATCH_TOO_LARGE),
    ],
)
def test_what_is_no_batch_is_refused_behind_those_that_are(data: bytes, code: ErrorCode) -> None:
    reader = EventReader(LIMITS)
    batches, error = reader.cut(write_events([b"good"]) + data)
    assert batches == [b"good"]
    assert error is not None
    assert error.code is code
    assert reader.cut(write_events([b"too late"])) == ([], error)
    assert reader.end() is error


@pytest.mark.parametrize("data", [b"data: gA==\n", b"data: gA", b":"])
def test_an_end_inside_an_event_is_told(data: bytes) -> None:
    reader = EventReader(LIMITS)
    assert reader.cut(data) == ([], None)
    error = reader.end()
    assert error is not None
    assert error.code is ErrorCode.MALFORMED
