"""ByteStream: bytes that cross as they come, in constant memory, with a name and a size."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Final, Self, final

import anyio

from telewire.core.streams import Stream
from telewire.errors import CallCancelled, CancelOutcome, LocalProtocolError, ResourceExhausted
from telewire.runtime.byte_buffer import ByteBuffer, Bytes
from telewire.runtime.byte_chunks import OnProgress
from telewire.runtime.byte_file import PartFile
from telewire.runtime.byte_readers import BytesSource, describe_source
from telewire.runtime.byte_source import ByteSource, LocalBytes
from telewire.runtime.context import OnClose
from telewire.runtime.from_thread import ThreadIterator
from telewire.runtime.shapes import Converter, Convertible
from telewire.wire.values import ValueEncodeError

if TYPE_CHECKING:
    from telewire.runtime.driver import Driver

__all__ = ["ByteStream", "open_bytes"]

LARGEST_SIZE: Final = (1 << 53) - 1
SHOWN_CHARACTERS: Final = 100
SAVED_AT_ONCE: Final = 1024 * 1024


class ByteStream(Convertible):
    """Bytes that cross as they come, in constant memory; made of a source, or received.

    A source is bytes, a path, a binary file, an iterable or async iterable of bytes, an
    ``asyncio.StreamReader``, an anyio byte stream or an upload of a web framework. What blocks is
    read in a worker thread. Pass the stream once: in a result, an argument, an item or a message;
    it is read as the other side takes it, and the source is closed (files only where given by
    path) when the other side has enough. ``size``, where it is known, is a promise: another number
    of bytes is an error on the other side. Do not change a bytearray before it has been sent.

    The receiver takes it as ``async for chunk``, or by ``receive``, ``read`` or ``save``; a plain
    function in its thread takes it as ``for chunk``. ``name`` and ``content_type`` are what the other
    side says: never use such a name as a path unseen.
    Closing it, leaving it as ``async with`` or dropping the last reference stops the other side.
    """

    kind: ClassVar[str] = "bytes"
    __slots__ = ("__weakref__", "_bytes", "_passed")

    def __init__(
        self,
        source: BytesSource,
        *,
        name: str | None = None,
        size: int | None = None,
        content_type: str | None = None,
    ) -> None:
        """Make a stream of ``source``; what is not given is asked of the source.

        Raises:
            TypeError: it is no source of bytes, or a name is no text.
            ValueError: ``size`` is no number of bytes.
            OSError: it is a path and there is no such file.
        """
        if size is not None and not (type(size) is int and 0 <= size <= LARGEST_SIZE):
            raise ValueError(f"ByteStream(size={size!r}): give a number of bytes, or None.")
        for key, text in (("name", name), ("content_type", content_type)):
            if text is not None and not isinstance(text, str):
                raise TypeError(f"ByteStream({key}=…) takes a str or None, not {type(text).__name__}.")
        its_name, its_size, its_type = describe_source(source)
        self._passed = False
        self._bytes: Bytes = LocalBytes(
            source,
            its_name if name is None else name,
            its_size if size is None else size,
            its_type if content_type is None else content_type,
        )

    def __repr__(self) -> str:
        name = "" if self.name is None else f" {self.name[:SHOWN_CHARACTERS]!r}"
        size = "" if self.size is None else f" of {self.size} bytes"
        return f"<ByteStream{name}{size}, {'closed' if self.closed else 'open'}>"

    @property
    def name(self) -> str | None:
        """What the stream is called; not to be used as a path unseen."""
        return self._bytes.name

    @property
    def size(self) -> int | None:
        """How many bytes it has in all; None where nobody said."""
        return self._bytes.size

    @property
    def content_type(self) -> str | None:
        """Its media type, such as ``image/png``."""
        return self._bytes.content_type

    @property
    def closed(self) -> bool:
        """Whether nothing more will come: all of it was taken or sent, or it was given up."""
        return self._bytes.closed

    def on_progress(self, callback: OnProgress) -> None:
        """Call ``callback(done, total)`` as bytes are taken, or sent; ``total`` may be None."""
        self._bytes.on_progress(callback)

    def on_close(self, callback: OnClose) -> None:
        """Run ``callback`` once when it is over; as ``Context.on_close``."""
        self._bytes.on_close(callback)

    # --- taking ----------------------------------------------------------------------------------

    def _mine(self) -> Bytes:
        if self._passed:
            raise LocalProtocolError("This ByteStream was passed on: whoever received it reads it.")
        self._bytes.check_thread()
        return self._bytes

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The chunks as they come, never empty.

        The loop ends after the last, or where the stream is closed from this side; it raises TelewireError
        where the source failed or the stream did not have the size it said.
        """
        return _ByteIterator(self)

    def __iter__(self) -> Iterator[bytes]:
        """The same in the thread of a plain function, or of an iterator it returned: ``for chunk in stream``.

        The thread waits for each chunk while the loop goes on. Where the call is over meanwhile, or what
        this code makes is not wanted any more, the function is unwound: see :func:`telewire.wait`.

        Raises:
            RuntimeError: this is no such thread; use ``async for`` on the loop.
        """
        return ThreadIterator(self, "A plain `for` over a ByteStream")

    async def _next(self) -> bytes:
        mine = self._mine()
        if await mine.ready():
            return mine.take()
        raise StopAsyncIteration

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Up to ``max_bytes`` of what is there, waiting for the first.

        Raises:
            anyio.EndOfStream: that was all, or it was closed from this side.
            TelewireError: as for iteration.
        """
        if max_bytes < 1:
            raise ValueError(f"receive({max_bytes}): ask for at least one byte.")
        mine = self._mine()
        if await mine.ready():
            return mine.take(max_bytes)
        raise anyio.EndOfStream

    async def read(self, max_bytes: int | None = None) -> bytes:
        """All that is left, at most ``max_bytes``, or as much as one message may have (16 MiB).

        Raises:
            ResourceExhausted: there is more; take it in chunks, or save it.
            TelewireError: as for iteration; CallCancelled where it was closed from this side.
        """
        mine = self._mine()
        most = mine.most if max_bytes is None else max_bytes
        if mine.size is not None and mine.size - mine.taken > most:
            raise ResourceExhausted(_too_much(mine.size - mine.taken, most))
        parts: list[bytes] = []
        length = 0
        while await mine.ready():
            part = mine.take()
            length += len(part)
            if length > most:
                await mine.aclose()
                raise ResourceExhausted(_too_much(length, most))
            parts.append(part)
        if not mine.complete:
            raise CallCancelled(CancelOutcome.STOPPED)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def save(self, path: str | os.PathLike[str]) -> int:
        """Write all that is left to a file; returns how many bytes it has then.

        It is written beside and takes its name when it is whole; where that fails or is cancelled,
        nothing is left of it, what was there stays, and the stream is closed. Files are written in a worker
        thread.

        Raises:
            OSError: the file cannot be written.
            TelewireError: as for ``read``, without its bound.
        """
        mine = self._mine()
        file = PartFile(os.fspath(path))
        saved = 0
        try:
            await file.open()
            while await mine.ready():
                parts = [mine.take()]
                length = len(parts[0])
                while mine.chunks and length < SAVED_AT_ONCE:
                    parts.append(mine.take())
                    length += len(parts[-1])
                await file.write(parts)
                saved += length
            if not mine.complete:
                raise CallCancelled(CancelOutcome.STOPPED)
            await file.keep()
        except BaseException:
            await mine.aclose()
            with anyio.CancelScope(shield=True):
                await file.discard()
            raise
        return saved

    # --- its end ---------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Give it up: the source is closed. A loop over it ends as if finished. Safe from any task."""
        self._bytes.check_thread()
        await self._bytes.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        self._drop()

    def _drop(self) -> None:
        buffer = getattr(self, "_bytes", None)
        if isinstance(buffer, ByteBuffer) and not buffer.stream.retired:
            # At interpreter exit the loop may be gone already.
            with contextlib.suppress(RuntimeError):
                buffer.driver.finalise(buffer.stream)

    # --- crossing --------------------------------------------------------------------------------

    def set_item_converter(self, converter: Converter) -> None:
        """Bytes are never converted."""

    def describe(self, details: Mapping[str, object]) -> None:
        """Take name, size and content type; telewire calls this before you get the handle."""
        if isinstance(self._bytes, ByteBuffer):
            self._bytes.describe(details)

    def source(self) -> ByteSource:
        """What it is sent as; telewire calls this when it is passed. One that was received is relayed.

        Raises:
            ValueEncodeError: it was passed before, or is closed.
        """
        if self._passed:
            raise ValueEncodeError("This ByteStream was passed already; make one for each passing.")
        mine = self._bytes
        if isinstance(mine, LocalBytes):
            local = mine
        else:
            rest = None if mine.size is None else mine.size - mine.taken
            local = LocalBytes(_Relay(self, mine), mine.name, rest, mine.content_type)
        source = ByteSource(local, self._take_back)
        self._passed = True
        return source

    def _take_back(self) -> None:
        self._passed = False


# Not the ByteStream itself: what has __anext__ is sent as items.
@final
class _ByteIterator(AsyncIterator[bytes]):
    """A loop over a ByteStream, which it keeps."""

    __slots__ = ("_stream",)

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream

    async def __anext__(self) -> bytes:
        return await self._stream._next()

    async def aclose(self) -> None:
        """Close the stream, where this was its source."""
        await self._stream.aclose()


@final
class _Relay(AsyncIterator[bytes]):
    """A received stream as a source; it keeps the handle, which nobody else may hold."""

    __slots__ = ("_bytes", "_handle")

    def __init__(self, handle: ByteStream, received: Bytes) -> None:
        self._handle = handle
        self._bytes = received

    async def __anext__(self) -> bytes:
        if await self._bytes.ready():
            return self._bytes.take()
        if not self._bytes.complete:
            raise CallCancelled(CancelOutcome.STOPPED)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Stop the side that it came from."""
        await self._bytes.aclose()


def _too_much(length: int, most: int) -> str:
    return (
        f"The byte stream has {length} bytes or more, and read() takes {most}; take it in chunks, save() it, "
        "or raise max_bytes."
    )


def open_bytes(driver: Driver, stream: Stream) -> ByteStream:
    """Make the handle of a byte stream."""
    buffer = ByteBuffer(driver, stream)
    stream.app = buffer
    handle = ByteStream.__new__(ByteStream)
    handle._passed = False
    handle._bytes = buffer
    return handle
