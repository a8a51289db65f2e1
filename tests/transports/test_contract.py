"""Each transport keeps the contract, on each backend, and over a real socket where it has one."""

from __future__ import annotations

import functools
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from telewire.errors import NetworkError
from telewire.limits import Limits
from telewire.runtime.backend import current_backend
from telewire.runtime.transport import AcceptTransport, Transport, TransportHandler
from telewire.testing.relay import Relay, open_relay
from telewire.testing.transports import Recorder, TransportPair, check_transport
from telewire_transports.http1 import Http1Client, serve_http1
from telewire_transports.memory import MemoryLink
from telewire_transports.websocket import connect_websocket, serve_websocket

pytestmark = pytest.mark.anyio

LIMITS = Limits()


@asynccontextmanager
async def memory_pair(left: AcceptTransport, right: AcceptTransport) -> AsyncIterator[TransportPair]:
    link = MemoryLink(current_backend())
    link.client.accept(left)
    link.server.accept(right)
    yield link


@asynccontextmanager
async def websocket_pair(left: AcceptTransport, right: AcceptTransport) -> AsyncIterator[Relay]:
    listener = await serve_websocket(right, port=0, hosts=("127.0.0.1",))
    async with open_relay("127.0.0.1", listener.port) as relay:
        await connect_websocket(f"ws://127.0.0.1:{relay.port}/telewire", left)
        yield relay
    await listener.aclose()


@asynccontextmanager
async def websocket_pair_reversed(left: AcceptTransport, right: AcceptTransport) -> AsyncIterator[Relay]:
    """The same, with the server as the side that is driven hardest."""
    async with websocket_pair(right, left) as relay:
        yield relay


@asynccontextmanager
async def http1_pair(
    server: AcceptTransport,
    client: AcceptTransport,
    tls: tuple[ssl.SSLContext | None, ssl.SSLContext | None] = (None, None),
) -> AsyncIterator[Relay]:
    """The server of an exchange, which may close it, and its client, which takes what comes."""
    accepted: list[Recorder] = []

    def accept(transport: Transport) -> TransportHandler:
        handler = server(transport)
        assert isinstance(handler, Recorder)
        accepted.append(handler)
        return handler

    serving, trusting = tls
    listener = await serve_http1(accept, port=0, hosts=("localhost",), ssl_context=serving)
    async with open_relay("127.0.0.1", listener.port) as relay:
        scheme = "http" if trusting is None else "https"
        maker = Http1Client(f"{scheme}://localhost:{relay.port}/telewire", ssl_context=trusting)
        exchange = maker.make()
        handler = client(exchange)
        exchange.open(handler)
        assert isinstance(handler, Recorder)
        await handler.until(lambda: handler.writable_signs)
        # The server hears of an exchange by its first bytes.
        handler.send(b"first")
        while not accepted:
            await anyio.lowlevel.checkpoint()
        await accepted[0].until(lambda: accepted[0].batches)
        accepted[0].batches.clear()
        handler.writable_signs = 0
        yield relay
        maker.close()
    await listener.aclose()


async def test_memory_keeps_the_contract() -> None:
    await check_transport(memory_pair)


async def test_websocket_client_keeps_the_contract() -> None:
    await check_transport(websocket_pair)


async def test_websocket_server_keeps_the_contract() -> None:
    await check_transport(websocket_pair_reversed)


async def test_http1_keeps_the_contract() -> None:
    await check_transport(http1_pair, exchange=True)


async def test_http1_over_tls_keeps_the_contract(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    await check_transport(functools.partial(http1_pair, tls=tls), exchange=True)


async def test_websocket_over_tls_keeps_the_contract(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    serving, trusting = tls

    @asynccontextmanager
    async def pair(left: AcceptTransport, right: AcceptTransport) -> AsyncIterator[Relay]:
        listener = await serve_websocket(right, port=0, hosts=("localhost",), ssl_context=serving)
        async with open_relay("127.0.0.1", listener.port) as relay:
            url = f"wss://localhost:{relay.port}/telewire"
            await connect_websocket(url, left, ssl_context=trusting)
            yield relay
        await listener.aclose()

    await check_transport(pair)


class Bad:
    """A memory transport with one fault, so that the check is seen to fail."""

    def __init__(self, transport: Transport, fault: str) -> None:
        self.transport = transport
        self.fault = fault
        self.handler: TransportHandler | None = None
        self.kept: bytes | None = None

    @property
    def request(self) -> object:
        return self.transport.request

    @property
    def writable(self) -> bool:
        return self.fault == "always writable" or self.transport.writable

    def send(self, batches: tuple[bytes, ...]) -> None:
        if self.fault == "reorders" and len(batches) > 1:
            batches = tuple(reversed(batches))
        if self.fault == "splits":
            batches = tuple(part for batch in batches for part in (batch[:100], batch[100:]) if part)
        if self.fault == "calls back" and self.handler is not None:
            self.handler.bytes_received()
        self.transport.send(batches)

    def close(self) -> None:
        if self.fault == "close drops":
            self.transport.abort()
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()


@pytest.mark.parametrize(
    ("fault", "point"),
    [
        ("reorders", "order"),
        ("splits", "order"),
        ("calls back", "order"),
        ("always writable", "still writable"),
        ("close drops", "close was reported"),
    ],
)
async def test_the_check_finds(fault: str, point: str) -> None:
    @asynccontextmanager
    async def pair(left: AcceptTransport, right: AcceptTransport) -> AsyncIterator[TransportPair]:
        link = MemoryLink(current_backend())
        bad = Bad(link.client, fault)
        bad.handler = left(bad)  # type: ignore[arg-type]  # a fake with a fault
        link.client.start(bad.handler)
        link.server.accept(right)
        yield link

    with pytest.raises(AssertionError, match=point):
        await check_transport(pair)


async def test_the_check_finds_a_second_loss() -> None:
    @asynccontextmanager
    async def pair(left: AcceptTransport, right: AcceptTransport) -> AsyncIterator[TransportPair]:
        link = MemoryLink(current_backend())
        link.client.accept(left)

        def twice(transport: Transport) -> TransportHandler:
            handler = right(transport)
            assert isinstance(handler, Recorder)
            lost = handler.transport_lost

            def again(error: Exception | None) -> None:
                lost(error)
                lost(error)

            handler.transport_lost = again  # type: ignore[method-assign]
            return handler

        link.server.accept(twice)
        yield link

    with pytest.raises(AssertionError, match="after transport_lost"):
        await check_transport(pair)


async def test_the_check_does_not_wait_for_ever() -> None:
    @asynccontextmanager
    async def pair(left: AcceptTransport, right: AcceptTransport) -> AsyncIterator[TransportPair]:
        link = MemoryLink(current_backend())
        link.client.accept(left)
        link.server.accept(right)
        link.hold()
        yield link

    with pytest.raises(TimeoutError):
        await check_transport(pair, seconds=0.05)


async def test_hold_cut_and_refuse_of_a_memory_link() -> None:
    link = MemoryLink(current_backend())
    left, right = Recorder("left"), Recorder("right")
    link.client.accept(left.accept)
    left.send(b"waits for a handler")
    link.server.accept(right.accept)
    await right.until(lambda: len(right.batches) == 1)
    link.hold()
    left.send(b"never arrives")
    await anyio.lowlevel.checkpoint()
    link.refuse("Too many sessions.")
    assert str(await left.lost()) == str(await right.lost()) == "Too many sessions."
    assert isinstance(left.losses[0], NetworkError)
    link.release()
    link.cut()
    await anyio.lowlevel.checkpoint()
    assert right.batches == [b"waits for a handler"]
    assert len(left.losses) == len(right.losses) == 1
    assert left.complaints == right.complaints == []


async def test_a_handler_that_comes_late_still_learns_of_the_loss() -> None:
    link = MemoryLink(current_backend())
    link.cut()
    left = Recorder("left")
    link.client.accept(left.accept)
    assert left.losses == []
    assert isinstance(await left.lost(), NetworkError)
