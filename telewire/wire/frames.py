"""FrameType and one final class for each frame: the vocabulary of the wire, without behaviour.

Layouts are normative in ``spec/telewire.cddl``; chapter 2 of the spec explains them. A *stream*
field is a signed reference seen from the sender of the frame: ``n >= 0`` is a stream that the
sender opened, ``-1 - n`` one that the receiver opened (TW-FRM-010).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Final, TypeAlias, final

__all__ = [
    "FIRST_POSITIONED",
    "KEY_DEADLINE",
    "KEY_DOWNLINK",
    "KEY_ELSEWHERE",
    "KEY_IDEMPOTENCY",
    "KEY_LIFETIME",
    "KEY_METADATA",
    "KEY_PIPELINE",
    "KEY_RECONNECT_AFTER",
    "KEY_REQUESTED",
    "KEY_TRACE",
    "KEY_TRAILERS",
    "KEY_URGENCY",
    "Ack",
    "Call",
    "Chunk",
    "Close",
    "Declaration",
    "End",
    "Error",
    "Extensions",
    "Flag",
    "Fragment",
    "Frame",
    "FrameType",
    "GoAway",
    "Grant",
    "Hello",
    "Item",
    "Items",
    "Kind",
    "Ping",
    "Pong",
    "Position",
    "Reset",
    "Resume",
    "Resumed",
    "Stop",
    "Unknown",
]


FIRST_POSITIONED: Final = 16
"""The first type of a frame that has a position (TW-SES-001)."""


class FrameType(IntEnum):
    """First element of a frame. 0–15 have no position, 16–63 have one, 64 and up are extensions."""

    HELLO = 0
    RESUME = 1
    RESUMED = 2
    ACK = 3
    PING = 4
    PONG = 5
    POSITION = 6
    CALL = 16
    END = 17
    ERROR = 18
    ITEM = 19
    ITEMS = 20
    CHUNK = 21
    FRAGMENT = 22
    STOP = 23
    RESET = 24
    GRANT = 25
    GOAWAY = 26
    CLOSE = 27


class Kind(IntEnum):
    """What a stream is for; a CALL opens a call, a declaration the others."""

    CALL = 0
    PROMISE = 1
    ITEMS = 2
    BYTES = 3
    FUNCTION = 4
    CHANNEL = 5


class Flag(IntFlag):
    """Bits of the flags field of payload frames; unassigned bits are zero."""

    NONE = 0
    MORE = 1
    COMPRESSED = 2
    SUPERSEDES = 4


# Keys of the extension map: even keys may be ignored, odd keys must be understood.
KEY_DEADLINE: Final = 0
KEY_PIPELINE: Final = 1
KEY_LIFETIME: Final = 2
KEY_URGENCY: Final = 4
KEY_METADATA: Final = 6
KEY_TRACE: Final = 8
KEY_IDEMPOTENCY: Final = 10
KEY_TRAILERS: Final = 12
KEY_RECONNECT_AFTER: Final = 16
KEY_ELSEWHERE: Final = 18
KEY_DOWNLINK: Final = 20
KEY_REQUESTED: Final = 22

# object: an extension's value is any CBOR value, known only to who knows the key.
Extensions: TypeAlias = dict[int, object]


@final
@dataclass(slots=True, frozen=True)
class Declaration:
    """A stream that a payload introduces; ``number`` is the exporter's function number."""

    stream: int
    kind: Kind
    number: int | None = None


@final
@dataclass(slots=True)
class Hello:
    """Versions, features and limits of the sender; the server's opens the conversation."""

    version_min: int
    version_max: int
    features: tuple[int, ...] = ()
    limits: dict[int, int] = field(default_factory=dict)
    session: bytes | None = field(default=None, repr=False)
    token: bytes | None = field(default=None, repr=False)
    extensions: Extensions | None = None


@final
@dataclass(slots=True)
class Resume:
    """The client's first frame on a new transport for an old session."""

    session: bytes = field(repr=False)
    token: bytes = field(repr=False)
    attempt: int
    received: int
    extensions: Extensions | None = None


@final
@dataclass(slots=True)
class Resumed:
    """The server goes on with the session; ``received`` frames need no replay."""

    attempt: int
    received: int
    extensions: Extensions | None = None


@final
@dataclass(slots=True)
class Ack:
    """``received`` positioned frames have arrived, so positions below it are acknowledged."""

    received: int
    extensions: Extensions | None = None


@final
@dataclass(slots=True)
class Ping:
    """Asks for a pong with the same number."""

    number: int
    extensions: Extensions | None = None


@final
@dataclass(slots=True)
class Pong:
    """Answers a ping."""

    number: int
    extensions: Extensions | None = None


@final
@dataclass(slots=True)
class Position:
    """The position of the first positioned frame in this batch, on carriers that may reorder."""

    position: int
    extensions: Extensions | None = None


@final
@dataclass(slots=True)
class Call:
    """Opens a call on a name, or on a function or channel (by its stream reference)."""

    stream: int
    target: str | int
    flags: int
    size: int
    payload: bytes
    declarations: tuple[Declaration, ...] = ()
    extensions: Extensions | None = None


@final
@dataclass(slots=True)
class End:
    """The sender's half ends with a value: a call's result, a promise's, a generator's return."""

    stream: int
    flags: int
    size: int
    payload: bytes
    declarations: tuple[Declaration, ...] = ()
    extensions: Extensions | None = None


@final
@dataclass(slots=True)
class Error:
    """The sender's half ends with an error, behind everything sent before it."""

    stream: int
    code: int
    flags: int
    size: int
    payload: bytes
    declarations: tuple[Declaration, ...] = ()
    extensions: Extensions | None = None


@final
@dataclass(slots=True)
class Item:
    """One item or message that is large or declares streams."""

    stream: int
    flags: int
    size: int
    payload: bytes
    declarations: tuple[Declaration, ...] = ()
    extensions: Extensions | None = None


@final
@dataclass(slots=True)
class Items:
    """``count`` consecutive small items or messages: ``payload`` is one CBOR array of them."""

    stream: int
    flags: int
    count: int
    payload: bytes
    extensions: Extensions | None = None


@final
@dataclass(slots=True)
class Chunk:
    """Raw bytes of a byte stream."""

    stream: int
    flags: int
    payload: bytes
    extensions: Extensions | None = None


@final
@dataclass(slots=True)
class Fragment:
    """The next part of the payload begun on this half; the last part carries the declarations."""

    stream: int
    flags: int
    payload: bytes
    declarations: tuple[Declaration, ...] = ()
    extensions: Extensions | None = None


@final
@dataclass(slots=True)
class Stop:
    """The receiver's only farewell: cancels a call, releases a function, closes the rest."""

    stream: int
    code: int
    payload: bytes = b""
    extensions: Extensions | None = None


@final
@dataclass(slots=True)
class Reset:
    """The sender gives its half up; what was not delivered is discarded."""

    stream: int
    code: int
    payload: bytes = b""
    extensions: Extensions | None = None


@final
@dataclass(slots=True)
class Grant:
    """The sender of the half may have spent up to ``limit`` in all, since its beginning."""

    stream: int
    limit: int
    extensions: Extensions | None = None


@final
@dataclass(slots=True)
class GoAway:
    """No call from number ``calls`` on is accepted; those before it will be answered."""

    calls: int
    code: int
    text: str = ""
    extensions: Extensions | None = None


@final
@dataclass(slots=True)
class Close:
    """The last frame: the connection is closed, and why."""

    code: int
    text: str = ""
    extensions: Extensions | None = None


@final
@dataclass(slots=True)
class Unknown:
    """A frame of an extension range; ``stream`` is None in the connection-scoped range."""

    type: int
    stream: int | None = None


Frame: TypeAlias = (
    Hello
    | Resume
    | Resumed
    | Ack
    | Ping
    | Pong
    | Position
    | Call
    | End
    | Error
    | Item
    | Items
    | Chunk
    | Fragment
    | Stop
    | Reset
    | Grant
    | GoAway
    | Close
    | Unknown
)
