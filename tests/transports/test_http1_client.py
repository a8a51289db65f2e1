"""HTTP/1.1 as a client, against servers that answer anything: what its caller is told, and what it sends."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import pytest

from telewire import Client, NetworkError, Service, TransportUnsuitable
from telewire.core.connection import Connection
from telewire.core.events import CallReceived
from telewire.limits import Limits
from telewire.testing.transports import Recorder
from telewire.wire.reader import BatchReader, write_batch
from telewire.wire.values import encode_value
from telewire_transports import connect, serve_websocket

pytestmark = pytest.mark.anyio


class Foreign:
    """A server made of bytes: it reads a request, says what it was told to, and may hang up."""

    def __init__(self, answer: bytes, *, hang_up: bool = True) -> None:
        closing = b"OK\r\nConnection: close\r\n" if hang_up else b"OK\r\n"
        self.answer = answer.replace(b"OK\r\n", closing, 1)
        self.hang_up = hang_up
        self.requests: list[bytes] = []
        self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/telewire"

    async def handle(self, stream: anyio.abc.SocketStream) -> None:
        self.connections += 1
        async with stream:
            try:
                while True:
                    self.requests.append(await read_request(stream))
                    await stream.send(self.answer)
                    if self.hang_up:
                        return
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return


async def read_request(stream: anyio.abc.ByteReceiveStream) -> bytes:
    """One request with a Content-Length or in chunks."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive()
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    while len(body) < length or (b"chunked" in head and b"0\r\n\r\n" not in body):
        body += await stream.receive()
    return head + b"\r\n\r\n" + body


@asynccontextmanager
async def standing(server: Foreign) -> AsyncIterator[Foreign]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    server.port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, server.handle)
        # Who waits for ever tells nobody what is wrong.
        with anyio.fail_after(20):
            yield server
        group.cancel_scope.cancel()


def response(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def ok(body: bytes) -> bytes:
    return response("200 OK", body, "Content-Type: application/telewire")


def answer_of(value: object) -> bytes:
    """The body of a response to the first call of a client, with its result."""
    client, server = Connection("client", exchange=True), Connection("server", exchange=True)
    client.call("f", encode_value([[], {}]))
    for each in client.data_to_send():
        server.receive_data(each, 0.0)
    [call] = [event.call for event in server.events_received() if isinstance(event, CallReceived)]
    server.resolve(call, encode_value(value))
    server.finish(call)
    return b"".join(map(write_batch, server.data_to_send()))


HTML = b"<html><title>Welcome</title></html>"


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (response("200 OK", HTML, "Content-Type: text/html"), NetworkError, "answered with text/html where"),
        (response("200 OK", b"", "X: y"), NetworkError, "no content type"),
        (
            response("500 Internal Server Error", HTML, "Content-Type: text/html"),
            NetworkError,
            r"refused the call with status 500\.$",
        ),
        (
            response("403 Forbidden", b"not\x1b[31m you\n", "Content-Type: text/plain"),
            NetworkError,
            r"with status 403: not\\x1b\[31m you$",
        ),
        (response("404 Not Found", b""), NetworkError, "404. Check the path"),
        (response("401 Unauthorized", b""), NetworkError, "status 401"),
        (
            response("302 Found", b"", "Location: /login"),
            NetworkError,
            "redirects, with status 302, to /login",
        ),
        (response("301 Moved", b""), NetworkError, "to nowhere"),
        (response("405 Method Not Allowed", b""), TransportUnsuitable, "405.*Use: websocket"),
        (response("415 No", b"no", "Content-Type: text/plain"), TransportUnsuitable, "415: no"),
        (response("421 Misdirected Request", b""), TransportUnsuitable, "421"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", NetworkError, "did not answer as an HTTP server"),
        (b"", NetworkError, "hung up before it had answered"),
        (b"HTTP/1.1 200 OK\r\n", NetworkError, "hung up before it had answered|did not answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000, NetworkError, "did not answer as an HTTP server"),
        (ok(b""), NetworkError, "ended before the call did"),
        (ok(answer_of(1)[:-12]), NetworkError, "inside a batch|ended before the call did"),
        (ok(b"\x00"), Exception, "batch"),
        (
            ok(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"5\r\nDab",
            NetworkError,
            "broke off before its end",
        ),
    ],
)
async def test_what_is_no_answer_fails_the_call(answer: bytes, error: type[Exception], says: str) -> None:
    async with standing(Foreign(answer)) as server, connect(server.url, transport="exchange") as remote:
        with pytest.raises(error, match=says):
            await remote.f()


async def test_a_long_text_of_a_refusal_is_cut() -> None:
    body = b"no! " * 100_000
    answer = response("400 Bad Request", body, "Content-Type: text/plain")
    async with standing(Foreign(answer)) as server, connect(server.url, transport="exchange") as remote:
        with pytest.raises(NetworkError) as refused:
            await remote.f()
        assert len(str(refused.value)) < 400


@pytest.mark.parametrize(("status", "retryable"), [("503 Busy", True), ("429 Slow", True), ("500 No", False)])
async def test_what_surely_did_not_start_may_be_repeated(status: str, retryable: bool) -> None:
    async with (
        standing(Foreign(response(status, b""))) as server,
        connect(server.url, transport="exchange") as remote,
    ):
        with pytest.raises(NetworkError) as refused:
            await remote.f()
        assert refused.value.retryable is retryable


async def test_nobody_listens() -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    await listener.aclose()
    async with connect(f"http://127.0.0.1:{port}/telewire", transport="exchange") as remote:
        with pytest.raises(NetworkError, match="Is a server listening there") as refused:
            await remote.f()
    assert refused.value.retryable


async def test_a_server_that_says_nothing() -> None:
    async with (
        standing(Foreign(b"", hang_up=False)) as server,
        connect(server.url, transport="exchange", timeout=0.1) as remote,
    ):
        with pytest.raises(NetworkError, match="did not answer in time"):
            await remote.f()


async def test_a_server_of_websocket_alone_says_what_would_do() -> None:
    listener = await serve_websocket(Recorder().accept, port=0)
    async with connect(f"http://127.0.0.1:{listener.port}/telewire", transport="exchange") as remote:
        with pytest.raises(TransportUnsuitable, match="405"):
            await remote.f()
    await listener.aclose()


async def test_certificates_are_verified(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    serving, _ = tls
    listener = await serve_websocket(
        lambda transport: pytest.fail("a transport"), port=0, ssl_context=serving
    )
    async with connect(f"https://localhost:{listener.port}/telewire", transport="exchange") as remote:
        with pytest.raises(NetworkError, match="certificate"):
            await remote.f()
    await listener.aclose()


# --- what is sent --------------------------------------------------------------------------------


async def test_a_short_call_is_an_ordinary_request() -> None:
    async with standing(Foreign(ok(answer_of("pong")))) as server:
        async with connect(server.url, transport="exchange", headers={"X-Key": "1"}) as remote:
            assert await remote.ping() == "pong"
        [request] = server.requests
        head, _, body = request.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert lines[0] == b"POST /telewire HTTP/1.1"
        [route] = [line for line in lines if line.startswith(b"Telewire-Route: ")]
        assert {
            route,
            b"Host: 127.0.0.1:%d" % server.port,
            b"X-Key: 1",
            b"Content-Type: application/telewire",
            b"content-length: %d" % len(body),
        } == set(lines[1:])
        assert len(BatchReader(Limits()).receive_data(body)) == 1


REDIRECT = "HTTP/1.1 {} Somewhere\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("status", [307, 308])
async def test_a_request_is_made_again_where_a_framework_has_mounted_the_server(status: int) -> None:
    answer = REDIRECT.format(status, "/telewire/").encode()
    async with standing(Foreign(answer)) as server:
        async with connect(server.url, transport="exchange") as remote:
            # What stands there answers alike the second time, and that is not followed.
            with pytest.raises(NetworkError, match="redirects"):
                await remote.f()
        first, second = server.requests
        assert first.split(b" ")[1] == b"/telewire"
        assert second.split(b" ")[1] == b"/telewire/"
        assert first.partition(b"\r\n\r\n")[2] == second.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    ("status", "target"),
    [
        (301, "/telewire/"),
        (302, "/telewire/"),
        (307, "/elsewhere/"),
        (307, "http://evil.example/telewire/"),
        (307, "//evil.example/telewire/"),
        (308, "/telewire"),
    ],
)
async def test_no_other_redirect_is_followed(status: int, target: str) -> None:
    async with standing(Foreign(REDIRECT.format(status, target).encode())) as server:
        async with connect(server.url, transport="exchange") as remote:
            with pytest.raises(NetworkError, match="redirects"):
                await remote.f()
        assert len(server.requests) == 1


async def test_a_connection_is_used_again_where_it_can_be() -> None:
    async with standing(Foreign(ok(answer_of(1)), hang_up=False)) as server:
        async with connect(server.url, transport="exchange") as remote:
            for _ in range(3):
                assert await remote.f() == 1
        assert (len(server.requests), server.connections) == (3, 1)


async def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    async with standing(Foreign(ok(answer_of(1)))) as server:
        async with connect(server.url, transport="exchange") as remote:
            for _ in range(3):
                assert await remote.f() == 1
                for _ in range(20):
                    await anyio.lowlevel.checkpoint()
        assert (len(server.requests), server.connections) == (3, 3)


async def test_an_answer_that_nobody_asked_for_closes_the_connection() -> None:
    answer = ok(answer_of(1))
    async with standing(Foreign(answer + answer, hang_up=False)) as server:
        async with connect(server.url, transport="exchange") as remote:
            assert await remote.f() == 1
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            assert await remote.f() == 1
        assert server.connections == 2


async def test_a_body_that_ends_with_its_connection() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/telewire\r\n\r\n" + answer_of([1, 2])
    async with standing(Foreign(answer)) as server, connect(server.url, transport="exchange") as remote:
        assert await remote.f() == [1, 2]


async def test_interim_answers_are_passed_over() -> None:
    answer = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok(answer_of(1))
    async with standing(Foreign(answer)) as server, connect(server.url, transport="exchange") as remote:
        assert await remote.f() == 1


# --- headers -------------------------------------------------------------------------------------


async def sync_or_async(value: dict[str, str]) -> dict[str, str]:
    await anyio.lowlevel.checkpoint()
    return value


@pytest.mark.parametrize("wrap", [dict, sync_or_async])
async def test_headers_are_made_anew_for_each_request(wrap: Callable[[dict[str, str]], object]) -> None:
    tokens = iter("abc")
    async with standing(Foreign(ok(answer_of(1)))) as server:
        made = connect(server.url, transport="exchange", headers=lambda: wrap({"X-Token": next(tokens)}))  # type: ignore[arg-type, return-value]
        async with made as remote:
            await remote.f()
            await remote.f()
        assert [b"X-Token: a" in server.requests[0], b"X-Token: b" in server.requests[1]] == [True, True]


async def test_headers_that_cannot_be_made_fail_the_call_before_it_left() -> None:
    def headers() -> dict[str, str]:
        raise KeyError("a secret")

    async with connect("http://127.0.0.1:9/telewire", transport="exchange", headers=headers) as remote:
        with pytest.raises(NetworkError, match="headers= raised KeyError") as failed:
            await remote.f()
    assert "secret" not in str(failed.value)
    assert failed.value.retryable
    async with connect(
        "http://127.0.0.1:9/telewire", transport="exchange", headers=lambda: {"Host": "x"}
    ) as remote:
        with pytest.raises(NetworkError, match="'Host' belongs to"):
            await remote.f()


@pytest.mark.parametrize(
    ("made", "says"), [(5, "gave int; it has to give a mapping"), ({"X": 5}, "holds str to int")]
)
async def test_headers_that_are_none(made: object, says: str) -> None:
    url = "http://127.0.0.1:9/telewire"
    async with connect(url, transport="exchange", headers=lambda: made) as remote:  # type: ignore[arg-type, return-value]
        with pytest.raises(NetworkError, match=says):
            await remote.f()


@pytest.mark.parametrize(
    "name", ["Host", "content-type", "Transfer-Encoding", "Expect", "Accept", "Telewire-Session"]
)
def test_headers_that_are_the_requests_own_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="belongs to the HTTP request itself"):
        connect("http://127.0.0.1/telewire", transport="exchange", headers={name: "x"})


def test_arguments_that_do_not_fit_plain_http() -> None:
    with pytest.raises(ValueError, match="WebSocket; HTTP needs"):
        connect("ws://127.0.0.1/telewire", transport="exchange")
    with pytest.raises(ValueError, match="service="):
        connect("http://127.0.0.1/telewire", transport="exchange", service=Service())
    with pytest.raises(ValueError, match="'carrier pigeon' is none"):
        connect("http://127.0.0.1/telewire", transport="carrier pigeon")  # type: ignore[arg-type]


async def test_nothing_is_connected_before_the_first_call() -> None:
    client = connect("http://127.0.0.1:9/telewire", transport="exchange")
    assert isinstance(client, Client)
    assert client.state == "new"
    async with client:
        assert client.state == "connected"
    assert client.state == "lost"
    with pytest.raises(NetworkError, match="connect again"):
        client.remote.f()
