"""ClientDownlink: an HTTP session on the client's side: a response that streams, and one POST at a time."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, final

import anyio
import h11

from telewire.errors import NetworkError, RemoteProtocolError, TelewireError, TransportUnsuitable
from telewire.runtime.backend import Signal, Task, Timer, current_backend
from telewire.runtime.transport import (
    AcceptTransport,
    Request,
    Transport,
    TransportHandler,
    TransportName,
)
from telewire_transports.http1.answers import Answer
from telewire_transports.http1.body import CONTENT_TYPE, HEAD_BYTES, BodyReader, Headers, write_batches
from telewire_transports.http1.events import EVENTS_TYPE, EventReader
from telewire_transports.http1.posting import post
from telewire_transports.sockets import ByteLink
from telewire_transports.text import printable
from telewire_transports.urls import ParsedUrl

if TYPE_CHECKING:
    from telewire_transports.http1.client import Http1Client

__all__ = ["ClientDownlink", "HttpSessions"]

HIGH_WATER: Final = 64 * 1024
LOW_WATER: Final = 16 * 1024
POST_BYTES: Final = 512 * 1024
"""The most that one POST carries; many proxies take a megabyte."""
SLOW: Final = 6
QUICK: Final = 60
"""A POST that takes more or less than such a part of the dead time is slow or quick."""


@final
class HttpSessions:
    """Opens the transports of one session over HTTP, one after the other.

    Args:
        client: where to, and with which headers.
        kind: ``"http"``, or ``"sse"`` where something on the way passes on nothing but events.
        elsewhere: how often a POST may meet a worker that does not own the session, once one has not.
    """

    def __init__(self, client: Http1Client, kind: TransportName, elsewhere: int = 0) -> None:
        self.client = client
        self.elsewhere = elsewhere
        self.kind: TransportName = kind
        self.route = secrets.token_urlsafe(12)
        """What each request of the session says, so that a balancer can send them all to one worker."""
        self.worker = ""
        """The worker that answered last."""

    async def __call__(self, accept: AcceptTransport) -> Transport:
        """Open one, and wait until the server has taken the first that was posted to it.

        Raises:
            NetworkError: nobody answered, or the server refused.
            TransportUnsuitable: the server, or this worker of it, has no session for us over HTTP.
        """
        downlink = ClientDownlink(self, await self._headers())
        try:
            return await self._open(downlink, accept)
        except NetworkError:
            if downlink.mount is None:
                raise
        # Nothing has been said yet, and the way there is only longer by a slash.
        self.client.where = downlink.mount
        return await self._open(ClientDownlink(self, await self._headers()), accept)

    async def _headers(self) -> Headers:
        return [*await self.client.request_headers(), self.route_header]

    def inherit(self, headers: Headers, downlink: str) -> ClientDownlink:
        """Make the transport that goes on where an exchange was promoted, and is told so there."""
        self.worker = downlink.partition(".")[0]
        return ClientDownlink(self, headers)

    @property
    def route_header(self) -> tuple[bytes, bytes]:
        """What lets a balancer send all requests of the session to one worker (TW-SES-105)."""
        return b"Telewire-Route", self.route.encode()

    async def _open(self, downlink: ClientDownlink, accept: AcceptTransport) -> Transport:
        try:
            with anyio.fail_after(self.client.timeout):
                await self.client.open(downlink)
                self.worker = await downlink.answered(accept)
        except TimeoutError as error:
            downlink.give_up()
            raise NetworkError(
                f"{self.client.where} did not answer within {self.client.timeout:g} s; "
                "check the address, or give more time with timeout=."
            ) from error
        except BaseException:
            downlink.give_up()
            raise
        return downlink


@final
class ClientDownlink:
    """A ``Transport`` that handles the link of its response; a task beside it posts what goes up."""

    handler: TransportHandler

    def __init__(self, sessions: HttpSessions, headers: Headers) -> None:
        client = sessions.client
        self._client = client
        self._elsewhere = sessions.elsewhere
        self._kind = sessions.kind
        self.request = Request(path=client.where.path.partition("?")[0], transport=sessions.kind)
        self._headers = headers
        self._link: ByteLink | None = None
        self._http: h11.Connection
        self._reader = EventReader(client.limits) if self._kind == "sse" else BodyReader(client.limits)
        self._answer: Answer | None = None
        self._early = b""
        self._accepted = False
        self._changed: Signal | None = None
        self._proven = False
        self._queue: deque[bytes] = deque()
        self._size = 0
        self._most = HIGH_WATER
        self._blocked = False
        self._wanted: Signal | None = None
        self._poster: Task | None = None
        self._timer: Timer | None = None
        self._closing = False
        # The response is complete; the link is gone; nothing more is taken or posted; the handler knows.
        self._said_all = False
        self._ended = self._gone = self._over = self._lost = False
        self._error: TelewireError | None = None

    # --- opening ---------------------------------------------------------------------------------

    def take_over(
        self,
        link: ByteLink,
        http: h11.Connection,
        reader: BodyReader,
        answer: Answer,
        accept: AcceptTransport,
    ) -> None:
        """Go on with the response of an exchange that was promoted (TW-SES-110); it is ours from now on.

        Owed next: :meth:`read_on`, with what was read of it already.
        """
        self._link, self._http, self._reader, self._answer = link, http, reader, answer
        link.handler = self
        self._tell_request(link)
        self._accepted = self._proven = True
        self._poster = current_backend().spawn(self._post_all)
        self.handler = accept(self)

    def read_on(self, batches: list[bytes], wrong: RemoteProtocolError | None) -> None:
        """Take what was read of the response, and what its connection holds behind that."""
        self._hand_out(batches, wrong, silent=True)
        self._read(None)

    def begin(self, link: ByteLink) -> ClientDownlink:
        """Take a new link."""
        self.connected(link, h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES))
        return self

    def connected(self, link: ByteLink, http: h11.Connection) -> None:
        """Ask for a downlink."""
        self._link, self._http = link, http
        link.handler = self
        accepted = EVENTS_TYPE if self._kind == "sse" else CONTENT_TYPE
        headers = [
            *self._headers,
            (b"Content-Type", CONTENT_TYPE),
            (b"Accept", accepted),
            (b"Telewire-Session", b"open"),
            (b"Content-Length", b"0"),
        ]
        request = h11.Request(method=b"POST", target=self._client.where.path.encode(), headers=headers)
        link.write((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))

    @property
    def mount(self) -> ParsedUrl | None:
        """Where a framework has us ask instead: below the path, where that is all that differs."""
        return None if self._answer is None else self._answer.mount

    async def answered(self, accept: AcceptTransport) -> str:
        """Wait for the response; hand the transport over; prove the way up; tell which worker it is."""
        await self._until(lambda: self._answer is not None and bool(self._answer.session))
        assert self._link is not None
        assert self._answer is not None
        self._tell_request(self._link)
        self._poster = current_backend().spawn(self._post_all)
        self._accepted = True
        self.handler = accept(self)
        early, self._early = self._early, b""
        if not self._over:
            self._deliver(early)
        await self._until(lambda: self._proven)
        return self._answer.session.decode("latin-1").partition(".")[0]

    def _tell_request(self, link: ByteLink) -> None:
        self.request = Request(
            path=self.request.path,
            headers={name.decode().lower(): value.decode("latin-1") for name, value in self._headers},
            peer=link.peer,
            transport=self._kind,
        )

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._error is not None or self._over:
                raise self._error or NetworkError(f"{self._client.where} ended the session as it began.")
            self._changed = current_backend().signal()
            await self._changed.wait()

    def _notify(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def give_up(self) -> None:
        """Leave nothing open, where opening failed."""
        if self._accepted:
            self.abort()
        elif self._link is not None and not self._gone:
            self._over = True
            self._link.abort()

    # --- Transport -------------------------------------------------------------------------------

    @property
    def writable(self) -> bool:
        """False while more than 64 KiB wait here or in the POST that is in flight."""
        if self._size > HIGH_WATER:
            self._blocked = True
        return not self._blocked

    def send(self, batches: Sequence[bytes]) -> None:
        """Queue whole batches for the next POST."""
        if not self._over and not self._closing:
            self._queue.extend(batches)
            self._size += sum(map(len, batches))
            self._wake()

    def close(self) -> None:
        """Post what is queued, then close; within bounds."""
        if not self._over and not self._closing:
            self._closing = True
            if self._timer is not None:
                self._timer.cancel()
            backend = current_backend()
            self._timer = backend.call_at(backend.now() + self._client.limits.cleanup_seconds, self.abort)
            self._wake()

    def abort(self) -> None:
        """Drop what is queued, and the response."""
        if not self._over:
            self._fail(NetworkError("The session's requests were broken off on this side."))

    def _wake(self) -> None:
        if self._wanted is not None:
            self._wanted.set()
            self._wanted = None

    def _fail(self, error: TelewireError) -> None:
        """End the transport; the handler learns of it when the link has gone."""
        if not self._over:
            self._error = error
            self._finish()

    def _finish(self) -> None:
        self._over = True
        if self._poster is not None:
            self._poster.cancel()
        if self._timer is not None:
            self._timer.cancel()
        assert self._link is not None
        if self._gone:
            current_backend().call_soon(self._report)
        elif self._error is None:
            self._link.close(within=self._client.limits.cleanup_seconds)
        else:
            self._link.abort()
        self._notify()

    # --- up --------------------------------------------------------------------------------------

    async def _post_all(self) -> None:
        """Post what there is, one POST at a time (TW-SES-053)."""
        assert self._answer is not None
        headers = [*self._headers, (b"Telewire-Session", self._answer.session)]
        while True:
            while self._queue:
                batches = self._take()
                size = sum(map(len, batches))
                begun = current_backend().now()
                elsewhere = self._elsewhere if self._proven else 0
                error = await post(self._client, headers, write_batches(batches), elsewhere)
                if self._over:
                    return
                if error is not None:
                    self._fail(error)
                    return
                self._posted(size, current_backend().now() - begun)
            if self._closing:
                # A POST without a batch is the farewell: the server ends its response (TW-SES-109).
                failed = not self._ended and await post(self._client, headers, b"") is not None
                self._said_all = True
                if self._ended or failed:
                    self._finish()
                return
            self._wanted = current_backend().signal()
            await self._wanted.wait()

    def _take(self) -> list[bytes]:
        batches = [self._queue.popleft()]
        size = len(batches[0])
        while self._queue and size + len(self._queue[0]) <= self._most:
            batches.append(self._queue.popleft())
            size += len(batches[-1])
        return batches

    def _posted(self, size: int, seconds: float) -> None:
        """The server has taken a POST; the next are as large as takes a small part of the dead time."""
        self._size -= size
        dead = self._client.limits.dead_seconds
        if seconds > dead / SLOW:
            self._most = max(self._most // 2, LOW_WATER)
        elif seconds < dead / QUICK:
            self._most = min(self._most * 2, POST_BYTES)
        if not self._proven:
            self._proven = True
            self._notify()
        # No sign of life: what comes down may be lost on its way, whatever goes up.
        if self._blocked and self._size <= LOW_WATER:
            self._blocked = False
            self.handler.transport_writable()

    # --- down: ByteHandler -----------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take a part of the response."""
        self._read(data)

    def _read(self, data: bytes | None) -> None:
        if self._over or self._ended:
            return
        try:
            if data is not None:
                self._http.receive_data(data)
            self._advance()
        except h11.RemoteProtocolError as error:
            self._fail(self._broken(error))

    def _advance(self) -> None:
        while not self._over and not self._ended:
            event = self._http.next_event()
            if isinstance(event, h11.Response):
                wanted = EVENTS_TYPE if self._kind == "sse" else CONTENT_TYPE
                self._answer = Answer(self._client.where, event, wanted, "the session")
                if not self._answer.refused and not self._answer.session:
                    self._fail(_no_sessions(f"{self._client.where} knows no sessions over HTTP."))
                    return
                self._notify()
            elif isinstance(event, h11.Data):
                self._take_data(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                self._end()
            elif not isinstance(event, h11.InformationalResponse):
                return

    def _take_data(self, data: bytes) -> None:
        assert self._answer is not None
        if self._answer.refused:
            if self._answer.add(data):
                self._fail(self._answer.error())
        elif not self._accepted:
            self._early += data
        else:
            self._deliver(data)

    def _deliver(self, data: bytes) -> None:
        self._hand_out(*self._reader.cut(data), silent=not data)

    def _hand_out(self, found: list[bytes], wrong: RemoteProtocolError | None, *, silent: bool) -> None:
        # What has no bytes is a sign of life (TW-SES-106).
        batches = [batch for batch in found if batch]
        for batch in batches:
            self.handler.batch_received(batch)
            if self._over:
                return
        if wrong is not None:
            # The machine answers it; what comes until it has closed is thrown away (TW-FRM-004).
            self._ended = True
            backend = current_backend()
            self._timer = backend.call_at(backend.now() + self._client.limits.cleanup_seconds, self.close)
            self.handler.violation_received(wrong)
        elif not batches and not silent:
            self.handler.bytes_received()

    def _end(self) -> None:
        """The response is complete: without a CLOSE before it, the transport is lost all the same."""
        assert self._answer is not None
        if self._answer.refused:
            self._fail(self._answer.error())
        elif self._reader.end() is not None:
            self._fail(NetworkError("The response of the session ended inside a batch."))
        else:
            self._ended = True
            if self._said_all:
                self._finish()
            else:
                self.close()

    def _broken(self, error: h11.RemoteProtocolError) -> TelewireError:
        if self._answer is None:
            said = printable(str(error))
            return NetworkError(f"{self._client.where} did not answer as an HTTP server: {said}.")
        return NetworkError("The response of the session broke off before its end.")

    def link_writable(self) -> None:
        """Nothing but the request goes up on this link."""

    def link_lost(self, error: Exception | None) -> None:
        """Report the end; a response may have no other end than that of its connection."""
        if not self._over and not self._ended and error is None and self._answer is not None:
            self.data_received(b"")
        self._gone = True
        if self._ended and not self._over:
            # What is queued still leaves.
            return
        if not self._over:
            why = f": {error}." if error is not None and str(error) else "."
            lost = NetworkError(f"The response of the session was lost{why}")
            lost.__cause__ = error
            self._error = lost
            self._finish()
        self._report()

    def _report(self) -> None:
        if not self._lost:
            self._lost = True
            if self._accepted:
                self.handler.transport_lost(self._error)
            self._notify()


def _no_sessions(sentence: str) -> TransportUnsuitable:
    return TransportUnsuitable(("websocket",), sentence)
