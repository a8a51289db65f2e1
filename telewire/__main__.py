"""The command line: ``telewire`` and ``python -m telewire``."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import click
from rich.console import Console

import telewire
from telewire.demo.run import run
from telewire.demo.table import DEMONSTRATIONS, folder

__all__ = ["main"]

NAMES = [demonstration.name for demonstration in DEMONSTRATIONS]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(telewire.__version__, prog_name="telewire")
def main() -> None:
    """Call Python functions in other processes as if they were local, also where values take time."""


@main.command()
@click.argument("names", nargs=-1, type=click.Choice(NAMES), metavar="[NAME]...")
@click.option(
    "--examples",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Run the programs of this folder, say your own copy of them, instead of those that came along.",
)
@click.option(
    "--interval",
    type=click.FloatRange(min=0.0, max=2.0),
    help="Seconds between items, instead of each example's own pace.",
)
def demo(names: tuple[str, ...], examples: Path | None, interval: float | None) -> None:
    """Run the examples live, or those named: a server in another process, a client here.

    Ends by itself. The exit status is 0 only if what arrived is what the server recorded as sent.
    """
    chosen = [each for each in DEMONSTRATIONS if not names or each.name in names]
    good = anyio.run(run, Console(), chosen, examples or folder(), interval)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main(prog_name="telewire")
