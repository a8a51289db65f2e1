"""Shapes of scalars, collections, unions, literals, enums and handles."""

from __future__ import annotations

import datetime
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, final

from telewire.runtime.shapes import Converter, Convertible, Failure, Misfit, Mode, Shape

__all__ = [
    "CheckedShape",
    "CollectionShape",
    "EnumShape",
    "FloatShape",
    "HandleShape",
    "InstanceShape",
    "IterableShape",
    "LazyShape",
    "LiteralShape",
    "MappingShape",
    "TupleShape",
    "UnionShape",
]

_SCALARS = (int, float, str, bytes, bool, type(None))

# Sequences to Python, but one value each to people and on the wire.
_WHOLE = (str, bytes, bytearray, memoryview)


@final
class InstanceShape(Shape):
    """Instances of one class: builtin scalars, dates, numbers, anything without parts."""

    def __init__(self, expected: str, cls: type) -> None:
        super().__init__(expected)
        self.scalar = cls
        self.cls = cls
        self.takes_scalars = cls not in _SCALARS and any(issubclass(one, cls) for one in _SCALARS)
        # bool is an int to Python and a datetime is a date, but not to a reader of the annotation.
        self.except_for = {int: bool, datetime.date: datetime.datetime}.get(cls)
        self.from_bytes: Callable[[Any], object] | None = cls if cls in (bytearray, memoryview) else None

    def apply(self, value: object, mode: Mode) -> object:
        """An instance as it is; bytes from any bytes-like object."""
        if isinstance(value, self.cls):
            if self.except_for is None or not isinstance(value, self.except_for):
                return value
        elif self.cls is bytes and isinstance(value, (bytearray, memoryview)):
            return bytes(value)
        elif self.from_bytes is not None and isinstance(value, (bytes, bytearray, memoryview)):
            return self.from_bytes(value)
        raise self.misfit(value)


@final
class FloatShape(Shape):
    """A float; an int is widened, as PEP 484 has it."""

    scalar = float
    takes_scalars = False

    def apply(self, value: object, mode: Mode) -> object:
        """A float as it is, an int widened."""
        if isinstance(value, float):
            return value
        if isinstance(value, int) and not isinstance(value, bool) and not mode.exact:
            try:
                return float(value)
            except OverflowError:
                raise Misfit(self.expected, "an int beyond its range") from None
        raise self.misfit(value)


@final
class CollectionShape(Shape):
    """Any number of elements of one shape: lists, variadic tuples, sets and their abstract bases."""

    takes_scalars = False

    def __init__(
        self,
        expected: str,
        element: Shape,
        accepted: tuple[type, ...],
        make: Callable[[Iterable[Any]], object],
    ) -> None:
        super().__init__(expected)
        self.element = element
        self.accepted = accepted
        self.make = make
        self.ordered = make not in (set, frozenset)

    def accepts(self, value: object) -> bool:
        """Whether ``value`` is a collection of the kind, whatever its elements."""
        return isinstance(value, self.accepted) and not isinstance(value, _WHOLE)

    def apply(self, value: object, mode: Mode) -> object:
        """The collection with each element converted; as it is where nothing has to be done."""
        if not self.accepts(value):
            raise self.misfit(value)
        assert isinstance(value, Iterable)
        element = self.element
        if element.identity:
            return value if type(value) is self.make else self.make(value)
        # One pass in C says whether anything has to be done at all.
        if element.scalar is not None and set(map(type, value)) <= {element.scalar}:
            return value if type(value) is self.make else self.make(value)
        converted = []
        index = 0
        try:
            for item in value:
                converted.append(element.apply(item, mode))
                index += 1
        except Misfit as misfit:
            misfit.steps.append(f"[{index}]" if self.ordered else "[...]")
            raise
        try:
            return self.make(converted)
        except TypeError:
            # Elements of a set that came out unhashable, such as plain dataclasses.
            raise self.misfit(value) from None


@final
class TupleShape(Shape):
    """A tuple of a fixed length, each place with its own shape; an array on the wire."""

    takes_scalars = False

    def __init__(self, expected: str, places: tuple[Shape, ...]) -> None:
        super().__init__(expected)
        self.places = places

    def apply(self, value: object, mode: Mode) -> object:
        """A tuple with each place converted."""
        if not isinstance(value, (list, tuple)):
            raise self.misfit(value)
        if len(value) != len(self.places):
            raise Misfit(self.expected, f"{type(value).__name__} of length {len(value)}")
        converted = []
        try:
            for shape, item in zip(self.places, value, strict=True):
                converted.append(item if type(item) is shape.scalar else shape.apply(item, mode))
        except Misfit as misfit:
            misfit.steps.append(f"[{len(converted)}]")
            raise
        return tuple(converted)


@final
class MappingShape(Shape):
    """Keys of one shape to values of another. Keys are values of the peer: no path shows one."""

    takes_scalars = False

    def __init__(
        self, expected: str, key: Shape, value: Shape, make: Callable[[dict[Any, Any]], object]
    ) -> None:
        super().__init__(expected)
        self.key = key
        self.value = value
        self.make = make
        # The only type of what fits as it is; None where that does not say it all.
        self._keys = None if key.scalar is None else frozenset({key.scalar})
        self._values = None if value.scalar is None else frozenset({value.scalar})

    def apply(self, value: object, mode: Mode) -> object:
        """The mapping with its keys and values converted."""
        if type(value) is not dict and not isinstance(value, Mapping):
            raise self.misfit(value)
        if (self.key.identity or (self._keys is not None and self._keys.issuperset(map(type, value)))) and (
            self.value.identity
            or (self._values is not None and self._values.issuperset(map(type, value.values())))
        ):
            return value if type(value) is self.make else self.make(dict(value))
        converted = {}
        for key, item in value.items():
            try:
                key = self.key.apply(key, mode)
            except Misfit as misfit:
                misfit.steps.append(".keys()")
                raise
            try:
                item = self.value.apply(item, mode)
            except Misfit as misfit:
                misfit.steps.append(".values()")
                raise
            try:
                converted[key] = item
            except TypeError:
                raise self.misfit(value) from None
        return converted if self.make is dict else self.make(converted)


@final
class UnionShape(Shape):
    """The first branch that fits, in order of declaration; see :class:`Mode` for ``exact``."""

    def __init__(self, expected: str, branches: tuple[Shape, ...]) -> None:
        super().__init__(expected)
        self.branches = branches
        direct: set[type] = set()
        for branch in branches:
            if branch.scalar is not None:
                direct.add(branch.scalar)
            # A branch such as an enum may claim a str that a later branch would take as it is.
            if branch.takes_scalars:
                break
        self.direct = frozenset(direct)

    def apply(self, value: object, mode: Mode) -> object:
        """What the first fitting branch makes of the value."""
        if type(value) in self.direct:
            return value
        failed = {} if mode.failed is None else mode.failed
        key = (id(self), id(value), mode.exact)
        if key in failed:
            raise Misfit(*failed[key])
        deeper: list[Failure] = []
        for exact in (True,) if mode.exact else (True, False):
            trial = Mode(mode.outgoing, exact, failed)
            deeper.clear()
            for branch in self.branches:
                try:
                    return branch.apply(value, trial)
                except Misfit as misfit:
                    if misfit.steps:
                        deeper.append((misfit.expected, misfit.got, tuple(misfit.steps)))
        # Where one branch alone was meant, its own place says more than the whole union.
        failure = deeper[0] if len(deeper) == 1 else (self.expected, type(value).__name__, ())
        failed[key] = failure
        raise Misfit(*failure)


@final
class LiteralShape(Shape):
    """One of some values, of the very type: True is not 1."""

    def __init__(self, expected: str, values: tuple[Any, ...]) -> None:
        super().__init__(expected)
        self.values = {(type(value), value): value for value in values}
        for value in values:
            if isinstance(value, Enum):
                self.values.setdefault((type(value.value), value.value), value)

    def apply(self, value: object, mode: Mode) -> object:
        """The literal itself."""
        plain = value.value if isinstance(value, Enum) and (type(value), value) not in self.values else value
        try:
            return self.values[type(plain), plain]
        except (KeyError, TypeError):
            pass
        raise self.misfit(value)


@final
class EnumShape(Shape):
    """Members of an enumeration, from their values; flags from any combination."""

    def __init__(self, expected: str, cls: type[Enum]) -> None:
        super().__init__(expected)
        self.cls = cls

    def apply(self, value: object, mode: Mode) -> object:
        """The member of that value."""
        if isinstance(value, self.cls):
            return value
        # Values that are tuples come as arrays.
        plain = tuple(value) if isinstance(value, list) else value
        try:
            member = self.cls(plain)
        except (ValueError, TypeError):
            pass
        else:
            # True == 1 == 1.0 to a look-up; a member that _missing_ found has another value.
            if type(member.value) is type(plain) or member.value != plain:
                return member
        raise self.misfit(value)


@final
class HandleShape(Shape):
    """A live thing of one kind; what it carries is converted as it arrives."""

    takes_scalars = False

    def __init__(self, expected: str, kind: str, item: Converter, outgoing: Converter | None = None) -> None:
        super().__init__(expected)
        self.kind = kind
        self.item = item
        self.outgoing = outgoing

    def apply(self, value: object, mode: Mode) -> object:
        """The handle itself, told how to convert what it carries."""
        if isinstance(value, Convertible):
            if value.kind != self.kind:
                raise self.misfit(value)
            if not mode.outgoing:
                if not self.item.identity:
                    value.set_item_converter(self.item)
                if self.outgoing is not None and not self.outgoing.identity:
                    value.set_outgoing_converter(self.outgoing)
            return value
        # What arrives is live itself only where it is our own that came home.
        if (mode.outgoing or self.kind != "iterator") and self._is_live(value):
            return value
        raise self.misfit(value)

    def _is_live(self, value: object) -> bool:
        if self.kind == "iterator":
            return isinstance(value, (AsyncIterator, Iterator))
        if self.kind == "promise":
            return inspect.isawaitable(value)
        return self.kind == "function" and callable(value)


@final
class IterableShape(Shape):
    """``Iterable[T]``: a collection, or an iterator whose items are converted as they arrive."""

    takes_scalars = False

    def __init__(self, expected: str, collection: CollectionShape, iterator: HandleShape) -> None:
        super().__init__(expected)
        self.collection = collection
        self.iterator = iterator

    def apply(self, value: object, mode: Mode) -> object:
        """A collection converted now, or an iterator converted later."""
        if self.collection.accepts(value):
            return self.collection.apply(value, mode)
        return self.iterator.apply(value, mode)


@final
class CheckedShape(Shape):
    """A shape, and a further test of what it gave (constraints of msgspec or pydantic).

    ``test`` returns the final value; a ValueError of it is a misfit, its text is dropped.
    """

    def __init__(self, expected: str, base: Shape, test: Callable[[Any], object]) -> None:
        super().__init__(expected)
        self.base = base
        self.test = test

    def apply(self, value: object, mode: Mode) -> object:
        """What the test makes of the converted value."""
        converted = self.base.apply(value, mode)
        try:
            return self.test(converted)
        except (ValueError, TypeError, AssertionError):
            pass
        raise self.misfit(value)


@final
class LazyShape(Shape):
    """Stands for a shape that is still being built: annotations that contain themselves."""

    target: Shape | None = None

    def apply(self, value: object, mode: Mode) -> object:
        """What the shape makes of it that this one stands for."""
        assert self.target is not None
        return self.target.apply(value, mode)
