"""WebSocketTransport: a byte link and its frames, as the runtime wants a transport."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

from telewire.errors import NetworkError
from telewire.limits import Limits
from telewire.runtime.backend import Timer, current_backend
from telewire.runtime.transport import NOBODY, AcceptTransport, Request, TransportHandler
from telewire_transports.sockets import ByteLink
from telewire_transports.websocket.frames import FramesState, WebSocketFrames

__all__ = ["WebSocketTransport"]

# A member costs as much as a call where it is looked up through its class (CPython 3.11).
_OPEN: Final = FramesState.OPEN
_REFUSED: Final = FramesState.REFUSED


@final
class WebSocketTransport:
    """A :class:`Transport` that is also the handler of its link, from the end of the handshake on."""

    __slots__ = (
        "_aborted",
        "_error",
        "_frames",
        "_grace",
        "_link",
        "_timer",
        "_told",
        "handler",
        "request",
    )

    handler: TransportHandler

    def __init__(self, link: ByteLink, request: Request, limits: Limits, *, client: bool) -> None:
        self.request = request
        self._link = link
        self._frames = WebSocketFrames(client=client, limit=limits.batch_bytes)
        self._grace = limits.cleanup_seconds
        self._error: Exception | None = None
        self._timer: Timer | None = None
        self._aborted = False
        self._told = False

    def start(self, accept: AcceptTransport, early: bytes) -> None:
        """Hand the transport over; ``early`` is what came behind the handshake."""
        self._link.handler = self
        self.handler = accept(self)
        if early:
            self.data_received(early)

    # --- Transport -------------------------------------------------------------------------------

    @property
    def writable(self) -> bool:
        """False while more than 64 KiB wait in the link."""
        return self._link.writable

    def send(self, batches: Sequence[bytes]) -> None:
        """Queue whole batches as one write."""
        state = self._frames.state
        if (state is _OPEN or state is _REFUSED) and batches:
            self._link.writelines(self._frames.encode(batches))

    def close(self) -> None:
        """Send what is queued and a close frame, then wait for the peer's, within bounds."""
        if self._aborted:
            return
        if self._frames.state is _REFUSED:
            # What comes is not understood any more, so the peer's close frame is not waited for.
            self._link.write(self._frames.close())
            self._link.close(within=self._grace, drain=True)
            return
        if self._frames.state is not _OPEN:
            return
        self._link.write(self._frames.close())
        backend = current_backend()
        self._timer = backend.call_at(backend.now() + self._grace, self._unanswered)

    def abort(self) -> None:
        """Close at once."""
        if not self._aborted:
            self._aborted = True
            self._link.abort()

    def _unanswered(self) -> None:
        self._error = NetworkError(f"The peer did not answer the close within {self._grace:g} s.")
        self.abort()

    # --- ByteHandler -----------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Turn bytes into batches."""
        frames = self._frames
        batches = frames.receive_data(data)
        # A pong behind a full buffer would only fill it further, and the peer is not reading.
        if frames.reply and (self._link.writable or not frames.reply_is_pong):
            self._link.write(frames.reply)
        for batch in batches:
            self.handler.batch_received(batch)
            if self._aborted:
                return
        if frames.state is _OPEN:
            if not batches:
                self.handler.bytes_received()
        elif frames.state is FramesState.CLOSED:
            self._link.close(within=self._grace)
        elif frames.state is _REFUSED:
            self._refuse()
        elif frames.state is FramesState.FAILED:
            self._link.close(within=self._grace, drain=True)
        elif not batches:
            self.handler.bytes_received()

    def _refuse(self) -> None:
        """Tell the machine once what was wrong; its CLOSE leaves, and it closes, or we do after a while."""
        error = self._frames.refusal
        if error is not None and not self._told:
            self._told = True
            backend = current_backend()
            self._timer = backend.call_at(backend.now() + self._grace, self.close)
            self.handler.violation_received(error)

    def link_writable(self) -> None:
        """Pass on that there is room."""
        if self._frames.state in (_OPEN, _REFUSED) and not self._aborted:
            self.handler.transport_writable()

    def link_lost(self, error: Exception | None) -> None:
        """Report the end, with the first reason there was."""
        if self._timer is not None:
            self._timer.cancel()
        reason = self._error or self._frames.failure
        if reason is None and self._aborted:
            reason = NetworkError("The connection was aborted on this side.")
        elif reason is None and self._frames.state is not FramesState.CLOSED:
            reason = NetworkError(
                "The connection ended without a closing handshake"
                + (f": {error}." if error is not None and str(error) else ".")
            )
            reason.__cause__ = error
        self._aborted = True
        handler, self.handler = self.handler, NOBODY
        handler.transport_lost(reason)
