"""Middle: a proxy that knows WebSockets and POSTs, and is slow, forgetful or in the way: for tests."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import anyio.lowlevel

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_CHUNK = 64 * 1024


class Middle:
    """Passes connections on to ``target``; what is special is set on it, and may be changed at any time."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.target = target
        self.piece = _CHUNK
        """Bytes that pass at once; then all others have a turn."""
        self.rate = 0
        """Bytes a second that pass each way of a connection; 0: all that come."""
        self.websocket_target: int | None = None
        self.websocket_gate = anyio.Event()
        self.websocket_gate.set()
        self.refuses_websocket = False
        self.post_target: Callable[[], int | None] = lambda: None
        self.forgets: Callable[[], bool] = lambda: False
        """Whether the answer of a POST of a session is lost, asked for each."""
        self.cut_after: int | None = None
        """Bytes, either way, behind which the connection that they come on is reset; once."""
        self.passed = 0
        self.posters = 0
        """Connections with POSTs of a session so far."""
        self.cuts = 0
        self.canned: list[bytes] = []
        """What is answered to the next connections with a POST, instead of asking."""
        self.deaf = anyio.Event()
        """What comes down waits for it; what is posted does not."""
        self.deaf.set()
        self.mute = anyio.Event()
        """What is posted waits for it; what comes down does not."""
        self.mute.set()
        self.upgrades = 0
        self.websockets: list[anyio.abc.CancelScope] = []

    async def serve(self, client: anyio.abc.SocketStream) -> None:
        async with client:
            try:
                first = await client.receive(_CHUNK)
                await self._handle(client, first)
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
                return

    async def _handle(self, client: anyio.abc.SocketStream, first: bytes) -> None:
        head = first.lower()
        passing = anyio.Event()
        passing.set()
        websocket = b"upgrade: websocket" in head
        post = b"telewire-session:" in head and b"telewire-session: open" not in head
        port = self.target
        if websocket:
            self.upgrades += 1
            await self.websocket_gate.wait()
            if self.refuses_websocket:
                await client.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            port = self.websocket_target or port
        if post and self.canned:
            await client.send(self.canned.pop(0))
            return
        self.posters += post
        if post:
            port = self.post_target() or port
        async with await anyio.connect_tcp("127.0.0.1", port) as server:
            with anyio.CancelScope() as scope:
                if websocket:
                    self.websockets.append(scope)
                async with anyio.create_task_group() as group:
                    down = not post and not websocket
                    group.start_soon(
                        self._pass,
                        client,
                        server,
                        first,
                        scope,
                        False,
                        lambda: self.mute if post else passing,
                    )
                    group.start_soon(
                        self._pass, server, client, b"", scope, post, lambda: self.deaf if down else passing
                    )
            if scope.cancelled_caught:
                for stream in (client, server):
                    plain = stream.extra(anyio.abc.SocketAttribute.raw_socket)
                    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)

    async def _pass(
        self,
        source: anyio.abc.SocketStream,
        target: anyio.abc.SocketStream,
        first: bytes,
        scope: anyio.CancelScope,
        answers: bool,
        waits: Callable[[], anyio.Event],
    ) -> None:
        due = anyio.current_time()
        try:
            while True:
                data = first or await source.receive(self.piece)
                if self.rate:
                    due = max(due, anyio.current_time()) + len(data) / self.rate
                    await anyio.sleep_until(due)
                first = b""
                await waits().wait()
                if answers and self.forgets():
                    scope.cancel()
                    return
                if self.cut_after is not None and self.passed + len(data) > self.cut_after:
                    await target.send(data[: max(0, self.cut_after - self.passed)])
                    self.cut_after = None
                    self.cuts += 1
                    scope.cancel()
                    return
                self.passed += len(data)
                await target.send(data)
                await anyio.lowlevel.checkpoint()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            scope.cancel()

    def cut_websockets(self) -> None:
        """Reset every WebSocket that passes."""
        for scope in self.websockets:
            scope.cancel()
        self.websockets.clear()


@asynccontextmanager
async def middle_of(port: int) -> AsyncIterator[Middle]:
    """Stand before ``port``, on another one of 127.0.0.1, until the block ends."""
    middle = Middle(port)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    middle.port = listener.extra(anyio.abc.SocketAttribute.local_port)
    failure: BaseException | None = None
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, middle.serve)
        try:
            yield middle
        except Exception as error:
            # Raised below, since the group would wrap it.
            failure = error
        finally:
            group.cancel_scope.cancel()
    if failure is not None:
        raise failure
