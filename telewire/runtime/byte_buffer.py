"""ByteBuffer: what has arrived of a byte stream, between the driver and the handle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, final

from telewire.core.streams import Stream
from telewire.errors import CallCancelled, CancelOutcome, ErrorCode, RemoteProtocolError
from telewire.runtime.byte_chunks import Chunks, OnProgress, Progress
from telewire.runtime.context import CloseCallbacks, OnClose
from telewire.runtime.driver import StreamEnd
from telewire.runtime.failures import close_reason, received_error
from telewire.runtime.threads import on_loop

if TYPE_CHECKING:
    from telewire.runtime.backend import Signal
    from telewire.runtime.driver import Driver

__all__ = ["ByteBuffer", "Bytes"]


class Bytes(Protocol):
    """What a ByteStream takes its bytes from."""

    name: str | None
    size: int | None
    content_type: str | None
    taken: int
    chunks: Chunks

    @property
    def most(self) -> int:
        """How much ``read()`` takes unless told otherwise."""

    @property
    def closed(self) -> bool:
        """Whether it is over."""

    @property
    def complete(self) -> bool:
        """Whether everything has been taken, to the end that the sender meant."""

    def check_thread(self) -> None:
        """See that this is the loop's thread; RuntimeError where it is not."""

    def on_close(self, callback: OnClose) -> None:
        """Run ``callback`` when it is over."""

    def on_progress(self, callback: OnProgress) -> None:
        """Tell ``callback`` how far it has come."""

    async def ready(self) -> bool:
        """Wait until there is something to take; false at the end."""

    def take(self, max_bytes: int | None = None) -> bytes:
        """The first piece of what is there, which must be something."""

    async def aclose(self) -> None:
        """Give it up."""


@final
class ByteBuffer(StreamEnd):
    """What has arrived of a byte stream and is not taken yet; stays with the stream, not with the handle."""

    # Defaults stand on the class.
    name: str | None = None
    size: int | None = None
    content_type: str | None = None
    taken: int = 0
    complete: bool = False
    _error: BaseException | None = None
    _ended: bool = False
    _signal: Signal | None = None

    def __init__(self, driver: Driver, stream: Stream) -> None:
        self.driver = driver
        self.stream = stream
        self.chunks = Chunks()
        self.progress = Progress()
        self.callbacks = CloseCallbacks(driver.backend, "a byte stream", driver.running)

    @property
    def most(self) -> int:
        """What one message may have, so that both ways of sending bytes have one bound."""
        return self.driver.connection.limits.message_bytes

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return self.callbacks.closed

    def check_thread(self) -> None:
        """See that this is the loop's thread."""
        self.driver.backend.check_thread("A byte stream")

    def on_close(self, callback: OnClose) -> None:
        """Run ``callback`` when it is over."""
        self.callbacks.add(callback)

    def on_progress(self, callback: OnProgress) -> None:
        """Tell ``callback`` how far it has come."""
        backend = self.driver.backend
        if backend.owns_current_thread():
            self.progress.add(callback)
        else:
            on_loop(backend, "on_progress()", self.progress.add, callback)

    def describe(self, details: Mapping[str, object]) -> None:
        """Take what the reference says; all that has arrived may have arrived before."""
        # Their types were checked when the reference was decoded.
        self.name = details.get("name")  # type: ignore[assignment]  # as above
        self.size = details.get("size")  # type: ignore[assignment]  # as above
        self.content_type = details.get("content_type")  # type: ignore[assignment]  # as above
        if self.complete:
            self._check_end()
            self.callbacks.reason = self._error

    # --- from the driver -------------------------------------------------------------------------

    def chunk(self, data: bytes) -> None:
        """Keep it until it is taken: no more comes than there is credit for."""
        if not self.closed:
            self.chunks.put(data)
            self._wake()

    def ended(self, payload: bytes, declared: tuple[Stream, ...]) -> None:
        """That was all."""
        self._ended = True
        if not self.chunks:
            self._finish_at_end()

    def failed(self, code: int, payload: bytes) -> None:
        """The source failed: what it gave before comes first."""
        self._ended = True
        self._error = received_error(code, payload, connection=self.driver.connection)
        if not self.chunks:
            self._finish_at_end()

    def reset(self, code: int, payload: bytes) -> None:
        """The other side gave it up, or its call is over. What has arrived whole stays."""
        if self.closed:
            return
        if not self._ended:
            self.chunks.clear()
            if code == ErrorCode.NONE:
                # Never a short file: who reads on must not take this for the end.
                self._error = CallCancelled(CancelOutcome.STOPPED)
            else:
                self._error = received_error(code, payload, connection=self.driver.connection)
        self._finish(close_reason(code, payload, self.driver.connection))

    def dropped(self) -> None:
        """Nobody will take more."""
        self.chunks.clear()
        self._finish(None)

    def void(self, error: BaseException | None) -> None:
        """The call is ended here; its end is what the sender hears of."""
        if not self.closed:
            self.chunks.clear()
            self._error = error
            self._finish(error)

    # --- to the handle ---------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._signal is not None:
            self._signal.set()
            self._signal = None

    def _finish(self, reason: BaseException | None) -> None:
        self.callbacks.close(reason)
        self._wake()

    def _finish_at_end(self) -> None:
        """Everything has been taken."""
        if self._error is None:
            self.complete = True
            self._check_end()
        self._finish(self._error)

    def _check_end(self) -> None:
        """A stream shorter than it said is an error (TW-VAL-035)."""
        if self.size is not None and self.taken != self.size:
            self.complete = False
            self._error = RemoteProtocolError(
                f"A byte stream of {self.size} bytes ended after {self.taken}; what came is not all of it.",
                ErrorCode.MALFORMED_VALUE,
            )

    def _stop(self, error: BaseException | None) -> None:
        self.chunks.clear()
        self._error = error
        self.driver.give_up((self.stream,))
        self._finish(error)

    async def ready(self) -> bool:
        """Wait until there is something to take; false at the end."""
        while not self.chunks:
            if self._error is not None:
                raise self._error
            if self.closed:
                return False
            if self._signal is None:
                self._signal = self.driver.backend.signal()
            await self._signal.wait()
        return True

    def take(self, max_bytes: int | None = None) -> bytes:
        """A piece; its credit returns to the sender."""
        chunk = self.chunks.take(max_bytes)
        done = self.taken = self.taken + len(chunk)
        if self.size is not None and done > self.size:
            error = RemoteProtocolError(
                f"A byte stream of {self.size} bytes brought more than that.", ErrorCode.MALFORMED_VALUE
            )
            self._stop(error)
            raise error
        if not self.stream.retired:
            self.driver.connection.consumed(self.stream, len(chunk))
            self.driver.schedule()
        if self._ended and not self.chunks:
            self._finish_at_end()
        self.progress.tell(self.driver.backend, done, self.size)
        return chunk

    async def aclose(self) -> None:
        """Give it up; a loop over it ends."""
        if not self.closed:
            self._stop(None)
