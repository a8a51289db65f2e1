"""AsgiExchange: one POST that an ASGI server has received, and its streamed response (TW-SES-060)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from telewire.errors import NetworkError
from telewire.limits import Limits
from telewire.runtime.backend import Signal
from telewire.runtime.transport import PostHandler, Request
from telewire.wire.reader import write_batch
from telewire_transports.asgi.carrier import Carrier, Receive, Send
from telewire_transports.downlinks import Downlinks, Registered
from telewire_transports.http1.body import BodyReader
from telewire_transports.http1.server import RESPONSE_HEADERS

__all__ = ["AsgiExchange"]


@final
class AsgiExchange(Carrier):
    """An ``ExchangeTransport`` over the messages ``http.request`` and ``http.response.body``."""

    promotes = True
    """POSTs can be taken for it."""

    def __init__(
        self, request: Request, receive: Receive, send: Send, limits: Limits, downlinks: Downlinks
    ) -> None:
        super().__init__(request, receive, send)
        self._downlinks = downlinks
        self._idle_seconds = limits.idle_seconds
        # Once it is promoted.
        self._promoted: Registered | None = None
        self._reader = BodyReader(limits.of_exchanges())
        self._paused: Signal | None = None
        self._begun = False
        self._ended = False

    # --- ExchangeTransport -----------------------------------------------------------------------

    def send_last(self, batches: Sequence[bytes]) -> None:
        """As :meth:`send`, and end the response behind them."""
        self.send(batches)
        self.close()

    def pause(self) -> None:
        """Read nothing more of the request."""
        if self._paused is None:
            self._paused = self._backend.signal()

    def resume(self) -> None:
        """Read again."""
        if self._paused is not None:
            self._paused.set()
            self._paused = None

    # --- IncomingExchange ------------------------------------------------------------------------

    def promote(self, handler: PostHandler) -> str:
        """Name the response as a downlink, and let something leave on it every now and then."""
        self.handler = handler
        self._promoted = Registered(
            self.request, handler, self._downlinks, self._idle_seconds, self._tick, self.close
        )
        return self._promoted.header

    def _tick(self) -> None:
        # A byte string of no bytes, which is no batch (TW-SES-106).
        self.send((b"",))

    # --- the application's side ------------------------------------------------------------------

    async def run(self) -> None:
        """Stream the response until either side is done."""
        try:
            await super().run()
        finally:
            self._unregister()

    def abort(self) -> None:
        """Drop what is queued, and end."""
        super().abort()
        self._unregister()

    def _unregister(self) -> None:
        promoted, self._promoted = self._promoted, None
        if promoted is not None:
            promoted.forget(in_order=self._error is None)

    async def _read(self) -> None:
        complete = False
        while True:
            if self._paused is not None:
                await self._paused.wait()
            message = await self._receive()
            if message["type"] == "http.disconnect":
                if not self._ended:
                    self._error = NetworkError("The client closed the connection before the response ended.")
                return
            if complete:
                continue
            batches, error = self._reader.cut(message.get("body", b""))
            for batch in batches:
                if not self._over:
                    self.handler.batch_received(batch)
            if not batches:
                self.handler.bytes_received()
            if error is not None and self._begun:
                # The machine answers it; what comes until it has closed is thrown away (TW-FRM-004).
                complete = True
                self._error = error
                self.handler.violation_received(error)
                continue
            complete = not message.get("more_body", False)
            if complete and error is None:
                error = self._reader.end()
            if error is not None:
                self._error = error
                await self._refuse(str(error))
                return
            if complete:
                self.handler.input_ended()

    async def _put(self, batches: list[bytes]) -> None:
        if self._promoted is not None:
            self._promoted.spoke = True
        await self._begin()
        body = b"".join(map(write_batch, batches))
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def _finish(self) -> None:
        await self._begin()
        self._ended = True
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _refuse(self, sentence: str) -> None:
        """Say what is wrong with the request, where nothing was said yet."""
        if not self._begun:
            self._begun = True
            head = [(b"content-type", b"text/plain; charset=utf-8")]
            await self._send({"type": "http.response.start", "status": 400, "headers": head})
            await self._send({"type": "http.response.body", "body": sentence.encode() + b"\n"})

    async def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            await self._send({"type": "http.response.start", "status": 200, "headers": RESPONSE_HEADERS})
