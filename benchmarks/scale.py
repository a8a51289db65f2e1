"""Ten thousand idle sessions and two thousand generators in one server: ``python benchmarks/scale.py``.

A server in a process of its own; clients in others, so that its memory is its own. Told are its memory
for a session and for a generator, the longest time that its loop was away from what else it had to do,
and what an item costs while ever more sessions stand beside it. Nothing here is compared with a peer.

A stall is told twice: as it was, and without the time in which the server was ready to run and others,
such as its clients, had all CPUs. On a machine of its own, with CPUs to spare, only the second is there.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

# This checkout is measured, whatever is installed.
ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "transports"), str(ROOT / "spec")]

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.outputs import add_outputs, write_json
from benchmarks.plots import Line, lines
from benchmarks.readings import (
    READABLE,
    allow_many_files,
    bytes_in_use,
    cpu_seconds,
    resident_bytes,
    waited_seconds,
)
from telewire import Remote, Service
from telewire.cli.collector import spare_full_collections
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
FIRST: Final = 10
"""Sessions that are there before anything is measured."""
SETTLED: Final = 3.0
"""Seconds after which these have made all that is made once."""
AT_ONCE: Final = 50
"""Sessions that one process opens, or generators that it starts, side by side."""
BETWEEN: Final = 0.1
"""Seconds between two such portions of generators."""
FILES_BESIDE: Final = 200

service: Final[Service[None]] = Service()


class _Stalls:
    """The longest since the last look: by how much the loop was late, with and without the time in which
    others had all CPUs, and CPU of a run of the collector.
    """

    longest = 0.0
    own = 0.0
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
async def longest_stall() -> tuple[float, float, float]:
    """The longest stall, that of our own, and the longest run of the collector; seconds, since the last."""
    longest = _Stalls.longest, _Stalls.own, _Stalls.collection
    _Stalls.longest = _Stalls.own = _Stalls.collection = 0.0
    return longest


@service.function
async def in_use() -> int | None:
    """What the server has allocated and not freed, where the system tells."""
    return bytes_in_use()


@service.function
async def ready() -> None:
    """Nothing but a call and its answer."""


async def _watch() -> None:
    loop = asyncio.get_running_loop()
    while True:
        due, waited = loop.time() + BEAT, waited_seconds()
        await asyncio.sleep(BEAT)
        late = loop.time() - due
        _Stalls.longest = max(_Stalls.longest, late)
        _Stalls.own = max(_Stalls.own, late - (waited_seconds() - waited))


async def _be_server(spared: bool) -> None:
    many = ServerLimits(sessions=50_000, sessions_per_address=50_000, unauthenticated=50_000, arrivals=50_000)
    serving = asyncio.create_task(
        serve(service, port=0, on_started=lambda port: print(port, flush=True), server_limits=many)
    )
    watching = asyncio.create_task(_watch())
    gc.callbacks.append(_collecting)
    if spared:
        spare_full_collections()
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
            for started in range(int(count)):
                tasks.append(asyncio.create_task(consume(free.pop())))
                if started % AT_ONCE == AT_ONCE - 1:
                    await asyncio.sleep(BETWEEN)
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

    ``bytes_each``: of resident memory for each session beyond the first ten, or for each generator;
    ``in_use_each``: of what is allocated, where the system tells. ``opening_stall``, ``stall``: the longest
    while they were opened, and in the time after, and ``own`` without waits for a CPU;
    ``collection``: the most CPU of one run of Python's collector in both.
    """

    sessions: int
    generators: int
    resident_bytes: int
    bytes_each: float
    in_use_each: float | None
    opening_stall: float
    opening_own: float
    stall: float
    own: float
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

    async def memory(self) -> tuple[int, int | None]:
        """Of the server: resident, and in use where that is told."""
        return resident_bytes(self._server), await self._remote.in_use()

    async def look(self, sessions: int, generators: int, before: tuple[int, int | None], more: int) -> None:
        """Wait, and note what there is; ``before``: the memory before there were ``more`` of them."""
        opening, opening_own, most = await self._remote.longest_stall()
        items = await self._all(["items"] * len(self._clients))
        cpu, began = cpu_seconds(self._server), time.perf_counter()
        await asyncio.sleep(self._seconds)
        seconds, cpu = time.perf_counter() - began, cpu_seconds(self._server) - cpu
        stall, own, collection = await self._remote.longest_stall()
        items = await self._all(["items"] * len(self._clients)) - items
        now, in_use = await self.memory()
        self.steps.append(
            Step(
                sessions=sessions,
                generators=generators,
                resident_bytes=now,
                bytes_each=(now - before[0]) / max(1, more),
                in_use_each=(in_use - before[1]) / max(1, more) if in_use and before[1] else None,
                opening_stall=opening,
                opening_own=opening_own,
                stall=stall,
                own=own,
                collection=max(most, collection),
                items_a_second=items / seconds,
                cpu_us_an_item=cpu / items * 1e6 if items else 0.0,
            )
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
    port: int, server: subprocess.Popen[str], idle: int, active: int, seconds: float
) -> list[Step]:
    async with connect(f"http://127.0.0.1:{port}/telewire", transport="websocket") as remote:
        scale = _Scale(port, server, remote, seconds)
        try:
            # What the first sessions, and looking, take once is none of what each of them takes.
            await scale.open(min(FIRST, idle))
            await scale.memory()
            await asyncio.sleep(SETTLED)
            first = await scale.memory()
            await remote.longest_stall()
            sizes = sorted({size for size in (2 * FIRST, 100, 1_000, 3_000, idle) if size <= idle})
            for sessions in sizes:
                await scale.open(sessions)
                await scale.look(sessions, 0, first, sessions - FIRST)
            before = await scale.memory()
            started = 0
            for generators in sorted({size for size in (10, 100, 500, active) if size <= active}):
                await scale.start(generators - started)
                started = generators
                await scale.look(sizes[-1], generators, before, generators)
            return scale.steps
        finally:
            scale.close()


def run(idle: int, active: int, seconds: float, spared: bool = False) -> list[Step]:
    """Start a server, and measure."""
    server = _start("--serve", *(["--spared"] if spared else []))
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        port = int(server.stdout.readline())
        return asyncio.run(_measure(port, server, idle, active, seconds))
    finally:
        server.stdin.close()
        server.wait()
        server.stdout.close()


def _print(steps: Sequence[Step], console: Console) -> None:
    table = Table(title="one server process", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    headings = (
        "sessions",
        "active",
        "MB",
        "KiB each",
        "in use",
        "opening",
        "stall",
        "gc",
        "items/s",
        "µs/item",
    )
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for step in steps:
        table.add_row(
            f"{step.sessions:,}",
            f"{step.generators:,}",
            f"{step.resident_bytes / 1e6:.0f}",
            f"{step.bytes_each / 1024:.1f}",
            "" if step.in_use_each is None else f"{step.in_use_each / 1024:.1f}",
            *(
                f"{both * 1000:.0f}, [{'green' if own <= STALL_GOAL else 'red'}]{own * 1000:.0f}[/]"
                for both, own in ((step.opening_stall, step.opening_own), (step.stall, step.own))
            ),
            f"{step.collection * 1000:.0f}",
            f"{step.items_a_second:,.0f}",
            f"{step.cpu_us_an_item:.0f}" if step.generators else "",
        )
    console.print(table)


def _held(step: Step) -> float:
    return step.bytes_each if step.in_use_each is None else step.in_use_each


def _draw(steps: Sequence[Step], note: str, folder: Path) -> None:
    memory = [
        Line("a session", [(each.sessions, _held(each)) for each in steps if not each.generators]),
        Line("a generator", [(each.generators, _held(each)) for each in steps if each.generators]),
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
    if argv[:1] == ["--serve"]:
        allow_many_files()
        asyncio.run(_be_server("--spared" in argv))
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
        "--spared",
        action="store_true",
        help="with the collector as `telewire serve` sets it",
    )
    add_outputs(parser)
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
    steps = run(idle, min(options.active, idle), options.seconds, options.spared)
    _print(steps, console)
    console.print(
        "KiB each: resident; in use: allocated. opening, stall: by how many ms the loop was late while they "
        f"were opened, and then, looked for every {BEAT * 1000:g} ms: as it was, and our own part, without "
        f"a wait for a CPU; {STALL_GOAL * 1000:.0f} is the goal. gc: the most CPU of one run of the "
        "collector."
    )
    if options.json is not None:
        write_json(options.json, [asdict(step) for step in steps])
    if options.plots is not None:
        _draw(steps, options.note, options.plots)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
