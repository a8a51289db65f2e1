"""connect_websocket: the client's handshake."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import Final, final

import anyio
import wsproto
from wsproto.events import AcceptConnection, RejectConnection, RejectData
from wsproto.events import Request as UpgradeRequest
from wsproto.utilities import RemoteProtocolError as HandshakeError

from telewire.errors import ErrorCode, NetworkError, RemoteProtocolError
from telewire.limits import Limits
from telewire.runtime.backend import current_backend
from telewire.runtime.transport import AcceptTransport, Request, Transport
from telewire_transports.request_headers import HeaderSource, check_headers, current_headers
from telewire_transports.sockets import ByteLink, open_link
from telewire_transports.text import printable
from telewire_transports.urls import ParsedUrl, parse_url
from telewire_transports.websocket.frames import SUBPROTOCOL, WebSocketFrames
from telewire_transports.websocket.transport import WebSocketTransport

__all__ = ["AnotherWorker", "HandshakeRefused", "connect_websocket"]

_NOT_FOUND: Final = 404
_WRONG_PATH: Final = " Check the path in the URL: serve() listens at /telewire, unless it was given path=."
_HEAD_BYTES: Final = 16 * 1024
_BODY_BYTES: Final = 1024
_END_OF_HEAD: Final = re.compile(rb"\n\r?\n")
_OURS: Final = frozenset({"host", "upgrade", "connection", "content-length", "transfer-encoding"})
_PROTOCOL_ERROR: Final = 1002


class AnotherWorker(NetworkError):
    """A worker answered that does not hold the session; another attempt may meet the one that does."""


class HandshakeRefused(NetworkError):
    """The server answered with an HTTP status instead of a WebSocket."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


async def connect_websocket(
    url: str,
    accept: AcceptTransport,
    *,
    headers: HeaderSource = None,
    timeout: float = 10.0,
    ssl_context: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    beside: tuple[str, str] | None = None,
) -> Transport:
    """Open a WebSocket to ``url`` (ws, wss, http or https) and hand it to ``accept``.

    ``accept`` is called before this returns, since the server may speak at once. ``timeout``, in
    seconds, bounds connecting and both handshakes together. The caller owes ``close`` or ``abort``.
    ``beside`` is the route of an HTTP session, and the worker that holds it and must answer here too.

    Raises:
        ValueError: the URL or a header cannot be used.
        NetworkError: nobody answered in time, or the server refused; the message has its status and text.
        RemoteProtocolError: the server speaks WebSocket, but not ``telewire.1``.
    """
    where = parse_url(url)
    request = _request(where, await current_headers(headers))
    if beside is not None:
        request.extra_headers.append((b"Telewire-Route", beside[0].encode()))
    if where.tls and ssl_context is None:
        ssl_context = ssl.create_default_context()
    deadline = anyio.current_time() + timeout

    handshake: _ClientHandshake

    def begin(link: ByteLink) -> _ClientHandshake:
        nonlocal handshake
        handshake = _ClientHandshake(link, accept, where, request, limits or Limits(), beside and beside[1])
        return handshake

    # On uvloop the answer may be in before this goes on, and the link have its transport already.
    await open_link(
        where.host, where.port, begin, ssl_context=ssl_context if where.tls else None, timeout=timeout
    )
    try:
        with anyio.CancelScope(deadline=deadline) as scope:
            await handshake.finished.wait()
        if scope.cancelled_caught:
            raise NetworkError(
                f"The server at {where.host} port {where.port} did not answer the WebSocket handshake within "
                f"{timeout:g} s; check that {where} is a telewire server."
            )
        if handshake.transport is None:
            raise handshake.error or NetworkError(f"{where} ended the WebSocket handshake.")
    except BaseException:
        handshake.give_up()
        raise
    return handshake.transport


def _request(where: ParsedUrl, headers: Mapping[str, str]) -> UpgradeRequest:
    extra = check_headers(headers, _OURS, "sec-websocket-", "the WebSocket handshake")
    return UpgradeRequest(
        host=where.authority, target=where.path, subprotocols=[SUBPROTOCOL], extra_headers=extra
    )


@final
class _ClientHandshake:
    """Handles the link until the server has answered."""

    def __init__(
        self,
        link: ByteLink,
        accept: AcceptTransport,
        where: ParsedUrl,
        request: UpgradeRequest,
        limits: Limits,
        worker: str | None,
    ) -> None:
        self._link = link
        self._worker = worker
        self._accept = accept
        self._where = where
        self._request = request
        self._limits = limits
        self._socket = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self._head = b""
        self._answered = False
        self._status = 0
        self._body = b""
        self.transport: WebSocketTransport | None = None
        self.error: Exception | None = None
        self.finished = current_backend().signal()
        link.write(self._socket.send(request))

    def give_up(self) -> None:
        """Leave nothing open, also where the caller was cancelled after the handshake."""
        if self.error is None:
            self._link.abort()

    def data_received(self, data: bytes) -> None:
        """Collect the head of the answer, then its text if it is a refusal."""
        if self._answered:
            self._read(data)
            return
        self._head += data
        end = _END_OF_HEAD.search(self._head)
        if (end.end() if end else len(self._head)) > _HEAD_BYTES:
            self._fail(NetworkError(f"{self._where} answered with headers above {_HEAD_BYTES} bytes."))
        elif end:
            self._answered = True
            # wsproto would take what follows into its own frames.
            self._read(self._head[: end.end()], self._head[end.end() :])

    def _read(self, data: bytes, rest: bytes = b"") -> None:
        try:
            self._socket.receive_data(data)
            for event in self._socket.events():
                if isinstance(event, AcceptConnection):
                    self._accepted(event, rest)
                    return
                if isinstance(event, RejectConnection):
                    self._status = event.status_code
                    if not event.has_body:
                        self._refused()
                        return
                elif isinstance(event, RejectData):
                    self._body += event.data
                    if event.body_finished or len(self._body) >= _BODY_BYTES:
                        self._refused()
                        return
        except HandshakeError as error:
            self._not_understood(error)
            return
        if rest:
            self._read(rest)

    def _accepted(self, event: AcceptConnection, early: bytes) -> None:
        if event.subprotocol != SUBPROTOCOL:
            self._disagree(f"chose no subprotocol, where {SUBPROTOCOL} was asked for")
            return
        worker = dict(event.extra_headers).get(b"telewire-worker", b"").decode("latin-1")
        if self._worker is not None and worker != self._worker:
            self._fail(AnotherWorker(f"Another worker of {self._where} answered than holds the session."))
            return
        sent = self._request.extra_headers
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in sent}
        request = Request(
            path=self._where.path.partition("?")[0],
            headers=headers,
            peer=self._link.peer,
            transport="websocket",
        )
        self.transport = WebSocketTransport(self._link, request, self._limits, client=True)
        self.finished.set()
        self.transport.start(self._accept, early)

    def _not_understood(self, error: HandshakeError) -> None:
        text = printable(str(error))
        if self._head.startswith(b"HTTP/1.1 101"):
            self._disagree(f"answered the handshake wrongly ({text})")
        else:
            self._fail(NetworkError(f"{self._where} did not answer as a WebSocket server: {text}."))

    def _disagree(self, what: str) -> None:
        """The server believes that a WebSocket is open: tell it why there is none."""
        frames = WebSocketFrames(client=True, limit=0)
        error = RemoteProtocolError(f"{self._where} {what}.", ErrorCode.VERSION_MISMATCH)
        frames.fail(_PROTOCOL_ERROR, error)
        self.error = error
        self._link.write(frames.reply)
        self._link.close(within=self._limits.cleanup_seconds, drain=True)
        self.finished.set()

    def _refused(self) -> None:
        said = printable(self._body)
        self._fail(
            HandshakeRefused(
                f"{self._where} refused the WebSocket handshake with status {self._status}"
                + (f": {said}" if said else ".")
                + (_WRONG_PATH if self._status == _NOT_FOUND else ""),
                self._status,
            )
        )

    def _fail(self, error: Exception) -> None:
        self.error = error
        self._link.abort()
        self.finished.set()

    def link_writable(self) -> None:
        """Nothing waits for room during the handshake."""

    def link_lost(self, error: Exception | None) -> None:
        """Report what is known: a refusal may end with its link."""
        if self.error is None and self._status:
            self._refused()
        elif self.error is None:
            why = f": {error}." if error is not None and str(error) else "."
            self._fail(NetworkError(f"{self._where} hung up during the WebSocket handshake{why}"))
