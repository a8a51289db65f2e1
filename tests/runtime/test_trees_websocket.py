"""I3 over WebSocket and HTTP: whatever a random tree of calls and values does, nothing of it is left."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from telewire import InvalidArgument, TelewireError
from telewire.errors import ProtocolError
from telewire.runtime.backend import current_backend
from telewire.runtime.driver import Driver, drivers
from telewire.runtime.transport import TransportName
from telewire_transports import connect, serve
from tests.runtime.trees import KINDS, LEAF, Party, Planner, Tree, Trouble
from tests.runtime.world import Bugs, leftovers, until

pytestmark = pytest.mark.anyio

SEED = os.environ.get("TELEWIRE_TREES_SEED", "0")
SECONDS = float(os.environ.get("TELEWIRE_TREES_SECONDS", "0"))
"""How long trees grow; without it a few of them do, and fewer where that takes long."""
TREES = 80
LEAST = 10
CUTS = 10
MOST_SECONDS = 8.0
COLLECT_LOOKS = 200


@asynccontextmanager
async def joined(client: Party, server: Party, over: TransportName) -> AsyncIterator[list[Driver]]:
    """Both parties on one session; gives their drivers."""
    before = set(drivers())
    started = anyio.Event()
    ports: list[int] = []

    def listening(port: int) -> None:
        ports.append(port)
        started.set()

    async def run() -> None:
        await serve(server.service, port=0, on_started=listening)

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await started.wait()
        url = f"http://127.0.0.1:{ports[0]}/telewire"
        async with connect(url, transport=over, service=client.service) as client.remote:
            yield [driver for driver in drivers() if driver not in before]
        group.cancel_scope.cancel()


def left_of(sides: list[Driver], before: set[object]) -> list[object]:
    """What both sides still hold of a tree that is over."""
    found: list[object] = list(leftovers([driver.connection for driver in sides]))
    for driver in sides:
        found += driver.running.works
        found += driver.exports._numbers
        found += driver.exports._streams
        found += driver._finalised
    running = tasks()
    # A transport that took the place of a lost one has tasks of its own, as many as that had.
    return found + (list(running - before) if len(running) > len(before) else [])


def tasks() -> set[object]:
    """The tasks of the loop that are ours: telewire's on trio, all of them on asyncio."""
    backend = current_backend()
    if backend.name == "asyncio":
        return {task for task in asyncio.all_tasks() if not task.done()}
    nursery = backend._nursery  # type: ignore[attr-defined]  # trio's has one, and no other way to see it
    assert nursery is not None
    return {task for task in nursery.child_tasks if not task.name.endswith("_run_timers")}


async def grow(client: Party, choose: random.Random, cut: Callable[[], object] | None = None) -> None:
    """Let one tree live for a while, ``cut`` what it lives on, and fell it."""
    planner = Planner(choose, choose.choice((3, 10, 30)))
    roots = [planner.call(choose.randrange(1, 5)) for _ in range(choose.randrange(1, 5))]
    left = len(roots)
    tree = client.tree

    async def root(number: int) -> None:
        nonlocal left
        await tree.run(client.call, roots[number])
        left -= 1

    async with anyio.create_task_group() as group:
        for number in range(len(roots)):
            group.start_soon(root, number)
        for _ in range(choose.choice((5, 50, 500))):
            await anyio.lowlevel.checkpoint()
            if not left:
                break
        if cut is not None:
            cut()
            for _ in range(choose.choice((0, 5, 50))):
                await anyio.lowlevel.checkpoint()
        tree.fell()


async def settled(sides: list[Driver], before: set[object], tree: Tree, seed: str) -> None:
    """Wait until nothing is left of a felled tree."""
    looks = itertools.count()

    def gone() -> bool:
        # Exceptions of user code hold its frames in cycles, and these hold handles.
        if next(looks) % COLLECT_LOOKS == 0:
            gc.collect()
        return not left_of(sides, before) and not tree.odd_endings

    await until(gone, lambda: (seed, tree.wrong, left_of(sides, before), tree.odd_endings))


@pytest.fixture
def untraced(log: Bugs) -> Iterator[Bugs]:
    """What is logged, without tracebacks: who keeps these keeps frames of user code and their handles."""
    log.expected = True
    logger = logging.getLogger("telewire.runtime")
    logger.addFilter(without_traceback)
    yield log
    logger.removeFilter(without_traceback)


def without_traceback(record: logging.LogRecord) -> bool:
    """Look at what failed, and keep only its type."""
    error = record.exc_info[1] if record.exc_info else None
    record.exc_info = None
    fine = error is None or isinstance(error, Trouble | TelewireError)
    record.expected = fine and not isinstance(error, InvalidArgument | ProtocolError)
    record.msg = f"{record.msg}: {type(error).__name__}"
    return True


def check_log(log: Bugs) -> None:
    """Only what the plans broke was logged, and what came of it."""
    for record in log.records:
        assert getattr(record, "expected", False), record.getMessage()
    log.records.clear()


@pytest.mark.parametrize("over", ["websocket", "sse"])
async def test_i3_nothing_is_left_of_any_tree(untraced: Bugs, over: TransportName) -> None:
    client, server = Party(), Party()
    seen: set[str] = set()
    end = anyio.current_time() + (SECONDS or MOST_SECONDS)
    async with joined(client, server, over) as sides:
        gc.collect()
        before = tasks()
        for number in itertools.count() if SECONDS else range(TREES):
            if number >= LEAST and anyio.current_time() > end:
                break
            seed = f"{SEED}/{number}"
            client.tree = server.tree = tree = Tree()
            await grow(client, random.Random(seed))
            await settled(sides, before, tree, seed)
            assert not tree.wrong, (seed, tree.wrong)
            assert client.remote is not None
            await client.remote.node(LEAF, [])
            check_log(untraced)
            seen |= tree.seen
    assert seen == set(KINDS)


@pytest.mark.parametrize("over", ["websocket", "sse"])
@pytest.mark.parametrize("side", ["client", "server"])
async def test_i3_nothing_is_left_of_a_tree_that_is_cut_off(
    untraced: Bugs, side: str, over: TransportName
) -> None:
    end = anyio.current_time() + MOST_SECONDS / 2
    for number in range(CUTS):
        if anyio.current_time() > end:
            break
        seed = f"{SEED}/{side}/{number}"
        client, server = Party(), Party()
        client.tree = server.tree = tree = Tree()
        async with joined(client, server, over) as sides:
            before = tasks()
            (driver,) = (each for each in sides if each.connection.side == side)
            await grow(client, random.Random(seed), driver.transport.abort)
            await settled(sides, before, tree, seed)
            assert not tree.wrong, (seed, tree.wrong)
        check_log(untraced)
