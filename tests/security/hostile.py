"""A server or client made by hand that says what it likes, in memory, to a real one of the other side."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, final

from telewire import Client, Limits, Service
from telewire.runtime.backend import current_backend
from telewire.runtime.server import Server
from telewire.runtime.transport import AcceptTransport, Request, Transport
from telewire.wire import frames as f
from telewire.wire.codec import decode_batch, encode_batch, encode_frame
from telewire_transports import MemoryLink
from tests.core.dialogue import hello
from tests.runtime.world import until

__all__ = ["NASTY", "Hostile", "harmless", "hostile_client", "hostile_server"]

NASTY: Final = {
    "colours": "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "lines": "line\r\n2026-01-01 ERROR root: forged\n\x0b\x0c\x85\u2028\u2029",
    "control": "".join(map(chr, [*range(32), *range(127, 160)])),
    "direction": "\u202egpj.exe\u2066\u200b\ufeff",
    "long": "x" * 1_000_000,
    "long and nasty": "\x1b[2J\n" * 200_000,
}
"""Texts that a terminal would obey, a log would take for more than one line, or nobody could read."""

SHOWN = 1_200


def harmless(text: str) -> bool:
    """Whether a text can stand in a log or on a terminal: one line, nothing to obey, not too long."""
    return text.isprintable() and len(text) < SHOWN


Answer = Callable[[f.Frame], Sequence[f.Frame]]


@final
class Hostile:
    """The hand-made side: it says hello as the side it plays, then what ``answer`` makes of each frame."""

    def __init__(self, answer: Answer, *, server: bool, limits: Limits | None = None) -> None:
        self._answer = answer
        self._server = server
        self._hello = hello(limits, **({"session": b"s" * 16, "token": b"t" * 16} if server else {}))
        self.heard: list[f.Frame] = []
        self.lost = False
        self.transport: Transport

    def begin(self, transport: Transport) -> Hostile:
        """Take the transport."""
        self.transport = transport
        if self._server:
            self.say(self._hello)
        return self

    def say(self, *frames: f.Frame) -> None:
        """Send frames as one batch."""
        self.transport.send([encode_batch([encode_frame(frame) for frame in frames])])

    def batch_received(self, batch: bytes) -> None:
        """Answer each frame."""
        for frame in decode_batch(batch, Limits(batch_bytes=1 << 24)):
            self.heard.append(frame)
            if isinstance(frame, f.Hello) and not self._server:
                self.say(self._hello)
            for answer in self._answer(frame):
                self.say(answer)

    def bytes_received(self) -> None:
        """Nothing to note."""

    def transport_writable(self) -> None:
        """Nothing waits."""

    def transport_lost(self, error: Exception | None) -> None:
        """Note the end."""
        self.lost = True


def fragments(reference: int, first: Callable[..., f.Frame], payload: bytes) -> list[f.Frame]:
    """A payload of any size, in as many frames as it takes; ``first`` gets flags, size and the first part."""
    parts = [payload[begin : begin + 65536] for begin in range(0, len(payload), 65536)] or [b""]
    last = len(parts) - 1
    frames = [first(int(last > 0), len(payload), parts[0])]
    return frames + [f.Fragment(reference, int(index < last), parts[index]) for index in range(1, last + 1)]


@asynccontextmanager
async def hostile_server(answer: Answer) -> AsyncIterator[tuple[Client, Hostile]]:
    """A real client of a hand-made server; enter the client."""
    hostile = Hostile(answer, server=True)

    async def open_transport(accept: AcceptTransport) -> Transport:
        link = MemoryLink(current_backend(), Request(transport="memory"))
        link.server.accept(hostile.begin)
        link.client.accept(accept)
        return link.client

    yield Client(open_transport), hostile


@asynccontextmanager
async def hostile_client(
    service: Service[None], answer: Answer, limits: Limits | None = None
) -> AsyncIterator[Hostile]:
    """A hand-made client of a real server, after the hellos."""
    server = Server(current_backend(), service, limits)
    hostile = Hostile(answer, server=False)
    link = MemoryLink(current_backend(), Request(transport="memory"))
    link.server.accept(server.accept)
    link.client.accept(hostile.begin)
    await until(lambda: bool(hostile.heard))
    try:
        yield hostile
    finally:
        link.cut()
        await server.abort()
