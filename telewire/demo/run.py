"""Runs demonstrations live: a server in another process, a client here, WebSocket or HTTP between them."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import anyio
from rich.console import Console
from rich.table import Table

from telewire.demo.stage import Stage
from telewire.demo.table import Demonstration, Example, Record, judge, load
from telewire.runtime.transport import TransportName
from telewire_transports import connect

__all__ = ["TITLES", "USUAL", "run"]

SECONDS: Final = 30.0
"""A demonstration that takes longer has failed."""
PACE_AGAIN: Final = 0.3
"""What has been seen over WebSocket is shown over HTTP at so much of the interval."""

TITLES: Final[dict[TransportName, str]] = {
    "websocket": "WebSocket",
    "http": "HTTP",
    "sse": "SSE",
    "exchange": "exchanges",
}
"""The transports that can be shown."""
USUAL: Final[tuple[TransportName, ...]] = ("websocket", "http")
"""Those that are, in this order, where none was asked for."""


async def run(
    console: Console,
    demonstrations: Sequence[Demonstration],
    place: Path,
    interval: float | None = None,
    transports: Sequence[TransportName] = USUAL,
) -> bool:
    """Show the demonstrations one after the other, and then what became of each.

    Args:
        console: where to.
        demonstrations: which.
        place: the folder of their programs.
        interval: seconds between items; None leaves each its own.
        transports: over which of them each is shown, where they can carry it.

    Returns:
        Whether in each of them that can run here what arrived is what the server recorded as sent.
    """
    results = Table("demonstration", "over", "arrived", "recorded", "verdict")
    good = True
    async with Stage(place) as stage:
        for demonstration, transport in itertools.product(demonstrations, transports):
            if transport == "exchange" and not demonstration.exchange:
                results.add_row(demonstration.name, TITLES[transport], "", "", "[dim]needs a session")
            else:
                good &= await _show(console, results, demonstration, transport, place, interval, stage)
    console.print(results)
    console.print("What arrived is what the other side recorded as sent." if good else "The demo FAILED.")
    return good


async def _show(
    console: Console,
    results: Table,
    demonstration: Demonstration,
    transport: TransportName,
    place: Path,
    interval: float | None,
    stage: Stage,
) -> bool:
    """Show one; adds a row to the results, and returns whether all went well."""
    name, over = demonstration.name, TITLES[transport]
    console.rule(f"[bold]{name}[/bold] over {over}", align="left")
    console.print(demonstration.shows, style="dim")
    # Any: each example has values of its own.
    arrived: list[Any] = []
    record = Record((), ())
    try:
        example = load(place, name)
        missing = getattr(example, "missing", None)
        if missing is not None:
            console.print(f"Skipped: {missing}.\n", style="yellow", markup=False)
            results.add_row(name, over, "", "", "[yellow]skipped")
            return True
        pace = _pace(example, interval, transport)
        with anyio.fail_after(SECONDS):
            arrived, record = await perform(console, demonstration, example, transport, pace, stage)
        problem = judge(demonstration, arrived, record, transport)
    except Exception as error:  # whatever an example does, the others are shown
        problem = f"{type(error).__name__}: {error}"
        await stage.give_up()
    console.print()
    whole = len(arrived) == len(record.sent)
    verdict = "[red]FAILED" if problem else "[green]equal" if whole else "[green]equal up to the break"
    results.add_row(name, over, str(len(arrived)), str(len(record.sent)), verdict)
    if problem is not None:
        console.print(f"{name} over {over} FAILED: {problem}", style="red", markup=False)
    return problem is None


def _pace(example: Example, interval: float | None, transport: TransportName) -> dict[str, float]:
    """The argument for the pace of a client, where it has one."""
    parameter = inspect.signature(example.client).parameters.get("interval")
    if parameter is None:
        return {}
    own = parameter.default * (1 if transport == "websocket" else PACE_AGAIN)
    return {"interval": own if interval is None else interval}


# Any: each example has values of its own.
async def perform(
    console: Console,
    demonstration: Demonstration,
    example: Example,
    transport: TransportName,
    pace: dict[str, float],
    stage: Stage,
) -> tuple[list[Any], Record]:
    """Run one example against a server's process; returns what arrived, and what the server recorded."""

    # Any: the same.
    def show(value: Any) -> None:
        console.print(value, end=demonstration.end, markup=False, highlight=False, soft_wrap=True)

    url = f"http://127.0.0.1:{await stage.begin(demonstration.name)}/telewire"
    headers = getattr(example, "headers", None)
    async with connect(url, headers=headers, transport=transport) as remote:
        arrived = await example.client(remote, show, **pace)
    return arrived, await stage.end()
