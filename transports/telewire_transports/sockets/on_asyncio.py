"""Byte links on asyncio: a Protocol that is called, no stream that is awaited."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Final, cast, final
from weakref import WeakKeyDictionary

from telewire.runtime.backend import current_backend
from telewire_transports.sockets.contract import NOBODY, ByteHandler, Gate, LinkFactory
from telewire_transports.sockets.tuning import (
    FLUSH_SECONDS,
    HIGH_WATER,
    LOW_WATER,
    TLS_DRAIN_SECONDS,
    address,
    hung_up,
    tune,
)

__all__ = ["AsyncioLink", "AsyncioListener", "listen", "open_link"]


READ_BYTES: Final = 256 * 1024
_ACCEPTED_PASSES: Final = 3


def _make_buffer(loop: asyncio.AbstractEventLoop) -> memoryview:
    """The buffer that all links of a loop read into, one after the other.

    A ``Protocol`` would have asyncio make one of this size for each read, which costs ten times as much
    as reading a small batch (9 against 1 µs). What was read is copied out before anybody else reads.
    """
    buffer = _buffers.get(loop)
    if buffer is None:
        buffer = _buffers[loop] = memoryview(bytearray(READ_BYTES))
    return buffer


_buffers: WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview] = WeakKeyDictionary()


@final
class AsyncioLink(asyncio.BufferedProtocol):
    """A :class:`ByteLink` over an asyncio transport."""

    # One for each connection, of which there may be ten thousand: a dict would take 600 bytes more.
    __slots__ = (
        "_buffer",
        "_closing",
        "_deadline",
        "_early",
        "_factory",
        "_loop",
        "_lost",
        "_made",
        "_transport",
        "handler",
        "local_port",
        "peer",
        "tls",
        "writable",
    )

    handler: ByteHandler

    def __init__(self, factory: LinkFactory) -> None:
        self._factory: LinkFactory | None = factory
        self._loop = asyncio.get_running_loop()
        self._buffer = _make_buffer(self._loop)
        self._closing = False
        self._lost = False
        self._deadline: asyncio.TimerHandle | None = None
        # What comes between the end of a TLS handshake and our hearing of it.
        self._early = b""
        self._made = False
        self.writable = True
        self.peer: str | None = None
        self.local_port = 0
        self.tls = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport and make the handler."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        self.peer = address(transport.get_extra_info("peername"))
        self.local_port = (transport.get_extra_info("sockname") or ("", 0))[1]
        self.tls = transport.get_extra_info("ssl_object") is not None
        plain = transport.get_extra_info("socket")
        if plain is not None:
            tune(plain.setsockopt)
        self._made = True
        factory, self._factory = self._factory, None
        assert factory is not None, "a connection is made once"
        # It is kept no longer: a client's is its handshake, with all that it has made.
        self.handler = factory(self)
        if self._early:
            early, self._early = self._early, b""
            self.handler.data_received(early)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Pass on some bytes, unless we have closed."""
        data = bytes(self._buffer[:nbytes])
        if not self._made:
            self._early += data
        elif not self._closing:
            self.handler.data_received(data)

    def eof_received(self) -> None:
        """Answer an end of file with ours, once what is queued has left."""
        if self._made:
            self.close(within=FLUSH_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the loss; what goes wrong after our own close, under TLS say, is no loss."""
        self._lost = True
        if not self._made:
            return
        if self._deadline is not None:
            self._deadline.cancel()
        if self._closing:
            exc = None
        self._closing = True
        handler, self.handler = self.handler, NOBODY
        handler.link_lost(exc)

    def pause_writing(self) -> None:
        """Note that the high-water mark is passed; asyncio calls this inside of write."""
        self.writable = False

    def resume_writing(self) -> None:
        """Report later: under TLS, asyncio may call this inside of write too."""
        self.writable = True
        self._loop.call_soon(self._resumed)

    def _resumed(self) -> None:
        if self.writable and not self._closing:
            self.handler.link_writable()

    @property
    def hung_up(self) -> bool:
        """Whether the peer has closed its side, read or not."""
        plain = self._transport.get_extra_info("socket")
        return self._lost or (plain is not None and hung_up(plain.fileno()))

    def pause_reading(self) -> None:
        """Read nothing more."""
        if not self._closing:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if not self._closing:
            self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Queue bytes."""
        if not self._closing:
            self._transport.write(data)

    def writelines(self, pieces: Sequence[bytes]) -> None:
        """Queue several pieces in one write: joining them costs less than a second system call."""
        if not self._closing:
            self._transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def close(self, *, within: float, drain: bool = False) -> None:
        """Send what is queued, then close."""
        if self._closing:
            return
        # The peer's end must be seen.
        self._transport.resume_reading()
        self._closing = True
        self._deadline = self._loop.call_later(within, self._transport.abort)
        if not drain:
            self._transport.close()
        elif self._transport.can_write_eof():
            try:
                self._transport.write_eof()
            except OSError:
                # The peer is gone, and nobody has told us yet.
                self._transport.abort()
        else:
            # asyncio's TLS drops its output when bytes of the peer cross our close, so leave it some time.
            self._loop.call_later(min(within, TLS_DRAIN_SECONDS), self._transport.close)

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        # asyncio itself fails where its transport is closed already.
        if not self._lost:
            self._transport.abort()


@final
class _Handshake(asyncio.Protocol):
    """A connection before its TLS handshake is over: nobody's link yet, and counted already."""

    def __init__(
        self, factory: LinkFactory, context: ssl.SSLContext, seconds: float, gate: Gate | None
    ) -> None:
        self._factory = factory
        self._context = context
        self._seconds = seconds
        self._gate = gate

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake, where there is room for one."""
        plain = cast(asyncio.Transport, transport)
        # What comes is for TLS, which reads again when it is there.
        plain.pause_reading()
        over = _nothing if self._gate is None else self._gate(address(plain.get_extra_info("peername")))
        if over is None:
            plain.abort()
        else:
            current_backend().spawn(self._encrypt, plain, over)

    async def _encrypt(self, plain: asyncio.Transport, over: Callable[[], object]) -> None:
        link = AsyncioLink(self._factory)
        try:
            encrypted = await asyncio.get_running_loop().start_tls(
                plain, link, self._context, server_side=True, ssl_handshake_timeout=self._seconds
            )
        except OSError:
            # Whoever cannot finish a handshake is no peer of ours to report.
            return
        finally:
            over()
        if encrypted is None or encrypted.is_closing():
            return
        link.connection_made(encrypted)


def _nothing() -> None:
    """What is to be done where nobody counts."""


@final
class AsyncioListener:
    """The servers of one port, one for each address."""

    def __init__(self, port: int, servers: list[asyncio.Server]) -> None:
        self.port = port
        self._servers = servers

    async def aclose(self) -> None:
        """Accept no more. Links live on, so this does not wait for them as wait_closed would."""
        # Whom asyncio has accepted just now it tells us of two passes later; where the server is closed by
        # then it fails, and leaves the connection open with nobody to know of it.
        loop = asyncio.get_running_loop()
        for plain in (plain for server in self._servers for plain in server.sockets):
            # Where a loop watches no descriptors, as on Windows, it takes in no more than one at a time.
            with contextlib.suppress(NotImplementedError):
                loop.remove_reader(plain.fileno())
        for _ in range(_ACCEPTED_PASSES):
            await asyncio.sleep(0)
        for server in self._servers:
            server.close()


async def open_link(
    host: str, port: int, factory: LinkFactory, ssl_context: ssl.SSLContext | None
) -> AsyncioLink:
    """Connect; raises OSError."""
    _, link = await asyncio.get_running_loop().create_connection(
        lambda: AsyncioLink(factory), host, port, ssl=ssl_context
    )
    return link


async def listen(
    sockets: list[socket.socket],
    factory: LinkFactory,
    ssl_context: ssl.SSLContext | None,
    handshake_timeout: float,
    gate: Gate | None,
) -> AsyncioListener:
    """Accept links on sockets that are bound."""
    loop = asyncio.get_running_loop()

    def make() -> asyncio.BaseProtocol:
        if ssl_context is None:
            return AsyncioLink(factory)
        return _Handshake(factory, ssl_context, handshake_timeout, gate)

    servers: list[asyncio.Server] = []
    try:
        for plain in sockets:
            servers.append(await loop.create_server(make, sock=plain, start_serving=False))
        for server in servers:
            # It waits for a pass of the loop, and whoever is cancelled meanwhile gets no listener to close.
            await server.start_serving()
    except BaseException:
        for server in servers:
            server.close()
        raise
    return AsyncioListener(int(sockets[0].getsockname()[1]), servers)
