"""Http1Client and ClientExchange: each call a POST of its own, on a connection that waits or a new one."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from typing import Final, Protocol, final

import h11

from telewire.errors import NetworkError, RemoteProtocolError, TelewireError
from telewire.limits import Limits
from telewire.runtime.backend import Task, Timer, current_backend
from telewire.runtime.transport import AcceptTransport, OpenTransport, Request, TransportHandler
from telewire_transports.http1.answers import Answer
from telewire_transports.http1.body import CONTENT_TYPE, HEAD_BYTES, BodyReader, BodyWriter, Headers
from telewire_transports.http1.posting import ELSEWHERE
from telewire_transports.http1.session_client import ClientDownlink, HttpSessions
from telewire_transports.request_headers import HeaderSource, check_headers, current_headers
from telewire_transports.sockets import ByteHandler, ByteLink, open_link
from telewire_transports.text import printable
from telewire_transports.urls import ParsedUrl, parse_url

__all__ = ["ClientExchange", "Http1Client", "Opening"]

_OURS: Final = frozenset(
    {
        *("host", "connection", "upgrade", "te", "trailer", "expect", "accept"),
        *("telewire-session", "telewire-route"),
        *("content-type", "content-length", "content-encoding", "transfer-encoding"),
    }
)
_PREFIX: Final = "sec-websocket-"
_WHAT: Final = "the HTTP request itself"
_IDLE_SECONDS: Final = 5.0
_IDLE_LINKS: Final = 8
_KEPT_BYTES: Final = 64 * 1024
_LIMITS: Final = Limits()
"""The most of a request that is kept, until its response begins, to be sent again elsewhere."""


class Opening(Protocol):
    """One request that needs a link."""

    def begin(self, link: ByteLink) -> ByteHandler:
        """Take a new link; returns who handles it."""

    def connected(self, link: ByteLink, http: h11.Connection) -> None:
        """Take a link that has served other requests, and now speaks ``http``."""


@final
class Http1Client:
    """Makes exchanges with one server (an ``ExchangeMaker``), and keeps a few connections for the next ones.

    Args:
        url: http or https.
        headers: what every request carries besides; a callable gives them anew each time.
        timeout: seconds for connecting.
        ssl_context: for https; the default verifies certificates.
        limits: what this side accepts.

    Raises:
        ValueError: the URL is none of HTTP.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: HeaderSource = None,
        timeout: float = 10.0,
        ssl_context: ssl.SSLContext | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.where = parse_url(url)
        if "http" not in self.where.transports:
            raise ValueError(f"The URL {self.where} is one of WebSocket; HTTP needs http:// or https://.")
        self.headers = headers
        self.timeout = timeout
        self.limits = limits or _LIMITS
        self._ssl = ssl_context
        self._idle: list[_Idle] = []
        self._closed = False

    def check_headers(self) -> None:
        """See that the headers can be sent, where they are known already.

        Raises:
            ValueError: one cannot.
        """
        if isinstance(self.headers, Mapping):
            check_headers(self.headers, _OURS, _PREFIX, _WHAT)

    def make(self) -> ClientExchange:
        """Make the transport of one exchange."""
        return ClientExchange(self)

    def close(self) -> None:
        """Drop the connections that no exchange uses."""
        self._closed = True
        for idle in tuple(self._idle):
            idle.drop()

    async def request_headers(self) -> Headers:
        """The headers of the next request.

        Raises:
            NetworkError: they could not be made.
        """
        given = await current_headers(self.headers)
        try:
            extra = check_headers(given, _OURS, _PREFIX, _WHAT)
        except ValueError as error:
            raise NetworkError(f"There was no request. {error}") from error
        return [(b"Host", self.where.authority.encode()), *extra]

    async def open(self, exchange: Opening) -> None:
        """Connect for one request, which is told its link and what it speaks.

        Raises:
            NetworkError: nobody answered.
        """
        if self._idle:
            link, http = self._idle[-1].take()
            exchange.connected(link, http)
            return
        context = self._ssl
        if self.where.tls and context is None:
            context = self._ssl = ssl.create_default_context()
        await open_link(
            self.where.host,
            self.where.port,
            exchange.begin,
            ssl_context=context if self.where.tls else None,
            timeout=self.timeout,
        )

    def keep(self, link: ByteLink, http: h11.Connection) -> None:
        """Keep a connection on which an exchange has ended in order."""
        idle = _Idle(link, http, self._idle)
        link.handler = idle
        if self._closed or len(self._idle) > _IDLE_LINKS:
            idle.drop()


@final
class _Idle:
    """Handles a link that waits for the next exchange."""

    def __init__(self, link: ByteLink, http: h11.Connection, idle: list[_Idle]) -> None:
        self._link = link
        self._http = http
        self._idle = idle
        backend = current_backend()
        self._timer = backend.call_at(backend.now() + _IDLE_SECONDS, self.drop)
        idle.append(self)

    def take(self) -> tuple[ByteLink, h11.Connection]:
        """Hand the link over."""
        self._forget()
        return self._link, self._http

    def drop(self) -> None:
        """Nobody needs it."""
        self._forget()
        self._link.close(within=1.0)

    def _forget(self) -> None:
        self._timer.cancel()
        if self in self._idle:
            self._idle.remove(self)

    def data_received(self, data: bytes) -> None:
        """What was not asked for is no answer."""
        self._forget()
        self._link.abort()

    def link_writable(self) -> None:
        """Nothing waits."""

    def link_lost(self, error: Exception | None) -> None:
        """The server has closed it."""
        self._forget()


@final
class _Left:
    """Handles a link that nobody listens to any more."""

    def data_received(self, data: bytes) -> None:
        """It is not read."""

    def link_writable(self) -> None:
        """Nothing waits."""

    def link_lost(self, error: Exception | None) -> None:
        """It was to go."""


@final
class ClientExchange:
    """An ``OutgoingExchange``: connects, sends one request and reads its response, both at once."""

    handler: TransportHandler

    def __init__(self, client: Http1Client) -> None:
        self._client = client
        self.request = Request(path=client.where.path.partition("?")[0], transport="http")
        self._link: ByteLink | None = None
        self._http: h11.Connection
        self._writer: BodyWriter
        self._headers: Headers = []
        self._reader = BodyReader(client.limits)
        self._answer: Answer | None = None
        self._task: Task | None = None
        self._timer: Timer | None = None
        self._error: Exception | None = None
        self._lost = False
        # Both bodies have ended, or the response has.
        self._complete = False
        # What was sent, while it can be sent again; and whether that was all.
        self._kept: list[bytes] | None = []
        self._kept_bytes = 0
        self._sent_last = False
        # What lets a balancer send to one worker what is posted if this is promoted; and who goes on then.
        self._sessions = HttpSessions(client, "http", ELSEWHERE)
        self._heir: ClientDownlink | None = None

    def open(self, handler: TransportHandler) -> None:
        """Begin to connect."""
        self.handler = handler
        self._task = current_backend().spawn(self._connect)

    async def _connect(self) -> None:
        try:
            self._headers = [*await self._client.request_headers(), self._sessions.route_header]
            if self._error is None:
                await self._client.open(self)
        except NetworkError as error:
            self._error = self._error or error
        if self._error is None:
            self._send_again()
            self.handler.transport_writable()
        elif self._link is None:
            self._report()

    def begin(self, link: ByteLink) -> ClientExchange:
        """Take a new link; the handler is told when it may write."""
        self.connected(link, h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES))
        return self

    def connected(self, link: ByteLink, http: h11.Connection) -> None:
        """Take a link that speaks ``http``."""
        self._link = link
        self._http = http
        self._writer = BodyWriter(http, self._head)
        link.handler = self
        if self._error is not None:
            current_backend().call_soon(link.abort)

    def _head(self, framing: Headers) -> h11.Request:
        headers = [*self._headers, (b"Content-Type", CONTENT_TYPE), *framing]
        return h11.Request(method=b"POST", target=self._client.where.path.encode(), headers=headers)

    # --- ExchangeTransport -----------------------------------------------------------------------

    @property
    def writable(self) -> bool:
        """False before there is a link, and while more than 64 KiB wait in it."""
        return self._link is not None and self._link.writable

    def send(self, batches: Sequence[bytes]) -> None:
        """Queue whole batches as one chunk."""
        if self._sendable:
            assert self._link is not None
            self._keep(batches)
            self._writer.send(self._link, batches)

    def send_last(self, batches: Sequence[bytes]) -> None:
        """Queue whole batches, and the end of the request."""
        if self._sendable:
            assert self._link is not None
            self._keep(batches)
            self._sent_last = True
            self._writer.send_last(self._link, batches)

    def _keep(self, batches: Sequence[bytes]) -> None:
        """Keep what leaves until the response begins: a framework may have us ask elsewhere (TW-SES-094)."""
        if self._kept is not None:
            self._kept += batches
            self._kept_bytes += sum(map(len, batches))
            if self._kept_bytes > _KEPT_BYTES:
                self._kept = None

    def _send_again(self) -> None:
        """Say at the other place what was said at the first."""
        if self._kept and self._link is not None:
            if self._sent_last:
                self._writer.send_last(self._link, self._kept)
            else:
                self._writer.send(self._link, self._kept)
            self._kept = None

    def _follow(self, mount: ParsedUrl) -> None:
        """Ask below the path instead: nothing has been done about the request."""
        assert self._link is not None
        self._client.where = mount
        link, self._link, self._answer = self._link, None, None
        link.handler = _Left()
        link.abort()
        self._task = current_backend().spawn(self._connect)

    @property
    def _sendable(self) -> bool:
        return self._link is not None and not self._lost and not self._complete and self._error is None

    def pause(self) -> None:
        """Read nothing more of the response."""
        if self._link is not None and not self._complete:
            self._link.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._link is not None and not self._complete:
            self._link.resume_reading()

    def close(self) -> None:
        """End the request, and wait for the end of the response within bounds."""
        if self._lost or self._complete or self._timer is not None:
            return
        if self._link is None:
            self.abort()
            return
        self.send_last(())
        self.resume()
        backend = current_backend()
        self._timer = backend.call_at(backend.now() + self._client.limits.cleanup_seconds, self._unanswered)

    def promote(self, downlink: str, accept: AcceptTransport) -> OpenTransport:
        """End the request; the response goes on as the downlink of a session."""
        assert self._link is not None
        assert self._answer is not None
        self.send_last(())
        self._complete = True
        self._link.resume_reading()
        self._answer.session = downlink.encode()
        self._heir = self._sessions.inherit(self._headers, downlink)
        self._heir.take_over(self._link, self._http, self._reader, self._answer, accept)
        return self._sessions

    def abort(self) -> None:
        """Give the exchange up: the end of the connection tells the server."""
        if self._lost or self._complete or self._error is not None:
            return
        self._error = NetworkError("The exchange was broken off on this side.")
        if self._link is not None:
            self._link.abort()
        elif self._task is not None:
            self._task.cancel()
            current_backend().call_soon(self._report)

    def _unanswered(self) -> None:
        if not self._complete:
            self._fail(NetworkError(f"{self._client.where} did not end its response."))

    def _fail(self, error: TelewireError) -> None:
        if self._error is None:
            self._error = error
            assert self._link is not None
            self._link.abort()

    def _report(self) -> None:
        if not self._lost:
            self._lost = True
            if self._timer is not None:
                self._timer.cancel()
            self.handler.transport_lost(self._error)

    # --- ByteHandler -----------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take a part of the response."""
        if self._error is None and not self._complete:
            self._advance(data)

    def _advance(self, data: bytes) -> None:
        heard = False
        try:
            self._http.receive_data(data)
            while self._error is None and self._heir is None:
                event = self._http.next_event()
                if isinstance(event, h11.Data):
                    heard = self._take(bytes(event.data)) or heard
                elif isinstance(event, h11.Response):
                    self._answer = Answer(self._client.where, event)
                    if self._kept and self._answer.mount is not None:
                        self._follow(self._answer.mount)
                        return
                    self._kept = None
                elif isinstance(event, h11.EndOfMessage):
                    self._end()
                    return
                elif not isinstance(event, h11.InformationalResponse):
                    break
        except h11.RemoteProtocolError as error:
            self._fail(self._broken(error))
            return
        if not heard and data and self._error is None:
            self.handler.bytes_received()

    def _broken(self, error: h11.RemoteProtocolError) -> NetworkError:
        if self._answer is None:
            said = printable(str(error))
            return NetworkError(f"{self._client.where} did not answer as an HTTP server: {said}.")
        return NetworkError("The response broke off before its end.")

    def _take(self, data: bytes) -> bool:
        """Hand out what has come of the body; whether that were batches."""
        assert self._answer is not None
        if self._answer.refused:
            if self._answer.add(data):
                self._fail(self._answer.error())
            return False
        batches, wrong = self._reader.cut(data)
        for index, batch in enumerate(batches):
            self.handler.batch_received(batch)
            if self._heir is not None:
                self._heir.read_on(batches[index + 1 :], wrong)
                return True
            if self._error is not None:
                return True
        if wrong is not None:
            self._fail(wrong)
        return bool(batches)

    def _end(self) -> None:
        """The response is complete."""
        assert self._answer is not None
        wrong = self._answer.error() if self._answer.refused else self._reader.end()
        if isinstance(wrong, RemoteProtocolError):
            wrong = NetworkError("The response ended inside a batch.")
        if wrong is not None:
            self._fail(wrong)
            return
        self._complete = True
        link, http = self._link, self._http
        assert link is not None
        done = http.our_state is h11.DONE and http.their_state is h11.DONE
        # What follows nobody has asked for.
        if done and not http.trailing_data[0]:
            http.start_next_cycle()
            link.resume_reading()
            self._client.keep(link, http)
            self._report()
        else:
            link.close(within=self._client.limits.cleanup_seconds)

    def link_writable(self) -> None:
        """Pass on that there is room."""
        if not self._complete and self._error is None:
            self.handler.transport_writable()

    def link_lost(self, error: Exception | None) -> None:
        """Report the end; a response may have no other end than that of its connection."""
        if error is None and self._error is None and not self._complete and self._answer is not None:
            self._advance(b"")
        if self._error is None and not self._complete:
            why = f": {error}." if error is not None and str(error) else "."
            self._error = NetworkError(f"{self._client.where} hung up before it had answered{why}")
            self._error.__cause__ = error
        self._report()
