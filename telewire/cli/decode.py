"""``telewire decode``: a captured byte stream as readable frames."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Iterator
from typing import IO, Any, Final, final

import cbor2
import click

from telewire.cli.notation import diagnostic, item_end, quoted
from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.limits import Limits
from telewire.wire import BatchReader, Frame, decode_batch
from telewire.wire.frames import Chunk, Declaration, Flag, Fragment

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
    """Decode a capture frame by frame.

    Raises:
        CaptureError: it breaks a rule; what precedes the batch in question has been yielded.
    """
    reader = BatchReader(limits)
    offset = number = 0  # Where the next batch begins in the stream.
    head = -1  # Bytes of its head, once its first byte is here.
    begin = 0  # Where the present piece begins.
    while piece := file.read(READ):
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


@click.command(epilog=EXAMPLE, short_help="Print a captured byte stream as readable frames.")
@click.argument("file", type=click.File("rb"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, payloads uncut.")
@click.option("--full", is_flag=True, help="Do not cut long payloads.")
def decode(file: IO[bytes], as_json: bool, full: bool) -> None:
    """Print the frames of a captured byte stream, FILE or - for standard input.

    FILE is one direction of a conversation as it stands on a byte stream: batches, each in a CBOR byte
    string, as telewire.wire.write_batch makes them of what Connection.data_to_send gives. A line is a
    frame: where it begins, its name, its fields, its payload in diagnostic notation (RFC 8949 §8).
    Stream numbers are the sender's: n is its own, -1-n its peer's n. Sessions and tokens are not shown.

    Exit status: 1 where a rule is broken, with the place and the rule on standard error.
    """
    try:
        for decoded in read_capture(file, Limits()):
            if as_json:
                where = {"offset": decoded.offset, "batch": decoded.batch}
                name = type(decoded.frame).__name__.upper()
                click.echo(json.dumps({**where, "frame": name, **fields_of(decoded.frame)}))
            else:
                click.echo(line_of(decoded, full))
    except CaptureError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
