"""Signatures of served functions: binding and converting the arguments of a call."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from telewire.errors import InvalidArgument
from telewire.runtime.annotations import function_hints
from telewire.runtime.convert import Converter, converter_for, item_annotation

__all__ = ["Signature"]

# Longer names of keyword arguments, and those that are no identifiers, are not repeated in messages.
_LONGEST_NAME = 64


class _Parameter(NamedTuple):
    name: str
    converter: Converter
    # The type whose instances need no look at all, None where there is none.
    scalar: type | None
    place: str
    required: bool
    by_position: bool
    by_name: bool


class Signature:
    """How a function is called, and what it gives.

    ``result`` converts its result; ``item`` its items, where the annotation of the result is an
    iterator or generator, and is None otherwise. ``known`` is false where Python cannot tell the
    parameters (some builtins): such a function gets what comes.

    Parameters whose annotations do not resolve take anything.
    """

    # Any in what is called: functions of every type are served.
    def __init__(self, function: Callable[..., Any], name: str | None = None) -> None:
        self.name = name or _name_of(function)
        self.result_place = f"{self.name}() result"
        self._positional: list[_Parameter] = []
        self._by_name: dict[str, _Parameter] = {}
        self._rest: _Parameter | None = None
        self._others: _Parameter | None = None
        hints = function_hints(function)
        try:
            parameters = inspect.signature(function).parameters.values()
            self.known = True
        except (ValueError, TypeError):
            parameters = {}.values()
            self.known = False
        for parameter in parameters:
            self._add(parameter, hints)
        self._required = sum(one.required for one in self._positional)
        only_positional = all(not one.required or one.by_position for one in self._by_name.values())
        self._simple = only_positional
        # What the fast path has to look at: position, fitting type, parameter.
        self._active = [
            (index, one.scalar, one)
            for index, one in enumerate(self._positional)
            if not one.converter.identity
        ]
        annotation = hints.get("return", Any)
        item = item_annotation(annotation)
        self.result = converter_for(annotation)
        self.item: Converter | None = None if item is None else converter_for(item)

    def __repr__(self) -> str:
        return f"<Signature of {self.name}>"

    def _add(self, parameter: inspect.Parameter, hints: dict[str, Any]) -> None:
        kind = parameter.kind
        converter = converter_for(hints.get(parameter.name, Any))
        added = _Parameter(
            parameter.name,
            converter,
            converter.shape.scalar,
            f"{self.name}({parameter.name})",
            parameter.default is parameter.empty,
            kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD),
            kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD),
        )
        if kind is parameter.VAR_POSITIONAL:
            self._rest = added
        elif kind is parameter.VAR_KEYWORD:
            self._others = added
        else:
            if added.by_position:
                self._positional.append(added)
            if added.by_name:
                self._by_name[added.name] = added

    def bind(self, args: list[object], kwargs: dict[str, object]) -> tuple[list[object], dict[str, object]]:
        """Convert the arguments of one call; call the function with what this returns.

        ``args`` and ``kwargs`` are the decoded ones; they may be changed and returned. Defaults are
        left to the function.

        Raises:
            InvalidArgument: an argument is missing, unexpected, given twice or does not fit.
        """
        if not kwargs and self._simple and self._required <= len(args) <= len(self._positional):
            count = len(args)
            for index, scalar, parameter in self._active:
                if index >= count:
                    break
                value = args[index]
                if type(value) is not scalar:
                    args[index] = parameter.converter.convert(value, parameter.place)
            return args, kwargs
        if not self.known:
            return args, kwargs
        return self._bind(args, kwargs)

    def _bind(self, args: list[object], kwargs: dict[str, object]) -> tuple[list[object], dict[str, object]]:
        positional = self._positional
        bound = [
            one.converter.convert(value, one.place) for one, value in zip(positional, args, strict=False)
        ]
        if len(args) > len(positional):
            bound.extend(self._bind_rest(args))
        named: dict[str, object] = {}
        taken = {one.name for one in positional[: len(args)] if one.by_name}
        for name, value in kwargs.items():
            parameter = self._by_name.get(name)
            if parameter is not None:
                if name in taken:
                    raise InvalidArgument(f"{self.name}() got the argument {name} twice")
                named[name] = parameter.converter.convert(value, parameter.place)
            elif self._others is not None:
                others = self._others
                named[name] = others.converter.convert(value, f"{self.name}({others.name}.values())")
            else:
                raise InvalidArgument(f"{self.name}() has no parameter {_shown(name)}")
        self._check_required(len(args), named)
        return bound, named

    def _bind_rest(self, args: list[object]) -> list[object]:
        first = len(self._positional)
        rest = self._rest
        if rest is None:
            arguments = "argument" if first == 1 else "arguments"
            raise InvalidArgument(
                f"{self.name}() takes at most {first} positional {arguments}, got {len(args)}"
            )
        if rest.converter.identity:
            return args[first:]
        return [
            rest.converter.convert(value, f"{self.name}({rest.name}[{index}])")
            for index, value in enumerate(args[first:])
        ]

    def _check_required(self, count: int, named: dict[str, object]) -> None:
        for index, parameter in enumerate(self._positional):
            given = index < count or (parameter.by_name and parameter.name in named)
            if parameter.required and not given:
                raise InvalidArgument(f"{self.name}() misses the argument {parameter.name}")
        for name, parameter in self._by_name.items():
            if parameter.required and not parameter.by_position and name not in named:
                raise InvalidArgument(f"{self.name}() misses the argument {name}")


def _name_of(function: Callable[..., Any]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__name__", type(function).__name__)


def _shown(name: str) -> str:
    return name if name.isidentifier() and len(name) <= _LONGEST_NAME else "of the name given"
