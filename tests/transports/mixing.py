"""Mixing: a conversation of every kind of value, both ways, and what a client sees of it: for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from telewire import ByteStream, Channel, Service

__all__ = ["MIXED", "Everything", "mixed"]

MIXED: Final = [40 * 997, [n * n for n in range(40)], list(range(40)), [f"MESSAGE {n}" for n in range(10)]]
"""What :func:`mixed` brings, however the connection fares."""


class Everything:
    """A service whose conversation mixes every kind of value, in both directions."""

    def __init__(self) -> None:
        self.service: Service[Any] = Service()
        self.heard: list[str] = []
        self.service.add(self.mix, "mix")

    async def mix(
        self, data: ByteStream, numbers: AsyncIterator[int], tick: Callable[[int], Any]
    ) -> dict[str, Any]:
        channel = Channel[str, str]()

        async def answer(message: str) -> str:
            self.heard.append(message)
            return message.upper()

        channel.listen(answer)

        async def squares() -> AsyncIterator[int]:
            async for number in numbers:
                await tick(number)
                yield number * number

        async def total() -> int:
            return len(await data.read())

        return {"total": total(), "squares": squares(), "channel": channel.peer}


async def mixed(remote: Any) -> list[object]:
    """Everything that a client sees of it, in one list."""

    async def numbers() -> AsyncIterator[int]:
        for number in range(40):
            yield number

    ticks: list[int] = []
    value = await remote.mix(ByteStream(iter([bytes(997)] * 40)), numbers(), ticks.append)
    squares = [number async for number in value["squares"]]
    replies = [await value["channel"].request(f"message {number}") for number in range(10)]
    await value["channel"].aclose()
    return [await value["total"], squares, ticks, replies]
