"""ThreadProducer: steps a sync generator or iterator in one thread and sends what it gives.

A step for each item would cost a hop between threads each, so several are taken at once, never more
than there is credit for (I2), and encoded there. What needs the loop to be encoded goes alone. What
there is leaves at once: a step that blocks holds nothing back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Final, final

from telewire.errors import ErrorCode
from telewire.runtime.failures import NULL, NoThread
from telewire.runtime.outgoing import to_wire
from telewire.runtime.payloads import discard
from telewire.runtime.producer import ItemSender, Return
from telewire.runtime.sources import Body, Owner, Source, SourceTask
from telewire.runtime.threads import Abandoned, Step, WorkerThread
from telewire.wire.frames import Kind
from telewire.wire.values import ValueEncodeError, encode_value

if TYPE_CHECKING:
    from telewire.core.streams import Stream
    from telewire.runtime.shapes import Converter

__all__ = ["ThreadIteratorSource", "ThreadProducer"]

STEPS: Final = 256
STEPS_SECONDS: Final = 0.001


@final
class ThreadIteratorSource(Source):
    """A sync generator or iterator: its items, stepped in its call's thread or in one of its own."""

    kind = Kind.ITEMS
    __slots__ = ("_converter", "_iterator")

    def __init__(self, iterator: Iterator[object], converter: Converter | None = None) -> None:
        self._iterator = iterator
        self._converter = converter

    def start(self, owner: Owner, stream: Stream, place: str) -> None:
        """Run it to its end."""
        SourceTask(owner, lambda body: self.produce(owner, body, stream, place))

    def produce(self, owner: Owner, body: Body, stream: Stream, place: str) -> ThreadProducer:
        """The same in a task that exists: the caller owes :meth:`ThreadProducer.run`."""
        return ThreadProducer(owner, body, stream, self._iterator, self._converter, place)


@final
class _Batch:
    """What a few steps gave besides encoded items: one that the loop must encode, or the end."""

    __slots__ = ("ended", "error", "odd", "value")

    def __init__(self) -> None:
        self.odd: list[object] = []
        self.ended = False
        self.value: object = None
        self.error: Exception | None = None


@final
class ThreadProducer(ItemSender):
    """One sync iterator on its way out."""

    __slots__ = ("_ready", "_source", "_told", "_worker")

    def __init__(
        self,
        owner: Owner,
        body: Body,
        stream: Stream,
        source: Iterator[object],
        converter: Converter | None,
        place: str,
    ) -> None:
        super().__init__(owner, body, stream, converter, place)
        self._source = source
        # Encoded items, from the thread to the loop. The thread sets _told before it calls the loop, and
        # the loop clears it before it looks.
        self._ready: deque[bytes] = deque()
        self._told = False
        # Held from now on: the function that made the iterator may end before its task begins.
        self._worker = owner.worker
        if self._worker is not None:
            self._worker.hold()

    # --- from the driver -------------------------------------------------------------------------

    def stopped(self, code: int, payload: bytes) -> None:
        """Nobody wants more: it is closed once the step in progress has ended."""
        self._stopped = True
        if self._parked is not None:
            self._parked.set()
        elif self._body.step is not None:
            self._body.step.cancel()
            backend = self._driver.backend
            patience = self._driver.connection.limits.cleanup_seconds
            backend.call_at(backend.now() + patience, self._body.step.abandon)

    def sends(self, obj: object) -> bool:
        """Whether ``obj`` is what it sends."""
        return self._source is obj

    # --- in the task -----------------------------------------------------------------------------

    async def run(self) -> BaseException | None:
        """Send everything, end the stream and clean up; returns what the body failed with, if it did."""
        worker = self._worker
        if worker is None:
            try:
                worker = WorkerThread(self._driver.backend, self._place)
            except NoThread as error:
                return self._fail(error)
        try:
            return await self._produce(worker)
        except Abandoned:
            return None
        finally:
            worker.release()

    async def _produce(self, worker: WorkerThread) -> BaseException | None:
        try:
            batch = await self._send_all(worker)
        except Exception as error:
            await self._close(worker)
            return self._fail(error)
        except Abandoned:
            raise
        except BaseException:
            await self._close(worker)
            if not self._stopped:
                self._driver.connection.reset(self._stream, ErrorCode.STOPPED)
                self._driver.schedule()
                raise
            return None
        if batch is None:
            await self._close(worker)
        elif isinstance(batch.error, Return):
            return self._end_with(batch.error.value)
        elif batch.error is not None:
            await self._close(worker)
            return self._fail(batch.error)
        elif batch.value is None:
            self._end(NULL)
        else:
            return self._end_with(batch.value)
        return None

    async def _send_all(self, worker: WorkerThread) -> _Batch | None:
        """Step and send until the end, which is in the batch that it returns; None where stopped."""
        connection = self._driver.connection
        stream = self._stream
        while True:
            await self._park()
            if self._stopped:
                return None
            room = connection.room(stream)
            batch = await Step(self._body, worker, lambda: self._take(room))  # noqa: B023  # run at once
            if not await self._send_taken(batch):
                return None
            if batch.ended or batch.error is not None:
                return batch
            # A step cannot be cancelled, and there may be credit for ever.
            await self._driver.backend.checkpoint()

    async def _send_taken(self, batch: _Batch) -> bool:
        """Send what a few steps gave; false, and nothing of it is kept, where stopped."""
        wanted = False
        try:
            self._send_ready()
            # Frames cost a few bytes more than the items in them, which the thread cannot know.
            while self._ready:
                await self._park()
                self._send_ready()
            if batch.odd:
                await self._park()
            wanted = not self._stopped
        finally:
            if not wanted:
                self._ready.clear()
                for item in batch.odd:
                    discard(item, self._driver)
        if wanted:
            for item in batch.odd:
                self._send(item)
            self._driver.schedule()
        return wanted

    def _send_ready(self) -> None:
        """Send what the thread has encoded so far, as far as the credit goes."""
        self._told = False
        connection, stream, ready = self._driver.connection, self._stream, self._ready
        if self._stopped or stream.retired:
            ready.clear()
            return
        more = connection.writable(stream)
        while ready and more:
            more = connection.send_plain(stream, ready.popleft())
        self._driver.schedule()

    async def _close(self, worker: WorkerThread) -> None:
        """Close the iterator in its thread, if it can be closed; waits for a bounded time."""
        close = getattr(self._source, "close", None)
        if close is None:
            return
        backend = self._driver.backend
        patience = self._driver.connection.limits.cleanup_seconds
        step = Step(self._body, worker, close)
        timer = backend.call_at(backend.now() + patience, step.abandon)
        try:
            await step
        except Exception as error:
            self._owner.bug(error, f"The clean-up of {self._place}")
        finally:
            timer.cancel()

    # --- in the thread ---------------------------------------------------------------------------

    def _take(self, room: int) -> _Batch:
        """Take as many steps as fit into ``room`` bytes of credit, and into a moment."""
        batch = _Batch()
        source = self._source
        cost = self._driver.connection.peer_limits.item_cost
        until = perf_counter() + STEPS_SECONDS
        try:
            for _ in range(STEPS):
                item = next(source)
                payload = self._encoded(item)
                if payload is None:
                    batch.odd.append(item)
                    break
                self._ready.append(payload)
                if not self._told:
                    self._told = True
                    self._driver.backend.call_soon_threadsafe(self._send_ready)
                room -= max(len(payload), cost)
                if room < cost or self._stopped or perf_counter() > until:
                    break
        except StopIteration as end:
            batch.ended = True
            batch.value = end.value
        except Exception as error:
            batch.error = error
        return batch

    def _encoded(self, item: object) -> bytes | None:
        """Encode an item that is data; None where the loop must look at it."""
        if self._converter is not None:
            self._converter.check(item, self._place)
        limits = self._driver.connection.peer_limits
        try:
            payload = encode_value(item, _data, limits.nesting)
        except (_NeedsLoop, ValueEncodeError):
            return None
        # One that is larger than the peer accepts is refused where all such are.
        return payload if len(payload) <= limits.message_bytes else None


class _NeedsLoop(Exception):
    """Part of an item has a life, or cannot travel: encoding it is for the loop."""


def _data(obj: object) -> object:
    """Stand for an object that is data."""
    if callable(obj) or isinstance(obj, (AsyncIterator, Awaitable, Iterator)):
        raise _NeedsLoop
    try:
        return to_wire(obj)
    except TypeError:
        raise _NeedsLoop from None
