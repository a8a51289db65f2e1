"""The requests of HTTP sessions as they stand on the wire (TW-SES-100, TW-SES-101, TW-SES-105)."""

from __future__ import annotations

import base64
import re

import anyio
import anyio.abc
import pytest

from telewire import Limits, Service
from telewire.runtime.transport import TransportName
from telewire.wire import frames as f
from telewire.wire.codec import decode_batch
from telewire_transports import connect
from tests.transports.exchanges import serving
from tests.transports.raw_http import port_of

pytestmark = pytest.mark.anyio
both = pytest.mark.parametrize("transport", ["http", "sse"])


async def opened(port: int, accept: str, needed: bytes) -> tuple[dict[str, str], bytes]:
    """The head of the answer to a request for a downlink, and its first chunks."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        host = f"127.0.0.1:{port}".encode()
        await stream.send(
            b"POST /telewire HTTP/1.1\r\nHost: " + host + b"\r\nContent-Type: application/telewire\r\n"
            b"Content-Length: 0\r\nTelewire-Session: open\r\nAccept: " + accept.encode() + b"\r\n\r\n"
        )
        data = b""
        while needed not in data or not data.endswith(b"\r\n"):
            data += await stream.receive()
        head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")[1:]
    headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}
    pieces = b""
    while b"\r\n" in body:
        size, _, body = body.partition(b"\r\n")
        pieces, body = pieces + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return headers, pieces


async def test_a_downlink_is_named_by_its_worker_itself_and_a_secret() -> None:
    async with serving(Service()) as url, serving(Service()) as other:
        names = [
            (await opened(port_of(where), "*/*", b"\r\n\r\n"))[0]["telewire-session"].split(".")
            for where in (url, url, other)
        ]
    assert [len(parts) for parts in names] == [3, 3, 3]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", part) for parts in names for part in parts)
    first, second, elsewhere = names
    assert first[0] == second[0] != elsewhere[0]
    assert len({parts[1] for parts in (first, second)}) == 2
    secrets = {base64.urlsafe_b64decode(parts[2] + "=" * (-len(parts[2]) % 4)) for parts in names}
    assert len(secrets) == 3
    assert all(len(secret) >= 16 and len(set(secret)) > 4 for secret in secrets)


async def test_an_event_stream_begins_with_a_comment_and_has_a_batch_in_each_event() -> None:
    async with serving(Service()) as url:
        headers, body = await opened(port_of(url), "text/event-stream", b"\ndata:")
    assert headers["content-type"] == "text/event-stream"
    assert headers["cache-control"] == "no-store, no-transform"
    assert headers["x-accel-buffering"] == "no"
    assert body.startswith(b":")
    data = [line for line in body.splitlines() if line.startswith(b"data:")]
    hello = decode_batch(base64.b64decode(data[0][5:].strip(), validate=True), Limits())
    assert any(isinstance(frame, f.Hello) for frame in hello)


class Listener:
    """Passes connections on, and keeps the head of every request that goes up."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.heads: list[dict[str, str]] = []

    async def serve(self, client: anyio.abc.SocketStream) -> None:
        async with (
            client,
            await anyio.connect_tcp("127.0.0.1", self.target) as server,
            anyio.create_task_group() as group,
        ):
            group.start_soon(self._pass, client, server, True)
            group.start_soon(self._pass, server, client, False)

    async def _pass(self, source: anyio.abc.SocketStream, target: anyio.abc.SocketStream, up: bool) -> None:
        try:
            while True:
                data = await source.receive()
                if up:
                    self._note(data)
                await target.send(data)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            await target.aclose()

    def _note(self, data: bytes) -> None:
        for head in re.findall(rb"POST [^\r]* HTTP/1\.1\r\n(.*?)\r\n\r\n", data, re.DOTALL):
            lines = head.decode("latin-1").lower().split("\r\n")
            self.heads.append(
                {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
            )


@both
async def test_each_request_of_a_session_has_its_route(transport: TransportName) -> None:
    service: Service[None] = Service()

    @service.function
    async def add(left: int, right: int) -> int:
        return left + right

    routes: list[str] = []
    async with serving(service, hosts=("127.0.0.1",)) as url:
        for _ in range(2):
            listener = Listener(port_of(url))
            async with await anyio.create_tcp_listener(local_host="127.0.0.1") as door:
                port = door.extra(anyio.abc.SocketAttribute.local_port)
                async with anyio.create_task_group() as group:
                    group.start_soon(door.serve, listener.serve)
                    async with connect(f"http://127.0.0.1:{port}/telewire", transport=transport) as remote:
                        for number in range(3):
                            assert await remote.add(number, 1) == number + 1
                    group.cancel_scope.cancel()
            heads = listener.heads
            assert len(heads) >= 4
            opening, *posts = heads
            assert opening["telewire-session"] == "open"
            assert len({post["telewire-session"] for post in posts}) == 1
            assert posts[0]["telewire-session"].count(".") == 2
            assert all(head["content-type"] == "application/telewire" for head in heads)
            assert len({head["telewire-route"] for head in heads}) == 1
            routes.append(opening["telewire-route"])
    assert len(set(routes)) == 2
    assert all(len(route) >= 8 for route in routes)
