"""Relay: a socket in the middle that holds, releases and cuts, for tests over TCP and Unix sockets."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, final

import anyio
import anyio.abc

__all__ = ["Relay", "open_relay", "open_unix_relay"]

_BUFFER: Final = 128 * 1024
_CHUNK: Final = 64 * 1024
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


@final
class Relay:
    """Passes bytes between those who connect to it and a server, as it is told. TCP: at :attr:`port`."""

    def __init__(self, connect: Callable[[], Awaitable[anyio.abc.SocketStream]]) -> None:
        self._connect = connect
        self._open = anyio.Event()
        self._open.set()
        self._streams: list[anyio.abc.SocketStream] = []
        self._scopes: list[anyio.CancelScope] = []
        self.port = 0

    def hold(self) -> None:
        """Read nothing more from either side; at most one chunk that was read already still passes."""
        if self._open.is_set():
            self._open = anyio.Event()

    def release(self) -> None:
        """Read again."""
        self._open.set()

    def cut(self) -> None:
        """Reset every connection, without a farewell."""
        for stream in self._streams:
            plain = stream.extra(anyio.abc.SocketAttribute.raw_socket)
            # What has ended already cannot be reset.
            with contextlib.suppress(OSError):
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        for scope in self._scopes:
            scope.cancel()
        self._streams, self._scopes = [], []

    async def serve(self, listener: anyio.abc.Listener[anyio.abc.SocketStream]) -> None:
        """Relay until cancelled."""
        await listener.serve(self._relay)

    async def _relay(self, client: anyio.abc.SocketStream) -> None:
        async with client, await self._connect() as server:
            self._streams += [client, server]
            for stream in (client, server):
                plain = stream.extra(anyio.abc.SocketAttribute.raw_socket)
                # The less the system holds for us, the sooner a hold is felt.
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            with anyio.CancelScope() as scope:
                self._scopes.append(scope)
                async with anyio.create_task_group() as group:
                    group.start_soon(self._pass_on, client, server)
                    group.start_soon(self._pass_on, server, client)

    async def _pass_on(self, source: anyio.abc.SocketStream, target: anyio.abc.SocketStream) -> None:
        try:
            while True:
                await self._open.wait()
                await target.send(await source.receive(_CHUNK))
        except anyio.EndOfStream:
            try:
                await target.send_eof()
            except OSError:
                # It has gone already, which is what we were about to tell it.
                return
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            # A side that was reset is passed on as a reset.
            self.cut()


@asynccontextmanager
async def open_relay(host: str, port: int) -> AsyncIterator[Relay]:
    """Relay to ``host`` and ``port`` on a free port of 127.0.0.1; ends with the block."""
    relay = Relay(lambda: anyio.connect_tcp(host, port))
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    relay.port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with _relaying(relay, listener):
        yield relay


@asynccontextmanager
async def open_unix_relay(path: Path, target: Path) -> AsyncIterator[Relay]:
    """Relay from a new Unix socket at ``path`` to the one at ``target``; ends with the block."""
    relay = Relay(lambda: anyio.connect_unix(target))
    async with _relaying(relay, await anyio.create_unix_listener(path)):
        yield relay


@asynccontextmanager
async def _relaying(
    relay: Relay, listener: anyio.abc.Listener[anyio.abc.SocketStream]
) -> AsyncIterator[None]:
    failure: BaseException | None = None
    async with listener, anyio.create_task_group() as group:
        group.start_soon(relay.serve, listener)
        try:
            yield
        except Exception as error:
            # Raised below, since the group would wrap what the caller's block has raised.
            failure = error
        finally:
            group.cancel_scope.cancel()
    if failure is not None:
        raise failure
