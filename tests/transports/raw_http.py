"""A hand-made client of an HTTP session: its requests one by one, on plain sockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import anyio.abc

from telewire.core.connection import Connection
from telewire.limits import Limits
from telewire.wire.reader import BatchReader, write_batch
from telewire_transports.http1.events import EventReader

OURS = {"Content-Type": "application/telewire"}


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


class Raw:
    """Requests of a session, made by hand."""

    def __init__(self, port: int, path: str = "/telewire") -> None:
        self.port = port
        self.path = path
        self.session = ""
        self.core = Connection("client")
        self.core.states_positions = True
        self.reader: Any = None
        self.stream: anyio.abc.SocketStream

    async def ask(self, headers: dict[str, str], body: bytes = b"") -> tuple[int, bytes]:
        """One request on a connection of its own; the status and what came with it."""
        async with await self._send(headers, body) as stream:
            data = b""
            try:
                while True:
                    data += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return int(data.split(b" ", 2)[1]), data

    async def _send(self, headers: dict[str, str], body: bytes) -> anyio.abc.SocketStream:
        stream = await anyio.connect_tcp("127.0.0.1", self.port)
        every = {"Host": f"127.0.0.1:{self.port}", "Content-Length": str(len(body)), **OURS, **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in every.items())
        await stream.send(f"POST {self.path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        return stream

    async def open(self, **headers: str) -> str:
        """Open a downlink and hear the server's hello; gives the head of the response."""
        self.stream = await self._send({"Telewire-Session": "open", **headers}, b"")
        data = b""
        while b"\r\n\r\n" not in data:
            data += await self.stream.receive()
        head, _, rest = data.partition(b"\r\n\r\n")
        text = head.decode()
        self.session = text.lower().partition("telewire-session: ")[2].partition("\r\n")[0]
        # Names are told in lower case or not; what they say is not to be changed.
        start = text.lower().index(self.session)
        self.session = text[start : start + len(self.session)]
        self.reader = EventReader(Limits()) if "event-stream" in text else None
        self.rest = rest
        await self.hear(lambda: self.core.heard_of)
        return text

    async def hear(self, condition: Callable[[], bool]) -> None:
        """Read the response until a condition holds."""
        reader = self.reader or BatchReader(Limits())
        self.reader = reader
        while True:
            for batch in self._batches(reader):
                self.core.receive_data(batch, 0.0)
            if condition():
                return
            self.rest += await self.stream.receive()

    def _batches(self, reader: Any) -> list[bytes]:
        data = b""
        while b"\r\n" in self.rest:
            size, _, rest = self.rest.partition(b"\r\n")
            length = int(size, 16)
            if len(rest) < length + 2:
                break
            data, self.rest = data + rest[:length], rest[length + 2 :]
        if isinstance(reader, EventReader):
            batches, error = reader.cut(data)
            assert error is None
            return batches
        return list(reader.receive_data(data))

    async def to_the_end(self) -> None:
        """Read what is left of the response."""
        async with self.stream:
            try:
                while True:
                    await self.stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return

    async def post(self, body: bytes, **headers: str) -> int:
        """Post a body to the downlink; the status."""
        every = {"Telewire-Session": self.session, "Connection": "close", **headers}
        return (await self.ask(every, body))[0]

    def say(self) -> bytes:
        """What the client has to say, as the body of a POST."""
        return b"".join(map(write_batch, self.core.data_to_send()))
