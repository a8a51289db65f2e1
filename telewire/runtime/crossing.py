"""Crossing: which source an object is sent as, and which handle a stream arrives as. The one table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Final

from telewire.errors import ErrorCode
from telewire.runtime.byte_stream import ByteStream, open_bytes
from telewire.runtime.channel import Channel, ChannelSource, open_channel
from telewire.runtime.function import (
    ExportedFunction,
    FunctionSource,
    RemoteFunction,
    is_function,
    open_function,
)
from telewire.runtime.iterator import open_iterator
from telewire.runtime.producer import IteratorSource
from telewire.runtime.promise import PromiseSource, RemotePromise, Settler, open_promise
from telewire.runtime.thread_iterator import ThreadIteratorSource
from telewire.wire.frames import Kind

if TYPE_CHECKING:
    from telewire.core.streams import Stream
    from telewire.runtime.driver import Driver
    from telewire.runtime.sources import Source

__all__ = ["open_handle", "original_of", "source_of"]


def source_of(obj: object, driver: Driver) -> Source | None:
    """The source that ``obj`` is sent as on this connection; None where it is data."""
    if isinstance(obj, ByteStream):
        return obj.source()
    if isinstance(obj, AsyncIterator):
        return IteratorSource(obj)
    if isinstance(obj, Channel):
        return ChannelSource(driver, obj)
    if is_function(obj):
        return FunctionSource(driver, obj)  # type: ignore[arg-type]  # it is callable
    if isinstance(obj, Awaitable):
        return PromiseSource(driver, obj)
    if isinstance(obj, Iterator):
        return ThreadIteratorSource(obj)
    return None


_OPENERS: Final[dict[Kind, Callable[[Driver, Stream], object]]] = {
    Kind.ITEMS: open_iterator,
    Kind.PROMISE: open_promise,
    Kind.FUNCTION: open_function,
    Kind.CHANNEL: open_channel,
    Kind.BYTES: open_bytes,
}


def open_handle(driver: Driver, stream: Stream) -> object:
    """The handle of a stream that has arrived; one of a kind that is not known is stopped."""
    opener = _OPENERS.get(stream.kind)
    if opener is None:
        driver.give_up((stream,), ErrorCode.UNSUPPORTED)
        return None
    return opener(driver, stream)


def original_of(driver: Driver, handle: object, number: int) -> object:
    """What a handle that came home stands for: our own function or promise, if it is still open.

    The stream that came with it is stopped then (TW-VAL-036); else the handle itself, which relays.
    """
    stream = driver.connection.stream_of_ours(number)
    if stream is None:
        return handle
    end = stream.app
    if isinstance(handle, RemoteFunction) and isinstance(end, ExportedFunction):
        handle._state.release()
        return end.function
    if isinstance(handle, RemotePromise) and isinstance(end, Settler):
        handle._state.stop()
        return end.original
    return handle
