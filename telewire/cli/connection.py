"""What every command that connects has in common: its options, Ctrl-C, and how its errors end it."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import click

from telewire.cli.outcomes import Status, sentence_of, status_of
from telewire.errors import TelewireError

__all__ = ["connection_options", "run"]

F = TypeVar("F", bound=Callable[..., Any])  # Any: commands with all kinds of options are decorated.


def connection_options(command: F) -> F:
    """Add the options of commands that connect: ``headers`` and ``transport``."""
    transport = click.option(
        "--transport",
        type=click.Choice(["websocket", "http"]),
        help="How the call travels; http makes it one request, without a connection before. "
        "Default: websocket.",
    )
    header = click.option(
        "-H",
        "--header",
        "headers",
        multiple=True,
        metavar="'NAME: VALUE'",
        help="A header of the HTTP request, such as 'Authorization: Bearer …'; may be given several times.",
    )
    return header(transport(command))


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
