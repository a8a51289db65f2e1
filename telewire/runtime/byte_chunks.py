"""Byte chunks: what waits to be taken of a byte stream, and who hears how far it has come."""

from __future__ import annotations

import contextvars
import inspect
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeAlias, final

from telewire.runtime.failures import log_bug

if TYPE_CHECKING:
    from telewire.runtime.backend import Backend

__all__ = ["Chunks", "OnProgress", "Progress", "as_bytes"]

OnProgress: TypeAlias = Callable[[int, int | None], object]
"""A callback of ``on_progress``: bytes done, and bytes in all or None where nobody said."""


@final
class Chunks:
    """Bytes that wait to be taken, in the pieces in which they came."""

    __slots__ = ("_queue", "_taken")

    def __init__(self) -> None:
        self._queue: deque[bytes] = deque()
        # Of the first piece: cutting it again and again would be quadratic.
        self._taken = 0

    def __bool__(self) -> bool:
        return bool(self._queue)

    def put(self, chunk: bytes) -> None:
        """Add a piece that is not empty."""
        self._queue.append(chunk)

    def take(self, max_bytes: int | None) -> bytes:
        """The first piece, or its first ``max_bytes``; there must be one."""
        chunk = self._queue[0]
        begin = self._taken
        if max_bytes is not None and len(chunk) - begin > max_bytes:
            self._taken = begin + max_bytes
            return chunk[begin : self._taken]
        self._queue.popleft()
        self._taken = 0
        return chunk[begin:] if begin else chunk

    def clear(self) -> None:
        """Forget them."""
        self._queue.clear()
        self._taken = 0


@final
class Progress:
    """Callbacks that hear how far a stream has come."""

    __slots__ = ("_listeners",)

    def __init__(self) -> None:
        self._listeners: list[_Listener] = []

    def add(self, callback: OnProgress) -> None:
        """Call ``callback`` from now on, in the context of whoever asked for it."""
        self._listeners.append(_Listener(callback))

    def tell(self, backend: Backend, done: int, total: int | None) -> None:
        """Tell them; one that fails is logged and not called again."""
        for listener in self._listeners:
            listener.tell(backend, done, total)


@final
class _Listener:
    """One callback. An async one hears the latest once it is through with what it was told before."""

    __slots__ = ("_busy", "_callback", "_context", "_failed", "_latest")

    def __init__(self, callback: OnProgress) -> None:
        self._callback = callback
        self._context = contextvars.copy_context()
        self._busy = False
        self._failed = False
        self._latest: tuple[int, int | None] | None = None

    def tell(self, backend: Backend, done: int, total: int | None) -> None:
        if self._failed:
            return
        if self._busy:
            self._latest = (done, total)
            return
        try:
            result = self._context.run(self._callback, done, total)
        except Exception as error:
            self._fail(error)
            return
        if inspect.iscoroutine(result):
            self._busy = True
            backend.spawn(self._finish, result, context=self._context)

    # Any: what a coroutine exchanges with its loop.
    async def _finish(self, coroutine: Coroutine[Any, Any, object]) -> None:
        try:
            await coroutine
            while self._latest is not None:
                (done, total), self._latest = self._latest, None
                result = self._callback(done, total)
                if inspect.iscoroutine(result):
                    await result
        except Exception as error:
            self._fail(error)
        finally:
            self._busy = False

    def _fail(self, error: Exception) -> None:
        self._failed = True
        log_bug(error, "An on_progress callback")


def as_bytes(chunk: object) -> bytes:
    """A chunk of a source.

    Raises:
        TypeError: it is none.
    """
    if type(chunk) is bytes:
        return chunk
    if isinstance(chunk, bytes | bytearray | memoryview):
        return bytes(chunk)
    raise TypeError(
        f"The source of a byte stream gave {type(chunk).__name__} instead of bytes"
        f"{'; encode it first' if isinstance(chunk, str) else ''}."
    )
