"""Error codes of the wire and the tree of exceptions that carry them.

::

    TelewireError                        .retryable
    ├── Abort(value)                     refused or ended on purpose, with a value
    ├── RemoteError(correlation_id)      a bug on the other side; its text stays there
    ├── InvalidArgument                  also ValueError: a value does not fit its annotation
    ├── FunctionNotFound                 also LookupError
    ├── CallCancelled(outcome, reason)   cancelled, and how far the call had come
    ├── DeadlineExceeded                 also TimeoutError
    ├── ResourceExhausted                a limit would be passed
    ├── NetworkError                     also ConnectionError
    │   ├── GoingAway(reconnect_after, elsewhere)
    │   └── SessionLost(first_missing, last_missing)
    ├── ChannelClosed
    ├── ReferenceReleased
    ├── TransportUnsuitable(needed)
    └── ProtocolError(code)
        ├── LocalProtocolError           we were about to break a rule: nothing has changed
        └── RemoteProtocolError          the peer broke a rule: the connection is closed

``retryable`` is true only where the call is known never to have started.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Any, Final

__all__ = [
    "Abort",
    "CallCancelled",
    "CancelOutcome",
    "ChannelClosed",
    "DeadlineExceeded",
    "ErrorCode",
    "FunctionNotFound",
    "GoingAway",
    "InvalidArgument",
    "LocalProtocolError",
    "NetworkError",
    "ProtocolError",
    "ReferenceReleased",
    "RemoteError",
    "RemoteProtocolError",
    "ResourceExhausted",
    "SessionLost",
    "TelewireError",
    "TransportUnsuitable",
]

SHOWN_CHARACTERS: Final = 500


class ErrorCode(IntEnum):
    """Why something ended, as it stands on the wire (registry: ``spec/registries/errors.csv``).

    Codes below 32 end one call or stream, codes from 32 on end the connection or refuse its frames.
    """

    NONE = 0
    ABORTED = 1
    INTERNAL = 2
    INVALID_ARGUMENT = 3
    FUNCTION_NOT_FOUND = 4
    CANCELLED = 5
    NOT_STARTED = 6
    STOPPED = 7
    OUTCOME_UNKNOWN = 8
    DEADLINE_EXCEEDED = 9
    RESOURCE_EXHAUSTED = 10
    GOING_AWAY = 11
    REFERENCE_RELEASED = 12
    CHANNEL_CLOSED = 13
    UNSUPPORTED = 14
    TRANSPORT_UNSUITABLE = 15
    SESSION_LOST = 16
    MALFORMED_VALUE = 17
    MESSAGE_TOO_LARGE = 18

    PROTOCOL_ERROR = 32
    MALFORMED = 33
    NESTING_TOO_DEEP = 34
    DUPLICATE_KEY = 35
    FORBIDDEN_TAG = 36
    BATCH_TOO_LARGE = 37
    INVALID_FRAME = 38
    UNKNOWN_STREAM = 39
    INVALID_STATE = 40
    FLOW_CONTROL = 41
    LIMIT_EXCEEDED = 42
    VERSION_MISMATCH = 43
    HELLO_TIMEOUT = 44
    IDLE_TIMEOUT = 45


class CancelOutcome(Enum):
    """How far a cancelled call had come when it stopped."""

    NOT_STARTED = "not_started"
    STOPPED = "stopped"
    FINISHED = "finished"
    UNKNOWN = "unknown"


def _shown(value: object) -> str:
    """What the other side gave, as it may stand in a log: repr escapes it, and what is long is cut."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"


class TelewireError(Exception):
    """Base of every error telewire raises; ``retryable`` says that the call never started."""

    retryable: bool = False


class Abort(TelewireError):
    """Raised on purpose to refuse a call or end a stream; ``value`` crosses whole.

    ``value`` is anything that can travel without a life of its own (no streams, no functions).
    """

    # Any: the application chooses what crosses, and the other side receives just that.
    def __init__(self, value: Any = None) -> None:
        super().__init__(value)
        self.value = value
        # The connection it arrived on, if it did: let through, it does not cross to another one.
        self.received_on: object = None

    def __repr__(self) -> str:
        # asyncio logs this of a task that nobody awaited.
        return f"{type(self).__name__}({_shown(self.value)})"

    def __str__(self) -> str:
        if self.value is None:
            return "The other side refused, giving no value."
        return f"The other side refused: {_shown(self.value)}."


class RemoteError(TelewireError):
    """A bug on the other side; look for ``correlation_id`` in its log."""

    def __init__(self, correlation_id: str) -> None:
        super().__init__(correlation_id)
        self.correlation_id = correlation_id

    def __str__(self) -> str:
        return (
            "The function failed on the other side; its log has the traceback "
            f"under correlation id {self.correlation_id}."
        )


class InvalidArgument(TelewireError, ValueError):
    """A value does not fit the annotation it was passed for; the message names both."""


class FunctionNotFound(TelewireError, LookupError):
    """The other side serves no function of that name."""

    retryable = True


class CallCancelled(TelewireError):
    """The call was cancelled; ``outcome`` says how far it had come, ``reason`` why."""

    # Any: the reason is whatever the canceller gave.
    def __init__(self, outcome: CancelOutcome, reason: Any = None) -> None:
        super().__init__(outcome, reason)
        self.outcome = outcome
        self.reason = reason
        self.retryable = outcome is CancelOutcome.NOT_STARTED

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.outcome}, {_shown(self.reason)})"

    def __str__(self) -> str:
        how = {
            CancelOutcome.NOT_STARTED: "before it started",
            CancelOutcome.STOPPED: "and has stopped",
            CancelOutcome.FINISHED: "but had already finished",
            CancelOutcome.UNKNOWN: "and may still be running on the other side",
        }[self.outcome]
        why = "" if self.reason is None else f" Reason: {_shown(self.reason)}."
        return f"The call was cancelled {how}.{why}"


class DeadlineExceeded(TelewireError, TimeoutError):
    """The call did not finish within its deadline."""

    def __str__(self) -> str:
        return (
            super().__str__()
            or "The call did not finish before its deadline; give it more time or less work."
        )


class ResourceExhausted(TelewireError):
    """A limit would have been passed; the message names it."""


class NetworkError(TelewireError, ConnectionError):
    """The connection is gone for good."""

    def __str__(self) -> str:
        return super().__str__() or "The connection is lost; connect again."


class GoingAway(NetworkError):
    """The other side goes away, and what was open there could not go on elsewhere; connect again.

    ``retryable`` where it is proved that the call never started. ``reconnect_after`` is how many seconds
    the other side asked to wait with that, and ``elsewhere`` the address that it named, where it did.
    """

    def __init__(
        self, message: str = "", reconnect_after: float | None = None, elsewhere: str | None = None
    ) -> None:
        super().__init__(message or "The other side is going away; connect again.")
        self.reconnect_after = reconnect_after
        self.elsewhere = elsewhere


class SessionLost(NetworkError):
    """The session ended and frames may be missing, those between the two positions where known."""

    def __init__(
        self, first_missing: int | None = None, last_missing: int | None = None, message: str = ""
    ) -> None:
        super().__init__(first_missing, last_missing, message)
        self.first_missing = first_missing
        self.last_missing = last_missing
        self.message = message

    def __str__(self) -> str:
        if self.first_missing is None:
            return self.message or "The session is lost; what was open has ended. Connect again."
        return (
            f"The session is lost: frames {self.first_missing} to {self.last_missing} did not arrive. "
            "What was open has ended; connect again."
        )


class ChannelClosed(TelewireError):
    """The channel is closed; nothing more can be sent on it."""


class ReferenceReleased(TelewireError):
    """The function, or the call it came with, is over; it can no longer be called."""

    retryable = True


class TransportUnsuitable(TelewireError):
    """This transport cannot carry what was asked; ``needed`` names those that can."""

    retryable = True

    def __init__(self, needed: tuple[str, ...] = (), message: str = "") -> None:
        super().__init__(needed, message)
        self.needed = needed
        self.message = message
        # The connection here that could not carry it, where it was this side that refused.
        self.refused_by: object = None

    def __str__(self) -> str:
        what = self.message or "This transport cannot carry the call."
        return f"{what} Use: {', '.join(self.needed)}." if self.needed else what


class ProtocolError(TelewireError):
    """A rule of the protocol was broken; ``code`` names which kind of rule."""

    def __init__(self, message: str = "", code: ErrorCode = ErrorCode.PROTOCOL_ERROR) -> None:
        super().__init__(message)
        self.code = code


class LocalProtocolError(ProtocolError):
    """We were about to break a rule; the command was refused and has changed nothing."""


class RemoteProtocolError(ProtocolError):
    """The peer broke a rule; carried by an event, never raised by an input of the core."""
