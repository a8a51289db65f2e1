"""Byte threads: where sources and files that block are worked on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, final

import anyio
import anyio.lowlevel
import anyio.to_thread

from telewire.runtime.threads import WorkerThread
from telewire.runtime.waits import Waits

if TYPE_CHECKING:
    from telewire.runtime.backend import Backend

__all__ = ["FileThread", "OwnThread", "PoolThread"]

R = TypeVar("R")

POOL_THREADS: Final = 40


class FileThread(Protocol):
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
    for one. One whose maker had such a thread is stepped in that.
    """

    __slots__ = ("_backend", "_waits", "_worker")

    def __init__(self, backend: Backend, worker: WorkerThread | None = None) -> None:
        self._backend = backend
        self._waits = Waits(backend)
        self._worker = worker
        if worker is not None:
            worker.hold()

    def submit(self, job: Callable[[], object], done: Callable[[], object]) -> None:
        """Run ``job``, which handles its exceptions, behind what was given before; then ``done``.

        Raises:
            ResourceExhausted: too many threads run already.
        """
        self._submit(job, done, self._waits)

    def cancel(self) -> None:
        """Nobody wants what was submitted: its code is unwound where it waits for the loop."""
        self._waits.cancel()

    def _submit(self, job: Callable[[], object], done: Callable[[], object], waits: Waits) -> None:
        if self._worker is None:
            self._worker = WorkerThread(self._backend, "byte stream")
        self._worker.submit(job, done, waits)

    async def run(self, function: Callable[[], R]) -> R:
        """Run ``function``, behind what was given before; :meth:`cancel` does not end its waits."""
        done = self._backend.signal()
        results: list[R] = []
        errors: list[BaseException] = []

        def job() -> None:
            try:
                results.append(function())
            except BaseException as error:
                errors.append(error)

        waits = Waits(self._backend)
        self._submit(job, done.set, waits)
        try:
            await done.wait()
        except BaseException:
            # Out of patience: it goes on, and waits for nothing more.
            waits.cancel()
            raise
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
            worker.release()
