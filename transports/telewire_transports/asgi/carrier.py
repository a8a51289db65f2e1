"""Carrier: what both carriers of ASGI share: a bounded queue to a sending task, and one end, told once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final, TypeAlias

import anyio

from telewire.errors import NetworkError
from telewire.runtime.backend import Signal, current_backend
from telewire.runtime.transport import Request, TransportHandler

__all__ = ["HIGH_WATER", "Carrier", "Message", "Receive", "Scope", "Send"]

# Any: ASGI's own types; each message and scope has other keys.
Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

HIGH_WATER: Final = 64 * 1024
"""Bytes waiting for the server above which the transport is not writable; it is again when none wait."""


class Carrier(ABC):
    """A ``Transport`` whose bytes two tasks of the application move; :meth:`run` is its whole life."""

    handler: TransportHandler

    def __init__(self, request: Request, receive: Receive, send: Send) -> None:
        self.request = request
        self._receive = receive
        self._send = send
        self._backend = current_backend()
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._blocked = False
        self._wanted: Signal | None = None
        self._closing = False
        self._over = False
        self._error: Exception | None = None
        self._scope = anyio.CancelScope()

    # --- Transport -------------------------------------------------------------------------------

    @property
    def writable(self) -> bool:
        """False while more than 64 KiB wait for the server."""
        if self._size > HIGH_WATER:
            self._blocked = True
        return not self._blocked

    def send(self, batches: Sequence[bytes]) -> None:
        """Queue whole batches."""
        if not self._over and not self._closing:
            self._waiting.extend(batches)
            self._size += sum(map(len, batches))
            self._wake()

    def close(self) -> None:
        """Send what is queued, then close."""
        if not self._closing and not self._over:
            self._closing = True
            self._wake()

    def abort(self) -> None:
        """Drop what is queued, and end."""
        if not self._over:
            self._over = True
            self._error = self._error or NetworkError("The connection was broken off on this side.")
            self._waiting.clear()
            self._scope.cancel()

    # --- the application's side ------------------------------------------------------------------

    async def run(self) -> None:
        """Move messages until either side is done; then tell the handler, once."""
        try:
            with self._scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._write)
                    await self._read()
                    if not self._stays():
                        group.cancel_scope.cancel()
        except BaseExceptionGroup as failures:
            # What the server raises where the link is gone is no more than that.
            failed, rest = failures.split(Exception)
            if rest is not None:
                raise rest from None
            assert failed is not None
            self._error = self._error or _first(failed)
        finally:
            self._over = True
            self.handler.transport_lost(self._error)

    def _wake(self) -> None:
        if self._wanted is not None:
            self._wanted.set()

    async def _write(self) -> None:
        while True:
            while self._waiting:
                batches = list(self._waiting)
                self._waiting.clear()
                await self._put(batches)
                self._size -= sum(map(len, batches))
                if self._blocked and not self._waiting:
                    self._blocked = False
                    self.handler.transport_writable()
            if self._closing:
                await self._finish()
                self._scope.cancel()
                return
            self._wanted = self._backend.signal()
            await self._wanted.wait()

    def _stays(self) -> bool:
        """Whether the other direction goes on when nothing more will be read."""
        return False

    @abstractmethod
    async def _read(self) -> None:
        """Hand out what comes, until nothing more will."""

    @abstractmethod
    async def _put(self, batches: list[bytes]) -> None:
        """Give batches to the server; returns when it has room for more."""

    @abstractmethod
    async def _finish(self) -> None:
        """Say that nothing more follows."""


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error
