"""Payloads: what users pass becomes bytes and a list of sources; what arrives becomes values with handles.

A *source* is a thing of this side with a life (a generator, say) that a payload introduces as a
stream. Encoding is all or nothing: where it fails, no source has been started.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, final

from telewire.core.streams import Stream
from telewire.errors import InvalidArgument
from telewire.runtime.outgoing import to_wire
from telewire.wire.quick import encode_small
from telewire.wire.values import Reference, ValueEncodeError, decode_value, encode_value

if TYPE_CHECKING:
    from telewire.runtime.driver import Driver
    from telewire.runtime.sources import Source

__all__ = ["decode", "encode"]

NO_SOURCES: Final[tuple[Source, ...]] = ()


@final
class _Sources:
    """Collects the sources of one payload while it is encoded."""

    __slots__ = ("found", "numbers")

    def __init__(self) -> None:
        self.found: list[Source] = []
        self.numbers: dict[int, int] = {}

    def replace(self, obj: object) -> object:
        """Stand for an object that CBOR has no form for."""
        # Here, because sources themselves encode what they send.
        from telewire.runtime.crossing import source_of

        if id(obj) in self.numbers:
            raise ValueEncodeError("The same iterator stands twice in one value; pass it once.")
        source = source_of(obj)
        if source is not None:
            self.numbers[id(obj)] = len(self.found)
            self.found.append(source)
            return Reference(len(self.found) - 1)
        if inspect.isasyncgenfunction(obj) or inspect.iscoroutinefunction(obj):
            raise ValueEncodeError(
                f"The function {obj.__qualname__!r} cannot travel; call it and pass what it returns."
            )
        try:
            return to_wire(obj)
        except TypeError as error:
            raise ValueEncodeError(str(error)) from None


def encode(value: object, place: str, *, arguments: bool = False) -> tuple[bytes, Sequence[Source]]:
    """Encode a value; returns its bytes and its sources, in the order of their references.

    ``arguments`` says that it is the list of positional and the map of named arguments of a call.

    Raises:
        InvalidArgument: part of the value cannot travel; the message begins with ``place`` and names
            the path.
    """
    small = encode_small(value)
    if small is not None:
        return small, NO_SOURCES
    sources = _Sources()
    try:
        return encode_value(value, sources.replace), sources.found or NO_SOURCES
    except ValueEncodeError as error:
        path = error.path.removeprefix("value")
        if arguments:
            path = f" argument{path.removeprefix('[0]').removeprefix('[1]')}"
        message = f"{place}{path}{': ' if error.problem[:1].isupper() else ' '}{error.problem}"
    for source in sources.found:
        source.discard()
    raise InvalidArgument(message)


def decode(driver: Driver, payload: bytes, declared: tuple[Stream, ...]) -> object:
    """Decode a value; the streams that it introduces become handles.

    Raises:
        RemoteProtocolError: it does not decode. What it introduced has been stopped.
    """
    if not declared:
        return decode_value(payload)
    handles = driver.make_handles(declared)
    try:
        return decode_value(payload, handles)
    except BaseException:
        driver.give_up(declared)
        raise
