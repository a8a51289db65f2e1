"""call_context: what a function finds around it when it is called, for tests that call it directly.

::

    async with call_context(state=user, headers={"authorization": "…"}) as context:
        assert await on_greet("Ann") == "hello Ann"
        assert [token async for token in on_prompt("why?")] == ["because"]
    # here the call is over: callbacks of on_close have run, work of start_soon has been cancelled

A plain ``with`` does for functions that start nothing that takes time, also where no event loop runs.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, final, overload

import anyio
from typing_extensions import TypeVar

from telewire.errors import CallCancelled, CancelOutcome
from telewire.runtime.backend import Backend, Signal, Timer, current_backend
from telewire.runtime.context import CLEANUP_SECONDS, CloseCallbacks, Context, ContextHolder, enter_context
from telewire.runtime.remote import Remote
from telewire.runtime.running import Running, enter_work
from telewire.runtime.transport import Request

if TYPE_CHECKING:
    from telewire.runtime.backend import Task

__all__ = ["CallContext", "call_context"]

S = TypeVar("S", default=None)


@overload
def call_context(
    *,
    headers: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
    request: Request | None = None,
    remote: Remote | None = None,
    timeout: float | None = None,
) -> CallContext[None]: ...
@overload
def call_context(
    *,
    state: S,
    headers: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
    request: Request | None = None,
    remote: Remote | None = None,
    timeout: float | None = None,
) -> CallContext[S]: ...
# Any: the implementation behind the overloads, which are typed.
def call_context(
    *,
    state: Any = None,
    headers: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
    request: Request | None = None,
    remote: Remote | None = None,
    timeout: float | None = None,
) -> CallContext[Any]:
    """Make a call around functions that are called directly: ``with`` or ``async with`` it.

    Inside, ``get_context()`` gives the context that the block is given. The end of the block is the
    end of the call: callbacks of ``on_close`` run, with what the block raised as their reason, and
    work of ``start_soon`` is cancelled. What fails in either is raised by the block's end. Async
    callbacks and ``start_soon`` need ``async with``. No provider, middleware or check of arguments
    runs; for these, call through :func:`telewire_transports.memory.connect`.

    Args:
        state: what ``context.state`` is.
        headers: those of the request; names in any case.
        metadata: the call's own headers, as ``with_options(headers=…)`` sends them.
        request: a whole request instead of one with these headers.
        remote: what ``context.remote`` is; calls on it are refused otherwise.
        timeout: seconds from now that ``context.time_left`` counts down; nothing happens at their end.

    Raises:
        ValueError: headers and a request are given.
    """
    if request is not None and headers is not None:
        raise ValueError("Give call_context() headers or a request that has them, not both.")
    if request is None:
        request = Request(headers={name.lower(): value for name, value in (headers or {}).items()})
    return CallContext(state, request, metadata or {}, remote or Remote(_nobody), timeout)


def _nobody(name: str, *_details: object) -> NoReturn:
    raise RuntimeError(
        f"context.remote.{name}() was called inside of call_context(), where nobody has called; give it the "
        "remote of a client, say of memory.connect(): call_context(remote=…)."
    )


@final
class CallContext(Generic[S]):
    """A call without a caller; made by :func:`call_context`, and entered once."""

    def __init__(
        self,
        state: S,
        request: Request,
        metadata: Mapping[str, str],
        remote: Remote,
        timeout: float | None,
    ) -> None:
        self._state = state
        self._request = request
        self._metadata = metadata
        self._remote = remote
        self._timeout = timeout
        self._call: _Call | None = None
        self._token: contextvars.Token[ContextHolder] | None = None

    def __enter__(self) -> Context[S]:
        return self._open(_NoLoop())

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        call = self._leave(exc)
        call.tell(exc)

    async def __aenter__(self) -> Context[S]:
        return self._open(current_backend())

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        call = self._leave(exc)
        await call.wait()
        call.tell(exc)

    def _open(self, backend: Backend) -> Context[S]:
        if self._call is not None:
            raise RuntimeError("This call_context() was entered before; make another one.")
        call = self._call = _Call(backend)
        deadline = None if self._timeout is None else backend.now() + self._timeout
        context: Context[S] = Context(
            backend,
            lambda: self._request,
            self._metadata,
            call.callbacks,
            deadline,
            call.end,
            call.start,
            self._remote,
        )
        context._state = self._state
        call.context = context
        self._token = enter_context(call)
        return context

    def _leave(self, error: BaseException | None) -> _Call:
        assert self._call is not None
        assert self._token is not None
        self._token.var.reset(self._token)
        cancelled = error is not None and not isinstance(error, Exception)
        self._call.close(CallCancelled(CancelOutcome.STOPPED) if cancelled else error)
        return self._call


@final
class _Call:
    """What stands behind the context: callbacks, and work in the background."""

    # Any: it holds contexts of every state.
    context: Context[Any]

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._running = Running(backend)
        self._works: set[_Work] = set()
        self._failures: list[Exception] = []
        self.callbacks = CloseCallbacks(backend, "call_context()", self._running, self._failures.append)

    def end(self) -> None:
        """``context.aclose()``."""
        self.close(None)

    def close(self, reason: BaseException | None) -> None:
        """Run the callbacks, cancel what goes on; only the first close counts."""
        self.callbacks.close(reason)
        for work in tuple(self._works):
            work.cancelled = True
            if work.task is not None and work.begun:
                self._backend.cancel(work.task)

    # Any: functions of every type are started.
    def start(self, function: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> None:
        """``context.start_soon()``."""
        if self.callbacks.closed:
            raise RuntimeError("The call is over, so start_soon() has nothing to live in any more.")
        work = _Work()
        work.task = self._backend.spawn(self._run, work, function, args)
        self._works.add(work)
        self._running.works[work] = None

    async def _run(
        self, work: _Work, function: Callable[..., Awaitable[object]], args: tuple[Any, ...]
    ) -> None:
        work.begun = True
        enter_work(work)
        enter_context(self)
        try:
            if not work.cancelled:
                await function(*args)
        except Exception as error:
            self._failures.append(error)
        except BaseException:
            # Cancelled by us, in a task of ours: there is nobody to tell. Otherwise the loop is ending.
            if not work.cancelled:
                raise
        finally:
            self._works.discard(work)
            self._running.discard(work)

    async def wait(self) -> None:
        """Wait until callbacks and background work have ended; they have the time of a cleanup."""
        with anyio.move_on_after(CLEANUP_SECONDS + 1, shield=True) as scope:
            await self._running.wait()
        if scope.cancelled_caught:
            self._failures.append(
                RuntimeError(
                    f"Background work of call_context() has not ended {CLEANUP_SECONDS:g} seconds after it "
                    "was cancelled; see that it does not shield itself for so long."
                )
            )

    def tell(self, error: BaseException | None) -> None:
        """Raise what has failed beside the block; as notes, where the block itself has failed."""
        failures = [failure for failure in self._failures if failure is not error]
        if error is not None:
            for failure in failures:
                error.add_note(f"Besides, in call_context(): {failure!r}")
        elif len(failures) == 1:
            raise failures[0]
        elif failures:
            raise ExceptionGroup("Several callbacks or background works failed", failures)


@final
class _Work:
    """One task of ``start_soon``."""

    def __init__(self) -> None:
        self.task: Task | None = None
        self.begun = False
        self.cancelled = False


def _needs_a_loop(what: str) -> NoReturn:
    raise RuntimeError(f"{what} needs an event loop; use 'async with call_context()' in an async test.")


@final
class _NoLoop(Backend):
    """Stands in for an event loop under a plain ``with``: there is a clock, and nothing takes time."""

    name = "none"

    def now(self) -> float:
        return time.monotonic()

    def spawn(
        self,
        function: Callable[..., Coroutine[Any, Any, object]],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Task:
        for work in args:
            # A callback's coroutine, which would complain that nobody awaited it.
            close = getattr(work, "close", None)
            if close is not None:
                close()
        _needs_a_loop("start_soon() or an async on_close callback")

    def call_soon(self, callback: Callable[[], object]) -> None:
        callback()

    def call_soon_threadsafe(self, callback: Callable[[], object]) -> None:
        callback()

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        _needs_a_loop("A timer")

    def signal(self) -> Signal:
        _needs_a_loop("wait_closed()")

    async def checkpoint(self) -> None:
        _needs_a_loop("A checkpoint")

    def owns_current_thread(self) -> bool:
        return True
