"""Byte links on trio: a reader task and a writer task behind the same push-style surface."""

from __future__ import annotations

import errno
import math
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, final

import trio

from telewire.runtime.backend import Backend, Task, Timer, current_backend
from telewire_transports.sockets.contract import NOBODY, ByteHandler, Gate, LinkFactory
from telewire_transports.sockets.tuning import (
    FLUSH_SECONDS,
    HIGH_WATER,
    LOW_WATER,
    READ_BYTES,
    TLS_DRAIN_SECONDS,
    address,
    hung_up,
    tune,
)

__all__ = ["TrioLink", "TrioListener", "listen", "open_link"]

_Plain: TypeAlias = trio.SocketStream
_Encrypted: TypeAlias = "trio.SSLStream[trio.SocketStream]"

_NO_CAPACITY: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_CAPACITY_PAUSE: Final = 0.1
_ACCEPTED_PASSES: Final = 3


@final
class TrioLink:
    """A :class:`ByteLink` over a trio stream; its tasks belong to the backend's nursery."""

    handler: ByteHandler

    def __init__(self, plain: _Plain, encrypted: _Encrypted | None, factory: LinkFactory) -> None:
        self._plain = plain
        self._encrypted = encrypted
        self._stream: _Plain | _Encrypted = encrypted or plain
        self._backend: Backend = current_backend()
        self._queue: deque[bytes] = deque()
        self._waiting = 0
        self._wake = trio.Event()
        self._readable: trio.Event | None = None
        self._scope = trio.CancelScope()
        self._closing = False
        self._drain = False
        self._deadline: Timer | None = None
        self._error: Exception | None = None
        self.writable = True
        self.tls = encrypted is not None
        self.local_port = int(plain.socket.getsockname()[1])
        try:
            self.peer = address(plain.socket.getpeername())
        except OSError:
            # It has hung up since; the reader will find out.
            self.peer = None
        tune(plain.socket.setsockopt)
        self.handler = factory(self)
        self._backend.spawn(self._run)

    async def _run(self) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    await self._read()
        finally:
            self._closing = True
            if self._deadline is not None:
                self._deadline.cancel()
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(self._stream)
        handler, self.handler = self.handler, NOBODY
        handler.link_lost(self._error)

    async def _read(self) -> None:
        try:
            while True:
                while self._readable is not None:
                    await self._readable.wait()
                data = await self._stream.receive_some(READ_BYTES)
                if not data:
                    break
                if not self._closing:
                    self.handler.data_received(bytes(data))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._lost(error)
            return
        if self._drain or self._scope.cancel_called:
            self._scope.cancel()
        else:
            self.close(within=FLUSH_SECONDS)

    async def _write(self) -> None:
        try:
            while True:
                while self._queue:
                    await self._write_some()
                if self._closing:
                    break
                self._wake = trio.Event()
                await self._wake.wait()
            if self._encrypted is None:
                if self._drain:
                    await self._plain.send_eof()
                    return
            else:
                if self._drain:
                    # The reader ends this sooner, when the peer has closed.
                    await trio.sleep(TLS_DRAIN_SECONDS)
                await self._encrypted.aclose()
            self._scope.cancel()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._lost(error)

    async def _write_some(self) -> None:
        taken = [self._queue.popleft()]
        size = len(taken[0])
        while self._queue and size + len(self._queue[0]) <= HIGH_WATER:
            taken.append(self._queue.popleft())
            size += len(taken[-1])
        await self._stream.send_all(taken[0] if len(taken) == 1 else b"".join(taken))
        self._waiting -= size
        if not self.writable and self._waiting <= LOW_WATER:
            self.writable = True
            if not self._closing:
                self.handler.link_writable()

    def _lost(self, error: Exception) -> None:
        if not self._closing and self._error is None:
            cause = error.__cause__
            self._error = cause if isinstance(cause, Exception) else error
        self._scope.cancel()

    @property
    def hung_up(self) -> bool:
        """Whether the peer has closed its side, read or not."""
        return hung_up(self._plain.socket.fileno())

    def pause_reading(self) -> None:
        """Read nothing more, behind the read that goes on."""
        if self._readable is None and not self._closing:
            self._readable = trio.Event()

    def resume_reading(self) -> None:
        """Read again."""
        if self._readable is not None:
            self._readable.set()
            self._readable = None

    def write(self, data: bytes) -> None:
        """Queue bytes for the writer."""
        self.writelines((data,))

    def writelines(self, pieces: Sequence[bytes]) -> None:
        """Queue several pieces, in order."""
        if self._closing:
            return
        self._queue.extend(pieces)
        for piece in pieces:
            self._waiting += len(piece)
        if self._waiting > HIGH_WATER:
            self.writable = False
        self._wake.set()

    def close(self, *, within: float, drain: bool = False) -> None:
        """Send what is queued, then close."""
        if self._closing:
            return
        # The peer's end must be seen.
        self.resume_reading()
        self._closing = True
        self._drain = drain
        self._deadline = self._backend.call_at(self._backend.now() + within, self._scope.cancel)
        self._wake.set()

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        self._scope.cancel()


def _nothing() -> None:
    """What is to be done where nobody counts."""


def _peer_of(plain: trio.SocketStream) -> str | None:
    try:
        return address(plain.socket.getpeername())
    except OSError:
        # It is gone already, as its link will find out.
        return None


@final
class TrioListener:
    """The accepting tasks of one port, one for each address."""

    def __init__(self, port: int, listeners: list[trio.SocketListener], tasks: list[Task]) -> None:
        self.port = port
        self._listeners = listeners
        self._tasks = tasks

    async def aclose(self) -> None:
        """Accept no more; links live on."""
        for task in self._tasks:
            task.cancel()
        for listener in self._listeners:
            await listener.aclose()
        # A task that has accepted somebody just now hands him out in its next step.
        for _ in range(_ACCEPTED_PASSES):
            await trio.lowlevel.checkpoint()


async def open_link(
    host: str, port: int, factory: LinkFactory, ssl_context: ssl.SSLContext | None
) -> TrioLink:
    """Connect; raises OSError."""
    plain = await trio.open_tcp_stream(host, port)
    if ssl_context is None:
        return TrioLink(plain, None, factory)
    encrypted = trio.SSLStream(plain, ssl_context, server_hostname=host)
    try:
        await encrypted.do_handshake()
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(plain)
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        raise ConnectionResetError("the other side hung up during the TLS handshake") from error
    except BaseException:
        await trio.aclose_forcefully(plain)
        raise
    return TrioLink(plain, encrypted, factory)


async def listen(
    sockets: list[socket.socket],
    factory: LinkFactory,
    ssl_context: ssl.SSLContext | None,
    handshake_timeout: float,
    gate: Gate | None,
) -> TrioListener:
    """Accept links on sockets that are bound."""
    backend = current_backend()
    listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(plain)) for plain in sockets]
    timeout = math.inf if ssl_context is None else handshake_timeout

    async def encrypt(plain: trio.SocketStream, context: ssl.SSLContext, over: Callable[[], object]) -> None:
        encrypted = trio.SSLStream(plain, context, server_side=True)
        finished = False
        try:
            with trio.move_on_after(timeout):
                await encrypted.do_handshake()
                finished = True
        except trio.BrokenResourceError:
            # Whoever cannot finish a handshake is no peer of ours to report.
            finished = False
        finally:
            over()
            if not finished:
                with trio.CancelScope(shield=True):
                    await trio.aclose_forcefully(plain)
        if finished:
            TrioLink(plain, encrypted, factory)

    async def accept(listener: trio.SocketListener) -> None:
        while True:
            try:
                plain = await listener.accept()
            except trio.ClosedResourceError:
                return
            except OSError as error:
                if error.errno not in _NO_CAPACITY:
                    raise
                # Out of descriptors: links that end give some back; asking again at once would spin.
                await trio.sleep(_CAPACITY_PAUSE)
                continue
            if ssl_context is None:
                TrioLink(plain, None, factory)
                continue
            over = _nothing if gate is None else gate(_peer_of(plain))
            if over is None:
                await trio.aclose_forcefully(plain)
            else:
                backend.spawn(encrypt, plain, ssl_context, over)

    port = int(sockets[0].getsockname()[1])
    return TrioListener(port, listeners, [backend.spawn(accept, listener) for listener in listeners])
