"""Both ends of a channel between a client and a server, whichever of them made it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from telewire import Channel, Limits, Service, TelewireError
from tests.runtime.world import Connected, World

__all__ = ["Reasons", "both_ends", "ends_service", "open_ends"]

# Any: what the messages are, each test knows.
Ends = tuple[Channel[Any, Any], Channel[Any, Any]]


class Reasons:
    """What the ``on_close`` of both ends got, the client's first."""

    def __init__(self, mine: Channel[Any, Any], theirs: Channel[Any, Any]) -> None:
        self.mine: list[TelewireError | None] = []
        self.theirs: list[TelewireError | None] = []
        mine.on_close(self.mine.append)
        theirs.on_close(self.theirs.append)

    @property
    def both(self) -> list[TelewireError | None]:
        return self.mine + self.theirs

    @property
    def told(self) -> bool:
        return len(self.mine) == len(self.theirs) == 1


def ends_service() -> tuple[Service[Any], list[Channel[Any, Any]]]:
    """A service that hands out an end, takes one, and notes its own in the list."""
    service = Service()
    theirs: list[Channel[Any, Any]] = []

    @service.function
    async def hand_out() -> Channel[Any, Any]:
        channel = Channel[Any, Any]()
        theirs.append(channel)
        return channel.peer

    @service.function
    async def take(channel: Channel[Any, Any]) -> None:
        theirs.append(channel)

    return service, theirs


async def open_ends(world: World, theirs: list[Channel[Any, Any]], made_by: str) -> Ends:
    """The client's end and the server's."""
    if made_by == "server":
        mine = await world.remote.hand_out()
    else:
        mine = Channel[Any, Any]()
        await world.remote.take(mine.peer)
    return mine, theirs.pop()


@asynccontextmanager
async def both_ends(
    connected: Connected, made_by: str = "server", limits: Limits | None = None
) -> AsyncIterator[tuple[World, Channel[Any, Any], Channel[Any, Any]]]:
    """A world with one channel."""
    service, theirs = ends_service()
    async with connected(service, limits=limits) as world:
        mine, other = await open_ends(world, theirs, made_by)
        yield world, mine, other
        # What a test leaves open ends with its references.
        del mine, other
