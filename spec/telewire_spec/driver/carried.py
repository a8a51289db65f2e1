"""The state machine behind our WebSocket adapters: each batch crosses a socket between the two of them."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from anyio.from_thread import BlockingPortal, start_blocking_portal

from telewire.errors import RemoteProtocolError
from telewire.limits import Limits
from telewire.runtime.transport import Transport, TransportHandler
from telewire_spec.driver.application import Application
from telewire_spec.subject import Reaction, SubjectFailed, Unsupported
from telewire_transports.websocket import WebSocketListener, connect_websocket, serve_websocket

__all__ = ["CarriedApplication"]

PATIENCE: Final = 20.0
ROOMY: Final = Limits(batch_bytes=1 << 24)
"""What the far end accepts: all that a scenario may want to see cross."""


class End:
    """A handler that keeps what arrives; a None stands for the loss of the transport."""

    def __init__(self) -> None:
        self.arrived: queue.Queue[bytes | RemoteProtocolError | None] = queue.Queue()
        self.lost = False

    def batch_received(self, batch: bytes) -> None:
        """Keep it."""
        self.arrived.put(batch)

    def violation_received(self, error: RemoteProtocolError) -> None:
        """Keep what was refused in its place."""
        self.arrived.put(error)

    def bytes_received(self) -> None:
        """Only whole batches count here."""

    def transport_writable(self) -> None:
        """What is sent waits for nothing here."""

    def input_ended(self) -> None:
        """Only exchanges have that."""

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
            raise SubjectFailed(f"A batch did not cross the WebSocket within {PATIENCE:g} seconds.") from None
        self.lost = batch is None
        return batch


class Link:
    """One WebSocket between a client's and a server's adapter."""

    def __init__(self) -> None:
        self.ends = {"client": End(), "server": End()}
        self.transports: dict[str, Transport] = {}

    async def open(self, limits: Limits, role: str) -> None:
        """Listen, connect, and listen no more."""
        accepted = queue.SimpleQueue[Transport]()

        def accept_server(transport: Transport) -> TransportHandler:
            accepted.put(transport)
            return self.ends["server"]

        def accept_client(transport: Transport) -> TransportHandler:
            return self.ends["client"]

        of = {"client": ROOMY, "server": ROOMY, role: limits}
        listener: WebSocketListener = await serve_websocket(accept_server, port=0, limits=of["server"])
        url = f"ws://127.0.0.1:{listener.port}/telewire"
        self.transports["client"] = await connect_websocket(url, accept_client, limits=of["client"])
        self.transports["server"] = accepted.get()
        await listener.aclose()


class CarriedApplication(Application):
    """As :class:`Application`, over WebSocket."""

    carrier = "websocket"

    def __init__(self, portal: BlockingPortal) -> None:
        super().__init__()
        self.portal = portal
        self.link: Link | None = None

    # Any: the fields of the request ``start``.
    def start(self, **options: Any) -> Reaction:
        """Begin over a WebSocket of its own."""
        if options.get("exchange"):
            raise Unsupported("An exchange is no WebSocket.")
        if options.get("places"):
            raise Unsupported("A WebSocket neither repeats nor reorders.")
        self._drop()
        self._connect(options["role"], Limits(**options.get("limits", {})))
        return self._across(super().start(**options))

    def receive(self, batch: bytes) -> Reaction:
        """Let a batch cross, and take what has come."""
        link, far = self._far()
        if link.ends[self.role].lost:
            return Reaction(closed=True)
        self.portal.call(link.transports[far].send, [batch])
        arrived = link.ends[self.role].take()
        if arrived is None:
            return self._across(super().cut())
        if isinstance(arrived, RemoteProtocolError):
            return self._across(self.refuse(arrived))
        return self._across(super().receive(arrived))

    def advance(self, seconds: float) -> Reaction:
        """Time passes for the machine alone."""
        return self._across(super().advance(seconds))

    def do(self, commands: Sequence[Any]) -> Reaction:
        """What it causes crosses as well."""
        return self._across(super().do(commands))

    def cut(self) -> Reaction:
        """Break the socket off at the far end."""
        self._drop()
        return super().cut()

    def attach(self) -> Reaction:
        """Connect again."""
        self._connect(self.role, self.limits)
        return self._across(super().attach())

    def close(self) -> None:
        """Break off what is open."""
        self._drop()

    # --- inside ----------------------------------------------------------------------------------

    def _connect(self, role: str, limits: Limits) -> None:
        self._drop()
        self.link = Link()
        self.portal.call(partial(self.link.open, limits, role))

    def _drop(self) -> None:
        link, self.link = self.link, None
        if link is not None:
            for name, transport in link.transports.items():
                self.portal.call(transport.abort)
                while link.ends[name].take() is not None:
                    pass

    def _far(self) -> tuple[Link, str]:
        assert self.link is not None, "a transport is there while batches are received"
        return self.link, "server" if self.role == "client" else "client"

    def _across(self, reaction: Reaction) -> Reaction:
        """Let what leaves cross, and tell what has arrived."""
        if self.link is None:
            return reaction
        link, far = self._far()
        sent = []
        if reaction.sent and not link.ends[self.role].lost:
            self.portal.call(link.transports[self.role].send, reaction.sent)
            for _ in reaction.sent:
                arrived = link.ends[far].take()
                if isinstance(arrived, bytes):
                    sent.append(arrived)
        if reaction.closed and not link.ends[self.role].lost:
            self.portal.call(link.transports[self.role].close)
            while link.ends[self.role].take() is not None:
                pass
        return Reaction(sent, reaction.events, reaction.closed)


def open_portal() -> Any:  # Any: a context manager of anyio's, whose type has no name.
    """A loop in a thread of its own; the caller owes leaving it."""
    return start_blocking_portal("asyncio")
