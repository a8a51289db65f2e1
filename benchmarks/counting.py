"""Counts that hold on any machine: writes, suspensions, Python calls and memory for an item or a call.

A client and a service in one process, over a transport in memory that counts; or two connections without
a loop. What is counted is the same in every run of one version of Python, so CI can hold it exactly.
"""

from __future__ import annotations

import gc
import sys
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass

# Any: what a coroutine yields to its loop is the loop's own.
from typing import Any, Final, final

from benchmarks import in_process
from benchmarks.workloads import WrongValue, row
from telewire import Service
from telewire.runtime.backend import Backend, current_backend
from telewire.runtime.client import Client
from telewire.runtime.server import Server
from telewire.runtime.transport import AcceptTransport, Request, Transport, TransportHandler
from telewire_transports.memory import memory_transports

__all__ = ["Counts", "blocks_left", "count_calls", "count_generator", "python_calls"]

service: Final[Service[None]] = Service()


@dataclass
class Counts:
    """What one measurement has seen.

    ``server_writes``, ``client_writes``: sends to the transport. ``crowded``: of these, second ones in
    the same pass of the loop. ``suspensions``: how often who consumes gave the loop up. ``passes``:
    passes of the loop in which the generator was asked for items.
    """

    server_writes: int = 0
    client_writes: int = 0
    crowded: int = 0
    suspensions: int = 0
    passes: int = 0


@final
class _Counting:
    """A transport that counts what is sent on it."""

    def __init__(self, transport: Transport, backend: Backend, sent: Callable[[bool], object]) -> None:
        self._transport = transport
        self._backend = backend
        self._sent = sent
        self._in_this_pass = False
        self.abort = transport.abort
        self.close = transport.close

    @property
    def request(self) -> Request:
        return self._transport.request

    @property
    def writable(self) -> bool:
        return self._transport.writable

    def send(self, batches: Sequence[bytes]) -> None:
        self._sent(self._in_this_pass)
        if not self._in_this_pass:
            self._in_this_pass = True
            self._backend.call_soon(self._passed)
        self._transport.send(batches)

    def _passed(self) -> None:
        self._in_this_pass = False


def _client(counts: Counts) -> Client:
    """A client of :data:`service`, with both of its transports counted."""
    backend = current_backend()

    def client_sent(again: bool) -> None:
        counts.client_writes += 1
        counts.crowded += again

    def server_sent(again: bool) -> None:
        counts.server_writes += 1
        counts.crowded += again

    async def open_transport(accept: AcceptTransport) -> Transport:
        ours, theirs = memory_transports(Request(transport="memory"))
        server = Server(backend, service)
        client.serve_by(server)

        def server_side(transport: Transport) -> TransportHandler:
            return server.accept(_Counting(transport, backend, server_sent))

        counting = _Counting(ours, backend, client_sent)

        def client_side(transport: Transport) -> TransportHandler:
            return accept(counting)

        theirs.accept(server_side)
        ours.accept(client_side)
        return counting

    client = Client(open_transport)
    return client


@types.coroutine
def _stepped(work: Coroutine[Any, Any, None], counts: Counts) -> Generator[Any, Any, None]:
    """Run a coroutine as its task would, and count how often it gives the loop up."""
    step: Callable[[Any], Any] = work.send
    value: Any = None
    while True:
        try:
            waited = step(value)
        except StopIteration:
            return
        counts.suspensions += 1
        try:
            value = yield waited
        except BaseException as error:
            step, value = work.throw, error
        else:
            step = work.send


_counted: Counts | None = None


@service.function
async def rows(count: int) -> AsyncIterator[dict[str, object]]:
    """A fast generator; counts the passes of the loop in which it runs."""
    backend = current_backend()
    counts = _counted
    assert counts is not None
    fresh = True

    def passed() -> None:
        nonlocal fresh
        fresh = True

    for number in range(count):
        if fresh:
            fresh = False
            counts.passes += 1
            backend.call_soon(passed)
        yield row(number)


@service.function
async def echo(number: int) -> int:
    """What was given."""
    return number


async def count_generator(count: int) -> Counts:
    """Consume a generator of ``count`` small dicts, one that is never slow, and count."""
    global _counted
    counts = _counted = Counts()
    async with _client(counts) as remote:

        async def consume() -> None:
            seen = 0
            async for item in remote.rows(count):
                if item != row(seen):
                    raise WrongValue(f"Item {seen} of {count} arrived as {item!r}.")
                seen += 1
            if seen != count:
                raise WrongValue(f"{seen} of {count} items arrived.")

        # The hellos have been written.
        counts.client_writes = counts.server_writes = 0
        await _stepped(consume(), counts)
    return counts


async def count_calls(count: int, gather: Callable[[list[Awaitable[int]]], Awaitable[object]]) -> Counts:
    """Start ``count`` calls at once, let ``gather`` await all of them, and count."""
    counts = Counts()
    async with _client(counts) as remote:
        await remote.echo(0)
        counts.client_writes = counts.server_writes = 0
        await gather([remote.echo(number) for number in range(count)])
    return counts


# --- without a loop ------------------------------------------------------------------------------

UNITS: Final[dict[str, Callable[[int], float]]] = {
    "unary call": lambda count: in_process.connections_unary(count, values=True),
    "coalesced item": lambda count: in_process.connections_items(count, values=True),
    "item in its own frame": lambda count: in_process.connections_own_items(count, values=True),
}
FEW: Final = 2_560
"""Units that are counted: whole batches of every kind."""


def python_calls(unit: str) -> float:
    """Calls of Python functions that one more unit takes, on both sides together."""
    few, many = (_calls_of(UNITS[unit], count) for count in (FEW, 2 * FEW))
    return (many - few) / FEW


def _calls_of(run: Callable[[int], float], count: int) -> int:
    calls = 0

    def note(frame: types.FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    run(count)
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        run(count)
    finally:
        sys.setprofile(before)
    return calls


def blocks_left(unit: str) -> float:
    """Blocks of memory that a unit leaves behind while its connections stand, on both sides together.

    Peaks within a unit do not show; what a unit would leave for good does.
    """
    return _blocks_left_by(UNITS[unit])


def _blocks_left_by(run: Callable[[int], float]) -> float:
    run(FEW)
    gc.collect()
    before = sys.getallocatedblocks()
    run(FEW)
    gc.collect()
    return (sys.getallocatedblocks() - before) / FEW
