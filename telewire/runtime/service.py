"""Service: the functions one side offers, and what surrounds each call of them."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from types import FunctionType, MethodType, ModuleType
from typing import Any, Generic, TypeAlias, cast, final, overload
from weakref import WeakValueDictionary

from typing_extensions import TypeVar

from telewire.errors import Abort, TransportUnsuitable
from telewire.runtime.context import Context, get_context
from telewire.runtime.introspection import LIST, RESERVED, Description, describe
from telewire.runtime.middleware import Middleware
from telewire.runtime.producer import Return
from telewire.runtime.signatures import Signature
from telewire.runtime.transport import Request

__all__ = ["Function", "Return", "Service", "is_async", "name_of"]

S = TypeVar("S", default=Any)
# Any in what is registered: functions of every type are served, and stay what they were.
F = TypeVar("F", bound=Callable[..., Any])
M = TypeVar("M", bound=Middleware)

logger = logging.getLogger("telewire.runtime")
# By identity; as long as there is the service that offers it, whose record keeps the function too.
_names: WeakValueDictionary[int, Function] = WeakValueDictionary()
# Any: contexts of every provider.
OnError: TypeAlias = Callable[[Exception, Context[Any]], object]


@final
@dataclass(frozen=True, slots=True, weakref_slot=True)
class Function:
    """One offered function; ``threaded`` is one that gets a thread for each call."""

    name: str
    # Any: functions of every type are served, of services of every provider.
    function: Callable[..., Any]
    signature: Signature
    threaded: bool = False
    service: Service[Any] | None = None


# Any: functions of every type are served.
def name_of(function: Callable[..., Any]) -> str:
    """The name under which ``function`` was first offered; its own, where it was not offered here."""
    found = _names.get(id(function))
    if found is not None and found.function is function:
        name, service = found.name, found.service
        while service is not None and service._outer is not None:
            prefix, service = service._outer
            name = prefix + name
        return name
    own: str | None = getattr(function, "__name__", None)
    if own is None:
        raise TypeError(f"{function!r} has no name to call it by; use remote['the.name'] instead.")
    return own


class Service(Generic[S]):
    """Functions to be called from the other side.

    Args:
        context: a provider, sync or async, called with the :class:`Request` for each call; what it
            returns is ``context.state``. Raising :class:`Abort` in it refuses the call.
        principal: whose request it is. A session is resumed only by the principal that opened it;
            without this, by whoever has its token.
        on_error: told of every bug of this side, with the context of the call.
        introspection: whether callers may ask for the names and signatures of the functions, as
            ``telewire list`` does. Functions of a service that is included are told only where that
            one allows it too. Provider and middleware stand before the question as before any call.
    """

    @overload
    def __init__(
        self: Service[Any],
        *,
        context: None = None,
        principal: Callable[[Request], Hashable] | None = None,
        on_error: OnError | None = None,
        introspection: bool = False,
    ) -> None: ...
    @overload
    def __init__(
        self,
        *,
        context: Callable[[Request], Awaitable[S]],
        principal: Callable[[Request], Hashable] | None = None,
        on_error: OnError | None = None,
        introspection: bool = False,
    ) -> None: ...
    @overload
    def __init__(
        self,
        *,
        context: Callable[[Request], S],
        principal: Callable[[Request], Hashable] | None = None,
        on_error: OnError | None = None,
        introspection: bool = False,
    ) -> None: ...
    # Any: the implementation behind the overloads, which are typed.
    def __init__(
        self,
        *,
        context: Callable[[Request], Any] | None = None,
        principal: Callable[[Request], Hashable] | None = None,
        on_error: OnError | None = None,
        introspection: bool = False,
    ) -> None:
        self.provider = context
        self.principal = principal
        self.introspection = introspection
        self.middlewares: list[Middleware] = []
        self._on_error = on_error
        self._functions: dict[str, Function] = {}
        self._included: list[tuple[str, Service[Any]]] = []
        # Where this one is included, first of all: its functions have a longer name there.
        self._outer: tuple[str, Service[Any]] | None = None

    def __repr__(self) -> str:
        return f"<Service of {len(self._functions)} functions>"

    @overload
    def function(self, function: F, /) -> F: ...
    @overload
    def function(self, /, *, name: str | None = None, thread: bool = True) -> Callable[[F], F]: ...
    def function(
        self, function: F | None = None, /, *, name: str | None = None, thread: bool = True
    ) -> F | Callable[[F], F]:
        """Offer the decorated function, under its own name or ``name``; it stays what it was.

        A plain function runs in a thread of its own, from its first step to the last of the iterator
        it returned; with ``thread=False`` it runs on the loop, and must not block there.

        Raises:
            ValueError: a function of that name is offered already, or the name is empty or reserved.
        """
        if function is not None:
            self._offer(function, name, thread)
            return function

        def decorate(decorated: F) -> F:
            self._offer(decorated, name, thread)
            return decorated

        return decorate

    # Any: functions of every type are served.
    def add(
        self, function: Callable[..., Any] | ModuleType, name: str | None = None, *, thread: bool = True
    ) -> None:
        """Offer ``function``, as :meth:`function`; or all public functions that a module defines.

        Raises:
            ValueError: one of that name is offered already, there is no name, it is reserved, or it is
                one for a module.
        """
        if not isinstance(function, ModuleType):
            self._offer(function, name, thread)
            return
        if name is not None:
            raise ValueError(
                f"The functions of {function.__name__} have their own names; to put {name!r} before them, "
                "add them to a service of their own and include it."
            )
        for own, found in vars(function).items():
            defined = isinstance(found, FunctionType) and found.__module__ == function.__name__
            if defined and not own.startswith("_"):
                self._offer(found, own, thread)

    # Any: functions of every type are served.
    def _offer(self, function: Callable[..., Any], name: str | None, thread: bool) -> None:
        if isinstance(function, Service):
            raise TypeError(f"{function!r} is no function; offer what it offers with service.include(other).")
        if not callable(function):
            raise TypeError(f"{function!r} is not a function; a service offers functions, or a module's.")
        known = name or getattr(function, "__name__", "")
        if not known or known == "<lambda>":
            raise ValueError(f"{function!r} needs a name: service.add(function, name='…').")
        if known.startswith(RESERVED):
            raise ValueError(
                f"{known!r} cannot be offered: names that begin with {RESERVED!r} are telewire's own; "
                "give it another name."
            )
        if known in self._functions:
            raise ValueError(f"This service already offers {known!r}; give one of the two another name.")
        threaded = thread and not is_async(function)
        offered = Function(known, function, Signature(function, known), threaded, self)
        self._functions[known] = offered
        _names.setdefault(id(function), offered)

    # Any: a service of any provider.
    def include(self, other: Service[Any], prefix: str = "") -> None:
        """Offer the functions of another service too, ``prefix`` and a dot before their names.

        Its provider, middleware and ``on_error`` stay with them; what it offers later appears here.
        A name that this service offers itself, or includes earlier, comes first.

        Raises:
            ValueError: it would include itself, or the prefix is reserved.
        """
        if f"{prefix}.".startswith(RESERVED):
            raise ValueError(
                f"prefix={prefix!r} cannot be used: names that begin with {RESERVED!r} are telewire's own; "
                "give it another prefix."
            )
        if other is self or other._includes(self):
            raise ValueError("A service cannot include itself.")
        self._included.append((f"{prefix}." if prefix else "", other))
        if other._outer is None:
            other._outer = self._included[-1][0], self

    def _includes(self, other: Service[Any]) -> bool:
        return any(service is other or service._includes(other) for _, service in self._included)

    def middleware(self, function: M, /) -> M:
        """Surround every call of this service: ``async def timed(context, proceed): return await proceed()``.

        It runs after the provider and before the arguments are validated; for a generator, ``proceed``
        returns behind its last item. The first one registered is the outermost. ``Abort`` in it
        refuses the call; what it returns is the result. ``proceed`` raises what the function raises.
        """
        if not is_async(function):
            raise TypeError(f"{function!r} is no middleware; declare it with 'async def'.")
        self.middlewares.append(function)
        return function

    def find(self, name: str) -> Function | None:
        """The function offered under ``name``, with the service that it belongs to."""
        found = self._functions.get(name)
        if found is None:
            found = self._find_own(name) if name.startswith(RESERVED) else self._find_included(name)
        return found

    def _find_own(self, name: str) -> Function | None:
        """One of telewire's functions, which only the service that is called itself answers (TW-CAL-072)."""
        if name != LIST or not self.introspection:
            return None
        return Function(LIST, self._list, Signature(self._list, LIST), False, self)

    async def _list(self) -> list[Description]:
        return describe(self._visible().items())

    # Any: functions of every type are served.
    def _visible(self) -> dict[str, Callable[..., Any]]:
        """Names and functions that callers may learn of, those of included services too."""
        if not self.introspection:
            return {}
        found: dict[str, Callable[..., Any]] = {}
        for prefix, service in reversed(self._included):
            found |= {prefix + name: function for name, function in service._visible().items()}
        return found | {name: each.function for name, each in self._functions.items()}

    def _find_included(self, name: str) -> Function | None:
        for prefix, service in self._included:
            if name.startswith(prefix):
                rest = name[len(prefix) :]
                found = service._functions.get(rest) or service._find_included(rest)
                if found is not None:
                    return found
        return None

    def get_context(self) -> Context[S]:
        """The context of the call this code serves, typed with what the provider returns."""
        return cast("Context[S]", get_context())

    def report(self, error: Exception, context: Context[Any]) -> None:
        """Give a bug to ``on_error``; a hook that fails is logged and disturbs nothing."""
        refused = isinstance(error, TransportUnsuitable) and error.refused_by is not None
        if self._on_error is None or isinstance(error, Abort) or refused:
            return
        try:
            self._on_error(error, context)
        except Exception:
            logger.exception("The on_error hook failed")


# Any: functions of every type are served.
def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine or an async generator."""
    inner = inspect.unwrap(function)
    while hasattr(inner, "func"):
        inner = inner.func
    if not isinstance(inner, FunctionType | MethodType):
        inner = getattr(inner, "__call__", inner)  # noqa: B004  # the method itself is looked at
    return inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner)
