"""A rolling restart: of two servers behind a balancer, one by one; no call fails or runs twice."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from telewire import GoingAway, Remote
from telewire.runtime.transport import TransportName
from telewire_transports import connect
from tests.transports.balancer import Balancer, balancing

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM that can be handled"),
]
SERVER = Path(__file__).with_name("rolling_server.py")
RATE = 500
CALLS = 1_200
CLIENTS = 5
GENERATORS = 50
MANY = 400
GRACE = "1.0"


class Fleet:
    """The servers, each a process of its own; all note what they run in one file."""

    def __init__(self, notes: Path, balancer: Balancer) -> None:
        self.notes = notes
        self.balancer = balancer
        self.processes: dict[int, subprocess.Popen[str]] = {}

    async def start(self) -> int:
        """Start one and send clients there."""
        port = await anyio.to_thread.run_sync(self._spawn)
        self.balancer.servers.append(port)
        return port

    def _spawn(self) -> int:
        process = subprocess.Popen(
            [sys.executable, str(SERVER), str(self.notes), GRACE], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        port = int(process.stdout.readline())
        self.processes[port] = process
        return port

    async def stop(self, port: int) -> int:
        """Tell one to end, and wait until it has; the balancer is not told. Returns its status."""
        process = self.processes[port]
        process.send_signal(signal.SIGTERM)
        return await anyio.to_thread.run_sync(process.wait)

    def kill(self) -> None:
        """Leave none behind."""
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@asynccontextmanager
async def fleet_of_two(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with balancing() as balancer:
        fleet = Fleet(tmp_path / "notes", balancer)
        try:
            await fleet.start()
            await fleet.start()
            yield fleet
        finally:
            fleet.kill()


class Traffic:
    """Calls at a steady rate, and generators that are open meanwhile."""

    def __init__(self, remotes: list[Remote]) -> None:
        self.remotes = remotes
        self.made = 0
        self.results: list[int] = []
        self.failures: list[BaseException] = []
        self.items: list[list[int]] = []
        self.ends: list[BaseException | None] = []
        self.done = anyio.Event()
        self.opened = 0
        self.flowing = anyio.Event()
        self.restarting = anyio.Event()
        self.rate = 0.0
        """Calls made in a second: below ``RATE`` where the machine is too slow for it."""

    async def call(self, number: int) -> None:
        try:
            self.results.append(await self.remotes[number % len(self.remotes)].note(number))
        except Exception as error:
            self.failures.append(error)

    async def run(self) -> None:
        """Make calls by the clock until the restart is done, and no fewer than so many."""
        begun = anyio.current_time()
        async with anyio.create_task_group() as group:
            while self.made < CALLS or not self.done.is_set():
                await anyio.sleep_until(begun + self.made / RATE)
                group.start_soon(self.call, self.made)
                self.made += 1
                if self.opened == GENERATORS and self.made > CALLS // 4:
                    self.flowing.set()
            self.rate = self.made / (anyio.current_time() - begun)

    async def take(self, number: int) -> None:
        """Take a generator's items: one at first, the others while its server is restarted."""
        remote = self.remotes[number % len(self.remotes)]
        items: list[int] = []
        self.items.append(items)
        try:
            async for item in remote.count(MANY) if number % 2 else remote.forever():
                items.append(item)
                if len(items) == 1:
                    self.opened += 1
                    await self.restarting.wait()
        except Exception as error:
            self.ends.append(error)
        else:
            self.ends.append(None)
            assert items == list(range(MANY))


@pytest.mark.parametrize("transport", ["websocket", "http", None])
async def test_no_call_fails_or_runs_twice(
    tmp_path: Path, transport: TransportName | None, record_property: Callable[[str, object], None]
) -> None:
    async with AsyncExitStack() as stack:
        stack.enter_context(anyio.fail_after(60))
        fleet = await stack.enter_async_context(fleet_of_two(tmp_path))
        url = f"http://127.0.0.1:{fleet.balancer.port}/telewire"
        clients = [connect(url, transport=transport) for _ in range(CLIENTS)]
        remotes = [await stack.enter_async_context(client) for client in clients]
        traffic = Traffic(remotes)
        before = list(fleet.processes)
        async with anyio.create_task_group() as group:
            for number in range(GENERATORS):
                group.start_soon(traffic.take, number)
            group.start_soon(traffic.run)
            await traffic.flowing.wait()
            traffic.restarting.set()
            for port in before:
                await fleet.start()
                assert await fleet.stop(port) == 0
            traffic.done.set()
        # Nothing is asserted of it: a machine that is busy has its reasons.
        record_property("calls_per_second", round(traffic.rate))
        sys.stdout.write(f"{transport}: {traffic.made} calls, {traffic.rate:.0f} a second\n")
        assert traffic.failures == []
        assert [client.state for client in clients] == ["connected"] * CLIENTS
        # Each has its result, and was run by one server, once.
        assert sorted(traffic.results) == list(range(traffic.made))
        ran = Counter(int(line) for line in fleet.notes.read_text(encoding="utf-8").split())
        assert ran == Counter(range(traffic.made))
        # Those that could end have, whole; those that could not, and cannot move, say why.
        assert len(traffic.ends) == GENERATORS
        failed = [error for error in traffic.ends if error is not None]
        assert len(failed) == GENERATORS // 2
        assert all(isinstance(error, GoingAway) and not error.retryable for error in failed)
        assert all(items[:1] == [0] for items in traffic.items)
