"""The public names of telewire, each loaded from its own module when it is first used.

So ``from telewire import Connection`` loads the state machine and no event loop, and a program that
only calls functions never pays for what it does not use. Errors and limits, which everything else
imports, are here at once.
"""

from __future__ import annotations

from importlib import import_module
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
    LocalProtocolError,
    NetworkError,
    ProtocolError,
    ReferenceReleased,
    RemoteError,
    RemoteProtocolError,
    ResourceExhausted,
    SessionLost,
    TelewireError,
    TransportUnsuitable,
)
from telewire.limits import Limits, ServerLimits

if TYPE_CHECKING:
    from telewire.core.acceptor import Acceptor
    from telewire.core.connection import Connection
    from telewire.runtime.byte_stream import ByteStream
    from telewire.runtime.call import Call
    from telewire.runtime.channel import Channel
    from telewire.runtime.client import Client
    from telewire.runtime.closing import aclose
    from telewire.runtime.context import Context, get_context
    from telewire.runtime.from_thread import wait
    from telewire.runtime.function import RemoteFunction
    from telewire.runtime.iterator import RemoteIterator
    from telewire.runtime.producer import Return
    from telewire.runtime.promise import RemotePromise
    from telewire.runtime.remote import Remote, with_options
    from telewire.runtime.service import Service
    from telewire.runtime.stubs import callback, stub
    from telewire.runtime.transport import Request

__version__ = "0.1.0.dev0"

__all__ = [
    "Abort",
    "Acceptor",
    "ByteStream",
    "Call",
    "CallCancelled",
    "CancelOutcome",
    "Channel",
    "ChannelClosed",
    "Client",
    "Connection",
    "Context",
    "DeadlineExceeded",
    "ErrorCode",
    "FunctionNotFound",
    "GoingAway",
    "InvalidArgument",
    "Limits",
    "LocalProtocolError",
    "NetworkError",
    "ProtocolError",
    "ReferenceReleased",
    "Remote",
    "RemoteError",
    "RemoteFunction",
    "RemoteIterator",
    "RemotePromise",
    "RemoteProtocolError",
    "Request",
    "ResourceExhausted",
    "Return",
    "ServerLimits",
    "Service",
    "SessionLost",
    "TelewireError",
    "TransportUnsuitable",
    "aclose",
    "callback",
    "get_context",
    "stub",
    "wait",
    "with_options",
]

# Name → module. The same names stand under TYPE_CHECKING above; a test compares the two.
_LAZY: Final = {
    "Acceptor": "telewire.core.acceptor",
    "ByteStream": "telewire.runtime.byte_stream",
    "Call": "telewire.runtime.call",
    "Channel": "telewire.runtime.channel",
    "Client": "telewire.runtime.client",
    "Connection": "telewire.core.connection",
    "Context": "telewire.runtime.context",
    "Remote": "telewire.runtime.remote",
    "RemoteFunction": "telewire.runtime.function",
    "RemoteIterator": "telewire.runtime.iterator",
    "RemotePromise": "telewire.runtime.promise",
    "Request": "telewire.runtime.transport",
    "Return": "telewire.runtime.producer",
    "Service": "telewire.runtime.service",
    "aclose": "telewire.runtime.closing",
    "callback": "telewire.runtime.stubs",
    "get_context": "telewire.runtime.context",
    "stub": "telewire.runtime.stubs",
    "wait": "telewire.runtime.from_thread",
    "with_options": "telewire.runtime.remote",
}


def _load(name: str) -> object:
    """Load a public name from its module, once; afterwards it is an ordinary attribute."""
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(module), name)
    globals()[name] = value
    return value


# Hidden from type checkers, which know all names from above: with it, no misspelt one would be an error.
if not TYPE_CHECKING:
    __getattr__ = _load


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*globals(), *__all__})
