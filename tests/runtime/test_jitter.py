"""What is spread by chance, so that clients that were lost or came together do not act together."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from telewire import Client, ServerLimits, Service
from telewire.runtime.admission import Admission
from telewire.runtime.backend import current_backend
from telewire.runtime.server import Server
from telewire.runtime.transport import AcceptTransport, Transport
from telewire_transports import MemoryLink
from tests.runtime.world import Connected, until

TRIES = 40
CLIENTS = 20
AGE = 100_000.0
JITTER = 0.1


async def test_between_tries_to_come_back_pauses_double_up_to_five_seconds(
    connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    enough = anyio.Event()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == TRIES:
            world.shut_off = False
            enough.set()
        await anyio.lowlevel.checkpoint()

    async with connected(Service(), resume=True) as world:
        world.shut()
        with monkeypatch.context() as patched:
            patched.setattr(anyio, "sleep", sleep)
            world.cut()
            await enough.wait()
            await until(lambda: world.client.state == "connected")
    pauses = [min(0.1 * 2**number, 5.0) for number in range(TRIES)]
    shares = [wait / pause for wait, pause in zip(waits, pauses, strict=True)]
    # From half of it to all of it, and chance takes some of either half.
    assert 0.5 <= min(shares) < 0.75
    assert 0.75 < max(shares) <= 1.0


class Noting:
    """A loop that notes in how many seconds it was to call somebody."""

    def __init__(self) -> None:
        self.backend = current_backend()
        self.delays: list[float] = []

    # Any: whatever it has.
    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def call_at(self, when: float, callback: Callable[[], object]) -> object:
        self.delays.append(when - self.backend.now())
        return self.backend.call_at(when, callback)


async def test_sessions_that_came_together_grow_old_one_by_one(guarded: None) -> None:
    noting = Noting()
    limits = ServerLimits(age_seconds=AGE, age_jitter=JITTER)
    loop: Any = noting
    server = Server(loop, Service(), None, Admission(limits))

    async def open_transport(accept: AcceptTransport) -> Transport:
        link = MemoryLink(current_backend())
        link.server.accept(server.accept)
        link.client.accept(accept)
        return link.client

    async with AsyncExitStack() as stack:
        for _ in range(CLIENTS):
            await stack.enter_async_context(Client(open_transport))
        await until(lambda: sum(delay > AGE / 2 for delay in noting.delays) == CLIENTS)
    ages = [delay for delay in noting.delays if delay > AGE / 2]
    # A second for what has passed since the time was taken.
    assert min(ages) >= AGE * (1 - JITTER) - 1
    assert max(ages) <= AGE * (1 + JITTER)
    assert max(ages) - min(ages) > AGE * JITTER / 5
    await server.aclose()
