"""Byte streams of a call: into files, with a progress bar for each on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Self, final

import anyio
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from telewire.cli.texts import harmless
from telewire.runtime.byte_stream import ByteStream

__all__ = ["Bars", "Saver", "file_name"]

NAMELESS = "download"


def file_name(name: str | None) -> str:
    """A name for a new file in one folder, of what the other side calls a stream.

    It says where a file goes as little as it hides one: only its last part counts, without leading dots.
    """
    last = (name or "").replace("\\", "/").rstrip("/").rpartition("/")[2]
    kept = "".join(each for each in last if each.isprintable() and each not in ':*?"<>|')
    return kept.lstrip(". ")[:200] or NAMELESS


@final
class Bars:
    """Progress bars on standard error, where that is a terminal; none otherwise."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
        # Not redirected: what goes to standard output belongs there.
        self._progress = Progress(
            *columns,
            console=console,
            disable=not console.is_terminal,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._started = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._started:
            self._progress.stop()

    def watch(self, stream: ByteStream, what: str) -> None:
        """Show how far ``stream`` has come."""
        if not self._started:
            self._started = True
            self._progress.start()
        task = self._progress.add_task(escape(what), total=stream.size)
        stream.on_progress(lambda done, total: self._progress.update(task, completed=done, total=total))


def _behind_links(path: Path) -> str:
    """The file itself: a link to it stays one."""
    return os.path.realpath(path)


async def _copy(stream: ByteStream, file: IO[bytes]) -> None:
    output = anyio.wrap_file(file)
    async for chunk in stream:
        await output.write(chunk)
    await output.flush()


@final
class Saver:
    """Decides where byte streams go, and writes them there.

    Args:
        output: what ``--output`` says: a file, a folder, ``-`` for standard output, or None.
        bars: shows how far each has come.
        tell: takes a sentence for standard error.
    """

    def __init__(self, output: str | None, bars: Bars, tell: Callable[[str], None]) -> None:
        self._output = output
        self._bars = bars
        self._tell = tell
        self._taken: set[Path] = set()

    async def save(self, stream: ByteStream, *, alone: bool) -> None:
        """Write one stream; ``alone`` says that it is all of a result.

        Raises:
            OSError: its file is there already and was not named, or cannot be written.
            TelewireError: what became of the stream instead of its end.
        """
        if self._output == "-" or (self._output is None and alone and not sys.stdout.isatty()):
            self._bars.watch(stream, harmless(stream.name or "standard output"))
            await _copy(stream, sys.stdout.buffer)
            return
        path = self._path(stream)
        self._bars.watch(stream, harmless(path.name))
        if path.exists() and not path.is_file():
            # A pipe or a device is written to; a file is written beside it and takes its place when whole.
            with path.open("wb") as device:
                await _copy(stream, device)
            return
        size = await stream.save(_behind_links(path))
        self._tell(f"Saved {harmless(str(path))}, {size:,} bytes.")

    def _path(self, stream: ByteStream) -> Path:
        path = Path(file_name(stream.name) if self._output is None else self._output)
        if self._output is not None and path.is_dir():
            path /= file_name(stream.name)
        named = path == Path(self._output or "")
        first, number = path, 1
        while path in self._taken:
            number += 1
            path = first.with_name(f"{first.stem}-{number}{first.suffix}")
        self._taken.add(path)
        if not named and os.path.lexists(path):
            # The other side chose this name, and it must not choose what is lost here.
            raise FileExistsError(
                f"{harmless(str(path))} is there already; say with --output where the bytes go."
            )
        return path
