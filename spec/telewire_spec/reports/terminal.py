"""What a terminal shows of a run: progress, the failures with their sentences, and a table of suites."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from telewire_spec.engine import Result
from telewire_spec.plan import Summary
from telewire_spec.reports.machine import quotes

__all__ = ["show_failures", "show_table", "with_progress"]

COLOURS = {"pass": "green", "non-strict": "yellow", "unsupported": "bright_black", "fail": "red"}
SHOWN_LINES = 40


def with_progress(console: Console, total: int, results: Iterable[Result]) -> Iterator[Result]:
    """Pass results on, with a bar where the output is a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("[red]{task.fields[failed]}[/] failed"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("conformance", total=total, failed=0)
        failed = 0
        for result in results:
            failed += result.verdict == "fail"
            progress.update(task, advance=1, failed=failed, description=result.case.suite)
            yield result


def show_failures(console: Console, results: Sequence[Result], heading: str) -> None:
    """Tell of each what was seen, which sentences it is about, and all that crossed."""
    for result in results:
        console.print(f"\n[bold red]{heading}[/] {escape(result.name)}", highlight=False)
        console.print(f"  {escape(result.case.about)}", highlight=False)
        console.print(f"  [bold]{escape(result.reason)}[/]", highlight=False)
        for line in quotes(result):
            console.print(f"  [dim]{escape(line)}[/]", highlight=False)
        for line in result.log[-SHOWN_LINES:]:
            console.print(f"    {escape(line[:300])}", highlight=False, soft_wrap=True)


def show_table(console: Console, results: Sequence[Result], summary: Summary) -> None:
    """A row for each suite, and the counts below."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("suite")
    table.add_column("against")
    for verdict in COLOURS:
        table.add_column(verdict, justify="right")
    groups: dict[tuple[str, str], Counter[str]] = {}
    for result in results:
        way = f"{result.role}, {result.carrier}"
        groups.setdefault((result.case.suite, way), Counter())[result.verdict] += 1
    for (suite, way), counts in groups.items():
        cells = [f"[{COLOURS[each]}]{counts[each]}[/]" if counts[each] else "[dim]·[/]" for each in COLOURS]
        table.add_row(suite, way, *cells)
    console.print(table)
    told = ", ".join(f"{summary.counts[each]} {each}" for each in COLOURS if summary.counts[each])
    colour = "green" if summary.good else "red"
    if summary.known:
        told += f" (known: {len(summary.known)})"
    console.print(f"[bold {colour}]conformance: {told or 'nothing was run'}[/]", highlight=False)
    for result in summary.surprising:
        console.print(f"[red]{escape(result.name)} is listed as failing, and passes.[/]", highlight=False)
