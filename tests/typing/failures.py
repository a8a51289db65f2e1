"""Every error with its attributes, and the errors of Python that stand for them."""

from __future__ import annotations

from typing import Any, assert_never, assert_type

import telewire
from telewire import (
    Abort,
    CallCancelled,
    CancelOutcome,
    ChannelClosed,
    DeadlineExceeded,
    ErrorCode,
    FunctionNotFound,
    GoingAway,
    InvalidArgument,
    LocalProtocolError,
    NetworkError,
    ProtocolError,
    ReferenceReleased,
    Remote,
    RemoteError,
    RemoteProtocolError,
    ResourceExhausted,
    SessionLost,
    TelewireError,
    TransportUnsuitable,
)


async def call(remote: Remote) -> None:
    try:
        await remote.add(1, 2)
    except Abort as error:
        assert_type(error.value, Any)
    except RemoteError as error:
        assert_type(error.correlation_id, str)
    except CallCancelled as error:
        assert_type(error.reason, Any)
        print(said(error.outcome))
    except SessionLost as error:
        assert_type(error.first_missing, int | None)
        assert_type(error.last_missing, int | None)
    except GoingAway as error:
        assert_type(error.reconnect_after, float | None)
        assert_type(error.elsewhere, str | None)
    except TransportUnsuitable as error:
        assert_type(error.needed, tuple[str, ...])
    except (LocalProtocolError, RemoteProtocolError) as error:
        assert_type(error.code, ErrorCode)
    except TelewireError as error:
        assert_type(error.retryable, bool)


def said(outcome: CancelOutcome) -> str:
    if outcome is CancelOutcome.NOT_STARTED:
        return "never began"
    if outcome is CancelOutcome.STOPPED:
        return "stopped on the way"
    if outcome is CancelOutcome.FINISHED:
        return "too late"
    if outcome is CancelOutcome.UNKNOWN:
        return "nobody knows"
    assert_never(outcome)


value_error: type[ValueError] = InvalidArgument
lookup_error: type[LookupError] = FunctionNotFound
timeout_error: type[TimeoutError] = DeadlineExceeded
connection_error: type[ConnectionError] = NetworkError
network_error: type[NetworkError] = SessionLost
going_away: type[NetworkError] = GoingAway
protocol_error: type[ProtocolError] = RemoteProtocolError
others: list[type[TelewireError]] = [ChannelClosed, ReferenceReleased, ResourceExhausted, telewire.Abort]

Abort()
Abort({"status": 403})
RemoteError("5f0c").correlation_id

RemoteError()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
CallCancelled("stopped")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
not_a_value_error: type[ValueError] = Abort  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
telewire.Abbort  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
