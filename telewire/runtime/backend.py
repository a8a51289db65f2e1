"""Backend: the few things that asyncio and trio do differently, behind one small surface.

anyio gives structure elsewhere; a call costs one native task and native wake-ups only, because a
scope, a lock or a group for each call would cost more than the call (``benchmarks/README.md``).
Everything here is called on the loop's thread, except :meth:`Backend.call_soon_threadsafe`.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import math
import sys
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, Final, Protocol, final

import anyio

if TYPE_CHECKING:
    import trio

__all__ = ["Backend", "Signal", "Task", "Timer", "current_backend"]

# How often a thread that waits for the loop looks whether there still is one: nobody tells it.
GONE_SECONDS: Final = 0.25


class Task(Protocol):
    """A running task that can be cancelled from outside."""

    def cancel(self) -> object:
        """Cancel the task at its next (or present) await; no effect once it has ended."""


class Timer(ABC):
    """A callback armed for a time."""

    @abstractmethod
    def cancel(self) -> None:
        """Disarm; no effect once it has run."""


class Signal(ABC):
    """Set once, awaited by any number of tasks; a wait after :meth:`set` returns at once."""

    __slots__ = ()

    @abstractmethod
    def set(self) -> None:
        """Wake everyone who waits, now and later."""

    @abstractmethod
    def wait(self) -> Awaitable[None]:
        """Park until :meth:`set`; await it at once. Raises only the backend's cancellation."""


class Backend(ABC):
    """The running event loop."""

    name: str

    @abstractmethod
    def now(self) -> float:
        """The loop's clock, in seconds; the same clock as ``anyio.current_time()``."""

    @abstractmethod
    def spawn(
        self,
        function: Callable[..., Coroutine[Any, Any, object]],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Task:
        """Run ``function(*args)`` in a task of its own, in ``context`` or a copy of this one.

        ``function`` must handle its exceptions: one that escapes is given to the loop's own
        handler (asyncio) or ends the program (trio), as any bug of ours should.
        """

    def cancel(self, task: Task) -> None:
        """Cancel a task as anyio does: where it is in a shielded scope, when it has left that."""
        task.cancel()

    def start(self, function: Callable[[], Coroutine[Any, Any, object]]) -> Task:
        """The same for a caller who holds the task until it has ended; they begin in this order."""
        return self.spawn(function)

    @abstractmethod
    def call_soon(self, callback: Callable[[], object]) -> None:
        """Run ``callback`` in the next pass of the loop."""

    @abstractmethod
    def call_soon_threadsafe(self, callback: Callable[[], object]) -> None:
        """The same, from any thread and from finalisers."""

    @property
    def gone(self) -> bool:
        """Whether the loop has ended for good, so that nothing more will be done there; from any thread."""
        return False

    def block(self, done: threading.Event, what: str) -> None:
        """In another thread: wait until the loop has set ``done``; ``what`` begins the sentence.

        Raises:
            RuntimeError: the loop has ended before.
        """
        while not done.wait(GONE_SECONDS):
            if self.gone and not done.is_set():
                raise RuntimeError(
                    f"{what} waits for an event loop that has ended; close clients and servers before the "
                    "loop, so that functions in threads can end first."
                )

    @abstractmethod
    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Run ``callback`` when :meth:`now` has reached ``when``."""

    @abstractmethod
    def signal(self) -> Signal:
        """Make a :class:`Signal`.

        Raises:
            RuntimeError: in another thread than the loop's.
        """

    def deadline(self) -> float:
        """The deadline of the scopes around this task, on :meth:`now`'s clock; infinite without."""
        return anyio.current_effective_deadline()

    @abstractmethod
    async def checkpoint(self) -> None:
        """Let other tasks run once."""

    @abstractmethod
    def owns_current_thread(self) -> bool:
        """Whether the caller runs on this loop's thread."""

    def check_thread(self, what: str) -> None:
        """See that this is the loop's thread; ``what`` begins the sentence.

        Raises:
            RuntimeError: it is another.
        """
        if not self.owns_current_thread():
            raise RuntimeError(
                f"{what} was used in another thread than its event loop's; use it on the loop. (In the "
                "thread of a plain function, calls can be started and the context be used, not awaited.)"
            )


def current_backend() -> Backend:
    """The backend of the running loop; one object for each loop.

    Works in tasks and in plain callbacks of the loop.

    Raises:
        RuntimeError: no asyncio or trio loop is running in this thread.
    """
    # Looked up first, and only where it is loaded: who uses asyncio need not have trio.
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        return _TrioBackend.current()
    try:
        return _AsyncioBackend.current()
    except RuntimeError:
        raise RuntimeError(
            "telewire was used where no event loop is running; call it from an async function "
            "run by asyncio.run, trio.run or anyio.run."
        ) from None


# --- asyncio -------------------------------------------------------------------------------------


@final
class _AsyncioTimer(Timer):
    __slots__ = ("handle",)

    def __init__(self, handle: asyncio.TimerHandle) -> None:
        self.handle = handle

    def cancel(self) -> None:
        self.handle.cancel()


async def _at_once() -> None:
    """What a wait for something past is."""


@final
class _AsyncioSignal(Signal):
    """One native future for each waiter: a cancelled one disturbs no other. Most have one waiter."""

    __slots__ = ("_first", "_loop", "_others", "_set")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._set = False
        self._first: asyncio.Future[None] | None = None
        self._others: list[asyncio.Future[None]] | None = None

    def set(self) -> None:
        self._set = True
        first, self._first = self._first, None
        if first is not None and not first.done():
            first.set_result(None)
        others, self._others = self._others, None
        for future in others or ():
            if not future.done():
                future.set_result(None)

    def wait(self) -> Awaitable[None]:
        if self._set:
            return _at_once()
        future = self._loop.create_future()
        if self._first is None:
            self._first = future
        elif self._others is None:
            self._others = [future]
        else:
            self._others.append(future)
        return future


@final
class _AsyncioBackend(Backend):
    name = "asyncio"

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        # A call less for each frame.
        self.now = loop.time  # type: ignore[method-assign]  # it is what the method does
        self.call_soon = loop.call_soon  # type: ignore[method-assign, assignment]  # likewise
        self._thread = threading.get_ident()
        # The loop keeps weak references to tasks only.
        self._tasks: set[asyncio.Task[object]] = set()

    @classmethod
    def current(cls) -> _AsyncioBackend:
        loop = asyncio.get_running_loop()
        backend = _asyncio_backends.get(loop)
        if backend is None:
            for closed in [known for known in _asyncio_backends if known.is_closed()]:
                del _asyncio_backends[closed]
            backend = _asyncio_backends[loop] = cls(loop)
        return backend

    def now(self) -> float:
        return self.loop.time()

    def spawn(
        self,
        function: Callable[..., Coroutine[Any, Any, object]],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Task:
        task: asyncio.Task[object] = self.loop.create_task(function(*args), context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def start(self, function: Callable[[], Coroutine[Any, Any, object]]) -> Task:
        loop = self.loop
        if loop.get_task_factory() is None:
            # What create_task does then, for a third of its time.
            return asyncio.Task(function(), loop=loop)
        return loop.create_task(function())

    def call_soon(self, callback: Callable[[], object]) -> None:
        self.loop.call_soon(callback)

    def call_soon_threadsafe(self, callback: Callable[[], object]) -> None:
        # The loop may close between any check and the call; what was asked for is then pointless.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(callback)

    @property
    def gone(self) -> bool:
        return self.loop.is_closed()

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        return _AsyncioTimer(self.loop.call_at(when, callback))

    def signal(self) -> Signal:
        if threading.get_ident() != self._thread:
            self.check_thread("Something to wait for")
        return _AsyncioSignal(self.loop)

    def cancel(self, task: Task) -> None:
        assert isinstance(task, asyncio.Task)
        if not _is_shielded(task):
            task.cancel()
        elif not task.done():
            # Nobody tells when a scope is left. anyio asks in every pass of the loop.
            self.loop.call_later(_SHIELD_SECONDS, self.cancel, task)

    def deadline(self) -> float:
        # Asking anyio costs as much as encoding a call, and most tasks are in no scope.
        task = asyncio.current_task(self.loop)
        if task is not None and _in_no_scope(task):
            return math.inf
        return anyio.current_effective_deadline()

    async def checkpoint(self) -> None:
        await asyncio.sleep(0)

    def owns_current_thread(self) -> bool:
        return threading.get_ident() == self._thread


_SHIELD_SECONDS = 0.005


# Any: what anyio keeps of a task has no public type.
def _make_look() -> Callable[[asyncio.Task[Any]], Any]:
    """Looks up what anyio keeps of a task, where this anyio lets us look; else there seems to be a scope.

    It reads what anyio keeps for itself, so tests compare it with what anyio does.
    """
    try:
        from anyio._backends._asyncio import _task_states as states
    except ImportError:
        return lambda task: _UNKNOWN
    return states.get


class _Unknown:
    """Stands for the scope around a task, where anyio does not let us look: there may be one."""

    cancel_scope = shield = _parent_scope = None


_UNKNOWN = _Unknown()
_look = _make_look()


def _in_no_scope(task: asyncio.Task[Any]) -> bool:
    """Whether it is certain that no scope is around a task."""
    state = _look(task)
    return state is None or (state.cancel_scope is None and state is not _UNKNOWN)


def _is_shielded(task: asyncio.Task[Any]) -> bool:
    """Whether a shielded scope is around what a task awaits."""
    state = _look(task)
    scope = None if state is None else state.cancel_scope
    while scope is not None:
        if scope.shield:
            return True
        scope = scope._parent_scope
    return False


_asyncio_backends: dict[asyncio.AbstractEventLoop, _AsyncioBackend] = {}


# --- trio ----------------------------------------------------------------------------------------


@final
class _TrioTask(Task):
    __slots__ = ("scope",)

    def __init__(self, scope: trio.CancelScope) -> None:
        self.scope = scope

    def cancel(self) -> None:
        self.scope.cancel()


@final
class _TrioTimer(Timer):
    __slots__ = ("backend", "callback", "order", "when")

    def __init__(
        self, backend: _TrioBackend, when: float, order: int, callback: Callable[[], object]
    ) -> None:
        self.backend = backend
        self.when = when
        self.order = order
        self.callback: Callable[[], object] | None = callback

    def __lt__(self, other: _TrioTimer) -> bool:
        return (self.when, self.order) < (other.when, other.order)

    def cancel(self) -> None:
        if self.callback is not None:
            self.callback = None
            self.backend.timer_cancelled()


@final
class _TrioSignal(Signal):
    __slots__ = ("_set", "_tasks")

    def __init__(self) -> None:
        self._set = False
        self._tasks: dict[trio.lowlevel.Task, None] = {}

    def set(self) -> None:
        import trio

        self._set = True
        tasks, self._tasks = self._tasks, {}
        for task in tasks:
            trio.lowlevel.reschedule(task)

    async def wait(self) -> None:
        import trio

        if self._set:
            return
        task = trio.lowlevel.current_task()
        self._tasks[task] = None

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            self._tasks.pop(task, None)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        # Where both come in one pass the cancellation wins, as on asyncio.
        await trio.lowlevel.checkpoint_if_cancelled()


@final
class _TrioBackend(Backend):
    """Holds one system task a run: it owns the nursery of our tasks, so no scope surrounds users'."""

    name = "trio"

    def __init__(self) -> None:
        import trio

        self._trio = trio
        self._token = trio.lowlevel.current_trio_token()
        # Asked directly, because worker threads ask too.
        self._clock = trio.lowlevel.current_clock()
        self._thread = threading.get_ident()
        self._nursery: trio.Nursery | None = None
        self._soon: deque[Callable[[], object]] = deque()
        self._wake = trio.Event()
        self._waiting: list[tuple[Callable[..., Awaitable[object]], contextvars.Context]] = []
        self._starting: deque[tuple[trio.CancelScope, Callable[[], Coroutine[Any, Any, object]]]] = deque()
        self._timer_task_wake = trio.Event()
        self._timers: list[_TrioTimer] = []
        self._timers_made = 0
        self._timers_cancelled = 0
        trio.lowlevel.spawn_system_task(self._root)

    @classmethod
    def current(cls) -> _TrioBackend:
        import trio

        if not _trio_local:
            _trio_local.append(trio.lowlevel.RunVar("telewire_backend"))
        variable = _trio_local[0]
        try:
            known: _TrioBackend = variable.get()
            return known
        except LookupError:
            backend = cls()
            variable.set(backend)
            return backend

    async def _root(self) -> None:
        async with self._trio.open_nursery() as nursery:
            self._nursery = nursery
            for function, context in self._waiting:
                context.run(nursery.start_soon, function)
            self._waiting.clear()
            nursery.start_soon(self._run_timers)
            while True:
                await self._wake.wait()
                self._wake = self._trio.Event()
                # What these ask for runs in the next pass, else two of them could starve all tasks.
                for _ in range(len(self._soon)):
                    self._soon.popleft()()

    async def _run_timers(self) -> None:
        trio = self._trio
        while True:
            self._timer_task_wake = trio.Event()
            now = trio.current_time()
            while self._timers and self._timers[0].when <= now:
                timer = heappop(self._timers)
                callback, timer.callback = timer.callback, None
                if callback is None:
                    self._timers_cancelled -= 1
                else:
                    callback()
                # What has run must not live on in here until the next comes.
                del timer, callback
            deadline = self._timers[0].when if self._timers else float("inf")
            with trio.move_on_at(deadline):
                await self._timer_task_wake.wait()

    def timer_cancelled(self) -> None:
        """Note that a timer in the heap is dead; sweep once most of them are."""
        self._timers_cancelled += 1
        if self._timers_cancelled > 64 and self._timers_cancelled * 2 > len(self._timers):
            self._timers = [timer for timer in self._timers if timer.callback is not None]
            heapify(self._timers)
            self._timers_cancelled = 0

    def now(self) -> float:
        return self._clock.current_time()

    def spawn(
        self,
        function: Callable[..., Coroutine[Any, Any, object]],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Task:
        scope = self._trio.CancelScope()

        async def run() -> None:
            with scope:
                await function(*args)

        self._spawn(run, contextvars.copy_context() if context is None else context)
        return _TrioTask(scope)

    def start(self, function: Callable[[], Coroutine[Any, Any, object]]) -> Task:
        # Trio runs new tasks in any order; whichever comes first takes what was started first.
        scope = self._trio.CancelScope()
        self._starting.append((scope, function))
        self._spawn(self._run_next, contextvars.copy_context())
        return _TrioTask(scope)

    async def _run_next(self) -> None:
        scope, function = self._starting.popleft()
        with scope:
            await function()

    def _spawn(self, run: Callable[[], Awaitable[object]], context: contextvars.Context) -> None:
        if self._nursery is None:
            self._waiting.append((run, context))
        else:
            context.run(self._nursery.start_soon, run)

    def call_soon(self, callback: Callable[[], object]) -> None:
        self._soon.append(callback)
        self._wake.set()

    def call_soon_threadsafe(self, callback: Callable[[], object]) -> None:
        try:
            self._token.run_sync_soon(callback)
        except self._trio.RunFinishedError:
            return

    @property
    def gone(self) -> bool:
        try:
            self._token.run_sync_soon(_nothing, idempotent=True)
        except self._trio.RunFinishedError:
            return True
        return False

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        self._timers_made += 1
        timer = _TrioTimer(self, when, self._timers_made, callback)
        heappush(self._timers, timer)
        if self._timers[0] is timer:
            self._timer_task_wake.set()
        return timer

    def signal(self) -> Signal:
        self.check_thread("Something to wait for")
        return _TrioSignal()

    async def checkpoint(self) -> None:
        await self._trio.lowlevel.checkpoint()

    def owns_current_thread(self) -> bool:
        return threading.get_ident() == self._thread


def _nothing() -> None:
    """What a loop is asked to do to see whether it is there."""


# Any: trio is imported only where it runs, and RunVar is its type.
_trio_local: list[Any] = []
