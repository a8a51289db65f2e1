"""Clients: entered once, left anywhere, and honest about a server that is gone."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from telewire import (
    CallCancelled,
    CancelOutcome,
    Client,
    LocalProtocolError,
    NetworkError,
    Service,
)
from telewire_transports import connect, memory, serve
from tests.runtime.world import Bugs, Connected, caught, drained, quiescent, until


class Oops(Exception):
    """Something of the user's own."""


def a_service() -> Service:
    """One that adds, counts and waits."""
    service = Service()

    @service.function
    async def add(left: int, right: int) -> int:
        return left + right

    @service.function
    async def count() -> AsyncIterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    @service.function
    async def stuck() -> AsyncIterator[int]:
        yield 0
        await anyio.sleep_forever()

    @service.function
    async def wait() -> None:
        await anyio.sleep_forever()

    return service


@asynccontextmanager
async def served(service: Service) -> AsyncIterator[str]:
    """The URL at which ``serve`` serves."""
    ports: list[int] = []
    started = anyio.Event()

    def on_started(port: int) -> None:
        ports.append(port)
        started.set()

    async def run() -> None:
        await serve(service, port=0, on_started=on_started)

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await started.wait()
        try:
            yield f"http://127.0.0.1:{ports[0]}/telewire"
        finally:
            group.cancel_scope.cancel()


async def test_serve_and_connect_by_url(guarded: None) -> None:
    async with served(a_service()) as url, connect(url) as remote, connect(url) as other:
        assert await remote.add(1, 2) == 3
        assert await other.add(3, 4) == 7
        async for number in remote.count():
            if number == 100:
                break


async def test_a_connection_in_memory(guarded: None) -> None:
    async with memory.connect(a_service(), headers={"X-Colour": "red"}) as remote:
        assert await remote.add(1, 2) == 3


async def test_a_server_that_shuts_down_tells_its_clients(guarded: None) -> None:
    ports: list[int] = []
    started = anyio.Event()
    scope = anyio.CancelScope()

    def on_started(port: int) -> None:
        ports.append(port)
        started.set()

    async def run() -> None:
        with scope:
            await serve(a_service(), port=0, on_started=on_started)

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await started.wait()
        client = connect(f"ws://127.0.0.1:{ports[0]}/telewire")
        async with client as remote:
            iterator = await remote.count()
            assert await anext(iterator) == 0
            waiting = remote.wait()
            await remote.add(1, 2)
            scope.cancel()
            error = await caught(waiting)
            assert isinstance(error, NetworkError)
            # It had started: nobody may take it for one that had not.
            assert not error.retryable
            # A stream that is cut off does not look like one that has ended.
            _, ending = await drained(iterator)
            assert isinstance(ending, NetworkError)
            with pytest.raises(NetworkError):
                remote.add(1, 2)
            await until(lambda: client.state == "lost")


async def test_body_error_is_not_grouped(connected: Connected) -> None:
    service = a_service()
    with pytest.raises(Oops) as raised:
        async with connected(service, settle=False):
            raise Oops("as it is")
    assert raised.value.__cause__ is None

    async def raise_with_calls_open() -> None:
        async with connected(service, settle=False) as world:
            world.remote.wait()
            await anext(await world.remote.count())
            raise Oops("with calls open")

    async def raise_after_a_cut() -> None:
        async with connected(service, settle=False) as world:
            world.cut()
            raise Oops("after a cut")

    for body in (raise_with_calls_open, raise_after_a_cut):
        with pytest.raises(Oops):
            await body()

    with anyio.move_on_after(0.02) as scope:
        async with connected(service, settle=False) as world:
            await world.remote.wait()
    assert scope.cancelled_caught


async def test_no_scope_surrounds_the_body(connected: Connected) -> None:
    outer = anyio.CancelScope()
    async with connected(a_service()) as world:
        # Held across the end of the block: entered inside, left outside.
        outer.__enter__()
        assert await world.remote.add(1, 2) == 3
    outer.__exit__(None, None, None)


async def test_states(connected: Connected) -> None:
    async with connected(a_service()) as world:
        assert world.client.state == "connected"
        assert "connected" in repr(world.client)
        client = world.client
    assert client.state == "lost"
    assert memory.connect(a_service()).state == "new"


async def test_a_client_is_entered_once(connected: Connected) -> None:
    async with connected(a_service()) as world:
        with pytest.raises(RuntimeError, match="entered before"):
            await world.client.__aenter__()
        assert await world.remote.add(1, 2) == 3


async def test_calls_before_entering_and_after_leaving(connected: Connected) -> None:
    client = memory.connect(a_service())
    with pytest.raises(LocalProtocolError, match="before the client was connected"):
        client.remote.add(1, 2)
    async with connected(a_service()) as world:
        remote = world.remote
    with pytest.raises(NetworkError, match="connect again"):
        remote.add(1, 2)


async def test_leaving_without_entering_does_nothing(guarded: None) -> None:
    await memory.connect(a_service()).__aexit__(None, None, None)


async def test_nobody_listens(guarded: None) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        client = connect(f"http://127.0.0.1:{port}/telewire")
        with pytest.raises(NetworkError):
            await client.__aenter__()
    assert client.state in ("new", "lost")


async def test_a_server_that_says_nothing(guarded: None) -> None:
    async def silence(accept: object) -> object:
        return None

    client = Client(silence, timeout=0.02)  # type: ignore[arg-type]  # no transport is ever made
    with pytest.raises(NetworkError, match="No connection within"):
        await client.__aenter__()


async def test_a_url_that_cannot_be_used() -> None:
    with pytest.raises(ValueError):
        connect("ftp://127.0.0.1/telewire")


async def test_a_cut_is_a_network_error_everywhere(connected: Connected) -> None:
    async with connected(a_service()) as world:
        waiting = world.remote.wait()
        iterator = await world.remote.count()
        assert await anext(iterator) == 0
        found: list[object] = []

        async def loop() -> None:
            found.append((await drained(world.remote.stuck()))[1])

        async def wait() -> None:
            found.append(await caught(waiting))

        async with anyio.create_task_group() as group:
            group.start_soon(loop)
            group.start_soon(wait)
            await quiescent(world.remote)
            world.cut()
        assert len(found) == 2
        assert all(isinstance(each, NetworkError) for each in found)
        assert isinstance((await drained(iterator))[1], NetworkError)
        assert isinstance(await caught(waiting), NetworkError)
        with pytest.raises(NetworkError):
            world.remote.add(1, 2)
        assert world.client.state == "lost"


async def test_a_cut_while_a_cancelled_call_cleans_up(connected: Connected) -> None:
    service = Service()
    started, cleaning, gate = anyio.Event(), anyio.Event(), anyio.Event()

    @service.function
    async def slow_to_leave() -> None:
        try:
            started.set()
            await anyio.sleep_forever()
        finally:
            cleaning.set()
            with anyio.CancelScope(shield=True):
                await gate.wait()

    async with connected(service) as world:
        call = world.remote.slow_to_leave()
        await started.wait()
        call.cancel()
        await cleaning.wait()
        world.cut()
        error = await caught(call)
        assert isinstance(error, CallCancelled)
        assert error.outcome is CancelOutcome.UNKNOWN
        gate.set()


async def test_entered_and_left_in_different_tasks(connected: Connected, anyio_backend: str) -> None:
    client = memory.connect(a_service())
    if anyio_backend == "trio":
        # On trio that is done from one task to another by nobody: the same in one.
        remote = await client.__aenter__()
        assert await remote.add(1, 2) == 3
        await client.__aexit__(None, None, None)
        return
    remote = await asyncio.create_task(client.__aenter__())
    assert await remote.add(1, 2) == 3
    call = remote.wait()
    await asyncio.create_task(client.__aexit__(None, None, None))
    assert isinstance(await caught(call), NetworkError)


async def test_two_clients_do_not_share_anything(guarded: None, log: Bugs) -> None:
    async with served(a_service()) as url, connect(url) as staying:
        iterator = await staying.count()
        assert await anext(iterator) == 0
        async with connect(url) as leaving:
            assert await anext(await leaving.count()) == 0
            waiting = leaving.wait()
        assert isinstance(await caught(waiting), NetworkError)
        assert await anext(iterator) == 1
        assert await staying.add(1, 2) == 3
        await iterator.aclose()


async def test_i7_garbage_on_a_socket_leaves_the_others_alone(guarded: None, log: Bugs) -> None:
    async with served(a_service()) as url, connect(url) as remote:
        iterator = await remote.count()
        port = int(url.split(":")[2].split("/")[0])
        upgrade = (
            f"GET /telewire HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: telewire.1\r\n\r\n"
        ).encode()

        def message(data: bytes) -> bytes:
            return bytes([0x82, 0x80 | len(data), 0, 0, 0, 0]) + data

        for garbage in (
            b"\x00" * 1000,
            b"GET / HTTP/1.1\r\n\r\n",
            upgrade + b"\xff" * 500,
            upgrade + message(b"\xff\xfe"),
            upgrade + message(b"\x81\x81\x18\x63"),
            upgrade + message(b"\x9b" + b"\xff" * 8),
            upgrade + message(b"\x81" * 120),
        ):
            stream = await anyio.connect_tcp("127.0.0.1", port)
            async with stream:
                await stream.send(garbage)
                answer = b""
                # The end of the stream, or a close of WebSocket that waits for ours.
                with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                    while b"\x88\x02\x03\xe8" not in answer:
                        answer += await stream.receive()
                assert answer
            assert await remote.add(1, 2) == 3
        assert await anext(iterator) == 0
        await iterator.aclose()
        async with connect(url) as another:
            assert await another.add(3, 4) == 7


async def test_i7_garbage_on_the_transport_closes_it_with_a_reason(connected: Connected) -> None:
    makers: list[Callable[[], bytes]] = [lambda: b"\xff", lambda: b"", lambda: b"\x81\x80"]
    for make in makers:
        async with connected(a_service()) as world:
            waiting = world.remote.wait()
            await world.remote.add(1, 2)
            world.client_driver.transport.send([make()])
            error = await caught(waiting)
            assert isinstance(error, NetworkError)
            assert "closed" in str(error)
