"""``telewire trace``: one call, and the frames of its connection as they are sent and received."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final, final

import click

from telewire.cli.arguments import parse_arguments, parse_headers
from telewire.cli.call import show_call
from telewire.cli.connection import connection_options, connection_to, run
from telewire.cli.decode import rule_of, text_of
from telewire.cli.outcomes import STATUSES, Status
from telewire.cli.results import Results
from telewire.cli.saving import Bars
from telewire.errors import RemoteProtocolError
from telewire.limits import Limits
from telewire.runtime.tracing import Direction
from telewire.runtime.transport import TransportName
from telewire.wire import decode_batch

__all__ = ["Tracer", "trace"]

BYTES: Final = 40
LINE: Final = 500
LARGEST: Final = 1 << 28
ROOMY: Final = replace(
    Limits(),
    fragment_bytes=LARGEST,
    batch_bytes=2 * LARGEST,
    batch_frames=LARGEST,
    references=LARGEST,
    name_bytes=LARGEST,
    metadata_bytes=LARGEST,
    reason_bytes=LARGEST,
)
"""What is sent obeys the limits of the other side, whatever they are."""
ARROWS: Final[dict[Direction, str]] = {"sent": "→", "received": "←"}


@final
class Tracer:
    """Writes frames on standard error: seconds since the first one, the direction, and what they say."""

    def __init__(self, full: bool) -> None:
        self._full = full
        self._begun: float | None = None

    def __call__(self, direction: Direction, batch: bytes) -> None:
        """Show the frames of a batch; one that is none, with the reason and its first bytes."""
        now = time.perf_counter()
        if self._begun is None:
            self._begun = now
        head = f"{now - self._begun:9.4f} {ARROWS[direction]}"
        try:
            lines = [text_of(frame, self._full) for frame in decode_batch(batch, ROOMY)]
        except RemoteProtocolError as error:
            shown = batch if self._full else batch[:BYTES]
            cut = "" if len(shown) == len(batch) else f"… ({len(batch):,} bytes)"
            lines = [f"no batch: h'{shown.hex()}'{cut}. {error} ({error.code.name}, see {rule_of(error)})"]
        for line in lines:
            if not self._full and len(line) > LINE:
                line = f"{line[:LINE]}… ({len(line):,} characters)"
            click.echo(f"{head} {line}", err=True)


EPILOG = f"""\b
Example:
  telewire trace http://127.0.0.1:8000/telewire on_countdown 3 --transport websocket
     0.0031 → CALL     stream 0, target "on_countdown", size 4: [[3], {{}}]
     0.0047 ← END      stream -1, size 6, declarations [0 ITEMS]: 60000(0)

{STATUSES}"""


@click.command(
    epilog=EPILOG,
    context_settings={"ignore_unknown_options": True},
    short_help="Make a call and show the frames of its connection.",
)
@click.argument("url")
@click.argument("name")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@connection_options
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.0, min_open=True),
    metavar="SECONDS",
    help="For the whole call, until all of its streams have ended.",
)
@click.option("--full", is_flag=True, help="Do not cut long payloads and lines.")
def trace(
    url: str,
    name: str,
    arguments: tuple[str, ...],
    headers: tuple[str, ...],
    transport: TransportName | None,
    patience: float,
    timeout: float | None,
    full: bool,
) -> None:
    """Call the function NAME that is served at URL, and show each frame that is sent or received.

    Arguments are those of telewire call, and the result is printed as there, on standard output; the
    frames are lines on standard error, in the notation of telewire decode. A line is the time in
    seconds, → for sent or ← for received, and the frame. Stream numbers are the sender's: n is its own,
    -1-n its peer's n. Sessions and tokens are not shown.
    """
    args, kwargs = parse_arguments(arguments)
    parsed = parse_headers(headers)

    async def perform() -> Status:
        with Bars() as bars:
            results = Results(False, None, bars)
            client = connection_to(url, parsed, transport, patience)
            client.on_batch(Tracer(full))
            await show_call(client, name, args, kwargs, timeout, results)
        return results.status

    run(perform)
