"""Slow links: a frame that takes longer than the dead time to cross makes nobody dead (TW-NEG-066)."""

from __future__ import annotations

import pytest

from telewire.core.connection import MOST_PINGS
from telewire.core.events import CallReceived, CallResolved, Event, SessionDetached
from telewire.limits import Limits
from telewire.testing import Host, Network, Peer
from telewire.wire import frames as f
from telewire.wire.codec import decode_batch

LIMITS = Limits()
PAYLOAD = bytes(range(256)) * 256


def begin(rate: float, resume: bool) -> tuple[Network, Peer, Peer]:
    """Two sides with a slow link between them that idle for a minute first."""
    network = Network(1, rate=rate)
    host: Host = network.host()
    client = network.connect(host, resume=resume)
    network.run(60.0)
    [server] = host.peers
    client.take()
    server.take()
    return network, client, server


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("rate", [2000, 500])
def test_a_frame_that_outlasts_the_dead_time_arrives(rate: int, way: str, resume: bool) -> None:
    assert len(PAYLOAD) == LIMITS.fragment_bytes
    assert len(PAYLOAD) / rate > LIMITS.dead_seconds
    network, client, server = begin(rate, resume)
    link = client.link
    sender, receiver = (client, server) if way == "up" else (server, client)
    sender.connection.call("f", PAYLOAD)
    sender.pump()
    events: list[Event] = []

    def arrived() -> bool:
        events.extend(receiver.take())
        return any(isinstance(event, CallReceived) for event in events)

    network.run_until(arrived, 600.0)
    assert network.now > 60.0 + len(PAYLOAD) / rate
    [call] = events
    assert isinstance(call, CallReceived)
    assert call.payload == PAYLOAD
    receiver.connection.resolve(call.call, b"ok")
    receiver.connection.finish(call.call)
    receiver.pump()
    network.run(10.0)
    heard = sender.take()
    assert [event.payload for event in heard if isinstance(event, CallResolved)] == [b"ok"]
    assert not any(isinstance(event, SessionDetached) for event in heard)
    # It is still the first transport, in sessions too.
    assert client.link is link is not None


def test_both_ways_at_once() -> None:
    network, client, server = begin(500, False)
    for side in (client, server):
        side.connection.call("f", PAYLOAD)
        side.pump()
    network.run(140.0)
    for side in (client, server):
        assert [event.payload for event in side.take() if isinstance(event, CallReceived)] == [PAYLOAD]


def test_who_waits_behind_its_own_frame_asks_no_more_than_it_may() -> None:
    network, client, server = begin(500, True)
    waiting = most = signs = 0

    def watch(peer: Peer, batch: bytes, sent: bool) -> None:
        nonlocal waiting, most, signs
        for frame in decode_batch(batch, LIMITS):
            if peer is client and sent and isinstance(frame, f.Ping):
                waiting += 1
                most = max(most, waiting)
            if peer is client and not sent and isinstance(frame, f.Pong):
                signs += frame.number == 0
                waiting -= frame.number != 0

    network.on_batch = watch
    for _ in range(4):
        client.connection.call("f", PAYLOAD)
    client.pump()
    network.run(600.0)
    assert len([event for event in server.take() if isinstance(event, CallReceived)]) == 4
    assert 1 <= most <= MOST_PINGS
    # One for each idle time, at most, and nearly as many.
    assert 500 / LIMITS.idle_seconds * 0.8 <= signs <= 540 / LIMITS.idle_seconds


def test_a_peer_that_is_gone_is_still_noticed_in_time() -> None:
    network, client, server = begin(500, True)
    client.connection.call("f", PAYLOAD)
    client.pump()
    network.run(30.0)
    assert client.link is not None
    client.link.black_hole()
    network.run(LIMITS.dead_seconds + LIMITS.idle_seconds)
    assert any(isinstance(event, SessionDetached) for event in client.take())
    assert any(isinstance(event, SessionDetached) for event in server.take())
