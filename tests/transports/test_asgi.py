"""TelewireASGI under real ASGI servers, in processes of their own, mounted beside ordinary routes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from wsproto.events import BytesMessage, TextMessage

from telewire import ByteStream, CallCancelled, NetworkError, TransportUnsuitable, with_options
from telewire.errors import ErrorCode
from telewire.limits import Limits
from telewire.testing.relay import open_relay
from telewire.wire.codec import decode_batch
from telewire.wire.frames import Close, Hello
from telewire.wire.reader import BatchReader, write_batch
from telewire_transports import connect
from tests.transports.middle import middle_of
from tests.transports.mixing import MIXED, mixed
from tests.transports.raw_websocket import batch, client_of
from tests.transports.test_http_violations import refused_post

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("asgi_server.py")
SERVERS = [
    ("uvicorn", "starlette"),
    ("uvicorn", "fastapi"),
    ("hypercorn", "alone"),
    ("hypercorn-trio", "starlette"),
]


TOLD = {"exchange": "http"}
"""What a call is told of its transport, where that is not what was asked for."""


class Running:
    """One server process."""

    def __init__(self, server: str, kind: str) -> None:
        paths = os.pathsep.join(str(ROOT / folder) for folder in (".", "transports", "spec"))
        self.kind = kind
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), server, kind],
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": paths},
        )
        assert self.process.stdout is not None
        self.out = self.process.stdout
        self.port = int(self.out.readline())
        self.url = f"http://127.0.0.1:{self.port}/telewire"

    def stop(self) -> str:
        """End it as an operator would; returns what it printed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        rest = self.out.read()
        self.process.wait(20)
        return rest


@pytest.fixture(scope="module", params=SERVERS, ids=lambda pair: " ".join(pair))
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    found = Running(*request.param)
    yield found
    found.stop()
    found.out.close()


@pytest.mark.parametrize("transport", ["websocket", "http", "sse", "exchange"])
async def test_streams(running: Running, transport: Any, anyio_backend: str) -> None:
    async with connect(running.url, transport=transport) as remote:
        assert [number async for number in remote.countdown(3)] == [3, 2, 1, 0]
        sizes = [len(item) async for item in remote.many(2000)]
        assert sizes == [1000] * 2000


async def test_a_text_is_answered_by_the_machine(running: Running, anyio_backend: str) -> None:
    async with client_of(running.port, "/telewire/") as peer:
        await peer.frames()
        await peer.say(TextMessage("hi"))
        await peer.say(BytesMessage(b"nobody reads this"))
        await peer.hears_the_end(ErrorCode.MALFORMED, 1003)


@pytest.mark.parametrize("accept", ["application/telewire", "text/event-stream"])
async def test_a_post_that_is_no_batch_is_answered_by_the_machine(
    running: Running, accept: str, anyio_backend: str
) -> None:
    assert await refused_post(running.port, accept, b"\xff", "/telewire/") == ErrorCode.MALFORMED


async def test_a_request_that_goes_on_as_no_batch_is_answered_by_the_machine(
    running: Running, anyio_backend: str
) -> None:
    hello = write_batch(batch(Hello(1, 1, (), {}, None, None)))
    async with await anyio.connect_tcp("127.0.0.1", running.port) as stream:
        head = f"POST /telewire/ HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\n"
        more = "Content-Type: application/telewire\r\nTransfer-Encoding: chunked\r\n\r\n"
        await stream.send((head + more).encode() + chunk(hello))
        data = b""
        while b"\r\n\r\n" not in data or data.endswith(b"\r\n\r\n"):
            data += await stream.receive()
        await stream.send(chunk(b"\x5f"))
        while not data.endswith(b"\r\n0\r\n\r\n"):
            data += await stream.receive()
    last = data.removesuffix(b"\r\n0\r\n\r\n").rpartition(b"\r\n")[2]
    frames = decode_batch(BatchReader(Limits()).receive_data(last)[-1], Limits())
    assert isinstance(frames[-1], Close)
    assert frames[-1].code == ErrorCode.MALFORMED


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.mark.parametrize("transport", ["websocket", "http", "sse", "exchange"])
async def test_leaving_stops_the_other_side(running: Running, transport: Any, anyio_backend: str) -> None:
    async with connect(running.url, transport=transport) as remote:
        items = await remote.forever()
        said = await anext(items)
        assert said.startswith(f"{TOLD.get(transport, transport)} dict 127.0.0.1:")
        await items.aclose()
        line = await anyio.to_thread.run_sync(running.out.readline)
        assert line.startswith("closed ")
        call = remote.forever()
        await call
        call.cancel()
        with pytest.raises(CallCancelled):
            async for _ in call:
                pass
        line = await anyio.to_thread.run_sync(running.out.readline)
        assert line.startswith("closed ")


async def test_bytes_both_ways_and_callbacks(running: Running, anyio_backend: str) -> None:
    blocks = [b"block %d " % number * 1000 for number in range(50)]
    shouted = b"".join(blocks).upper()
    async with connect(running.url) as remote:
        assert await (await remote.shout(ByteStream(iter(blocks)))).read() == shouted
        ticks: list[int] = []
        assert await remote.call_back(ticks.append) == 5
        assert ticks == [0, 1, 2, 3, 4]
        over_http = with_options(remote.shout, transport="exchange")
        assert await (await over_http(ByteStream(iter(blocks)))).read() == shouted
        with pytest.raises(TransportUnsuitable):
            await with_options(remote.call_back, transport="exchange")(print)


async def numbers(gate: anyio.Event) -> AsyncIterator[int]:
    for number in range(500):
        yield number
    await gate.wait()
    yield 500


@pytest.mark.parametrize("cuts", [False, True])
async def test_an_exchange_is_promoted(running: Running, cuts: bool, anyio_backend: str) -> None:
    """TW-SES-064 under every server, also where the response in flight is lost behind the promotion."""
    gate = anyio.Event()
    async with open_relay("127.0.0.1", running.port) as relay:
        url = running.url.replace(f":{running.port}", f":{relay.port}")
        async with connect(url, transport="exchange") as remote:
            tools = await remote.tools(numbers(gate))
            assert await anext(tools["down"]) == 500
            if cuts:
                relay.cut()
            gate.set()
            assert await tools["total"]() == sum(range(501))
            assert [number async for number in tools["down"]] == list(range(499, -1, -1))
            assert [number async for number in tools["again"]] == list(range(700, -1, -1))
            await tools["total"].aclose()
            line = await anyio.to_thread.run_sync(running.out.readline)
            assert line == "closed NoneType\n"


@pytest.mark.parametrize("transport", ["websocket", "http", "sse", None])
async def test_everything_also_where_the_connection_is_cut(
    running: Running, transport: Any, anyio_backend: str
) -> None:
    async with middle_of(running.port) as middle:
        with anyio.fail_after(20):
            async with connect(f"http://127.0.0.1:{middle.port}/telewire", transport=transport) as remote:
                assert await mixed(remote) == MIXED
                middle.passed, middle.cut_after = 0, middle.passed // 4
                assert await mixed(remote) == MIXED
                assert middle.cuts == 1


async def test_ordinary_routes_beside_it(running: Running, anyio_backend: str) -> None:
    def get(path: str, **headers: str) -> int:
        request = urllib.request.Request(f"http://127.0.0.1:{running.port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def post(**headers: str) -> int:
        request = urllib.request.Request(running.url + "/", data=b"x", headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    assert await anyio.to_thread.run_sync(get, "/telewire/") == 405
    if running.kind != "alone":
        assert await anyio.to_thread.run_sync(get, "/hello") == 200
        assert await anyio.to_thread.run_sync(get, "/nowhere") == 404
    plain = {"Content-Type": "text/plain"}
    ours = {"Content-Type": "application/telewire"}
    assert await anyio.to_thread.run_sync(lambda: post(**plain)) == 415
    assert await anyio.to_thread.run_sync(lambda: post(**ours, Origin="https://evil.example")) == 403
    assert await anyio.to_thread.run_sync(lambda: post(**ours, Host="evil.example")) == 403
    assert await anyio.to_thread.run_sync(lambda: post(**ours)) == 400


@pytest.mark.parametrize(("server", "kind"), [("uvicorn", "fastapi"), ("hypercorn", "alone")])
async def test_a_server_that_stops_ends_what_runs(server: str, kind: str, anyio_backend: str) -> None:
    found = Running(server, kind)
    try:
        async with connect(found.url) as remote:
            items = await remote.forever()
            await anext(items)
            stopped = anyio.Event()
            rest: list[str] = []

            async def stop() -> None:
                rest.append(await anyio.to_thread.run_sync(found.stop))
                stopped.set()

            async with anyio.create_task_group() as group:
                group.start_soon(stop)
                with anyio.fail_after(30):
                    await stopped.wait()
                group.cancel_scope.cancel()
        assert "closed" in rest[0]
    except NetworkError:
        pass
    finally:
        found.stop()
        found.out.close()
