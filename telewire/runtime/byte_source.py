"""Byte sources: what a byte stream of this side is made of, and how it is sent."""

from __future__ import annotations

import contextvars
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, final

from telewire.core.streams import Stream
from telewire.errors import LocalProtocolError
from telewire.limits import Limits
from telewire.runtime.backend import current_backend
from telewire.runtime.byte_chunks import Chunks, OnProgress, Progress, as_bytes
from telewire.runtime.byte_readers import BlockingReader, BytesSource, LosingReader, reader_of
from telewire.runtime.context import CloseCallbacks, OnClose
from telewire.runtime.failures import close_reason
from telewire.runtime.producer import Producer
from telewire.runtime.sources import Body, Owner, Source, SourceTask
from telewire.runtime.threads import WorkerThread, current_worker
from telewire.wire.frames import Kind
from telewire.wire.values import ValueEncodeError

if TYPE_CHECKING:
    from telewire.runtime.backend import Backend
    from telewire.runtime.running import Running

__all__ = ["ByteSource", "LocalBytes"]


@final
class LocalBytes:
    """A byte stream of this side: read here, or sent once.

    No loop is needed to make one, so what needs it comes with the first use.
    """

    def __init__(
        self, source: BytesSource, name: str | None, size: int | None, content_type: str | None
    ) -> None:
        self._source = source
        self.name = name
        self.size = size
        self.content_type = content_type
        self.taken = 0
        self.progress = Progress()
        self.chunks = Chunks()
        self._reader: AsyncIterator[object] | None = None
        self._backend: Backend | None = None
        self._callbacks: CloseCallbacks | None = None
        self._running: Running | None = None
        self._early: list[tuple[OnClose, contextvars.Context]] = []
        self._error: BaseException | None = None
        self._exhausted = False
        self.sender: ByteProducer | None = None

    @property
    def most(self) -> int:
        """How much ``read()`` takes unless told otherwise."""
        return Limits().message_bytes

    @property
    def closed(self) -> bool:
        """Whether nothing more will be read of it."""
        return self._callbacks is not None and self._callbacks.closed

    def check_thread(self) -> None:
        """See that this is its loop's thread, once it has a loop."""
        if self._backend is not None:
            self._backend.check_thread("A byte stream")

    def on_progress(self, callback: OnProgress) -> None:
        """Tell ``callback`` how far it has come."""
        self.progress.add(callback)

    def on_close(self, callback: OnClose) -> None:
        """Run ``callback`` when it is over."""
        worker = current_worker()
        if worker is not None:
            self._bind(worker.backend)
        if self._callbacks is None:
            self._early.append((callback, contextvars.copy_context()))
        else:
            self._callbacks.add(callback)

    def open(
        self, backend: Backend, room: Callable[[], int] | None = None, worker: WorkerThread | None = None
    ) -> AsyncIterator[object]:
        """Begin to read, in this context: about ``room()`` bytes ahead, and in ``worker`` where it blocks."""
        if self._reader is None:
            self._reader = reader_of(self._source, backend, room, worker)
        self._bind(backend)
        return self._reader

    def cross(self, running: Running) -> None:
        """Note the conversation in which it crosses: who leaves that waits for the callbacks."""
        self._running = running
        if self._callbacks is not None:
            self._callbacks.running = running

    def _bind(self, backend: Backend) -> CloseCallbacks:
        if self._callbacks is None:
            self._backend = backend
            self._callbacks = CloseCallbacks(backend, "a byte stream", self._running)
            for callback, context in self._early:
                self._callbacks.add(callback, context)
            self._early.clear()
        return self._callbacks

    def close(self, reason: BaseException | None) -> None:
        """It is over."""
        self._bind(current_backend()).close(reason)

    # --- counting ----------------------------------------------------------------------------

    def count(self, length: int) -> None:
        """See that the source keeps to its size, before ``length`` bytes more are given away.

        Raises:
            ValueError: it does not.
        """
        done = self.taken + length
        if self.size is not None and done > self.size:
            raise ValueError(f"The source of a byte stream of {self.size} bytes gave {done} or more.")
        self.taken = done
        assert self._backend is not None
        self.progress.tell(self._backend, done, self.size)

    def check_end(self) -> None:
        """The same at its end."""
        if self.size is not None and self.taken != self.size:
            raise ValueError(f"The source of a byte stream of {self.size} bytes ended after {self.taken}.")

    # --- reading it here ---------------------------------------------------------------------

    async def ready(self) -> bool:
        """Wait until there is something to take; false at the end."""
        reader = self.open(current_backend())
        while not self.chunks:
            if self._error is not None:
                raise self._error
            if self._exhausted or self.closed:
                return False
            try:
                chunk = as_bytes(await anext(reader))
                if chunk:
                    self.chunks.put(chunk)
            except StopAsyncIteration:
                self._exhausted = True
                try:
                    self.check_end()
                except ValueError as error:
                    self._error = error
                self.close(self._error)
            except Exception as error:
                self._error = error
                self.close(error)
            except BaseException:
                # A generator is over with it, and what a thread has read meanwhile is lost.
                if hasattr(reader, "athrow") or isinstance(reader, LosingReader):
                    self._error = LocalProtocolError(
                        "Reading this ByteStream was cancelled in the middle of a chunk, which is lost; "
                        "make another one of its source."
                    )
                raise
        return True

    def take(self, max_bytes: int | None = None) -> bytes:
        """What has been read."""
        chunk = self.chunks.take(max_bytes)
        self.count(len(chunk))
        return chunk

    @property
    def complete(self) -> bool:
        """Whether it was read to its end."""
        return self._exhausted and self._error is None

    def leave(self) -> None:
        """Nobody wants more of it: what its code waits for in a thread ends."""
        if isinstance(self._reader, BlockingReader):
            self._reader.leave()

    async def aclose(self) -> None:
        """Give it up, here or on its way."""
        if self.closed:
            return
        if self.sender is not None:
            self.sender.close()
            return
        reader = self.open(current_backend())
        self.chunks.clear()
        self.close(None)
        closing = getattr(reader, "aclose", None)
        if closing is not None:
            await closing()


@final
class ByteSource(Source):
    """A byte stream on its way: its chunks, in a task of their own."""

    kind = Kind.BYTES
    __slots__ = ("_bytes", "_discarded", "details")

    def __init__(self, local: LocalBytes, discarded: Callable[[], None]) -> None:
        if local.closed:
            raise ValueEncodeError("This ByteStream is closed; make another one of its source.")
        self._bytes = local
        self._discarded = discarded
        details = {
            "content_type": local.content_type,
            "name": local.name,
            "size": None if local.size is None else local.size - local.taken,
        }
        self.details = {key: value for key, value in details.items() if value is not None} or None

    def start(self, owner: Owner, stream: Stream, place: str) -> None:
        """Send it to its end."""
        SourceTask(owner, lambda body: ByteProducer(owner, body, stream, self._bytes, place))

    def discard(self) -> None:
        """It may be passed again."""
        self._discarded()


@final
class ByteProducer(Producer):
    """One byte stream on its way out: as a generator's items, in chunks and with its size watched."""

    __slots__ = ("_bytes", "_worker")

    def __init__(self, owner: Owner, body: Body, stream: Stream, local: LocalBytes, place: str) -> None:
        self._bytes = local
        # Held from now on: the function that made the source may end before this task begins.
        self._worker = owner.worker
        if self._worker is not None:
            self._worker.hold()
        local.sender = self
        # The source itself is first touched in the task.
        super().__init__(owner, body, stream, reader_of(b"", owner.driver.backend), None, place)

    def stopped(self, code: int, payload: bytes) -> None:
        """Nobody wants more: say so at once, then close the source in its task."""
        super().stopped(code, payload)
        self._bytes.leave()
        self._bytes.close(close_reason(code, payload, self._driver.connection))

    async def run(self) -> BaseException | None:
        """Send all of it."""
        error: BaseException | None = None
        try:
            error = await super().run()
        finally:
            self._bytes.close(error)
        return error

    async def _send_all(self) -> None:
        connection = self._driver.connection
        worker, self._worker = self._worker, None
        self._bytes.cross(self._driver.running)
        self._source = self._bytes.open(self._driver.backend, lambda: connection.room(self._stream), worker)
        if worker is not None:
            worker.release()
        # What was left when somebody read a part of it here.
        while self._bytes.chunks and not self._stopped:
            self._send(self._bytes.chunks.take(None))
        await super()._send_all()

    def _send(self, item: object) -> bool:
        chunk = as_bytes(item)
        connection, stream = self._driver.connection, self._stream
        if chunk:
            self._bytes.count(len(chunk))
            connection.send_chunk(stream, chunk)
        return connection.writable(stream)

    def _end(self, payload: bytes) -> None:
        try:
            self._bytes.check_end()
        except ValueError as error:
            self._bytes.close(self._fail(error))
        else:
            super()._end(b"")

    def _end_with(self, value: object) -> BaseException | None:
        return self._fail(LocalProtocolError("A byte stream ends without a value: leave out Return()."))
