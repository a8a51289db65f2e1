"""Crossing: which source an object is sent as, and which handle a stream arrives as. The one table."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from telewire.errors import ErrorCode
from telewire.runtime.iterator import open_iterator
from telewire.runtime.producer import IteratorSource
from telewire.wire.frames import Kind

if TYPE_CHECKING:
    from telewire.core.streams import Stream
    from telewire.runtime.driver import Driver
    from telewire.runtime.sources import Source

__all__ = ["open_handle", "source_of"]


def source_of(obj: object) -> Source | None:
    """The source that ``obj`` is sent as; None where it is data."""
    if isinstance(obj, AsyncIterator):
        return IteratorSource(obj)
    return None


def open_handle(driver: Driver, stream: Stream) -> object:
    """The handle of a stream that has arrived; one of a kind we do not know is stopped."""
    if stream.kind is not Kind.ITEMS:
        driver.give_up((stream,), ErrorCode.UNSUPPORTED)
    return open_iterator(driver, stream)
