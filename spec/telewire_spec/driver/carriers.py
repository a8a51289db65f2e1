"""The carriers that our machine can be put behind: for each, a client's and a server's adapter, connected."""

from __future__ import annotations

import queue
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar, Final

import anyio

from telewire.errors import RemoteProtocolError
from telewire.limits import Limits
from telewire.runtime.transport import Transport, TransportHandler, TransportName
from telewire_spec.subject import SubjectFailed
from telewire_transports.downlinks import Downlinks
from telewire_transports.http1 import Http1Client, HttpSessions, serve_http1, session_route
from telewire_transports.web_door import WebListener, listen_web, make_door
from telewire_transports.websocket import connect_websocket, serve_websocket

__all__ = ["CARRIERS", "Link"]

PATIENCE: Final = 20.0
ROOMY: Final = Limits(batch_bytes=1 << 24)
"""What the far end accepts: all that a scenario may want to see cross."""
PROOF: Final = b"first"
"""What a session posts before it is handed over, and no scenario sees: it proves the way up."""


class End:
    """A handler that keeps what arrives; a None stands for the loss of the transport."""

    def __init__(self) -> None:
        self.arrived: queue.Queue[bytes | RemoteProtocolError | None] = queue.Queue()
        self.lost = False

    def batch_received(self, batch: bytes) -> None:
        """Keep it."""
        self.arrived.put(batch)

    def batch_posted(self, batch: bytes) -> bool:
        """Keep it; whether it has its place is for the machine to say."""
        self.arrived.put(batch)
        return True

    def violation_received(self, error: RemoteProtocolError) -> None:
        """Keep what was refused in its place."""
        self.arrived.put(error)

    def bytes_received(self) -> None:
        """Only whole batches count here."""

    def transport_writable(self) -> None:
        """What is sent waits for nothing here."""

    def input_ended(self) -> None:
        """A request that is complete says nothing that its batches have not said."""

    def transport_lost(self, error: Exception | None) -> None:
        """Keep that, too."""
        self.arrived.put(None)

    def take(self) -> bytes | RemoteProtocolError | None:
        """The next batch, or what is wrong with it; None where there will be none."""
        if self.lost:
            return None
        try:
            batch = self.arrived.get(timeout=PATIENCE)
        except queue.Empty:
            raise SubjectFailed(f"A batch did not cross the carrier within {PATIENCE:g} seconds.") from None
        self.lost = batch is None
        return batch


class Link(ABC):
    """One transport between a client's and a server's adapter."""

    carries: ClassVar[tuple[str, ...]]
    """Which sorts of cases it can carry."""
    has_signs: ClassVar[bool] = False
    """Whether what has no bytes is a sign of life for its client, and no batch (TW-SES-106)."""

    def __init__(self) -> None:
        self.ends: dict[str, End] = {"client": End(), "server": End()}
        self.transports: dict[str, Transport] = {}

    async def open(self, limits: Limits, role: str) -> None:
        """Listen and connect; the side of ``role`` accepts what ``limits`` say."""
        limits_of = {"client": ROOMY, "server": ROOMY, role: limits}
        await self.connect(limits_of["client"], limits_of["server"])

    @abstractmethod
    async def connect(self, client: Limits, server: Limits) -> None:
        """Connect the two sides, which have these limits."""

    @abstractmethod
    async def aclose(self) -> None:
        """Leave nothing open, once the transports have ended."""

    def accept_client(self, transport: Transport) -> TransportHandler:
        """Take the client's transport."""
        self.transports["client"] = transport
        return self.ends["client"]

    def accept_server(self, transport: Transport) -> End:
        """Take the server's transport."""
        self.transports["server"] = transport
        return self.ends["server"]


class WebSocketLink(Link):
    """A WebSocket."""

    carries = ("connection",)

    async def connect(self, client: Limits, server: Limits) -> None:
        """Connect, and listen no more."""
        listener = await serve_websocket(self.accept_server, port=0, limits=server)
        await connect_websocket(f"ws://127.0.0.1:{listener.port}/telewire", self.accept_client, limits=client)
        await listener.aclose()

    async def aclose(self) -> None:
        """Nobody listens any more."""


class HttpLink(Link):
    """A carrier of HTTP, which needs its listener as long as it lives."""

    maker: Http1Client
    listener: WebListener

    def reach(self, listener: WebListener, limits: Limits) -> Http1Client:
        """Make the client of a listener."""
        self.listener = listener
        self.maker = Http1Client(f"http://127.0.0.1:{listener.port}/telewire", limits=limits)
        return self.maker

    async def aclose(self) -> None:
        """Drop what no request uses, and listen no more."""
        self.maker.close()
        await self.listener.aclose()


class SessionLink(HttpLink):
    """The ways of an HTTP session: a response that streams, or is of events, and POSTs beside it."""

    carries = ("connection", "places")
    has_signs = True

    def __init__(self, kind: TransportName) -> None:
        super().__init__()
        self.kind: TransportName = kind

    async def connect(self, client: Limits, server: Limits) -> None:
        """Open a downlink, and prove the way up."""
        door = make_door("127.0.0.1", "/telewire", server, (), ())
        door.routes[b"POST"] = session_route(self.accept_server, door, Downlinks(lambda request: None))
        listener = await listen_web(door, host="127.0.0.1", port=0, ssl_context=None)
        await HttpSessions(self.reach(listener, client), self.kind)(self.accept_client)
        assert self.ends["server"].take() == PROOF

    def accept_client(self, transport: Transport) -> TransportHandler:
        """Take it, and post something."""
        transport.send([PROOF])
        return super().accept_client(transport)


class ConnectingEnd(End):
    """The client's end of an exchange, which is connected once it may write."""

    def __init__(self) -> None:
        super().__init__()
        self.connected = anyio.Event()

    def transport_writable(self) -> None:
        """Note it."""
        self.connected.set()


class AnsweringEnd(End):
    """The server's end of an exchange, which ends its response where the client has ended the request."""

    transport: Transport

    def input_ended(self) -> None:
        """End the response: here, a client ends its request to close."""
        self.transport.close()


class ExchangeLink(HttpLink):
    """One request and its response; the server hears of it with the first that the client says."""

    carries = ("exchange",)

    async def connect(self, client: Limits, server: Limits) -> None:
        """Listen, and begin a request."""
        self.ends["client"] = end = ConnectingEnd()
        self.ends["server"] = AnsweringEnd()
        listener = await serve_http1(self.accept_server, port=0, limits=server)
        exchange = self.reach(listener, client).make()
        exchange.open(self.accept_client(exchange))
        with anyio.fail_after(PATIENCE):
            await end.connected.wait()

    def accept_server(self, transport: Transport) -> End:
        """Take it, and answer on it."""
        end = super().accept_server(transport)
        assert isinstance(end, AnsweringEnd)
        end.transport = transport
        return end


CARRIERS: Final[Mapping[str, Callable[[], Link]]] = {
    "websocket": WebSocketLink,
    "HTTP session": partial(SessionLink, "http"),
    "SSE and POST": partial(SessionLink, "sse"),
    "exchange": ExchangeLink,
}
"""What the report calls them."""
