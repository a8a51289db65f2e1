"""ServerExchange: one POST and its streamed response, from the judged head to the last byte of both."""

from __future__ import annotations

import ssl
from collections.abc import Collection, Mapping, Sequence
from typing import Final, final

import h11

from telewire.errors import NetworkError, RemoteProtocolError
from telewire.limits import Limits
from telewire.runtime.admission import address_of
from telewire.runtime.backend import Timer, current_backend
from telewire.runtime.transport import NOBODY, AcceptExchange, PostHandler, Request, TransportHandler
from telewire_transports.downlinks import Downlinks, Registered
from telewire_transports.http1.body import CONTENT_TYPE, HEAD_BYTES, BodyReader, BodyWriter, Headers
from telewire_transports.http1.events import NO_BATCH
from telewire_transports.sockets import ByteLink
from telewire_transports.text import printable
from telewire_transports.web_door import (
    SESSION_HEADER,
    Door,
    Refusal,
    Route,
    WebListener,
    listen_web,
    make_door,
)

__all__ = ["RESPONSE_HEADERS", "ServerExchange", "check_exchange", "exchange_route", "serve_http1"]

# TW-SES-090: nobody on the way keeps it, changes it or holds it back.
RESPONSE_HEADERS: Final[Headers] = [
    (b"Content-Type", CONTENT_TYPE),
    (b"Cache-Control", b"no-store, no-transform"),
    (b"X-Accel-Buffering", b"no"),
    (b"X-Content-Type-Options", b"nosniff"),
]


async def serve_http1(
    accept: AcceptExchange,
    *,
    host: str | None = "127.0.0.1",
    port: int = 8000,
    path: str = "/telewire",
    ssl_context: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    origins: Collection[str] = (),
    hosts: Collection[str] = (),
) -> WebListener:
    """Accept exchanges at ``path`` and hand each to ``accept``; the caller owes ``aclose``.

    ``port`` 0 takes a free one, told by the listener. ``origins`` and ``hosts`` widen who may call
    (:class:`WebRules`). The head of a request may take ``limits.hello_seconds`` (TW-SES-092).

    Raises:
        OSError: the address cannot be bound.
        ValueError: ``path`` does not begin with a slash.
    """
    door = make_door(host, path, limits, origins, hosts)
    door.routes[b"POST"] = exchange_route(accept, door)
    return await listen_web(door, host=host, port=port, ssl_context=ssl_context)


def exchange_route(
    accept: AcceptExchange, door: Door, session: Route | None = None, downlinks: Downlinks | None = None
) -> Route:
    """What a door does with POST: begin an exchange (TW-SES-091); ``session`` takes those of sessions.

    Only with ``downlinks``, of these, an exchange can be promoted.
    """

    def route(
        link: ByteLink,
        http: h11.Connection,
        request: h11.Request,
        headers: Mapping[str, str],
        rest: bytes,
        peer: str | None,
    ) -> None:
        check_exchange(headers)
        if SESSION_HEADER in headers:
            if session is None:
                raise Refusal(501, "This address has no sessions over HTTP, only exchanges.")
            session(link, http, request, headers, rest, peer)
            return
        target = request.target.decode("ascii")
        found = Request(path=target.partition("?")[0], headers=headers, peer=peer, transport="http")
        ServerExchange(link, http, found, door, downlinks).start(accept, rest)

    return route


def check_exchange(headers: Mapping[str, str]) -> None:
    """See that a POST is an exchange.

    Raises:
        Refusal: it is not.
    """
    content_type = headers.get("content-type", "")
    if content_type.lower() != CONTENT_TYPE.decode():
        raise Refusal(
            415,
            f"The content type {printable(content_type)!r} is not application/telewire.",
            (b"Accept-Post", CONTENT_TYPE),
        )
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(415, "The body of an exchange is not encoded; leave out Content-Encoding.")
    if "transfer-encoding" in headers and "content-length" in headers:
        # Whoever stands before us may have believed the other one, and takes the rest for another request.
        raise Refusal(400, "A request has a Transfer-Encoding or a Content-Length, not both.")
    expectation = headers.get("expect", "100-continue")
    if expectation.lower() != "100-continue":
        raise Refusal(417, f"The expectation {printable(expectation)!r} cannot be met.")


def _head(framing: Headers) -> h11.Response:
    # h11 says itself that it sends chunks, and knows who cannot read them.
    chosen = [pair for pair in framing if pair[0] != b"transfer-encoding"]
    return h11.Response(status_code=200, headers=[*RESPONSE_HEADERS, *chosen], reason=b"OK")


@final
class ServerExchange:
    """An :class:`ExchangeTransport` that is also the handler of its link until both bodies have ended."""

    handler: TransportHandler

    def __init__(
        self,
        link: ByteLink,
        http: h11.Connection,
        request: Request,
        door: Door,
        downlinks: Downlinks | None = None,
    ) -> None:
        self.request = request
        self._downlinks = downlinks
        # Once it is promoted.
        self._promoted: Registered | None = None
        self._link = link
        self._http = http
        self._door = door
        self._reader = BodyReader(door.limits.of_exchanges())
        self._writer = BodyWriter(http, _head)
        self._grace = door.limits.cleanup_seconds
        self._error: Exception | None = None
        self._timer: Timer | None = None
        # The request is complete; both sides are, and the link is somebody else's or closing.
        self._complete = False
        self._over = False
        # The body was no batches, and the machine answers that.
        self._refused = False
        self._ahead = 0

    def start(self, accept: AcceptExchange, rest: bytes) -> None:
        """Hand the transport over, then what has come of the body."""
        self._link.handler = self
        if self._http.they_are_waiting_for_100_continue:
            interim = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            self._link.write(self._http.send(interim) or b"")
        self.handler = accept(self)
        self.data_received(rest)

    # --- ExchangeTransport -----------------------------------------------------------------------

    @property
    def writable(self) -> bool:
        """False while more than 64 KiB wait in the link."""
        return self._link.writable

    def send(self, batches: Sequence[bytes]) -> None:
        """Queue whole batches as one chunk."""
        if self._error is None and not self._over:
            if self._promoted is not None:
                self._promoted.spoke = True
            self._writer.send(self._link, batches)

    def send_last(self, batches: Sequence[bytes]) -> None:
        """Queue whole batches, and the end of the response."""
        if self._error is not None or self._over or self._writer.ended:
            return
        self._writer.send_last(self._link, batches)
        if self._complete:
            self._finish()
        elif self._door.closed or self._refused:
            self._close_unread()
        else:
            # What is still coming nobody wants. Mostly it is only the end, and the link serves on.
            self._door.links.add(self._link)
            self._link.resume_reading()
            backend = current_backend()
            self._timer = backend.call_at(backend.now() + self._grace, self._close_unread)

    def pause(self) -> None:
        """Read nothing more of the request."""
        if not self._over and not self._writer.ended:
            self._link.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if not self._over:
            self._link.resume_reading()

    def close(self) -> None:
        """Send what is queued and end the response."""
        self.send_last(())

    def abort(self) -> None:
        """Drop the link."""
        if self._error is None and not self._over:
            self._error = NetworkError("The response was broken off on this side.")
            self._unregister()
            self._link.abort()

    def _close_unread(self) -> None:
        """Close while the client may still send, which must not take back what it has not read yet."""
        self._over = True
        self._link.close(within=self._grace, drain=True)

    def _finish(self) -> None:
        """Both bodies have ended: the link may serve another request."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE and not self._door.closed:
            self._http.start_next_cycle()
            self._link.resume_reading()
            self._link.handler = self._door.read_request(self._link, self._http)
            backend = current_backend()
            backend.call_soon(lambda: self._tell_lost(None))
        else:
            self._link.close(within=self._grace)

    # --- IncomingExchange ------------------------------------------------------------------------

    @property
    def promotes(self) -> bool:
        """Whether POSTs can be taken for it."""
        return self._downlinks is not None

    def promote(self, handler: PostHandler) -> str:
        """Name the response as a downlink, and let something leave on it every now and then."""
        assert self._downlinks is not None, "it promotes"
        self.handler = handler
        self._promoted = Registered(
            self.request, handler, self._downlinks, self._door.limits.idle_seconds, self._tick, self.close
        )
        self._door.admission.posts(address_of(self.request.peer), 1)
        return self._promoted.header

    def _tick(self) -> None:
        if self._link.writable and not self._writer.ended and not self._over and self._error is None:
            self._writer.write(self._link, NO_BATCH)

    # --- ByteHandler -----------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take a part of the request; behind its end, only wait for the end of the connection."""
        if self._complete or self._error is not None or self._over or self._refused:
            self._ahead += len(data)
            if self._ahead > HEAD_BYTES and not self._over:
                # Requests sent ahead are not collected without bound.
                self._link.pause_reading()
            if self._complete and data and not self._over:
                self._http.receive_data(data)
            return
        try:
            if data:
                self._http.receive_data(data)
            self._take()
        except h11.RemoteProtocolError as error:
            self._fail(RemoteProtocolError(f"The body of the request is broken: {printable(str(error))}."))

    def _take(self) -> None:
        heard = False
        while not self._over and self._error is None and not self._refused:
            event = self._http.next_event()
            if isinstance(event, h11.Data):
                if self._writer.ended:
                    continue
                batches, error = self._reader.cut(bytes(event.data))
                heard = heard or bool(batches)
                if not self._deliver(batches):
                    return
                if error is not None:
                    self._refuse(error)
            elif isinstance(event, h11.EndOfMessage) and self._writer.ended:
                self._finish()
            elif isinstance(event, h11.EndOfMessage):
                error = self._reader.end()
                if error is not None:
                    self._fail(error)
                    return
                self._complete = True
                self.handler.input_ended()
                return
            else:
                if not heard and not self._writer.ended:
                    self.handler.bytes_received()
                return

    def _deliver(self, batches: list[bytes]) -> bool:
        """Hand out batches, as long as they are wanted."""
        for batch in batches:
            self.handler.batch_received(batch)
            if self._over or self._error is not None:
                return False
        return True

    def _refuse(self, error: RemoteProtocolError) -> None:
        """Let the machine say what is no batch, where it speaks already (TW-FRM-004)."""
        if not self._writer.begun:
            self._fail(error)
            return
        self._refused = True
        backend = current_backend()
        self._timer = backend.call_at(backend.now() + self._grace, lambda: self._fail(error))
        self.handler.violation_received(error)

    def _fail(self, error: RemoteProtocolError) -> None:
        """End an exchange whose request cannot be read: say so where nothing was said yet, or break off."""
        if self._writer.ended:
            self._close_unread()
            return
        # Without the frames it came through, which refer to us.
        self._error = error.with_traceback(None)
        if not self._writer.begun:
            self._link.write(bytes(Refusal(400, str(error))))
        self._link.close(within=self._grace, drain=True)

    def link_writable(self) -> None:
        """Pass on that there is room."""
        if not self._over and self._error is None and not self._writer.ended:
            self.handler.transport_writable()

    def link_lost(self, error: Exception | None) -> None:
        """Report the end: in order only where the response had ended."""
        if self._error is None and not self._writer.ended:
            self._error = NetworkError("The client closed the connection before the response had ended.")
            self._error.__cause__ = error
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        self._door.forget(self._link)
        self._tell_lost(self._error)

    def _unregister(self) -> None:
        promoted, self._promoted = self._promoted, None
        if promoted is not None:
            promoted.forget()
            self._door.admission.posts(address_of(self.request.peer), -1)

    def _tell_lost(self, error: Exception | None) -> None:
        self._unregister()
        handler, self.handler = self.handler, NOBODY
        handler.transport_lost(error)
