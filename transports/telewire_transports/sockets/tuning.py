"""Socket options, buffer marks and binding: what both event loops share."""

from __future__ import annotations

import errno
import select
import socket
import sys
from collections.abc import Callable
from typing import Final

import anyio

__all__ = [
    "FLUSH_SECONDS",
    "HIGH_WATER",
    "LOW_WATER",
    "READ_BYTES",
    "TLS_DRAIN_SECONDS",
    "address",
    "bind",
    "hung_up",
    "tune",
]

HIGH_WATER: Final = 64 * 1024
"""Bytes waiting in a link above which it is not writable."""
LOW_WATER: Final = 16 * 1024
"""Bytes waiting in a link at which it becomes writable again."""
READ_BYTES: Final = 256 * 1024
"""The most bytes of one read; the same as asyncio's own."""
FLUSH_SECONDS: Final = 5.0
"""How long what is queued may take to leave after the peer has ended its side."""
TLS_DRAIN_SECONDS: Final = 1.0
"""How long a drained link stays open where TLS has no half-close."""
_UNSENT_BYTES: Final = 128 * 1024
_BACKLOG: Final = 1024
_ATTEMPTS: Final = 16


def tune(setsockopt: Callable[[int, int, int], None]) -> None:
    """Send small writes at once, and keep the kernel from queueing more than 128 KiB unsent.

    ``setsockopt`` is that method of a socket, asyncio's, trio's or a plain one.

    What the kernel has queued the scheduler can no longer reorder, so a long queue there would make
    a small call wait behind a large one.
    """
    try:
        setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        unsent: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
        if unsent is not None:
            setsockopt(socket.IPPROTO_TCP, unsent, _UNSENT_BYTES)
    except OSError:
        # Options only make it faster, and the peer may be gone already: the next read will say so.
        return


def hung_up(descriptor: int) -> bool:
    """Whether the peer of a socket has closed its side; false where the system does not tell."""
    if descriptor < 0:
        return True
    if sys.platform != "linux":
        return False
    asked = select.poll()
    asked.register(descriptor, select.POLLRDHUP)
    return bool(asked.poll(0))


def address(name: object) -> str | None:
    """Write a socket's name as ``host:port``; None for what is not TCP."""
    if not isinstance(name, tuple) or len(name) < 2:
        return None
    host, port = name[0], name[1]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


async def bind(host: str | None, port: int) -> list[socket.socket]:
    """Listen on every address of ``host``, all on one port; 0 chooses a free one.

    Raises:
        OSError: the address cannot be bound.
    """
    where = f"{host or 'every interface'} port {port}"
    try:
        # One name may have several addresses, and a port that is free on the first may be taken on the next.
        for _ in range(_ATTEMPTS - 1 if port == 0 else 0):
            try:
                return await _bind_once(host, port)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
        return await _bind_once(host, port)
    except OSError as error:
        raise OSError(
            error.errno,
            f"Could not listen on {where}: {error.strerror or error}; "
            "choose another address, or port 0 for any free port",
        ) from error


async def _bind_once(host: str | None, port: int) -> list[socket.socket]:
    found = await anyio.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    bound: list[socket.socket] = []
    unavailable: OSError | None = None
    try:
        for family, kind, protocol, _, name in dict.fromkeys(found):
            if family not in (socket.AF_INET, socket.AF_INET6):
                continue
            try:
                plain = socket.socket(family, kind, protocol)
            except OSError as error:
                unavailable = error
                continue
            bound.append(plain)
            if sys.platform != "win32":
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                plain.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            plain.setblocking(False)
            try:
                plain.bind((name[0], port, *name[2:]))
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL:
                    raise
                # A machine may name an IPv6 address and have none.
                unavailable = error
                bound.pop().close()
                continue
            plain.listen(_BACKLOG)
            port = int(plain.getsockname()[1])
        if not bound:
            raise unavailable or OSError(errno.EADDRNOTAVAIL, "it has no TCP address")
    except BaseException:
        for plain in bound:
            plain.close()
        raise
    return bound
