"""Failures: error codes and payloads of the wire to exceptions, and back.

Only what telewire itself composes crosses (TW-ERR, hygiene): the value of an Abort, a correlation
id, a sentence about an argument. Nothing of any other exception does.
"""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING, Final

from telewire.errors import (
    Abort,
    CallCancelled,
    CancelOutcome,
    ChannelClosed,
    DeadlineExceeded,
    ErrorCode,
    FunctionNotFound,
    GoingAway,
    InvalidArgument,
    NetworkError,
    ReferenceReleased,
    RemoteError,
    RemoteProtocolError,
    ResourceExhausted,
    SessionLost,
    TelewireError,
    TransportUnsuitable,
)
from telewire.wire.values import decode_value, encode_value

if TYPE_CHECKING:
    from telewire.core.connection import Connection
    from telewire.core.streams import Stream

__all__ = [
    "NULL",
    "LimitPassed",
    "close_reason",
    "failure_of",
    "log_bug",
    "printable",
    "received_error",
    "reject",
]

NULL: Final = b"\xf6"
"""The encoding of None."""

SHOWN: Final = 500
logger = logging.getLogger("telewire.runtime")

OUTCOMES: Final = {
    ErrorCode.NOT_STARTED: CancelOutcome.NOT_STARTED,
    ErrorCode.STOPPED: CancelOutcome.STOPPED,
    ErrorCode.CANCELLED: CancelOutcome.STOPPED,
    ErrorCode.OUTCOME_UNKNOWN: CancelOutcome.UNKNOWN,
}


def printable(text: object) -> str:
    """Text of the other side, fit for a log or a terminal: escaped and cut."""
    shown = str(text)[:SHOWN].encode("unicode_escape").decode("ascii")
    return shown.replace("\\\\", "\\")


def read_value(payload: bytes) -> object:
    """The value in the payload of an error or reason; None where there is none or it does not decode."""
    if not payload:
        return None
    try:
        return decode_value(payload)
    except RemoteProtocolError:
        return None


def received_error(
    code: int, payload: bytes, reason: object = None, connection: object = None
) -> TelewireError:
    """What our user sees for an error of the peer; ``reason`` is why we cancelled, where we did."""
    if code == ErrorCode.ABORTED:
        abort = Abort(read_value(payload))
        abort.received_on = connection
        return abort
    if code in OUTCOMES:
        return CallCancelled(OUTCOMES[ErrorCode(code)], read_value(payload) if reason is None else reason)
    if code == ErrorCode.INTERNAL:
        return RemoteError(printable(read_value(payload)))
    if code == ErrorCode.SESSION_LOST and getattr(connection, "exchange", False):
        return NetworkError("The connection of this HTTP request was lost before its response had ended.")
    if code == ErrorCode.SESSION_LOST:
        missing: tuple[int, int] | None = getattr(connection, "missing", None)
        return SessionLost(*(missing or ()))
    text = read_value(payload)
    if code == ErrorCode.TRANSPORT_UNSUITABLE:
        return _unsuitable(text)
    sentence = printable(text) if isinstance(text, str) else ""
    return _plain_error(code, sentence)


def _unsuitable(needed: object) -> TransportUnsuitable:
    names = (
        tuple(printable(name) for name in needed if isinstance(name, str)) if isinstance(needed, list) else ()
    )
    return TransportUnsuitable(names or ("websocket",), "The answer holds what this transport cannot carry.")


def _plain_error(code: int, sentence: str) -> TelewireError:
    error: TelewireError
    if code == ErrorCode.INVALID_ARGUMENT:
        return InvalidArgument(sentence or "An argument does not fit its annotation.")
    if code == ErrorCode.FUNCTION_NOT_FOUND:
        return FunctionNotFound(sentence or "The other side serves no function of that name.")
    if code == ErrorCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded()
    if code in (ErrorCode.RESOURCE_EXHAUSTED, ErrorCode.MESSAGE_TOO_LARGE):
        error = ResourceExhausted(sentence or "The other side refused: one of its limits would be passed.")
        error.retryable = code == ErrorCode.RESOURCE_EXHAUSTED
        return error
    if code == ErrorCode.REFERENCE_RELEASED:
        return ReferenceReleased("The function, or the call it came with, is over; get it again to call it.")
    if code == ErrorCode.CHANNEL_CLOSED:
        return ChannelClosed("The channel is closed.")
    if code == ErrorCode.GOING_AWAY:
        # Whether the call has ever started its connection knows.
        return GoingAway()
    if code == ErrorCode.UNSUPPORTED:
        return RemoteProtocolError(
            "The call used something the other side does not support.", ErrorCode.UNSUPPORTED
        )
    if code == ErrorCode.MALFORMED_VALUE:
        return RemoteProtocolError("A value could not be decoded.", ErrorCode.MALFORMED_VALUE)
    if code == ErrorCode.HELLO_TIMEOUT:
        return NetworkError("The other side did not answer in time; is a telewire server running there?")
    if code >= ErrorCode.PROTOCOL_ERROR:
        return NetworkError(f"The connection was closed: {name_of(code)}.")
    if code == ErrorCode.NONE:
        return SessionLost(message="The connection was closed.")
    return RemoteProtocolError(f"The call ended with the unknown error code {code}.")


def name_of(code: int) -> str:
    """A code as people read it."""
    try:
        return ErrorCode(code).name.lower().replace("_", " ")
    except ValueError:
        return f"error code {code}"


def close_reason(code: int, payload: bytes, connection: object) -> TelewireError | None:
    """What ``on_close`` gets for the end of a call: None where it ended as ends should."""
    if code == ErrorCode.NONE:
        return None
    return received_error(code, payload, connection=connection)


def log_bug(error: BaseException, what: str) -> str:
    """Log an exception of user code with its traceback; returns the id by which the peer can ask for it."""
    correlation_id = uuid.uuid4().hex
    logger.error("%s failed [%s]", what, correlation_id, exc_info=error)
    return correlation_id


class LimitPassed(ResourceExhausted):
    """What user code gave passes a limit of the peer's; never raised into user code."""


class NoThread(ResourceExhausted):
    """No thread is left for a plain function or a sync iterator; not raised into user code either."""


def reject(connection: Connection, stream: Stream, code: int, payload: bytes) -> None:
    """End a call or a half of ours with an error; one too large to cross says that it is."""
    try:
        connection.reject(stream, code, payload)
    except ResourceExhausted as error:
        connection.reject(stream, ErrorCode.MESSAGE_TOO_LARGE, encode_value(str(error)))


class Refusal(Exception):
    """Code of ours that serves a call refuses it with a code; no user code has failed."""

    def __init__(self, code: ErrorCode, payload: bytes = b"") -> None:
        super().__init__(code)
        self.code = code
        self.payload = payload


def failure_of(error: BaseException, what: str, connection: object) -> tuple[int, bytes]:
    """What crosses for an exception of user code: an Abort whole, of any other its correlation id.

    An Abort that arrived on another connection and was let through is such another (D14). That a limit
    was passed is telewire's own sentence, and crosses.
    """
    if isinstance(error, LimitPassed):
        log_bug(error, what)
        return ErrorCode.MESSAGE_TOO_LARGE, encode_value(str(error))
    if isinstance(error, NoThread):
        return ErrorCode.RESOURCE_EXHAUSTED, encode_value(str(error))
    if isinstance(error, Refusal):
        return error.code, error.payload
    if isinstance(error, TransportUnsuitable) and error.refused_by is connection:
        return ErrorCode.TRANSPORT_UNSUITABLE, encode_value(list(error.needed))
    if isinstance(error, Abort) and error.received_on in (None, connection):
        try:
            return ErrorCode.ABORTED, encode_value(error.value)
        except TypeError as broken:
            error = broken
    return ErrorCode.INTERNAL, encode_value(log_bug(error, what))
