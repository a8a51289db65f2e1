"""Report: summaries as a table in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.results import Spread, Summary
from benchmarks.workloads import WORKLOADS

__all__ = ["print_report"]


def _rate(spread: Spread) -> tuple[str, str]:
    low, median, high = (f"{rate / 1000:.1f}k" for rate in (spread.low, spread.median, spread.high))
    return median, f"{low}–{high}"


def _ratio(summary: Summary) -> tuple[str, str, str]:
    ratio = summary.ratio
    if ratio is None:
        return "", "", ""
    goal = "" if summary.goal is None or not summary.fastest else f"≥ {summary.goal:g}"
    met = summary.goal is None or ratio.median >= summary.goal
    median = f"{ratio.median:.2f} ×"
    if summary.fastest:
        median = f"[bold {'green' if met else 'red'}]{median}[/]"
    return median, f"{ratio.low:.2f}–{ratio.high:.2f}", goal


def print_report(summaries: Sequence[Summary], console: Console) -> None:
    """Print one table a workload, in 80 columns.

    Bold is the ratio to the fastest way of a peer: the one to read.
    """
    for name in dict.fromkeys(summary.workload for summary in summaries):
        workload = WORKLOADS[name]
        title = f"{name}: {workload.title}"
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in ("peer", "way"):
            table.add_column(heading, no_wrap=True)
        for heading in (workload.unit, "spread", "telewire", "spread", "goal"):
            table.add_column(heading, justify="right", no_wrap=True)
        for summary in summaries:
            if summary.workload == name:
                table.add_row(summary.peer, summary.way, *_rate(summary.rate), *_ratio(summary))
        console.print(table)
