"""Threads of plain functions: each call's function, its iterators and its callbacks stay in one of them.

A cursor of sqlite3, say, works only in the thread that made it, so no pool will do (R6). What such
code wants of the loop is done there while the thread waits; the loop never waits for a thread.
"""

from __future__ import annotations

import contextvars
import math
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, Protocol, TypeVar, final

import anyio

from telewire.errors import ErrorCode
from telewire.runtime.failures import NoThread, Refusal
from telewire.runtime.waits import WaitCancelled, Waits

if TYPE_CHECKING:
    from telewire.runtime.backend import Backend, Signal

__all__ = ["THREADS", "Abandoned", "Step", "Stepping", "WorkerThread", "current_worker", "on_loop"]

P = ParamSpec("P")
R = TypeVar("R")

THREADS: Final = 256
"""Threads of this process at most; who wants one more is refused."""

_lock = threading.Lock()
_running = 0


class _Local(threading.local):
    worker: WorkerThread | None = None


_local: Final = _Local()


def current_worker() -> WorkerThread | None:
    """The worker whose thread this is, if it is one."""
    return _local.worker


# Not an error: like a cancellation, it ends what waits and is nothing that user code handles.
class Abandoned(BaseException):
    """Nobody waits any longer for a step that did not end in time; it goes on in its thread."""


class Stepping(Protocol):
    """The task that waits for steps: ``step`` is the one in progress, which cannot be cancelled."""

    step: Step[Any] | None

    def cancel_body(self, again: bool = False) -> None:
        """Cancel what user code awaits, once; ``again`` where it has had time enough to clean up."""


@final
class WorkerThread:
    """One thread for code of one call: jobs run in it one after the other, in one context.

    It ends when nobody holds it any more: a new one is held once, by who made it.

    Raises:
        NoThread: too many run already.
    """

    def __init__(self, backend: Backend, name: str) -> None:
        self.backend = backend
        self.waits = Waits(backend)
        """What the job in progress waits for."""
        self._jobs: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._holders = 1
        self._context = contextvars.copy_context()
        _claim()
        thread = threading.Thread(target=self._work, name=f"telewire {name}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            _free()
            raise _exhausted("the system starts no more") from error

    def hold(self) -> None:
        """Keep the thread; the caller owes :meth:`release`."""
        with _lock:
            self._holders += 1

    def release(self) -> None:
        """Let the thread end, if this was the last holder. From any thread: the loop may be gone."""
        with _lock:
            self._holders -= 1
            over = not self._holders
        if over:
            self._jobs.put(None)

    def submit(
        self, job: Callable[[], object], done: Callable[[], object], waits: Waits | None = None
    ) -> None:
        """Run ``job``, which handles its exceptions, behind those before it; then ``done`` on the loop.

        Whoever may end it early gives ``waits``, and ends those.
        """
        self.hold()

        def run() -> None:
            self.waits = Waits(self.backend) if waits is None else waits
            self._context.run(job)
            self.release()
            self.backend.call_soon_threadsafe(done)

        self._jobs.put(run)

    def _work(self) -> None:
        _local.worker = self
        try:
            while True:
                job = self._jobs.get()
                if job is None:
                    return
                job()
                # A result of the job must not live on in here.
                del job
        finally:
            _free()


@final
class Step(Generic[R]):
    """One job of a worker, awaited on the loop: ``await Step(stepping, worker, function)``.

    A cancellation waits for its end: a thread cannot be interrupted, except where its code waits for
    the loop (:meth:`cancel`, and the deadline of the scope around). :meth:`abandon` ends the wait.
    """

    __slots__ = (
        "_abandoned",
        "_error",
        "_function",
        "_signal",
        "_stepping",
        "_unwound",
        "_value",
        "_waits",
        "_worker",
    )

    def __init__(self, stepping: Stepping, worker: WorkerThread, function: Callable[[], R]) -> None:
        self._stepping = stepping
        self._worker = worker
        self._function: Callable[[], R] | None = function
        self._signal: Signal = worker.backend.signal()
        self._waits = Waits(worker.backend)
        self._abandoned = False
        self._unwound = False
        self._value: R | None = None
        self._error: BaseException | None = None

    def cancel(self) -> None:
        """Nobody wants it any more: its code is unwound where it waits for the loop, now or later."""
        self._waits.cancel()

    def abandon(self) -> None:
        """Wait no longer."""
        self._abandoned = True
        self._waits.cancel()
        self._signal.set()

    def __await__(self) -> Generator[Any, Any, R]:
        return self._wait().__await__()

    async def _wait(self) -> R:
        backend = self._worker.backend
        deadline = backend.deadline()
        timer = None if deadline == math.inf else backend.call_at(deadline, self.cancel)
        self._stepping.step = self
        self._worker.submit(self._run, self._signal.set, self._waits)
        try:
            with anyio.CancelScope(shield=True):
                await self._signal.wait()
        except BaseException:
            # The loop itself is ending: it cancels regardless.
            self.abandon()
            raise
        finally:
            self._stepping.step = None
            if timer is not None:
                timer.cancel()
        if self._abandoned:
            raise Abandoned
        if self._unwound:
            await self._end_as_cancelled(backend)
        error, self._error = self._error, None
        if error is not None:
            raise error
        value, self._value = self._value, None
        return value  # type: ignore[return-value]  # what the function returned

    async def _end_as_cancelled(self, backend: Backend) -> None:
        """Its code was unwound: end as an await does that was cancelled."""
        # Where the deadline of a scope did it, that is the scope's to tell.
        await backend.checkpoint()
        await backend.checkpoint()
        self._stepping.cancel_body()
        await backend.checkpoint()
        raise Refusal(ErrorCode.STOPPED)

    def _run(self) -> None:
        # What it holds ends with it, whoever still refers to this step: a timer, say.
        function, self._function = self._function, None
        assert function is not None
        try:
            value = function()
        except WaitCancelled:
            # Not kept: its traceback holds what the code held, which ends with that.
            self._unwound = True
            return
        except BaseException as error:
            self._error = error
            return
        finally:
            del function
        if self._abandoned:
            close = getattr(value, "close", None)
            if callable(close):
                close()
        else:
            self._value = value


def on_loop(backend: Backend, what: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call ``function`` on the loop from one of our threads, in the caller's context, and wait for it.

    Raises:
        RuntimeError: this is a thread of somebody else's, or the loop has ended. ``what`` begins the
            sentence.
    """
    worker = _local.worker
    if worker is None or worker.backend is not backend:
        backend.check_thread(what)
    outcome: Future[R] = Future()
    done = threading.Event()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            outcome.set_result(context.run(function, *args, **kwargs))
        except BaseException as error:
            outcome.set_exception(error)
        finally:
            done.set()

    backend.call_soon_threadsafe(run)
    backend.block(done, what)
    return outcome.result()


def _claim() -> None:
    global _running
    with _lock:
        if _running >= THREADS:
            raise _exhausted(f"{THREADS} are running")
        _running += 1


def _free() -> None:
    global _running
    with _lock:
        _running -= 1


def _exhausted(why: str) -> NoThread:
    error = NoThread(f"No thread is left for one more plain function: {why}; try again later.")
    error.retryable = True
    return error
