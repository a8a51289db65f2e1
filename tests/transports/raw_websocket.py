"""A hand-made end of a WebSocket, for what no library would say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import pytest
import wsproto
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Event, Request

from telewire.errors import ErrorCode
from telewire.limits import Limits
from telewire.wire import frames as f
from telewire.wire.codec import decode_batch, encode_batch, encode_frame

SUBPROTOCOL = "telewire.1"


def batch(*frames: f.Frame) -> bytes:
    return encode_batch([encode_frame(frame) for frame in frames])


class Peer:
    """A hand-made end of a WebSocket, which can also say what no WebSocket library would."""

    def __init__(self, stream: anyio.abc.SocketStream, kind: wsproto.ConnectionType) -> None:
        self.stream = stream
        self.socket = wsproto.WSConnection(kind)
        self.waiting: list[Event] = []

    async def event(self) -> Event:
        """The next thing that the other side says."""
        while not self.waiting:
            self.socket.receive_data(await self.stream.receive())
            self.waiting += self.socket.events()
        return self.waiting.pop(0)

    async def say(self, event: Event) -> None:
        await self.stream.send(self.socket.send(event))

    async def frames(self) -> list[f.Frame]:
        event = await self.event()
        assert isinstance(event, BytesMessage)
        return decode_batch(bytes(event.data), Limits())

    async def hears_the_end(self, code: ErrorCode, closed: int) -> None:
        """CLOSE as the last batch, then the close frame, then the end of the stream."""
        last: f.Frame | None = None
        while isinstance(event := await self.event(), BytesMessage):
            last = decode_batch(bytes(event.data), Limits())[-1]
        assert isinstance(last, f.Close)
        assert last.code == code
        assert isinstance(event, CloseConnection)
        assert event.code == closed
        with pytest.raises(anyio.EndOfStream):
            await self.stream.receive()


@asynccontextmanager
async def client_of(port: int, path: str = "/telewire") -> AsyncIterator[Peer]:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        peer = Peer(stream, wsproto.ConnectionType.CLIENT)
        await peer.say(Request(host=f"127.0.0.1:{port}", target=path, subprotocols=[SUBPROTOCOL]))
        assert isinstance(await peer.event(), AcceptConnection)
        yield peer
