"""Transport and TransportHandler: the whole contract between an adapter and the driver.

An adapter decides nothing about the protocol. It moves batches, reports loss, blocked and
writable, and says what the request knew. Both sides are plain callbacks on the loop's thread;
neither waits, and an adapter never calls the handler from inside a call of the handler to it.

The order of life is: the adapter makes the :class:`Transport`, hands it to the driver, gets the
handler back, then calls ``batch_received`` for every batch and ``transport_lost`` exactly once, last.
Behind ``violation_received`` it delivers nothing more and goes on sending until it is closed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, final

if TYPE_CHECKING:
    from telewire.errors import RemoteProtocolError

__all__ = [
    "NOBODY",
    "AcceptExchange",
    "AcceptPosts",
    "AcceptTransport",
    "ExchangeMaker",
    "ExchangeTransport",
    "IncomingExchange",
    "OpenTransport",
    "OutgoingExchange",
    "PostHandler",
    "Request",
    "Transport",
    "TransportHandler",
    "TransportName",
]

TransportName: TypeAlias = Literal["memory", "websocket", "http", "sse", "exchange"]


@dataclass(frozen=True, slots=True)
class Request:
    """What the HTTP request of a transport carried.

    ``headers`` has lower-case names, repeated ones joined by ", ". ``peer`` is the address of the
    other side, if there is one. ``native`` is the adapter's own object (an ASGI scope, say).
    """

    path: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    peer: str | None = None
    transport: TransportName = "memory"
    # Any: each adapter has another native request; only who chose the adapter knows its type.
    native: Any = field(default=None, repr=False, compare=False)


class Transport(Protocol):
    """What an adapter offers: one ordered, reliable flow of batches each way."""

    @property
    def request(self) -> Request:
        """The request that opened this transport."""

    @property
    def writable(self) -> bool:
        """False while what waits in the adapter is above its high-water mark.

        After a False, the adapter calls :meth:`TransportHandler.transport_writable` once when
        little is left. Until then the driver sends nothing but what it had already pulled.
        """

    def send(self, batches: Sequence[bytes]) -> None:
        """Queue whole batches, in order; never waits. On a dead link this does nothing."""

    def close(self) -> None:
        """Send what is queued, then close. ``transport_lost`` follows."""

    def abort(self) -> None:
        """Close at once and drop what is queued. ``transport_lost`` follows."""


class ExchangeTransport(Transport, Protocol):
    """One HTTP request and its response (TW-SES-060): each direction has an end of its own."""

    def send_last(self, batches: Sequence[bytes]) -> None:
        """As :meth:`send`, and end this side's body behind them: nothing is sent after this."""

    def pause(self) -> None:
        """Deliver about nothing more until :meth:`resume`; what was read already may still come."""

    def resume(self) -> None:
        """Read again."""


class IncomingExchange(ExchangeTransport, Protocol):
    """The server's side of an exchange."""

    @property
    def promotes(self) -> bool:
        """Whether the response may become the downlink of a session."""

    def promote(self, handler: PostHandler) -> str:
        """Name the response as a downlink (TW-SES-110), once, and talk to ``handler`` from now on: what the
        request still brings is given to ``batch_received``, what is posted to ``batch_posted``.
        """


class OutgoingExchange(ExchangeTransport, Protocol):
    """The client's side of an exchange; not writable until it is connected."""

    def open(self, handler: TransportHandler) -> None:
        """Begin to connect, once; ``handler`` learns in its callbacks what becomes of it."""

    def promote(self, downlink: str, accept: AcceptTransport) -> OpenTransport:
        """End the request, and hand what goes on as a session's transport to ``accept``, once.

        Called from inside ``batch_received``; what follows is for the new transport's handler, and this
        transport does and tells nothing more. Returns what opens the session's next transports.
        """


class ExchangeMaker(Protocol):
    """What an HTTP adapter gives to a client."""

    def make(self) -> OutgoingExchange:
        """Make the transport of one exchange; nothing happens before it is opened."""

    def close(self) -> None:
        """Drop the connections that no exchange uses."""


class TransportHandler(Protocol):
    """What the driver offers to the adapter."""

    def batch_received(self, batch: bytes) -> None:
        """Take one whole batch."""

    def violation_received(self, error: RemoteProtocolError) -> None:
        """Learn that the peer sent what is no batch, or one above ``batch_bytes``, and answer it."""

    def bytes_received(self) -> None:
        """Note a sign of life that is not a whole batch yet: liveness counts any byte."""

    def transport_writable(self) -> None:
        """Go on sending: little is left in the adapter's buffer."""

    def input_ended(self) -> None:
        """Learn, as the server of an exchange, that the request is complete; the response goes on."""

    def transport_lost(self, error: Exception | None) -> None:
        """Learn that the transport is gone: None where it ended in order, else why."""


@final
class Nobody:
    """What a transport tells that is gone: it and its handler would refer to each other for ever."""

    def batch_received(self, batch: bytes) -> None:
        """Nothing comes."""

    def violation_received(self, error: RemoteProtocolError) -> None:
        """Nothing comes."""

    def bytes_received(self) -> None:
        """Nothing comes."""

    def transport_writable(self) -> None:
        """Nothing leaves."""

    def input_ended(self) -> None:
        """It has."""

    def transport_lost(self, error: Exception | None) -> None:
        """That was told."""


NOBODY: Final = Nobody()


class PostHandler(TransportHandler, Protocol):
    """The same to an adapter whose carrier may bring a batch twice or out of order (TW-SES-050)."""

    def batch_posted(self, batch: bytes) -> bool:
        """As :meth:`batch_received`; false where it was refused since one before it is missing."""


AcceptTransport: TypeAlias = Callable[[Transport], TransportHandler]
"""What a server gives to its adapters: called once for each new transport."""

AcceptPosts: TypeAlias = Callable[[Transport], PostHandler]
"""The same for each HTTP session's downlink."""

OpenTransport: TypeAlias = Callable[[AcceptTransport], Awaitable[Transport]]
"""Connects, and gives the transport to what it is called with; raises NetworkError where nobody answers."""

AcceptExchange: TypeAlias = Callable[[IncomingExchange], TransportHandler]
"""The same for each HTTP request."""
