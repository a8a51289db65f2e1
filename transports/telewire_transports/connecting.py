"""connect and serve: by URL, by host and port, over whatever carries the conversation."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable, Collection
from typing import Any, Final

import anyio

from telewire.limits import Limits, ServerLimits
from telewire.runtime.admission import Admission
from telewire.runtime.backend import current_backend
from telewire.runtime.client import Client
from telewire.runtime.server import Server
from telewire.runtime.service import Service
from telewire.runtime.transport import AcceptTransport, Transport, TransportName
from telewire_transports.choosing import Choice
from telewire_transports.downlinks import Downlinks
from telewire_transports.http1 import Http1Client, HttpSessions, exchange_route, session_route
from telewire_transports.request_headers import HeaderSource
from telewire_transports.urls import parse_url
from telewire_transports.way import Way
from telewire_transports.web_door import listen_web, make_door
from telewire_transports.websocket import connect_websocket, websocket_route
from telewire_transports.websocket.client import AnotherWorker

__all__ = ["connect", "serve"]

CLOSE_SECONDS: Final = 5.0
ELSEWHERE: Final = 16
"""How often a client that may choose meets workers that do not own its session, before it gives up."""


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
) -> Client:
    """Make a client of the server at ``url``, to be entered with ``async with`` for its remote.

    Args:
        url: http, https, ws or wss.
        headers: real HTTP headers of every request; a callable, sync or async, gives them anew each time.
        timeout: seconds for connecting and the hellos.
        transport: ``"websocket"``; ``"http"``, a response that streams and POSTs beside it; ``"sse"``, the
            same as events, where something on the way holds back what it does not know; or
            ``"exchange"``, which makes each call a request of its own and connects nothing before: any
            worker of the server can answer it, and it carries at most one iterator or byte stream each
            way, and promises. None: a URL of HTTP begins with ``"http"`` and moves to WebSocket as soon as
            one stands, and back where it breaks; a URL of WebSocket is that.
        service: what the server may call here, as ``context.remote``; not over ``"exchange"``.
        ssl_context: for https and wss; the default verifies certificates.
        limits: what this side accepts.

    Raises:
        ValueError: the URL, a header or the transport cannot be used. NetworkError is raised on entering.
    """
    where = parse_url(url)
    if transport not in (None, "websocket", "http", "sse", "exchange"):
        raise ValueError(
            f"transport={transport!r} is none that connect() has: 'websocket', 'http', 'sse' or 'exchange'."
        )
    client: Http1Client | None = None
    if transport in ("http", "sse", "exchange") or "http" in where.transports:
        client = Http1Client(url, headers=headers, timeout=timeout, ssl_context=ssl_context, limits=limits)
    make = functools.partial(
        Client, exchanges=client, limits=limits, timeout=timeout, service=service, resume=True
    )
    if client is not None and transport != "websocket":
        client.check_headers()
        if transport == "exchange":
            if service is not None:
                raise ValueError("service= offers functions to the server, which cannot call in an exchange.")
            return make(None)
        if transport is not None:
            return make(HttpSessions(client, transport))

    sessions = None
    if client is not None and transport is None:
        sessions = HttpSessions(client, "http", ELSEWHERE)

    async def dial(url: str, accept: AcceptTransport) -> Transport:
        beside = (sessions.route, sessions.worker) if sessions is not None and sessions.worker else None
        left = ELSEWHERE
        while True:
            try:
                return await connect_websocket(
                    url,
                    accept,
                    headers=headers,
                    timeout=timeout,
                    ssl_context=ssl_context,
                    limits=limits,
                    beside=beside,
                )
            except AnotherWorker:
                left -= 1
                if not left:
                    raise

    way = Way(url, dial, client)
    return make(way) if sessions is None else make(Choice(sessions, way), upgrade=way)


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
    on_started: Callable[[int], object] | None = None,
) -> None:
    """Serve ``service`` over WebSocket, HTTP sessions and exchanges on one port, until cancelled.

    Then no further call is taken, those that run are closed as going away, and user code is waited for
    while it cleans up, within bounds. :func:`serve_until_signal` does this when the program is told to end.

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
    door.routes[b"POST"] = exchange_route(server.accept_exchange, door, session)
    listener = await listen_web(door, host=host, port=port, ssl_context=ssl_context)
    try:
        if on_started is not None:
            on_started(listener.port)
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            await listener.aclose()
            with anyio.move_on_after(CLOSE_SECONDS):
                await server.aclose()
                await listener.wait_closed()
            with anyio.move_on_after(CLOSE_SECONDS):
                await server.abort()
