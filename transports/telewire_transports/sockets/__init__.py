"""Byte streams over TCP and TLS: one small push-style surface on asyncio and on trio.

No anyio stream stands in the path of the bytes: a reader that awaits each read costs three times
as much on asyncio as a protocol that is called (``benchmarks/README.md``).
"""

from __future__ import annotations

import ssl

import anyio

from telewire.errors import NetworkError
from telewire.runtime.backend import current_backend
from telewire_transports.sockets.contract import ByteHandler, ByteLink, Gate, LinkFactory, Listener
from telewire_transports.sockets.tuning import bind

__all__ = ["ByteHandler", "ByteLink", "LinkFactory", "Listener", "listen", "open_link"]


async def open_link(
    host: str,
    port: int,
    factory: LinkFactory,
    *,
    ssl_context: ssl.SSLContext | None = None,
    timeout: float = 10.0,
) -> ByteLink:
    """Connect to ``host`` and ``port``, over TLS where a context is given.

    ``factory`` is called with the link once it stands, and returns who handles its bytes. The caller
    owes :meth:`ByteLink.close` or :meth:`ByteLink.abort`, unless the handler has learnt of a loss.

    Raises:
        NetworkError: nobody answered within ``timeout`` seconds, or the connection was refused.
    """
    try:
        with anyio.fail_after(timeout):
            if current_backend().name == "trio":
                from telewire_transports.sockets import on_trio

                return await on_trio.open_link(host, port, factory, ssl_context)
            from telewire_transports.sockets import on_asyncio

            return await on_asyncio.open_link(host, port, factory, ssl_context)
    except TimeoutError as error:
        raise NetworkError(
            f"Connecting to {host} port {port} took longer than {timeout:g} s; "
            "check the address, or give more time with timeout=."
        ) from error
    except OSError as error:
        raise NetworkError(
            f"Could not connect to {host} port {port}: {error}. Is a server listening there?"
        ) from error


async def listen(
    host: str | None,
    port: int,
    factory: LinkFactory,
    *,
    ssl_context: ssl.SSLContext | None = None,
    handshake_timeout: float = 10.0,
    gate: Gate | None = None,
) -> Listener:
    """Accept links on ``host`` (None: every interface) and ``port`` (0: a free one) until closed.

    A TLS handshake may take ``handshake_timeout`` seconds, and ``gate`` says for whom there is room to
    begin one. The caller owes :meth:`Listener.aclose`.

    Raises:
        OSError: the address cannot be bound; the message names it.
    """
    sockets = await bind(host, port)
    if current_backend().name == "trio":
        from telewire_transports.sockets import on_trio

        return await on_trio.listen(sockets, factory, ssl_context, handshake_timeout, gate)
    from telewire_transports.sockets import on_asyncio

    return await on_asyncio.listen(sockets, factory, ssl_context, handshake_timeout, gate)
