"""compress_video: video through an ffmpeg process of the server, killed when the client leaves."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Callable

import anyio
from anyio.abc import ByteReceiveStream

from telewire import ByteStream, Remote, Service, get_context
from telewire_transports import connect, serve

service = Service()
sent: list[int] = []  # what the server recorded, to be compared with what arrived
ended: list[str] = []  # which clean-ups have run on the server


def find_ffmpeg() -> str | None:
    """The system's ffmpeg, or the one that ``pip install imageio-ffmpeg`` brings."""
    with contextlib.suppress(ImportError, RuntimeError):
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    return shutil.which("ffmpeg")


FFMPEG = find_ffmpeg()
missing = None if FFMPEG else "ffmpeg is not installed; pip install imageio-ffmpeg brings it"


def command(options: str) -> list[str]:
    """A command line of ffmpeg."""
    return [FFMPEG or "ffmpeg", "-loglevel", "fatal", *options.split()]


@service.function
async def on_compress_video(video: ByteStream) -> ByteStream:
    """``video``, compressed by a process while it is still coming in."""
    process = await asyncio.create_subprocess_exec(
        *command("-i pipe:0 -c:v libx264 -preset ultrafast -g 10 -f matroska pipe:1"),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
    )
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None
    total = 0
    killed = False

    async def feed() -> None:
        with contextlib.suppress(ConnectionError):  # ffmpeg is gone
            async with video:
                async for chunk in video:
                    stdin.write(chunk)
                    await stdin.drain()
        stdin.close()

    def progress(done: int, _: int | None) -> None:
        nonlocal total
        total = done

    def kill() -> None:
        nonlocal killed
        if not killed and not stdout.at_eof():  # else ffmpeg has said all and ends by itself
            killed = True
            process.kill()

    async def leave() -> None:
        kill()
        await process.wait()
        sent.append(total)
        ended.append("ffmpeg is gone")

    context = get_context()
    context.on_close(leave)  # also when the client goes away
    context.start_soon(feed)
    film = ByteStream(stdout, content_type="video/x-matroska")
    film.on_close(kill)  # also when the client has seen enough of it
    film.on_progress(progress)
    return film


@contextlib.asynccontextmanager
async def camera(options: str = "") -> AsyncIterator[ByteReceiveStream]:
    """A test picture as raw video, from an ffmpeg process of the client."""
    film = f"-f lavfi -i testsrc=size=320x240:rate=25{options} -c:v rawvideo -f nut pipe:1"
    async with await anyio.open_process(command(film), stdin=DEVNULL, stderr=DEVNULL) as process:
        assert process.stdout is not None
        yield process.stdout  # which is closed behind this, and that ends ffmpeg


async def client(remote: Remote, show: Callable[[str], object]) -> list[int]:
    """Compress two seconds of video, then leave one that never ends; returns the size of the first."""
    size = raw = 0

    def progress(done: int, _: int | None) -> None:
        nonlocal raw
        raw = done

    async with camera(":duration=2") as pictures:
        video = ByteStream(pictures)
        video.on_progress(progress)
        async for chunk in await remote[on_compress_video](video):
            size += len(chunk)
    show(f"2 seconds of video are compressed to {100 * size / raw:.1f} %")

    async with camera() as pictures, remote[on_compress_video](ByteStream(pictures)) as film:
        await film.receive()
        show("the beginning of a film without an end was enough")
    return [size]


async def main() -> None:
    """Serve on a free port and call from the same program, over a real socket."""

    async def visit(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/telewire") as remote:
            await client(remote, print)
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        await serve(service, port=0, on_started=lambda port: group.start_soon(visit, port))


if __name__ == "__main__":
    if missing:
        raise SystemExit(missing)
    anyio.run(main)
