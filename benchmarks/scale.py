"""Ten thousand idle sessions and two thousand generators in one server: ``python benchmarks/scale.py``.

A server in a process of its own; clients in others, so that its memory is its own. Told are its memory
for a session and for a generator, the longest time that its loop was away from what else it had to do,
and what an item costs while ever more sessions stand beside it. Nothing here is compared with a peer.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

# Any: what JSON brings.
from typing import Any, Final

# This checkout is measured, whatever is installed.
ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "transports"), str(ROOT / "spec")]

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.plots import Line, lines
from benchmarks.readings import READABLE, allow_many_files, cpu_seconds, resident_bytes
from telewire import Remote, Service
from telewire.limits import ServerLimits
from telewire_transports import connect, serve

IDLE: Final = 10_000
ACTIVE: Final = 2_000
EVERY: Final = 0.5
"""Seconds between two items of one of the active generators: 2,000 give 4,000 items a second."""
SECONDS: Final = 10.0
STALL_GOAL: Final = 0.050
BEAT: Final = 0.005
"""Seconds for which who looks for stalls sleeps: a stall is by how much it wakes later."""
A_CLIENT: Final = 1_000
"""Sessions in one process of clients."""
AT_ONCE: Final = 50
"""Sessions that one process opens side by side."""
FILES_BESIDE: Final = 200

service: Final[Service[None]] = Service()


class _Stalls:
    """The longest since the last look: by how much the loop was late, and CPU of a run of the collector."""

    longest = 0.0
    collection = 0.0
    began = 0.0


def _collecting(phase: str, _: object) -> None:
    if phase == "start":
        _Stalls.began = time.thread_time()
    else:
        _Stalls.collection = max(_Stalls.collection, time.thread_time() - _Stalls.began)


@service.function
async def ticks() -> AsyncIterator[int]:
    """A number now and then, for ever; not all in step, as those of many users would not be."""
    number = 0
    await asyncio.sleep(EVERY * random.random())
    while True:
        yield number
        number += 1
        await asyncio.sleep(EVERY)


@service.function
async def longest_stall() -> tuple[float, float]:
    """The longest stall, and the longest run of the collector, since this was asked last; in seconds."""
    longest = _Stalls.longest, _Stalls.collection
    _Stalls.longest = _Stalls.collection = 0.0
    return longest


@service.function
async def freeze() -> int:
    """Have the collector leave alone what stands now; returns how many objects that are."""
    gc.collect()
    gc.freeze()
    return gc.get_freeze_count()


@service.function
async def ready() -> None:
    """Nothing but a call and its answer."""


async def _watch() -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + BEAT
        await asyncio.sleep(BEAT)
        _Stalls.longest = max(_Stalls.longest, loop.time() - due)


async def _be_server() -> None:
    many = ServerLimits(sessions=50_000, sessions_per_address=50_000, unauthenticated=50_000, arrivals=50_000)
    serving = asyncio.create_task(
        serve(service, port=0, on_started=lambda port: print(port, flush=True), server_limits=many)
    )
    watching = asyncio.create_task(_watch())
    gc.callbacks.append(_collecting)
    await asyncio.to_thread(sys.stdin.read)
    serving.cancel()
    watching.cancel()
    await asyncio.gather(serving, watching, return_exceptions=True)


# --- clients -------------------------------------------------------------------------------------


async def _open(stack: AsyncExitStack, port: int, count: int) -> list[Remote]:
    """Open so many sessions, some side by side."""
    url = f"http://127.0.0.1:{port}/telewire"
    remotes: list[Remote] = []

    async def one() -> Remote:
        remote = await stack.enter_async_context(connect(url, transport="websocket", timeout=60))
        await remote.ready()
        return remote

    while len(remotes) < count:
        batch = min(AT_ONCE, count - len(remotes))
        remotes += await asyncio.gather(*(one() for _ in range(batch)))
    return remotes


async def _be_clients(port: int) -> None:
    """Obey lines: ``open N``, ``start N`` generators on sessions of their own, ``items``; answer each."""
    items = 0
    tasks: list[asyncio.Task[None]] = []
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )

    async def consume(remote: Remote) -> None:
        nonlocal items
        expected = 0
        async for number in remote.ticks():
            if number != expected:
                raise ValueError(f"{number} came instead of {expected}.")
            expected += 1
            items += 1

    # Not left one by one: the process ends with its sessions.
    stack = AsyncExitStack()
    free: list[Remote] = []
    while line := await reader.readline():
        word, _, count = line.decode().strip().partition(" ")
        if word == "open":
            free += await _open(stack, port, int(count))
        elif word == "start":
            tasks += [asyncio.create_task(consume(free.pop())) for _ in range(int(count))]
        for task in tasks:
            if task.done():
                task.result()
        print(items, flush=True)


class _Clients:
    """One process of clients."""

    def __init__(self, port: int) -> None:
        self.sessions = 0
        self.process = _start("--clients", str(port))

    def ask(self, words: str) -> None:
        """Say something; :meth:`answer` takes what it says then."""
        assert self.process.stdin is not None
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()

    def answer(self) -> int:
        """How many items it has got, once it has done what it was asked for."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("A process of clients ended; what it said stands above.")
        return int(line)


def _start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


# --- measuring -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """The server with so many sessions and generators: its memory, its stalls, and what an item costs.

    ``bytes_each``: of memory for each session beyond the first, or for each generator in the last step.
    ``opening_stall``, ``stall``: the longest while they were opened, and in the time after;
    ``collection``: the most CPU of one run of Python's collector in that time.
    """

    sessions: int
    generators: int
    resident_bytes: int
    bytes_each: float
    opening_stall: float
    stall: float
    collection: float
    items_a_second: float
    cpu_us_an_item: float


class _Scale:
    """The server, its clients, and what has been seen."""

    def __init__(self, port: int, server: subprocess.Popen[str], remote: Remote, seconds: float) -> None:
        self._port = port
        self._server = server.pid
        self._remote = remote
        self._seconds = seconds
        self._clients: list[_Clients] = []
        self.steps: list[Step] = []

    async def _all(self, words: Sequence[str]) -> int:
        """Ask each process of clients; how many items they have got together."""
        for clients, each in zip(self._clients, words, strict=True):
            clients.ask(each)
        return sum(await asyncio.gather(*(asyncio.to_thread(each.answer) for each in self._clients)))

    async def open(self, sessions: int) -> None:
        """Have so many sessions in all."""
        while (have := sum(each.sessions for each in self._clients)) < sessions:
            if not self._clients or self._clients[-1].sessions == A_CLIENT:
                self._clients.append(_Clients(self._port))
            clients = self._clients[-1]
            more = min(sessions - have, A_CLIENT - clients.sessions)
            clients.ask(f"open {more}")
            await asyncio.to_thread(clients.answer)
            clients.sessions += more

    async def start(self, generators: int) -> None:
        """Start so many generators more, spread over all sessions."""
        share, rest = divmod(generators, len(self._clients))
        await self._all([f"start {share + (place < rest)}" for place in range(len(self._clients))])

    async def look(self, sessions: int, generators: int, before: int, more: int) -> None:
        """Wait, and note what there is; ``before``: the memory before there were ``more`` of them."""
        opening, _ = await self._remote.longest_stall()
        items = await self._all(["items"] * len(self._clients))
        cpu, began = cpu_seconds(self._server), time.perf_counter()
        await asyncio.sleep(self._seconds)
        seconds, cpu = time.perf_counter() - began, cpu_seconds(self._server) - cpu
        stall, collection = await self._remote.longest_stall()
        items = await self._all(["items"] * len(self._clients)) - items
        now = resident_bytes(self._server)
        cost = cpu / items * 1e6 if items else 0.0
        each = (now - before) / max(1, more)
        self.steps.append(
            Step(sessions, generators, now, each, opening, stall, collection, items / seconds, cost)
        )

    def close(self) -> None:
        """End the clients."""
        for each in self._clients:
            assert each.process.stdin is not None
            each.process.stdin.close()
        for each in self._clients:
            each.process.wait()
            assert each.process.stdout is not None
            each.process.stdout.close()


async def _measure(
    port: int, server: subprocess.Popen[str], idle: int, active: int, seconds: float, freeze: bool
) -> list[Step]:
    async with connect(f"http://127.0.0.1:{port}/telewire", transport="websocket") as remote:
        scale = _Scale(port, server, remote, seconds)
        try:
            await scale.open(1)
            first = resident_bytes(server.pid)
            await remote.longest_stall()
            sizes = sorted({size for size in (10, 100, 1_000, 3_000, idle) if size <= idle})
            for sessions in sizes:
                await scale.open(sessions)
                await scale.look(sessions, 0, first, sessions - 1)
            if freeze:
                await remote.freeze()
                await remote.longest_stall()
            before = resident_bytes(server.pid)
            started = 0
            for generators in sorted({size for size in (10, 100, 500, active) if size <= active}):
                await scale.start(generators - started)
                started = generators
                await scale.look(sizes[-1], generators, before, generators)
            return scale.steps
        finally:
            scale.close()


def run(idle: int, active: int, seconds: float, freeze: bool = False) -> list[Step]:
    """Start a server, and measure."""
    server = _start("--serve")
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        port = int(server.stdout.readline())
        return asyncio.run(_measure(port, server, idle, active, seconds, freeze))
    finally:
        server.stdin.close()
        server.wait()
        server.stdout.close()


def _print(steps: Sequence[Step], console: Console) -> None:
    table = Table(title="one server process", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    headings = ("sessions", "generators", "MB", "KiB each", "opening", "stall", "gc", "items/s", "µs/item")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for step in steps:
        colour = "green" if step.stall <= STALL_GOAL else "red"
        table.add_row(
            f"{step.sessions:,}",
            f"{step.generators:,}",
            f"{step.resident_bytes / 1e6:.0f}",
            f"{step.bytes_each / 1024:.1f}",
            f"{step.opening_stall * 1000:.0f} ms",
            f"[{colour}]{step.stall * 1000:.0f} ms[/]",
            f"{step.collection * 1000:.0f} ms",
            f"{step.items_a_second:,.0f}",
            f"{step.cpu_us_an_item:.0f}" if step.generators else "",
        )
    console.print(table)


def _draw(steps: Sequence[Step], note: str, folder: Path) -> None:
    memory = [
        Line("a session", [(each.sessions, each.bytes_each) for each in steps if not each.generators]),
        Line("a generator", [(each.generators, each.bytes_each) for each in steps if each.generators]),
    ]
    drawn = [Line(each.name, [point for point in each.points if point[1] > 0]) for each in memory]
    text = lines(
        "Memory of the server for each",
        "sessions, or generators",
        "bytes",
        note,
        [x for x in drawn if x.points],
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scale.svg").write_text(text, encoding="utf-8")


def main(argv: Sequence[str]) -> int:
    """Measure and print; returns the exit status."""
    if argv == ["--serve"]:
        allow_many_files()
        asyncio.run(_be_server())
        return 0
    if argv[:1] == ["--clients"]:
        allow_many_files()
        asyncio.run(_be_clients(int(argv[1])))
        return 0
    parser = argparse.ArgumentParser(prog="benchmarks/scale.py", description="Many sessions in one process.")
    parser.add_argument("--idle", type=int, default=IDLE, metavar="N", help=f"sessions; {IDLE}")
    parser.add_argument("--active", type=int, default=ACTIVE, metavar="N", help=f"generators; {ACTIVE}")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"to look at each step; {SECONDS:g}")
    parser.add_argument(
        "--freeze",
        action="store_true",
        help="gc.freeze() before the generators, to see what the collector does",
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write what was measured to a file")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw it as SVG into a folder")
    parser.add_argument("--note", default="", metavar="WORDS", help="stands under the plot")
    options = parser.parse_args(argv)
    console = Console()
    if not READABLE:
        console.print(
            "This system does not show what another process takes: only Linux does.", style="yellow"
        )
        return 0
    files = allow_many_files()
    idle = min(options.idle, files - FILES_BESIDE)
    if idle < options.idle:
        console.print(
            f"A process may open {files} files here (ulimit -n): {idle} sessions stand for {options.idle}.",
            style="yellow",
        )
    steps = run(idle, min(options.active, idle), options.seconds, options.freeze)
    _print(steps, console)
    console.print(
        f"opening, stall: the longest that the loop was late, in steps of {BEAT * 1000:g} ms; "
        f"{STALL_GOAL * 1000:.0f} ms is the goal. gc: the most CPU of one run of the collector."
    )
    if options.json is not None:
        written: list[dict[str, Any]] = [asdict(step) for step in steps]
        options.json.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    if options.plots is not None:
        _draw(steps, options.note, options.plots)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
