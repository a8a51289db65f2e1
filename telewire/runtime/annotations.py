"""Reading annotations: resolved hints of functions and classes, their type arguments, their text."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Annotated, Any, Literal, NewType, TypeVar, Union, get_args, get_origin

import msgspec

__all__ = [
    "class_hints",
    "constraints",
    "function_hints",
    "is_alias",
    "is_union",
    "render",
    "strip_qualifiers",
    "substitute",
    "type_variables",
]

# Annotations are values of no common type: classes, aliases, unions, forms. `Any` says so throughout.

# By name: `typing_extensions` has its own objects for those that this Python lacks.
_QUALIFIERS = frozenset({"Required", "NotRequired", "ReadOnly", "Final"})


def is_union(annotation: Any) -> bool:
    """Whether ``annotation`` is ``Union[…]``, ``Optional[…]`` or ``X | Y``."""
    return get_origin(annotation) in (Union, types.UnionType)


def is_alias(annotation: Any) -> bool:
    """Whether ``annotation`` was made by a ``type`` statement or ``TypeAliasType``."""
    return type(annotation).__name__ == "TypeAliasType"


def strip_qualifiers(annotation: Any) -> tuple[Any, frozenset[str]]:
    """``annotation`` without ``Required``, ``NotRequired``, ``ReadOnly``, ``Final``, and their names."""
    names: set[str] = set()
    while (name := getattr(get_origin(annotation), "_name", None)) in _QUALIFIERS:
        names.add(name)
        (annotation,) = get_args(annotation)
    return annotation, frozenset(names)


# --- resolving -----------------------------------------------------------------------------------


def function_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The resolved annotations of ``function``; one that does not resolve is left out.

    Names that the function closes over are seen too, so classes local to a test or a factory
    resolve where the body uses them.
    """
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    if not isinstance(function, (types.FunctionType, types.MethodType, types.BuiltinFunctionType, type)):
        function = inspect.unwrap(type(function).__call__)
    if isinstance(function, type):
        function = vars(function).get("__init__", object.__init__)
    function = getattr(function, "__func__", function)
    local: dict[str, Any] = {}
    cells = getattr(function, "__closure__", None) or ()
    for name, cell in zip(
        getattr(getattr(function, "__code__", None), "co_freevars", ()), cells, strict=True
    ):
        try:
            local[name] = cell.cell_contents
        except ValueError:
            continue
    space = getattr(function, "__globals__", {})
    return _resolve(function, getattr(function, "__annotations__", None) or {}, space, local)


def class_hints(cls: type) -> dict[str, Any]:
    """The resolved annotations of ``cls`` and its bases; one that does not resolve is ``Any``."""
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except Exception:
        hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        own = inspect.get_annotations(base)
        space = getattr(sys.modules.get(base.__module__), "__dict__", {})
        hints.update(dict.fromkeys(own, Any))
        hints.update(_resolve(base, own, space, {base.__name__: base, **vars(base)}))
    return hints


def _resolve(
    owner: Any, raw: Mapping[str, Any], space: dict[str, Any], local: dict[str, Any]
) -> dict[str, Any]:
    """Each annotation of ``owner`` on its own, those that fail left out."""
    try:
        return typing.get_type_hints(owner, space, local, include_extras=True)
    except Exception:
        resolved = {}
    for name, annotation in raw.items():
        holder = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            resolved.update(typing.get_type_hints(holder, space, local, include_extras=True))
        except Exception:
            continue
    return resolved


def substitute(annotation: Any, variables: Mapping[Any, Any]) -> Any:
    """``annotation`` with its type variables replaced; unknown ones become ``Any``."""
    if isinstance(annotation, TypeVar):
        return variables.get(annotation, Any)
    parameters = getattr(annotation, "__parameters__", ())
    if not parameters or isinstance(annotation, type) or is_alias(annotation):
        return annotation
    arguments = tuple(variables.get(one, Any if isinstance(one, TypeVar) else ...) for one in parameters)
    try:
        return annotation[arguments]
    except TypeError:
        return Any


def type_variables(cls: Any, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """What each type variable of ``cls`` and its generic bases stands for in ``cls[arguments]``."""
    variables = dict(zip(getattr(cls, "__parameters__", ()), arguments, strict=False))
    for base in getattr(cls, "__orig_bases__", ()):
        origin = get_origin(base)
        if isinstance(origin, type) and origin is not typing.Generic:
            given = tuple(substitute(one, variables) for one in get_args(base))
            variables = {**type_variables(origin, given), **variables}
    return variables


# --- text ----------------------------------------------------------------------------------------


def render(annotation: Any) -> str:
    """``annotation`` as a reader would write it: ``list[int]``, ``Point``, ``int | None``."""
    if annotation is None or annotation is type(None):
        return "None"
    if annotation is ...:
        return "..."
    if isinstance(annotation, list):
        return f"[{', '.join(map(render, annotation))}]"
    if is_union(annotation):
        return " | ".join(map(render, get_args(annotation)))
    origin = get_origin(annotation)
    if origin is Annotated:
        base, *metadata = get_args(annotation)
        limits = constraints(metadata)
        return f"{render(base)} where {limits}" if limits else render(base)
    if origin is Literal:
        return f"Literal[{', '.join(map(_literal, get_args(annotation)))}]"
    if origin is not None:
        arguments = ", ".join(map(render, get_args(annotation)))
        return f"{_name(origin)}[{arguments or '()'}]" if arguments or origin is tuple else _name(origin)
    return _name(annotation)


def _name(annotation: Any) -> str:
    if isinstance(annotation, (type, NewType, TypeVar)) or is_alias(annotation):
        return str(annotation.__name__)
    return str(getattr(annotation, "_name", None) or getattr(annotation, "__name__", None) or "Any")


def _literal(value: object) -> str:
    return f"{type(value).__name__}.{value.name}" if isinstance(value, Enum) else repr(value)


def constraints(metadata: Any) -> str:
    """The limits named in the metadata of an ``Annotated``: ``ge=0, max_length=3``, or nothing."""
    found = []
    for item in metadata:
        if isinstance(item, msgspec.Meta):
            names = ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length", "tz")
            limits = {name: getattr(item, name) for name in names}
        elif type(item).__name__ == "FieldInfo":
            found.append(constraints(item.metadata))
            continue
        elif dataclasses.is_dataclass(item) and type(item).__module__ == "annotated_types":
            limits = {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
        else:
            continue
        found.extend(f"{name}={limit!r}" for name, limit in limits.items() if limit is not None)
    return ", ".join(filter(None, found))
