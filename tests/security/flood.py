"""Flood: 50 connections of garbage on a server in a process of its own, and a client beside them.

``python tests/security/flood.py [--seconds N] [--connections N] [--seed N]``, or ``make flood``. It prints a
report as JSON and ends with status 1 where the server crashed, kept something, logged without bound or
served the client at more than double latency; the last is told, and only demanded with ``--strict``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import random
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "transports")]

from telewire import Limits, ServerLimits, Service  # noqa: E402  # the path comes first
from telewire.runtime.driver import drivers  # noqa: E402
from telewire_transports import connect, serve  # noqa: E402
from tests.security.garbage import garbage  # noqa: E402

IMPATIENT: Final = Limits(hello_seconds=2.0, idle_seconds=1.0, dead_seconds=2.0, cleanup_seconds=1.0)
LOG_LINES: Final = 20
"""In all, not for each connection: nothing that a stranger sends is worth a line."""
GROWTH_OBJECTS: Final = 20_000
"""Objects that may be there more than before: caches that have been filled."""
LATENCY: Final = 2.0


def say(text: object) -> None:
    """Tell the other process, or the reader."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Counting(logging.Handler):
    """Counts lines, and keeps the first."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = 0
        self.first = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Count a line."""
        self.lines += 1
        self.first = self.first or record.getMessage()[:200]


# --- the server's process ------------------------------------------------------------------------


def objects() -> int:
    """How many objects the collector knows, after it has looked."""
    gc.collect()
    return len(gc.get_objects())


async def settle() -> None:
    """Let what has ended go; who is still there after ten seconds is told of."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        gc.collect()
        if not [each for each in drivers() if not each._gone] and len(asyncio.all_tasks()) <= 2:
            return
        await asyncio.sleep(0.05)


async def run_server() -> None:
    """Serve until a line comes on standard input; then tell what is left."""
    counting = Counting()
    logging.getLogger().addHandler(counting)
    service = Service()

    @service.function
    async def add(a: int, b: int) -> int:
        return a + b

    def started(port: int) -> None:
        say(port)

    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def listen() -> None:
        for _ in sys.stdin:
            loop.call_soon_threadsafe(asked.set)

    threading.Thread(target=listen, daemon=True).start()
    limits = ServerLimits(unauthenticated=10_000, sessions_per_address=10_000)
    serving = asyncio.create_task(
        serve(service, port=0, on_started=started, limits=IMPATIENT, server_limits=limits)
    )
    for _ in range(2):  # before and after
        await asked.wait()
        asked.clear()
        await settle()
        report = {
            "objects": objects(),
            "conversations": len([each for each in drivers() if not each._gone]),
            "tasks": len(asyncio.all_tasks()),
            "log lines": counting.lines,
            "first line": counting.first,
            "alive": not serving.done(),
        }
        say(json.dumps(report))
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving


# --- the flood and the client --------------------------------------------------------------------


async def visit(choose: random.Random, port: int) -> int:
    """One connection: send garbage, read what comes, leave; returns the bytes sent."""
    sent = 0
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 5)
        try:
            for piece in garbage(choose, port):
                writer.write(piece)
                sent += len(piece)
                await writer.drain()
                with contextlib.suppress(asyncio.TimeoutError):
                    if not await asyncio.wait_for(reader.read(65536), 0.02):
                        break
        finally:
            writer.close()
    return sent


async def flood(port: int, seconds: float, connections: int, seed: int) -> dict[str, int]:
    """Keep so many connections busy with garbage for a time."""
    end = time.monotonic() + seconds
    done = {"connections": 0, "bytes": 0}

    async def keep(index: int) -> None:
        choose = random.Random(seed * 1000 + index)
        while time.monotonic() < end:
            sent = await visit(choose, port)
            done["bytes"] += sent
            done["connections"] += 1

    await asyncio.gather(*[keep(index) for index in range(connections)])
    return done


async def run_client(port: int, seconds: float) -> None:
    """Call as fast as answers come, for a time; then tell the latencies."""
    taken: list[float] = []
    async with connect(f"http://127.0.0.1:{port}/telewire", transport="websocket") as remote:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            before = time.perf_counter()
            assert await remote.add(1, 2) == 3
            taken.append(time.perf_counter() - before)
            await asyncio.sleep(0.002)
    taken.sort()
    shown = {
        "calls": len(taken),
        "median ms": statistics.median(taken) * 1000,
        "p99 ms": taken[len(taken) * 99 // 100] * 1000,
        "max ms": taken[-1] * 1000,
    }
    say(json.dumps({name: round(value, 3) for name, value in shown.items()}))


def program(*arguments: str) -> subprocess.Popen[str]:
    """This file in a process of its own."""
    return subprocess.Popen(
        [sys.executable, __file__, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


# Any: what JSON holds.
def told(process: subprocess.Popen[str], ask: bool = False) -> dict[str, Any]:
    """The next line that a process prints, as JSON."""
    assert process.stdin is not None
    assert process.stdout is not None
    if ask:
        process.stdin.write("\n")
        process.stdin.flush()
    report: dict[str, Any] = json.loads(process.stdout.readline() or "{}")
    return report


def run(seconds: float, connections: int, seed: int) -> dict[str, Any]:
    """Everything, in order; returns the report."""
    with program("--serve") as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        asyncio.run(flood(port, min(1.0, seconds / 4), 10, seed + 1))  # fills what is filled once
        alone = max(0.5, seconds / 6)
        with program("--call", str(port), str(alone)) as client:
            quiet = told(client)
        before = told(server, ask=True)
        with program("--call", str(port), str(seconds)) as client:
            done = asyncio.run(flood(port, seconds, connections, seed))
            busy = told(client)
        after = told(server, ask=True)
        status = server.wait(15)
    ratio = busy.get("median ms", 0.0) / quiet["median ms"]
    report = {"flood": done, "quiet": quiet, "busy": busy, "latency ratio": round(ratio, 2)}
    report |= {"before": before, "after": after, "exit status": status}
    report["problems"] = problems(report)
    return report


def problems(report: dict[str, Any]) -> list[str]:
    """What should not be; latency is left to the reader."""
    before, after = report["before"], report["after"]
    found: list[str] = []
    if not after.get("alive") or report["exit status"] != 0 or not report["busy"]:
        found.append("the server or the client beside the flood did not live")
        return found
    if after["conversations"] or after["tasks"] > before["tasks"]:
        found.append(f"{after['conversations']} conversations and {after['tasks']} tasks are left")
    if after["objects"] - before["objects"] > GROWTH_OBJECTS:
        found.append(f"{after['objects'] - before['objects']} objects more than before are left")
    if after["log lines"] > LOG_LINES:
        found.append(f"{after['log lines']} lines were logged, the first: {after['first line']}")
    return found


def main() -> int:
    """Take the arguments of the command line."""
    parser = argparse.ArgumentParser(description="Flood a server with garbage, and look what it does.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--strict", action="store_true", help="fail where latency has more than doubled")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--call", nargs=2, metavar=("PORT", "SECONDS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(run_server())
        return 0
    if options.call:
        asyncio.run(run_client(int(options.call[0]), float(options.call[1])))
        return 0
    report = run(options.seconds, options.connections, options.seed)
    if options.strict and report["latency ratio"] > LATENCY:
        report["problems"].append(
            f"the median latency was {report['latency ratio']} times that without the flood"
        )
    say(json.dumps(report, indent=2))
    return 1 if report["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
