"""Byte readers: every kind of source of bytes as an async iterator of chunks; what blocks runs in threads."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import stat
import threading
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING, Final, Protocol, TypeAlias, TypeVar, final

import anyio
import anyio.lowlevel
import anyio.to_thread

from telewire.runtime.shapes import Convertible
from telewire.runtime.threads import WorkerThread

if TYPE_CHECKING:
    from telewire.runtime.backend import Backend

__all__ = ["BytesSource", "LosingReader", "PoolThread", "Readable", "describe_source", "reader_of"]

R = TypeVar("R")

BLOCKING_CHUNK: Final = 256 * 1024
"""Bytes of one read in a thread: a hop costs as much as copying about so many."""
READY_CHUNK: Final = 64 * 1024
"""Bytes of one read that costs no hop: a frame's worth, so that nothing is cut again."""
POOL_THREADS: Final = 40


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


def reader_of(source: BytesSource, backend: Backend) -> AsyncIterator[object]:
    """Read ``source`` chunk by chunk; nothing of it is touched before the first step.

    What blocks is read in a thread. The reader may have ``aclose``, to be called where it is left
    before its end: it closes iterators, and files that were opened here.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return _MemoryReader(source)
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        # A pipe may block for ever: it gets a thread that the pool does not miss.
        return _PathReader(path, PoolThread() if os.path.isfile(path) else OwnThread(backend))
    read = None if isinstance(source, Convertible) else getattr(source, "read", None)
    if read is not None:
        if inspect.iscoroutinefunction(read) or isinstance(source, AsyncIterable):
            return _AsyncReader(read)
        return _BlockingReader(_reads(read), OwnThread(backend))
    if isinstance(source, AsyncIterable):
        return aiter(source)
    assert isinstance(source, Iterable)
    return _BlockingReader(source, OwnThread(backend))


# --- threads -------------------------------------------------------------------------------------


class Thread(Protocol):
    """Where blocking work runs, one piece at a time."""

    async def run(self, function: Callable[[], R]) -> R:
        """Run it and wait; cancelled, the wait ends and the work goes on."""

    def end(self) -> None:
        """Nothing more will be run."""


_pool: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = anyio.lowlevel.RunVar("telewire_file_threads")


@final
class PoolThread:
    """Threads of the pool, for short work on one regular file: pieces never overlap.

    They would where a wait is cancelled: its thread still reads when the next closes the file.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()

    async def run(self, function: Callable[[], R]) -> R:
        """Run ``function``."""
        limiter = _pool.get(None)
        if limiter is None:
            limiter = anyio.CapacityLimiter(POOL_THREADS)
            _pool.set(limiter)
        return await anyio.to_thread.run_sync(self._run, function, limiter=limiter)

    def _run(self, function: Callable[[], R]) -> R:
        with self._lock:
            return function()

    def end(self) -> None:
        """A pool's threads end by themselves."""


@final
class OwnThread:
    """One thread from the first piece of work to the last, in the context of that first piece.

    A generator stepped by a pool fails where it holds what belongs to a thread, a database cursor
    for one.
    """

    __slots__ = ("_backend", "_worker")

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._worker: WorkerThread | None = None

    async def run(self, function: Callable[[], R]) -> R:
        """Run ``function``, behind what was given before.

        Raises:
            ResourceExhausted: too many threads run already.
        """
        if self._worker is None:
            self._worker = WorkerThread(self._backend, "byte stream")
        done = self._backend.signal()
        results: list[R] = []
        errors: list[BaseException] = []

        def job() -> None:
            try:
                results.append(function())
            except BaseException as error:
                errors.append(error)

        self._worker.submit(job, done.set)
        await done.wait()
        if errors:
            try:
                raise errors[0]
            finally:
                # The traceback holds this frame.
                errors.clear()
        return results[0]

    def end(self) -> None:
        """Let the thread end behind what was given to it; from any thread."""
        worker, self._worker = self._worker, None
        if worker is not None:
            if self._backend.owns_current_thread():
                worker.release()
            else:
                # The loop may be gone, and with it whoever would mind.
                with contextlib.suppress(RuntimeError):
                    self._backend.call_soon_threadsafe(worker.release)


# --- readers -------------------------------------------------------------------------------------


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

    __slots__ = ("_file", "_path", "_thread")

    def __init__(self, path: str, thread: Thread) -> None:
        self._path = path
        self._thread = thread
        self._file: IO[bytes] | None = None

    async def __anext__(self) -> bytes:
        chunk = await self._thread.run(self._step)
        if not chunk:
            self._thread.end()
            raise StopAsyncIteration
        return chunk

    def _step(self) -> bytes:
        if self._file is None:
            self._file = open(self._path, "rb", buffering=0)  # noqa: SIM115  # closed at its end or in _close
        chunk = self._file.read(BLOCKING_CHUNK)
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


class _End:
    """What stands for the end of an iterator: StopIteration cannot pass through a coroutine."""


_END: Final = _End()


@final
class _BlockingReader(LosingReader):
    """A sync iterable, stepped and closed in one thread."""

    __slots__ = ("_iterator", "_source", "_thread")

    def __init__(self, source: Iterable[object], thread: Thread) -> None:
        self._source: Iterable[object] | None = source
        self._iterator: Iterator[object] | None = None
        self._thread = thread

    async def __anext__(self) -> object:
        chunk = await self._thread.run(self._step)
        if isinstance(chunk, Awaitable):
            # A read that looks sync and is not.
            chunk = await chunk or _END
        if chunk is _END:
            self._thread.end()
            raise StopAsyncIteration
        return chunk

    def _step(self) -> object:
        if self._iterator is None:
            assert self._source is not None
            self._iterator, self._source = iter(self._source), None
        return next(self._iterator, _END)

    async def aclose(self) -> None:
        """Close the iterator, behind a step that still goes on."""
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
    while chunk := read(BLOCKING_CHUNK):
        yield chunk
