"""Byte streams as a typed program makes, passes and takes them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import assert_type

from anyio.abc import ByteReceiveStream

from telewire import ByteStream, Call, Remote, Service

service = Service()


async def pieces() -> AsyncIterator[bytes]:
    yield b"abc"


def steps() -> Iterator[bytes]:
    yield b"abc"


class Upload:
    async def read(self, size: int = -1) -> bytes:
        return b""


@service.function
async def download(name: str) -> ByteStream:
    return ByteStream(Path(name), content_type="application/pdf")


@service.function
async def compress(file: ByteStream) -> ByteStream:
    return ByteStream(pieces(), name=f"{file.name}.gz")


async def sources(reader: asyncio.StreamReader, stream: ByteReceiveStream, path: Path) -> None:
    ByteStream(b"abc")
    ByteStream(bytearray(b"abc"))
    ByteStream(memoryview(b"abc"))
    ByteStream("file")
    ByteStream(path)
    ByteStream(path.open("rb"))
    ByteStream(io.BytesIO(b"abc"))
    ByteStream([b"abc", b"def"])
    ByteStream(steps())
    ByteStream(pieces())
    ByteStream(reader)
    ByteStream(stream)
    ByteStream(Upload())
    ByteStream(ByteStream(b"abc"), name="name", size=3, content_type="text/plain")
    ByteStream(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ByteStream(b"abc", size="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def taking(remote: Remote) -> None:
    call = remote[download]("report.pdf")
    assert_type(call, Call[ByteStream])
    stream = await call
    assert_type(stream, ByteStream)
    assert_type(stream.name, str | None)
    assert_type(stream.size, int | None)
    assert_type(stream.content_type, str | None)
    assert_type(stream.closed, bool)
    assert_type(await stream.receive(), bytes)
    assert_type(await stream.receive(10), bytes)
    assert_type(await stream.read(max_bytes=100), bytes)
    assert_type(await stream.save("report.pdf"), int)
    assert_type(await stream.save(Path("report.pdf")), int)
    stream.on_progress(lambda done, total: print(done, total))
    stream.on_progress(show)
    stream.on_close(lambda: print("closed"))
    async for chunk in stream:
        assert_type(chunk, bytes)
    async with stream as same:
        assert_type(same, ByteStream)
    await stream.aclose()

    async for chunk in remote[download]("report.pdf"):
        assert_type(chunk, bytes)
    async with remote[compress](ByteStream(Path("report.pdf"))) as packed:
        assert_type(packed, ByteStream)
    remote[compress](b"abc")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def show(done: int, total: int | None) -> None:
    print(done, total)
