"""Way: opens WebSockets to one server, and learns where a framework has mounted it.

Starlette, and others after it, answer below a mounted path only: ``/telewire/`` and what follows, not
``/telewire``, which is what people write.
"""

from __future__ import annotations

from typing import Final, Protocol, final
from urllib.parse import urlsplit

from telewire.runtime.transport import AcceptTransport, Transport
from telewire_transports.http1 import Http1Client
from telewire_transports.urls import parse_url
from telewire_transports.websocket.client import HandshakeRefused

__all__ = ["Way"]

_NOT_HERE: Final = frozenset({301, 302, 307, 308, 403, 404})


class Dial(Protocol):
    """Opens a WebSocket to a URL."""

    async def __call__(self, url: str, accept: AcceptTransport) -> Transport:
        """Open it."""


@final
class Way:
    """What a client opens its transports with; ``exchanges`` are told what was learnt."""

    def __init__(self, url: str, dial: Dial, exchanges: Http1Client | None) -> None:
        self._url = url
        self._dial = dial
        self._exchanges = exchanges

    async def __call__(self, accept: AcceptTransport) -> Transport:
        """Open one; where nobody answers at the path, look once below it.

        Raises:
            NetworkError: there is no way.
        """
        try:
            return await self._dial(self._url, accept)
        except HandshakeRefused as error:
            below = _below(self._url)
            if below is None or error.status not in _NOT_HERE:
                raise
            try:
                transport = await self._dial(below, accept)
            except HandshakeRefused:
                raise error from None
            self._url = below
            if self._exchanges is not None:
                self._exchanges.where = parse_url(below)
            return transport


def _below(url: str) -> str | None:
    parts = urlsplit(url)
    return None if parts.path.endswith("/") else parts._replace(path=parts.path + "/").geturl()
