"""Fixtures of the runtime's tests: both transports, a watchdog, and nothing left behind."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from telewire import Limits, Remote, Service
from telewire.runtime.backend import current_backend
from tests.runtime.own_threads import join_workers
from tests.runtime.world import Bugs, Connected, RemoteOf, World, lived, memory_world, until, websocket_world

WATCHDOG_SECONDS = 10.0
WORLDS = {"memory": memory_world, "websocket": websocket_world}


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Every test ends with no thread of ours."""
    yield
    join_workers()


@pytest.fixture(params=sorted(WORLDS))
def transport(request: pytest.FixtureRequest) -> str:
    """Run the test once on each transport."""
    chosen: str = request.param
    return chosen


@pytest.fixture
def log() -> Iterator[Bugs]:
    """What telewire and asyncio log; whatever a test does not expect fails it."""
    handler = Bugs()
    watched = (logging.getLogger("telewire"), logging.getLogger("asyncio"))
    for logger in watched:
        logger.addHandler(handler)
    yield handler
    gc.collect()
    for logger in watched:
        logger.removeHandler(handler)
    unexpected = [
        record.getMessage() for record in handler.records if not handler.expected or record.name == "asyncio"
    ]
    assert not unexpected


@pytest.fixture
def bugs(log: Bugs) -> Bugs:
    """The same for a test that expects to find something in the log."""
    log.expected = True
    return log


@pytest.fixture
def connected(transport: str, log: Bugs) -> Connected:
    """A client of a service on this test's transport; enter what it returns."""

    # Any: services of every provider.
    def connect(
        service: Service[Any],
        *,
        limits: Limits | None = None,
        headers: Mapping[str, str] | None = None,
        settle: bool = True,
        client_service: Service[Any] | None = None,
        resume: bool = False,
    ) -> AbstractAsyncContextManager[World]:
        return lived(WORLDS[transport](service, limits, headers, client_service, resume), settle)

    return connect


@pytest.fixture
def remote_of(connected: Connected) -> RemoteOf:
    """The remote alone, where a test needs no more; enter what it returns."""

    @asynccontextmanager
    async def connect(service: Service[Any]) -> AsyncIterator[Remote]:
        async with connected(service) as world:
            yield world.remote

    return connect


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Guard every test that uses a connection: it must end in time and leave no task behind."""
    for item in items:
        if (
            isinstance(item, pytest.Function)
            and {"connected", "remote_of", "guarded"} & set(item.fixturenames)
            and inspect.iscoroutinefunction(item.obj)
        ):
            item.obj = guard(item.obj)


@pytest.fixture
def guarded(log: Bugs) -> None:
    """For a test that makes its own connections."""


def guard(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Run ``test`` under a watchdog that is no deadline, which would travel with every call."""

    @functools.wraps(test)
    async def guarded_test(*args: Any, **kwargs: Any) -> None:
        backend = current_backend()
        before = running_tasks()
        with anyio.CancelScope() as scope:
            timer = backend.call_at(backend.now() + WATCHDOG_SECONDS, scope.cancel)
            try:
                await test(*args, **kwargs)
            finally:
                timer.cancel()
        if scope.cancelled_caught:
            pytest.fail(f"no end after {WATCHDOG_SECONDS:g} seconds")
        gc.collect()
        await until(lambda: running_tasks() <= before, lambda: running_tasks() - before)

    return guarded_test


def running_tasks() -> set[object]:
    """The tasks of the loop that are ours: telewire's on trio, all of them on asyncio."""
    backend = current_backend()
    if backend.name == "asyncio":
        return {task for task in asyncio.all_tasks() if not task.done()}
    nursery = backend._nursery  # type: ignore[attr-defined]  # trio's has one, and no other way to see it
    if nursery is None:
        return set()
    return {task for task in nursery.child_tasks if not task.name.endswith("_run_timers")}
