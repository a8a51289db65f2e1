"""``telewire trace`` and the hook behind it: the frames of a live conversation, escaped and cut."""

from __future__ import annotations

import logging
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from telewire import Limits, Service
from telewire.cli.trace import Tracer
from telewire.wire import decode_batch
from telewire.wire.codec import encode_batch, encode_frame
from telewire.wire.frames import Close, End, Hello
from telewire_transports import memory
from tests.cli import Serving, serving

Run = Callable[..., subprocess.CompletedProcess[str]]
LINE = re.compile(r" *(\d+\.\d{4}) ([→←]) ([A-Z]+)(?: +(.*))?")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture
def trace(server: Serving, run_python: Run, tmp_path: Path) -> Run:
    """Give a function that runs ``telewire trace`` in an empty folder."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run_python("-m", "telewire", "trace", server.url, *arguments, cwd=tmp_path)

    return run


def frames(text: str) -> list[tuple[str, str, str]]:
    """The direction, name and fields of each line that is a frame, whose times ascend."""
    found = [match.groups("") for match in map(LINE.fullmatch, text.splitlines()) if match]
    times = [float(time) for time, *_ in found]
    assert times == sorted(times)
    assert times[0] == 0.0
    return [(arrow, name, rest) for _, arrow, name, rest in found]


def test_a_call_in_both_directions(trace: Run) -> None:
    done = trace("on_countdown", "2", "--transport", "websocket")
    assert (done.returncode, done.stdout) == (0, "2\n1\n0\n")
    told = frames(done.stderr)
    said = [(arrow, name) for arrow, name, _ in told if name not in ("ACK", "GRANT")]
    assert said[:2] == [("←", "HELLO"), ("→", "HELLO")]
    assert ("→", "CALL", 'stream 0, target "on_countdown", size 4: [[2], {}]') in told
    assert ("←", "END", "stream -1, size 4, declarations [0 ITEMS]: 60000(0)") in told
    assert {name for _, name in said} >= {"ITEMS", "CLOSE"}
    assert said[-1] == ("→", "CLOSE")
    hello = told[0][2]
    assert "session <16 bytes>, token <" in hello


@pytest.mark.parametrize("transport", ["http", "sse", "exchange"])
def test_every_transport_is_traced(trace: Run, transport: str) -> None:
    done = trace("on_countdown", "1", "--transport", transport)
    told = {(arrow, name) for arrow, name, _ in frames(done.stderr)}
    assert told >= {("→", "HELLO"), ("←", "HELLO"), ("→", "CALL"), ("←", "END"), ("←", "ITEMS")}


def test_what_fails_ends_as_a_call_does(trace: Run) -> None:
    done = trace("refuse")
    assert done.returncode == 1
    told = frames(done.stderr)
    [error] = [rest for arrow, name, rest in told if (arrow, name) == ("←", "ERROR")]
    assert error.startswith("stream -1, code ABORTED, size ")
    assert "\\u001b[31mred" in error, "what a terminal might obey is escaped"
    assert "\x1b" not in done.stderr


def test_long_payloads_are_cut_unless_they_are_wanted(trace: Run) -> None:
    text = "x" * 3000
    cut = trace("chat.echo", text).stderr
    assert max(map(len, cut.splitlines())) < 550
    assert "… (3," in cut
    assert text in trace("chat.echo", text, "--full").stderr


def test_the_notation_of_batches(capsys: pytest.CaptureFixture[str]) -> None:
    """A batch that is none is told with its rule, and what is long is cut (TW-ERR-046)."""
    tracer = Tracer(full=False)
    tracer("received", b"\xff" * 100)
    close = Close(0, "\x1b" * 3000)
    tracer("sent", encode_batch([encode_frame(close), encode_frame(close)]))
    wrong, first, second = capsys.readouterr().err.splitlines()
    assert "← no batch: h'ffff" in wrong
    assert "… (100 bytes)." in wrong
    assert wrong.endswith("(MALFORMED, see TW-FRM-001)")
    for line in (first, second):
        assert '→ CLOSE    code NONE, text "\\u001b' in line
        assert len(line) < 550
        assert "\x1b" not in line


async def add(a: int, b: int) -> int:
    return a + b


async def test_a_program_is_told_of_each_batch(anyio_backend: str) -> None:
    service = Service()
    service.add(add)
    told: list[tuple[str, bytes]] = []
    client = memory.connect(service)
    client.on_batch(lambda direction, batch: told.append((direction, batch)))
    async with client as remote:
        assert await remote.add(1, 2) == 3
    seen = [(direction, frame) for direction, batch in told for frame in decode_batch(batch, Limits())]
    assert {direction for direction, frame in seen if isinstance(frame, Hello)} == {"sent", "received"}
    assert [frame.payload for direction, frame in seen if isinstance(frame, End)] == [b"\x03"]
    assert seen[-1][0] == "sent"
    assert isinstance(seen[-1][1], Close)


async def test_a_callback_that_fails_disturbs_nothing(
    anyio_backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service()
    service.add(add)

    def fail(direction: str, batch: bytes) -> None:
        raise LookupError(direction)

    client = memory.connect(service)
    client.on_batch(fail)
    with caplog.at_level(logging.ERROR, "telewire"):
        async with client as remote:
            assert await remote.add(1, 2) == 3
    assert {str(record.exc_info[1]) for record in caplog.records if record.exc_info} == {"sent", "received"}
