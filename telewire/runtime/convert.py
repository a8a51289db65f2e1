"""Compiling annotations into converters, and the names that the rest of the runtime uses.

Checks are strict: an int is no bool, a str no bytes, a list no set, text no date. The one widening
is int to float. What cannot be resolved (a type variable, a missing forward reference) is ``Any``.
"""

from __future__ import annotations

import asyncio
import collections
import collections.abc as abc
import datetime
import functools
import inspect
import operator
import types
import typing
import uuid
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NewType, get_args, get_origin

import msgspec

from telewire.runtime.annotations import (
    function_hints,
    is_alias,
    is_union,
    render,
    strip_qualifiers,
    substitute,
)
from telewire.runtime.outgoing import to_wire
from telewire.runtime.plain_shapes import (
    CheckedShape,
    CollectionShape,
    EnumShape,
    FloatShape,
    HandleShape,
    InstanceShape,
    IterableShape,
    LazyShape,
    LiteralShape,
    MappingShape,
    TupleShape,
    UnionShape,
)
from telewire.runtime.record_shapes import record_shape, runs_before_conversion
from telewire.runtime.shapes import ANYTHING, Converter, Convertible, Shape

__all__ = ["ANY", "Converter", "Convertible", "converter_for", "item_annotation", "to_wire"]

# Annotations are values of no common type, `Any` stands for them throughout.

ANY = Converter(ANYTHING)
"""The converter that lets everything through."""


def converter_for(annotation: Any) -> Converter:
    """The converter of ``annotation``, from a cache where it was asked for before.

    Raises:
        TypeError: a constraint in the annotation cannot be enforced on its type.
    """
    try:
        hash(annotation)
    except TypeError:
        return Converter(_Compiler().compile(annotation))
    # Unions are equal in any order, their text is not, and the order decides.
    return _cached(annotation, repr(annotation))


@functools.lru_cache(maxsize=2048)
def _cached(annotation: Any, text: str) -> Converter:
    shape = _Compiler().compile(annotation)
    return ANY if shape is ANYTHING else Converter(shape)


def item_annotation(annotation: Any) -> Any:
    """The annotation of the items, where ``annotation`` is an iterator or generator, else None."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    origin = get_origin(annotation) or annotation
    arguments = get_args(annotation)
    iterator = origin in _ITERATORS or origin is abc.Iterable
    if not iterator and _is_class(origin, Convertible):
        iterator = getattr(origin, "kind", None) == "iterator"
    return (arguments[0] if arguments else Any) if iterator else None


_ITERATORS = (abc.AsyncIterator, abc.AsyncIterable, abc.AsyncGenerator, abc.Iterator, abc.Generator)
_PROMISES = (abc.Awaitable, abc.Coroutine, asyncio.Future, asyncio.Task)

# What is accepted for an annotation, and what is made of it.
_COLLECTIONS: dict[Any, tuple[tuple[type, ...], Callable[[Any], object]]] = {
    list: ((list, tuple), list),
    collections.deque: ((list, tuple, collections.deque), collections.deque),
    set: ((set, frozenset), set),
    frozenset: ((set, frozenset), frozenset),
    abc.Set: ((set, frozenset), set),
    abc.MutableSet: ((set, frozenset), set),
    abc.Sequence: ((abc.Sequence,), list),
    abc.MutableSequence: ((abc.Sequence,), list),
    abc.Reversible: ((abc.Sequence,), list),
    abc.Collection: ((abc.Sequence, set, frozenset, abc.KeysView, abc.ValuesView), list),
    abc.Iterable: ((abc.Sequence, set, frozenset, abc.KeysView, abc.ValuesView), list),
}
_MAPPINGS: dict[Any, Callable[[dict[Any, Any]], object]] = {
    dict: dict,
    abc.Mapping: dict,
    abc.MutableMapping: dict,
    collections.OrderedDict: collections.OrderedDict,
    collections.defaultdict: lambda entries: collections.defaultdict(None, entries),
    collections.Counter: collections.Counter,
    types.MappingProxyType: types.MappingProxyType,
}


def _is_class(annotation: Any, base: type) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, base)


class _Compiler:
    """Compiles one annotation; ``_known`` lets annotations contain themselves."""

    def __init__(self) -> None:
        self._known: dict[Any, Shape] = {}

    def compile(self, annotation: Any) -> Shape:
        annotation = strip_qualifiers(annotation)[0]
        if annotation is None or annotation is type(None):
            return InstanceShape("None", type(None))
        if isinstance(annotation, NewType):
            return self.compile(annotation.__supertype__)
        origin = get_origin(annotation)
        if is_alias(annotation) or is_alias(origin):
            return self._alias(annotation)
        if is_union(annotation):
            return UnionShape(render(annotation), tuple(map(self.compile, get_args(annotation))))
        if origin is Annotated:
            return self._annotated(annotation)
        if origin is Literal:
            return LiteralShape(render(annotation), get_args(annotation))
        if annotation is typing.LiteralString:
            return InstanceShape("str", str)
        cls = annotation if origin is None else origin
        if not isinstance(cls, type) or cls in (Any, object, inspect.Parameter.empty):
            return ANYTHING
        return self._class(annotation, cls, get_args(annotation))

    def _converter(self, annotation: Any) -> Converter:
        shape = self.compile(annotation)
        return ANY if shape is ANYTHING else Converter(shape)

    def _class(self, annotation: Any, cls: Any, arguments: tuple[Any, ...]) -> Shape:
        name = render(annotation)
        if cls is float:
            return FloatShape(name)
        if cls is tuple:
            return self._tuple(name, annotation, arguments)
        if cls in _COLLECTIONS:
            collection = self._collection(name, cls, arguments)
            if cls is not abc.Iterable:
                return collection
            return IterableShape(
                name, collection, HandleShape(name, "iterator", Converter(collection.element))
            )
        if cls in _MAPPINGS:
            key, value = (*arguments, Any, Any)[:2]
            if cls is collections.Counter:
                value = int
            return MappingShape(name, self.compile(key), self.compile(value), _MAPPINGS[cls])
        if issubclass(cls, Enum):
            return EnumShape(name, cls)
        return (
            self._handle(name, cls, arguments)
            or self._record(annotation, cls, arguments)
            or self._other(name, annotation, cls)
        )

    def _tuple(self, name: str, annotation: Any, arguments: tuple[Any, ...]) -> Shape:
        variadic = len(arguments) == 2 and arguments[1] is ...
        unknown = annotation in (tuple, tuple) or any(
            isinstance(one, typing.TypeVarTuple)
            or get_origin(one) is typing.Unpack
            or getattr(one, "__unpacked__", False)
            for one in arguments
        )
        if variadic or unknown:
            element = ANYTHING if unknown else self.compile(arguments[0])
            return CollectionShape(name, element, (list, tuple), tuple)
        return TupleShape(name, tuple(map(self.compile, arguments)))

    def _collection(self, name: str, cls: Any, arguments: tuple[Any, ...]) -> CollectionShape:
        accepted, make = _COLLECTIONS[cls]
        element = self.compile(arguments[0]) if arguments else ANYTHING
        return CollectionShape(name, element, accepted, make)

    def _handle(self, name: str, cls: Any, arguments: tuple[Any, ...]) -> Shape | None:
        first, last = (arguments[0], arguments[-1]) if arguments else (Any, Any)
        if cls in _ITERATORS:
            return HandleShape(name, "iterator", self._converter(first))
        if cls in _PROMISES:
            return HandleShape(name, "promise", self._converter(last))
        if cls is abc.Callable:
            return HandleShape(name, "function", self._converter(_awaited(last)))
        if issubclass(cls, Convertible) and isinstance(kind := getattr(cls, "kind", None), str):
            if kind == "function":
                return HandleShape(name, kind, self._converter(_awaited(last)))
            outgoing = self._converter(last) if kind == "channel" else None
            return HandleShape(name, kind, self._converter(first), outgoing)
        if getattr(cls, "_is_protocol", False) and "__call__" in vars(cls):
            result = function_hints(vars(cls)["__call__"]).get("return", Any)
            return HandleShape(name, "function", self._converter(_awaited(result)))
        return None

    def _record(self, annotation: Any, cls: Any, arguments: tuple[Any, ...]) -> Shape | None:
        key = (annotation, repr(annotation))
        known = self._known.get(key)
        if known is not None:
            return known
        return record_shape(cls, arguments, self.compile, lambda shape: self._known.update({key: shape}))

    def _other(self, name: str, annotation: Any, cls: Any) -> Shape:
        if getattr(cls, "_is_protocol", False) or cls in (abc.Hashable, abc.Sized, abc.Container):
            return ANYTHING
        if hasattr(cls, "__get_pydantic_core_schema__"):
            return CheckedShape(name, ANYTHING, _pydantic_test(annotation))
        return InstanceShape(name, cls)

    def _alias(self, annotation: Any) -> Shape:
        key = (annotation, repr(annotation))
        known = self._known.get(key)
        if known is not None:
            return known
        lazy = LazyShape(render(annotation))
        self._known[key] = lazy
        alias = get_origin(annotation) or annotation
        variables = dict(zip(alias.__type_params__, get_args(annotation), strict=False))
        try:
            value = alias.__value__
        except NameError:
            value = Any
        lazy.target = self.compile(substitute(value, variables))
        self._known[key] = lazy.target
        return lazy.target

    def _annotated(self, annotation: Any) -> Shape:
        base, *metadata = get_args(annotation)
        foreign = [item for item in metadata if _comes_from(item, "pydantic", "annotated_types")]
        shape = ANYTHING if any(map(runs_before_conversion, foreign)) else self.compile(base)
        limits = [item for item in metadata if isinstance(item, msgspec.Meta)]
        if limits:
            shape = CheckedShape(render(annotation), shape, _msgspec_test(base, limits))
        if foreign:
            shape = CheckedShape(render(annotation), shape, _pydantic_test(Annotated[base, *foreign]))
        return shape


def _awaited(annotation: Any) -> Any:
    """What awaiting a value of ``annotation`` gives, where that is a promise; else itself."""
    origin = get_origin(annotation) or annotation
    promised = origin in _PROMISES or (
        _is_class(origin, Convertible) and getattr(origin, "kind", None) == "promise"
    )
    if not promised:
        return annotation
    return get_args(annotation)[-1] if get_args(annotation) else Any


def _comes_from(item: Any, *packages: str) -> bool:
    return type(item).__module__.partition(".")[0] in packages


def _bare(annotation: Any) -> Any:
    """``annotation`` without the types of its parts, which are checked already."""
    if isinstance(annotation, NewType):
        return _bare(annotation.__supertype__)
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    return annotation if is_union(annotation) else get_origin(annotation) or annotation


def _msgspec_test(base: Any, limits: list[msgspec.Meta]) -> Callable[[Any], object]:
    # Any: an annotation made at run time, which no checker can read.
    limited: Any = operator.getitem(Annotated, (_bare(base), *limits))

    def test(value: Any) -> object:
        msgspec.convert(value, limited, builtin_types=_NATIVE)
        return value

    try:
        msgspec.convert(None, limited, builtin_types=_NATIVE)
    except msgspec.ValidationError:
        pass
    except TypeError as error:
        raise TypeError(
            f"{render(base)} cannot be limited as its annotation says: {error}. "
            "Correct the annotation or test the value in the function."
        ) from None
    return test


_NATIVE = (
    bytes,
    bytearray,
    datetime.datetime,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    uuid.UUID,
    Decimal,
)


def _pydantic_test(annotation: Any) -> Callable[[Any], object]:
    try:
        import pydantic
    except ImportError:
        raise TypeError(
            f"{render(annotation)} needs pydantic to be enforced: install telewire[pydantic]."
        ) from None
    try:
        adapter = pydantic.TypeAdapter(annotation)
    except pydantic.PydanticSchemaGenerationError:
        adapter = pydantic.TypeAdapter(annotation, config=pydantic.ConfigDict(arbitrary_types_allowed=True))
    return adapter.validate_python
