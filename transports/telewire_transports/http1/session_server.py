"""ServerDownlink and ServerPost: an HTTP session on the server's side (TW-SES-100 to 103)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import h11

from telewire.errors import NetworkError, RemoteProtocolError
from telewire.runtime.admission import address_of
from telewire.runtime.backend import Timer, current_backend
from telewire.runtime.transport import AcceptPosts, PostHandler, Request, TransportName
from telewire_transports.downlinks import Downlink, Downlinks, opens
from telewire_transports.http1.body import (
    CONTENT_TYPE,
    HEAD_BYTES,
    BodyReader,
    BodyWriter,
    Headers,
    write_batches,
)
from telewire_transports.http1.events import COMMENT, EVENTS_TYPE, NO_BATCH, write_events
from telewire_transports.sockets import ByteLink
from telewire_transports.text import printable
from telewire_transports.web_door import Door, Refusal, Route

__all__ = ["ServerDownlink", "ServerPost", "downlink_headers", "session_route"]


def downlink_headers(kind: TransportName, header: str) -> Headers:
    """What the response of a downlink says; nobody on the way keeps, changes or holds back what follows."""
    return [
        (b"Content-Type", EVENTS_TYPE if kind == "sse" else CONTENT_TYPE),
        (b"Cache-Control", b"no-store, no-transform"),
        (b"X-Accel-Buffering", b"no"),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"Telewire-Session", header.encode()),
    ]


def session_route(accept: AcceptPosts, door: Door, downlinks: Downlinks) -> Route:
    """What a door does with the requests of a session: open a downlink, or take what is posted to one."""

    def route(
        link: ByteLink,
        http: h11.Connection,
        request: h11.Request,
        headers: Mapping[str, str],
        rest: bytes,
        peer: str | None,
    ) -> None:
        kind = opens(headers)
        path = request.target.decode("ascii").partition("?")[0]
        found = Request(path=path, headers=headers, peer=peer, transport=kind or "http")
        if kind is None:
            ServerPost(link, http, downlinks.find(found), door).start(rest)
        elif not isinstance(http.next_event(), h11.EndOfMessage):
            raise Refusal(400, "A request that opens a session has no body; send Content-Length: 0.")
        else:
            ServerDownlink(link, http, found, door).start(accept, downlinks)

    return route


@final
class ServerDownlink:
    """A ``Transport``: the response goes down on this link, and POSTs bring what comes up."""

    handler: PostHandler
    _header: str

    def __init__(self, link: ByteLink, http: h11.Connection, request: Request, door: Door) -> None:
        self.request = request
        self._link = link
        self._http = http
        self._door = door
        self._downlinks: Downlinks | None = None
        self._writer: BodyWriter
        self._error: Exception | None = None
        self._timer: Timer | None = None
        self._spoke = True
        self._ahead = 0
        self._over = False

    def start(self, accept: AcceptPosts, downlinks: Downlinks) -> None:
        """Hand the transport over, and let the head of the response leave at once."""
        self._link.handler = self
        self._downlinks = downlinks
        self._header = downlinks.add(self)
        self._door.admission.posts(address_of(self.request.peer), 1)
        events = self.request.transport == "sse"
        self._writer = BodyWriter(self._http, self._head, write_events if events else write_batches)
        self.handler = accept(self)
        self._sign = COMMENT if events else NO_BATCH
        self._writer.write(self._link, COMMENT if events else b"")
        self._tick()

    def _head(self, framing: Headers) -> h11.Response:
        # h11 says itself that it sends chunks, and knows who cannot read them.
        chosen = [pair for pair in framing if pair[0] != b"transfer-encoding"]
        headers = [*downlink_headers(self.request.transport, self._header), *chosen]
        return h11.Response(status_code=200, headers=headers, reason=b"OK")

    def _tick(self) -> None:
        """Say something where nothing was said for a while (TW-SES-106)."""
        if not self._spoke and self._link.writable and not self._writer.ended:
            self._writer.write(self._link, self._sign)
        self._spoke = False
        backend = current_backend()
        self._timer = backend.call_at(backend.now() + self._door.limits.idle_seconds, self._tick)

    # --- Downlink --------------------------------------------------------------------------------

    def post(self, batch: bytes) -> bool:
        """Take a batch that was posted."""
        if self._over:
            raise Refusal(410, "The response of this session has just ended.")
        return self.handler.batch_posted(batch)

    def refuse(self, error: RemoteProtocolError) -> None:
        """Let the machine answer what was posted and is no batch."""
        if not self._over:
            self.handler.violation_received(error)

    def heard(self) -> None:
        """Note bytes of a POST."""
        if not self._over:
            self.handler.bytes_received()

    def leave(self) -> None:
        """The client has said farewell."""
        self.close()

    # --- Transport -------------------------------------------------------------------------------

    @property
    def writable(self) -> bool:
        """False while more than 64 KiB wait in the link."""
        return self._link.writable

    def send(self, batches: Sequence[bytes]) -> None:
        """Queue whole batches as one chunk."""
        if not self._over and not self._writer.ended:
            self._spoke = True
            self._writer.send(self._link, batches)

    def close(self) -> None:
        """Send what is queued, and end the response; what is posted meanwhile is taken."""
        if not self._over and not self._writer.ended:
            self._writer.send_last(self._link, ())
            self._link.close(within=self._door.limits.cleanup_seconds, drain=True)

    def abort(self) -> None:
        """Drop the link."""
        if self._error is None:
            self._error = NetworkError("The response was broken off on this side.")
            self._end()
            self._link.abort()

    def _end(self) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        if self._downlinks is not None:
            self._downlinks.forget(self._header)
            self._downlinks = None
            self._door.admission.posts(address_of(self.request.peer), -1)

    # --- ByteHandler -----------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Another request on this link waits for ever: it is not collected without bound."""
        self._ahead += len(data)
        if self._ahead > HEAD_BYTES:
            self._link.abort()

    def link_writable(self) -> None:
        """Pass on that there is room."""
        if not self._over and not self._writer.ended:
            self.handler.transport_writable()

    def link_lost(self, error: Exception | None) -> None:
        """Report the end: in order only where the response had ended."""
        if self._error is None and not self._writer.ended:
            why = f": {error}." if error is not None and str(error) else "."
            self._error = NetworkError(f"The client closed the response of its session{why}")
            self._error.__cause__ = error
        self._end()
        self.handler.transport_lost(self._error)


@final
class ServerPost:
    """Handles the link of one POST, until it is answered."""

    def __init__(self, link: ByteLink, http: h11.Connection, downlink: Downlink, door: Door) -> None:
        self._link = link
        self._http = http
        self._downlink = downlink
        self._door = door
        self._reader = BodyReader(door.limits.of_exchanges())
        self._empty = True
        self._done = False
        self._timer: Timer | None = None

    def start(self, rest: bytes) -> None:
        """Take the link, and what has come of the body."""
        self._link.handler = self
        if self._http.they_are_waiting_for_100_continue:
            interim = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            self._link.write(self._http.send(interim) or b"")
        self.data_received(rest)

    def data_received(self, data: bytes) -> None:
        """Hand on each batch as it is complete; then answer."""
        if self._done:
            return
        self._wait()
        try:
            if data:
                self._http.receive_data(data)
            self._take()
        except h11.RemoteProtocolError as error:
            self._refuse(Refusal(400, f"The body of the request is broken: {printable(str(error))}."))
        except Refusal as refusal:
            self._refuse(refusal)

    def _take(self) -> None:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Data):
                self._empty = False
                batches, error = self._reader.cut(bytes(event.data))
                self._downlink.heard()
                if not all([self._downlink.post(batch) for batch in batches]):
                    raise Refusal(409, "What was posted before this has not arrived; resume the session.")
                if error is not None:
                    self._downlink.refuse(error)
                    raise Refusal(400, str(error))
            elif isinstance(event, h11.EndOfMessage):
                error = self._reader.end()
                if error is not None:
                    raise Refusal(400, str(error))
                if self._empty:
                    self._downlink.leave()
                self._answer()
                return
            else:
                return

    def _wait(self) -> None:
        """A body that goes on is waited for as long as a peer that is silent is."""
        if self._timer is not None:
            self._timer.cancel()
        backend = current_backend()
        self._timer = backend.call_at(backend.now() + self._door.limits.dead_seconds, self._link.abort)

    def _finish(self) -> None:
        self._done = True
        if self._timer is not None:
            self._timer.cancel()

    def _answer(self) -> None:
        """All was handed on: the link may serve another request."""
        self._finish()
        headers = [(b"Cache-Control", b"no-store")]
        response = h11.Response(status_code=204, headers=headers, reason=b"No Content")
        pieces = self._http.send(response) or b""
        self._link.write(pieces + (self._http.send(h11.EndOfMessage()) or b""))
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE and not self._door.closed:
            self._http.start_next_cycle()
            self._link.handler = self._door.read_request(self._link, self._http)
        else:
            self._link.close(within=self._door.limits.cleanup_seconds)

    def _refuse(self, refusal: Refusal) -> None:
        self._finish()
        self._link.write(bytes(refusal))
        self._link.close(within=self._door.limits.cleanup_seconds, drain=True)

    def link_writable(self) -> None:
        """Nothing waits for room."""

    def link_lost(self, error: Exception | None) -> None:
        """The client has given this POST up, and sends it again."""
        self._finish()
