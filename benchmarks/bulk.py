"""Does a large byte stream stay small in memory? ``python benchmarks/bulk.py [MEGABYTES]``.

A file goes down, up, and up and down again through gzip, between two processes on loopback, and a video
that is made on the way through ffmpeg, as in ``examples/compress_video.py``. What is printed is how much
either process has grown, at its largest, beyond what it had before; 60 MB or more is a failure. Files
are sparse, so no disk is needed. Processes of ffmpeg are not counted.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

# This checkout is measured, whatever is installed.
ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "transports"), str(ROOT / "spec")]

try:
    import resource
except ImportError:
    resource = None  # type: ignore[assignment]  # not on Windows

from rich import box
from rich.console import Console
from rich.table import Table

from examples import compress_video
from telewire import ByteStream, Remote, Service
from telewire_transports import connect, serve

MEGABYTE: Final = 1_000_000
MOST: Final = 60
"""Megabytes that a process may grow by."""
LONGEST_SECONDS: Final = 600.0
FRAME_BYTES: Final = 320 * 240 * 3
"""One picture of the example's camera, before it is compressed."""
FRAMES_PER_SECOND: Final = 25

service: Final[Service[None]] = Service()
service.include(compress_video.service)


def largest() -> float:
    """The most memory that this process has had so far, in megabytes."""
    if resource is None:
        raise SystemExit("This system does not tell how much memory a process has had.")
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE


@service.function(name="largest")
async def server_largest() -> float:
    return largest()


@service.function
async def download(path: str) -> ByteStream:
    return ByteStream(path)


@service.function
async def upload(file: ByteStream) -> int:
    taken = 0
    async for chunk in file:
        taken += len(chunk)
    return taken


@service.function
async def compress(file: ByteStream) -> ByteStream:
    async def packed() -> AsyncIterator[bytes]:
        packer = zlib.compressobj(level=1, wbits=31)
        async for chunk in file:
            yield packer.compress(chunk)
        yield packer.flush()

    return ByteStream(packed())


@dataclass(frozen=True)
class File:
    """What is sent."""

    path: Path
    size: int


async def down(remote: Remote, file: File) -> int:
    """Take the file as it comes."""
    taken = 0
    async for chunk in remote.download(str(file.path)):
        taken += len(chunk)
    return taken


async def up(remote: Remote, file: File) -> int:
    """Give the file to the server."""
    taken: int = await remote.upload(ByteStream(file.path))
    return taken


async def there_and_back(remote: Remote, file: File) -> int:
    """Have the file compressed, and unpack it as it comes."""
    unpacker = zlib.decompressobj(wbits=31)
    taken = 0
    async for chunk in remote.compress(ByteStream(file.path)):
        while chunk:
            taken += len(unpacker.decompress(chunk, MEGABYTE))
            chunk = unpacker.unconsumed_tail
    return taken if unpacker.eof else -1


async def through_ffmpeg(remote: Remote, file: File) -> int:
    """Have a video compressed that is as large as the file, while it is made; returns that size."""
    given = film = 0

    def progress(done: int, _: int | None) -> None:
        nonlocal given
        given = done

    seconds = -(-file.size // FRAME_BYTES) / FRAMES_PER_SECOND
    async with compress_video.camera(f":duration={seconds:.2f}") as pictures:
        video = ByteStream(pictures)
        video.on_progress(progress)
        async for chunk in remote.on_compress_video(video):
            film += len(chunk)
    return file.size if film and given >= file.size else -1


WAYS: Final[dict[str, Callable[[Remote, File], Awaitable[int]]]] = {
    "down": down,
    "up": up,
    "gzip, up and down": there_and_back,
    "video through ffmpeg": through_ffmpeg,
}


@dataclass(frozen=True)
class Reading:
    """One way: how quick it was, and by how many megabytes each process has grown."""

    way: str
    rate: float
    client: float
    server: float


async def measure(port: int, megabytes: int, directory: Path) -> list[Reading]:
    """Send the file each way; raises ValueError where not all of it arrives."""
    readings = []
    small = File(directory / "small", 2 * MEGABYTE)
    large = File(directory / "large", megabytes * MEGABYTE)
    for each in (small, large):
        with each.path.open("wb") as file:
            file.truncate(each.size)
    async with connect(f"http://127.0.0.1:{port}/telewire") as remote:
        for name, run in WAYS.items():
            if run is through_ffmpeg and compress_video.missing:
                print(f"{name} is left out: {compress_video.missing}", file=sys.stderr)
                continue
            # What is needed for any file is not what a large one takes.
            await run(remote, small)
            before = largest(), cast(float, await remote.largest())
            began = time.perf_counter()
            taken = await run(remote, large)
            seconds = time.perf_counter() - began
            if taken != large.size:
                raise ValueError(f"{taken} of {large.size} bytes arrived ({name}).")
            after = largest(), cast(float, await remote.largest())
            readings.append(Reading(name, megabytes / seconds, after[0] - before[0], after[1] - before[1]))
    return readings


async def be_server() -> None:
    """Serve until the standard input ends."""
    serving = asyncio.create_task(
        serve(service, port=0, path="/telewire", on_started=lambda port: print(port, flush=True))
    )
    await asyncio.to_thread(sys.stdin.read)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


def run(megabytes: int) -> list[Reading]:
    """Start a server, and measure."""
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        port = int(server.stdout.readline())
        with tempfile.TemporaryDirectory() as directory:
            return asyncio.run(asyncio.wait_for(measure(port, megabytes, Path(directory)), LONGEST_SECONDS))
    finally:
        server.stdin.close()
        server.wait()
        server.stdout.close()


def main(argv: Sequence[str]) -> int:
    """Measure and print; returns the exit status."""
    if argv == ["--serve"]:
        asyncio.run(be_server())
        return 0
    megabytes = int(argv[0]) if argv else 1000
    readings = run(megabytes)
    table = Table(title=f"{megabytes} MB each way", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for heading in ("MB/s", "client grew by", "server grew by", "at most"):
        table.add_column(heading, justify="right", no_wrap=True)
    for reading in readings:
        grown = [
            f"[{'green' if each < MOST else 'red'}]{each:.1f} MB[/]"
            for each in (reading.client, reading.server)
        ]
        table.add_row(reading.way, f"{reading.rate:.0f}", *grown, f"{MOST} MB")
    Console().print(table)
    return int(any(max(reading.client, reading.server) >= MOST for reading in readings))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
