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
from telewire.runtime.transport import TransportName
from telewire_transports.http1 import Http1Client, exchange_route
from telewire_transports.request_headers import HeaderSource
from telewire_transports.urls import parse_url
from telewire_transports.way import Way
from telewire_transports.web_door import listen_web, make_door
from telewire_transports.websocket import connect_websocket, websocket_route

__all__ = ["connect", "serve"]

CLOSE_SECONDS: Final = 5.0


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
        transport: ``"websocket"``, or ``"http"``, which makes each call a request of its own and connects
            nothing before; that carries at most one iterator or byte stream each way, and promises.
            None: WebSocket.
        service: what the server may call here, as ``context.remote``; over WebSocket only.
        ssl_context: for https and wss; the default verifies certificates.
        limits: what this side accepts.

    Raises:
        ValueError: the URL, a header or the transport cannot be used. NetworkError is raised on entering.
    """
    where = parse_url(url)
    if transport not in (None, "websocket", "http"):
        raise ValueError(f"transport={transport!r} is none that connect() has: 'websocket' or 'http'.")
    exchanges: Http1Client | None = None
    if transport == "http" or "http" in where.transports:
        exchanges = Http1Client(url, headers=headers, timeout=timeout, ssl_context=ssl_context, limits=limits)
    if transport == "http":
        if service is not None:
            raise ValueError("service= offers functions to the server, which cannot call over plain HTTP.")
        assert exchanges is not None
        exchanges.check_headers()
        return Client(None, exchanges=exchanges, limits=limits, timeout=timeout)
    dial = functools.partial(
        connect_websocket, headers=headers, timeout=timeout, ssl_context=ssl_context, limits=limits
    )
    open_transport = Way(url, dial, exchanges)
    return Client(
        open_transport, exchanges=exchanges, limits=limits, timeout=timeout, service=service, resume=True
    )


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
    """Serve ``service`` over WebSocket and plain HTTP on one port, until cancelled.

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
    door.routes[b"GET"] = websocket_route(server.accept, door.limits)
    door.routes[b"POST"] = exchange_route(server.accept_exchange, door)
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
