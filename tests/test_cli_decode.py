"""``telewire decode``: captured batches as readable frames, and where a capture goes wrong."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telewire import Connection, Limits
from telewire.cli.decode import CaptureError, fields_of, line_of, read_capture
from telewire.cli.notation import diagnostic, item_end
from telewire.testing.pair import Pair
from telewire.wire import encode_batch, encode_frame, encode_value, write_batch
from telewire.wire.frames import (
    Call,
    Chunk,
    Close,
    Declaration,
    End,
    Fragment,
    Frame,
    Hello,
    Items,
    Kind,
    Ping,
)

Run = Callable[..., subprocess.CompletedProcess[str]]
LIMITS = Limits()


def batch_of(*frames: Frame) -> bytes:
    """A batch as it stands on a byte stream."""
    return write_batch(encode_batch([encode_frame(frame) for frame in frames]))


def lines(data: bytes, full: bool = False) -> list[str]:
    """What is printed for a capture."""
    return [line_of(each, full).strip() for each in read_capture(io.BytesIO(data), LIMITS)]


def read_all(data: bytes) -> tuple[list[str], str]:
    """What is printed for a capture, and its error; empty where it is whole."""
    seen: list[str] = []
    try:
        for each in read_capture(io.BytesIO(data), LIMITS):
            seen.append(line_of(each, False).strip())
    except CaptureError as error:
        return seen, str(error)
    return seen, ""


ARGUMENTS = encode_value([[3], {}])
CAPTURE = batch_of(Ping(1)) + batch_of(
    Call(0, "countdown", 0, len(ARGUMENTS), ARGUMENTS, extensions={0: 2000}),
    End(-1, 0, 1, b"\x00", (Declaration(0, Kind.ITEMS), Declaration(1, Kind.FUNCTION, 7))),
    Items(0, 0, 2, encode_value(["a", "\x1b[31m"])),
    Chunk(2, 0, b"raw"),
    Close(45, "late\n"),
)


def test_a_frame_is_a_line() -> None:
    assert lines(CAPTURE) == [
        "2  PING     number 1",
        '8  CALL     stream 0, target "countdown", size 4, extensions {0: 2000}: [[3], {}]',
        "33  END      stream -1, size 1, declarations [0 ITEMS, 1 FUNCTION 7]: 0",
        '48  ITEMS    stream 0, count 2: ["a", "\\u001b[31m"]',
        "63  CHUNK    stream 2: h'726177'",
        '71  CLOSE    code IDLE_TIMEOUT, text "late\\u000a"',
    ]


def test_offsets_are_where_frames_stand() -> None:
    for each in read_capture(io.BytesIO(CAPTURE), LIMITS):
        end = item_end(CAPTURE, each.offset)
        assert CAPTURE[each.offset : end] == encode_frame(each.frame)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 70])
def test_however_the_bytes_come(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telewire.cli.decode.READ", size)
    assert lines(CAPTURE) == lines(CAPTURE + b"")
    # A head that is longer than it need be is a sender's mistake, and still has its place.
    long = b"\x59\x00\x04" + batch_of(Ping(1))[1:] + CAPTURE
    found = list(read_capture(io.BytesIO(long), LIMITS))
    assert [each.offset for each in found[:3]] == [4, 9, 15]
    assert [each.batch for each in found] == [0, 1, 2, 2, 2, 2, 2]


def test_a_real_conversation() -> None:
    pair = Pair()
    pair.client.call("countdown", ARGUMENTS)
    pair.pull()
    (line,) = lines(b"".join(map(write_batch, pair.to_server)))
    assert line.endswith('CALL     stream 0, target "countdown", size 4: [[3], {}]')


def test_what_would_open_a_session_is_not_shown() -> None:
    server = Connection("server", session_id=b"\xaa" * 16, token=b"\xbb" * 16)
    data = b"".join(write_batch(batch) for batch in server.data_to_send())
    (line,) = lines(data, full=True)
    assert "session <16 bytes>, token <16 bytes>" in line
    assert "aaaa" not in line
    assert "bbbb" not in line


def test_long_payloads_are_cut_and_parts_of_payloads_are_bytes() -> None:
    value = encode_value(["x" * 500])
    (short,) = lines(batch_of(Items(0, 0, 1, value)))
    (whole,) = lines(batch_of(Items(0, 0, 1, value)), full=True)
    assert short.endswith("… (504 characters)")
    assert whole.endswith(f'["{"x" * 500}"]')
    first, second = lines(batch_of(Call(0, "f", 1, 4, ARGUMENTS[:2]), Fragment(0, 0, ARGUMENTS[2:])))
    assert first == f"2  CALL     stream 0, target \"f\", flags MORE, size 4: h'{ARGUMENTS[:2].hex()}'"
    assert second.endswith(f"FRAGMENT stream 0: h'{ARGUMENTS[2:].hex()}'")


def test_a_payload_that_is_no_value_is_bytes() -> None:
    assert lines(batch_of(End(0, 0, 2, b"\x61\xff")))[0].endswith("h'61ff'")
    assert lines(batch_of(End(0, 0, 2, b"\x9f\xff")))[0].endswith("h'9fff'")
    assert lines(batch_of(End(0, 0, 0, b"")))[0] == "2  END      stream 0, size 0: h''"


WRONG_FRAME = write_batch(b"\x83" + encode_frame(Ping(1)) + b"\x82\x18\x1d\x00" + encode_frame(Ping(2)))


END = len(CAPTURE)


@pytest.mark.parametrize(
    ("behind", "at", "message"),
    [
        (WRONG_FRAME, 5, "No frame has the type 29."),
        (b"\x01", 0, "A batch starts with byte 0x01"),
        (CAPTURE[:4], 0, "The stream ended"),
        (b"\x58", 0, "The stream ended 0 bytes into a batch"),
        (b"\x5a\x7f\xff\xff\xff", 0, "A batch of 2147483647 bytes"),
        (write_batch(b""), 1, "The batch cannot be decoded"),
        (write_batch(b"\x80"), 1, "A batch is an array of one or more frames"),
        (write_batch(b"\x82\x82\x04\x01"), 1, "The batch cannot be decoded"),
        (write_batch(b"\x82\x82\x04\x01\x82\x04"), 5, "The batch cannot be decoded"),
        (write_batch(b"\x01"), 1, "A batch is an array of one or more frames"),
    ],
)
def test_where_a_capture_goes_wrong(behind: bytes, at: int, message: str) -> None:
    seen, error = read_all(CAPTURE + behind)
    assert error.startswith(f"At byte {END + at}: {message}")
    # What precedes the batch in question has been shown.
    assert seen == lines(CAPTURE)


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_one_error(data: bytes) -> None:
    for capture in (data, write_batch(data), write_batch(b"\x81" + data)):
        seen, error = read_all(capture)
        assert all(map(str.isprintable, [*seen, error]))


def test_frames_as_json() -> None:
    hello = Hello(1, 1, (1,), {0: 65536}, b"s", b"t")
    (each,) = read_capture(io.BytesIO(batch_of(hello)), LIMITS)
    assert json.loads(json.dumps(fields_of(each.frame)))["token"] == "<1 bytes>"


def test_the_command(run_python: Run, tmp_path: Path) -> None:
    (tmp_path / "good.bin").write_bytes(CAPTURE)
    (tmp_path / "bad.bin").write_bytes(CAPTURE + WRONG_FRAME)
    done = run_python("-m", "telewire", "decode", "good.bin", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.strip() for line in done.stdout.splitlines()] == lines(CAPTURE)
    done = run_python("-m", "telewire", "decode", "bad.bin", "--json", cwd=tmp_path)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"Error: At byte {END + 5}: No frame has the type 29. (INVALID_FRAME, see TW-FRM-023)\n"
    )
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert said[1] == {
        "offset": 8,
        "batch": 1,
        "frame": "CALL",
        "stream": 0,
        "target": "countdown",
        "size": 4,
        "payload": "[[3], {}]",
        "extensions": "{0: 2000}",
    }


def test_nothing_is_no_mistake(run_python: Run) -> None:
    done = run_python("-m", "telewire", "decode", "-")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("encoded", "text"),
    [
        ("1903e8", "1000"),
        ("3903e7", "-1000"),
        ("3bffffffffffffffff", "-18446744073709551616"),
        ("43010203", "h'010203'"),
        ("6161", '"a"'),
        ("62225c", '"\\"\\\\"'),
        ("64f0908080", '"\U00010000"'),
        ("64f3a08081", '"\\u{e0001}"'),
        ("6141", '"A"'),
        ("83010203", "[1, 2, 3]"),
        ("a201020304", "{1: 2, 3: 4}"),
        ("c074323031332d30332d32315432303a30343a30305a", '0("2013-03-21T20:04:00Z")'),
        ("f4", "false"),
        ("f5", "true"),
        ("f6", "null"),
        ("f7", "undefined"),
        ("e0", "simple(0)"),
        ("f8ff", "simple(255)"),
        ("f93c00", "1.0"),
        ("fb3ff199999999999a", "1.1"),
        ("f97c00", "Infinity"),
        ("f9fc00", "-Infinity"),
        ("f97e00", "NaN"),
        ("fa47c35000", "100000.0"),
    ],
)
def test_notation(encoded: str, text: str) -> None:
    assert diagnostic(bytes.fromhex(encoded)) == text


@pytest.mark.parametrize(
    "encoded", ["", "18", "1c", "9fff", "62 61", "0000", "81", "61ff", "81" * 300 + "00"]
)
def test_what_has_no_notation(encoded: str) -> None:
    with pytest.raises(ValueError):
        diagnostic(bytes.fromhex(encoded))
