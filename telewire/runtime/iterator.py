"""RemoteIterator: the items of a generator on the other side, as they come."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Self, TypeVar, final

from telewire.core.streams import Stream
from telewire.errors import ErrorCode, InvalidArgument, RemoteProtocolError
from telewire.runtime.context import CloseCallbacks, OnClose
from telewire.runtime.driver import StreamEnd
from telewire.runtime.failures import close_reason, received_error
from telewire.runtime.from_thread import ThreadIterator
from telewire.runtime.payloads import decode
from telewire.runtime.shapes import Converter, Convertible
from telewire.wire.values import decode_items

if TYPE_CHECKING:
    from telewire.runtime.backend import Signal
    from telewire.runtime.driver import Driver

__all__ = ["RemoteIterator", "open_iterator"]

CHECKPOINT_WAITS: Final = 16

T_co = TypeVar("T_co", covariant=True)


@final
class ItemBuffer(StreamEnd):
    """What has arrived of one stream and is not taken yet; stays with the stream, not with the handle."""

    __slots__ = (
        "callbacks",
        "converter",
        "done",
        "driver",
        "error",
        "place",
        "runs",
        "signal",
        "stream",
        "taking",
        "value",
        "waits",
    )

    def __init__(self, driver: Driver, stream: Stream) -> None:
        self.driver = driver
        self.stream = stream
        # Runs of items in order of arrival, each reversed so that taking one is a pop from its end,
        # with how many units it gives back to the sender once it is empty.
        self.runs: deque[tuple[list[object], int]] = deque()
        self.taking: list[object] = []
        """The first run, once its first item has been taken."""
        self.done = False
        self.error: BaseException | None = None
        self.value: object = None
        self.signal: Signal | None = None
        self.waits = 0
        self.converter: Converter | None = None
        self.place = "item"
        self.callbacks = CloseCallbacks(driver.backend, "an iterator", driver.running)

    # --- from the driver -------------------------------------------------------------------------

    def items(self, count: int, payload: bytes) -> None:
        """Decode a run at once; what precedes a bad item is still delivered."""
        if self.done:
            return
        try:
            items = decode_items(payload, count)
        except RemoteProtocolError as error:
            self.give_up(error)
            return
        items.reverse()
        self.runs.append((items, count))
        self.wake()

    def item(self, payload: bytes, declared: tuple[Stream, ...]) -> None:
        """Decode one item with all that it introduces."""
        if self.done:
            self.driver.give_up(declared)
            return
        try:
            self.runs.append(([decode(self.driver, payload, declared)], 1))
        except RemoteProtocolError as error:
            self.give_up(error)
            return
        self.wake()

    def ended(self, payload: bytes, declared: tuple[Stream, ...]) -> None:
        """The generator returned, possibly with a value."""
        try:
            self.value = decode(self.driver, payload, declared) if payload else None
        except RemoteProtocolError as error:
            self.error = error
        self.finish()

    def failed(self, code: int, payload: bytes) -> None:
        """The generator failed: its items come first."""
        self.error = received_error(code, payload, connection=self.driver.connection)
        self.finish()

    def reset(self, code: int, payload: bytes) -> None:
        """The other side gave up: what is not taken is void."""
        if not self.done:
            self._clear()
            self.error = (
                received_error(code, payload, connection=self.driver.connection)
                if code != ErrorCode.NONE
                else None
            )
            self.finish(close_reason(code, payload, self.driver.connection))

    def dropped(self) -> None:
        """Nobody will take more; a handle that is still there has ended."""
        self._clear()
        self.finish()

    # --- to the handle ---------------------------------------------------------------------------

    def finish(self, reason: BaseException | None = None) -> None:
        """Nothing more will arrive."""
        self.done = True
        self.callbacks.close(self.error if reason is None else reason)
        self.wake()

    def wake(self) -> None:
        """Wake who waits for the next item."""
        if self.signal is not None:
            self.signal.set()
            self.signal = None

    def stop(self, error: BaseException | None = None) -> None:
        """End it from this side; who waits sees its end, or ``error``."""
        self.driver.backend.check_thread("An iterator")
        if not self.done:
            self.error = error
            self._clear()
            self.driver.give_up((self.stream,))
            self.finish(error)
        elif not self.stream.retired:
            self._clear()
            self.driver.give_up((self.stream,))

    def void(self, error: BaseException | None) -> None:
        """End it for the handle; the end of the call, which says why, is what the sender hears of."""
        self._clear()
        if not self.done:
            self.error = error
            self.finish(error)

    def give_up(self, error: BaseException) -> None:
        """A value did not decode or fit: nothing after it can be trusted."""
        runs = list(self.runs)
        self.stop(error)
        self.runs.extend(runs)

    def _clear(self) -> None:
        self.runs.clear()
        self.taking = []

    def take(self) -> object:
        """The next item of what has arrived; there must be one."""
        items, units = self.runs[0]
        # With the first of a run, and with the last, which enters the state machine: a test for each costs.
        if len(items) in (1, units):
            self.driver.backend.check_thread("An iterator")
        item = items.pop()
        self.taking = items
        if not items:
            self.runs.popleft()
            if not self.stream.retired:
                self.driver.connection.consumed(self.stream, units)
                self.driver.schedule()
        if self.converter is not None:
            try:
                return self.converter.convert(item, self.place)
            except InvalidArgument as error:
                self.stop(error)
                raise
        return item


class RemoteIterator(Convertible, AsyncIterator[T_co], Generic[T_co]):
    """The items of an async generator that runs on the other side.

    ``async for`` takes them, and in the thread of a plain function ``for``; the other side runs ahead
    of you by a bounded amount only. Closing it, leaving it as ``async with`` or dropping the last
    reference stops the generator there: its ``finally`` blocks run. After the end, ``value`` is what it
    gave with ``raise telewire.Return(value)``.
    """

    kind: ClassVar[str] = "iterator"
    __slots__ = ("__weakref__", "_buffer")

    def __init__(self, buffer: ItemBuffer) -> None:
        self._buffer = buffer

    def __repr__(self) -> str:
        return f"<RemoteIterator, {'closed' if self.closed else 'open'}>"

    def __aiter__(self) -> RemoteIterator[T_co]:
        return self

    def __iter__(self) -> Iterator[T_co]:
        """The items, in the thread of a plain function: it waits for each while the loop goes on.

        Leaving the loop leaves the generator open, as it does with ``async for``. Where the call is over
        meanwhile, or what this code makes is not wanted any more, the function is unwound: see
        :func:`telewire.wait`.

        Raises:
            RuntimeError: this is no such thread; use ``async for`` on the loop.
        """
        return ThreadIterator(self, "A plain `for` over a RemoteIterator")

    async def __anext__(self) -> T_co:
        """The next item.

        Raises:
            StopAsyncIteration: the generator has ended, or was closed from this side.
            TelewireError: it failed: Abort, RemoteError, CallCancelled, NetworkError and others.
        """
        buffer = self._buffer
        taking = buffer.taking
        if len(taking) > 1 and buffer.converter is None:
            # Between the first of a run and its last nobody need be told: 130 ns and not 155.
            return taking.pop()  # type: ignore[return-value]  # as below
        while not buffer.runs:
            if buffer.done:
                buffer.driver.backend.check_thread("An iterator")
                error, buffer.error = buffer.error, None
                if error is not None:
                    raise error
                raise StopAsyncIteration
            signal = buffer.signal
            if signal is None:
                signal = buffer.signal = buffer.driver.backend.signal()
            await signal.wait()
            buffer.waits += 1
            if not buffer.waits % CHECKPOINT_WAITS:
                # anyio cancels an asyncio task only where it finds it waiting, and one that is woken
                # in every pass of the loop it may never find so.
                await buffer.driver.backend.checkpoint()
        return buffer.take()  # type: ignore[return-value]  # converted to the annotation, or not annotated

    @property
    def value(self) -> Any:
        """What the generator returned; None before its end. Any: a generator's annotation cannot say."""
        return self._buffer.value

    @property
    def closed(self) -> bool:
        """Whether nothing more will arrive."""
        return self._buffer.done

    def on_close(self, callback: OnClose) -> None:
        """Run ``callback`` once when nothing more will arrive; as ``Context.on_close``."""
        self._buffer.callbacks.add(callback)

    async def aclose(self) -> None:
        """Stop the generator; a loop over it ends as if it had finished. Safe from any task."""
        self._buffer.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self._buffer.stop()

    def set_item_converter(self, converter: Converter) -> None:
        """Convert items to an annotation; telewire calls this before you get the handle."""
        self._buffer.converter = None if converter.identity else converter

    def name_items(self, place: str) -> None:
        """Say in errors where the items come from."""
        self._buffer.place = place

    def __del__(self) -> None:
        buffer = self._buffer
        if not buffer.stream.retired:
            # At interpreter exit the loop may be gone already.
            with contextlib.suppress(RuntimeError):
                buffer.driver.finalise(buffer.stream)


def open_iterator(driver: Driver, stream: Stream) -> RemoteIterator[Any]:
    """Make the handle of a stream of items. Any: what the items are only an annotation can say."""
    buffer = ItemBuffer(driver, stream)
    stream.app = buffer
    return RemoteIterator(buffer)
