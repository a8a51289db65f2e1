"""AsgiDownlink and take_post: an HTTP session as an ASGI server brings it (TW-SES-100 to 103)."""

from __future__ import annotations

from typing import final

from telewire.errors import NetworkError, RemoteProtocolError
from telewire.limits import Limits
from telewire.runtime.backend import Timer
from telewire.runtime.transport import PostHandler, Request
from telewire_transports.asgi.carrier import Carrier, Receive, Send
from telewire_transports.downlinks import Downlink, Downlinks
from telewire_transports.http1.body import BodyReader, write_batches
from telewire_transports.http1.events import COMMENT, write_events
from telewire_transports.http1.session_server import downlink_headers
from telewire_transports.web_door import Refusal

__all__ = ["AsgiDownlink", "take_post"]

_TICK = b""
"""Stands among the batches for a sign of life: no batch is empty."""


@final
class AsgiDownlink(Carrier):
    """A ``Transport`` whose response goes down, and for which POSTs bring what comes up."""

    handler: PostHandler

    def __init__(
        self, request: Request, receive: Receive, send: Send, limits: Limits, downlinks: Downlinks
    ) -> None:
        super().__init__(request, receive, send)
        self._limits = limits
        self._downlinks = downlinks
        self._header = downlinks.add(self)
        self._events = request.transport == "sse"
        self._begun = self._spoke = False
        self._timer: Timer | None = None

    async def run(self) -> None:
        """Stream the response until either side is done."""
        if self._events:
            self._waiting.appendleft(_TICK)
        self._tick()
        try:
            await super().run()
        finally:
            if self._error is None:
                self._downlinks.retire(self._header)
            else:
                self._downlinks.forget(self._header)
            if self._timer is not None:
                self._timer.cancel()

    def _tick(self) -> None:
        """Say something where nothing was said for a while (TW-SES-106)."""
        if not self._spoke and self._timer is not None:
            self._waiting.append(_TICK)
            self._wake()
        self._spoke = False
        self._timer = self._backend.call_at(self._backend.now() + self._limits.idle_seconds, self._tick)

    # --- Downlink --------------------------------------------------------------------------------

    def post(self, batch: bytes) -> bool:
        """Take a batch that was posted."""
        if self._over:
            raise Refusal(410, "The response of this session has just ended.")
        return self.handler.batch_posted(batch)

    def refuse(self, error: RemoteProtocolError) -> None:
        """Let the machine answer what was posted and is no batch."""
        if not self._over:
            self.handler.violation_received(error)

    def heard(self) -> None:
        """Note bytes of a POST."""
        if not self._over:
            self.handler.bytes_received()

    def leave(self) -> None:
        """The client has said farewell."""
        self.close()

    # --- the application's side ------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                if not self._closing:
                    self._error = NetworkError("The client closed the response of its session.")
                return
            if message.get("body"):
                self._error = NetworkError("A request that opens a session has no body.")
                return

    async def _put(self, batches: list[bytes]) -> None:
        await self._begin()
        self._spoke = True
        if self._events:
            body = b"".join(write_events([batch]) if batch else COMMENT for batch in batches)
        else:
            body = write_batches(batches)
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def _finish(self) -> None:
        await self._begin()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            headers = [
                (name.lower(), value)
                for name, value in downlink_headers(self.request.transport, self._header)
            ]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})


async def take_post(downlink: Downlink, receive: Receive, send: Send, limits: Limits) -> None:
    """Hand on what a POST brings; then answer.

    Raises:
        Refusal: it is not taken; nothing has been sent.
    """
    reader = BodyReader(limits.of_exchanges())
    more = empty = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            # The client has given this POST up, and sends it again.
            return
        body = message.get("body", b"")
        empty = empty and not body
        batches, error = reader.cut(body)
        downlink.heard()
        if not all([downlink.post(batch) for batch in batches]):
            raise Refusal(409, "What was posted before this has not arrived; resume the session.")
        if error is not None:
            downlink.refuse(error)
        more = message.get("more_body", False)
        error = error or (None if more else reader.end())
        if error is not None:
            raise Refusal(400, str(error))
    if empty:
        downlink.leave()
    headers = [(b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
