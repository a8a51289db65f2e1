"""``telewire list``: the functions of a server, where it tells."""

from __future__ import annotations

from collections.abc import Mapping

import click

from telewire.cli.arguments import parse_headers
from telewire.cli.connection import connection_options, connection_to, run
from telewire.cli.outcomes import STATUSES, Status
from telewire.cli.texts import harmless, json_text
from telewire.errors import FunctionNotFound
from telewire.runtime.introspection import LIST
from telewire.runtime.transport import TransportName

__all__ = ["list_functions"]


EPILOG = f"""\b
Example:
  telewire list http://127.0.0.1:8000/telewire
  on_countdown(start: int) -> AsyncIterator[int]
      Count down to zero, one number a second.

{STATUSES}"""


@click.command("list", epilog=EPILOG)
@click.argument("url")
@connection_options
@click.option(
    "--json", is_flag=True, help="Print JSON: an array of objects with name, signature and summary."
)
def list_functions(
    url: str, headers: tuple[str, ...], transport: TransportName | None, patience: float, json: bool
) -> None:
    """Print the functions served at URL, with their signatures.

    A server tells only where it was made with Service(introspection=True).
    """
    parsed = parse_headers(headers)

    async def perform() -> Status:
        async with connection_to(url, parsed, transport, patience) as remote:
            try:
                functions = await remote[LIST]()
            except FunctionNotFound:
                click.echo(
                    "This server does not tell which functions it has; it would with "
                    "Service(introspection=True).",
                    err=True,
                )
                return Status.REMOTE
        if json:
            click.echo(json_text(functions))
        else:
            show(functions)
        return Status.GOOD

    run(perform, json)


def show(functions: object) -> None:
    """Print what a server said, in which nothing is taken for granted."""
    for each in functions if isinstance(functions, list) else ():
        if isinstance(each, Mapping):
            name, signature, summary = (
                harmless(str(each.get(key, ""))) for key in ("name", "signature", "summary")
            )
            click.echo(f"{name}{signature}")
            if summary:
                click.echo(f"    {summary}")
