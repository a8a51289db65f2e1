"""Introspection: what a service tells of its functions to those who may ask.

``telewire.list`` is the only name of telewire's own (TW-CAL-071). Each service answers for its own
functions: those of an included one are listed only where that service, too, allows it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Final, TypedDict

from telewire.runtime.annotations import function_hints, render

__all__ = ["LIST", "RESERVED", "Description", "describe", "signature_text"]

RESERVED: Final = "telewire."
"""What names of telewire's own begin with (TW-CAL-070)."""
LIST: Final = "telewire.list"
"""The function that tells which there are (TW-CAL-071)."""

SUMMARY: Final = 200
_TELLING: Final = (bool, int, float, type(None))
_STARS: Final[dict[object, str]] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}


class Description(TypedDict):
    """One function, as ``telewire.list`` tells of it."""

    name: str
    signature: str
    """Parameters and result as Python writes them, ``(start: int) -> AsyncIterator[int]``: for people."""
    summary: str
    """The first line of its documentation; empty without."""


# Any in what is described: functions of every type are served.
def describe(functions: Iterable[tuple[str, Callable[..., Any]]]) -> list[Description]:
    """Describe functions given with their names, in order of the names."""
    return [
        {"name": name, "signature": signature_text(function), "summary": _summary(function)}
        for name, function in sorted(functions, key=lambda each: each[0])
    ]


# Any: the same.
def signature_text(function: Callable[..., Any]) -> str:
    """Parameters and result of a function as Python writes them.

    Defaults are shown where they are numbers, truth values or None: any other may be no business of
    the caller's. An annotation that does not resolve is left out.
    """
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return "(...)"
    hints = function_hints(function)
    shown: list[str] = []
    kinds = [parameter.kind for parameter in signature.parameters.values()]
    for index, parameter in enumerate(signature.parameters.values()):
        before = kinds[index - 1] if index else None
        if before is parameter.POSITIONAL_ONLY and parameter.kind is not parameter.POSITIONAL_ONLY:
            shown.append("/")
        if parameter.kind is parameter.KEYWORD_ONLY and before not in (
            parameter.KEYWORD_ONLY,
            parameter.VAR_POSITIONAL,
        ):
            shown.append("*")
        shown.append(_parameter_text(parameter, hints))
    if kinds and kinds[-1] is inspect.Parameter.POSITIONAL_ONLY:
        shown.append("/")
    result = f" -> {render(hints['return'])}" if "return" in hints else ""
    return f"({', '.join(shown)}){result}"


# Any: annotations are values of no common type.
def _parameter_text(parameter: inspect.Parameter, hints: dict[str, Any]) -> str:
    text = _STARS.get(parameter.kind, "") + parameter.name
    annotated = parameter.name in hints
    if annotated:
        text += f": {render(hints[parameter.name])}"
    if parameter.default is not parameter.empty:
        default = repr(parameter.default) if type(parameter.default) in _TELLING else "..."
        text += f" = {default}" if annotated else f"={default}"
    return text


# Any: functions of every type are served.
def _summary(function: Callable[..., Any]) -> str:
    text = inspect.getdoc(function) or ""
    return text.partition("\n")[0][:SUMMARY]
