"""``telewire serve``: a service of some module, on a port, until Ctrl-C."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import ssl
import sys
from functools import partial
from types import FrameType
from typing import Any

import anyio
import click

from telewire.cli.collector import spare_full_collections
from telewire.cli.outcomes import Status
from telewire.runtime.service import Service
from telewire_transports import serve_until_signal

__all__ = ["load_service", "serve"]


# Any: a service of any provider.
def load_service(target: str) -> Service[Any]:
    """The service that ``module:name`` names; modules of the current folder are found too.

    What the module itself raises while it is imported passes.

    Raises:
        click.UsageError: there is no such module, nothing of that name in it, or it is no service.
    """
    module_name, colon, attribute = target.partition(":")
    if not colon or not module_name or not attribute:
        hint = f"{os.path.splitext(os.path.basename(target))[0] or 'chat'}:service"
        raise click.UsageError(f"{target!r} names no service; write module:name, say {hint}.")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # Another one is missing inside of the module: that is for its author to see, with the traceback.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise click.UsageError(
            f"There is no module {module_name!r} here or among what is installed; "
            "give its name as in an import, without .py."
        ) from None
    found: object = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, Service):
        others = [name for name, value in vars(module).items() if isinstance(value, Service)]
        what = f"is of type {type(found).__name__}" if found is not None else "does not exist"
        instead = f"its services are: {', '.join(others)}" if others else "it has no Service at all"
        raise click.UsageError(f"{attribute!r} in the module {module_name!r} {what}; {instead}.")
    return found


EPILOG = """\b
Example:
  telewire serve chat:service --port 8080"""


@click.command(epilog=EPILOG)
@click.argument("target", metavar="MODULE:SERVICE")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one."
)
@click.option("--path", default="/telewire", show_default=True, help="Where clients connect to.")
@click.option(
    "--ssl-certfile",
    type=click.Path(exists=True, dir_okay=False),
    help="Serve https and wss with this certificate chain (PEM).",
)
@click.option(
    "--ssl-keyfile",
    type=click.Path(exists=True, dir_okay=False),
    help="Its private key, where that is not in the same file.",
)
@click.option(
    "--origin", multiple=True, help="A web origin whose pages may connect, besides the server's own."
)
@click.option(
    "--trusted-proxy",
    multiple=True,
    metavar="ADDRESS",
    help="An address or network of proxies that are believed about who is behind them.",
)
@click.option(
    "--drain-seconds",
    type=click.FloatRange(min=0),
    default=20.0,
    show_default=True,
    help="How long what is open may go on after SIGTERM.",
)
@click.option("--allow-host", multiple=True, help="A name by which clients may address it, besides --host.")
def serve(
    target: str,
    host: str,
    port: int,
    path: str,
    ssl_certfile: str | None,
    ssl_keyfile: str | None,
    origin: tuple[str, ...],
    trusted_proxy: tuple[str, ...],
    drain_seconds: float,
    allow_host: tuple[str, ...],
) -> None:
    """Serve the Service named SERVICE in the module MODULE.

    The module is looked for in the current folder too. SIGTERM asks clients to leave and lets what is
    open go on for a while. Then, and at Ctrl-C at once, every conversation is closed in order, functions
    have up to five seconds to clean up, and the exit status is 0; a second signal ends at once.
    Python's collector leaves alone what is there from the start, and looks through all the rest a tenth as
    often as it would, unless the module sets thresholds of its own: that stops everybody.
    Exit status: 1 where the address cannot be used, 2 for wrong usage.
    """
    if ssl_keyfile is not None and ssl_certfile is None:
        raise click.UsageError("--ssl-keyfile needs --ssl-certfile.")
    service = load_service(target)
    context = None if ssl_certfile is None else tls_context(ssl_certfile, ssl_keyfile)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")

    def started(port: int) -> None:
        shown = f"[{host}]" if ":" in host else host
        scheme = "http" if context is None else "https"
        spare_full_collections()
        click.echo(f"Serving {target} at {scheme}://{shown}:{port}{path} (Ctrl-C stops)")

    serving = partial(
        serve_until_signal,
        service,
        host=host,
        port=port,
        path=path,
        ssl_context=context,
        origins=origin,
        hosts=allow_host,
        trusted_proxies=trusted_proxy,
        drain_seconds=drain_seconds,
        on_started=started,
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        # What a second signal finds, once the first has been obeyed.
        signal.signal(number, end_at_once)
    try:
        anyio.run(serving)
    except ValueError as error:
        # A path or an address: the message is telewire's own and says what would do.
        raise click.UsageError(str(error)) from None
    except OSError as error:
        click.echo(f"Error: {host} port {port} cannot be served: {error}", err=True)
        sys.exit(Status.REMOTE)


def tls_context(certfile: str, keyfile: str | None) -> ssl.SSLContext:
    """A context that serves with a certificate.

    Raises:
        click.UsageError: the files are none, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certfile, keyfile)
    except (ssl.SSLError, OSError) as error:
        raise click.UsageError(f"The certificate {certfile} cannot be used: {error}.") from None
    return context


def end_at_once(number: int, frame: FrameType | None) -> None:
    """End the process. Not by an exception: code that cleans up might catch it, or be in a thread."""
    os._exit(Status.INTERRUPTED)
