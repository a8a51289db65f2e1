"""Byte links: the same surface on asyncio and trio, plain and encrypted."""

from __future__ import annotations

import gc
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import anyio.lowlevel
import pytest

from telewire.errors import NetworkError
from telewire_transports.sockets import ByteLink, Listener, listen, open_link
from telewire_transports.sockets.tuning import HIGH_WATER, address, bind
from telewire_transports.text import printable

pytestmark = pytest.mark.anyio


class Taker:
    """A byte handler that writes down what it is told."""

    def __init__(self, link: ByteLink, greeting: bytes = b"") -> None:
        self.link = link
        self.data = b""
        self.writable_signs = 0
        self.losses: list[Exception | None] = []
        self.inside = False
        self.changed = anyio.Event()
        if greeting:
            link.write(greeting)

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.told()

    def link_writable(self) -> None:
        self.writable_signs += 1
        self.told()

    def link_lost(self, error: Exception | None) -> None:
        self.losses.append(error)
        self.told()

    def told(self) -> None:
        assert not self.inside
        assert len(self.losses) < 2
        self.changed.set()
        self.changed = anyio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self.changed.wait()

    async def lost(self) -> Exception | None:
        await self.until(lambda: bool(self.losses))
        return self.losses[0]


@asynccontextmanager
async def linked(
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None,
) -> AsyncIterator[tuple[Taker, Taker]]:
    """A client and the server's side of its link."""
    served: list[Taker] = []
    arrived = anyio.Event()

    def take(link: ByteLink) -> Taker:
        served.append(Taker(link, b"hello"))
        arrived.set()
        return served[-1]

    listener = await listen("localhost", 0, take, ssl_context=tls[0] if tls else None)
    link = await open_link("localhost", listener.port, Taker, ssl_context=tls[1] if tls else None)
    await arrived.wait()
    client = link.handler
    assert isinstance(client, Taker)
    yield client, served[0]
    for taker in (client, served[0]):
        taker.link.abort()
        await taker.lost()
        taker.link.write(b"too late")
        taker.link.close(within=1)
        taker.link.abort()
    await listener.aclose()


@pytest.fixture(params=["plain", "tls"])
def maybe_tls(
    request: pytest.FixtureRequest, tls: tuple[ssl.SSLContext, ssl.SSLContext]
) -> tuple[ssl.SSLContext, ssl.SSLContext] | None:
    return tls if request.param == "tls" else None


async def test_bytes_go_both_ways(maybe_tls: tuple[ssl.SSLContext, ssl.SSLContext] | None) -> None:
    async with linked(maybe_tls) as (client, server):
        client.link.writelines([b"a", b"b", b"c"])
        await server.until(lambda: server.data == b"abc")
        await client.until(lambda: client.data == b"hello")
        assert client.link.tls is server.link.tls is (maybe_tls is not None)
        assert client.link.peer is not None
        assert client.link.peer.endswith(f":{server.link.local_port}")
        assert server.link.peer is not None
        assert server.link.peer.endswith(f":{client.link.local_port}")


async def test_close_flushes_and_ends_both(maybe_tls: tuple[ssl.SSLContext, ssl.SSLContext] | None) -> None:
    async with linked(maybe_tls) as (client, server):
        await client.until(lambda: client.data == b"hello")
        data = bytes(range(256)) * 4096
        client.link.write(data)
        client.link.close(within=10)
        client.link.write(b"after close")
        assert await server.lost() is None
        assert server.data == data
        assert await client.lost() is None


async def test_links_read_side_by_side_and_keep_their_own_bytes(
    maybe_tls: tuple[ssl.SSLContext, ssl.SSLContext] | None,
) -> None:
    upwards, downwards = bytes(range(256)) * 4096, bytes(reversed(range(256))) * 4096
    async with linked(maybe_tls) as (client, server), linked(maybe_tls) as (other_client, other_server):
        client.link.write(upwards)
        other_client.link.write(downwards)
        server.link.write(downwards)
        await server.until(lambda: len(server.data) == len(upwards))
        await other_server.until(lambda: len(other_server.data) == len(downwards))
        await client.until(lambda: len(client.data) == len(b"hello" + downwards))
        assert server.data == upwards
        assert other_server.data == downwards
        assert client.data == b"hello" + downwards
        assert other_client.data == b"hello"[: len(other_client.data)]


async def test_both_may_close_at_once(maybe_tls: tuple[ssl.SSLContext, ssl.SSLContext] | None) -> None:
    async with linked(maybe_tls) as (client, server):
        client.link.close(within=10)
        server.link.close(within=10)
        assert await client.lost() is None
        assert await server.lost() is None


async def test_drain_lets_the_last_words_arrive_although_bytes_are_unread(
    maybe_tls: tuple[ssl.SSLContext, ssl.SSLContext] | None,
) -> None:
    async with linked(maybe_tls) as (client, server):
        server.link.write(b"last words")
        server.link.close(within=10, drain=True)
        for _ in range(20):
            client.link.write(bytes(HIGH_WATER))
            await anyio.lowlevel.checkpoint()
        await client.until(lambda: client.data == b"hellolast words")
        client.link.close(within=10)
        assert await server.lost() is None
        assert server.data == b""


async def test_drain_is_bounded() -> None:
    listener_done: list[Taker] = []

    def take(link: ByteLink) -> Taker:
        listener_done.append(Taker(link, b"bye"))
        link.close(within=0.05, drain=True)
        return listener_done[-1]

    listener = await listen("127.0.0.1", 0, take)
    async with await anyio.connect_tcp("127.0.0.1", listener.port) as stream:
        assert await stream.receive() == b"bye"
        await listener_done[0].lost()
    await listener.aclose()


async def test_close_is_bounded_where_the_peer_reads_nothing() -> None:
    taken: list[Taker] = []

    def take(link: ByteLink) -> Taker:
        taken.append(Taker(link, bytes(32 * 1024 * 1024)))
        link.close(within=0.05)
        return taken[-1]

    listener = await listen("127.0.0.1", 0, take)
    plain = socket.create_connection(("127.0.0.1", listener.port))
    while not taken:
        await anyio.lowlevel.checkpoint()
    await taken[0].lost()
    plain.close()
    await listener.aclose()


async def test_blocked_then_writable_once(maybe_tls: tuple[ssl.SSLContext, ssl.SSLContext] | None) -> None:
    async with linked(maybe_tls) as (client, server):
        client.inside = True
        sent = 0
        while client.link.writable:
            client.link.write(bytes(HIGH_WATER + 1))
            sent += HIGH_WATER + 1
        client.inside = False
        await client.until(lambda: client.writable_signs == 1)
        assert client.link.writable
        await server.until(lambda: len(server.data) == sent)


async def test_a_reset_is_an_error() -> None:
    taken: list[Taker] = []

    def take(link: ByteLink) -> Taker:
        taken.append(Taker(link))
        return taken[-1]

    listener = await listen("127.0.0.1", 0, take)
    plain = socket.create_connection(("127.0.0.1", listener.port))
    while not taken:
        await anyio.lowlevel.checkpoint()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    plain.close()
    assert isinstance(await taken[0].lost(), OSError)
    await listener.aclose()


async def test_an_end_of_file_is_answered_once_all_has_left() -> None:
    data = bytes(1_000_000)

    def take(link: ByteLink) -> Taker:
        return Taker(link, data)

    listener = await listen("127.0.0.1", 0, take)
    async with await anyio.connect_tcp("127.0.0.1", listener.port) as stream:
        await stream.send_eof()
        received = 0
        try:
            while True:
                received += len(await stream.receive())
        except anyio.EndOfStream:
            assert received == len(data)
    await listener.aclose()


async def test_a_tls_handshake_that_does_not_come_is_ended(
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    listener = await listen("127.0.0.1", 0, Taker, ssl_context=tls[0], handshake_timeout=0.05)
    async with await anyio.connect_tcp("127.0.0.1", listener.port) as stream:
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await stream.receive()
    await listener.aclose()


async def test_a_name_with_two_addresses_has_one_port() -> None:
    sockets = await bind("localhost", 0)
    assert len({plain.getsockname()[1] for plain in sockets}) == 1
    for plain in sockets:
        plain.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_whoever_is_cancelled_while_listening_leaves_no_socket(host: str) -> None:
    listening: list[Listener] = []

    async def begin() -> None:
        listening.append(await listen(host, 0, Taker))

    cancelled = 0
    for passes in range(200):
        async with anyio.create_task_group() as group:
            group.start_soon(begin)
            for _ in range(passes):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        if listening:
            break
        cancelled += 1
    assert cancelled
    await listening.pop().aclose()
    # One that was left would say so now.
    gc.collect()


async def test_a_taken_port_is_named() -> None:
    [plain] = await bind("127.0.0.1", 0)
    port = plain.getsockname()[1]
    with pytest.raises(OSError, match=f"127.0.0.1 port {port}.*port 0"):
        await listen("127.0.0.1", port, Taker)
    plain.close()


async def test_nobody_listening_is_a_network_error() -> None:
    [plain] = await bind("127.0.0.1", 0)
    port = plain.getsockname()[1]
    plain.close()
    with pytest.raises(NetworkError, match=f"127.0.0.1 port {port}"):
        await open_link("127.0.0.1", port, Taker)


async def test_a_server_that_does_not_answer_tls_is_a_network_error(
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    listener = await listen("127.0.0.1", 0, lambda link: Taker(link))
    with pytest.raises(NetworkError, match=r"longer than 0\.05 s"):
        await open_link("127.0.0.1", listener.port, Taker, ssl_context=tls[1], timeout=0.05)
    await listener.aclose()


def test_addresses_as_they_are_shown() -> None:
    assert address(("127.0.0.1", 80)) == "127.0.0.1:80"
    assert address(("::1", 80, 0, 0)) == "[::1]:80"
    assert address("/run/socket") is None


def test_text_of_others_is_escaped_and_cut() -> None:
    assert printable(b"caf\xc3\xa9 \xff\x1b[0m\n") == "café \\xff\\x1b[0m"
    assert printable("a\u202eb\r\nc") == "a\\u202eb\\r\\nc"
    assert printable("x" * 500, 10) == "xxxxxxxxx…"
    assert printable("x" * 10, 10) == "x" * 10


@pytest.mark.parametrize("passes", range(5))
async def test_who_is_accepted_at_the_last_moment_is_known_when_the_listener_is_closed(passes: int) -> None:
    takers: list[Taker] = []

    def accept(link: ByteLink) -> Taker:
        takers.append(Taker(link))
        return takers[-1]

    listener = await listen("127.0.0.1", 0, accept)
    with socket.create_connection(("127.0.0.1", listener.port)) as plain:
        plain.setblocking(False)
        for _ in range(passes):
            await anyio.lowlevel.checkpoint()
        await listener.aclose()
        # What a server does then with those who have come and said nothing.
        for taker in takers:
            taker.link.abort()
        with anyio.fail_after(10):
            await anyio.wait_readable(plain)
        try:
            assert plain.recv(1) == b""
        except ConnectionResetError:
            assert not takers, "only whom nobody has taken is reset"
