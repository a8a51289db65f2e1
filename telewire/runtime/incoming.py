"""IncomingCall: runs one call of the peer's, in one task from its first step to its last."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, Protocol, final

import anyio

from telewire.core.events import CallReceived
from telewire.errors import (
    Abort,
    DeadlineExceeded,
    ErrorCode,
    InvalidArgument,
    RemoteProtocolError,
    ResourceExhausted,
    TransportUnsuitable,
)
from telewire.runtime.background import Background
from telewire.runtime.context import CloseCallbacks, Closing, Context, ContextHolder, enter_context
from telewire.runtime.driver import CallEnd
from telewire.runtime.failures import (
    LimitPassed,
    NoThread,
    Refusal,
    close_reason,
    failure_of,
    log_bug,
    reject,
)
from telewire.runtime.middleware import Middleware, through
from telewire.runtime.payloads import NO_SOURCES, decode, encode
from telewire.runtime.producer import ItemSender, IteratorSource
from telewire.runtime.promotion import promote
from telewire.runtime.remote import Remote, call_on
from telewire.runtime.sources import Source, declarations, discard_sources, start_sources
from telewire.runtime.thread_iterator import ThreadIteratorSource
from telewire.runtime.threads import Step, WorkerThread
from telewire.wire.quick import encode_small
from telewire.wire.values import Reference, decode_value, encode_value

if TYPE_CHECKING:
    from telewire.core.checks import Declare
    from telewire.core.streams import Stream
    from telewire.runtime.backend import Task, Timer
    from telewire.runtime.driver import Driver
    from telewire.runtime.service import Function
    from telewire.runtime.transport import Request

__all__ = ["IncomingCall"]


BUILTIN: Final = frozenset({dict, list, tuple, str, bytes, int, float, bool, type(None)})
FIRST_REFERENCE: Final = encode_value(Reference(0))


class Serving(Protocol):
    """What surrounds a call: a service, or nothing much for a passed function."""

    @property
    def provider(self) -> Callable[[Request], Any] | None:
        """Gives the state of each call, sync or async. Any: whatever the application made it."""

    @property
    def middlewares(self) -> Sequence[Middleware]:
        """What surrounds the function, outermost first."""

    # Any: contexts of every provider.
    def report(self, error: Exception, context: Context[Any]) -> None:
        """Take a bug of user code."""


@final
class IncomingCall(Closing, CallEnd):
    """One call of the peer's and its task."""

    # Defaults stand on the class. A scope, a timer, a context and a wrapper cost more than most
    # calls: each is made where the call needs it.
    _context: Context[Any] | None = None
    _scope: anyio.CancelScope | None = None
    _cleanup: Timer | None = None
    _failure: BaseException | None = None
    _main: ItemSender | None = None
    _background: Background | None = None
    _stop_code: int | None = None
    _started: bool = False
    _body_running: bool = False
    _cancelling: bool = False
    _answered: bool = False
    # All items have been sent inside the middleware.
    _streamed: bool = False
    # Why telewire itself refused the call, which is no bug.
    _refusal: Exception | None = None
    worker: WorkerThread | None = None
    # Any: steps give all kinds of things.
    step: Step[Any] | None = None
    _holder: ContextHolder | None = None
    _deadline: float | None = None
    _handles: list[object] | None = None

    def __init__(
        self,
        driver: Driver,
        service: Serving,
        function: Function,
        event: CallReceived,
        holder: ContextHolder | None = None,
    ) -> None:
        self.driver = driver
        self._service = service
        self._function = function
        self._event = event
        self._core = event.call
        # Code of a passed function finds the context of the call that passed it.
        if holder is not None:
            self._holder = holder
        if event.deadline is not None or event.lifetime is not None:
            self._deadline = min(when for when in (event.deadline, event.lifetime) if when is not None)
        # At once, not when the body begins: what the streams bring may be in the same batch.
        if event.declared:
            self._handles = driver.make_handles(event.declared)
        event.call.app = self
        driver.running.works[self] = None
        self._task: Task = driver.backend.start(self._run)

    @property
    def context(self) -> Context[Any]:
        """The context of the call, made when it is first asked for."""
        if self._context is None:
            self._context = Context(
                self.driver.backend,
                self.driver.request,
                self._event.metadata or {},
                self.callbacks,
                self._deadline,
                self.end,
                self.start_soon,
                Remote(functools.partial(call_on, self.driver)),
            )
        return self._context

    def make_callbacks(self) -> CloseCallbacks:
        """What runs at the end."""
        return CloseCallbacks(self.driver.backend, self._function.name, self.driver.running, self.report)

    def note_end(self, reason: BaseException | None) -> None:
        """Note the end, the first one; what goes on in the background ends with it."""
        background = None if self.closed else self._background
        super().note_end(reason)
        if background is not None:
            background.cancel()

    @property
    def holder(self) -> ContextHolder:
        """What code of the call finds as its context."""
        return self if self._holder is None else self._holder

    # --- from the driver -------------------------------------------------------------------------

    def stopped(self, code: int, payload: bytes) -> None:
        """The caller cancelled: tell ``on_close`` first, then cancel the body; its end is the answer."""
        if self._stop_code is not None:
            return
        self._stop_code = code
        self.note_end(close_reason(code, payload, self.driver.connection))
        limits = self.driver.connection.limits
        self._cleanup = self.driver.backend.call_at(
            self.driver.backend.now() + limits.cleanup_seconds, self._cleanup_over
        )
        self.cancel_body()

    def over(self, code: int, payload: bytes) -> None:
        """Nothing more will come of it: run the callbacks; the streams' own ends follow."""
        if self._failure is not None:
            self.note_end(self._failure)
        else:
            self.note_end(close_reason(code, payload, self.driver.connection) if code else None)

    # --- from this side --------------------------------------------------------------------------

    def end(self) -> None:
        """``context.aclose()``: close the call where it is answered, else stop its body."""
        connection = self.driver.connection
        if self._core.over:
            return
        if self._core.answered:
            connection.reset(self._core)
            self.driver.dispatch()
            self.driver.schedule()
        else:
            self.stopped(ErrorCode.NONE, b"")

    # Any: functions of every type are started.
    def start_soon(self, function: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> None:
        """``context.start_soon()``."""
        if self.closed:
            raise RuntimeError(
                f"The call of {self._function.name}() is over, so start_soon() has nothing to live in any "
                "more; use a task group of your own for what outlives it."
            )
        if self._background is None:
            self._background = Background(self, self._function.name)
        self._background.start(function, args)

    def cancel_body(self, again: bool = False) -> None:
        """Cancel the body in its await, once, or ``again``; one that has not begun never will."""
        if (self._cancelling and not again) or not self._started or not self._body_running:
            return
        if self.step is not None:
            # A thread cannot be interrupted but where it waits for the loop; we only stop waiting for it.
            if again:
                self._cancelling = True
                self.step.abandon()
            else:
                self.step.cancel()
            return
        self._cancelling = True
        if again:
            self._task.cancel()
        elif self._scope is not None:
            self._scope.cancel()
        else:
            self.driver.backend.cancel(self._task)

    def _cleanup_over(self) -> None:
        """The body did not end in time: say that nobody knows what became of it, and cancel again."""
        self._cleanup = None
        self._answer_error(ErrorCode.OUTCOME_UNKNOWN, b"")
        self.cancel_body(again=True)

    def report(self, error: Exception) -> None:
        """Give a bug of this side to the service's hook."""
        self._service.report(error, self.context)

    def bug(self, error: Exception, what: str) -> None:
        """Log a bug that has no answer to travel in, and report it."""
        log_bug(error, what)
        self.report(error)

    # --- in the task -----------------------------------------------------------------------------

    async def _run(self) -> None:
        self._started = True
        enter_context(self if self._holder is None else self._holder)
        self._body_running = True
        try:
            if self._stop_code is not None:
                self._answer_error(ErrorCode.NOT_STARTED, b"")
                return
            deadline = self._deadline
            if deadline is None:
                await self._serve()
            else:
                with anyio.CancelScope(deadline=deadline) as self._scope:
                    await self._serve()
                if self._scope.cancelled_caught and not self._answered:
                    self._answer_stopped()
        except BaseException as error:
            self._answer_stopped()
            # Cancelled by us, in a task of ours: there is nobody to tell. Otherwise the loop is ending.
            if not self._cancelling or isinstance(error, KeyboardInterrupt | SystemExit):
                raise
        finally:
            self._body_running = False
            if self.worker is not None:
                self.worker.release()
            # The task refers to us; what no cycle holds needs no collector.
            del self._task
            self.driver.running.discard(self)
            if self._cleanup is not None:
                self._cleanup.cancel()
            if self._core.body:
                self.driver.connection.finish(self._core)
            self.driver.schedule()

    async def _serve(self) -> None:
        """From the provider to the last item."""
        function = self._function
        try:
            provider = self._service.provider
            if provider is not None:
                state = provider(self.driver.transport.request)
                self.context._state = await state if inspect.isawaitable(state) else state
            if self._service.middlewares:
                result = await through(self._service.middlewares, self.context, self._serve_inside)
            elif function.threaded:
                result = await self._call_threaded()
            else:
                args, kwargs = self._arguments()
                result = function.function(*args, **kwargs)
                if type(result) is CoroutineType:
                    result = await result
        except Exception as error:
            self._fail(error)
            return
        if self._streamed:
            return
        self._answer(result)
        if self._main is not None:
            self._failure = await self._main.run()

    async def _serve_inside(self) -> object:
        """Inside the middleware: the function, and all of its items if it is a generator."""
        if self._function.threaded:
            result = await self._call_threaded()
        else:
            args, kwargs = self._arguments()
            result = self._function.function(*args, **kwargs)
            if type(result) is CoroutineType:
                result = await result
        if not isinstance(result, (AsyncIterator, Iterator)):
            return result
        self._answer(result)
        self._streamed = True
        if self._main is not None:
            self._failure = await self._main.run()
        if self._failure is not None:
            raise self._failure
        return None

    async def _call_threaded(self) -> object:
        """Call a plain function in a thread of its own; a coroutine that it returns runs on the loop."""
        function = self._function
        args, kwargs = self._arguments()
        # Code in the thread must not make it.
        _ = self.context
        try:
            self.worker = WorkerThread(self.driver.backend, function.name)
        except NoThread as error:
            self._refusal = error
            raise
        step = Step[object](self, self.worker, functools.partial(function.function, *args, **kwargs))
        result = await step
        return await result if isinstance(result, CoroutineType) else result

    def _arguments(self) -> tuple[list[object], dict[str, object]]:
        """Decode and convert the arguments.

        Raises:
            RemoteProtocolError, InvalidArgument: they are refused.
        """
        try:
            event = self._event
            if not event.declared:
                value = decode_value(event.payload)
            else:
                value = decode(self.driver, event.payload, event.declared, self._handles)
                # The arguments hold them from here on, as long as user code holds the arguments.
                self._handles = None
        except RemoteProtocolError as error:
            self._refusal = error
            raise
        if not (
            type(value) is list
            and len(value) == 2
            and type(value[0]) is list
            and type(value[1]) is dict
            and (not value[1] or all(type(key) is str for key in value[1]))
        ):
            self._refusal = RemoteProtocolError(
                "The arguments of a call are a list of values and a map of named ones.",
                ErrorCode.MALFORMED_VALUE,
            )
            raise self._refusal
        try:
            return self._function.signature.bind(value[0], value[1])
        except InvalidArgument as error:
            self._refusal = error
            raise

    def _answer(self, result: object) -> None:
        """Send the result; a generator in it goes on in this task, others in tasks of their own."""
        function = self._function
        place = function.signature.result_place
        sources: Sequence[Source]
        main: IteratorSource | ThreadIteratorSource | None = None
        # Most results are of a builtin type, and asking an ABC about a type costs more than a set.
        if type(result) not in BUILTIN:
            if isinstance(result, AsyncIterator):
                main = IteratorSource(result, function.signature.item)
            elif isinstance(result, Iterator):
                main = ThreadIteratorSource(result, function.signature.item)
        try:
            if main is not None:
                place = f"{function.name}() item"
                payload, sources = FIRST_REFERENCE, (main,)
            else:
                if not function.signature.result.identity:
                    function.signature.result.check(result, place)
                small = encode_small(result)
                payload, sources = (
                    encode(result, place, self.driver) if small is None else (small, NO_SOURCES)
                )
        except InvalidArgument as error:
            self._fail(error)
            return
        if self._core.over or self._answered:
            discard_sources(sources)
            return
        try:
            declare = declarations(sources) if sources else ()
            declared = self._resolve(payload, declare)
        except ResourceExhausted as error:
            discard_sources(sources)
            self._fail(LimitPassed(str(error)))
            return
        except TransportUnsuitable as error:
            discard_sources(sources)
            self._fail(error)
            return
        self._answered = True
        if self._scope is not None:
            self._lift_deadline(self._scope)
        self.driver.schedule()
        if main is not None:
            self._main = main.produce(self, self, declared[0], place)
        elif sources:
            start_sources(self, sources, declared, place)

    def _resolve(self, payload: bytes, declare: Sequence[Declare]) -> tuple[Stream, ...]:
        """Give the result; an exchange that cannot carry it goes on as a session, if it may."""
        connection = self.driver.connection
        try:
            return connection.resolve(self._core, payload, declare)
        except TransportUnsuitable:
            if not promote(self.driver):
                raise
        return connection.resolve(self._core, payload, declare)

    def _lift_deadline(self, scope: anyio.CancelScope) -> None:
        """A deadline of the answer ends with it; that of the whole call is the core's to watch."""
        scope.deadline = math.inf
        self._deadline = self._event.lifetime
        if self._context is not None:
            self._context._deadline = self._deadline

    def _fail(self, error: Exception) -> None:
        """Answer with what crosses of an exception of user code, or of a refusal of ours."""
        if error is self._refusal:
            self._refuse(error)
            return
        if self._streamed:
            if error is not self._failure:
                self.bug(error, f"Middleware of {self._function.name}()")
            return
        if self._stop_code is not None or self._core.over:
            self._answer_stopped()
            if not isinstance(error, Abort | DeadlineExceeded | Refusal):
                self.bug(error, f"{self._function.name}() after it was cancelled")
            return
        self._failure = error
        code, payload = failure_of(error, f"{self._function.name}()", self.driver.connection)
        if code != ErrorCode.ABORTED:
            self.report(error)
        self._answer_error(code, payload)

    def _refuse(self, error: Exception) -> None:
        """Answer with a refusal of ours: nothing of user code has failed."""
        self._failure = error
        if isinstance(error, InvalidArgument):
            self._answer_error(ErrorCode.INVALID_ARGUMENT, encode_value(str(error)))
        elif isinstance(error, NoThread):
            self._answer_error(ErrorCode.RESOURCE_EXHAUSTED, encode_value(str(error)))
        else:
            self._answer_error(ErrorCode.MALFORMED_VALUE, b"")

    def _answer_stopped(self) -> None:
        """The body ended because it was cancelled."""
        deadline = self._scope is not None and self._scope.cancel_called and not self._cancelling
        if self._stop_code == ErrorCode.DEADLINE_EXCEEDED or (self._stop_code is None and deadline):
            self._failure = self._failure or DeadlineExceeded()
            self._answer_error(ErrorCode.DEADLINE_EXCEEDED, b"")
        else:
            self._answer_error(ErrorCode.STOPPED, b"")

    def _answer_error(self, code: int, payload: bytes) -> None:
        if not self._answered and not self._core.over:
            self._answered = True
            reject(self.driver.connection, self._core, code, payload)
            self.driver.dispatch()
            self.driver.schedule()
