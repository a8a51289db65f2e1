"""team_feed: who may read is decided when the call opens, and again in the callback that shows more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypedDict

import anyio

from telewire import Abort, Remote, Request, Service
from telewire_transports import connect, serve

MEMBERS = {"red": {"ann", "bob"}, "blue": {"eve"}}
headers = {"authorization": "ann"}  # what the client sends with every request
sent: list[str] = []  # what the server recorded, to be compared with what arrived
ended: list[str] = []  # which clean-ups have run on the server


@dataclass
class State:
    """Who calls."""

    user: str


def provide(request: Request) -> State:
    """Find out who calls, for each call; a real one would check a token."""
    user = request.headers.get("authorization")
    if user is None:
        raise Abort("log in first")
    return State(user)


service = Service(context=provide)


class Feed(TypedDict):
    """Headlines for every member; ``details`` asks for more, and is refused to who has left."""

    headlines: AsyncIterator[str]
    details: Callable[[str], Awaitable[str]]


def record(text: str) -> str:
    """Note what is sent."""
    sent.append(text)
    return text


def check(team: str, user: str) -> None:
    """Refuse who is no member."""
    if user not in MEMBERS[team]:
        raise Abort(record(f"{user} is not in team {team}"))


@service.function
async def on_feed(team: str) -> Feed:
    """The feed of ``team``, for its members."""
    user = service.get_context().state.user
    check(team, user)

    async def headlines() -> AsyncIterator[str]:
        for headline in ("Budget approved", "Offsite in May"):
            yield record(headline)

    async def details(headline: str) -> str:
        check(team, user)  # membership may have changed since the call was opened
        return record(f"{headline}: the confidential part")

    return {"headlines": headlines(), "details": details}


@service.function
async def on_leave(team: str) -> None:
    """Leave ``team``."""
    MEMBERS[team].discard(service.get_context().state.user)


async def client(remote: Remote, show: Callable[[str], object], interval: float = 0.3) -> list[str]:
    """Be refused by one team, read the feed of another, leave it, and be refused its details."""
    arrived: list[str] = []

    def take(text: str) -> None:
        arrived.append(text)
        show(text)

    MEMBERS["red"].add("ann")  # so that the example can be run again
    try:
        await remote[on_feed]("blue")
    except Abort as refused:
        take(refused.value)

    feed = await remote[on_feed]("red")
    async for headline in feed["headlines"]:
        take(headline)
        await anyio.sleep(interval)
    take(await feed["details"]("Budget approved"))
    await remote[on_leave]("red")
    try:
        await feed["details"]("Offsite in May")
    except Abort as refused:
        take(refused.value)
    return arrived


async def main() -> None:
    """Serve on a free port and call from the same program, over a real socket."""

    async def visit(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/telewire", headers=headers) as remote:
            await client(remote, print)
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        await serve(service, port=0, on_started=lambda port: group.start_soon(visit, port))


if __name__ == "__main__":
    anyio.run(main)
