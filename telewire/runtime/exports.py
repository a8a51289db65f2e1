"""Exports: the numbers of the functions that one side has passed on one connection."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from telewire.core.streams import Stream

__all__ = ["Exports"]


@final
class Exports:
    """The functions of this side that the other can call, by number."""

    __slots__ = ("_keys", "_next", "_numbers", "_streams")

    def __init__(self) -> None:
        self._numbers: dict[object, int] = {}
        self._streams: dict[int, set[Stream]] = {}
        self._keys: dict[int, object] = {}
        self._next = 0

    def number_of(self, function: object) -> int:
        """The number of a function, the same each time it is passed while it is open."""
        key = _key(function)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = self._next
            self._next += 1
            self._keys[number] = key
            self._streams[number] = set()
        return number

    def next_number(self) -> int:
        """A number of its own, for what is never the same twice."""
        self._next += 1
        return self._next - 1

    def add(self, number: int, stream: Stream) -> None:
        """Note one more stream of a function."""
        self._streams[number].add(stream)

    def remove(self, number: int, stream: Stream | None) -> None:
        """Note that a stream has ended, or was never opened; the last one frees the number."""
        streams = self._streams.get(number)
        if streams is None:
            return
        if stream is not None:
            streams.discard(stream)
        if not streams:
            del self._streams[number]
            del self._numbers[self._keys.pop(number)]

    def streams_of(self, function: object) -> tuple[Stream, ...]:
        """The streams through which a function can be called at present."""
        number = self._numbers.get(_key(function))
        return () if number is None else tuple(self._streams[number])


@final
class _Identity:
    """A key that is its object, and keeps it alive."""

    __slots__ = ("_object",)

    def __init__(self, obj: object) -> None:
        self._object = obj

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self._object is other._object

    def __hash__(self) -> int:
        return id(self._object)


def _key(function: object) -> object:
    """Bound and builtin methods are the same function when they are equal, all else by identity."""
    bound = getattr(function, "__self__", None)
    if isinstance(function, types.MethodType):
        return (_Identity(bound), _Identity(function.__func__))
    if isinstance(function, (types.BuiltinFunctionType, types.MethodWrapperType)) and bound is not None:
        return (_Identity(bound), function.__name__)
    return _Identity(function)
