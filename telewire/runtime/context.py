"""Context: what a function knows about the call it serves, and what it owes when the call is over."""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, final

import anyio
from typing_extensions import TypeVar

from telewire.errors import TelewireError
from telewire.runtime.failures import log_bug
from telewire.runtime.transport import Request

if TYPE_CHECKING:
    from telewire.runtime.backend import Backend, Signal

__all__ = ["CloseCallbacks", "Context", "ContextHolder", "OnClose", "enter_context", "get_context"]

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
        self, backend: Backend, what: str, on_error: Callable[[Exception], object] | None = None
    ) -> None:
        self._backend = backend
        self._on_error = on_error
        self.what = what

    def add(self, callback: OnClose, context: contextvars.Context | None = None) -> None:
        """Run ``callback`` at the end, in ``context`` or a copy of this one; now, where that has come."""
        if context is None:
            context = contextvars.copy_context()
        if self.closed:
            self._run(callback, context)
        elif self._callbacks is None:
            self._callbacks = [(callback, context)]
        else:
            self._callbacks.append((callback, context))

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
            self._backend.spawn(self._finish, result, context=context)

    async def _finish(self, awaitable: Awaitable[object]) -> None:
        try:
            with anyio.move_on_after(CLEANUP_SECONDS, shield=True):
                await awaitable
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        log_bug(error, f"An on_close callback of {self.what}")
        if self._on_error is not None:
            self._on_error(error)


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

    ``request`` is what the HTTP request of the transport carried, ``metadata`` the call's own
    headers, ``state`` what the service's provider returned for this call.
    """

    __slots__ = ("_backend", "_callbacks", "_deadline", "_end", "_state", "metadata", "request")

    def __init__(
        self,
        backend: Backend,
        request: Request,
        metadata: Mapping[str, str],
        callbacks: CloseCallbacks,
        deadline: float | None,
        end: Callable[[], None],
    ) -> None:
        self._backend = backend
        self._callbacks = callbacks
        self._deadline = deadline
        self._end = end
        self._state: S | None = None
        self.request = request
        self.metadata = metadata

    def __repr__(self) -> str:
        return f"<Context of {self._callbacks.what}, {'closed' if self.closed else 'open'}>"

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

    async def aclose(self) -> None:
        """End the call from this side: its streams end, its functions are revoked."""
        self._end()


enter_context = _current.set
"""Make a call the one whose context :func:`get_context` finds from here on."""
