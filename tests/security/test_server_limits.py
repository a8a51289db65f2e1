"""ServerLimits: what all connections may take together, seen from sockets (D16, TW-LIM-020)."""

from __future__ import annotations

import ssl
import sys
from contextlib import AsyncExitStack

import anyio
import anyio.lowlevel
import pytest

from telewire import Limits, NetworkError, ServerLimits, Service, get_context
from telewire.runtime.admission import Admission
from telewire.wire import frames as f
from telewire_transports import connect
from tests.core.dialogue import batch, frames_of
from tests.runtime.world import Bugs, until
from tests.security.serving import POST, UPGRADE, Raw, dialled, serving

pytestmark = pytest.mark.usefixtures("guarded")


def echo() -> Service[None]:
    """A service with one function."""
    service = Service()

    @service.function
    async def who() -> str | None:
        return get_context().request.peer

    return service


async def opened(stack: AsyncExitStack, port: int, *more: str) -> Raw:
    """A WebSocket that has said hello, and been heard."""
    raw = await stack.enter_async_context(dialled(port))
    assert b" 101 " in await raw.upgrade(*more)
    await raw.say_hello()
    await raw.message(batch(f.Ping(1)))
    while f.Pong(1) not in frames_of([await raw.receive_message()]):
        continue
    return raw


async def refused(port: int, template: str = UPGRADE, *more: str) -> str:
    """What a request is told that finds no room."""
    async with dialled(port) as raw:
        head = await raw.ask(template, *more)
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: " in head
        return (await raw.until_closed()).decode()


async def served(port: int) -> str | None:
    """A call by a client of telewire's own."""
    async with connect(f"http://127.0.0.1:{port}/telewire") as remote:
        peer: str | None = await remote.who()
        return peer


async def until_served(port: int) -> None:
    """Ask until the server has seen that a place is free."""
    with anyio.fail_after(5):
        while True:
            async with dialled(port) as raw:
                if b" 101 " in await raw.upgrade():
                    return


async def test_sessions_in_all(log: Bugs) -> None:
    async with serving(echo(), server_limits=ServerLimits(sessions=2)) as port, AsyncExitStack() as stack:
        first = await opened(stack, port)
        await opened(stack, port)
        assert "holds 2 sessions" in await refused(port)
        assert "holds 2 sessions" in await refused(port, POST)
        await first.stream.aclose()
        await until_served(port)
    assert log.records == []


@pytest.mark.parametrize("said", [b"", b"GET /tele", b"POST /telewire HTTP/1.1\r\nHost: x\r\nX: "])
async def test_connections_that_have_asked_nothing(said: bytes) -> None:
    limits = ServerLimits(unauthenticated=3)
    async with serving(echo(), server_limits=limits) as port, AsyncExitStack() as stack:
        await opened(stack, port)
        silent = [await stack.enter_async_context(dialled(port)) for _ in range(3)]
        for raw in silent:
            await raw.send(said)
        # Not even its request is read.
        async with dialled(port) as raw:
            text = await raw.until_closed()
        assert text.startswith(b"HTTP/1.1 503 ")
        assert b"have not said hello" in text
        await silent[0].stream.aclose()
        await until_served(port)


def test_who_comes_very_often_is_heard_later() -> None:
    admission = Admission(ServerLimits(arrivals=2))
    assert [admission.pause("a", 10.0 + number / 10) for number in range(4)] == [0.0, 0.0, 0.5, 0.5]
    assert admission.pause("b", 10.5) == 0.0
    # Behind a trusted proxy nobody knows whose they are.
    assert [admission.pause(None, 10.5) for _ in range(4)] == [0.0] * 4
    assert admission.pause("a", 11.1) == 0.0


async def test_who_comes_very_often_is_heard_all_the_same() -> None:
    async with serving(echo(), server_limits=ServerLimits(arrivals=1)) as port:
        for _ in range(3):
            assert await served(port)
            async with dialled(port) as raw:
                assert b" 101 " in await raw.upgrade()


async def test_who_comes_very_often_and_has_left_is_not_heard() -> None:
    async with serving(echo(), server_limits=ServerLimits(arrivals=0)) as port:
        for leaves in (False, True):
            async with dialled(port) as raw:
                await raw.send(b"no request\r\n\r\n")
                if leaves:
                    await raw.stream.send_eof()
                text = await raw.until_closed()
            # Where the system does not tell who has left, all are heard.
            heard = not leaves or sys.platform != "linux"
            assert text.startswith(b"HTTP/1.1 400 ") if heard else text == b""


async def test_tls_handshakes_that_are_not_finished(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    limits = ServerLimits(unauthenticated=3)
    server, client = tls
    async with (
        serving(echo(), server_limits=limits, ssl_context=server) as port,
        AsyncExitStack() as stack,
    ):
        url = f"https://127.0.0.1:{port}/telewire"
        # They are over soon, and count no more then.
        for _ in range(5):
            async with connect(url, ssl_context=client, transport="websocket") as remote:
                assert await remote.who()
        silent = [await stack.enter_async_context(dialled(port)) for _ in range(3)]
        for raw in silent:
            # The head of a record, of which no more comes.
            await raw.send(b"\x16\x03\x01")
        async with dialled(port) as raw:
            # There is nobody to be told in a language that it speaks.
            assert await raw.until_closed() == b""
        with pytest.raises(NetworkError):
            async with connect(url, ssl_context=client, transport="websocket"):
                raise AssertionError("there was room")
        for raw in silent:
            await raw.stream.aclose()
        while True:
            try:
                async with connect(url, ssl_context=client, transport="websocket") as remote:
                    assert await remote.who()
                break
            except NetworkError:
                await anyio.lowlevel.checkpoint()


async def test_what_comes_right_behind_a_tls_handshake(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server, client = tls
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    machine = client.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    async with serving(echo(), ssl_context=server) as port, dialled(port) as raw:
        while True:
            try:
                machine.do_handshake()
                break
            except ssl.SSLWantReadError:
                await raw.send(outgoing.read())
                incoming.write(await raw.stream.receive())
        # The last of the handshake and the request leave in one piece.
        machine.write(f"GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        await raw.send(outgoing.read())
        answer = b""
        while b"\r\n" not in answer:
            incoming.write(await raw.stream.receive())
            try:
                answer += machine.read()
            except ssl.SSLWantReadError:
                continue
        assert answer.startswith(b"HTTP/1.1 404 ")


async def test_websockets_that_have_not_said_hello() -> None:
    limits = ServerLimits(unauthenticated=3)
    async with serving(echo(), server_limits=limits) as port, AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(dialled(port)) for _ in range(3)]
        for raw in silent:
            assert b" 101 " in await raw.upgrade()
        async with dialled(port) as raw:
            assert b"have not said hello" in await raw.until_closed()
        # One that says hello makes room for another.
        await silent[0].say_hello()
        await silent[0].message(batch(f.Ping(1)))
        while f.Pong(1) not in frames_of([await silent[0].receive_message()]):
            continue
        await until_served(port)


async def test_by_address() -> None:
    limits = ServerLimits(sessions_per_address=3)
    async with serving(echo(), server_limits=limits) as port, AsyncExitStack() as stack:
        for _ in range(2):
            await opened(stack, port)
        await stack.enter_async_context(dialled(port))
        async with dialled(port) as raw:
            assert b"From your address 3 connections" in await raw.until_closed()


async def test_by_the_address_that_a_trusted_proxy_names() -> None:
    limits = ServerLimits(sessions_per_address=2)
    options = {"server_limits": limits, "trusted_proxies": ("127.0.0.1",)}
    async with serving(echo(), **options) as port, AsyncExitStack() as stack:
        for _ in range(2):
            await opened(stack, port, "X-Forwarded-For: 203.0.113.9")
        assert "From your address 2" in await refused(port, UPGRADE, "X-Forwarded-For: 203.0.113.9")
        assert "From your address 2" in await refused(port, UPGRADE, "X-Forwarded-For: 1.2.3.4, 203.0.113.9")
        assert "From your address 2" in await refused(port, POST, "Forwarded: for=203.0.113.9")
        # Others behind the same proxy are others, and the proxy itself is not counted as one visitor.
        for number in range(4):
            await opened(stack, port, f"X-Forwarded-For: 203.0.113.{10 + number}")
        for _ in range(4):
            await stack.enter_async_context(dialled(port))
        await opened(stack, port, "Forwarded: for=198.51.100.1")


async def test_a_forged_address_changes_nothing() -> None:
    limits = ServerLimits(sessions_per_address=2)
    options = {"server_limits": limits, "trusted_proxies": ("10.0.0.0/8",)}
    async with serving(echo(), **options) as port, AsyncExitStack() as stack:
        for number in range(2):
            await opened(
                stack, port, f"X-Forwarded-For: 203.0.113.{number}", f"Forwarded: for=203.0.113.{number}"
            )
        async with dialled(port) as raw:
            assert b"From your address 2" in await raw.until_closed()


@pytest.mark.parametrize("trusted", [(), ("127.0.0.1",)])
@pytest.mark.parametrize("transport", ["websocket", "http"])
async def test_the_peer_of_a_request(trusted: tuple[str, ...], transport: str) -> None:
    async with serving(echo(), trusted_proxies=trusted) as port:
        url = f"http://127.0.0.1:{port}/telewire"
        headers = {"X-Forwarded-For": "198.51.100.7, 203.0.113.9"}
        async with connect(url, headers=headers, transport=transport) as remote:  # type: ignore[arg-type]
            peer = await remote.who()
    assert peer == "203.0.113.9" if trusted else peer.startswith("127.0.0.1:")


async def test_every_place_is_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever way connections end, nothing is counted that is not there."""
    made: list[Admission] = []
    original = Admission.__init__

    def noting(self: Admission, limits: ServerLimits | None = None) -> None:
        original(self, limits)
        made.append(self)

    monkeypatch.setattr(Admission, "__init__", noting)
    async with serving(echo(), limits=Limits(hello_seconds=0.3, cleanup_seconds=0.3)) as port:
        admission = next(each for each in made if each.limits == ServerLimits())
        async with AsyncExitStack() as stack:
            await opened(stack, port)
            await stack.enter_async_context(dialled(port))
            for line in (b"\x00", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /telewire HTTP/1.1\r\n\r\n"):
                raw = await stack.enter_async_context(dialled(port))
                await raw.send(line)
            silent = await stack.enter_async_context(dialled(port))
            assert b" 101 " in await silent.upgrade()
            await silent.until_closed()
            await served(port)
        async with connect(f"http://127.0.0.1:{port}/telewire", transport="exchange") as remote:
            for _ in range(3):
                await remote.who()
        async with connect(f"http://127.0.0.1:{port}/telewire", transport="sse") as remote:
            await remote.who()
        await until(
            lambda: (
                not any(
                    (
                        admission.unknown,
                        admission.conversations,
                        admission.by_address,
                        admission.talking,
                        admission.posters,
                        admission.posting,
                    )
                )
            )
        )


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_a_session_over_http_goes_on_where_there_is_no_room_for_another(transport: str) -> None:
    few = ServerLimits(sessions=1, sessions_per_address=1, unauthenticated=1)
    async with serving(echo(), server_limits=few) as port:
        url = f"http://127.0.0.1:{port}/telewire"
        async with connect(url, transport=transport) as remote:  # type: ignore[arg-type]  # a name of one
            for number in range(5):
                assert (await remote.who()).startswith("127.0.0.1:")
                # Nor do headers of a session make room for what is none.
                more = ("Telewire-Session: open",) if number % 2 else ()
                assert "close some first" in await refused(port, POST, *more)
        await until_served(port)


async def test_headers_of_a_session_make_no_room_for_what_is_none() -> None:
    async with serving(echo(), server_limits=ServerLimits(sessions=1)) as port, AsyncExitStack() as stack:
        await opened(stack, port)
        assert "1 sessions" in await refused(port, UPGRADE, "Telewire-Session: a.b.c")
        async with dialled(port) as raw:
            assert (await raw.ask(POST, "Telewire-Session: a.b.c")).startswith(b"HTTP/1.1 421 ")


async def test_large_arguments_wait_for_the_pool_and_then_go_on() -> None:
    """One client's unfinished payload holds the pool; when it leaves, another's goes on."""
    service = Service()

    @service.function
    async def size(data: bytes) -> int:
        return len(data)

    limits = Limits(message_bytes=1 << 20, session_budget=1 << 21)
    few = ServerLimits(held_bytes=1 << 20)
    async with serving(service, limits=limits, server_limits=few) as port, AsyncExitStack() as stack:
        holder = await opened(stack, port)
        await holder.message(batch(f.Call(0, "size", 1, 1 << 20, bytes(1000))))
        await holder.message(batch(f.Ping(2)))
        frames: list[f.Frame] = []
        while f.Pong(2) not in frames:
            frames += frames_of([await holder.receive_message()])
        assert any(isinstance(frame, f.Grant) for frame in frames)
        async with connect(f"http://127.0.0.1:{port}/telewire", transport="websocket") as remote:
            waiting = remote.size(bytes(500_000))
            assert await remote.size(b"small") == 5
            assert not waiting.closed
            await holder.stream.aclose()
            assert await waiting == 500_000
