"""Curves: what a unit of work costs as there are more streams, connections or bytes in a message.

And what an open stream and an open connection hold in memory while nothing happens on them.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Final, TypeAlias

from benchmarks.readings import READABLE, cpu_seconds, resident_bytes
from benchmarks.workloads import Session, WrongValue, row

__all__ = ["CURVES", "Curve", "Point"]

Connect: TypeAlias = Callable[[], AbstractAsyncContextManager[Session]]
Point: TypeAlias = dict[str, float]
"""``at``: how many streams, connections or bytes. ``rate``: units a second, or of ``memory`` nothing."""

STREAM_ITEMS: Final = 20
"""Items of each generator, where many run."""
SETTLED: Final = 0.2
"""Seconds after which a process that was given nothing to do has done it."""


@dataclass(frozen=True)
class Curve:
    """One question, asked at several sizes. ``count`` is the work at each, in units.

    ``fresh`` asks for processes that have done nothing before.
    """

    name: str
    title: str
    unit: str
    of: str
    points: tuple[int, ...]
    full_points: tuple[int, ...]
    count: int
    full_count: int
    run: Callable[[Connect, Sequence[int], int, int | None], Awaitable[list[Point]]]
    fresh: bool = False


async def _timed(at: int, units: int, server: int | None, work: Callable[[], Awaitable[object]]) -> Point:
    """Do the work once; its rate, and the CPU of both sides for a unit, in microseconds."""
    watched = server if READABLE else None
    before = cpu_seconds(watched) if watched is not None else 0.0
    cpu, began = time.process_time(), time.perf_counter()
    await work()
    seconds, client = time.perf_counter() - began, time.process_time() - cpu
    point = {"at": at, "rate": units / seconds, "client_us": client / units * 1e6}
    if watched is not None:
        point["server_us"] = (cpu_seconds(watched) - before) / units * 1e6
    return point


async def _whole_stream(session: Session, count: int) -> None:
    seen = 0
    item: object = None
    async for item in session.rows(count):  # noqa: B007  # the last one is compared below
        seen += 1
    if seen != count or item != row(count - 1):
        raise WrongValue(f"{seen} of {count} items arrived, the last as {item!r}.")


async def many_streams(
    connect: Connect, points: Sequence[int], count: int, server: int | None
) -> list[Point]:
    """The same generators on one connection, ever more of them at once; each gives a few items."""
    found = []
    for at_once in points:
        # Each caller has several, one after the other, so that a call has the same share in each point.
        share = max(1, count // STREAM_ITEMS // at_once)
        async with connect() as session:

            async def in_turn(session: Session = session, share: int = share) -> None:
                for _ in range(share):
                    await _whole_stream(session, STREAM_ITEMS)

            async def all_streams(at_once: int = at_once) -> None:
                await asyncio.gather(*(in_turn() for _ in range(at_once)))

            await asyncio.gather(*(_whole_stream(session, STREAM_ITEMS) for _ in range(at_once)))
            found.append(await _timed(at_once, at_once * share * STREAM_ITEMS, server, all_streams))
    return found


async def _echoes(session: Session, text: str, calls: int) -> None:
    for number in range(calls):
        if await session.echo(number, text) != {"a": number, "b": text}:
            raise WrongValue(f"echo({number}) of a text of {len(text)} characters returned something else.")


async def message_sizes(
    connect: Connect, points: Sequence[int], count: int, server: int | None
) -> list[Point]:
    """The same number of bytes there and back, in ever larger texts, one call after the other."""
    found = []
    async with connect() as session:
        for size in points:
            # The largest message that is allowed is 16 MiB with what it is wrapped in.
            text = "x" * (size - 1024)
            calls = max(2, count // size)

            echoes = functools.partial(_echoes, session, text, calls)
            await session.echo(0, text)
            found.append(await _timed(size, calls * size, server, echoes))
    return found


async def many_connections(
    connect: Connect, points: Sequence[int], count: int, server: int | None
) -> list[Point]:
    """The same number of small calls over ever more connections, one call at a time on each."""
    found = []
    async with AsyncExitStack() as stack:
        sessions: list[Session] = []
        for connections in points:
            while len(sessions) < connections:
                sessions.append(await stack.enter_async_context(connect()))
            calls = max(2, count // connections)

            async def all_connections(calls: int = calls) -> None:
                await asyncio.gather(*(_echoes(session, "hello", calls) for session in sessions))

            await asyncio.gather(*(session.echo(0, "hello") for session in sessions))
            found.append(await _timed(connections, connections * calls, server, all_connections))
    return found


async def _memory(server: int) -> tuple[int, int]:
    await asyncio.sleep(SETTLED)
    gc.collect()
    return resident_bytes(os.getpid()), resident_bytes(server)


async def idle_streams(
    connect: Connect, points: Sequence[int], count: int, server: int | None
) -> list[Point]:
    """Streams on one connection that have given an item each and now give none."""
    if server is None or not READABLE:
        return []
    found = []
    async with connect() as session:
        held: list[object] = []
        await _held(session)
        before = await _memory(server)
        for streams in points:
            while len(held) < streams:
                held.append(await _held(session))
            after = await _memory(server)
            found.append(_grown(streams, before, after))
    return found


async def _held(session: Session) -> object:
    stream = aiter(session.hold())
    if await anext(stream) != row(0):
        raise WrongValue("The item of a stream that is held was another one.")
    return stream


async def idle_connections(
    connect: Connect, points: Sequence[int], count: int, server: int | None
) -> list[Point]:
    """Connections on which one call was made and nothing happens now."""
    if server is None or not READABLE:
        return []
    found = []
    async with AsyncExitStack() as stack:
        for _ in range(20):
            session = await stack.enter_async_context(connect())
            await session.echo(0, "hello")
        before = await _memory(server)
        opened = 0
        for connections in points:
            while opened < connections:
                session = await stack.enter_async_context(connect())
                await session.echo(0, "hello")
                opened += 1
            found.append(_grown(connections, before, await _memory(server)))
    return found


def _grown(at: int, before: tuple[int, int], after: tuple[int, int]) -> Point:
    client, server = (now - then for now, then in zip(after, before, strict=True))
    return {"at": at, "client_bytes": client / at, "server_bytes": server / at}


KIB: Final = 1024
MIB: Final = 1024 * KIB

CURVES: Final[dict[str, Curve]] = {
    curve.name: curve
    for curve in (
        Curve(
            "streams",
            f"generators of {STREAM_ITEMS} items, so many at once on one connection",
            "items/s",
            "streams",
            (1, 10, 100, 1_000),
            (1, 3, 10, 30, 100, 300, 1_000),
            20_000,
            60_000,
            many_streams,
        ),
        Curve(
            "sizes",
            "a text there and back",
            "bytes/s",
            "bytes",
            (KIB, 16 * KIB, 256 * KIB, MIB, 16 * MIB),
            (KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB, 16 * MIB),
            4 * MIB,
            64 * MIB,
            message_sizes,
        ),
        Curve(
            "connections",
            "small calls, one at a time on each connection",
            "calls/s",
            "connections",
            (1, 10, 100, 1_000),
            (1, 3, 10, 30, 100, 300, 1_000),
            4_000,
            16_000,
            many_connections,
        ),
        Curve(
            "idle streams",
            "memory of streams on which nothing happens",
            "bytes",
            "streams",
            (250, 900),
            (100, 300, 900),
            0,
            0,
            idle_streams,
            fresh=True,
        ),
        Curve(
            "idle connections",
            "memory of connections on which nothing happens",
            "bytes",
            "connections",
            (250, 900),
            (100, 300, 900),
            0,
            0,
            idle_connections,
            fresh=True,
        ),
    )
}
