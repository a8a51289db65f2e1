"""Context: what a function knows about the call it serves, and what it owes when the call is over."""

from __future__ import annotations

import contextvars
import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, final

import anyio
from typing_extensions import TypeVar

from telewire.errors import TelewireError
from telewire.runtime.failures import log_bug
from telewire.runtime.running import Running, enter_work
from telewire.runtime.threads import WorkerThread, current_worker, on_loop
from telewire.runtime.transport import Request
from telewire.runtime.waits import WaitCancelled, Waits

if TYPE_CHECKING:
    from telewire.runtime.backend import Backend, Signal
    from telewire.runtime.remote import Remote

__all__ = [
    "CloseCallbacks",
    "Closing",
    "Context",
    "ContextHolder",
    "OnClose",
    "current_call",
    "enter_context",
    "get_context",
]

S = TypeVar("S", default=Any, covariant=True)

OnClose: TypeAlias = Callable[[], object] | Callable[[Any], object]
"""A callback of ``on_close``: it gets the reason if it has a required positional parameter, or one
named ``reason``. (Any: an exception of the application is a reason too.)"""

CLEANUP_SECONDS = 5.0


class ContextHolder(Protocol):
    """What stands in the context variable: the call, which makes its context when it is asked for."""

    @property
    def context(self) -> Context[Any]:
        """The context of the call."""


_current: contextvars.ContextVar[ContextHolder] = contextvars.ContextVar("telewire_context")


def current_call() -> ContextHolder | None:
    """The call that this code serves; None outside of one."""
    return _current.get(None)


def get_context() -> Context[Any]:
    """The context of the call that this code serves.

    Works anywhere inside the call: after an await, inside a generator, in a task it started.
    (Any: only ``Service.get_context`` knows what its provider returns.)

    Raises:
        RuntimeError: this code does not run inside a call.
    """
    try:
        return _current.get().context
    except LookupError:
        raise RuntimeError(
            "get_context() was used outside of a call; call it inside a function that a Service serves, "
            "or in a test inside telewire.testing.call_context()."
        ) from None


@final
class CloseCallbacks:
    """Callbacks that run once, when something is over; the same for calls of both sides and handles."""

    # Defaults stand on the class: most calls register nothing.
    _callbacks: list[tuple[OnClose, contextvars.Context]] | None = None
    _signal: Signal | None = None
    closed: bool = False
    reason: BaseException | None = None

    def __init__(
        self,
        backend: Backend,
        what: str,
        running: Running | None = None,
        on_error: Callable[[Exception], object] | None = None,
    ) -> None:
        self._backend = backend
        self._on_error = on_error
        self.what = what
        self.running = running
        """Where callbacks that take time are noted until they end; None before anything has crossed."""

    def add(self, callback: OnClose, context: contextvars.Context | None = None) -> None:
        """Run ``callback`` at the end, in ``context`` or a copy of this one; now, where that has come.

        One that is added in the thread of a plain function runs there, if it is plain too.
        """
        if not self._backend.owns_current_thread():
            worker = current_worker()
            on_loop(self._backend, "on_close()", self._add_from_thread, callback, worker)
            return
        if context is None:
            context = contextvars.copy_context()
        if self.closed:
            self._run(callback, context)
        elif self._callbacks is None:
            self._callbacks = [(callback, context)]
        else:
            self._callbacks.append((callback, context))

    def _add_from_thread(self, callback: OnClose, worker: WorkerThread | None) -> None:
        in_thread = worker is not None and not inspect.iscoroutinefunction(callback)
        self.add(_InThread(self, callback, worker) if in_thread and worker is not None else callback)

    def close(self, reason: BaseException | None) -> None:
        """Run them all, in order of registration; only the first close counts."""
        if self.closed:
            return
        self.closed = True
        self.reason = reason
        callbacks, self._callbacks = self._callbacks, None
        for callback, context in callbacks or ():
            self._run(callback, context)
        if self._signal is not None:
            self._signal.set()

    async def wait(self) -> None:
        """Wait for the end."""
        self._backend.check_thread(f"The end of {self.what}")
        if not self.closed:
            if self._signal is None:
                self._signal = self._backend.signal()
            await self._signal.wait()

    def _run(self, callback: OnClose, context: contextvars.Context) -> None:
        try:
            result = context.run(_call_with_reason, callback, self.reason)
        except Exception as error:
            self._failed(error)
            return
        if inspect.isawaitable(result):
            self.begin(result)
            self._backend.spawn(self._finish, result, context=context)

    def begin(self, work: object) -> None:
        """Note that a callback takes time."""
        if self.running is not None:
            self.running.works[work] = None

    def _end(self, work: object) -> None:
        if self.running is not None:
            self.running.discard(work)

    def ran_in_thread(self, work: object, result: object, error: Exception | None) -> None:
        """Take what came of a callback that ran in a thread."""
        if error is not None:
            self._failed(error)
        elif inspect.isawaitable(result):
            self.begin(result)
            self._backend.spawn(self._finish, result)
        self._end(work)

    async def _finish(self, awaitable: Awaitable[object]) -> None:
        enter_work(awaitable)
        try:
            with anyio.move_on_after(CLEANUP_SECONDS, shield=True):
                await awaitable
        except Exception as error:
            self._failed(error)
        finally:
            self._end(awaitable)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, ProcessLookupError):
            # What process.kill says of a process that has ended by itself: nothing is left to release.
            return
        log_bug(error, f"An on_close callback of {self.what}")
        if self._on_error is not None:
            self._on_error(error)


@final
class _InThread:
    """A plain callback that was added in the thread of a plain function: it runs there."""

    __slots__ = ("_callback", "_callbacks", "_error", "_reason", "_result", "_worker")

    def __init__(self, callbacks: CloseCallbacks, callback: OnClose, worker: WorkerThread) -> None:
        self._callbacks = callbacks
        self._callback = callback
        self._worker = worker
        self._reason: BaseException | None = None
        self._result: object = None
        self._error: Exception | None = None
        worker.hold()

    def __call__(self, reason: BaseException | None) -> None:
        self._reason = reason
        self._callbacks.begin(self)
        backend = self._worker.backend
        waits = Waits(backend)
        # What it waits for on the loop is bounded as an async callback is.
        timer = backend.call_at(backend.now() + CLEANUP_SECONDS, waits.cancel)

        def done() -> None:
            timer.cancel()
            self._callbacks.ran_in_thread(self, self._result, self._error)

        self._worker.submit(self._run, done, waits)
        self._worker.release()

    def _run(self) -> None:
        try:
            self._result = _call_with_reason(self._callback, self._reason)
        except WaitCancelled:
            # Out of patience, as where an async callback is cancelled.
            return
        except Exception as error:
            self._error = error


class Closing(ABC):
    """What is over once. Its callbacks are made when something is registered: most calls have none."""

    closed: bool = False
    _reason: BaseException | None = None
    _callbacks: CloseCallbacks | None = None

    @abstractmethod
    def make_callbacks(self) -> CloseCallbacks:
        """What ``callbacks`` is, when it is first asked for."""

    @property
    def callbacks(self) -> CloseCallbacks:
        """What runs at the end; at once, if that has come."""
        if self._callbacks is None:
            self._callbacks = self.make_callbacks()
            if self.closed:
                self._callbacks.close(self._reason)
        return self._callbacks

    def note_end(self, reason: BaseException | None) -> None:
        """Note the end, the first one, and run the callbacks."""
        if not self.closed:
            self.closed = True
            self._reason = reason
            if self._callbacks is not None:
                self._callbacks.close(reason)


def _call_with_reason(callback: Callable[..., object], reason: BaseException | None) -> object:
    """Call it with the reason if it names a parameter so, or must have a positional one."""
    try:
        parameters = inspect.signature(callback).parameters
    except (ValueError, TypeError):
        return callback()
    named = parameters.get("reason")
    if named is not None and named.kind in (named.POSITIONAL_OR_KEYWORD, named.KEYWORD_ONLY):
        return callback(reason=reason)
    for parameter in parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD) and (
            parameter.default is parameter.empty
        ):
            return callback(reason)
    return callback()


@final
class Context(Generic[S]):
    """One call, as the function that serves it sees it; stays valid after the function returned.

    ``metadata`` are the call's own headers, ``state`` what the service's provider returned for this call.
    """

    __slots__ = (
        "_backend",
        "_callbacks",
        "_deadline",
        "_end",
        "_remote",
        "_request",
        "_start",
        "_state",
        "metadata",
    )

    def __init__(
        self,
        backend: Backend,
        request: Callable[[], Request],
        metadata: Mapping[str, str],
        callbacks: CloseCallbacks,
        deadline: float | None,
        end: Callable[[], None],
        start: Callable[[Callable[..., Awaitable[object]], tuple[Any, ...]], None],
        remote: Remote,
    ) -> None:
        self._backend = backend
        self._callbacks = callbacks
        self._deadline = deadline
        self._end = end
        self._start = start
        self._remote = remote
        self._state: S | None = None
        self._request = request
        self.metadata = metadata

    def __repr__(self) -> str:
        return f"<Context of {self._callbacks.what}, {'closed' if self.closed else 'open'}>"

    @property
    def request(self) -> Request:
        """What the HTTP request of the transport carried that the session is attached to now, or was last."""
        return self._request()

    @property
    def state(self) -> S:
        """What ``Service(context=provider)`` returned for this call; None without a provider."""
        return self._state  # type: ignore[return-value]  # set before user code can see the context

    @property
    def closed(self) -> bool:
        """Whether the call is over."""
        return self._callbacks.closed

    @property
    def time_left(self) -> float | None:
        """Seconds until the call's deadline, never below zero; None where it has none."""
        return None if self._deadline is None else max(0.0, self._deadline - self._backend.now())

    def on_close(self, callback: OnClose) -> None:
        """Run ``callback`` once when the call is over, for whatever reason; at once if it is.

        It may be sync or async (bounded by the cleanup time). It gets the reason where it has a
        required positional parameter or one named ``reason``: None for a natural end, ``aclose``,
        ``break`` or a dropped handle; CallCancelled; Abort; DeadlineExceeded; NetworkError where the
        client is lost for good; or the exception itself, where this side failed.
        """
        self._callbacks.add(callback)

    async def wait_closed(self) -> TelewireError | None:
        """Wait until the call is over; returns the reason, as ``on_close`` gets it."""
        await self._callbacks.wait()
        return self._callbacks.reason  # type: ignore[return-value]  # a bug of this side is typed away

    def aclose(self) -> Awaitable[None]:
        """End the call from this side: its streams end, its functions are revoked.

        In the thread of a plain function it takes effect at once; there is nothing to await there.
        """
        if self._backend.owns_current_thread():
            return self._aclose()
        on_loop(self._backend, "context.aclose()", self._end)
        return _Done()

    async def _aclose(self) -> None:
        self._end()

    # Any: functions with every kind of arguments are started.
    def start_soon(self, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Run ``function(*args)`` in the background: it lives and dies with the call.

        It does not keep the call open, and is cancelled when that is over. Its failure is logged and
        given to ``on_error``. :func:`get_context` works in it.

        Raises:
            RuntimeError: the call is over.
        """
        if self._backend.owns_current_thread():
            self._start(function, args)
        else:
            on_loop(self._backend, "context.start_soon()", self._start, function, args)

    @property
    def remote(self) -> Remote:
        """The functions of the caller, where it serves some: ``connect(…, service=…)``."""
        return self._remote


@final
class _Done(Awaitable[None]):
    """What has been done already."""

    def __await__(self) -> Generator[Any, Any, None]:
        return
        yield


enter_context = _current.set
"""Make a call the one whose context :func:`get_context` finds from here on."""
