"""Link: what the runner needs of a transport, and how an address chooses one."""

from __future__ import annotations

import socket
import ssl
from typing import Protocol
from urllib.parse import urlsplit

__all__ = ["Link", "LinkFailed", "connect_socket", "open_link"]


class LinkFailed(Exception):
    """The server cannot be reached, or does not speak the transport; the text says which."""


class Link(Protocol):
    """One transport to a server."""

    def send(self, batch: bytes) -> None:
        """Send a batch; on a link that has ended this does nothing."""

    def receive(self, seconds: float) -> list[bytes]:
        """The batches that have come, after waiting at most so long for the first."""

    @property
    def ended(self) -> bool:
        """Whether the server has ended the transport."""

    def close(self) -> None:
        """Drop it."""


def open_link(url: str, seconds: float) -> Link:
    """Connect: over WebSocket for ws and wss, by an exchange for http and https.

    ``session+http`` is an HTTP session, ``sse+http`` one whose downlink is an event stream; https alike.

    Raises:
        LinkFailed: see the text.
    """
    from telewire_spec.links.exchange import ExchangeLink
    from telewire_spec.links.session import SessionLink
    from telewire_spec.links.websocket import WebSocketLink

    scheme = urlsplit(url).scheme
    if scheme in ("ws", "wss"):
        return WebSocketLink(url, seconds)
    if scheme in ("http", "https"):
        return ExchangeLink(url, seconds)
    kind, _, rest = scheme.partition("+")
    if kind in ("session", "sse") and rest in ("http", "https"):
        return SessionLink(url.partition("+")[2], seconds, events=kind == "sse")
    raise LinkFailed(
        f"{url} begins with {scheme!r}; use ws, wss, http or https, or session+http or sse+http."
    )


def connect_socket(url: str, seconds: float) -> socket.socket:
    """A connected socket, with TLS where the address says so.

    Raises:
        LinkFailed: nobody answers there.
    """
    where = urlsplit(url)
    secure = where.scheme in ("wss", "https")
    host = where.hostname or "127.0.0.1"
    try:
        plain = socket.create_connection((host, where.port or (443 if secure else 80)), seconds)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not secure:
            return plain
        return ssl.create_default_context().wrap_socket(plain, server_hostname=host)
    except OSError as error:
        raise LinkFailed(f"{url} cannot be reached: {error.strerror or error}.") from None
