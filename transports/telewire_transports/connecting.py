"""connect and serve: by URL, by host and port, over whatever carries the conversation."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import anyio

from telewire.limits import Limits
from telewire.runtime.backend import current_backend
from telewire.runtime.client import Client
from telewire.runtime.server import Server
from telewire.runtime.service import Service
from telewire_transports.urls import parse_url
from telewire_transports.websocket import connect_websocket, serve_websocket

__all__ = ["connect", "serve"]

CLOSE_SECONDS: Final = 5.0


def connect(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    timeout: float = 10.0,
    # Any: a service of any provider.
    service: Service[Any] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    limits: Limits | None = None,
) -> Client:
    """Make a client of the server at ``url``, to be entered with ``async with`` for its remote.

    Args:
        url: http, https, ws or wss; the conversation goes over WebSocket.
        headers: real HTTP headers of the request.
        timeout: seconds for connecting and the hellos.
        service: what the server may call here, as ``context.remote``.
        ssl_context: for https and wss; the default verifies certificates.
        limits: what this side accepts.

    Raises:
        ValueError: the URL cannot be used. NetworkError is raised on entering.
    """
    parse_url(url)
    open_transport = functools.partial(
        connect_websocket, url, headers=headers, timeout=timeout, ssl_context=ssl_context, limits=limits
    )
    return Client(open_transport, limits=limits, timeout=timeout, service=service)


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
    on_started: Callable[[int], object] | None = None,
) -> None:
    """Serve ``service`` over WebSocket until cancelled; then every conversation is closed in order.

    Args:
        service: what is served.
        host: the address to bind; None: all.
        port: 0 takes a free one.
        path: where clients connect to.
        ssl_context: serve wss.
        limits: what this side accepts.
        origins: web origins that may connect besides the server's own.
        hosts: names in the Host header that are allowed besides the bound ones.
        on_started: called with the port once connections are accepted.

    Raises:
        OSError: the address cannot be bound.
    """
    server = Server(current_backend(), service, limits)
    listener = await serve_websocket(
        server.accept,
        host=host,
        port=port,
        path=path,
        ssl_context=ssl_context,
        limits=limits,
        origins=origins,
        hosts=hosts,
    )
    try:
        if on_started is not None:
            on_started(listener.port)
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            await listener.aclose()
            with anyio.move_on_after(CLOSE_SECONDS):
                await server.aclose()
            with anyio.move_on_after(CLOSE_SECONDS):
                await server.abort()
