"""Attacks from raw sockets on a real server: slow, large, foreign and greedy ones (D16, D19, I7)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import anyio
import anyio.lowlevel
import pytest

from telewire import Limits, Service
from telewire.core.halves import QUEUE_BYTES
from telewire.runtime.driver import Driver, drivers
from telewire.wire import frames as f
from telewire_transports import connect
from tests.core.dialogue import C, K, batch, frames_of, hello
from tests.runtime.world import Bugs, until
from tests.security.garbage import garbage
from tests.security.serving import POST, UPGRADE, dialled, serving

pytestmark = pytest.mark.usefixtures("guarded")

QUICK = Limits(hello_seconds=0.3, idle_seconds=0.1, dead_seconds=0.3, cleanup_seconds=0.3)


def simple() -> Service[None]:
    """A service with one function that is called to see that others are served."""
    service = Service()

    @service.function
    async def add(a: int, b: int) -> int:
        return a + b

    return service


async def still_serves(port: int) -> None:
    """Others are served meanwhile."""
    async with connect(f"http://127.0.0.1:{port}/telewire", transport="exchange") as remote:
        assert await remote.add(1, 2) == 3


def server_drivers() -> list[Driver]:
    """The conversations on the server's side that have not ended."""
    return [each for each in drivers() if each.connection.side == "server" and not each._gone]


# --- slow ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", [UPGRADE, POST], ids=["upgrade", "post"])
async def test_headers_that_drip_are_cut_off(template: str) -> None:
    async with serving(simple(), limits=QUICK) as port, dialled(port) as raw:
        head = template.format(port=port, more="")[:-4].encode()
        await raw.send(head)
        for number in range(50):
            await raw.send(b"\r\nX: %d" % number)
            await anyio.lowlevel.checkpoint()
        # The time runs from the first byte, whatever comes behind it.
        assert (await raw.until_closed()).startswith(b"HTTP/1.1 408 ")
        await still_serves(port)


async def test_a_websocket_that_says_nothing_is_closed(log: Bugs) -> None:
    async with serving(simple(), limits=QUICK) as port, dialled(port) as raw:
        assert b" 101 " in await raw.upgrade()
        frames: list[f.Frame] = []
        while not any(isinstance(frame, f.Close) for frame in frames):
            frames += frames_of([await raw.receive_message()])
        assert isinstance(frames[0], f.Hello)
        assert frames[-1] == f.Close(C.HELLO_TIMEOUT, "No hello arrived within 0.3 seconds.")
        await raw.until_closed()
        await until(lambda: not server_drivers())
    assert log.records == []


async def test_a_websocket_that_falls_silent_is_closed() -> None:
    async with serving(simple(), limits=QUICK) as port, dialled(port) as raw:
        assert b" 101 " in await raw.upgrade()
        await raw.say_hello()
        await raw.until_closed()
        await until(lambda: not server_drivers())


@pytest.mark.parametrize("body", [b"", b"5\r\n\x44", b"1\r\n\x9b\r\n"])
async def test_a_body_that_never_comes_is_given_up(body: bytes) -> None:
    async with serving(simple(), limits=QUICK) as port, dialled(port) as raw:
        await raw.send(POST.format(port=port, more="").encode() + body)
        await raw.until_closed()
        await until(lambda: not server_drivers())
        await still_serves(port)


# --- large ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [["X: " + "x" * 20_000], [f"X-{number}: 1" for number in range(5_000)], ["x" * 17_000]],
    ids=["one", "many", "no colon"],
)
@pytest.mark.parametrize("template", [UPGRADE, POST], ids=["upgrade", "post"])
async def test_headers_beyond_16_kib_are_refused(template: str, lines: list[str]) -> None:
    async with serving(simple()) as port, dialled(port) as raw:
        head = await raw.ask(template, *lines)
        assert head.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
        await raw.until_closed()
        assert not server_drivers()
        await still_serves(port)


@pytest.mark.parametrize("size", [(1 << 18) + 1, 1 << 40, (1 << 63) - 1])
async def test_a_message_that_is_announced_too_large_is_not_taken(size: int) -> None:
    async with serving(simple(), limits=QUICK) as port, dialled(port) as raw:
        assert b" 101 " in await raw.upgrade()
        await raw.send(b"\x82\xff" + size.to_bytes(8, "big") + bytes(4) + bytes(10_000))
        await raw.until_closed()
        await until(lambda: not server_drivers())


async def test_a_chunk_that_is_announced_too_large_is_not_taken() -> None:
    async with serving(simple(), limits=QUICK) as port, dialled(port) as raw:
        await raw.send(POST.format(port=port, more="").encode() + b"f" * 18 + b"\r\n" + bytes(10_000))
        await raw.until_closed()
        await until(lambda: not server_drivers())
        await still_serves(port)


# --- from elsewhere ------------------------------------------------------------------------------

FOREIGN = {
    "cross-site": ["Sec-Fetch-Site: cross-site"],
    "another origin": ["Origin: http://evil.example"],
    "another origin that is cross-site": ["Origin: http://evil.example", "Sec-Fetch-Site: cross-site"],
    "no origin": ["Origin: null"],
    "another port": ["Origin: http://127.0.0.1:1"],
    "two origins": ["Origin: http://127.0.0.1:{port}", "Origin: http://evil.example"],
}


@pytest.mark.parametrize("lines", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("template", [UPGRADE, POST], ids=["upgrade", "post"])
async def test_pages_of_other_sites_are_refused(template: str, lines: list[str]) -> None:
    async with serving(simple()) as port, dialled(port) as raw:
        head = await raw.ask(template, *(line.format(port=port) for line in lines))
        assert head.startswith(b"HTTP/1.1 403 ")
        assert b"access-control" not in head.lower()
        await raw.until_closed()
        assert not server_drivers()


REBOUND = [
    "evil.example:{port}",
    "127.0.0.1.evil.example:{port}",
    "127.0.0.1:1",
    "[::1",
    "127.0.0.1:{port}@evil",
    "",
]


@pytest.mark.parametrize("host", REBOUND)
@pytest.mark.parametrize("template", [UPGRADE, POST], ids=["upgrade", "post"])
async def test_names_that_were_pointed_here_are_refused(template: str, host: str) -> None:
    """DNS rebinding: the page's own name leads to this machine, so its origin is that of the request."""
    async with serving(simple()) as port, dialled(port) as raw:
        host = host.format(port=port)
        request = template.replace("127.0.0.1:{port}", host)
        head = await raw.ask(request, f"Origin: http://{host}")
        assert head.startswith((b"HTTP/1.1 403 ", b"HTTP/1.1 400 "))
        await raw.until_closed()
        assert not server_drivers()


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json", ""],
)
async def test_a_form_cannot_call(content_type: str) -> None:
    """What a page may send without asking: the browser would not even ask for leave."""
    async with serving(simple()) as port, dialled(port) as raw:
        head = await raw.ask(POST.replace("application/telewire", content_type))
        assert head.startswith(b"HTTP/1.1 415 ")
        await raw.until_closed()


async def test_leave_is_not_given_to_other_sites() -> None:
    preflight = "OPTIONS /telewire HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{more}\r\n"
    async with serving(simple()) as port, dialled(port) as raw:
        head = await raw.ask(preflight, "Access-Control-Request-Method: POST")
        assert head.startswith(b"HTTP/1.1 405 ")
        assert b"access-control" not in head.lower()
        await raw.until_closed()


# --- greedy --------------------------------------------------------------------------------------


def held(driver: Driver) -> int:
    """Bytes that a connection has queued for a peer that does not read."""
    core = driver.connection
    return sum(each.send.queued for each in core.streams_of_ours() if each.send is not None)


@pytest.mark.parametrize("window", [1024, 1 << 40])
async def test_a_thousand_streams_that_nobody_reads(window: int) -> None:
    """Whatever credit the peer gives, what waits for it is bounded, stream by stream (TW-LIM-060)."""
    service = simple()
    alive = 0

    @service.function
    async def feed() -> AsyncIterator[bytes]:
        nonlocal alive
        alive += 1
        try:
            while True:
                yield bytes(10_000)
        finally:
            alive -= 1

    many = 1000
    async with serving(service) as port, dialled(port) as raw:
        assert b" 101 " in await raw.upgrade()
        await raw.message(
            batch(hello(Limits(stream_window=window, open_streams=1 << 20, credited_streams=1 << 20)))
        )
        for number in range(many):
            await raw.message(batch(f.Call(number, "feed", 0, 3, b"\x82\x80\xa0")))
        await until(lambda: alive == many)
        [driver] = server_drivers()
        for _ in range(100):
            await anyio.lowlevel.checkpoint()
        assert held(driver) <= many * (min(window, QUEUE_BYTES) + 10_010)
        await still_serves(port)
        await raw.stream.aclose()
        await until(lambda: alive == 0)
        await until(lambda: not server_drivers())


async def test_a_thousand_streams_that_the_server_does_not_read() -> None:
    service = simple()

    @service.function
    async def ignore(streams: list[object]) -> None:
        await anyio.sleep_forever()

    limits = Limits(stream_window=8192, credited_streams=300, session_budget=1 << 20, message_bytes=1 << 19)
    async with serving(service, limits=limits) as port, dialled(port) as raw:
        assert b" 101 " in await raw.upgrade()
        await raw.say_hello()
        declared = tuple(f.Declaration(1 + number, K.ITEMS) for number in range(1000))
        argument = b"\x82\x81\x99\x03\xe8" + b"".join(
            b"\xd9\xea\x60"
            + (
                bytes((n,))
                if n < 24
                else b"\x18" + bytes((n,))
                if n < 256
                else b"\x19" + n.to_bytes(2, "big")
            )
            for n in range(1000)
        )
        await raw.message(batch(f.Call(0, "ignore", 0, len(argument) + 1, argument + b"\xa0", declared)))
        for each in declared:
            await raw.message(batch(f.Items(each.stream, 0, 1, b"\x81\x59\x07\xd0" + bytes(2000))))
        frames: list[f.Frame] = []
        await raw.message(batch(f.Ping(1)))
        while f.Pong(1) not in frames:
            frames += frames_of([await raw.receive_message()])
        stopped = [frame for frame in frames if isinstance(frame, f.Stop)]
        assert len(stopped) == 700
        assert {frame.code for frame in stopped} == {C.RESOURCE_EXHAUSTED}
        [driver] = server_drivers()
        windows = [
            each.receive.window for each in driver.connection._theirs.values() if each.receive is not None
        ]
        assert len(windows) == 300
        assert sum(window.received - window.consumed for window in windows) <= 300 * 8192
        await still_serves(port)


# --- garbage -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
async def test_garbage_from_many_connections_floods_no_log(log: Bugs, seed: int) -> None:
    choose = random.Random(seed)
    async with serving(simple(), limits=QUICK) as port:
        async with AsyncExitStack() as stack:
            for _ in range(60):
                raw = await stack.enter_async_context(dialled(port))
                for piece in garbage(choose, port):
                    await raw.send(piece)
            await still_serves(port)
        await until(lambda: not server_drivers())
    assert log.records == []


# --- sessions of others --------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False], ids=["of a session that is there", "of none"])
async def test_tokens_that_are_guessed_get_nothing(log: Bugs, known: bool) -> None:
    """The answer is the same whether there is such a session, and the session does not notice."""
    async with serving(simple()) as port, dialled(port) as owner:
        assert b" 101 " in await owner.upgrade()
        [offered] = frames_of([await owner.receive_message()])
        assert isinstance(offered, f.Hello)
        assert offered.session is not None
        assert offered.token is not None
        await owner.message(batch(hello(features=(1,))))
        session = offered.session if known else bytes(len(offered.session))
        guesses = [bytes(32), offered.token[:-1] + bytes((offered.token[-1] ^ 1,)), offered.token[:-1], b""]
        told = set()
        for guess in guesses:
            async with dialled(port) as raw:
                assert b" 101 " in await raw.upgrade()
                await raw.message(batch(f.Resume(session, guess, 1, 0)))
                frames: list[f.Frame] = []
                while not frames or not isinstance(frames[-1], f.Close):
                    frames += frames_of([await raw.receive_message()])
                assert not any(isinstance(frame, f.Resumed) for frame in frames)
                closed = frames[-1]
                assert isinstance(closed, f.Close)
                told.add((closed.code, closed.text))
        assert len(told) == 1
        assert {code for code, _ in told} == {C.SESSION_LOST}
        await owner.message(batch(f.Ping(5)))
        frames = []
        while f.Pong(5) not in frames:
            frames += frames_of([await owner.receive_message()])
        assert not any(isinstance(frame, f.Close) for frame in frames)
    assert log.records == []
