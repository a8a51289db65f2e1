"""Where the time of a call and of an item goes: ``python benchmarks/profile_call.py [--profile call|item]``.

Both sides live in this process, so its CPU time is what a call costs altogether. Layers are told
apart by taking them away: the whole over WebSocket, the whole over memory, two connections without
a runtime, values alone. With ``--profile`` the whole runs under cProfile instead; that adds a cost
to every Python function, so read its order, not its figures.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import functools
import pstats
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

# Any: the future of a coroutine says so.
from typing import Any, Final, cast

# This checkout is measured, whatever is installed.
ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "transports"), str(ROOT / "spec")]

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import in_process
from benchmarks.peers import telewire_peer
from benchmarks.results import Spread
from benchmarks.workloads import WORKLOADS, Session
from telewire_transports import memory

ROUNDS: Final = 5
UNITS: Final = {"call": ("W1c", 6_400), "item": ("W2", 50_000)}
LINES: Final = 40

Connect = Callable[[], AbstractAsyncContextManager[Session]]


@asynccontextmanager
async def over_memory() -> AsyncIterator[Session]:
    """The whole stack without a network."""
    async with memory.connect(telewire_peer.service) as remote:
        yield cast("Session", remote)


@asynccontextmanager
async def over_websocket() -> AsyncIterator[Session]:
    """The whole stack over a socket, server and client in this process."""
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    server = asyncio.create_task(telewire_peer.serve("plain", port.set_result))
    try:
        async with telewire_peer.connect(await port, "plain") as session:
            yield session
    finally:
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)


async def _whole(connect: Connect, workload: str, count: int, profile: cProfile.Profile | None) -> float:
    async with connect() as session:
        run = WORKLOADS[workload].run
        await run(session, count // 10 + 1)
        began = time.process_time()
        if profile is not None:
            profile.enable()
        await run(session, count)
        if profile is not None:
            profile.disable()
        return time.process_time() - began


def whole(connect: Connect, workload: str, count: int, profile: cProfile.Profile | None = None) -> float:
    """Seconds of CPU for ``count`` units of a workload."""
    work: Coroutine[Any, Any, float] = _whole(connect, workload, count, profile)
    return asyncio.run(work)


def layers(unit: str, rounds: int, scale: float) -> list[tuple[str, Spread]]:
    """Microseconds of CPU for one call or item, by layer, the whole last."""
    workload, count = UNITS[unit]
    count = max(1, round(count * scale))
    values, connections = {
        "call": (in_process.values_unary, in_process.connections_unary),
        "item": (in_process.values_items, in_process.connections_items),
    }[unit]
    measures: tuple[Callable[[int], float], ...] = (
        values,
        functools.partial(connections, values=False),
        lambda count: whole(over_memory, workload, count),
        lambda count: whole(over_websocket, workload, count),
    )
    found: list[tuple[float, float, float, float, float]] = []
    for _ in range(rounds):
        encoding, core, in_memory, websocket = (measure(count) / count * 1e6 for measure in measures)
        found.append((encoding, core, in_memory - encoding - core, websocket - in_memory, websocket))
    names = (
        "values: encode and decode",
        "core: both connections",
        "runtime: tasks, checks, handles",
        "WebSocket and sockets",
        "whole",
    )
    return [(name, Spread.of(column)) for name, column in zip(names, zip(*found, strict=True), strict=True)]


def print_layers(unit: str, rounds: int, scale: float, console: Console) -> None:
    """Print one table."""
    rows = layers(unit, rounds, scale)
    whole_cost = rows[-1][1].median
    title = f"µs of CPU for one {unit}, both sides together"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for heading in ("median", "spread", "share"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, cost in rows:
        share = f"{cost.median / whole_cost:.0%}"
        table.add_row(name, f"{cost.median:.2f}", f"{cost.low:.2f}–{cost.high:.2f}", share)
    console.print(table)


def print_profile(unit: str, scale: float, sort: str, lines: int) -> None:
    """Run the whole over WebSocket under cProfile and print its functions."""
    workload, count = UNITS[unit]
    profile = cProfile.Profile()
    whole(over_websocket, workload, max(1, round(count * scale)), profile)
    pstats.Stats(profile).strip_dirs().sort_stats(sort).print_stats(lines)


def main(argv: Sequence[str]) -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks/profile_call.py", description="Cost by layer.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"{ROUNDS} unless given")
    parser.add_argument("--scale", type=float, default=1.0, help="multiply the work of a measurement")
    parser.add_argument("--profile", choices=list(UNITS), help="cProfile a call or an item instead")
    parser.add_argument("--sort", default="tottime", choices=["tottime", "cumtime", "ncalls"])
    parser.add_argument("--lines", type=int, default=LINES, metavar="N", help="how many functions to print")
    options = parser.parse_args(argv)
    if options.rounds < 1 or options.scale <= 0:
        parser.error("--rounds must be 1 or more and --scale above 0")
    if options.profile is not None:
        print_profile(options.profile, options.scale, options.sort, options.lines)
        return 0
    console = Console()
    for unit in UNITS:
        print_layers(unit, options.rounds, options.scale, console)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
