"""BatchReader: the same batches however the bytes are cut, and one final error for all else."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.limits import Limits
from telewire.wire.reader import BatchReader, write_batch

LIMITS = Limits()
BATCHES = [b"a" * 23, b"", b"b" * 24, b"c" * 256, b"d"]


def feed(reader: BatchReader, data: bytes, step: int) -> list[bytes]:
    """Give ``data`` in pieces of ``step`` bytes."""
    batches = []
    for start in range(0, len(data), step):
        batches += reader.receive_data(data[start : start + step])
    return batches


def fails(reader: BatchReader, data: bytes) -> ErrorCode:
    """Give bytes that must be refused, and see that the error stays."""
    with pytest.raises(RemoteProtocolError) as first:
        reader.receive_data(data)
    for _ in range(2):
        with pytest.raises(RemoteProtocolError) as again:
            reader.receive_data(write_batch(b"x"))
        assert again.value is first.value
        assert reader.completed == []
    with pytest.raises(RemoteProtocolError) as last:
        reader.receive_eof()
    assert last.value is first.value
    return first.value.code


@pytest.mark.parametrize(
    ("length", "head"),
    [(0, "40"), (23, "57"), (24, "5818"), (256, "590100"), (65536, "5a00010000")],
)
def test_write_batch_has_the_shortest_head(length: int, head: str) -> None:
    assert write_batch(b"x" * length) == bytes.fromhex(head) + b"x" * length


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 24, 25, 100, 1000])
def test_pieces_of_every_size(step: int) -> None:
    reader = BatchReader(LIMITS)
    assert feed(reader, b"".join(map(write_batch, BATCHES)), step) == BATCHES
    reader.receive_eof()


def test_every_split() -> None:
    data = b"".join(map(write_batch, BATCHES))
    for cut in range(len(data) + 1):
        reader = BatchReader(LIMITS)
        assert reader.receive_data(data[:cut]) + reader.receive_data(data[cut:]) == BATCHES
        reader.receive_eof()


@pytest.mark.parametrize("head", ["43", "5803", "590003", "5a00000003", "5b0000000000000003"])
def test_heads_that_are_not_the_shortest_are_taken(head: str) -> None:
    for step in range(1, 15):
        assert feed(BatchReader(LIMITS), bytes.fromhex(head) + b"abc", step) == [b"abc"]


@pytest.mark.parametrize("first", [byte for byte in range(256) if not 0x40 <= byte <= 0x5B])
def test_anything_but_a_definite_byte_string_is_malformed(first: int) -> None:
    assert fails(BatchReader(LIMITS), bytes((first,))) is ErrorCode.MALFORMED


def test_a_batch_at_the_bound_and_beyond() -> None:
    limits = Limits(batch_bytes=300)
    assert BatchReader(limits).receive_data(write_batch(b"x" * 300)) == [b"x" * 300]
    # The head alone is enough.
    assert fails(BatchReader(limits), bytes.fromhex("59012d")) is ErrorCode.BATCH_TOO_LARGE


def test_declared_length_of_2_to_62() -> None:
    reader = BatchReader(LIMITS)
    tracemalloc.start()
    assert reader.receive_data(b"\x5b\x40\x00\x00\x00\x00\x00\x00") == []
    assert fails(reader, b"\x00") is ErrorCode.BATCH_TOO_LARGE
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 16


def test_batches_in_front_of_an_error_are_kept() -> None:
    reader = BatchReader(LIMITS)
    with pytest.raises(RemoteProtocolError):
        reader.receive_data(write_batch(b"one") + write_batch(b"two") + b"\xff")
    assert reader.completed == [b"one", b"two"]


def test_the_end_in_the_middle_of_a_batch() -> None:
    data = write_batch(b"x" * 300)
    for length in range(1, len(data)):
        reader = BatchReader(LIMITS)
        assert reader.receive_data(data[:length]) == []
        with pytest.raises(RemoteProtocolError) as caught:
            reader.receive_eof()
        assert caught.value.code is ErrorCode.MALFORMED
        with pytest.raises(RemoteProtocolError):
            reader.receive_data(data[length:])


def test_nothing_is_copied_again_for_each_byte() -> None:
    size = 200_000
    reader = BatchReader(LIMITS)
    data = write_batch(b"x" * size)
    tracemalloc.start()
    assert feed(reader, data, 1) == [b"x" * size]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * size


@given(st.lists(st.binary(max_size=40)), st.lists(st.integers(0, 60)))
def test_any_batches_in_any_pieces(batches: list[bytes], sizes: list[int]) -> None:
    data = b"".join(map(write_batch, batches))
    reader, received, start = BatchReader(LIMITS), [], 0
    for size in [*sizes, len(data)]:
        received += reader.receive_data(data[start : start + size])
        start += size
    assert received == batches
    reader.receive_eof()


def outcome(data: bytes, step: int) -> tuple[list[bytes], ErrorCode | None]:
    """What a reader makes of bytes that come in pieces of ``step``."""
    reader, received = BatchReader(LIMITS), []
    for start in range(0, len(data), step):
        try:
            received += reader.receive_data(data[start : start + step])
        except RemoteProtocolError as error:
            return received + reader.completed, error.code
    try:
        reader.receive_eof()
    except RemoteProtocolError as error:
        return received, error.code
    return received, None


@given(st.binary(max_size=100), st.integers(1, 20))
def test_any_bytes_have_one_outcome_in_any_pieces(data: bytes, step: int) -> None:
    assert outcome(data, step) == outcome(data, 1000)
    assert outcome(b"\x41x\x5a" + data, step) == outcome(b"\x41x\x5a" + data, 1000)
