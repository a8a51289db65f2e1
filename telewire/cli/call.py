"""``telewire call``: one call, and what it gives, on a terminal or in a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from telewire.cli.arguments import parse_arguments, parse_headers
from telewire.cli.connection import connection_options, connection_to, run
from telewire.cli.outcomes import STATUSES, Status
from telewire.cli.results import Results
from telewire.cli.saving import Bars
from telewire.errors import TelewireError
from telewire.runtime.byte_stream import ByteStream
from telewire.runtime.client import Client
from telewire.runtime.remote import with_options
from telewire.runtime.transport import TransportName

__all__ = ["call", "show_call"]

EPILOG = f"""\b
Examples:
  telewire call http://127.0.0.1:8000/telewire on_countdown 3
  telewire call http://127.0.0.1:8000/telewire resize @photo.jpg width=200 -o small.jpg

\b
Arguments are JSON or Python literals, and else texts:
  3  2.5  true  null           numbers and other values
  Anna  '"3"'  'two words'     texts; quotes within quotes where they look like something else
  '[1, 2]'  '{{"a": 1}}'         lists and dicts
  limit=10                     a named argument; named ones come last
  @photo.jpg  -                the bytes of a file, of standard input, as they are read

{STATUSES}"""


@click.command(epilog=EPILOG, context_settings={"ignore_unknown_options": True})
@click.argument("url")
@click.argument("name")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@connection_options
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.0, min_open=True),
    metavar="SECONDS",
    help="For the whole call, until all of its streams have ended; the other side hears of it too.",
)
@click.option("--json", is_flag=True, help="Print JSON, one value a line, instead of Python.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where a byte stream goes: a file, a folder, or - for standard output. By default into a new file "
    "of its name here, or to standard output where that is no terminal.",
)
def call(
    url: str,
    name: str,
    arguments: tuple[str, ...],
    headers: tuple[str, ...],
    transport: TransportName | None,
    patience: float,
    timeout: float | None,
    json: bool,
    output: str | None,
) -> None:
    """Call the function NAME that is served at URL.

    The result is printed. Items of a generator and messages of a channel are printed as they come,
    promises when each settles; a byte stream is saved, with a progress bar.
    """
    args, kwargs = parse_arguments(arguments)
    parsed = parse_headers(headers)

    async def perform() -> Status:
        with Bars() as bars:
            results = Results(json, output, bars)
            for value in (*args, *kwargs.values()):
                if isinstance(value, ByteStream):
                    bars.watch(value, f"sending {value.name}")
            client = connection_to(url, parsed, transport, patience)
            await show_call(client, name, args, kwargs, timeout, results)
        return results.status

    run(perform, json)


# Any: arguments of whatever types a terminal can express.
async def show_call(
    client: Client,
    name: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    timeout: float | None,
    results: Results,
) -> None:
    """Connect, make one call and show all that it gives; Ctrl-C cancels it on the other side too."""
    async with client as remote:
        started = with_options(remote[name], timeout=timeout)(*args, **kwargs)
        try:
            await results.show(await started)
        except TelewireError as error:
            results.fail(error)
        except BaseException:
            started.cancel("interrupted")
            raise
        await started.aclose()
