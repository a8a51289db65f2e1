"""The service that suites against a runtime call: mount it in a server, and test that with ``--url``.

``telewire serve telewire_spec.service:service`` is one; ``spec/conformance.md`` lists the functions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio

from telewire import Abort, ByteStream, Channel, Return, Service, get_context

__all__ = ["service"]

service = Service()
SECRET = "the-secret"


# Any: whatever the runner sends.
@service.function
async def echo(value: Any) -> Any:
    """Give back what was given."""
    return value


@service.function
async def add(a: int, b: int) -> int:
    """Add two integers."""
    return a + b


@service.function
async def fail() -> None:
    """Fail, with a text that is nobody else's business."""
    raise ValueError(f"{SECRET} text of a failure")


@service.function
async def abort(value: Any) -> None:
    """Refuse, with a value."""
    raise Abort(value)


@service.function
async def forever() -> None:
    """Wait until it is cancelled."""
    await anyio.sleep_forever()


@service.function
async def count(n: int) -> AsyncIterator[int]:
    """Count from 0 up to n, and return n."""
    for number in range(n):
        yield number
    raise Return(n)


@service.function
async def fail_after(n: int) -> AsyncIterator[int]:
    """Count as far as n, then fail."""
    for number in range(n):
        yield number
    raise ValueError(f"{SECRET} text of a generator")


@service.function
async def later(value: Any) -> list[Awaitable[Any]]:
    """Promise a value."""

    async def keep() -> Any:
        await anyio.lowlevel.checkpoint()
        return value

    return [keep()]


@service.function
async def never_kept() -> list[Awaitable[None]]:
    """Promise, and fail."""

    async def fail_later() -> None:
        raise ValueError(f"{SECRET} text of a promise")

    return [fail_later()]


@service.function
async def zeros(n: int) -> ByteStream:
    """Give that many bytes."""
    return ByteStream(bytes(n), size=n)


@service.function
async def collect(items: AsyncIterator[Any]) -> list[Any]:
    """Take all items of an iterator."""
    return [item async for item in items]


@service.function
async def measure(data: ByteStream) -> int:
    """Count the bytes of a stream."""
    total = 0
    async for chunk in data:
        total += len(chunk)
    return total


@service.function
async def keep(promise: Awaitable[Any]) -> Any:
    """Wait for a promise of the caller's."""
    return await promise


@service.function
async def invoke(function: Callable[[Any], Awaitable[Any]], value: Any) -> Any:
    """Call a function of the caller's."""
    return await function(value)


@service.function
async def adder(n: int) -> Callable[[int], int]:
    """Give a function that adds n."""

    def plus(value: int) -> int:
        return n + value

    return plus


@service.function
async def room() -> Channel[Any, Any]:
    """Give a channel that sends each message back, and answers requests with them."""
    channel = Channel[Any, Any]()

    async def back(message: Any) -> Any:
        await channel.send(message)
        return message

    channel.listen(back)
    return channel.peer


@service.function
async def metadata() -> dict[str, str]:
    """Give the headers of this one call."""
    return dict(get_context().metadata)
