"""Workloads: what every peer is asked to do, timed by the client and checked as it arrives.

A workload sees a peer only as a :class:`Session`, so that all peers do the same work: the loops and
the checks below are the same code for each of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

__all__ = [
    "BLOCK",
    "TEXT",
    "WORKLOADS",
    "Callback",
    "Pipe",
    "Session",
    "Workload",
    "WrongValue",
    "blocks",
    "follow",
    "row",
]

TEXT: Final = "hello"
IN_FLIGHT: Final = 64
BLOCK: Final = bytes(range(256)) * 256
"""What byte streams are made of: 64 KiB, in which each byte says where it stands."""


class WrongValue(Exception):
    """A peer delivered something else than it was asked for: its figures mean nothing."""


class Pipe(Protocol):
    """Messages both ways between a client and a server that sends each one back."""

    async def send(self, message: object, /) -> None:
        """Send one message; waits where the other side is behind."""

    async def receive(self) -> object:
        """The next message that has come back."""

    async def aclose(self) -> None:
        """Close it."""


Callback: TypeAlias = Callable[[int, str], Awaitable[object]]
"""What the server calls: with its number and ``TEXT``; it answers as ``echo`` does."""


class Session(Protocol):
    """One connection of a peer, as its client sees it."""

    @property
    def echo(self) -> Callable[[int, str], Awaitable[object]]:
        """Call a function of the server that returns ``{"a": number, "b": text}``."""

    @property
    def rows(self) -> Callable[[int], AsyncIterable[object]]:
        """Call a generator of the server that yields ``row(0)`` to ``row(count - 1)``."""

    @property
    def pipe(self) -> Callable[[], Awaitable[Pipe]]:
        """Open a pipe to the server."""

    @property
    def download(self) -> Callable[[int], AsyncIterable[bytes | memoryview]]:
        """Have the server send ``blocks(count)``; in which pieces they arrive is the peer's choice."""

    @property
    def upload(self) -> Callable[[AsyncIterator[bytes]], Awaitable[object]]:
        """Send bytes to the server, which follows them; returns how many it has got."""

    @property
    def hold(self) -> Callable[[], AsyncIterable[object]]:
        """Call a generator of the server that yields ``row(0)`` and then waits for ever."""

    @property
    def call_back(self) -> Callable[[Callback, int], Awaitable[object]]:
        """Let the server call back, one call after the other; returns how often the answer was right."""


def row(number: int) -> dict[str, object]:
    """One small dict of a generator."""
    return {"id": number, "name": "abc", "ok": True}


async def blocks(count: int) -> AsyncIterator[bytes]:
    """The bytes of a stream, by the block."""
    for _ in range(count):
        yield BLOCK


def follow(taken: int, chunk: bytes | memoryview) -> int:
    """The number of bytes with this chunk, whose ends are compared.

    Raises:
        WrongValue: it does not follow on the bytes before it.
    """
    end = taken + len(chunk)
    if chunk[0] != taken & 255 or chunk[-1] != end - 1 & 255:
        raise WrongValue(f"The {len(chunk)} bytes after {taken} are not those that were sent.")
    return end


@dataclass(frozen=True)
class Workload:
    """One question. ``run`` does ``count`` units of work and returns how many seconds they took.

    ``pinned`` asks for both processes on one CPU. ``goals`` say how many times as fast as a peer
    telewire means to be.
    """

    name: str
    title: str
    unit: str
    count: int
    full_count: int
    run: Callable[[Session, int], Awaitable[float]]
    pinned: bool = False
    goals: Mapping[str, float] = field(default_factory=dict)


async def _echo_in_turn(session: Session, first: int, count: int) -> None:
    for number in range(first, first + count):
        answer = await session.echo(number, TEXT)
        if answer != {"a": number, "b": TEXT}:
            raise WrongValue(f"echo({number}, {TEXT!r}) returned {answer!r}.")


async def one_in_flight(session: Session, count: int) -> float:
    """Calls one after the other."""
    began = time.perf_counter()
    await _echo_in_turn(session, 0, count)
    return time.perf_counter() - began


async def many_in_flight(session: Session, count: int) -> float:
    """As many callers as shall be in flight, each calling one after the other."""
    share, rest = divmod(count, IN_FLIGHT)
    shares = [share + (caller < rest) for caller in range(IN_FLIGHT)]
    began = time.perf_counter()
    await asyncio.gather(*(_echo_in_turn(session, 1000 * i, share) for i, share in enumerate(shares)))
    return time.perf_counter() - began


async def small_items(session: Session, count: int) -> float:
    """One generator to its end; each item's number is compared, and the last item as a whole."""
    seen = 0
    item: object = None
    began = time.perf_counter()
    async for item in session.rows(count):
        # Not the whole item: building its like would cost more than some peers take to deliver it.
        if item["id"] != seen:  # type: ignore[index]  # what is no dict is no row, and raises
            raise WrongValue(f"Item {seen} of {count} arrived as {item!r}.")
        seen += 1
    seconds = time.perf_counter() - began
    if seen != count or item != row(count - 1):
        raise WrongValue(f"{seen} of {count} items arrived, the last as {item!r}.")
    return seconds


async def messages_sent_back(session: Session, count: int) -> float:
    """One pipe, written and read at the same time; messages are compared as items are."""
    pipe = await session.pipe()

    async def send_all() -> None:
        for number in range(count):
            await pipe.send(row(number))

    message: object = None
    began = time.perf_counter()
    sending = asyncio.create_task(send_all())
    try:
        for number in range(count):
            message = await pipe.receive()
            if message["id"] != number:  # type: ignore[index]  # what is no dict is no row, and raises
                raise WrongValue(f"Message {number} of {count} came back as {message!r}.")
        seconds = time.perf_counter() - began
        await sending
    finally:
        sending.cancel()
    if message != row(count - 1):
        raise WrongValue(f"The last of {count} messages came back as {message!r}.")
    await pipe.aclose()
    return seconds


async def bytes_down(session: Session, count: int) -> float:
    """One byte stream from the server."""
    taken = 0
    began = time.perf_counter()
    async for chunk in session.download(count):
        taken = follow(taken, chunk)
    seconds = time.perf_counter() - began
    if taken != count * len(BLOCK):
        raise WrongValue(f"{taken} of {count * len(BLOCK)} bytes arrived.")
    return seconds


async def bytes_up(session: Session, count: int) -> float:
    """One byte stream to the server."""
    began = time.perf_counter()
    taken = await session.upload(blocks(count))
    seconds = time.perf_counter() - began
    if taken != count * len(BLOCK):
        raise WrongValue(f"{taken} of {count * len(BLOCK)} bytes arrived at the server.")
    return seconds


async def called_back(session: Session, count: int) -> float:
    """The server calls a function of the client's, one call after the other; both sides compare."""
    expected = 0
    wrong: list[tuple[int, str]] = []

    async def callback(number: int, text: str) -> object:
        nonlocal expected
        if number != expected or text != TEXT:
            wrong.append((number, text))
        expected += 1
        return {"a": number, "b": text}

    began = time.perf_counter()
    right = await session.call_back(callback, count)
    seconds = time.perf_counter() - began
    if wrong or expected != count or right != count:
        raise WrongValue(
            f"{expected} of {count} calls came, {right!r} answers were right; wrong: {wrong[:1]}."
        )
    return seconds


WORKLOADS: Final[dict[str, Workload]] = {
    workload.name: workload
    for workload in (
        Workload(
            "W1",
            "unary echo, one in flight, both processes on one CPU",
            "calls/s",
            2_500,
            20_000,
            one_in_flight,
            pinned=True,
            goals={"websockets": 0.9},
        ),
        Workload(
            "W1c",
            f"unary echo, {IN_FLIGHT} in flight",
            "calls/s",
            12_800,
            64_000,
            many_in_flight,
            goals={"websockets": 1.05},
        ),
        Workload(
            "W2",
            "a generator of small dicts",
            "items/s",
            100_000,
            100_000,
            small_items,
            goals={"websockets": 3.5},
        ),
        Workload(
            "W2x",
            "the same generator, in the response of a request over HTTP",
            "items/s",
            100_000,
            100_000,
            small_items,
        ),
        Workload(
            "W2s",
            "the same generator, as server-sent events",
            "items/s",
            100_000,
            100_000,
            small_items,
        ),
        Workload(
            "W3d",
            "a byte stream from the server, in blocks of 64 KiB",
            "blocks/s",
            1_024,
            4_096,
            bytes_down,
            goals={"websockets": 0.5},
        ),
        Workload(
            "W3u",
            "a byte stream to the server, in blocks of 64 KiB",
            "blocks/s",
            1_024,
            4_096,
            bytes_up,
            goals={"websockets": 0.5},
        ),
        Workload(
            "W4",
            "a channel whose messages come back, pipelined",
            "messages/s",
            20_000,
            100_000,
            messages_sent_back,
            goals={"websockets": 1.0},
        ),
        Workload(
            "W5",
            "the server calls a callback, one in flight, one CPU",
            "calls/s",
            2_500,
            20_000,
            called_back,
            pinned=True,
            goals={"websockets": 0.7},
        ),
    )
}
