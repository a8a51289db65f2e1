"""Payloads: what users pass becomes bytes and a list of sources; what arrives becomes values with handles.

A *source* is a thing of this side with a life (a generator, say) that a payload introduces as a
stream. Encoding is all or nothing: where it fails, no source has been started.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, final

from telewire.core.streams import Stream
from telewire.errors import InvalidArgument
from telewire.runtime.outgoing import to_wire
from telewire.runtime.shapes import Convertible
from telewire.wire.frames import Kind
from telewire.wire.quick import encode_small
from telewire.wire.values import Reference, ValueEncodeError, decode_value, encode_value

if TYPE_CHECKING:
    from telewire.runtime.driver import Driver
    from telewire.runtime.sources import Source

__all__ = ["NO_SOURCES", "decode", "discard", "encode"]

NO_SOURCES: Final[tuple[Source, ...]] = ()


@final
class _Sources:
    """Collects the sources of one payload while it is encoded."""

    __slots__ = ("driver", "found", "kept", "numbers")

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        # By id: what stands here keeps the id from being given to another object meanwhile.
        self.kept: list[object] = []
        self.found: list[Source] = []
        self.numbers: dict[int, int] = {}

    def replace(self, obj: object) -> object:
        """Stand for an object that CBOR has no form for."""
        # Here, because sources themselves encode what they send.
        from telewire.runtime.crossing import source_of

        known = self.numbers.get(id(obj))
        if known is not None:
            if not self.found[known].repeatable:
                what = obj.kind if isinstance(obj, Convertible) else type(obj).__name__
                raise ValueEncodeError(f"The same {what} stands twice in one value; pass it once.")
            return Reference(known, self.found[known].details)
        source = source_of(obj, self.driver)
        if source is not None:
            self.kept.append(obj)
            index = self.numbers[id(obj)] = self._add(source)
            return Reference(index, source.details)
        try:
            return to_wire(obj)
        except TypeError as error:
            raise ValueEncodeError(str(error)) from None

    def _add(self, source: Source) -> int:
        """The index of a source; the same function is declared once, though its methods differ in id."""
        if source.number is not None and source.repeatable:
            for index, other in enumerate(self.found):
                if other.number == source.number:
                    return index
        self.found.append(source)
        return len(self.found) - 1


def encode(
    value: object, place: str, driver: Driver, *, arguments: bool = False
) -> tuple[bytes, Sequence[Source]]:
    """Encode a value; returns its bytes and its sources, in the order of their references.

    Where that is done for each call, :func:`~telewire.wire.quick.encode_small` is tried before.
    ``arguments`` says that it is the list of positional and the map of named arguments of a call.

    Raises:
        InvalidArgument: part of the value cannot travel; the message begins with ``place`` and names
            the path.
    """
    small = encode_small(value)
    if small is not None:
        return small, NO_SOURCES
    sources = _Sources(driver)
    try:
        return encode_value(value, sources.replace), sources.found or NO_SOURCES
    except ValueEncodeError as error:
        path = error.path.removeprefix("value")
        if arguments:
            path = f" argument{path[3:]}"
        message = f"{place}{path}{': ' if error.problem[:1].isupper() else ' '}{error.problem}"
    for source in sources.found:
        source.discard()
    raise InvalidArgument(message)


def discard(value: object, driver: Driver) -> None:
    """Release what a value holds that nobody wants any more: its coroutines are closed (R4)."""
    try:
        _, sources = encode(value, "A value", driver)
    except InvalidArgument:
        return
    for source in sources:
        source.discard()


def decode(
    driver: Driver, payload: bytes, declared: tuple[Stream, ...], handles: Sequence[object] | None = None
) -> object:
    """Decode a value; the streams that it introduces become handles, or are those in ``handles``.

    Raises:
        RemoteProtocolError: it does not decode. What it introduced has been stopped.
    """
    if not declared:
        return decode_value(payload)
    if handles is None:
        handles = driver.make_handles(declared)
    try:
        return decode_value(
            payload,
            handles,
            describe=functools.partial(_describe, driver),
            repeatable=lambda index: declared[index].kind in (Kind.PROMISE, Kind.FUNCTION),
        )
    except BaseException:
        driver.give_up(declared)
        raise


def _describe(driver: Driver, handle: object, details: dict[str, object]) -> object:
    """Tell a handle what its reference says about it; one that came home becomes the original again."""
    home = details.get("home")
    if isinstance(home, int):
        from telewire.runtime.crossing import original_of

        return original_of(driver, handle, home)
    if isinstance(handle, Convertible):
        handle.describe(details)
    return handle
