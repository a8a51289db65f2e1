"""One side of one peer as a process: ``python -m benchmarks.side server|client PEER WAY [PORT]``.

A server prints its port and serves until its standard input ends. A client reads one order a line,
``{"workload": NAME, "count": N, …}``, and answers each with one line of figures; it makes a new
connection for each and warms it up first. Both end when whoever started them has gone.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Coroutine, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec

# Any: the future of a coroutine says so.
from typing import Any, Final, TypeVar

from benchmarks.curves import CURVES
from benchmarks.entrants import Peer, load_peer
from benchmarks.latencies import LATENCIES
from benchmarks.readings import allow_many_files
from benchmarks.workloads import WORKLOADS

__all__ = ["Peer", "load_peer", "measure"]

LONGEST_SECONDS: Final = 180.0
"""A measurement that takes longer than this hangs."""
LONGEST_CURVE_SECONDS: Final = 600.0
"""The same for all sizes of a curve together."""
WARM_UP: Final = 10
"""One part in this many is done before the clock starts."""
ACCELERATORS: Final = os.environ.get("TELEWIRE_BENCHMARK_WITH", "mask")
"""What telewire may use, of ``uvloop``, ``mask`` and ``compiled``; a comparison has what packages bring."""
T = TypeVar("T")
GLIMPSE: Final = 50
"""One part in this many shows how slow a peer is, where the time is limited."""


async def measure(
    peer: Peer, port: int, way: str, workload_name: str, count: int, budget: float | None = None
) -> dict[str, float]:
    """Do one measurement on a connection of its own; seconds of the clock, and of this process's CPU."""
    workload = WORKLOADS[workload_name]
    async with asyncio.timeout(LONGEST_SECONDS), peer.connect(port, way) as session:
        few = -(-count // (WARM_UP if budget is None else GLIMPSE))
        seconds = await workload.run(session, few)
        if budget is not None:
            count = max(few, min(count, round(few / seconds * budget)))
            await workload.run(session, max(1, min(count // WARM_UP, count - few)))
        cpu = time.process_time()
        seconds = await workload.run(session, count)
        return {"seconds": seconds, "count": count, "client_cpu_seconds": time.process_time() - cpu}


# object: what JSON brings, looked at below.
async def _obey(peer: Peer, port: int, way: str, order: Mapping[str, object]) -> Mapping[str, object]:
    name, count, points = order["workload"], order["count"], order.get("points", [])
    server, budget = order.get("server"), order.get("seconds")
    assert isinstance(name, str)
    assert isinstance(count, int)
    assert isinstance(points, list)
    assert isinstance(server, int | None)
    assert isinstance(budget, float | int | None)
    if name in LATENCIES:
        async with asyncio.timeout(LONGEST_SECONDS), peer.connect(port, way) as session:
            return await LATENCIES[name].run(session, count)
    if name in CURVES:
        async with asyncio.timeout(LONGEST_CURVE_SECONDS):
            return {"points": await CURVES[name].run(lambda: peer.connect(port, way), points, count, server)}
    return await measure(peer, port, way, name, count, budget)


async def _serve(peer: Peer, way: str) -> None:
    serving = asyncio.create_task(peer.serve(way, lambda port: print(port, flush=True)))
    told_to_end = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    done, _ = await asyncio.wait((serving, told_to_end), return_when=asyncio.FIRST_COMPLETED)
    if serving in done:
        serving.result()
        raise RuntimeError(f"The server of {peer.NAME} ended by itself.")
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


def _run(work: Coroutine[Any, Any, T]) -> T:
    """As :func:`asyncio.run`, on the loop that the environment names."""
    factory = None
    if "uvloop" in ACCELERATORS.split():
        factory = import_module("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


def main(arguments: Sequence[str]) -> None:
    """Be one side."""
    role, name, way, *rest = arguments
    if "mask" not in ACCELERATORS.split():
        # What is None here cannot be imported, as if it were not installed.
        sys.modules["websockets.speedups"] = None  # type: ignore[assignment]  # so it is documented
    if name == "telewire":
        core = find_spec("telewire.core.connection")
        assert core is not None
        assert core.origin is not None
        compiled = not core.origin.endswith(".py")
        assert compiled == ("compiled" in ACCELERATORS.split()), f"{core.origin} was not asked for"
    peer = load_peer(name)
    allow_many_files()
    if role == "server":
        _run(_serve(peer, way))
        return
    for line in sys.stdin:
        print(json.dumps(_run(_obey(peer, int(rest[0]), way, json.loads(line)))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
