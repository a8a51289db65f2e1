"""Report: summaries as a table in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from types import MappingProxyType
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.curves import CURVES
from benchmarks.latencies import LATENCIES
from benchmarks.results import CurvePoint, Samples, Spread, Summary, percentiles
from benchmarks.workloads import WORKLOADS

__all__ = ["print_curves", "print_latencies", "print_missing", "print_report"]

NOTHING: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType({})


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


def print_report(
    summaries: Sequence[Summary], console: Console, cannot: Mapping[str, Mapping[str, str]] = NOTHING
) -> None:
    """Print one table a workload, in 80 columns.

    Bold is the ratio to the fastest way of a peer: the one to read.
    """
    for name in dict.fromkeys(summary.workload for summary in summaries):
        workload = WORKLOADS[name]
        title = f"{name}: {workload.title}"
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for heading in ("peer", "way"):
            table.add_column(heading, no_wrap=True)
        for heading in (workload.unit, "spread", "telewire", "spread", "goal"):
            table.add_column(heading, justify="right", no_wrap=True)
        for summary in summaries:
            if summary.workload == name:
                table.add_row(summary.peer, summary.way, *_rate(summary.rate), *_ratio(summary))
        _add_absent(table, cannot.get(name, {}), 5)
        console.print(table)
        _print_reasons(cannot.get(name, {}), console)


def _add_absent(table: Table, reasons: Mapping[str, str], columns: int) -> None:
    for peer in reasons:
        table.add_row(peer, *("—" for _ in range(columns - 2)))


def _print_reasons(reasons: Mapping[str, str], console: Console) -> None:
    for reason in dict.fromkeys(reasons.values()):
        peers = ", ".join(peer for peer, why in reasons.items() if why == reason)
        console.print(f"— {peers}: {reason}.", style="dim")


def _microseconds(seconds: float | None) -> str:
    return "—" if seconds is None else f"{seconds * 1e6:,.0f}"


def print_latencies(
    samples: Sequence[Samples], console: Console, cannot: Mapping[str, Mapping[str, str]] = NOTHING
) -> None:
    """Print one table for each kind of latency; p99.9 only where a thousand samples are there."""
    found = percentiles(samples)
    for name in dict.fromkeys(each.workload for each in found):
        title = f"{name}: {LATENCIES[name].title}, µs"
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for heading in ("peer", "way"):
            table.add_column(heading, no_wrap=True)
        for heading in ("p50", "p99", "p99.9", "samples", "beside, MB/s"):
            table.add_column(heading, justify="right", no_wrap=True)
        for each in found:
            if each.workload == name:
                beside = "" if each.bytes_a_second is None else f"{each.bytes_a_second / 1e6:.0f}"
                figures = (_microseconds(each.p50), _microseconds(each.p99), _microseconds(each.p999))
                table.add_row(each.peer, each.way, *figures, str(each.count), beside)
        _add_absent(table, cannot.get(name, {}), 5)
        console.print(table)
        _print_reasons(cannot.get(name, {}), console)


def print_curves(points: Sequence[CurvePoint], console: Console) -> None:
    """Print one table for each curve: a row a size, a column a peer, the median of the rounds."""
    for name in dict.fromkeys(point.curve for point in points):
        curve = CURVES[name]
        mine = [point for point in points if point.curve == name]
        console.print(f"{name}: {curve.title}")
        table = Table(
            title=_unit(name, curve.unit), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
        )
        table.add_column(curve.of, justify="right", no_wrap=True)
        entrants = list(dict.fromkeys((point.peer, point.way) for point in mine))
        for peer, way in entrants:
            table.add_column(f"{peer} {way}", justify="right", no_wrap=True)
        for size in sorted({point.at for point in mine}):
            row = [
                _cell([each for each in mine if (each.peer, each.way, each.at) == (*entrant, size)])
                for entrant in entrants
            ]
            table.add_row(_size(size, curve.of), *row)
        console.print(table)


def _unit(name: str, unit: str) -> str:
    if name.startswith("idle"):
        return "KiB each, client + server"
    return "MB/s" if name == "sizes" else f"{unit}, and µs of CPU for each, both sides"


def _size(size: float, of: str) -> str:
    if of != "bytes":
        return f"{size:g}"
    return f"{size / 1024:g} KiB" if size < 1024 * 1024 else f"{size / 1024 / 1024:g} MiB"


def _cell(points: Sequence[CurvePoint]) -> str:
    if not points:
        return "—"
    if points[0].rate is None:
        client, server = (
            median(getattr(point, name) or 0.0 for point in points) / 1024
            for name in ("client_bytes", "server_bytes")
        )
        return f"{client:.1f} + {server:.1f}"
    rate = median(point.rate or 0.0 for point in points)
    cpu = median((point.client_us or 0.0) + (point.server_us or 0.0) for point in points)
    if points[0].curve == "sizes":
        return f"{rate / 1e6:.0f}"
    return f"{rate / 1000:.1f}k {cpu:.1f}"


def print_missing(missing: Mapping[str, str], console: Console) -> None:
    """Name every peer that did not take part, with its reason."""
    for peer, reason in missing.items():
        console.print(f"{peer} did not take part: {reason}.", style="yellow")
