"""Call: a started call of ours, awaited or iterated by its caller, stopped from anywhere."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, final, overload

import anyio

from telewire.core import streams
from telewire.errors import (
    CallCancelled,
    CancelOutcome,
    DeadlineExceeded,
    ErrorCode,
    GoingAway,
    InvalidArgument,
    NetworkError,
    RemoteProtocolError,
    TelewireError,
    TransportUnsuitable,
)
from telewire.runtime.byte_stream import ByteStream
from telewire.runtime.channel import Channel
from telewire.runtime.context import CloseCallbacks, Closing, OnClose
from telewire.runtime.driver import CallEnd, StreamEnd
from telewire.runtime.failures import close_reason, log_bug, received_error
from telewire.runtime.iterator import RemoteIterator
from telewire.runtime.payloads import decode, encode
from telewire.runtime.shapes import Converter
from telewire.wire.values import decode_value

if TYPE_CHECKING:
    from telewire.runtime.backend import Signal
    from telewire.runtime.driver import Driver

__all__ = ["Call", "OutgoingCall"]

T_co = TypeVar("T_co", covariant=True)
Y = TypeVar("Y")
logger = logging.getLogger("telewire.runtime")


class Keeper(Protocol):
    """Keeps calls that have nowhere to go yet."""

    def give_up(self, call: OutgoingCall) -> None:
        """Let one of them go, which was cancelled."""


@final
class OutgoingCall(Closing, CallEnd):
    """What stands behind a call of ours: it stays with the call when the user drops the handle."""

    # Defaults stand on the class: a call sets only what differs.
    core: streams.Call | None = None
    signal: Signal | None = None
    result: object = None
    error: BaseException | None = None
    waiting: int = 0
    seen: bool = False
    abandoned: bool = False
    # The handle, and loops over it.
    holders: int = 1
    # Why we cancelled, if we did; quiet where a loop over the call should just end.
    cancelled: CallCancelled | None = None
    quiet: bool = False
    # Its arguments, where they are small and nothing in them lives, until the answer is here; and who keeps
    # it while it has nowhere to go.
    payload: bytes | None = None
    keeper: Keeper | None = None
    # The deadline of the scope that the call was made in, infinite without one.
    ambient: float = math.inf
    _decoded: bool = False

    def __init__(self, driver: Driver, name: str, converter: Converter | None) -> None:
        self.driver = driver
        self.name = name
        self.converter = converter

    def make_callbacks(self) -> CloseCallbacks:
        """What runs at the end."""
        return CloseCallbacks(self.driver.backend, self.name, self.driver.running)

    @property
    def answered(self) -> bool:
        """Whether a result or an error is here."""
        return self._decoded

    @property
    def worker(self) -> None:
        """What its arguments introduce has no thread of its own."""

    @property
    def holder(self) -> None:
        """What its arguments introduce serves no call."""

    def report(self, error: Exception) -> None:
        """Nobody but the log is told of a bug in what its arguments introduce."""

    def bug(self, error: Exception, what: str) -> None:
        """Log a bug that has no answer to travel in."""
        log_bug(error, what)

    # --- from the driver -------------------------------------------------------------------------

    def resolved(self, payload: bytes, declared: tuple[streams.Stream, ...]) -> None:
        """Decode the result; where nobody is left to take it, what it introduces is closed with it."""
        if self.cancelled is not None:
            self.driver.give_up(declared)
            self.cancelled.outcome = CancelOutcome.FINISHED
            self.settle(None, self.cancelled)
            return
        try:
            value = decode(self.driver, payload, declared) if declared else decode_value(payload)
            if self.converter is not None:
                value = self.converter.convert(value, f"{self.name}() result")
        except (RemoteProtocolError, InvalidArgument) as error:
            self.settle(None, error)
            self.stop(ErrorCode.NONE, b"")
        else:
            self.settle(value, None)

    def rejected(self, code: int, payload: bytes) -> None:
        """Take the error; where we cancelled, it says how far the call had come."""
        reason = None if self.cancelled is None else self.cancelled.reason
        error = received_error(code, payload, reason, self.driver.connection)
        loss = self.driver.loss
        if isinstance(error, NetworkError) and self.core is not None:
            # What has never left can never have started.
            error.retryable = self.core.number is None
        if code == ErrorCode.SESSION_LOST and isinstance(loss, TelewireError) and self.core is not None:
            # An exchange is lost alone, and its transport knows why.
            if self.driver.connection.exchange:
                error = loss
                error.retryable = error.retryable or self.core.number is None
            elif isinstance(loss, TransportUnsuitable):
                error = TransportUnsuitable(loss.needed, loss.message)
                error.retryable = self.core.number is None
        elif code == ErrorCode.NONE:
            # This side has left: that is an end and no failure.
            self.quiet = True
        elif isinstance(error, GoingAway) and self.core is not None:
            error.retryable = self.driver.connection.never_started(self.core)
            farewell, again = self.driver.farewell, self.driver.call_again
            if farewell is not None:
                error.reconnect_after, error.elsewhere = farewell.reconnect_after, farewell.elsewhere
            if error.retryable and again is not None and again(self, self.core):
                return
        if self.cancelled is not None and not isinstance(error, CallCancelled):
            lost = isinstance(error, NetworkError)
            self.cancelled.outcome = CancelOutcome.UNKNOWN if lost else CancelOutcome.FINISHED
            error = self.cancelled
        self.settle(None, error)

    def over(self, code: int, payload: bytes) -> None:
        """Run the callbacks."""
        reason: BaseException | None = None if self.quiet else self.error or self.cancelled
        if reason is None and code:
            reason = close_reason(code, payload, self.driver.connection)
        self.note_end(reason)

    # --- to the handle ---------------------------------------------------------------------------

    def settle(self, value: object, error: BaseException | None) -> None:
        """Keep the answer and wake who waits; log a failure that nobody will ever await."""
        if self._decoded:
            return
        self._decoded = True
        self.payload = None
        self.error = error
        if not self.abandoned:
            self.result = value
        elif error is not None:
            self.log()
        if self.signal is not None:
            self.signal.set()
            self.signal = None

    def drop(self) -> None:
        """A holder is gone; after the last, nobody takes the answer: handles in it close themselves."""
        self.holders -= 1
        if not self.holders:
            self.abandoned = True
            self.result = None
            if self.error is not None:
                self.log()

    def log(self) -> None:
        """Say once that a call failed and nobody awaited it."""
        if self.error is not None and not self.seen and not self.quiet and self.cancelled is None:
            self.seen = True
            logger.error("The call %s() failed and nobody awaited it: %s", self.name, self.error)

    def stop(self, code: int, payload: bytes) -> None:
        """Cancel, or close once answered."""
        if self.keeper is not None:
            self.keeper.give_up(self)
        elif self.core is not None and not self.core.over:
            self.driver.connection.stop(self.core, code, payload)
            self.driver.dispatch()
            self.driver.schedule()

    def cancel(self, reason: object, quiet: bool = False) -> None:
        """Give the call up: at once for us, as soon as the wire allows for the other side."""
        self.driver.backend.check_thread("The end of a call")
        if self.closed or self.cancelled is not None:
            return
        payload = b"" if reason is None else encode(reason, "The reason of cancel()", self.driver)[0]
        self.quiet = quiet
        error = CallCancelled(CancelOutcome.STOPPED, reason)
        if self._decoded:
            # Answered: cancelling is closing; iterators over it see why.
            self.cancelled = error
            for stream in () if self.core is None else tuple(self.core.owned):
                _end_locally(stream, None if quiet else error)
        else:
            self.cancelled = error
        self.stop(ErrorCode.NONE if quiet else ErrorCode.CANCELLED, payload)

    async def wait(self, handle: object = None) -> object:
        """The answer; a task cancelled in here cancels the call, unless another waits too.

        ``handle`` is only kept alive: ``await remote.f()`` holds its Call nowhere else.
        """
        if not self._decoded:
            self.waiting += 1
            try:
                while not self._decoded:
                    if self.signal is None:
                        self.signal = self.driver.backend.signal()
                    await self.signal.wait()
            except BaseException:
                # It was awaited: an error that comes with the cancellation, a deadline's say, is no news.
                self.seen = True
                if self.waiting == 1:
                    self.cancel(None)
                raise
            finally:
                self.waiting -= 1
        self.seen = True
        if self.error is not None:
            if isinstance(self.error, DeadlineExceeded):
                await self._let_scope_speak()
            raise self.error
        return self.result

    async def _let_scope_speak(self) -> None:
        """Where the scope that gave the deadline is still around us, its end is its own to tell."""
        backend = self.driver.backend
        if backend.deadline() <= self.ambient < math.inf:
            await anyio.sleep_until(self.ambient)
            # On asyncio the scope's timer may be due in the pass of the loop after ours.
            await backend.checkpoint()
            await backend.checkpoint()


def _end_locally(stream: streams.Stream, error: BaseException | None) -> None:
    end = stream.app
    if isinstance(end, StreamEnd):
        end.void(error)


class Call(Coroutine[Any, Any, T_co], Generic[T_co]):
    """A started call. ``await`` it for its result, any number of times; ``async for`` its items.

    It is a coroutine too, so ``asyncio.create_task(call)`` works. Dropping it stops nothing: the
    call runs to its end. These end it: ``cancel``, ``aclose``, ``async with``, cancelling the only
    task that awaits it, and ``break`` out of a loop over it.
    """

    __slots__ = ("__weakref__", "_running", "_state")

    def __init__(self, state: OutgoingCall) -> None:
        self._state = state
        self._running: Coroutine[Any, Any, T_co] | None = None

    def __repr__(self) -> str:
        state = "over" if self._state.closed else "answered" if self._state.answered else "open"
        return f"<Call of {self._state.name}(), {state}>"

    if not TYPE_CHECKING:
        # Type checkers know better; these two are for who has forgotten an await.

        def __getattr__(self, name: str) -> object:
            if name.startswith("_"):
                raise AttributeError(f"'Call' object has no attribute {name!r}")
            called = self._state.name
            raise AttributeError(
                f"The call of {called}() has no {name!r}; its result may have: (await {called}(…)).{name}."
            )

        def __iter__(self) -> object:
            called = self._state.name
            raise TypeError(
                f"The call of {called}() is no list: use 'async for item in {called}(…)' for the items of a "
                "generator, or await the call for its result."
            )

    def __await__(self) -> Generator[Any, Any, T_co]:
        return self._state.wait(self).__await__()  # type: ignore[return-value]  # converted, or not annotated

    async def result(self) -> T_co:
        """The result, as a plain coroutine for task groups: ``group.start_soon(call.result)``.

        Raises:
            TelewireError: what became of the call instead: Abort, RemoteError, InvalidArgument,
                FunctionNotFound, CallCancelled, DeadlineExceeded, ResourceExhausted, NetworkError.
        """
        return await self._state.wait()  # type: ignore[return-value]  # converted, or not annotated

    # A Coroutine, so that asyncio.create_task takes it; each drives one await of the result.
    def send(self, value: Any, /) -> Any:
        """Drive it as a coroutine; event loops call this."""
        return self._coroutine().send(value)

    def throw(self, *error: Any) -> Any:
        """Drive it as a coroutine; event loops call this."""
        return self._coroutine().throw(*error)

    def close(self) -> None:
        """Give up driving it as a coroutine; the call itself goes on."""
        if self._running is not None:
            self._running.close()

    def _coroutine(self) -> Coroutine[Any, Any, T_co]:
        if self._running is None:
            self._running = self.result()
        return self._running

    @overload
    def __aiter__(self: Call[RemoteIterator[Y]]) -> AsyncIterator[Y]: ...
    @overload
    def __aiter__(self: Call[AsyncIterator[Y]]) -> AsyncIterator[Y]: ...
    @overload
    def __aiter__(self: Call[ByteStream]) -> AsyncIterator[bytes]: ...
    @overload
    # Any: what the loop's end of the channel sends does not matter to the loop.
    def __aiter__(self: Call[Channel[Y, Any]]) -> AsyncIterator[Y]: ...
    def __aiter__(self) -> AsyncIterator[Any]:
        """The items of the stream in the result. Leaving the loop ends the stream, at once."""
        return _CallIterator(self._state)

    async def __aenter__(self) -> T_co:
        return await self.result()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self._state.cancel(None, quiet=True)

    @property
    def closed(self) -> bool:
        """Whether the call is over."""
        return self._state.closed

    def cancel(self, reason: Any = None) -> None:
        """End the call at once; who awaits or iterates it gets CallCancelled with ``reason``.

        The other side's body is cancelled; the outcome says how far it had come. Safe from any task.
        (Any: the reason is what you like, as long as it can travel.)

        Raises:
            InvalidArgument: ``reason`` cannot travel.
        """
        self._state.cancel(reason)

    async def aclose(self) -> None:
        """End the call in order and wait until it is over; a loop over it ends as if finished.

        Works also after ``await call``; closing what is over does nothing. Safe from any task.
        """
        self._state.cancel(None, quiet=True)
        await self._state.callbacks.wait()

    def on_close(self, callback: OnClose) -> None:
        """Run ``callback`` once when the call is over, with the reason; as ``Context.on_close``."""
        self._state.callbacks.add(callback)

    def __del__(self) -> None:
        self._state.drop()


@final
class _CallIterator(AsyncIterator[Any]):
    """A loop over a call: it owns the stream, so that the end of the loop is the end of the stream."""

    __slots__ = ("_source", "_state")

    def __init__(self, state: OutgoingCall) -> None:
        self._state = state
        state.holders += 1
        self._source: Callable[[], Awaitable[Any]] | None = None

    def __anext__(self) -> Awaitable[Any]:
        # The stream's own, and no coroutine around it, which would take 70 ns for each item.
        source = self._source
        return self._begin() if source is None else source()

    async def _begin(self) -> Any:
        source = self._source = await self._open()
        return await source()

    async def _open(self) -> Callable[[], Awaitable[Any]]:
        state = self._state
        try:
            result = await state.wait()
        except CallCancelled:
            if state.quiet:
                raise StopAsyncIteration from None
            raise
        if not isinstance(result, RemoteIterator | ByteStream | Channel):
            raise TypeError(
                f"The result of {state.name}() is {type(result).__name__}, which has no items; "
                "await the call instead of iterating it."
            )
        return aiter(result).__anext__

    def __del__(self) -> None:
        state = self._state
        result = state.result
        if isinstance(result, RemoteIterator):
            buffer = result._buffer
            if not buffer.stream.retired:
                with contextlib.suppress(RuntimeError):
                    buffer.driver.finalise(buffer.stream)
        elif isinstance(result, ByteStream | Channel):
            result._drop()
        state.drop()
