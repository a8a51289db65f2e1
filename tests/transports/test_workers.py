"""Several worker processes on one port, as ``uvicorn --workers`` makes them: whose sessions are whose."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from telewire import Remote, SessionLost, TransportUnsuitable
from telewire.runtime.transport import TransportName
from telewire_transports import connect
from tests.transports.middle import Middle, middle_of

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).resolve().parents[2]
RUNNING = re.compile(r"running on http://127\.0\.0\.1:(\d+)")
STARTED = "Application startup complete"
WORKERS = 2
CUT_AT, ENOUGH = 20, 20_000
"""Items behind which the connection is cut, and how many are more than were under way then."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Where an application has its workers; who connects meets any of them."""
    paths = os.pathsep.join(str(ROOT / folder) for folder in (".", "transports", "spec"))
    command = [sys.executable, "-m", "uvicorn", "--workers", str(WORKERS), "--port", "0", "--no-use-colors"]
    process = subprocess.Popen(
        [*command, "tests.transports.workers_app:app"],
        stderr=subprocess.PIPE,
        encoding="utf-8",
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert process.stderr is not None
    try:
        found, said = 0, ""
        while said.count(STARTED) < WORKERS:
            line = process.stderr.readline()
            said += line
            assert line, f"uvicorn has ended: {said}"
            assert "Traceback" not in line, f"a worker does not start: {said}{process.stderr.readline()}"
            match = RUNNING.search(line)
            found = int(match[1]) if match else found
        yield found
    finally:
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        process.wait(30)
        process.stderr.close()
        assert process.returncode in (0, -signal.SIGTERM)


def url(port: int) -> str:
    return f"http://127.0.0.1:{port}/telewire"


async def test_a_session_stays_with_its_worker_and_the_workers_share_them(
    port: int, anyio_backend: str
) -> None:
    met: set[int] = set()
    with anyio.fail_after(60):
        while len(met) < WORKERS:
            async with connect(url(port)) as remote:
                answered = {await remote.worker() for _ in range(10)}
            assert len(answered) == 1
            met |= answered


async def test_any_worker_answers_an_exchange(port: int, anyio_backend: str) -> None:
    met: set[int] = set()
    with anyio.fail_after(60):
        while len(met) < WORKERS:
            async with connect(url(port), transport="exchange") as remote:
                met.add(await remote.worker())


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_a_session_over_http_needs_somebody_who_steers(
    port: int, anyio_backend: str, transport: TransportName
) -> None:
    async def visit() -> None:
        while True:
            async with connect(url(port), transport=transport) as remote:
                await remote.worker()

    with anyio.fail_after(60), pytest.raises(TransportUnsuitable, match=r"different workers.*Use: websocket"):
        await visit()


async def test_who_comes_back_to_another_worker_is_told_that_the_session_is_lost(
    port: int, anyio_backend: str
) -> None:
    """Nobody steers here: who meets its worker again goes on without a gap, who meets another starts anew."""
    outcomes: set[str] = set()
    async with middle_of(port) as middle:
        with anyio.fail_after(60):
            while len(outcomes) < 2:
                async with connect(url(middle.port), transport="websocket") as remote:
                    outcomes.add(await _cut_once(remote, middle))


async def _cut_once(remote: Remote, middle: Middle) -> str:
    """Read items, have the connection cut, and read on."""
    expected, worker = 0, await remote.worker()
    try:
        async for number, whose in remote.count():
            assert (number, whose) == (expected, worker)
            expected += 1
            if expected == CUT_AT:
                middle.cut_websockets()
            if expected == ENOUGH:
                break
    except SessionLost:
        return "lost"
    return "resumed"
