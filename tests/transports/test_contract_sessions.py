"""An HTTP session keeps the contract of transports, on each backend, from either side, in each form."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from telewire.limits import Limits
from telewire.runtime.transport import AcceptTransport, Transport, TransportHandler, TransportName
from telewire.testing.relay import Relay, open_relay
from telewire.testing.transports import Recorder, check_transport
from telewire_transports.downlinks import Downlinks
from telewire_transports.http1 import Http1Client, HttpSessions, session_route
from telewire_transports.web_door import listen_web, make_door

pytestmark = pytest.mark.anyio


class Heard:
    """Lets the first batch of a client, which proves the way up, pass by the recorder."""

    def __init__(self, recorder: TransportHandler) -> None:
        assert isinstance(recorder, Recorder)
        self.recorder = recorder
        taken = recorder.batch_received
        recorder.batch_received = self.first  # type: ignore[method-assign]  # told in its place
        self.taken = taken

    def first(self, batch: bytes) -> None:
        assert batch == b"first"
        self.recorder.batch_received = self.taken  # type: ignore[method-assign]  # told in its place


@asynccontextmanager
async def session_pair(
    server: AcceptTransport, client: AcceptTransport, kind: TransportName
) -> AsyncIterator[Relay]:
    def accept(transport: Transport) -> Recorder:
        return Heard(server(transport)).recorder

    def begin(transport: Transport) -> TransportHandler:
        handler = client(transport)
        transport.send([b"first"])
        return handler

    door = make_door("127.0.0.1", "/telewire", Limits(), (), ("127.0.0.1",))
    downlinks = Downlinks(lambda request: None)
    door.routes[b"POST"] = session_route(accept, door, downlinks)
    listener = await listen_web(door, host="127.0.0.1", port=0, ssl_context=None)
    async with open_relay("127.0.0.1", listener.port) as relay:
        maker = Http1Client(f"http://127.0.0.1:{relay.port}/telewire")
        await HttpSessions(maker, kind)(begin)
        yield relay
        maker.close()
    await listener.aclose()
    assert len(downlinks) <= 1


@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_a_server_of_sessions_keeps_the_contract(kind: TransportName) -> None:
    await check_transport(functools.partial(session_pair, kind=kind))


@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_a_client_of_sessions_keeps_the_contract(kind: TransportName) -> None:
    @asynccontextmanager
    async def reversed_pair(left: AcceptTransport, right: AcceptTransport) -> AsyncIterator[Relay]:
        async with session_pair(right, left, kind) as relay:
            yield relay

    await check_transport(reversed_pair)
