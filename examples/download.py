"""download: a file of the server, saved by the client in constant memory, with a progress bar."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread

from telewire import ByteStream, Remote, Service, get_context
from telewire_transports import connect, serve

MEGABYTES = 16

service = Service()
sent: list[object] = []  # what the server recorded, to be compared with what arrived
ended: list[str] = []  # which clean-ups have run on the server


def facts(path: Path) -> list[object]:
    """How many bytes a file has, and their SHA-256."""
    with path.open("rb") as file:
        return [path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()]


@service.function
def on_download(megabytes: int) -> ByteStream:
    """A new file of so many megabytes; a plain ``def``, since writing it would block the others."""
    with tempfile.NamedTemporaryFile(delete=False) as file:
        for _ in range(megabytes):
            file.write(os.urandom(1_000_000))
    path = Path(file.name)
    sent.extend(facts(path))

    def remove() -> None:
        path.unlink()
        ended.append("the file of the server was removed")

    get_context().on_close(remove)
    return ByteStream(path)  # is read as the client takes it


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


async def client(remote: Remote, show: Callable[[str], object]) -> list[object]:
    """Save a file; returns its size and SHA-256."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "saved")
        file = await remote[on_download](MEGABYTES)
        file.on_progress(Bar(show))
        await file.save(path)
        return await anyio.to_thread.run_sync(facts, path)


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
