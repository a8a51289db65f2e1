"""Batches between two tasks of one process: for tests, and for a service next to its caller.

What one side sends the other receives in a later pass of the loop, whole and in order, behind a
bounded buffer, as if a network were between. A :class:`MemoryLink` can be that network's bad day:
:meth:`MemoryLink.hold`, :meth:`MemoryLink.release`, :meth:`MemoryLink.cut`, :meth:`MemoryLink.refuse`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, final

from telewire.errors import NetworkError
from telewire.limits import Limits
from telewire.runtime.backend import Backend, current_backend
from telewire.runtime.client import Client
from telewire.runtime.server import Server
from telewire.runtime.service import Service
from telewire.runtime.transport import AcceptTransport, Request, Transport, TransportHandler

__all__ = ["HIGH_WATER", "LOW_WATER", "MemoryLink", "MemoryTransport", "connect", "memory_transports"]

HIGH_WATER: Final = 64 * 1024
"""Bytes waiting one way above which that way is not writable."""
LOW_WATER: Final = 16 * 1024
"""Bytes waiting at which it is writable again."""


def memory_transports(request: Request | None = None) -> tuple[MemoryTransport, MemoryTransport]:
    """Make the client's and the server's transport of one new link; both know ``request``.

    The caller owes :meth:`MemoryTransport.start` to each; until then batches for it wait.
    """
    link = MemoryLink(current_backend(), request)
    return link.client, link.server


def connect(
    # Any: a service of any provider.
    service: Service[Any],
    *,
    headers: Mapping[str, str] | None = None,
    limits: Limits | None = None,
    # Any: a service of any provider.
    client_service: Service[Any] | None = None,
) -> Client:
    """A client of ``service`` in this process: ``async with memory.connect(service) as remote: …``.

    Values go through the codec, validation and flow control as over a network. ``headers`` are what
    the service's provider sees in the request; ``limits`` hold for both sides.
    ``client_service`` is what the other side may call here, as ``context.remote``.
    """

    async def open_transport(accept: AcceptTransport) -> Transport:
        names = {name.lower(): value for name, value in (headers or {}).items()}
        ours, theirs = memory_transports(Request(headers=names, transport="memory"))
        server = Server(current_backend(), service, limits)
        client.serve_by(server)
        theirs.accept(server.accept)
        ours.accept(accept)
        return ours

    client = Client(open_transport, limits=limits, service=client_service)
    return client


@final
class MemoryLink:
    """Two transports, and what lies between them."""

    def __init__(self, backend: Backend, request: Request | None = None) -> None:
        request = request or Request(transport="memory")
        self.backend = backend
        self.held = False
        self.client = MemoryTransport(self, request)
        self.server = MemoryTransport(self, request)
        self.client.other, self.server.other = self.server, self.client

    def hold(self) -> None:
        """Deliver nothing more, either way, until :meth:`release`."""
        self.held = True

    def release(self) -> None:
        """Deliver what was held, and all that follows."""
        self.held = False
        self.client.schedule()
        self.server.schedule()

    def cut(self, error: Exception | None = None) -> None:
        """Lose the link and what is on its way; both sides learn ``error``."""
        error = error or NetworkError("The connection was cut.")
        self.client.lose(error)
        self.server.lose(error)

    def refuse(self, reason: str = "The server refused the connection.") -> None:
        """Lose the link as a server would that does not want it."""
        self.cut(NetworkError(reason))


class _End:
    """Stands behind the last batch of a side that has closed."""


_END: Final = _End()


@final
class MemoryTransport:
    """One side of a :class:`MemoryLink`, a :class:`~telewire.runtime.transport.Transport`."""

    other: MemoryTransport

    def __init__(self, link: MemoryLink, request: Request) -> None:
        self.link = link
        self.request = request
        self.writable = True
        self._handler: TransportHandler | None = None
        self._arriving: deque[bytes | _End] = deque()
        self._waiting = 0
        self._scheduled = False
        self._closing = False
        self._lost = False
        self._error: Exception | None = None

    def start(self, handler: TransportHandler) -> None:
        """Deliver to ``handler`` from the next pass of the loop on."""
        self._handler = handler
        if self._lost:
            self.link.backend.call_soon(self._report)
        self.schedule()

    def accept(self, accept: AcceptTransport) -> None:
        """The same with what a server gives to its adapters."""
        self.start(accept(self))

    # --- Transport -------------------------------------------------------------------------------

    def send(self, batches: Sequence[bytes]) -> None:
        """Queue whole batches for the other side."""
        if self._closing or self._lost or not batches:
            return
        other = self.other
        other._arriving.extend(batches)
        for batch in batches:
            other._waiting += len(batch)
        if other._waiting > HIGH_WATER:
            self.writable = False
        other.schedule()

    def close(self) -> None:
        """Let the other side have what is queued, then end; it answers with its own end."""
        if not self._closing and not self._lost:
            self._closing = True
            self.other._arriving.append(_END)
            self.other.schedule()

    def abort(self) -> None:
        """End at once; what is on its way either way is dropped."""
        self.lose(NetworkError("The connection was aborted on this side."))
        self.other.lose(NetworkError("The other side aborted the connection."))

    # --- the link --------------------------------------------------------------------------------

    def schedule(self) -> None:
        """Deliver in the next pass of the loop, if there is something and nothing forbids it."""
        if self._arriving and not (self._scheduled or self.link.held or self._lost or self._handler is None):
            self._scheduled = True
            self.link.backend.call_soon(self._deliver)

    def lose(self, error: Exception | None) -> None:
        """Report the loss in the next pass of the loop; only the first one counts."""
        if self._lost:
            return
        self._lost = True
        self._error = error
        self._arriving.clear()
        if self._handler is not None:
            self.link.backend.call_soon(self._report)

    def _report(self) -> None:
        assert self._handler is not None
        self._handler.transport_lost(self._error)

    def _deliver(self) -> None:
        self._scheduled = False
        assert self._handler is not None
        # What arrives meanwhile waits for the next pass, so that two eager sides cannot starve the rest.
        for _ in range(len(self._arriving)):
            if self._lost or self.link.held:
                break
            batch = self._arriving.popleft()
            if isinstance(batch, _End):
                self.close()
                self.lose(None)
                break
            self._waiting -= len(batch)
            self._handler.batch_received(batch)
        self.schedule()
        sender = self.other
        if not sender.writable and self._waiting <= LOW_WATER and not sender._lost:
            sender.writable = True
            if sender._handler is not None and not sender._closing:
                sender._handler.transport_writable()
