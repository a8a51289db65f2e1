"""What the application learns from a Connection: the closed union Event.

A driver ends its chain of ``isinstance`` with ``assert_never(event)``, so that a new event is a
type error until it is handled. Payloads are encoded values; the core has not looked inside.
``declared`` are the streams that a payload introduces, in the order of the references inside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, final

if TYPE_CHECKING:
    from telewire.core.streams import Call, Stream
    from telewire.errors import ProtocolError
    from telewire.limits import Limits

__all__ = [
    "CallOver",
    "CallReceived",
    "CallRejected",
    "CallResolved",
    "CallStopped",
    "ChunkReceived",
    "ConnectionClosed",
    "Event",
    "GoAwayReceived",
    "HelloReceived",
    "ItemReceived",
    "ItemsReceived",
    "SessionDetached",
    "SessionResumed",
    "StreamEnded",
    "StreamFailed",
    "StreamReset",
    "StreamStopped",
    "StreamUnblocked",
]


@final
@dataclass(slots=True)
class HelloReceived:
    """The conversation is open: calls may be made. ``limits`` are the peer's."""

    version: int
    features: frozenset[int]
    limits: Limits
    session: bytes | None = field(repr=False)


@final
@dataclass(slots=True)
class CallReceived:
    """The peer calls a function. The application answers with ``resolve`` or ``reject``, once.

    ``target`` is a name, or the function or channel of ours that is called. ``deadline`` bounds the
    answer, ``lifetime`` the whole call; both are points in time on the clock that ``now`` comes from.
    """

    call: Call
    target: str | Stream
    payload: bytes
    declared: tuple[Stream, ...]
    metadata: dict[str, str] | None
    deadline: float | None
    lifetime: float | None


@final
@dataclass(slots=True)
class CallStopped:
    """The caller cancelled a call of its own; unwind the body, then answer by what happened."""

    call: Call
    code: int
    payload: bytes


@final
@dataclass(slots=True)
class CallResolved:
    """Our call has its result."""

    call: Call
    payload: bytes
    declared: tuple[Stream, ...]


@final
@dataclass(slots=True)
class CallRejected:
    """Our call was answered with an error, or by how far a cancelled call had come."""

    call: Call
    code: int
    payload: bytes
    declared: tuple[Stream, ...] = ()


@final
@dataclass(slots=True)
class CallOver:
    """A call, ours or the peer's, is over: all that crossed in it has ended, or either side ended it.

    Of the streams it still had, the events follow this one.
    """

    call: Call
    code: int
    payload: bytes


@final
@dataclass(slots=True)
class ItemsReceived:
    """``count`` small items or messages; ``payload`` is one CBOR array of them."""

    stream: Stream
    count: int
    payload: bytes


@final
@dataclass(slots=True)
class ItemReceived:
    """One item or message that is large or introduces streams."""

    stream: Stream
    payload: bytes
    declared: tuple[Stream, ...]


@final
@dataclass(slots=True)
class ChunkReceived:
    """Bytes of a byte stream, never empty."""

    stream: Stream
    payload: bytes


@final
@dataclass(slots=True)
class StreamEnded:
    """The sender ended its half; ``payload`` is a promise's value or a generator's return value."""

    stream: Stream
    payload: bytes
    declared: tuple[Stream, ...]


@final
@dataclass(slots=True)
class StreamFailed:
    """The sender's half ended with an error, behind everything before it."""

    stream: Stream
    code: int
    payload: bytes
    declared: tuple[Stream, ...] = ()


@final
@dataclass(slots=True)
class StreamReset:
    """The sender gave its half up; what is not consumed yet may be discarded."""

    stream: Stream
    code: int
    payload: bytes


@final
@dataclass(slots=True)
class StreamStopped:
    """The receiver wants no more of our half, or has released our function."""

    stream: Stream
    code: int
    payload: bytes


@final
@dataclass(slots=True)
class StreamUnblocked:
    """``writable`` or ``flushed`` was false for this stream: ask again."""

    stream: Stream


@final
@dataclass(slots=True)
class GoAwayReceived:
    """The peer accepts no call of ours from number ``calls`` on; a number above all is a warning.

    ``reconnect_after`` is how many seconds to wait before a successor is opened, with a jitter of ours;
    ``elsewhere`` the address for that, where it is not the same: nobody has proved that it is the peer's.
    """

    calls: int
    code: int
    text: str
    reconnect_after: float | None = None
    elsewhere: str | None = None


@final
@dataclass(slots=True)
class SessionDetached:
    """The transport is lost and the session is not: drop what is left of it, and attach another.

    Until then nothing leaves or arrives; commands go on, and what they say waits.
    """

    text: str


@final
@dataclass(slots=True)
class SessionResumed:
    """The session goes on over another transport: nothing is missing, nothing comes twice."""


@final
@dataclass(slots=True)
class ConnectionClosed:
    """The last event. ``error`` is set where a rule was broken, by whichever side."""

    code: int
    text: str
    by_peer: bool
    error: ProtocolError | None = None


Event: TypeAlias = (
    HelloReceived
    | CallReceived
    | CallStopped
    | CallResolved
    | CallRejected
    | CallOver
    | ItemsReceived
    | ItemReceived
    | ChunkReceived
    | StreamEnded
    | StreamFailed
    | StreamReset
    | StreamStopped
    | StreamUnblocked
    | GoAwayReceived
    | SessionDetached
    | SessionResumed
    | ConnectionClosed
)
