"""Channels as they are written: each end typed by what it receives and what it sends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, assert_type

from telewire import Abort, Call, Channel, Remote, Service, TelewireError

service = Service()


@dataclass
class Move:
    x: int
    y: int


@service.function
async def play() -> Channel[str, Move]:
    channel = Channel[Move, str]()
    assert_type(channel.peer, Channel[str, Move])

    async def moved(move: Move) -> int:
        if move.x < 0:
            raise Abort({"outside": move.x})
        await channel.send("moved")
        return move.y

    assert_type(channel.listen(moved), Callable[[], None])
    channel.listen(lambda move: print(move.x))
    return channel.peer


@service.function
async def watch(channel: Channel[Move, str]) -> int:
    seen = 0
    async for move in channel:
        assert_type(move, Move)
        channel.send_nowait(f"{move.x}")
        seen += 1
    assert_type(await channel.receive(), Move)
    return seen


def ended(reason: TelewireError | None) -> None:
    print(reason)


async def use(remote: Remote) -> None:
    call = remote[play]()
    assert_type(call, Call[Channel[str, Move]])
    async for text in call:
        assert_type(text, str)
    channel = await call
    await channel.send(Move(1, 2))
    await channel.send("up")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    reply = await channel.request(Move(1, 2))
    assert_type(reply, Any)
    assert_type(await channel.request(Move(1, 2), int), int)
    channel.on_close(ended)
    channel.on_close(lambda: print("over"))
    assert_type(channel.closed, bool)
    assert_type(aiter(channel), AsyncIterator[str])
    async with channel as entered:
        assert_type(entered, Channel[str, Move])
    channel.abort({"because": "it rains"})
    await channel.aclose()

    mine = Channel[Move, str]()
    remote[watch](mine.peer)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    right = Channel[str, Move]()
    assert_type(await remote[watch](right.peer), int)
