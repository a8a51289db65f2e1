"""Latencies: how long a single call takes, sample by sample, alone and beside a large download."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from benchmarks.workloads import BLOCK, TEXT, Session, WrongValue, follow, row

__all__ = ["LATENCIES", "Latency"]

WARM_UP: Final = 20


@dataclass(frozen=True)
class Latency:
    """One question. ``run`` answers with ``samples``, in seconds, and what else explains them."""

    name: str
    title: str
    count: int
    full_count: int
    run: Callable[[Session, int], Awaitable[dict[str, object]]]


async def _first_item(session: Session) -> float:
    began = time.perf_counter()
    seconds = None
    async for item in session.rows(1):
        if seconds is not None or item != row(0):
            raise WrongValue(f"The only item arrived as {item!r}, or twice.")
        seconds = time.perf_counter() - began
    if seconds is None:
        raise WrongValue("The only item did not arrive.")
    return seconds


async def first_items(session: Session, count: int) -> dict[str, object]:
    """From the call of a generator to its first item, one generator after the other."""
    for _ in range(WARM_UP):
        await _first_item(session)
    return {"samples": [await _first_item(session) for _ in range(count)]}


async def beside_a_download(session: Session, count: int) -> dict[str, object]:
    """Small calls, one after the other, for as long as ``count`` blocks come down beside them."""
    for number in range(WARM_UP):
        await session.echo(number, TEXT)
    over = asyncio.Event()

    async def download() -> float:
        taken = 0
        began = time.perf_counter()
        async for chunk in session.download(count):
            taken = follow(taken, chunk)
        over.set()
        if taken != count * len(BLOCK):
            raise WrongValue(f"{taken} of {count * len(BLOCK)} bytes arrived.")
        return taken / (time.perf_counter() - began)

    samples: list[float] = []
    downloading = asyncio.create_task(download())
    try:
        while not over.is_set() and not downloading.done():
            number = len(samples)
            began = time.perf_counter()
            answer = await session.echo(number, TEXT)
            samples.append(time.perf_counter() - began)
            if answer != {"a": number, "b": TEXT}:
                raise WrongValue(f"echo({number}, {TEXT!r}) returned {answer!r}.")
        return {"samples": samples, "bytes_a_second": await downloading}
    finally:
        downloading.cancel()


LATENCIES: Final[dict[str, Latency]] = {
    latency.name: latency
    for latency in (
        Latency("first", "the first item after the call of a generator", 200, 2_000, first_items),
        Latency(
            "beside",
            "a small call beside a download on the same connection",
            1_600,  # 105 MB
            16_000,  # 1 GB
            beside_a_download,
        ),
    )
}
