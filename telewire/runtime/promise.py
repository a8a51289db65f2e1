"""Promises: an awaitable of one side is a slot in a value of the other, settled on its own.

A coroutine in a value is ours from then on: it runs once, is cancelled when nobody wants it, and is
closed where its value cannot be sent. A task, a future or any other awaitable is only watched (R4).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Generator, Mapping
from types import CoroutineType, TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, final

from telewire.core.streams import Stream
from telewire.errors import (
    CallCancelled,
    CancelOutcome,
    ErrorCode,
    InvalidArgument,
    RemoteProtocolError,
    ResourceExhausted,
    TransportUnsuitable,
)
from telewire.runtime.context import CloseCallbacks, OnClose
from telewire.runtime.driver import StreamEnd
from telewire.runtime.failures import LimitPassed, failure_of, received_error, reject
from telewire.runtime.payloads import decode, discard, encode
from telewire.runtime.shapes import Converter, Convertible
from telewire.runtime.sources import (
    Body,
    Owner,
    Source,
    SourceTask,
    declarations,
    discard_sources,
    home_of,
    start_sources,
)
from telewire.wire.frames import Kind

if TYPE_CHECKING:
    from telewire.runtime.backend import Backend, Signal
    from telewire.runtime.driver import Driver

__all__ = ["PromiseSource", "RemotePromise", "open_promise"]

R = TypeVar("R")
T_co = TypeVar("T_co", covariant=True)


@final
class PromiseSource(Source):
    """An awaitable of ours, settled where its stream leads."""

    kind = Kind.PROMISE
    repeatable = True
    __slots__ = ("_awaitable", "details")

    def __init__(self, driver: Driver, awaitable: Awaitable[object]) -> None:
        self._awaitable = awaitable
        self.details: Mapping[str, object] | None = None
        if isinstance(awaitable, RemotePromise):
            self.details = home_of(driver, awaitable._state.driver, awaitable._state.stream)

    def start(self, owner: Owner, stream: Stream, place: str) -> None:
        """Await it in a task of its own."""
        SourceTask(owner, lambda body: Settler(owner, body, stream, self._awaitable, place))

    def discard(self) -> None:
        """Close a coroutine that will not run."""
        if isinstance(self._awaitable, CoroutineType):
            self._awaitable.close()


async def watch(awaitable: Awaitable[R]) -> R:
    """Await it without owning it: a future is cancelled with the task that awaits it otherwise."""
    return await (asyncio.shield(awaitable) if isinstance(awaitable, asyncio.Future) else awaitable)


@final
class LocalPromise(Awaitable[T_co]):
    """A coroutine of ours that was passed and came back: await it here too, any number of times."""

    def __init__(self, backend: Backend) -> None:
        self._signal = backend.signal()
        self._value: object = None
        self._error: BaseException | None = None

    def settle(self, value: object, error: BaseException | None) -> None:
        """Keep what came of it and wake who waits."""
        self._value = value
        self._error = error
        self._signal.set()

    async def _wait(self) -> object:
        await self._signal.wait()
        if self._error is not None:
            raise self._error
        return self._value

    def __await__(self) -> Generator[Any, Any, T_co]:
        """The value, or what the coroutine raised."""
        return self._wait().__await__()  # type: ignore[return-value]  # what the coroutine returned


@final
class Settler(StreamEnd):
    """Awaits one awaitable and sends what comes of it."""

    _local: LocalPromise[Any] | None = None

    def __init__(
        self, owner: Owner, body: Body, stream: Stream, awaitable: Awaitable[object], place: str
    ) -> None:
        self._owner = owner
        self._body = body
        self._stream = stream
        self._awaitable = awaitable
        self._place = place
        self._stopped = False
        stream.app = self

    def stopped(self, code: int, payload: bytes) -> None:
        """Nobody there wants it any more; who has got it back here may."""
        self._stopped = True
        if self._local is None:
            self._body.cancel_body()

    @property
    def original(self) -> Awaitable[object]:
        """What was passed, for who gets it back: a coroutine can be awaited only once, so not itself."""
        if not isinstance(self._awaitable, CoroutineType):
            return self._awaitable
        if self._local is None:
            self._local = LocalPromise(self._owner.driver.backend)
        return self._local

    async def run(self) -> None:
        """Settle the promise, whatever happens."""
        if self._stopped and self._local is None:
            if isinstance(self._awaitable, CoroutineType):
                self._awaitable.close()
            return
        try:
            value = await watch(self._awaitable)
            if self._local is not None:
                self._local.settle(value, None)
            self._resolve(value)
        except Exception as error:
            if self._local is not None:
                self._local.settle(None, error)
            self._reject(error)
        except BaseException as error:
            if self._local is not None:
                self._local.settle(None, CallCancelled(CancelOutcome.STOPPED))
            if self._stopped:
                raise
            # The task we watched was cancelled, or the loop is ending.
            self._reject(CallCancelled(CancelOutcome.STOPPED))
            if not isinstance(error, asyncio.CancelledError) or not isinstance(
                self._awaitable, asyncio.Future
            ):
                raise
        finally:
            # They refer to each other; a handle that was passed on is dropped with its promise, at once.
            self._stream.app = None

    def _resolve(self, value: object) -> None:
        driver = self._owner.driver
        if self._stream.retired:
            if self._local is None:
                discard(value, driver)
            return
        payload, sources = encode(value, self._place, driver)
        try:
            declared = driver.connection.resolve(self._stream, payload, declarations(sources))
        except ResourceExhausted as error:
            discard_sources(sources)
            raise LimitPassed(str(error)) from None
        except TransportUnsuitable:
            discard_sources(sources)
            raise
        start_sources(self._owner, sources, declared, self._place)
        driver.schedule()

    def _reject(self, error: Exception) -> None:
        driver = self._owner.driver
        if isinstance(error, CallCancelled):
            code, payload = int(ErrorCode.STOPPED), b""
        else:
            code, payload = failure_of(error, f"A promise in {self._place}", driver.connection)
            if code != ErrorCode.ABORTED:
                self._owner.report(error)
        if not self._stream.retired:
            reject(driver.connection, self._stream, code, payload)
            driver.schedule()


@final
class PromiseState(StreamEnd):
    """What has become of a promise of the other side; stays with the stream."""

    signal: Signal | None = None
    settled: bool = False
    value: object = None
    error: BaseException | None = None
    converter: Converter | None = None

    def __init__(self, driver: Driver, stream: Stream) -> None:
        self.driver = driver
        self.stream = stream
        self.callbacks = CloseCallbacks(driver.backend, "a promise", driver.running)

    def ended(self, payload: bytes, declared: tuple[Stream, ...]) -> None:
        """It was resolved."""
        try:
            value = decode(self.driver, payload, declared)
            if self.converter is not None:
                value = self.converter.convert(value, "promise")
        except (RemoteProtocolError, InvalidArgument) as error:
            self.settle(None, error)
        else:
            self.settle(value, None)

    def failed(self, code: int, payload: bytes) -> None:
        """It was rejected."""
        self.settle(None, received_error(code, payload, connection=self.driver.connection))

    def reset(self, code: int, payload: bytes) -> None:
        """It will not be settled: its call is over, or the connection."""
        if code == ErrorCode.NONE:
            self.settle(None, CallCancelled(CancelOutcome.STOPPED))
        else:
            self.settle(None, received_error(code, payload, connection=self.driver.connection))

    def dropped(self) -> None:
        """The handle is gone, so nobody waits."""
        self.settled = True
        self.stream.app = None
        self.callbacks.close(None)

    def settle(self, value: object, error: BaseException | None) -> None:
        """Keep what came and wake who waits; only the first counts."""
        if self.settled:
            return
        self.settled = True
        self.value = value
        self.error = error
        # They refer to each other; handles in a value that nobody takes are dropped with it, at once.
        self.stream.app = None
        self.callbacks.close(error)
        if self.signal is not None:
            self.signal.set()

    def stop(self) -> None:
        """Give it up: who waits gets CallCancelled."""
        self.driver.backend.check_thread("A promise")
        if not self.settled:
            self.driver.give_up((self.stream,))
            self.settle(None, CallCancelled(CancelOutcome.STOPPED))

    async def wait(self, handle: object) -> object:
        """What it is settled with; ``handle`` is only kept alive."""
        self.driver.backend.check_thread("A promise")
        if not self.settled:
            if self.signal is None:
                self.signal = self.driver.backend.signal()
            await self.signal.wait()
        if self.error is not None:
            raise self.error
        return self.value


class RemotePromise(Convertible, Awaitable[T_co], Generic[T_co]):
    """A value of the other side that comes later: await it, any number of times.

    Cancelling an await ends only that wait. Closing it, or dropping the last reference, tells the
    other side that nobody waits: a coroutine there is cancelled.
    """

    kind: ClassVar[str] = "promise"
    __slots__ = ("__weakref__", "_state")

    def __init__(self, state: PromiseState) -> None:
        self._state = state

    def __repr__(self) -> str:
        return f"<RemotePromise, {'settled' if self._state.settled else 'open'}>"

    def __await__(self) -> Generator[Any, Any, T_co]:
        """The value.

        Raises:
            TelewireError: it was rejected: Abort, RemoteError, CallCancelled, NetworkError and others.
        """
        return self._state.wait(self).__await__()  # type: ignore[return-value]  # converted, or not annotated

    @property
    def closed(self) -> bool:
        """Whether it is settled or given up."""
        return self._state.settled

    def on_close(self, callback: OnClose) -> None:
        """Run ``callback`` once it is settled or given up; as ``Context.on_close``."""
        self._state.callbacks.add(callback)

    async def aclose(self) -> None:
        """Give it up; who awaits it gets CallCancelled. Once settled this does nothing."""
        self._state.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self._state.stop()

    def set_item_converter(self, converter: Converter) -> None:
        """Convert the value to an annotation; telewire calls this before you get the handle."""
        state = self._state
        state.converter = None if converter.identity else converter

    def __del__(self) -> None:
        state = self._state
        if not state.stream.retired:
            # At interpreter exit the loop may be gone already.
            with contextlib.suppress(RuntimeError):
                state.driver.finalise(state.stream)


def open_promise(driver: Driver, stream: Stream) -> RemotePromise[Any]:
    """Make the handle of a promise. Any: what it gives only an annotation can say."""
    state = PromiseState(driver, stream)
    stream.app = state
    return RemotePromise(state)
