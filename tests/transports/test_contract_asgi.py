"""The ASGI adapter keeps the contract of transports: each of its carriers, on a real server."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

import anyio
import pytest

from telewire import Service
from telewire.runtime.transport import AcceptTransport, Request, Transport, TransportHandler, TransportName
from telewire.testing.relay import Relay, open_relay
from telewire.testing.transports import Recorder, check_transport
from telewire_transports.asgi import TelewireASGI
from telewire_transports.http1 import Http1Client, HttpSessions
from telewire_transports.websocket import connect_websocket
from tests.transports.hypercorn_here import under_hypercorn

pytestmark = pytest.mark.anyio


class Door:
    """Stands where the application keeps its ``Server``: hands each carrier to a recorder."""

    def __init__(self, accept: AcceptTransport) -> None:
        self._accept = accept
        self.accepted: list[Recorder] = []

    def accept(self, transport: Transport) -> TransportHandler:
        handler = self._accept(transport)
        assert isinstance(handler, Recorder)
        self.accepted.append(handler)
        return handler

    accept_exchange = accept

    def principal_of(self, request: Request) -> Hashable:
        return None

    async def first(self) -> Recorder:
        """The recorder of the one carrier, once something has come on it."""
        with anyio.fail_after(20):
            while not self.accepted or not self.accepted[0].batches:
                await anyio.lowlevel.checkpoint()
        return self.accepted[0]


@asynccontextmanager
async def running(accept: AcceptTransport) -> AsyncIterator[tuple[Door, Relay]]:
    """The application under hypercorn, in this loop, and a relay that can cut."""
    door = Door(accept)
    application = TelewireASGI(Service(), hosts=("127.0.0.1",))
    application._server = door  # type: ignore[assignment]  # the machine is not what is proved here
    async with under_hypercorn(application) as port, open_relay("127.0.0.1", port) as relay:
        yield door, relay


@asynccontextmanager
async def websocket_pair(server: AcceptTransport, client: AcceptTransport) -> AsyncIterator[Relay]:
    async with running(server) as (_, relay):
        await connect_websocket(f"ws://127.0.0.1:{relay.port}/telewire", client)
        yield relay


@asynccontextmanager
async def session_pair(
    server: AcceptTransport, client: AcceptTransport, kind: TransportName
) -> AsyncIterator[Relay]:
    heard: list[Recorder] = []

    def greet(transport: Transport) -> TransportHandler:
        handler = server(transport)
        # As every server: the head of the response leaves with it.
        transport.send([b"hello"])
        return handler

    def begin(transport: Transport) -> TransportHandler:
        handler = client(transport)
        assert isinstance(handler, Recorder)
        heard.append(handler)
        # It proves the way up.
        transport.send([b"first"])
        return handler

    async with running(greet) as (door, relay):
        maker = Http1Client(f"http://127.0.0.1:{relay.port}/telewire")
        await HttpSessions(maker, kind)(begin)
        await heard[0].until(lambda: bool(heard[0].batches))
        heard[0].batches.clear()
        (await door.first()).batches.clear()
        yield relay
        maker.close()


@asynccontextmanager
async def exchange_pair(server: AcceptTransport, client: AcceptTransport) -> AsyncIterator[Relay]:
    async with running(server) as (door, relay):
        maker = Http1Client(f"http://127.0.0.1:{relay.port}/telewire")
        exchange = maker.make()
        handler = client(exchange)
        exchange.open(handler)
        assert isinstance(handler, Recorder)
        await handler.until(lambda: handler.writable_signs > 0)
        # The server hears of an exchange by its first bytes.
        handler.send(b"first")
        (await door.first()).batches.clear()
        handler.writable_signs = 0
        yield relay
        maker.close()


async def test_its_websocket_keeps_the_contract() -> None:
    await check_transport(websocket_pair, deaf_close=True)


@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_its_sessions_keep_the_contract(kind: TransportName) -> None:
    await check_transport(functools.partial(session_pair, kind=kind), deaf_close=True)


async def test_its_exchanges_keep_the_contract() -> None:
    await check_transport(exchange_pair, exchange=True)
