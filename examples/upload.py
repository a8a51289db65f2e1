"""upload: a file of the client, saved by the server in constant memory, with a progress bar."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread

from telewire import ByteStream, Remote, Service
from telewire_transports import connect, serve

MEGABYTES = 16

service = Service()
sent: list[object] = []  # what the server recorded: here, of the file that came to it
ended: list[str] = []  # which clean-ups have run on the server


def facts(path: Path) -> list[object]:
    """How many bytes a file has, and their SHA-256."""
    with path.open("rb") as file:
        return [path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()]


@service.function
async def on_upload(file: ByteStream) -> int:
    """Save ``file``; returns how many bytes it had."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "saved")  # not file.name: who knows what the other side says
        size = await file.save(path)
        sent.extend(await anyio.to_thread.run_sync(facts, path))
    ended.append("the file of the server was removed")
    return size


class Bar:
    """A progress bar, shown anew for each quarter."""

    def __init__(self, show: Callable[[str], object]) -> None:
        self._show = show
        self._quarters = 0

    def __call__(self, done: int, total: int | None) -> None:
        """So much is done."""
        while total and self._quarters < done * 4 // total:
            self._quarters += 1
            self._show(f"[{'#' * 5 * self._quarters:20}] {25 * self._quarters} %")


def write(path: Path) -> None:
    """Make a file to upload."""
    with path.open("wb") as file:
        for _ in range(MEGABYTES):
            file.write(os.urandom(1_000_000))


async def client(remote: Remote, show: Callable[[str], object]) -> list[object]:
    """Upload a file; returns the size that came back, and the SHA-256 of what was uploaded."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "holiday.mp4")
        await anyio.to_thread.run_sync(write, path)
        file = ByteStream(path)
        file.on_progress(Bar(show))
        size = await remote[on_upload](file)
        _, digest = await anyio.to_thread.run_sync(facts, path)
        return [size, digest]


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
