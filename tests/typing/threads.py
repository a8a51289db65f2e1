"""Plain functions in their thread: what they take with `for` and `telewire.wait`, typed."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Iterator
from typing import assert_type

import telewire
from telewire import ByteStream, Call, Channel, Remote, RemoteIterator, RemotePromise, Service

service = Service()


@service.function
def compress(data: ByteStream) -> ByteStream:
    packer = zlib.compressobj()

    def packed() -> Iterator[bytes]:
        for chunk in data:
            assert_type(chunk, bytes)
            yield packer.compress(chunk)
        yield packer.flush()

    return ByteStream(packed())


@service.function
def total(numbers: Iterator[int]) -> int:
    return sum(numbers)


@service.function
def squares(numbers: RemoteIterator[int]) -> Iterator[int]:
    for number in numbers:
        assert_type(number, int)
        yield number * number


@service.function
def talk(channel: Channel[str, int]) -> None:
    for text in channel:
        assert_type(text, str)
        telewire.wait(channel.send(len(text)))
    assert_type(telewire.wait(channel.request(3, bytes)), bytes)


@service.function
def ask(
    question: Callable[[str], Awaitable[int]], later: RemotePromise[str], data: ByteStream
) -> tuple[int, str, bytes]:
    assert_type(telewire.wait(question("how many?")), int)
    return telewire.wait(question("how many?")), telewire.wait(later), telewire.wait(data.read())


async def use(remote: Remote) -> None:
    assert_type(remote[total](iter([1, 2])), Call[int])
    async for square in remote[squares](await remote[squares](remote_numbers())):
        assert_type(square, int)
    telewire.wait(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def remote_numbers() -> RemoteIterator[int]:
    raise NotImplementedError
