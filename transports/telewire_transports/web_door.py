"""Door: reads the head of each request that comes in on a port, judges it, and hands it on by its method.

Nothing of a request is believed before Host, Origin and Sec-Fetch-Site have passed (D19). What a method
does is another module's: a WebSocket is opened with GET, an exchange is a POST.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Final, Protocol, final

import h11

from telewire.limits import Limits
from telewire.runtime.admission import Admission, address_of
from telewire.runtime.backend import Signal, current_backend
from telewire_transports.forwarded import TrustedProxies
from telewire_transports.sockets import ByteLink, Listener, listen
from telewire_transports.text import printable
from telewire_transports.web_rules import WebRules

__all__ = ["OPEN", "SESSION_HEADER", "Door", "Refusal", "Route", "WebListener", "listen_web", "make_door"]

SESSION_HEADER: Final = "telewire-session"
"""Names the downlink that a POST belongs to (TW-SES-100)."""
OPEN: Final = "open"
"""What it says where there is no downlink yet: a new conversation, for which there must be room."""
_HEAD_BYTES: Final = 16 * 1024
_RETRY_SECONDS: Final = 5
_REASONS: Final = {
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    409: b"Conflict",
    410: b"Gone",
    415: b"Unsupported Media Type",
    417: b"Expectation Failed",
    421: b"Misdirected Request",
    426: b"Upgrade Required",
    431: b"Request Header Fields Too Large",
    501: b"Not Implemented",
    503: b"Service Unavailable",
}


class Refusal(Exception):
    """Ends a request with an HTTP status and a sentence."""

    def __init__(self, status: int, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers

    def __bytes__(self) -> bytes:
        """The whole response, behind which the connection is closed."""
        body = self.message.encode("utf-8", "backslashreplace") + b"\n"
        lines = [
            b"HTTP/1.1 %d %s" % (self.status, _REASONS[self.status]),
            b"Content-Type: text/plain; charset=utf-8",
            b"X-Content-Type-Options: nosniff",
            b"Cache-Control: no-store",
            b"Content-Length: %d" % len(body),
            b"Connection: close",
            *(name + b": " + value for name, value in self.headers),
        ]
        return b"\r\n".join((*lines, b"", body))


class Route(Protocol):
    """What a method does with a request that has passed the door."""

    def __call__(
        self,
        link: ByteLink,
        http: h11.Connection,
        request: h11.Request,
        headers: Mapping[str, str],
        rest: bytes,
        peer: str | None,
    ) -> None:
        """Take the link over; ``rest`` came behind what ``http`` was given. ``peer`` is who asks.

        Raises:
            Refusal: it does not; nothing has been written.
        """


@final
class Door:
    """What all links of one listener share."""

    def __init__(
        self, path: str, limits: Limits, rules: WebRules, proxies: TrustedProxies, admission: Admission
    ) -> None:
        self.path = path
        self.limits = limits
        self.rules = rules
        self.proxies = proxies
        self.admission = admission
        self.routes: dict[bytes, Route] = {}
        """By method."""
        self.links: set[ByteLink] = set()
        self._refused: set[ByteLink] = set()
        self._emptied: Signal | None = None
        """Links that are not, or not yet, or no longer somebody's transport."""
        self.closed = False
        self.full = False
        """Whether no new conversation may begin; what is posted to those that there are still comes in."""

    def read_request(self, link: ByteLink, http: h11.Connection | None = None) -> _RequestReader:
        """Handle a link until its next request has been judged; ``http`` is what it spoke until now."""
        return _RequestReader(link, self, http)

    def check_room(self, address: str | None, *, conversation: bool) -> None:
        """Refuse, before anything is kept of it, what the limits of the server do not leave room for.

        Raises:
            Refusal: there is no room.
        """
        reason = self.admission.refusal(address, conversation=conversation)
        if reason is not None:
            raise Refusal(503, reason, (b"Retry-After", b"%d" % _RETRY_SECONDS))

    def knock(self, peer: str | None) -> Callable[[], object] | None:
        """Let somebody begin a TLS handshake, who has not said hello either; see :data:`Gate`."""
        admission = self.admission
        address = None if self.proxies.trusts(peer) else address_of(peer)
        if self.closed or admission.refusal(address, conversation=False) is not None:
            return None
        admission.enter(address, conversation=False)
        return lambda: admission.leave(address, conversation=False, known=False)

    def forget(self, link: ByteLink) -> None:
        """A link has gone, or is somebody's transport now."""
        self._refused.discard(link)
        self.links.discard(link)
        if not self.links and self._emptied is not None:
            self._emptied.set()

    def close(self) -> None:
        """Let nobody in any more. What was said on a link that carries nothing now still leaves."""
        self.closed = True
        for link in tuple(self.links):
            if link in self._refused:
                link.abort()
            else:
                link.close(within=self.limits.cleanup_seconds)

    async def wait_empty(self) -> None:
        """Wait until no link is left that is not somebody's transport."""
        while self.links:
            self._emptied = current_backend().signal()
            await self._emptied.wait()

    def judge(self, link: ByteLink, http: h11.Connection, request: h11.Request, rest: bytes) -> None:
        """Refuse what is no business of ours, before anything in it is believed; hand on the rest.

        Raises:
            Refusal: it is refused.
        """
        headers: dict[str, str] = {}
        for raw, value in request.headers:
            # What a transport keeps of its request; the same names, and most values, stand in all of them.
            name, text = sys.intern(raw.decode("ascii")), sys.intern(value.decode("latin-1"))
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
        reason = self.rules.refusal(headers, link.local_port)
        if reason is not None:
            raise Refusal(403, reason)
        path = request.target.decode("ascii").partition("?")[0]
        if path != self.path:
            raise Refusal(404, f"There is nothing at {printable(path)}.")
        route = self.routes.get(request.method)
        if route is None:
            methods = b", ".join(self.routes)
            raise Refusal(405, f"This address answers to {methods.decode()}.", (b"Allow", methods))
        peer = self.proxies.peer_of(headers, link.peer)
        # What is posted to a session that is here takes no place of its own.
        if request.method != b"POST" or headers.get(SESSION_HEADER, OPEN) == OPEN:
            if self.full:
                raise Refusal(503, "This server is being stopped; ask again, or another one.")
            self.check_room(address_of(peer), conversation=True)
        route(link, http, request, headers, rest, peer)

    def refuse(self, link: ByteLink, refusal: Refusal) -> None:
        """Answer with a refusal and close."""
        self._refused.add(link)
        link.write(bytes(refusal))
        link.close(within=self.limits.cleanup_seconds, drain=True)


@final
class _RequestReader:
    """Handles a link until the head of its next request is there."""

    def __init__(self, link: ByteLink, door: Door, http: h11.Connection | None) -> None:
        self._link = link
        self._door = door
        self._again = http is not None
        # Made when something comes: many leave without a word.
        self._http = http
        self._received = 0
        self._judged = False
        backend = current_backend()
        self._seconds = door.limits.idle_seconds if self._again else door.limits.hello_seconds
        self._timer = backend.call_at(backend.now() + self._seconds, self._late)
        door.links.add(link)
        # Until its request is judged, a link takes a place of its address; a proxy's are those of many.
        self._address = None if door.proxies.trusts(link.peer) else address_of(link.peer)
        self._waits = False
        if door.closed:
            backend.call_soon(link.abort)
            return
        try:
            door.check_room(self._address, conversation=False)
        except Refusal as refusal:
            self._no_room(refusal)
            return
        self._waits = True
        door.admission.enter(self._address, conversation=False)
        pause = 0.0 if self._again else door.admission.pause(self._address, backend.now())
        if pause:
            link.pause_reading()
            backend.call_at(backend.now() + pause, self._hear)
        if http is not None and http.trailing_data[0]:
            # What the client has sent ahead.
            backend.call_soon(lambda: self.data_received(b""))

    def _hear(self) -> None:
        """Read what has had to wait; but not what somebody said who has left since."""
        if not self._judged and self._link.hung_up:
            self._link.abort()
        else:
            self._link.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Collect the request, then judge it."""
        if self._judged:
            return
        if self._http is None:
            self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES)
        room = _HEAD_BYTES - self._received
        self._received += len(data)
        try:
            request = _next_event(self._http, data[:room])
            if isinstance(request, h11.Request):
                self._judged = True
                self._timer.cancel()
                self._leave()
                self._door.judge(self._link, self._http, request, data[room:])
                self._door.forget(self._link)
            elif self._received >= _HEAD_BYTES:
                raise Refusal(431, f"The request has more than {_HEAD_BYTES} bytes of headers.")
        except Refusal as refusal:
            self._refuse(refusal)

    def _leave(self) -> None:
        if self._waits:
            self._waits = False
            self._door.admission.leave(self._address, conversation=False, known=False)

    def _no_room(self, refusal: Refusal) -> None:
        """Do not even read what is asked; the link has told its factory nothing yet, so later."""
        self._judged = True
        self._timer.cancel()
        self._waits = False
        backend = current_backend()
        if self._again:
            # What was asked has been answered, and the next question can be asked elsewhere.
            backend.call_soon(lambda: self._link.close(within=self._door.limits.cleanup_seconds))
        else:
            backend.call_soon(lambda: self._door.refuse(self._link, refusal))

    def _refuse(self, refusal: Refusal) -> None:
        self._judged = True
        self._timer.cancel()
        self._leave()
        self._door.refuse(self._link, refusal)

    def _late(self) -> None:
        if self._again and not self._received:
            # Nobody has asked anything more.
            self._link.close(within=self._door.limits.cleanup_seconds)
        else:
            self._refuse(Refusal(408, f"No request arrived within {self._seconds:g} s."))

    def link_writable(self) -> None:
        """Nothing waits for room before a request."""

    def link_lost(self, error: Exception | None) -> None:
        """Forget the link, and what it had sent ahead."""
        self._judged = True
        self._timer.cancel()
        self._leave()
        self._door.forget(self._link)


def _next_event(http: h11.Connection, data: bytes) -> object:
    try:
        if data:
            http.receive_data(data)
        return http.next_event()
    except h11.RemoteProtocolError as error:
        status = error.error_status_hint if error.error_status_hint in (431, 501) else 400
        raise Refusal(status, f"This is no HTTP request: {printable(str(error))}.") from error


@final
class WebListener:
    """A port that requests come in on."""

    def __init__(self, listener: Listener, door: Door) -> None:
        self._listener = listener
        self._door = door

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._listener.port

    def refuse_new(self) -> None:
        """Let no new conversation begin: who asks gets status 503, before anything of it is heard."""
        self._door.full = True

    async def aclose(self) -> None:
        """Accept no more, and close links that carry nothing; transports that were accepted live on."""
        self._door.close()
        await self._listener.aclose()

    async def wait_closed(self) -> None:
        """Wait until what was said on links that carry nothing has left; who calls this bounds the wait."""
        await self._door.wait_empty()


async def listen_web(
    door: Door, *, host: str | None, port: int, ssl_context: ssl.SSLContext | None
) -> WebListener:
    """Let requests in through ``door``; the caller owes ``aclose``.

    Raises:
        OSError: the address cannot be bound.
    """
    listener = await listen(
        host,
        port,
        door.read_request,
        ssl_context=ssl_context,
        handshake_timeout=door.limits.hello_seconds,
        gate=door.knock,
    )
    return WebListener(listener, door)


def make_door(
    host: str | None,
    path: str,
    limits: Limits | None,
    origins: Collection[str],
    hosts: Collection[str],
    trusted_proxies: Collection[str] = (),
    admission: Admission | None = None,
) -> Door:
    """Make a door as the arguments of ``serve`` say.

    Raises:
        ValueError: ``path`` does not begin with a slash, or a trusted proxy is no address.
        TypeError: ``origins``, ``hosts`` or ``trusted_proxies`` is a string.
    """
    if not path.startswith("/"):
        raise ValueError(f"path={path!r} does not begin with a slash; write {'/' + path!r}.")
    proxies = TrustedProxies.make(trusted_proxies)
    return Door(
        path, limits or Limits(), WebRules.make(host, origins, hosts), proxies, admission or Admission()
    )
