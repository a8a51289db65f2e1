"""``telewire decode`` of other forms: WebSocket messages, event streams, and the HAR files of browsers."""

from __future__ import annotations

import io
import json
import subprocess
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telewire import Limits
from telewire.cli.decode import CaptureError, line_of, read_capture
from telewire.cli.har import HarError, is_har, parts_of
from telewire.testing.pair import Pair
from telewire.wire import encode_batch, encode_frame, encode_value, write_batch
from telewire.wire.frames import Call, Close, Frame, Ping, Pong
from telewire_transports.http1.events import COMMENT, write_events

Run = Callable[..., subprocess.CompletedProcess[str]]
ARGUMENTS = encode_value([[3], {}])
CALL = Call(0, "countdown", 0, len(ARGUMENTS), ARGUMENTS)
CALL_LINE = 'CALL     stream 0, target "countdown", size 4: [[3], {}]'


def batch_of(*frames: Frame) -> bytes:
    """A batch, as a WebSocket message has it."""
    return encode_batch([encode_frame(frame) for frame in frames])


def lines(data: bytes) -> list[str]:
    """What is printed for a capture."""
    return [line_of(each, False).strip() for each in read_capture(io.BytesIO(data), Limits())]


def error_of(data: bytes) -> str:
    """What is wrong with a capture."""
    with pytest.raises(CaptureError) as caught:
        lines(data)
    return str(caught.value)


def test_messages_of_a_websocket_one_behind_the_other() -> None:
    first, second = batch_of(Ping(1)), batch_of(CALL, Close(0, ""))
    assert lines(first + second) == [
        "1  PING     number 1",
        f"5  {CALL_LINE}",
        '25  CLOSE    code NONE, text ""',
    ]
    decoded = list(read_capture(io.BytesIO(first + second), Limits()))
    assert [each.batch for each in decoded] == [0, 1, 1]
    for each in decoded:
        assert (first + second)[each.offset :].startswith(encode_frame(each.frame))


def test_where_messages_go_wrong() -> None:
    first = batch_of(Ping(1))
    wrong = b"\x82" + encode_frame(Ping(2)) + b"\x82\x18\x1d\x00"
    assert error_of(first + wrong).startswith(
        "At byte 8: No frame has the type 29. (INVALID_FRAME, see TW-FRM"
    )
    assert error_of(first + batch_of(CALL)[:-1]).startswith("At byte 5: The batch cannot be decoded")
    assert error_of(first + b"\x00").startswith("At byte 4: A batch is an array")


def test_a_stream_of_events() -> None:
    stream = COMMENT + write_events([batch_of(Ping(1)), batch_of(CALL, Ping(2))]) + COMMENT
    begins = stream.index(b"data: ", 12)
    assert lines(stream) == [
        "3  PING     number 1",
        f"{begins}  {CALL_LINE}",
        f"{begins}  PING     number 2",
    ]
    assert lines(stream.replace(b"\n", b"\r\n"))[0] == "5  PING     number 1"
    assert error_of(stream + b"data: !!\n\n").endswith("no batch in base64. (MALFORMED, see TW-SES-100)")
    assert error_of(stream + b"data: ").startswith(f"At byte {len(stream)}: The stream ended inside an event")
    assert error_of(stream + write_events([b"\x01"])).startswith(
        f"At byte {len(stream)}: A batch is an array"
    )


def recorded(*entries: dict[str, Any]) -> bytes:
    """A HAR file."""
    return json.dumps({"log": {"version": "1.2", "entries": entries}}).encode()


def websocket(*messages: tuple[str, bytes], protocol: str | None = "telewire.1") -> dict[str, Any]:
    """The entry of a WebSocket, as Chromium writes it."""
    headers = [] if protocol is None else [{"name": "Sec-WebSocket-Protocol", "value": protocol}]
    return {
        "request": {"method": "GET", "url": "wss://example.com/telewire?token=secret"},
        "response": {"status": 101, "headers": headers, "content": {"size": 0, "mimeType": "x-unknown"}},
        "_webSocketMessages": [
            {"type": kind, "time": 1.5, "opcode": 2, "data": b64encode(data).decode()}
            for kind, data in messages
        ],
    }


def post(sent: str, received: dict[str, str]) -> dict[str, Any]:
    """The entry of a request."""
    body = {"mimeType": "application/telewire", "text": sent}
    return {
        "request": {"method": "POST", "url": "https://example.com/telewire", "postData": body},
        "response": {"status": 200, "headers": [], "content": received},
    }


PLAIN = write_batch(batch_of(Ping(5)))
IN_BASE64 = {"mimeType": "application/telewire", "encoding": "base64", "text": b64encode(PLAIN).decode()}
EVENTS = {"mimeType": "text/event-stream; charset=utf-8", "text": write_events([batch_of(Pong(1))]).decode()}


def test_a_har_file(run_python: Run, tmp_path: Path) -> None:
    pair = Pair()
    pair.client.call("countdown", ARGUMENTS)
    pair.pull()
    talk = [("send", batch) for batch in pair.to_server] + [("receive", batch_of(Ping(1)))]
    har = recorded(
        {"request": {"method": "GET", "url": "https://example.com/page"}, "response": {"status": 200}},
        websocket(*talk),
        websocket(("send", b"other"), protocol="chat"),
        post(PLAIN.decode("latin-1"), IN_BASE64),
        post(PLAIN.decode("latin-1"), EVENTS),
    )
    (tmp_path / "page.har").write_bytes(b"\xef\xbb\xbf" + har)
    done = run_python("-m", "telewire", "decode", "page.har", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    shown = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert shown[0] == "wss://example.com/telewire"
    assert shown[1].startswith("→ ")
    assert shown[1].endswith(" ".join(CALL_LINE.split()))
    assert shown[2:] == [
        "← 1 PING number 1",
        "https://example.com/telewire",
        *("→ 2 PING number 5", "← 2 PING number 5", "→ 2 PING number 5", "← 0 PONG number 1"),
    ]
    assert "secret" not in done.stdout
    done = run_python("-m", "telewire", "decode", "page.har", "--json", cwd=tmp_path)
    said = json.loads(done.stdout.splitlines()[-1])
    assert said == {
        **{"url": "https://example.com/telewire", "direction": "received", "part": "the response"},
        **{"offset": 0, "batch": 0, "frame": "PONG", "number": 1},
    }


def test_a_har_file_in_which_something_is_wrong(run_python: Run, tmp_path: Path) -> None:
    har = recorded(
        websocket(("receive", b"\x81\x82\x18\x1d\x00"), ("send", batch_of(Ping(1))), protocol=None)
    )
    (tmp_path / "page.har").write_bytes(har)
    done = run_python("-m", "telewire", "decode", "page.har", cwd=tmp_path)
    assert done.returncode == 1
    place = 'In message 1 of "wss://example.com/telewire", received: At byte 1: No frame has the type 29.'
    assert done.stderr == f"Error: {place} (INVALID_FRAME, see TW-FRM-023)\n"
    # What is right is shown all the same.
    assert "PING" in done.stdout


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{", "begins as a HAR file and is none"),
        (b"{}", "is JSON, and no HAR file: KeyError at 'log'"),
        (b'{"log": {"entries": [1]}}', "no HAR file: TypeError"),
        (b'{"log": {"entries": 1}}', "no HAR file: TypeError"),
        (b"{\xff}", "is none: "),
        (b"[" * 20 + b"{", "is none: "),
        (recorded(post("x", IN_BASE64 | {"text": "!"})), "said to be base64 and is not"),
    ],
)
def test_what_is_no_har_file(data: bytes, said: str) -> None:
    with pytest.raises(HarError, match=said):
        list(parts_of(data))


def test_the_command_says_that_it_is_none(run_python: Run, tmp_path: Path) -> None:
    (tmp_path / "page.har").write_bytes(b"{}")
    done = run_python("-m", "telewire", "decode", "page.har", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no HAR file" in done.stderr


@given(st.sampled_from([b"\x81", b"\x82\x82\x04\x01", b"data: ", b":\n"]), st.binary(max_size=200))
def test_any_bytes_are_frames_or_one_error(begin: bytes, data: bytes) -> None:
    shown: list[str] = []
    try:
        shown += lines(begin + data)
    except CaptureError as error:
        shown.append(str(error))
    assert all(map(str.isprintable, shown))
    assert not is_har(begin + data)
