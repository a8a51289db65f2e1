"""R3: a finaliser never enters the core; it appends to a deque and wakes the driver, from any thread."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import anyio.to_thread
import pytest

from telewire.core.connection import Connection
from telewire.core.scheduler import Scheduler
from tests.compiled import replaces_a_part
from tests.runtime.lives import EVERY_KIND, Giving
from tests.runtime.world import Connected, until


class Cycle:
    """Keeps a handle alive until the collector comes: then its finaliser runs wherever that is."""

    # Any: handles of every kind.
    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.itself = self


def watch(monkeypatch: pytest.MonkeyPatch, note: Callable[[], object]) -> None:
    """Call ``note`` at each command by which a handle can end."""

    def watched(command: Callable[..., object]) -> Callable[..., object]:
        # Any: what commands take is their own.
        def noting(*args: Any) -> object:
            note()
            return command(*args)

        return noting

    for name in ("stop", "end", "reset"):
        monkeypatch.setattr(Connection, name, watched(getattr(Connection, name)))


@replaces_a_part
@pytest.mark.parametrize("kind", EVERY_KIND)
async def test_a_finaliser_that_runs_inside_the_core_does_not_enter_it(
    connected: Connected, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = Giving()
    inside = False
    entered: list[bool] = []
    collected: list[bool] = []
    kept: list[Cycle] = []
    next_data = Scheduler.next_data

    # Any: what the core passes and returns there is its own.
    def collecting(self: Scheduler, *args: Any) -> Any:
        nonlocal inside
        if kept and not collected:
            inside = True
            kept.clear()
            gc.collect()
            collected.append(True)
            inside = False
        return next_data(self, *args)

    async with connected(given.service) as world:
        kept.append(Cycle((await world.remote.give(kind))[kind]))
        monkeypatch.setattr(Scheduler, "next_data", collecting)
        watch(monkeypatch, lambda: entered.append(inside))
        await world.remote["test.round_trip"]()
        assert collected
        await until(lambda: given.over == [None])
        monkeypatch.undo()
    assert entered
    assert not any(entered)


@pytest.mark.parametrize("kind", EVERY_KIND)
async def test_a_finaliser_in_another_thread_leaves_the_work_to_the_loop(
    connected: Connected, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = Giving()
    threads: list[int] = []

    async with connected(given.service) as world:
        kept = [(await world.remote.give(kind))[kind]]
        watch(monkeypatch, lambda: threads.append(threading.get_ident()))
        await anyio.to_thread.run_sync(kept.clear)
        await until(lambda: given.over == [None])
        monkeypatch.undo()
    assert set(threads) == {threading.get_ident()}
