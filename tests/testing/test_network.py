"""The simulated network: what it does to bytes, whom it tells, and that its seed decides it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from telewire.core.events import CallReceived, CallResolved, ConnectionClosed, Event
from telewire.core.flow import Pool
from telewire.errors import ErrorCode
from telewire.limits import Limits
from telewire.testing import Host, Network, Peer
from telewire.testing.link import Told, Way
from tests.core.dialogue import K

ROOT = Path(__file__).resolve().parents[2]
SECONDS = Limits().dead_seconds
RESUMED = ["SessionDetached", "SessionResumed"]


def names(events: Sequence[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def opened(network: Network, **options: object) -> tuple[Host, Peer, Peer]:
    """A host, a client and its conversation at the server, with the hellos behind them."""
    host = network.host()
    client = network.connect(host, **options)  # type: ignore[arg-type]  # They are its own.
    network.run(1.0)
    [server] = host.peers
    assert names(client.take()) == names(server.take()) == ["HelloReceived"]
    return host, client, server


def answer(peer: Peer) -> int:
    """Answer all calls that have come with what they brought; how many."""
    calls = [event for event in peer.take() if isinstance(event, CallReceived)]
    for event in calls:
        peer.connection.resolve(event.call, event.payload)
        peer.connection.finish(event.call)
    return len(calls)


def story(seed: int) -> list[tuple[float, bytes, bool]]:
    """All batches of a conversation with two cuts, with their times."""
    network = Network(seed)
    seen: list[tuple[float, bytes, bool]] = []
    network.on_batch = lambda peer, batch, sent: seen.append((network.now, batch, sent))
    host = network.host()
    client = network.connect(host)
    network.run(1.0)
    for size in (10, 5000, 70_000):
        client.connection.call("f", bytes(size))
        assert client.link is not None
        client.link.cut_at(client.link.up.arrived + 9, "up")
        network.run(10.0)
        answer(host.peers[0])
    network.run(10.0)
    return seen


def test_a_seed_decides_everything() -> None:
    assert story(1) == story(1)
    assert story(1) != story(2)


def test_bytes_take_their_time_and_arrive_in_pieces_and_together() -> None:
    network = Network(3, delay=(0.1, 0.1), split=0.9)
    _, client, server = opened(network)
    assert client.link is not None
    link = client.link
    pieces: list[int] = []
    arrived = link.hear
    link.hear = lambda direction, data: (pieces.append(len(data)), arrived(direction, data))[1]  # type: ignore[method-assign]
    for _ in range(20):
        client.connection.call("f", bytes(100))
        client.pump()
    before = link.up.arrived
    network.run(0.05)
    assert link.up.arrived == before
    network.run(1.0)
    assert answer(server) == 20
    one = (link.up.sent - before) // 20
    assert any(size < one for size in pieces)
    assert any(size > one for size in pieces)
    assert link.up.arrived == link.up.sent


def test_a_link_with_a_rate_takes_as_long_as_that_says() -> None:
    network = Network(1, rate=10_000, delay=(0.0, 0.0))
    _, client, server = opened(network)
    began = network.now
    client.connection.call("f", bytes(60_000))
    network.run_until(lambda: any(isinstance(event, CallReceived) for event in server._events))
    assert 6.0 <= network.now - began < 7.0


def test_connections_overtake_each_other() -> None:
    orders = set()
    for seed in range(10):
        network = Network(seed)
        host = network.host()
        order: list[bytes] = []
        host.on_peer = lambda peer, order=order: setattr(  # type: ignore[misc]
            peer,
            "on_event",
            lambda event: order.append(event.payload) if isinstance(event, CallReceived) else 0,
        )
        clients = [network.connect(host) for _ in range(3)]
        network.run(1.0)
        for number, client in enumerate(clients):
            client.connection.call("f", bytes([number]))
        network.run(1.0)
        orders.add(tuple(order))
    assert len(orders) > 2


@pytest.mark.parametrize("told", ["both", "client", "server", "nobody"])
@pytest.mark.parametrize("way", ["up", "down"])
def test_a_cut_at_a_byte_lets_exactly_so_much_arrive_and_is_told_to_whom_is_told(
    way: Way, told: Told
) -> None:
    network = Network(5)
    _, client, server = opened(network)
    assert client.link is not None
    link = client.link
    client.connection.call("f", bytes(500))
    network.run_until(lambda: bool(server._events))
    assert answer(server) == 1
    direction = link.direction(way)
    byte = direction.arrived + (7 if way == "down" else 0)
    link.cut_at(byte, way, told)
    client.pump()
    network.run(0.09)
    assert direction.arrived == byte
    assert client.link is not link or told in ("server", "nobody")
    network.run(5 * SECONDS)
    assert direction.arrived == byte
    assert client.resumes == server.resumes == 1
    assert names(client.take()) == [*RESUMED, "CallResolved", "CallOver"]


def test_a_black_hole_is_found_out_by_the_keepalive_and_by_nothing_else() -> None:
    network = Network(2)
    _, client, server = opened(network)
    network.black_hole()
    client.connection.call("f", b"")
    network.run(SECONDS - 5)
    assert client.take() == server.take() == []
    network.heal()
    network.run(3 * SECONDS)
    assert names(client.take()) == RESUMED
    assert names(server.take()) == [*RESUMED, "CallReceived"]


def test_a_hole_that_has_swallowed_nothing_leaves_no_trace() -> None:
    network = Network(2)
    _, client, server = opened(network)
    assert client.link is not None
    client.link.black_hole("up")
    client.link.heal()
    client.connection.call("f", b"")
    network.run(1.0)
    assert answer(server) == 1
    assert client.resumes == 0


def test_what_is_held_arrives_late_and_whole() -> None:
    network = Network(2)
    _, client, server = opened(network)
    assert client.link is not None
    client.link.hold()
    for _ in range(5):
        client.connection.call("f", bytes(1000))
    network.run(10.0)
    assert server.take() == []
    client.link.heal()
    network.run(1.0)
    assert answer(server) == 5
    assert client.resumes == 0


def test_nobody_comes_through_while_nothing_does() -> None:
    network = Network(2)
    host = network.host()
    network.black_hole()
    client = network.connect(host)
    network.run(20.0)
    [closed] = client.take()
    assert isinstance(closed, ConnectionClosed)
    assert closed.code == ErrorCode.HELLO_TIMEOUT
    network.heal()
    network.connect(host)
    network.run(1.0)
    assert len(host.peers) == 1


def test_a_host_that_has_crashed_knows_nobody_any_more() -> None:
    network = Network(4)
    host, client, _ = opened(network)
    client.connection.call("f", b"")
    host.crash()
    network.run(5.0)
    assert host.peers == []
    assert names(client.take()) == ["SessionDetached"]
    fresh = network.connect(host)
    network.run(1.0)
    assert names(fresh.take()) == ["ConnectionClosed"]
    host.restart()
    network.run(10.0)
    assert names(client.take()) == ["CallRejected", "CallOver", "ConnectionClosed"]
    assert network.peers == []


@pytest.mark.parametrize("silently", [False, True])
def test_a_client_that_has_crashed_is_waited_for(silently: bool) -> None:
    network = Network(4)
    host, client, server = opened(network)
    client.crash(silently)
    network.run(1.0)
    assert names(server.take()) == ([] if silently else ["SessionDetached"])
    network.run(200.0)
    assert names(server.take())[-1] == "ConnectionClosed"
    assert host.peers == network.peers == []


def test_a_session_moves_while_both_ways_are_busy() -> None:
    network = Network(6, rate=50_000)
    _, client, server = opened(network)
    for number in range(20):
        client.connection.call("f", bytes([number]) * 3000)
        network.run(0.3)
        if number % 5 == 4:
            client.move()
        answer(server)
    network.run(20.0)
    answer(server)
    network.run(20.0)
    results = [event.payload[0] for event in client.take() if isinstance(event, CallResolved)]
    assert results == list(range(20))
    assert client.resumes == 4


def test_another_principal_ends_the_session() -> None:
    network = Network(8)
    host, client, server = opened(network, principal="ann")
    thief = network.connect(host, principal="eve")
    network.run(1.0)
    thief.connection._session_id, thief.connection._token = (
        client.connection.session_id,
        client.connection.token,
    )
    assert thief.link is not None
    thief.link.cut()
    network.run(5.0)
    assert names(server.take())[-1] == "ConnectionClosed"


def test_batches_that_come_again_or_ahead_are_sorted_out() -> None:
    for seed in range(20):
        network = Network(seed, repeats=0.5)
        _, client, server = opened(network)
        called = []
        for number in range(30):
            client.connection.call("f", bytes([number]))
            if number % 3:
                client.pump()
            if number == 15:
                assert client.link is not None
                client.link.cut("server")
            network.run(0.01)
            called += [event.payload[0] for event in server.take() if isinstance(event, CallReceived)]
        network.run(200.0)
        called += [event.payload[0] for event in server.take() if isinstance(event, CallReceived)]
        assert called == list(range(30))


def test_large_payloads_wait_for_a_pool_that_is_given_back() -> None:
    network = Network(1)
    pool = Pool(300_000)
    host = network.host(pool=pool)
    clients = [network.connect(host) for _ in range(2)]
    network.run(1.0)
    for client in clients:
        client.connection.call("f", b"", [(K.ITEMS, None)])
        [stream] = client.connection.streams_of_ours()[-1].declared  # type: ignore[attr-defined]  # it is a call
        client.connection.send_item(stream, bytes(250_000))
    network.run(5.0)
    taken = []
    for _ in range(2):
        for peer in host.peers:
            for event in peer.take():
                if type(event).__name__ == "ItemReceived":
                    taken.append(len(event.payload))  # type: ignore[union-attr]  # a chunk
                    peer.connection.consumed(event.stream)  # type: ignore[union-attr]  # a chunk
        network.run(5.0)
    assert taken == [250_000] * 2


def test_what_never_comes_is_said() -> None:
    network = Network(1)
    with pytest.raises(AssertionError, match="within 5 virtual seconds"):
        network.run_until(lambda: False, 5.0)

    def again() -> None:
        network.call_at(network.now, again)

    again()
    with pytest.raises(AssertionError, match=r"things came at .* without an end"):
        network.run(1.0)


def test_the_network_needs_no_event_loop() -> None:
    program = (
        "import sys; from telewire.testing import Network; print({'anyio', 'asyncio'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "set()"
