"""Runs demonstrations live: a server in another process, a client here, WebSocket between them."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from subprocess import PIPE
from typing import Any, Final

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream
from rich.console import Console
from rich.table import Table

from telewire.demo.table import Demonstration, Record, judge, load
from telewire.errors import NetworkError
from telewire_transports import connect

__all__ = ["run"]

SECONDS: Final = 30.0
"""A demonstration that takes longer has failed."""
LINE_BYTES: Final = 1024


async def run(
    console: Console, demonstrations: Sequence[Demonstration], place: Path, interval: float | None = None
) -> bool:
    """Show the demonstrations one after the other, and then what became of each.

    Args:
        console: where to.
        demonstrations: which.
        place: the folder of their programs.
        interval: seconds between items; None leaves each its own.

    Returns:
        Whether in each of them that can run here what arrived is what the server recorded as sent.
    """
    results = Table("demonstration", "arrived", "recorded as sent", "verdict")
    good = True
    for demonstration in demonstrations:
        console.rule(f"[bold]{demonstration.name}", align="left")
        console.print(demonstration.shows, style="dim")
        # Any: each example has values of its own.
        arrived: list[Any] = []
        record = Record((), ())
        try:
            missing = getattr(load(place, demonstration.name), "missing", None)
            if missing is not None:
                console.print(f"Skipped: {missing}.\n", style="yellow", markup=False)
                results.add_row(demonstration.name, "", "", "[yellow]skipped")
                continue
            with anyio.fail_after(SECONDS):
                arrived, record = await perform(console, demonstration, place, interval)
            problem = judge(demonstration, arrived, record)
        except Exception as error:  # whatever an example does, the others are shown
            problem = f"{type(error).__name__}: {error}"
        console.print()
        good = good and problem is None
        whole = len(arrived) == len(record.sent)
        verdict = "[red]FAILED" if problem else "[green]equal" if whole else "[green]equal up to the break"
        results.add_row(demonstration.name, str(len(arrived)), str(len(record.sent)), verdict)
        if problem is not None:
            console.print(f"{demonstration.name} FAILED: {problem}", style="red", markup=False)
    console.print(results)
    console.print("What arrived is what the other side recorded as sent." if good else "The demo FAILED.")
    return good


# Any: each example has values of its own.
async def perform(
    console: Console, demonstration: Demonstration, place: Path, interval: float | None
) -> tuple[list[Any], Record]:
    """Run one example against a server process; returns what arrived, and what the server recorded."""
    example = load(place, demonstration.name)

    # Any: the same.
    def show(value: Any) -> None:
        console.print(value, end=demonstration.end, markup=False, highlight=False, soft_wrap=True)

    command = [sys.executable, "-m", "telewire.demo.server", str(place), demonstration.name]
    async with AsyncExitStack() as stack:
        process = await stack.enter_async_context(
            await anyio.open_process(command, stdin=PIPE, stdout=PIPE, stderr=None)
        )
        assert process.stdin is not None
        assert process.stdout is not None
        output = BufferedByteReceiveStream(process.stdout)
        try:
            first = await output.receive_until(b"\n", LINE_BYTES)
        except anyio.IncompleteRead:
            raise NetworkError("The server process ended before it served; its words stand above.") from None
        port = json.loads(first)["port"]
        headers = getattr(example, "headers", None)
        async with connect(f"ws://127.0.0.1:{port}/telewire", headers=headers) as remote:
            paced = "interval" in inspect.signature(example.client).parameters
            options = {} if interval is None or not paced else {"interval": interval}
            arrived = await example.client(remote, show, **options)
        await process.stdin.aclose()
        rest = b"".join([chunk async for chunk in output])
        await process.wait()
    facts = json.loads(rest)
    return arrived, Record(tuple(facts["sent"]), tuple(facts["ended"]))
