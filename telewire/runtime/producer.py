"""Producer: drives one generator of this side into a stream, in the task that it lives in.

The generator's body, its clean-up and everything it awaits run in this one task (R1). While it is
parked at a ``yield`` and we wait for credit, a cancellation that reaches us belongs to a scope inside
the generator, so it is thrown in there: only then do ``fail_after`` and ``asyncio.timeout`` work
across a ``yield``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Final, final

from telewire.core.streams import Stream
from telewire.errors import ErrorCode, LocalProtocolError, ResourceExhausted, TransportUnsuitable
from telewire.runtime.driver import StreamEnd
from telewire.runtime.failures import NULL, LimitPassed, failure_of, reject
from telewire.runtime.payloads import NO_SOURCES, discard, encode
from telewire.runtime.shapes import Converter
from telewire.runtime.sources import (
    Body,
    Owner,
    Source,
    SourceTask,
    declarations,
    discard_sources,
    start_sources,
)
from telewire.wire.frames import Kind
from telewire.wire.quick import encode_small

if TYPE_CHECKING:
    from telewire.runtime.backend import Signal
    from telewire.runtime.driver import Driver

__all__ = ["ItemSender", "IteratorSource", "Producer", "Return"]

PASS_ITEMS: Final = 256


# Not an error: it ends a generator as a return statement ends a function.
class Return(Exception):
    """``raise telewire.Return(value)`` in an async generator ends it with a value.

    The other side finds it in ``RemoteIterator.value`` after the end.
    """

    # Any: whatever can travel.
    def __init__(self, value: Any = None) -> None:
        super().__init__(value)
        self.value = value


@final
class IteratorSource(Source):
    """An async generator or iterator: its items, in a task of its own or in its call's."""

    kind = Kind.ITEMS
    __slots__ = ("_converter", "_iterator")

    def __init__(self, iterator: AsyncIterator[object], converter: Converter | None = None) -> None:
        self._iterator = iterator
        self._converter = converter

    def start(self, owner: Owner, stream: Stream, place: str) -> None:
        """Run it to its end."""
        SourceTask(owner, lambda body: self.produce(owner, body, stream, place))

    def produce(self, owner: Owner, body: Body, stream: Stream, place: str) -> Producer:
        """The same in a task that exists: the caller owes :meth:`Producer.run`."""
        return Producer(owner, body, stream, self._iterator, self._converter, place)


class ItemSender(StreamEnd, ABC):
    """One generator or iterator on its way out, whatever steps it."""

    __slots__ = (
        "_body",
        "_converter",
        "_driver",
        "_owner",
        "_parked",
        "_place",
        "_stopped",
        "_stream",
    )

    def __init__(
        self, owner: Owner, body: Body, stream: Stream, converter: Converter | None, place: str
    ) -> None:
        self._driver: Driver = owner.driver
        self._owner = owner
        self._body = body
        self._stream = stream
        self._converter = None if converter is None or converter.identity else converter
        self._place = place
        self._parked: Signal | None = None
        self._stopped = False
        stream.app = self

    @abstractmethod
    def sends(self, obj: object) -> bool:
        """Whether ``obj`` is what it sends."""

    @abstractmethod
    async def run(self) -> BaseException | None:
        """Send everything, end the stream and clean up; returns what the body failed with, if it did."""

    def unblocked(self) -> None:
        """There is credit again: go on."""
        if self._parked is not None:
            self._parked.set()

    def close(self) -> None:
        """End it from this side, as if it had finished."""
        if not self._stopped and not self._stream.retired:
            self._driver.connection.reset(self._stream, ErrorCode.NONE)
            self.stopped(ErrorCode.NONE, b"")
            self._driver.dispatch()
            self._driver.schedule()

    async def _park(self) -> None:
        while not self._stopped and not self._driver.connection.writable(self._stream):
            self._parked = self._driver.backend.signal()
            try:
                await self._parked.wait()
            finally:
                self._parked = None

    def _send(self, item: object) -> bool:
        """Send one item, for which there is credit; whether there is for another one."""
        if self._converter is not None:
            self._converter.check(item, self._place)
        connection, stream = self._driver.connection, self._stream
        payload = encode_small(item)
        sources: Sequence[Source] = NO_SOURCES
        if payload is None:
            payload, sources = encode(item, self._place, self._driver)
        try:
            if not sources:
                return connection.send_plain(stream, payload)
            declared = connection.send_item(stream, payload, declarations(sources))
        except ResourceExhausted as error:
            discard_sources(sources)
            raise LimitPassed(str(error)) from None
        except TransportUnsuitable:
            discard_sources(sources)
            raise
        start_sources(self._owner, sources, declared, self._place)
        return connection.writable(stream)

    def _end(self, payload: bytes) -> None:
        if not self._stopped and not self._stream.retired:
            self._driver.connection.end(self._stream, payload)
            self._driver.schedule()

    def _end_with(self, value: object) -> BaseException | None:
        try:
            payload, sources = encode(value, f"{self._place} value", self._driver)
            if sources:
                discard_sources(sources)
                raise LocalProtocolError(
                    "A generator's return value cannot hold an iterator; yield it as an item."
                )
            self._end(payload)
        except ResourceExhausted as error:
            return self._fail(LimitPassed(str(error)))
        except Exception as error:
            return self._fail(error)
        return None

    def _fail(self, error: Exception) -> BaseException | None:
        """End the stream with what crosses of an error, behind its items."""
        code, payload = failure_of(error, self._place, self._driver.connection)
        if code != ErrorCode.ABORTED:
            self._owner.report(error)
        if not self._stopped and not self._stream.retired:
            reject(self._driver.connection, self._stream, code, payload)
            self._driver.schedule()
        return error


class Producer(ItemSender):
    """One async generator on its way out."""

    __slots__ = ("_running", "_source")

    def __init__(
        self,
        owner: Owner,
        body: Body,
        stream: Stream,
        source: AsyncIterator[object],
        converter: Converter | None,
        place: str,
    ) -> None:
        super().__init__(owner, body, stream, converter, place)
        self._source = source
        self._running = False

    # --- from the driver -------------------------------------------------------------------------

    def stopped(self, code: int, payload: bytes) -> None:
        """Nobody wants more: cancel the body in its await, or wake it at its yield to be closed there."""
        self._stopped = True
        if self._parked is not None:
            self._parked.set()
        elif self._running:
            self._body.cancel_body()

    def sends(self, obj: object) -> bool:
        """Whether ``obj`` is what it sends."""
        return self._source is obj

    # --- in the task -----------------------------------------------------------------------------

    async def run(self) -> BaseException | None:
        """Send everything, end the stream and clean up; returns what the body failed with, if it did."""
        try:
            await self._send_all()
        except StopAsyncIteration:
            self._end(NULL)
        except Return as end:
            return self._end_with(end.value)
        except Exception as error:
            await self._close()
            return self._fail(error)
        except BaseException:
            await self._close()
            if not self._stopped:
                self._driver.connection.reset(self._stream, ErrorCode.STOPPED)
                self._driver.schedule()
                raise
        else:
            await self._close()
        return None

    async def _send_all(self) -> None:
        """Pull, send, wait for credit; returns when stopped, raises what ends the body."""
        driver = self._driver
        step = self._source.__anext__
        sent = 0
        while not self._stopped:
            self._running = True
            item = await step()
            self._running = False
            if self._stopped:
                discard(item, driver)  # type: ignore[unreachable]  # it changes in the await
                return
            sent += 1
            if self._send(item):
                if sent % PASS_ITEMS:
                    if not driver.flushing:
                        driver.schedule()
                    continue
                # A body that never waits would keep the loop to itself, and the items back.
                driver.write()
                waiting = driver.backend.checkpoint()
            else:
                driver.schedule()
                waiting = self._park()
            try:
                await waiting
            except BaseException as error:
                if self._stopped:
                    raise
                await self._send_late(await self._throw(error))

    async def _send_late(self, item: object) -> None:
        """Send what was yielded instead when a cancellation was thrown in: its credit is still to come."""
        connection = self._driver.connection
        late = deque([item])
        ended: BaseException | None = None
        while not self._stopped and (late or (ended is None and not connection.writable(self._stream))):
            if late and connection.writable(self._stream):
                self._send(late.popleft())
                self._driver.schedule()
                continue
            try:
                await self._park()
            except BaseException as error:
                if ended is not None or self._stopped:
                    raise
                try:
                    late.append(await self._throw(error))
                except BaseException as end:
                    ended = end
        if ended is not None:
            raise ended

    async def _throw(self, error: BaseException) -> object:
        """Deliver a cancellation to the generator at its yield; returns what it yields instead."""
        throw = getattr(self._source, "athrow", None)
        if throw is None:
            raise error
        self._running = True
        try:
            return await throw(error)
        finally:
            self._running = False

    async def _close(self) -> None:
        """Close the generator in its own task, for a bounded time.

        Bounded by a timer: a scope of ours entered here would stand inside those that it holds.
        """
        close = getattr(self._source, "aclose", None)
        if close is None:
            return
        backend = self._driver.backend
        patience = self._driver.connection.limits.cleanup_seconds
        timer = backend.call_at(backend.now() + patience, lambda: self._body.cancel_body(again=True))
        try:
            await close()
        except BaseExceptionGroup as group:
            # A task group held across the yield wraps the exit that has closed it.
            rest: BaseException | None = group.split(GeneratorExit)[1]
            if isinstance(rest, Exception):
                self._owner.bug(rest, f"The clean-up of {self._place}")
            elif rest is not None:
                raise rest from None
        except Exception as error:
            self._owner.bug(error, f"The clean-up of {self._place}")
        finally:
            timer.cancel()
