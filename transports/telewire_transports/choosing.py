"""Choice: what a client that may choose opens its transports with: what works at once (TW-SES-107)."""

from __future__ import annotations

from typing import Final, final

import anyio

from telewire.errors import NetworkError, TelewireError, TransportUnsuitable
from telewire.runtime.transport import AcceptTransport, Transport
from telewire_transports.http1 import HttpSessions
from telewire_transports.way import Way

__all__ = ["Choice"]

SHARE: Final = 0.4
"""Of the time for connecting, what HTTP may take before WebSocket is tried."""


@final
class Choice:
    """Opens an HTTP session, which works wherever HTTP does; where there is none, a WebSocket."""

    def __init__(self, sessions: HttpSessions, way: Way) -> None:
        self._sessions = sessions
        self._way = way
        self._unsuitable = False

    async def __call__(self, accept: AcceptTransport) -> Transport:
        """Open one.

        Raises:
            NetworkError: neither way is open; it tells of the WebSocket.
        """
        error: TelewireError | None = None
        if not self._unsuitable:
            with anyio.move_on_after(SHARE * self._sessions.client.timeout):
                try:
                    return await self._sessions(accept)
                except TransportUnsuitable as failed:
                    error, self._unsuitable = failed, True
                except NetworkError as failed:
                    error = failed
        try:
            return await self._way(accept)
        except NetworkError as failed:
            raise failed from error
