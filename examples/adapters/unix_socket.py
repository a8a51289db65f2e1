"""An adapter in under 100 lines: batches over asyncio's streams, here on a Unix socket."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from telewire import Client, Limits, NetworkError, RemoteProtocolError, Request, Service
from telewire.runtime.backend import current_backend
from telewire.runtime.server import Server
from telewire.runtime.transport import AcceptTransport
from telewire.wire import BatchReader, write_batch

LIMITS = Limits()
FAREWELL = write_batch(b"")  # no batch is empty: an end of the bytes without this is a loss
ROOM = 64 * 1024


class StreamTransport:
    """A Transport: each batch is a CBOR byte string, as on every stream of bytes (TW-FRM-003)."""

    def __init__(self, reader: StreamReader, writer: StreamWriter, accept: AcceptTransport) -> None:
        self.request, self.writable = Request(native=writer), True
        self._reader, self._writer = reader, writer
        self._closing = self._aborted = False
        writer.transport.set_write_buffer_limits(high=ROOM, low=ROOM // 4)
        self._handler = accept(self)
        self._tasks = [asyncio.create_task(self._read())]

    def send(self, batches: Sequence[bytes]) -> None:
        if not self._closing and not self._aborted:
            self._writer.write(b"".join(map(write_batch, batches)))
            if self.writable and self._writer.transport.get_write_buffer_size() > ROOM:
                self.writable = False
                self._tasks[1:] = [asyncio.create_task(self._wait_for_room())]

    def close(self) -> None:
        if not self._closing and not self._aborted:
            self._closing = True
            self._writer.write(FAREWELL)
            asyncio.get_running_loop().call_later(LIMITS.cleanup_seconds, self.abort)

    def abort(self) -> None:
        self._aborted = True
        self._writer.transport.abort()  # it ends what our reader reads, too

    async def _wait_for_room(self) -> None:
        with suppress(ConnectionError):  # the reader tells
            await self._writer.drain()
            self.writable = True
            if not self._closing and not self._aborted:
                self._handler.transport_writable()

    async def _read(self) -> None:
        error: Exception | None = NetworkError("The connection ended without a farewell.")
        try:
            async for batch in self._batches():
                self._handler.batch_received(batch)
            error = None if self._closing and not self._aborted else error
        except (OSError, RemoteProtocolError) as lost:
            error = lost
        self._aborted = True
        self._writer.close() if error is None else self._writer.transport.abort()
        self._handler.transport_lost(error)

    async def _batches(self) -> AsyncIterator[bytes]:
        batches = BatchReader(LIMITS)
        while data := await self._reader.read(ROOM):
            self._handler.bytes_received()
            for batch in batches.receive_data(data):
                if not batch:
                    self.close()  # answers with a farewell of ours, behind what was sent
                if not batch or self._aborted:
                    return
                yield batch


@asynccontextmanager
async def serve_unix(service: Service, path: str) -> AsyncIterator[None]:
    server = Server(current_backend(), service)

    def connected(reader: StreamReader, writer: StreamWriter) -> None:
        StreamTransport(reader, writer, server.accept)

    listener = await asyncio.start_unix_server(connected, path)
    try:
        yield
    finally:
        listener.close()
        await server.aclose()


def connect_unix(path: str) -> Client:
    async def open_transport(accept: AcceptTransport) -> StreamTransport:
        return StreamTransport(*await asyncio.open_unix_connection(path), accept)

    return Client(open_transport)
