"""Exchanges under pressure: producers that nobody reads are held, and a server that stops ends its calls."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import pytest

from telewire import (
    ByteStream,
    Connection,
    NetworkError,
    Service,
)
from telewire.testing.relay import open_relay
from telewire.wire.reader import write_batch
from telewire.wire.values import encode_value
from telewire_transports import connect, serve
from tests.transports.exchanges import Life, calling, serving, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def life() -> Life:
    return Life()


# --- the server leaves ---------------------------------------------------------------------------


async def test_a_server_that_stops_ends_calls_and_waits_for_their_clean_up() -> None:
    service = Service()
    cleaned: list[str] = []

    @service.function
    async def ticks() -> AsyncIterator[int]:
        try:
            yield 1
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                for _ in range(10):
                    await anyio.lowlevel.checkpoint()
            cleaned.append("cleaned")

    async with anyio.create_task_group() as group:
        started = anyio.Event()
        ports: list[int] = []
        stopped = anyio.Event()
        scope = anyio.CancelScope()

        def on_started(port: int) -> None:
            ports.append(port)
            started.set()

        async def run() -> None:
            with scope:
                await serve(service, port=0, on_started=on_started)
            stopped.set()
            assert cleaned == ["cleaned"]

        group.start_soon(run)
        await started.wait()
        url = f"http://127.0.0.1:{ports[0]}/telewire"
        async with connect(url, transport="exchange") as remote:
            iterator = await remote.ticks()
            assert await anext(iterator) == 1
            scope.cancel()
            with pytest.raises(NetworkError, match="going away"):
                await anext(iterator)
            await stopped.wait()
            with pytest.raises(NetworkError):
                await remote.ticks()


@pytest.mark.parametrize("name", ["wait", "ticks"])
async def test_a_connection_that_is_cut_ends_both_sides(life: Life, name: str) -> None:
    async with serving(life.service, hosts=("localhost",)) as url:
        port = int(url.split(":")[2].split("/")[0])
        async with (
            open_relay("localhost", port) as relay,
            connect(f"http://localhost:{relay.port}/telewire", transport="exchange") as remote,
        ):
            call = remote[name]()
            await until(lambda: life.waiting or life.produced)
            relay.cut()

            async def read() -> None:
                async for _ in await call:
                    await anyio.lowlevel.checkpoint()

            with pytest.raises(NetworkError, match=r"lost before its response|hung up|broke off"):
                await read()
            await until(lambda: life.cleaned)


# --- I2 ------------------------------------------------------------------------------------------


async def test_i2_a_producer_is_held_where_nobody_reads(life: Life) -> None:
    async with calling(life.service) as client:
        iterator = await client.remote.ticks()
        assert await anext(iterator) == 0
        await until(lambda: life.produced > 1)
        before = -1
        while before != life.produced:
            before = life.produced
            for _ in range(500):
                await anyio.lowlevel.checkpoint()
        await iterator.aclose()
        await until(lambda: life.cleaned)
    # An item costs 256 bytes: 64 KiB wait at the client, 128 KiB in the machine of the server; the rest is
    # in the buffers of the sockets, in which an item is two bytes.
    assert before * 2 < 8 * 1024 * 1024


async def test_i2_an_upload_waits_where_the_server_does_not_read() -> None:
    service = Service()
    sent = 0

    @service.function
    async def hold(data: ByteStream) -> None:
        await anyio.sleep_forever()

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 32_768
            yield bytes(32_768)

    async with calling(service) as client:
        call = client.remote.hold(ByteStream(chunks()))
        await until(lambda: sent)
        before = -1
        while before != sent:
            before = sent
            for _ in range(500):
                await anyio.lowlevel.checkpoint()
        call.cancel()
    assert before < 16 * 1024 * 1024


async def test_i2_bytes_wait_at_their_source_where_nobody_reads() -> None:
    service = Service()
    produced = 0

    @service.function
    async def download() -> ByteStream:
        async def chunks() -> AsyncIterator[bytes]:
            nonlocal produced
            while True:
                produced += 32_768
                yield bytes(32_768)

        return ByteStream(chunks())

    async with serving(service) as url:
        request = Connection("client", exchange=True)
        request.call("download", encode_value([[], {}]))
        body = b"".join(map(write_batch, request.data_to_send()))
        port = int(url.split(":")[2].split("/")[0])
        with socket.socket() as plain:
            # As little as the system allows, so that it is the server that has to wait.
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            plain.setblocking(False)
            try:
                plain.connect(("127.0.0.1", port))
            except BlockingIOError:
                await anyio.wait_writable(plain)
            head = (
                f"POST /telewire HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
                f"Content-Type: application/telewire\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            plain.send(head.encode() + body)
            await until(lambda: produced)
            before = -1
            while before != produced:
                before = produced
                for _ in range(500):
                    await anyio.lowlevel.checkpoint()
    kernel = 4 * 1024 * 1024
    assert before < 2 * 128 * 1024 + kernel
