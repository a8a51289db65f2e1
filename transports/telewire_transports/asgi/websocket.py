"""AsgiWebSocket: one WebSocket that an ASGI server has opened, a batch a binary message."""

from __future__ import annotations

from typing import Final, final

from telewire.errors import ErrorCode, NetworkError, RemoteProtocolError
from telewire_transports.asgi.carrier import Carrier

__all__ = ["AsgiWebSocket"]

_NORMAL: Final = 1000
_UNSUPPORTED: Final = 1003
_ORDERLY: Final = frozenset({1000, 1001, 1005})


@final
class AsgiWebSocket(Carrier):
    """A ``Transport`` over the messages ``websocket.receive`` and ``websocket.send``."""

    _code = _NORMAL

    async def _read(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                code = message.get("code", 1005)
                if code not in _ORDERLY:
                    self._error = NetworkError(f"The WebSocket was closed with code {code}.")
                return
            batch = message.get("bytes")
            if self._over or self._code != _NORMAL:
                continue
            if batch is None:
                # The machine answers it; what comes until it has closed is thrown away (TW-FRM-004).
                self._code = _UNSUPPORTED
                self._error = RemoteProtocolError(
                    "The peer sent a text message; batches are binary.", ErrorCode.MALFORMED
                )
                self.handler.violation_received(self._error)
                continue
            self.handler.batch_received(bytes(batch))

    async def _put(self, batches: list[bytes]) -> None:
        for batch in batches:
            await self._send({"type": "websocket.send", "bytes": batch})

    async def _finish(self) -> None:
        await self._send({"type": "websocket.close", "code": self._code})
