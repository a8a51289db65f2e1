"""Middleware: what surrounds each call of a service, in order of registration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias, final

from telewire.runtime.context import Context

__all__ = ["Middleware", "Proceed", "through"]

# Any: results of every type pass through, and contexts of every provider.
Proceed: TypeAlias = Callable[[], Awaitable[Any]]
Middleware: TypeAlias = Callable[[Context[Any], Proceed], Awaitable[Any]]


async def through(middlewares: Sequence[Middleware], context: Context[Any], innermost: Proceed) -> Any:
    """Run ``innermost`` inside all of them; returns what the outermost does. Any: a result."""
    if not middlewares:
        return await innermost()
    return await middlewares[0](context, _Once(middlewares[1:], context, innermost))


@final
class _Once:
    """What a middleware calls to go on."""

    __slots__ = ("_context", "_innermost", "_middlewares", "_used")

    def __init__(self, middlewares: Sequence[Middleware], context: Context[Any], innermost: Proceed) -> None:
        self._middlewares = middlewares
        self._context = context
        self._innermost = innermost
        self._used = False

    async def __call__(self) -> Any:
        """Go on; returns the result, None behind the last item of a generator. Any: a result."""
        if self._used:
            raise RuntimeError(
                "proceed() was called twice in one middleware: the arguments of a call are taken once."
            )
        self._used = True
        return await through(self._middlewares, self._context, self._innermost)
