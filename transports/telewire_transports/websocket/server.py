"""serve_websocket: the server's handshake, and what is refused before it."""

from __future__ import annotations

import ssl
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, final

import h11
import wsproto
from wsproto.events import AcceptConnection, RejectConnection
from wsproto.utilities import RemoteProtocolError as HandshakeError

from telewire.limits import Limits
from telewire.runtime.backend import current_backend
from telewire.runtime.transport import AcceptTransport, Request
from telewire_transports.sockets import ByteLink, Listener, listen
from telewire_transports.text import printable
from telewire_transports.web_rules import WebRules
from telewire_transports.websocket.frames import SUBPROTOCOL
from telewire_transports.websocket.transport import WebSocketTransport

__all__ = ["WebSocketListener", "serve_websocket"]

_HEAD_BYTES: Final = 16 * 1024
_REASONS: Final = {
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    426: b"Upgrade Required",
    431: b"Request Header Fields Too Large",
}


async def serve_websocket(
    accept: AcceptTransport,
    *,
    host: str | None = "127.0.0.1",
    port: int = 8000,
    path: str = "/telewire",
    ssl_context: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    origins: Collection[str] = (),
    hosts: Collection[str] = (),
) -> WebSocketListener:
    """Accept WebSockets at ``path`` and hand each to ``accept`` once its handshake is done.

    ``port`` 0 takes a free one, told by the listener. ``origins`` and ``hosts`` widen who may call
    (:class:`WebRules`). A handshake may take ``limits.hello_seconds``. The caller owes ``aclose``.

    Raises:
        OSError: the address cannot be bound.
        ValueError: ``path`` does not begin with a slash.
    """
    if not path.startswith("/"):
        raise ValueError(f"path={path!r} does not begin with a slash; write {'/' + path!r}.")
    limits = limits or Limits()
    door = _Door(accept, path, limits, WebRules.make(host, origins, hosts))
    listener = await listen(
        host,
        port,
        lambda link: _ServerHandshake(link, door),
        ssl_context=ssl_context,
        handshake_timeout=limits.hello_seconds,
    )
    return WebSocketListener(listener, door)


@dataclass(slots=True)
class _Door:
    """What all handshakes of one listener share."""

    accept: AcceptTransport
    path: str
    limits: Limits
    rules: WebRules
    links: set[ByteLink] = field(default_factory=set)
    """Links that are not, or not yet, transports."""
    closed: bool = False


@final
class WebSocketListener:
    """A port that WebSockets come in on."""

    def __init__(self, listener: Listener, door: _Door) -> None:
        self._listener = listener
        self._door = door

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._listener.port

    async def aclose(self) -> None:
        """Accept no more and drop unfinished handshakes; transports that were accepted live on."""
        self._door.closed = True
        for link in tuple(self._door.links):
            link.abort()
        await self._listener.aclose()


class _Refusal(Exception):
    """Ends a handshake with an HTTP status and a sentence."""

    def __init__(self, status: int, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


@final
class _ServerHandshake:
    """Handles a link until its request has been judged."""

    def __init__(self, link: ByteLink, door: _Door) -> None:
        self._link = link
        self._door = door
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES)
        self._received = 0
        self._judged = False
        backend = current_backend()
        self._timer = backend.call_at(backend.now() + door.limits.hello_seconds, self._late)
        door.links.add(link)
        if door.closed:
            backend.call_soon(link.abort)

    def data_received(self, data: bytes) -> None:
        """Collect the request, then judge it."""
        if self._judged:
            return
        room = _HEAD_BYTES - self._received
        self._received += len(data)
        try:
            request = self._next_event(data[:room])
            if isinstance(request, h11.Request):
                self._judged = True
                self._timer.cancel()
                self._answer(request, self._http.trailing_data[0] + data[room:])
            elif self._received >= _HEAD_BYTES:
                raise _Refusal(431, f"The request has more than {_HEAD_BYTES} bytes of headers.")
        except _Refusal as refusal:
            self._refuse(refusal)

    def _next_event(self, data: bytes) -> object:
        try:
            self._http.receive_data(data)
            return self._http.next_event()
        except h11.RemoteProtocolError as error:
            status = 431 if error.error_status_hint == 431 else 400
            raise _Refusal(status, f"This is no HTTP request: {printable(str(error))}.") from error

    def _answer(self, request: h11.Request, early: bytes) -> None:
        headers: dict[str, str] = {}
        for raw, value in request.headers:
            name, text = raw.decode("ascii"), value.decode("latin-1")
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
        target = request.target.decode("ascii")
        self._check(request.method, target, headers)
        upgrade = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        try:
            upgrade.initiate_upgrade_connection(list(request.headers), target)
            # A request alone gives one event; the generator is consumed all the same.
            for _ in upgrade.events():
                continue
            response = upgrade.send(AcceptConnection(subprotocol=SUBPROTOCOL))
        except HandshakeError as error:
            hint = error.event_hint if isinstance(error.event_hint, RejectConnection) else RejectConnection()
            raise _Refusal(
                426 if hint.status_code == 426 else 400,
                f"The WebSocket handshake is not complete: {printable(str(error))}.",
                *hint.headers,
            ) from error
        except UnicodeError as error:
            raise _Refusal(400, "The headers of a WebSocket handshake are ASCII.") from error
        self._link.write(response)
        self._door.links.discard(self._link)
        found = Request(
            path=target.partition("?")[0], headers=headers, peer=self._link.peer, transport="websocket"
        )
        transport = WebSocketTransport(self._link, found, self._door.limits, client=False)
        transport.start(self._door.accept, early)

    def _check(self, method: bytes, target: str, headers: dict[str, str]) -> None:
        """Refuse what is no business of ours, before anything in it is believed."""
        reason = self._door.rules.refusal(headers, self._link.local_port)
        if reason is not None:
            raise _Refusal(403, reason)
        if target.partition("?")[0] != self._door.path:
            raise _Refusal(404, f"There is nothing at {printable(target.partition('?')[0])}.")
        if method != b"GET":
            raise _Refusal(405, "A WebSocket is opened with GET.", (b"Allow", b"GET"))
        if "content-length" in headers or "transfer-encoding" in headers:
            raise _Refusal(400, "A WebSocket handshake has no body.")
        if headers.get("upgrade", "").lower() != "websocket":
            raise _Refusal(
                426, "This address speaks WebSocket; send Upgrade: websocket.", (b"Upgrade", b"websocket")
            )
        offered = [each.strip() for each in headers.get("sec-websocket-protocol", "").split(",")]
        if SUBPROTOCOL not in offered:
            raise _Refusal(400, f"Sec-WebSocket-Protocol must offer {SUBPROTOCOL}.")

    def _refuse(self, refusal: _Refusal) -> None:
        self._judged = True
        self._timer.cancel()
        body = refusal.message.encode("utf-8", "backslashreplace") + b"\n"
        lines = [
            b"HTTP/1.1 %d %s" % (refusal.status, _REASONS[refusal.status]),
            b"Content-Type: text/plain; charset=utf-8",
            b"X-Content-Type-Options: nosniff",
            b"Cache-Control: no-store",
            b"Content-Length: %d" % len(body),
            b"Connection: close",
            *(name + b": " + value for name, value in refusal.headers),
        ]
        self._link.write(b"\r\n".join((*lines, b"", body)))
        self._link.close(within=self._door.limits.cleanup_seconds, drain=True)

    def _late(self) -> None:
        self._refuse(_Refusal(408, f"No request arrived within {self._door.limits.hello_seconds:g} s."))

    def link_writable(self) -> None:
        """Nothing waits for room during the handshake."""

    def link_lost(self, error: Exception | None) -> None:
        """Forget the link."""
        self._timer.cancel()
        self._door.links.discard(self._link)
