"""``telewire decode``: captured bytes as readable frames."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from io import BytesIO
from itertools import chain
from typing import IO, Any, Final, final

import cbor2
import click

from telewire.cli.har import HarError, is_har, parts_of
from telewire.cli.notation import diagnostic, item_end, quoted
from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.limits import Limits
from telewire.wire import BatchReader, Frame, decode_batch
from telewire.wire.frames import Chunk, Declaration, Flag, Fragment
from telewire.wire.heads import ARRAY
from telewire_transports.http1.events import EventReader

__all__ = ["CaptureError", "Decoded", "decode", "read_capture", "rule_of", "text_of"]

READ: Final = 64 * 1024
CUT: Final = 120
SECRETS: Final = frozenset({"session", "token"})
RULES: Final = {
    ErrorCode.MALFORMED: "TW-FRM-001",
    ErrorCode.BATCH_TOO_LARGE: "TW-FRM-002",
    ErrorCode.NESTING_TOO_DEEP: "TW-FRM-022",
    ErrorCode.DUPLICATE_KEY: "TW-FRM-022",
    ErrorCode.FORBIDDEN_TAG: "TW-FRM-022",
    ErrorCode.INVALID_FRAME: "TW-FRM-023",
    ErrorCode.LIMIT_EXCEEDED: "TW-LIM-001",
}
"""Where to read on, by what is wrong."""
FRAMING: Final = "TW-FRM-003"
EVENT_RULE: Final = "TW-SES-100"
EVENTS: Final = (b":", b"data:", b"event:", b"id:", b"retry:")
"""How a stream of events begins; neither a byte string nor an array does."""
BARE: Final = re.compile(r"[A-Z_|]+")


@final
class Decoded:
    """One frame: where it begins in the stream, in which batch it is, and what it says."""

    def __init__(self, offset: int, batch: int, frame: Frame) -> None:
        self.offset = offset
        self.batch = batch
        self.frame = frame


class CaptureError(Exception):
    """The stream goes wrong here; ``rule`` is where the specification says what would be right."""

    def __init__(self, offset: int, rule: str, error: RemoteProtocolError) -> None:
        super().__init__(f"At byte {offset}: {error} ({error.code.name}, see {rule})")


def read_capture(file: IO[bytes], limits: Limits) -> Iterator[Decoded]:
    """Decode a capture frame by frame, in whichever form it is: how it begins tells.

    Batches that each stand in a byte string, as on a byte stream; batches as they are, as in a WebSocket
    message, one behind the other; or a stream of events, whose frames all begin where their event does.

    Raises:
        CaptureError: it breaks a rule; what precedes the batch in question has been yielded.
    """
    return _read(iter(partial(file.read, READ), b""), limits)


def _read(pieces: Iterator[bytes], limits: Limits) -> Iterator[Decoded]:
    first = next(pieces, b"")
    if first and first[0] >> 5 == ARRAY:
        return _bare(first + b"".join(pieces), limits)
    if first.startswith(EVENTS):
        return _events(first + b"".join(pieces), limits)
    return _stream(chain((first,), pieces), limits)


def _stream(pieces: Iterable[bytes], limits: Limits) -> Iterator[Decoded]:
    reader = BatchReader(limits)
    offset = number = 0  # Where the next batch begins in the stream.
    head = -1  # Bytes of its head, once its first byte is here.
    begin = 0  # Where the present piece begins.
    for piece in pieces:
        broken: RemoteProtocolError | None = None
        try:
            reader.receive_data(piece)
        except RemoteProtocolError as error:
            broken = error
        for batch in reader.completed:
            if head < 0:
                head = _head_bytes(piece[offset - begin])
            yield from _frames(batch, offset + head, number, limits)
            offset += head + len(batch)
            head = -1
            number += 1
        if broken is not None:
            raise CaptureError(offset, FRAMING, broken)
        if head < 0 and begin <= offset < begin + len(piece):
            head = _head_bytes(piece[offset - begin])
        begin += len(piece)
    try:
        reader.receive_eof()
    except RemoteProtocolError as error:
        raise CaptureError(offset, FRAMING, error) from None


def _bare(data: bytes, limits: Limits) -> Iterator[Decoded]:
    """Batches without anything around them."""
    offset = number = 0
    while offset < len(data):
        try:
            end = item_end(data, offset)
        except ValueError:
            end = len(data)  # What is wrong is told by who decodes it.
        yield from _frames(data[offset:end], offset, number, limits)
        offset, number = end, number + 1


def _events(data: bytes, limits: Limits) -> Iterator[Decoded]:
    """Batches as events of a stream, each in base64 (TW-SES-100)."""
    offset = number = 0
    reader = EventReader(limits)
    begun = 0  # Where the event begins whose lines are read.
    for line in data.splitlines(keepends=True):
        batches, wrong = reader.cut(line)
        if wrong is not None:
            raise CaptureError(begun, EVENT_RULE, wrong)
        for batch in filter(None, batches):
            try:
                frames = decode_batch(batch, limits)
            except RemoteProtocolError as error:
                raise CaptureError(begun, rule_of(error), error) from None
            yield from (Decoded(begun, number, frame) for frame in frames)
            number += 1
        offset += len(line)
        if not line.strip():
            begun = offset
    unfinished = reader.end()
    if unfinished is not None:
        raise CaptureError(begun, EVENT_RULE, unfinished)


def _head_bytes(first: int) -> int:
    """How long the head is that begins with this byte (RFC 8949 §3)."""
    info = first & 0x1F
    return 1 if info < 24 else 1 + (1 << info - 24)


def _frames(batch: bytes, offset: int, number: int, limits: Limits) -> Iterator[Decoded]:
    try:
        frames = decode_batch(batch, limits)
    except RemoteProtocolError as error:
        at = offset + _first_wrong(batch, limits)
        raise CaptureError(at, rule_of(error), error) from None
    at = _head_bytes(batch[0])
    for frame in frames:
        yield Decoded(offset + at, number, frame)
        at = item_end(batch, at)


def rule_of(error: RemoteProtocolError) -> str:
    """Where the specification says what would be right."""
    return RULES.get(error.code, "spec/02-frames.md")


def _first_wrong(batch: bytes, limits: Limits) -> int:
    """Where in a batch that is refused its first wrong frame begins; 0 where that cannot be said."""
    if not batch or batch[0] >> 5 != 4:
        return 0
    at = _head_bytes(batch[0])
    try:
        while at < len(batch):
            end = item_end(batch, at)
            decode_batch(b"\x81" + batch[at:end], limits)
            at = end
    except RemoteProtocolError:
        return at
    except ValueError:
        return at
    return 0


# Any: fields of frames have all kinds of types.
def fields_of(frame: Frame) -> dict[str, Any]:
    """What a frame says, without what is absent or zero; what would open a session is left out."""
    said: dict[str, Any] = {}
    for field in dataclasses.fields(frame):
        value = getattr(frame, field.name)
        name = field.name
        if value is None or value == () or (name == "flags" and not value):
            continue
        if name in SECRETS:
            value = f"<{len(value)} bytes>"
        elif name == "flags":
            value = "|".join(flag.name or str(flag.value) for flag in Flag(value))
        elif name == "code":
            value = ErrorCode(value).name if value in set(ErrorCode) else value
        elif name == "declarations":
            value = [_declaration(each) for each in value]
        elif name == "payload":
            value = _payload(frame, value)
        elif name == "extensions":
            value = diagnostic(cbor2.dumps(value))
        said[name] = value
    return said


# Any: the same.
def _declaration(declared: Declaration) -> dict[str, Any]:
    said = {"stream": declared.stream, "kind": declared.kind.name}
    return said if declared.number is None else {**said, "number": declared.number}


def _payload(frame: Frame, payload: bytes) -> str:
    whole = not isinstance(frame, Chunk | Fragment) and not getattr(frame, "flags", 0) & Flag.MORE
    if whole and payload:
        try:
            return diagnostic(payload)
        except (ValueError, RecursionError):
            pass
    return f"h'{payload.hex()}'"


def line_of(decoded: Decoded, full: bool) -> str:
    """One line for a frame of a capture: where it begins, and what it says."""
    return f"{decoded.offset:>8}  {text_of(decoded.frame, full)}"


def text_of(frame: Frame, full: bool) -> str:
    """A frame on one line: name, fields, and its payload last."""
    said = fields_of(frame)
    payload = said.pop("payload", None)
    parts = [f"{name} {_shown(value)}" for name, value in said.items()]
    text = f"{type(frame).__name__.upper():<8} {', '.join(parts)}".rstrip()
    if payload is None:
        return text
    if not full and len(payload) > CUT:
        payload = f"{payload[:CUT]}… ({len(payload):,} characters)"
    return f"{text}: {payload}"


# Any: the same.
def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value if value.startswith(("<", "{")) or BARE.fullmatch(value) else quoted(value)
    if isinstance(value, list):
        return f"[{', '.join(' '.join(map(str, each.values())) for each in value)}]"
    return str(list(value)) if isinstance(value, tuple) else str(value)


EXAMPLE = """\b
Example:
  telewire decode capture.bin
       1  CALL     stream 0, target "countdown", size 4: [[3], {}]"""


@click.command(epilog=EXAMPLE, short_help="Print captured bytes as readable frames.")
@click.argument("file", type=click.File("rb"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, payloads uncut.")
@click.option("--full", is_flag=True, help="Do not cut long payloads.")
def decode(file: IO[bytes], as_json: bool, full: bool) -> None:
    """Print the frames of a capture, FILE or - for standard input.

    FILE is one direction of a conversation: a byte stream or the body of a request or response over HTTP,
    where each batch stands in a CBOR byte string; the payload of a WebSocket message, or of several one
    behind the other, as pcap tools extract it; or the text of an event stream. Or it is a HAR file, which
    browsers save; then all conversations in it are shown, with → before what was sent and ← before what
    was received.

    A line is a frame: where it begins, its name, its fields, its payload in diagnostic notation (RFC 8949
    §8). Stream numbers are the sender's: n is its own, -1-n its peer's n. Sessions and tokens are not
    shown.

    Exit status: 1 where a rule is broken, with the place and the rule on standard error.
    """
    begun = file.read(READ)
    if is_har(begun):
        sys.exit(_decode_har(begun + file.read(), as_json, full))
    try:
        for decoded in _read(chain((begun,) if begun else (), iter(partial(file.read, READ), b"")), Limits()):
            _show(decoded, {}, "", as_json, full)
    except CaptureError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)


def _decode_har(data: bytes, as_json: bool, full: bool) -> int:
    """Show each part of the conversations of a HAR file; returns the exit status."""
    status = 0
    url = ""
    try:
        for part in parts_of(data):
            if part.url != url and not as_json:
                url = part.url
                click.echo(quoted(url)[1:-1])
            where = {"url": part.url, "direction": part.direction, "part": part.what}
            try:
                for decoded in read_capture(BytesIO(part.data), Limits()):
                    _show(decoded, where, "→ " if part.direction == "sent" else "← ", as_json, full)
            except CaptureError as error:
                click.echo(
                    f"Error: In {part.what} of {quoted(part.url)}, {part.direction}: {error}", err=True
                )
                status = 1
    except HarError as error:
        click.echo(f"Error: {error}", err=True)
        return 1
    return status


def _show(decoded: Decoded, where: dict[str, str], arrow: str, as_json: bool, full: bool) -> None:
    if as_json:
        place = {**where, "offset": decoded.offset, "batch": decoded.batch}
        name = type(decoded.frame).__name__.upper()
        click.echo(json.dumps({**place, "frame": name, **fields_of(decoded.frame)}))
    else:
        click.echo(arrow + line_of(decoded, full))
