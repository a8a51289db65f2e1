"""Functions that are tested alone: the context of call_context is typed by its state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_type

from telewire import Connection, Context
from telewire.core.events import Event
from telewire.testing import Link, Network, Peer, call_context, check_transport
from telewire.testing.transports import MakePair


@dataclass
class User:
    name: str


async def test_alone() -> None:
    async with call_context(state=User("ann"), headers={"X-Token": "t"}) as context:
        assert_type(context, Context[User])
        assert_type(context.state.name, str)
    with call_context(timeout=2.0) as plain:
        assert_type(plain.state, None)


async def test_an_adapter(make_pair: MakePair) -> None:
    await check_transport(make_pair, seconds=5)


def test_a_bad_network() -> None:
    network = Network(7, delay=(0.01, 0.02), split=0.5)
    host = network.host()
    client = network.connect(host)
    network.run(1.0)
    assert_type(client, Peer)
    assert_type(client.connection, Connection)
    assert_type(client.take(), list[Event])
    assert_type(client.link, Link | None)
    if client.link is not None:
        client.link.cut_at(40, "up", "server")
        client.link.black_hole("down")
        client.link.cut_at(40, "sideways")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    network.run_until(lambda: client.resumes, 60.0)
    host.crash(silently=True)
