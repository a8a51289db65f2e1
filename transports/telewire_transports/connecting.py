"""connect and serve: by URL, by host and port, over whatever carries the conversation."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final, final

import anyio

from telewire.limits import Limits, ServerLimits
from telewire.runtime.admission import Admission
from telewire.runtime.backend import current_backend
from telewire.runtime.client import Client
from telewire.runtime.conversation import Ways
from telewire.runtime.draining import Farewell
from telewire.runtime.server import Server
from telewire.runtime.service import Service
from telewire.runtime.transport import AcceptTransport, OutgoingExchange, Transport, TransportName
from telewire_transports.choosing import Choice
from telewire_transports.downlinks import Downlinks
from telewire_transports.http1 import Http1Client, HttpSessions, exchange_route, session_route
from telewire_transports.http1.posting import ELSEWHERE
from telewire_transports.request_headers import HeaderSource
from telewire_transports.urls import parse_url
from telewire_transports.way import Way
from telewire_transports.web_door import listen_web, make_door
from telewire_transports.websocket import connect_websocket, websocket_route
from telewire_transports.websocket.client import AnotherWorker

__all__ = ["connect", "serve"]

CLOSE_SECONDS: Final = 5.0
DRAIN_SECONDS: Final = 20.0
"""Together with twice the seconds for closing within the 30 that supervisors commonly give."""


def connect(
    url: str,
    *,
    headers: HeaderSource = None,
    timeout: float = 10.0,
    transport: TransportName | None = None,
    # Any: a service of any provider.
    service: Service[Any] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    follow: Callable[[str], bool] | None = None,
) -> Client:
    """Make a client of the server at ``url``, to be entered with ``async with`` for its remote.

    Args:
        url: http, https, ws or wss.
        headers: real HTTP headers of every request; a callable, sync or async, gives them anew each time.
        timeout: seconds for connecting and the hellos.
        transport: ``"websocket"``; ``"http"``, a response that streams and POSTs beside it; ``"sse"``, the
            same as events, where something on the way holds back what it does not know; or
            ``"exchange"``, which makes each call a request of its own and connects nothing before: any
            worker of the server can answer it. Its arguments hold at most one iterator or byte stream, and
            promises; an answer that holds more goes on as a session of that call. None: a URL of HTTP
            begins with ``"http"`` and moves to WebSocket as soon as one stands, and back where it breaks; a
            URL of WebSocket is that.
        service: what the server may call here, as ``context.remote``; not over ``"exchange"``.
        ssl_context: for https and wss; the default verifies certificates.
        limits: what this side accepts.
        follow: asked with the URL that a server names which goes away, whether the client may go on there,
            with the same headers; without it the client goes on at its own URL.

    Raises:
        ValueError: the URL, a header or the transport cannot be used. NetworkError is raised on entering.
            A connection that is lost before the server's hello is not tried again over a transport that was
            asked for; without one, HTTP and WebSocket are both tried.
    """
    where = parse_url(url)
    if transport not in (None, "websocket", "http", "sse", "exchange"):
        raise ValueError(
            f"transport={transport!r} is none that connect() has: 'websocket', 'http', 'sse' or 'exchange'."
        )
    routes = _Routes(url, transport, headers, timeout, ssl_context, limits, follow)
    client: Http1Client | None = None
    if transport in ("http", "sse", "exchange") or "http" in where.transports:
        client = routes.add_client(url)
    make = functools.partial(
        Client,
        exchanges=None if client is None else routes,
        limits=limits,
        timeout=timeout,
        service=service,
        resume=True,
    )
    if client is not None and transport != "websocket":
        client.check_headers()
        if transport == "exchange":
            if service is not None:
                raise ValueError("service= offers functions to the server, which cannot call in an exchange.")
            return make(None)
    first, better = routes.ways(url, client)
    return make(first, upgrade=better, again=routes.again)


@final
class _Routes:
    """The ways of one client, and its HTTP clients: the first makes its exchanges, the others open
    successors' sessions.
    """

    # One for each client, of which a process may have thousands: closures took four times as much.
    __slots__ = ("_clients", "_follow", "_headers", "_limits", "_ssl", "_timeout", "_transport", "_url")

    def __init__(
        self,
        url: str,
        transport: TransportName | None,
        headers: HeaderSource,
        timeout: float,
        ssl_context: ssl.SSLContext | None,
        limits: Limits | None,
        follow: Callable[[str], bool] | None,
    ) -> None:
        self._url = url
        self._transport = transport
        self._headers = headers
        self._timeout = timeout
        self._ssl = ssl_context
        self._limits = limits
        self._follow = follow
        self._clients: list[Http1Client] = []

    def add_client(self, url: str) -> Http1Client:
        """Make one more client of HTTP, which is closed when all are."""
        client = Http1Client(
            url, headers=self._headers, timeout=self._timeout, ssl_context=self._ssl, limits=self._limits
        )
        # Successors follow each other; what the one before the last had kept is not needed any more.
        while len(self._clients) > 2:
            self._clients.pop(1).close()
        self._clients.append(client)
        return client

    def again(self, elsewhere: str | None) -> Ways:
        """The ways of a successor, where the server named one and the client may follow."""
        follow = self._follow
        there = elsewhere if elsewhere and follow is not None and follow(elsewhere) else self._url
        # With connections of its own: those that are kept lead to the server that goes away.
        return self.ways(there, self.add_client(there) if self._clients else None)

    def ways(self, url: str, client: Http1Client | None) -> Ways:
        """How the transports of one session to ``url`` are opened, and a better one beside them."""
        if client is None or self._transport == "websocket":
            return Way(url, self._dial, client), None
        if self._transport is not None:
            return HttpSessions(client, self._transport), None
        sessions = HttpSessions(client, "http", ELSEWHERE)
        way = Way(url, functools.partial(self._dial_beside, sessions), client)
        return Choice(sessions, way), way

    async def _dial(
        self, url: str, accept: AcceptTransport, beside: tuple[str, str] | None = None
    ) -> Transport:
        return await connect_websocket(
            url,
            accept,
            headers=self._headers,
            timeout=self._timeout,
            ssl_context=self._ssl,
            limits=self._limits,
            beside=beside,
        )

    async def _dial_beside(self, sessions: HttpSessions, url: str, accept: AcceptTransport) -> Transport:
        """Find the worker that holds the session, where nobody steers requests to it (TW-SES-107)."""
        beside = (sessions.route, sessions.worker) if sessions.worker else None
        left = ELSEWHERE
        while True:
            try:
                return await self._dial(url, accept, beside)
            except AnotherWorker:
                left -= 1
                if not left:
                    raise

    def make(self) -> OutgoingExchange:
        """Make the transport of one exchange."""
        return self._clients[0].make()

    def close(self) -> None:
        """Drop the connections that nobody uses."""
        for client in self._clients:
            client.close()


async def serve(
    # Any: a service of any provider.
    service: Service[Any],
    *,
    host: str | None = "127.0.0.1",
    port: int = 8000,
    path: str = "/telewire",
    ssl_context: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    origins: Collection[str] = (),
    hosts: Collection[str] = (),
    trusted_proxies: Collection[str] = (),
    server_limits: ServerLimits | None = None,
    resume_window: float | None = None,
    until: Callable[[], Awaitable[object]] | None = None,
    drain_seconds: float = DRAIN_SECONDS,
    reconnect_after: float | None = None,
    elsewhere: str | None = None,
    on_started: Callable[[int], object] | None = None,
) -> None:
    """Serve ``service`` over WebSocket, HTTP sessions and exchanges on one port, until cancelled.

    Then no further call is taken, those that run are closed as going away, and user code is waited for
    while it cleans up, within bounds. ``until`` ends it gently: when that has returned, clients are asked to
    leave (telewire's own open another session, at another server where there is one, and make their
    calls there) and what is open may go on for ``drain_seconds``; then as above. The port stays open
    meanwhile, for clients that come back to their session. :func:`serve_until_signal` does either, as
    the program is told to end.

    Args:
        service: what is served.
        host: the address to bind; None: all.
        port: 0 takes a free one.
        path: where clients connect to.
        ssl_context: serve wss and https.
        limits: what this side accepts.
        origins: web origins that may connect besides the server's own.
        hosts: names in the Host header that are allowed besides the bound ones.
        trusted_proxies: addresses or networks of proxies that are believed when they say, in
            ``X-Forwarded-For`` or ``Forwarded``, who is behind them; ``"localhost"`` for one on this machine.
        server_limits: what all connections may take together; beyond it they get status 503.
        resume_window: seconds for which a client that lost its connection is waited for; 60 unless
            ``limits`` say otherwise.
        until: an async function without arguments, say ``event.wait``.
        drain_seconds: how long what is open may go on when that has returned; less, where nothing is.
        reconnect_after: seconds that clients shall wait before they open another session then; each adds a
            random time, as long again at most.
        elsewhere: the address at which they shall do it, for clients that are allowed to follow.
        on_started: called with the port once connections are accepted.

    Raises:
        OSError: the address cannot be bound.
    """
    limits = (limits or Limits()).with_resume_window(resume_window)
    admission = Admission(server_limits)
    server = Server(current_backend(), service, limits, admission)
    door = make_door(host, path, limits, origins, hosts, trusted_proxies, admission)
    downlinks = Downlinks(server.principal_of)
    session = session_route(server.accept, door, downlinks)
    door.routes[b"GET"] = websocket_route(server.accept, door.limits, downlinks.worker)
    door.routes[b"POST"] = exchange_route(server.accept_exchange, door, session, downlinks)
    listener = await listen_web(door, host=host, port=port, ssl_context=ssl_context)
    try:
        if on_started is not None:
            on_started(listener.port)
        if until is None:
            await anyio.sleep_forever()
        else:
            await until()
            farewell = Farewell(reconnect_after=reconnect_after, elsewhere=elsewhere)
            await server.drain(drain_seconds, farewell, listener.refuse_new)
    finally:
        with anyio.CancelScope(shield=True):
            await listener.aclose()
            with anyio.move_on_after(CLOSE_SECONDS):
                await server.aclose()
                await listener.wait_closed()
            with anyio.move_on_after(CLOSE_SECONDS):
                await server.abort()
