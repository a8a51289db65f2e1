"""What coming back costs: no more than one round trip more than connecting."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import anyio
import anyio.abc
import pytest

from telewire import Service
from telewire.core.events import CallReceived, Event, HelloReceived
from telewire.testing.network import Network, Peer
from telewire.wire.values import encode_value
from telewire_transports import connect
from tests.security.serving import serving

WAY = 0.125
"""Seconds that a link takes one way."""
ARGUMENTS = encode_value([[], {}])


class Evenly(Random):
    """Dice that always show the least, so that all pieces take equally long."""

    def random(self) -> float:
        """Show it."""
        return 0.0


def test_coming_back_takes_no_longer_than_connecting_where_both_speak_at_once() -> None:
    network = Network(delay=(WAY, WAY), split=0.0)
    network.dice = Evenly()
    host = network.host()
    called: list[float] = []

    def at_server(event: Event) -> None:
        if isinstance(event, CallReceived):
            called.append(network.now)

    def met(peer: Peer) -> None:
        peer.on_event = at_server

    host.on_peer = met
    client = network.connect(host)

    def at_client(event: Event) -> None:
        if isinstance(event, HelloReceived):
            client.connection.call("f", ARGUMENTS)

    client.on_event = at_client
    network.run_until(lambda: called)
    connecting = called[0]
    first = client.link
    assert first is not None
    first.cut()
    client.connection.call("g", ARGUMENTS)
    network.run_until(lambda: client.link not in (None, first))
    set_out = network.now
    network.run_until(lambda: len(called) == 2)
    coming_back = called[1] - set_out
    assert connecting > 0
    # It says which session it means before it has heard who answers.
    assert coming_back == pytest.approx(connecting)


class Turns:
    """A proxy that notes, for each connection, which way bytes pass: what follows the same way is one."""

    def __init__(self) -> None:
        self.port = 0
        self.connections: list[list[str]] = []
        self.scopes: list[anyio.CancelScope] = []

    async def serve(self, client: anyio.abc.SocketStream, target: int) -> None:
        turns: list[str] = []
        self.connections.append(turns)

        async def carry(source: anyio.abc.SocketStream, to: anyio.abc.SocketStream, way: str) -> None:
            try:
                while True:
                    data = await source.receive()
                    if turns[-1:] != [way]:
                        turns.append(way)
                    await to.send(data)
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                scope.cancel()

        async with client, await anyio.connect_tcp("127.0.0.1", target) as server:
            with anyio.CancelScope() as scope:
                self.scopes.append(scope)
                async with anyio.create_task_group() as group:
                    group.start_soon(carry, client, server, "up")
                    group.start_soon(carry, server, client, "down")


@asynccontextmanager
async def turns_before(target: int) -> AsyncIterator[Turns]:
    """Stand before a server."""
    turns = Turns()
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        turns.port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, lambda client: turns.serve(client, target))
            yield turns
            group.cancel_scope.cancel()


async def test_over_websocket_coming_back_costs_one_round_trip_more_than_connecting() -> None:
    service = Service()
    seen: list[list[str]] = []

    @service.function
    async def look() -> None:
        seen.append(list(turns.connections[-1]))

    async with serving(service, hosts=("127.0.0.1",)) as port, turns_before(port) as turns:
        url = f"http://127.0.0.1:{turns.port}/telewire"
        async with connect(url, transport="websocket") as remote:
            await remote.look()
            turns.scopes[0].cancel()
            await remote.look()
    connecting, coming_back = seen
    assert len(turns.connections) == 2
    assert connecting == ["up", "down", "up"]
    assert coming_back == [*connecting, "down", "up"]
