"""The group of all commands, and ``demo``."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import click
from rich.console import Console

import telewire
from telewire.cli.call import call
from telewire.cli.decode import decode
from telewire.cli.listing import list_functions
from telewire.cli.serve import serve
from telewire.cli.trace import trace
from telewire.demo.run import TITLES, USUAL, run
from telewire.demo.table import DEMONSTRATIONS, folder
from telewire.runtime.transport import TransportName

__all__ = ["main"]

NAMES = [demonstration.name for demonstration in DEMONSTRATIONS]


EPILOG = """\b
Examples:
  telewire demo                  see it run
  telewire serve chat:service    serve the functions of chat.py
  telewire call http://127.0.0.1:8000/telewire on_countdown 3
  telewire call --help           each command explains itself"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EPILOG)
@click.version_option(telewire.__version__, prog_name="telewire")
def main() -> None:
    """Call Python functions in other processes as if they were local, also where values take time."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character must not end the command.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")


DEMO_EPILOG = """\b
Example:
  telewire demo countdown dashboard"""


@click.command(epilog=DEMO_EPILOG, short_help="Run the examples live.")
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
@click.option("--transport", type=click.Choice(list(TITLES)), help="Show them over this one only.")
def demo(
    names: tuple[str, ...], examples: Path | None, interval: float | None, transport: TransportName | None
) -> None:
    """Run the examples live, or those named: a server in another process, a client here.

    Each is shown over WebSocket, and over plain HTTP where that can carry it.
    Ends by itself. The exit status is 0 only if what arrived is what the server recorded as sent.
    """
    chosen = [each for each in DEMONSTRATIONS if not names or each.name in names]
    transports = list(USUAL) if transport is None else [transport]
    good = anyio.run(run, Console(), chosen, examples or folder(), interval, transports)
    sys.exit(0 if good else 1)


for command in (serve, call, list_functions, trace, decode, demo):
    main.add_command(command)
