"""dashboard: one value whose parts arrive when they are ready; a part that fails disturbs no other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypedDict

import anyio

from telewire import Abort, Remote, Service
from telewire_transports import connect, serve

service = Service()
sent: list[str] = []  # what the server recorded, to be compared with what arrived
ended: list[str] = []  # which clean-ups have run on the server


class Dashboard(TypedDict):
    """What the page shows: ``title`` at once, the rest as it is computed."""

    title: str
    summary: Awaitable[str]
    forecast: Awaitable[str]
    report: Awaitable[str]


def record(text: str) -> str:
    """Note what is sent."""
    sent.append(text)
    return text


@service.function
async def on_load(team: str, interval: float = 0.2) -> Dashboard:
    """Load the dashboard of ``team``; its report takes five times ``interval`` seconds."""

    async def summary() -> str:
        await anyio.sleep(interval)
        return record(f"{team} closed 12 tickets")

    async def forecast() -> str:
        await anyio.sleep(2 * interval)
        raise Abort(record("the forecast is for subscribers"))

    async def report() -> str:
        try:
            await anyio.sleep(5 * interval)
            return record(f"{team}: a long report")
        except BaseException:
            ended.append("the report was cancelled")
            raise

    return {
        "title": record(f"Dashboard of {team}"),
        "summary": summary(),
        "forecast": forecast(),
        "report": report(),
    }


async def client(remote: Remote, show: Callable[[str], object], interval: float = 0.2) -> list[str]:
    """Show each part as it comes; then load it again and leave before the report is there."""
    arrived: list[str] = []

    def take(text: str) -> None:
        arrived.append(text)
        show(text)

    board = await remote[on_load]("Sales", interval)
    take(board["title"])
    take(await board["summary"])
    try:
        await board["forecast"]
    except Abort as refused:
        take(refused.value)
    take(await board["report"])

    async with remote[on_load]("Support", interval) as again:
        take(again["title"])
    return arrived  # leaving the block has cancelled the three parts of the second dashboard


async def main() -> None:
    """Serve on a free port and call from the same program, over a real socket."""

    async def visit(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/telewire") as remote:
            await client(remote, print)
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        await serve(service, port=0, on_started=lambda port: group.start_soon(visit, port))


if __name__ == "__main__":
    anyio.run(main)
