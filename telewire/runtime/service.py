"""Service: the functions one side offers, and what surrounds each call of them."""

from __future__ import annotations

import inspect
import logging
import types
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, cast, final, overload

from typing_extensions import TypeVar

from telewire.errors import Abort
from telewire.runtime.context import Context, get_context
from telewire.runtime.producer import Return
from telewire.runtime.signatures import Signature
from telewire.runtime.transport import Request

__all__ = ["Function", "Return", "Service", "name_of"]

S = TypeVar("S", default=Any)
# Any in what is registered: functions of every type are served, and stay what they were.
F = TypeVar("F", bound=Callable[..., Any])

logger = logging.getLogger("telewire.runtime")
_names: dict[int, tuple[Callable[..., Any], str]] = {}


@final
@dataclass(frozen=True, slots=True)
class Function:
    """One offered function."""

    name: str
    # Any: functions of every type are served.
    function: Callable[..., Any]
    signature: Signature


def name_of(function: Callable[..., Any]) -> str:
    """The name under which ``function`` was first offered; its own, where it was not offered here."""
    found = _names.get(id(function))
    if found is not None and found[0] is function:
        return found[1]
    name: str | None = getattr(function, "__name__", None)
    if name is None:
        raise TypeError(f"{function!r} has no name to call it by; use remote['the.name'] instead.")
    return name


class Service(Generic[S]):
    """Functions to be called from the other side.

    Args:
        context: a provider, sync or async, called with the :class:`Request` for each call; what it
            returns is ``context.state``. Raising :class:`Abort` in it refuses the call.
        on_error: told of every bug of this side, with the context of the call.
    """

    @overload
    def __init__(
        self: Service[Any],
        *,
        context: None = None,
        on_error: Callable[[Exception, Context[Any]], object] | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        *,
        context: Callable[[Request], Awaitable[S]],
        on_error: Callable[[Exception, Context[Any]], object] | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        *,
        context: Callable[[Request], S],
        on_error: Callable[[Exception, Context[Any]], object] | None = None,
    ) -> None: ...
    # Any: the implementation behind the overloads, which are typed.
    def __init__(
        self,
        *,
        context: Callable[[Request], Any] | None = None,
        on_error: Callable[[Exception, Context[Any]], object] | None = None,
    ) -> None:
        self.provider = context
        self._on_error = on_error
        self._functions: dict[str, Function] = {}

    def __repr__(self) -> str:
        return f"<Service of {len(self._functions)} functions>"

    @overload
    def function(self, function: F, /) -> F: ...
    @overload
    def function(self, /, *, name: str | None = None) -> Callable[[F], F]: ...
    def function(self, function: F | None = None, /, *, name: str | None = None) -> F | Callable[[F], F]:
        """Offer the decorated function, under its own name or ``name``; it stays what it was.

        Raises:
            ValueError: a function of that name is offered already, or the name is empty.
            TypeError: it is not an async function or an async generator function.
        """
        if function is not None:
            self.add(function, name)
            return function

        def decorate(decorated: F) -> F:
            self.add(decorated, name)
            return decorated

        return decorate

    # Any: functions of every type are served.
    def add(self, function: Callable[..., Any], name: str | None = None) -> None:
        """Offer ``function``; as :meth:`function`."""
        if not callable(function):
            raise TypeError(f"{function!r} is not a function; Service.add() takes an async function.")
        known = name or getattr(function, "__name__", "")
        if not known or known == "<lambda>":
            raise ValueError(f"{function!r} needs a name: service.add(function, name='…').")
        if known in self._functions:
            raise ValueError(f"This service already offers {known!r}; give one of the two another name.")
        if not _is_async(function):
            raise TypeError(
                f"{known}() is a plain function and would block the loop: declare it with 'async def'."
            )
        self._functions[known] = Function(known, function, Signature(function, known))
        _names.setdefault(id(function), (function, known))

    def find(self, name: str) -> Function | None:
        """The function offered under ``name``."""
        return self._functions.get(name)

    def get_context(self) -> Context[S]:
        """The context of the call this code serves, typed with what the provider returns."""
        return cast("Context[S]", get_context())

    def report(self, error: Exception, context: Context[Any]) -> None:
        """Give a bug to ``on_error``; a hook that fails is logged and disturbs nothing."""
        if self._on_error is None or isinstance(error, Abort):
            return
        try:
            self._on_error(error, context)
        except Exception:
            logger.exception("The on_error hook failed")


# Any: functions of every type are served.
def _is_async(function: Callable[..., Any]) -> bool:
    inner = inspect.unwrap(function)
    while hasattr(inner, "func"):
        inner = inner.func
    if not isinstance(inner, types.FunctionType | types.MethodType):
        inner = getattr(inner, "__call__", inner)  # noqa: B004  # the method itself is looked at
    return inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner)
