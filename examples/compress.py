"""compress: a plain `def` takes a byte stream and gives it back gzipped, while it is still coming in."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable, Iterator

import anyio

from telewire import ByteStream, Remote, Service
from telewire_transports import connect, serve

GZIP = 16 + zlib.MAX_WBITS
LINES = ["a line\n", "another line\n", "one line more\n", "the last line\n"]

service = Service()
sent: list[str] = []  # what the server recorded, to be compared with what arrived


@service.function
def on_compress(data: ByteStream) -> ByteStream:
    """``data``, gzipped: all of it in a thread of its own, and each chunk leaves before the next has come."""

    def gzipped() -> Iterator[bytes]:
        packer = zlib.compressobj(wbits=GZIP)
        for chunk in data:  # the thread waits for it, the event loop does not
            sent.append(chunk.decode())
            yield packer.compress(chunk) + packer.flush(zlib.Z_SYNC_FLUSH)
        yield packer.flush()

    return ByteStream(gzipped(), content_type="application/gzip")


async def client(remote: Remote, show: Callable[[str], object], interval: float = 0.3) -> list[str]:
    """Send each line only when the one before it has come back; returns the unpacked lines."""
    arrived: list[str] = []
    turn = anyio.Semaphore(1)

    async def lines() -> AsyncIterator[bytes]:
        for line in LINES:
            await turn.acquire()
            yield line.encode()

    unpacker = zlib.decompressobj(wbits=GZIP)
    async for chunk in await remote[on_compress](ByteStream(lines())):
        if line := unpacker.decompress(chunk).decode():
            arrived.append(line)
            show(f"{line.rstrip()}, there and back")
            await anyio.sleep(interval)
            turn.release()
    assert unpacker.eof  # it is whole, its checksum is right
    return arrived


async def main() -> None:
    """Serve on a free port and call from the same program, over a real socket."""

    async def visit(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/telewire") as remote:
            await client(remote, print)
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        await serve(service, port=0, on_started=lambda port: group.start_soon(visit, port))


if __name__ == "__main__":
    anyio.run(main)
