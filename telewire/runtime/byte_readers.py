"""Byte readers: every kind of source of bytes as an async iterator of chunks; what blocks runs in threads."""

from __future__ import annotations

import functools
import inspect
import io
import os
import stat
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING, Final, Protocol, TypeAlias, final

from telewire.runtime.byte_chunks import as_bytes
from telewire.runtime.byte_threads import FileThread, OwnThread, PoolThread
from telewire.runtime.shapes import Convertible
from telewire.runtime.waits import WaitCancelled

if TYPE_CHECKING:
    from telewire.runtime.backend import Backend, Signal
    from telewire.runtime.threads import WorkerThread

__all__ = ["BlockingReader", "BytesSource", "LosingReader", "Readable", "describe_source", "reader_of"]

LARGEST_CHUNK: Final = 512 * 1024
"""Bytes of one read in a thread, once a stream has been read for a while: a hop costs more than copying
so many. It begins with ``READY_CHUNK``, since a stream that nobody reads should hold little."""
READY_CHUNK: Final = 64 * 1024
"""Bytes of one read that costs no hop: a frame's worth, so that nothing is cut again."""
LEAST_COST: Final = 256
"""What a chunk counts at least, however small: the least that it costs in credit."""


class Readable(Protocol):
    """A file, a stream or an upload: ``read(n)`` gives up to n bytes, none at the end; sync or async."""

    def read(self, size: int, /) -> bytes | Awaitable[bytes]:
        """Read."""


BytesSource: TypeAlias = (
    bytes
    | bytearray
    | memoryview
    | str
    | os.PathLike[str]
    | Readable
    | Iterable[bytes | bytearray | memoryview]
    | AsyncIterable[bytes | bytearray | memoryview]
)
"""Whatever a ``ByteStream`` can be made of."""


def describe_source(source: object) -> tuple[str | None, int | None, str | None]:
    """Name, size and content type as far as the source tells.

    Raises:
        TypeError: it is no source of bytes.
        OSError: it is a path and there is no such file.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return None, memoryview(source).nbytes, None
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        found = os.stat(path)
        return os.path.basename(path), found.st_size if stat.S_ISREG(found.st_mode) else None, None
    if isinstance(source, io.TextIOBase):
        raise TypeError('ByteStream() takes a binary file, and this one gives text; open it with mode "rb".')
    if not (hasattr(source, "read") or isinstance(source, AsyncIterable | Iterable)):
        raise TypeError(
            "ByteStream() takes bytes, a path, a binary file, an iterable or async iterable of bytes, or an "
            f"object with read(), not {type(source).__name__}."
        )
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    size = getattr(source, "size", None)
    content_type = getattr(source, "content_type", None)
    return (
        os.path.basename(name) if isinstance(name, str) and not name.startswith("<") else None,
        size if type(size) is int and size >= 0 else None,
        content_type if isinstance(content_type, str) else None,
    )


def reader_of(
    source: BytesSource,
    backend: Backend,
    room: Callable[[], int] | None = None,
    worker: WorkerThread | None = None,
) -> AsyncIterator[object]:
    """Read ``source`` chunk by chunk; nothing of it is touched before the first step.

    What blocks is read in a thread: in ``worker``, if its maker has one, or one of its own. ``room()``
    says how many bytes it may run ahead of who takes them, besides the last chunk. The reader may have
    ``aclose``, to be called where it is left before its end: it closes iterators, and files opened here.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return _MemoryReader(source)
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        # A pipe may block for ever: it gets a thread that the pool does not miss.
        return _PathReader(path, PoolThread() if os.path.isfile(path) else OwnThread(backend, worker))
    read = None if isinstance(source, Convertible) else getattr(source, "read", None)
    if read is not None:
        if inspect.iscoroutinefunction(read) or isinstance(source, AsyncIterable):
            return _AsyncReader(read)
        return BlockingReader(_reads(read), backend, room, worker)
    if isinstance(source, AsyncIterable):
        return aiter(source)
    assert isinstance(source, Iterable)
    return BlockingReader(source, backend, room, worker)


class LosingReader(AsyncIterator[object]):
    """A reader that loses what is being read where the wait for it is cancelled."""

    __slots__ = ()


@final
class _MemoryReader(AsyncIterator[bytes]):
    """What is in memory already."""

    __slots__ = ("_next", "_view", "_whole")

    def __init__(self, source: bytes | bytearray | memoryview) -> None:
        self._whole = source
        self._view = memoryview(source).cast("B") if memoryview(source).nbytes else memoryview(b"")
        self._next = 0

    async def __anext__(self) -> bytes:
        begin = self._next
        if begin >= len(self._view):
            raise StopAsyncIteration
        self._next = begin + READY_CHUNK
        if type(self._whole) is bytes:
            # Where it is all of it, Python does not copy.
            return self._whole[begin : self._next]
        return bytes(self._view[begin : self._next])


@final
class _AsyncReader(AsyncIterator[object]):
    """An object with an async ``read``. Whoever made it closes it."""

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[int], Awaitable[object]]) -> None:
        self._read = read

    async def __anext__(self) -> object:
        chunk = await self._read(READY_CHUNK)
        if not chunk:
            raise StopAsyncIteration
        return chunk


@final
class _PathReader(LosingReader):
    """A file by its path, opened with the first step and closed with the last."""

    __slots__ = ("_file", "_path", "_size", "_thread")

    def __init__(self, path: str, thread: FileThread) -> None:
        self._path = path
        self._thread = thread
        self._file: IO[bytes] | None = None
        self._size = READY_CHUNK

    async def __anext__(self) -> bytes:
        chunk = await self._thread.run(self._step)
        if not chunk:
            self._thread.end()
            raise StopAsyncIteration
        return chunk

    def _step(self) -> bytes:
        if self._file is None:
            self._file = open(self._path, "rb", buffering=0)  # noqa: SIM115  # closed at its end or in _close
        chunk = self._file.read(self._size)
        self._size = min(2 * self._size, LARGEST_CHUNK)
        if not chunk:
            self._file.close()
        return chunk

    async def aclose(self) -> None:
        """Close the file, behind a read that still goes on."""
        try:
            await self._thread.run(self._close)
        finally:
            self._thread.end()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()

    def __del__(self) -> None:
        self._close()
        self._thread.end()


@final
class BlockingReader(LosingReader):
    """A sync iterable, stepped and closed in one thread.

    The thread steps ahead as far as there is room, since a hop for each small chunk would cost more
    than the chunk. What it has is handed over at once: a step that blocks holds nothing back.
    """

    __slots__ = (
        "_arrived",
        "_backend",
        "_error",
        "_iterator",
        "_leaving",
        "_over",
        "_room",
        "_signal",
        "_source",
        "_stepping",
        "_thread",
        "_told",
    )

    def __init__(
        self,
        source: Iterable[object],
        backend: Backend,
        room: Callable[[], int] | None,
        worker: WorkerThread | None,
    ) -> None:
        self._source: Iterable[object] | None = source
        self._iterator: Iterator[object] | None = None
        self._backend = backend
        self._room = room
        self._thread = OwnThread(backend, worker)
        self._signal: Signal | None = None
        self._stepping = False
        # These are shared with the thread. Each is written by one side only, but _told, which the
        # thread sets before it calls the loop, and the loop clears before it looks.
        self._arrived: deque[object] = deque()
        self._error: BaseException | None = None
        self._over = False
        self._leaving = False
        self._told = False

    async def __anext__(self) -> object:
        while not self._arrived:
            if self._over and not self._stepping:
                self._thread.end()
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            if not self._stepping:
                room = READY_CHUNK if self._room is None else self._room()
                self._thread.submit(functools.partial(self._steps, room), self._stepped)
                self._stepping = True
            self._signal = self._backend.signal()
            await self._signal.wait()
        first = self._arrived.popleft()
        if isinstance(first, Awaitable):
            # A read that looks sync and is not; at its end it gives nothing, and would be asked again.
            chunk = await first
            if not chunk:
                await self.aclose()
                raise StopAsyncIteration
            return chunk
        return self._joined(as_bytes(first))

    def _joined(self, first: bytes) -> bytes:
        """A chunk with those that came with it, up to a frame's worth."""
        arrived = self._arrived
        size = len(first)
        parts = [first]
        while arrived and type(arrived[0]) is bytes and size + len(arrived[0]) <= READY_CHUNK:
            parts.append(arrived.popleft())  # type: ignore[arg-type]  # bytes, as just seen
            size += len(parts[-1])
        return first if len(parts) == 1 else b"".join(parts)

    def _stepped(self) -> None:
        self._stepping = False
        self._wake()

    def _wake(self) -> None:
        self._told = False
        if self._signal is not None:
            self._signal.set()
            self._signal = None

    # --- in the thread ---------------------------------------------------------------------------

    def _steps(self, room: int) -> None:
        try:
            if self._iterator is None:
                assert self._source is not None
                self._iterator, self._source = iter(self._source), None
            for chunk in self._iterator:
                self._arrived.append(chunk)
                room -= max(len(chunk), LEAST_COST) if isinstance(chunk, bytes) else room
                if room <= 0 or self._leaving:
                    return
                if not self._told:
                    self._told = True
                    self._backend.call_soon_threadsafe(self._wake)
        except WaitCancelled:
            # We have left. Its traceback holds what the code held, which ends with that.
            pass
        except BaseException as error:
            self._error = error
        self._over = True

    def leave(self) -> None:
        """Nobody wants more of it, at once: :meth:`aclose` follows."""
        self._leaving = True
        self._thread.cancel()

    async def aclose(self) -> None:
        """Close the iterator, behind a step that still goes on."""
        self.leave()
        try:
            await self._thread.run(self._close)
        finally:
            self._thread.end()

    def _close(self) -> None:
        closing = self._source if self._iterator is None else self._iterator
        if isinstance(closing, Iterator):
            close = getattr(closing, "close", None)
            if close is not None:
                close()

    def __del__(self) -> None:
        self._thread.end()


# A generator, so that what it reads is not closed with it: whoever made it does that.
def _reads(read: Callable[[int], object]) -> Iterator[object]:
    size = READY_CHUNK
    while chunk := read(size):
        yield chunk
        size = min(2 * size, LARGEST_CHUNK)
