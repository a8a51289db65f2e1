"""The server's process behind the demonstrations: one for all of them, and another where it has ended."""

from __future__ import annotations

import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from subprocess import PIPE
from types import TracebackType
from typing import Final, Self, final

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from telewire.demo.table import Record
from telewire.errors import NetworkError

__all__ = ["Stage"]

RECORD_BYTES: Final = 256 * 1024 * 1024


@final
class Stage:
    """Serves one example at a time, from the folder ``place``, in another process."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._stack = AsyncExitStack()
        self._process: anyio.abc.Process | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def begin(self, name: str) -> int:
        """Serve an example; returns its port.

        Raises:
            NetworkError: the process has ended instead.
        """
        if self._process is None:
            command = [sys.executable, "-m", "telewire.demo.server", str(self._place)]
            process = await anyio.open_process(command, stdin=PIPE, stdout=PIPE, stderr=None)
            self._process = await self._stack.enter_async_context(process)
            assert process.stdout is not None
            self._output = BufferedByteReceiveStream(process.stdout)
        port: int = json.loads(await self._ask(name))["port"]
        return port

    async def end(self) -> Record:
        """Stop serving; returns what the server recorded.

        Raises:
            NetworkError: the process has ended.
        """
        facts = json.loads(await self._ask("."))
        return Record(tuple(facts["sent"]), tuple(facts["ended"]))

    async def give_up(self) -> None:
        """End the process, wherever it is; the next example gets a new one."""
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            self._process = None
            await self._stack.aclose()

    async def _ask(self, line: str) -> bytes:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            await self._process.stdin.send(f"{line}\n".encode())
            return await self._output.receive_until(b"\n", RECORD_BYTES)
        except (anyio.IncompleteRead, anyio.BrokenResourceError):
            raise NetworkError("The server process has ended; its words stand above.") from None
