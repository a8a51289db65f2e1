"""stub and callback: the types that a program declares itself, for what is not its own code."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from types import FunctionType
from typing import Any, Final, ParamSpec, TypeVar, cast, final, overload

from telewire.runtime.annotations import class_hints
from telewire.runtime.call import Call
from telewire.runtime.remote import AnyFunction, Remote
from telewire.runtime.signatures import Signature

__all__ = ["callback", "stub"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
_BUILTIN: Final = frozenset(vars(object))


@overload
def callback(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Awaitable[R]]: ...
@overload
def callback(function: Callable[P, R]) -> Callable[P, Awaitable[R]]: ...
# Any: the implementation behind the overloads, which are typed.
def callback(function: Any) -> Any:
    """``function`` itself, typed as the other side sees it: calling it there gives an awaitable.

    So ``remote[on_tick](callback(print))`` satisfies a parameter ``Callable[[str], Awaitable[None]]``. At
    run time it changes nothing: every function can be passed.

    Raises:
        TypeError: it is no function.
    """
    if not callable(function):
        raise TypeError(f"{function!r} is not a function, so it is nothing that the other side could call.")
    return function


@overload
def stub(remote: Remote, api: type[T]) -> T: ...
# A class with abstract methods, such as a Protocol, is no type[T] to type checkers.
@overload
def stub(remote: Remote, api: Callable[..., T]) -> T: ...
# Any: the implementation behind the overloads, which are typed.
def stub(remote: Any, api: Any) -> Any:
    """A view of ``remote`` with the methods of a Protocol class: typed, and converted to their annotations.

    Calling a method starts the call: it gives the :class:`Call` for an ``async def``, and an async
    generator where the annotation is an iterator. An attribute annotated with another such class
    stands for the names after a dot.

    Raises:
        TypeError: ``remote`` is none, or ``api`` is no class.
    """
    if not isinstance(remote, Remote):
        raise TypeError(f"stub() takes the remote of a connection, not {remote!r}.")
    if not isinstance(api, type):
        raise TypeError(f"stub() takes a class that declares methods, such as a Protocol, not {api!r}.")
    return _Stub(remote, api, "")


@final
class _Stub:
    """Looks up what is asked for, once."""

    def __init__(self, remote: Remote, api: type, prefix: str) -> None:
        self._remote = remote
        self._api = api
        self._prefix = prefix

    def __repr__(self) -> str:
        return f"<stub of {self._api.__name__}>"

    # Any: what the class declares under that name.
    def __getattr__(self, name: str) -> Any:
        declared = inspect.getattr_static(self._api, name, None)
        if name.startswith("_") or name in _BUILTIN:
            declared = None
        made: object
        if isinstance(declared, FunctionType):
            made = _method(self._remote[f"{self._prefix}{name}"], declared, f"{self._prefix}{name}")
        else:
            part = None if name.startswith("_") else class_hints(self._api).get(name)
            if not isinstance(part, type):
                known = ", ".join(sorted(_methods(self._api))) or "none"
                raise AttributeError(f"{self._api.__name__} declares no method {name!r}; it has: {known}.")
            made = _Stub(self._remote, part, f"{self._prefix}{name}.")
        setattr(self, name, made)
        return made


def _methods(api: type) -> set[str]:
    names = {name for name in dir(api) if isinstance(inspect.getattr_static(api, name), FunctionType)}
    return {name for name in names if not name.startswith("_")}


# Any: methods of every type are declared.
def _method(function: AnyFunction, declared: FunctionType, name: str) -> Callable[..., Any]:
    """What calls the remote function with the declared conversion of its result."""
    signature = Signature(declared, name)
    call = function.with_signature(signature)
    if signature.item is None or inspect.iscoroutinefunction(declared):
        return call
    return lambda *args, **kwargs: StubGenerator(call(*args, **kwargs))


@final
class StubGenerator(AsyncGenerator[T, None]):
    """The items of a call, as a method declares them that returns an iterator."""

    # Any: the call of a generator, whose items are converted.
    def __init__(self, call: Call[Any]) -> None:
        self._call = call
        self._items = aiter(cast("Call[AsyncGenerator[T, None]]", call))

    def __repr__(self) -> str:
        return f"<items of {self._call!r}>"

    async def __anext__(self) -> T:
        """The next item."""
        return await anext(self._items)

    async def asend(self, value: None) -> T:
        """The next item: nothing can be sent to a generator of the other side.

        Raises:
            TypeError: ``value`` is not None.
        """
        if value is not None:
            raise TypeError("Nothing can be sent into a generator of the other side; pass it a channel.")
        return await anext(self._items)

    # Any: exceptions come in several forms, as for any generator.
    async def athrow(self, *error: Any) -> T:
        """Close it, then raise: exceptions do not cross."""
        await self.aclose()
        raise error[0] if isinstance(error[0], BaseException) else error[0]()

    async def aclose(self) -> None:
        """End the call; a loop over it ends as if finished."""
        await self._call.aclose()
