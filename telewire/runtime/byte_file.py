"""PartFile: a file that is written beside its place and takes its name when it is whole."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Sequence
from typing import IO, final

from telewire.runtime.byte_threads import PoolThread

__all__ = ["PartFile"]


@final
class PartFile:
    """One file on its way; everything happens in worker threads, one step after the other."""

    __slots__ = ("_file", "_part", "_path", "_thread")

    def __init__(self, path: str) -> None:
        self._path = path
        directory, name = os.path.split(path)
        # In the same directory, since only there a rename is one step. Names have at most 255 bytes.
        self._part = os.path.join(directory, f".{name[:100]}.{secrets.token_hex(6)}.part")
        self._thread = PoolThread()
        self._file: IO[bytes] | None = None

    async def open(self) -> None:
        """Make the part file.

        Raises:
            OSError: it cannot be made, or the path is a directory.
        """
        await self._thread.run(self._open)

    def _open(self) -> None:
        if os.path.isdir(self._path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self._path)
        self._file = open(self._part, "xb", buffering=0)  # noqa: SIM115  # closed in _keep or _discard

    async def write(self, parts: Sequence[bytes]) -> None:
        """Append ``parts``."""
        await self._thread.run(lambda: self._write(parts))

    def _write(self, parts: Sequence[bytes]) -> None:
        assert self._file is not None
        for part in parts:
            written = self._file.write(part)
            while written < len(part):
                # A disk that is almost full takes a part; the next attempt says so.
                written += self._file.write(memoryview(part)[written:])

    async def keep(self) -> None:
        """It is whole: let it take its name."""
        await self._thread.run(self._keep)

    def _keep(self) -> None:
        assert self._file is not None
        self._file.close()
        os.replace(self._part, self._path)

    async def discard(self) -> None:
        """Remove what there is of it, behind a step that still goes on; the place itself is not touched."""
        await self._thread.run(self._discard)

    def _discard(self) -> None:
        if self._file is not None:
            self._file.close()
            with contextlib.suppress(FileNotFoundError):
                os.remove(self._part)
