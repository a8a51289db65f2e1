"""One side of one peer as a process: ``python -m benchmarks.side server|client PEER WAY [PORT]``.

A server prints its port and serves until its standard input ends. A client reads one order a line,
``{"workload": NAME, "count": N}``, and answers each with one line of figures; it makes a new
connection for each and warms it up first. Both end when whoever started them has gone.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from importlib import import_module

# Any: the future of a coroutine says so.
from typing import Any, Final, Protocol, cast

from benchmarks.workloads import WORKLOADS, Session

__all__ = ["Peer", "load_peer", "measure"]

LONGEST_SECONDS: Final = 180.0
"""A measurement that takes longer than this hangs."""
WARM_UP: Final = 10
"""One part in this many is done before the clock starts."""


class Peer(Protocol):
    """What a module in ``benchmarks/peers`` offers. ``WAYS``: workload → configurations to compare."""

    @property
    def NAME(self) -> str: ...
    @property
    def WAYS(self) -> Mapping[str, tuple[str, ...]]: ...
    @property
    def serve(self) -> Callable[[str, Callable[[int], object]], Coroutine[Any, Any, None]]: ...
    @property
    def connect(self) -> Callable[[int, str], AbstractAsyncContextManager[Session]]: ...


def load_peer(name: str) -> Peer:
    """Import one peer, so that no process holds the libraries of another."""
    return cast("Peer", import_module(f"benchmarks.peers.{name}_peer"))


async def measure(peer: Peer, port: int, way: str, workload_name: str, count: int) -> dict[str, float]:
    """Do one measurement on a connection of its own; seconds of the clock, and of this process's CPU."""
    workload = WORKLOADS[workload_name]
    async with asyncio.timeout(LONGEST_SECONDS), peer.connect(port, way) as session:
        await workload.run(session, -(-count // WARM_UP))
        cpu = time.process_time()
        seconds = await workload.run(session, count)
        return {"seconds": seconds, "client_cpu_seconds": time.process_time() - cpu}


async def _serve(peer: Peer, way: str) -> None:
    serving = asyncio.create_task(peer.serve(way, lambda port: print(port, flush=True)))
    told_to_end = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    done, _ = await asyncio.wait((serving, told_to_end), return_when=asyncio.FIRST_COMPLETED)
    if serving in done:
        serving.result()
        raise RuntimeError(f"The server of {peer.NAME} ended by itself.")
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


def main(arguments: Sequence[str]) -> None:
    """Be one side."""
    role, name, way, *rest = arguments
    peer = load_peer(name)
    if role == "server":
        asyncio.run(_serve(peer, way))
        return
    for line in sys.stdin:
        order = json.loads(line)
        figures = asyncio.run(measure(peer, int(rest[0]), way, order["workload"], order["count"]))
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
