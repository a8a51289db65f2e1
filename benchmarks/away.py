"""What a session takes at the server while its client is away: ``python benchmarks/away.py``.

A server in a process of its own; its clients, in another one, are stopped as a laptop is that is closed,
and then killed. Told is the resident memory for each session: while its client is there, while it is away
with nothing to say again, and away with as much as one stream's credit lets leave. Nothing here is
compared with a peer.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

# This checkout is measured, whatever is installed.
ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "transports"), str(ROOT / "spec")]

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.readings import READABLE, allow_many_files, resident_bytes
from telewire import Service
from telewire.limits import Limits, ServerLimits
from telewire.runtime.driver import drivers
from telewire_transports import connect, serve

SESSIONS: Final = 500
WARM: Final = 50
AT_ONCE: Final = 50
ITEM: Final = bytes(1000)
PATIENCE: Final = 30.0

service: Final[Service[None]] = Service()
_go: Final = asyncio.Event()


@service.function
async def items() -> AsyncIterator[bytes]:
    """Items, once somebody says so, as many as there is credit for."""
    yield ITEM
    await _go.wait()
    while True:
        yield ITEM


@service.function
async def go() -> None:
    """Let all generators go on."""
    _go.set()


@service.function
async def standing() -> tuple[int, int]:
    """How many sessions are away, and the bytes that these keep to say again."""
    away = [driver.connection for driver in drivers() if driver.connection.detached]
    kept = [one._departures.held for one in away if one._departures is not None]
    return len(away), sum(kept)


async def _be_server() -> None:
    limits = Limits(idle_seconds=1.0, dead_seconds=3.0, resume_seconds=600.0)
    many = ServerLimits(sessions=50_000, sessions_per_address=50_000, unauthenticated=50_000, arrivals=50_000)
    serving = asyncio.create_task(
        serve(
            service,
            port=0,
            on_started=lambda port: print(port, flush=True),
            limits=limits,
            server_limits=many,
        )
    )
    await asyncio.to_thread(sys.stdin.read)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def _be_clients(port: int, count: int) -> None:
    """Open so many sessions, with a generator that has given one item; then do nothing until killed."""
    url = f"http://127.0.0.1:{port}/telewire"
    stack = AsyncExitStack()

    async def one() -> object:
        remote = await stack.enter_async_context(connect(url, transport="websocket", timeout=60))
        iterator = await remote.items()
        await anext(iterator)
        return iterator

    kept: list[object] = []
    while len(kept) < count:
        kept += await asyncio.gather(*(one() for _ in range(min(AT_ONCE, count - len(kept)))))
    print("open", flush=True)
    await asyncio.Event().wait()


def _start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _read(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit("A process of the benchmark ended; what it said stands above.")
    return line


async def _wait_for(port: int, count: int, fill: bool) -> int:
    """Wait until so many sessions are away; returns the bytes that they keep."""
    async with connect(f"http://127.0.0.1:{port}/telewire", transport="websocket", timeout=60) as remote:
        if fill:
            await remote.go()
        async with asyncio.timeout(PATIENCE):
            while True:
                found, kept = await remote.standing()
                if found >= count:
                    return int(kept)
                await asyncio.sleep(0.1)


def _measure(count: int, fill: bool) -> tuple[float, float, float]:
    """Bytes for each session: while its client is there, while it is away, and of these what is kept."""
    server = _start("--server")
    clients: list[subprocess.Popen[str]] = []
    try:
        port = int(_read(server))
        # What is made once is there before anything is counted.
        for size in (WARM, count):
            clients.append(_start("--clients", str(port), str(size)))
            before = resident_bytes(server.pid)
            _read(clients[-1])
            there = resident_bytes(server.pid)
            if size == count:
                os.kill(clients[-1].pid, signal.SIGSTOP)
            else:
                clients[-1].kill()
                asyncio.run(_wait_for(port, WARM, False))
        kept = asyncio.run(_wait_for(port, WARM + count, fill))
        away = resident_bytes(server.pid)
    finally:
        for process in (*clients, server):
            process.kill()
            process.wait()
    return (there - before) / count, (away - before) / count, kept / (WARM + count)


def main(argv: Sequence[str]) -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/away.py", description="Memory of sessions that are away."
    )
    parser.add_argument(
        "--sessions", type=int, default=SESSIONS, metavar="N", help=f"{SESSIONS} unless given"
    )
    parser.add_argument("--server", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--clients", nargs=2, type=int, metavar=("PORT", "N"), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    allow_many_files()
    if options.server:
        asyncio.run(_be_server())
        return 0
    if options.clients:
        asyncio.run(_be_clients(*options.clients))
        return 0
    if not READABLE:
        print("This system does not show what memory another process takes; Linux does.")
        return 0
    table = Table(title="KiB at the server for one session", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("", "its client is there", "it is away", "of these to say again"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, fill in (("a quiet generator", False), ("one that goes on to the end of its credit", True)):
        there, away, kept = _measure(options.sessions, fill)
        table.add_row(name, f"{there / 1024:.1f}", f"{away / 1024:.1f}", f"{kept / 1024:.1f}")
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
