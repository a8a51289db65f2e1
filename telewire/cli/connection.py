"""What every command that connects has in common: its options, Ctrl-C, and how its errors end it."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import anyio
import click

from telewire.cli.outcomes import Status, sentence_of, status_of
from telewire.errors import TelewireError
from telewire.limits import Limits
from telewire.runtime.client import Client
from telewire.runtime.transport import TransportName
from telewire_transports import connect

__all__ = ["connection_options", "connection_to", "run"]

F = TypeVar("F", bound=Callable[..., Any])  # Any: commands with all kinds of options are decorated.


def connection_options(command: F) -> F:
    """Add the options of commands that connect: ``headers``, ``transport`` and ``patience``."""
    transport = click.option(
        "--transport",
        type=click.Choice(["websocket", "http", "sse", "exchange"]),
        help="How the call travels; exchange makes it one request, and a session if its answer needs one. "
        "Default: http, and websocket as soon as that stands.",
    )
    header = click.option(
        "-H",
        "--header",
        "headers",
        multiple=True,
        metavar="'NAME: VALUE'",
        help="A header of the HTTP request, such as 'Authorization: Bearer …'; may be given several times.",
    )
    patience = click.option(
        "--patience",
        type=click.FloatRange(min=0.0),
        default=Limits().resume_seconds,
        show_default=True,
        metavar="SECONDS",
        help="How long to look for the way back where the connection is lost.",
    )
    return header(transport(patience(command)))


def connection_to(
    url: str, headers: Mapping[str, str], transport: TransportName | None, patience: float
) -> Client:
    """A client that says on standard error when its connection is lost, and when it is back."""
    client = connect(url, headers=headers, transport=transport, limits=Limits(resume_seconds=patience))
    lost = False

    def tell(state: str) -> None:
        nonlocal lost
        if state == "reconnecting":
            lost = True
            click.echo("The connection is lost; looking for the way back …", err=True)
        elif lost and state == "connected":
            lost = False
            click.echo("Connected again; nothing was lost.", err=True)

    client.on_state(tell)
    return client


def run(command: Callable[[], Awaitable[Status]], json: bool = False) -> None:
    """Run a command on an event loop and exit with its status, or that of its error."""
    try:
        status = anyio.run(command)
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    except TelewireError as error:
        click.echo(sentence_of(error, json), err=True)
        status = status_of(error)
    except ValueError as error:
        # The URL or a header cannot be used: the message is telewire's own and says what would do.
        click.echo(f"Error: {error}", err=True)
        status = Status.USAGE
    sys.exit(status)
