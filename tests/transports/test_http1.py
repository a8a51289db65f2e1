"""HTTP/1.1 as a server, from the outside: refusals, hostile requests, keep-alive, both bodies at once."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import anyio.abc
import pytest

from telewire.core.connection import Connection
from telewire.errors import ErrorCode
from telewire.limits import Limits
from telewire.runtime.transport import ExchangeTransport
from telewire.testing.transports import Recorder
from telewire.wire.reader import BatchReader, write_batch
from telewire_transports.http1 import serve_http1
from telewire_transports.web_door import WebListener

pytestmark = pytest.mark.anyio

LIMITS = replace(Limits(), batch_bytes=70_000)
HEAD = "POST /telewire HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/telewire\r\n{more}\r\n"


class Server:
    """A listener, and a recorder for each exchange."""

    def __init__(self) -> None:
        self.recorders: list[Recorder] = []
        self.listener: WebListener
        self._arrived = anyio.Event()

    def accept(self, transport: ExchangeTransport) -> Recorder:
        recorder = Recorder(f"exchange {len(self.recorders)}")
        self.recorders.append(recorder)
        self._arrived.set()
        self._arrived = anyio.Event()
        return recorder.accept(transport)

    async def exchange(self, number: int = 0) -> Recorder:
        """The recorder of an exchange, once it has begun."""
        while len(self.recorders) <= number:
            await self._arrived.wait()
        return self.recorders[number]

    def head(self, *more: str) -> bytes:
        host = f"127.0.0.1:{self.listener.port}"
        return HEAD.format(host=host, more="".join(f"{line}\r\n" for line in more)).encode()

    def request(self, *batches: bytes) -> bytes:
        body = b"".join(map(write_batch, batches))
        return self.head(f"Content-Length: {len(body)}") + body


@asynccontextmanager
async def serving(limits: Limits = LIMITS, **options: object) -> AsyncIterator[Server]:
    server = Server()
    server.listener = await serve_http1(server.accept, port=0, limits=limits, **options)  # type: ignore[arg-type]
    try:
        # Who waits for ever tells nobody what is wrong.
        with anyio.fail_after(20):
            yield server
    finally:
        await server.listener.aclose()
        for recorder in server.recorders:
            recorder.abort()
            await recorder.lost()
            assert recorder.complaints == []
            assert len(recorder.losses) == 1


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@asynccontextmanager
async def dialling(server: Server) -> AsyncIterator[anyio.abc.SocketStream]:
    async with await anyio.connect_tcp("127.0.0.1", server.listener.port) as stream:
        yield stream


async def until_closed(stream: anyio.abc.ByteReceiveStream) -> bytes:
    data = b""
    try:
        while True:
            data += await stream.receive()
    except anyio.EndOfStream:
        return data


async def until_seen(stream: anyio.abc.ByteReceiveStream, what: bytes) -> bytes:
    data = b""
    while what not in data:
        data += await stream.receive()
    return data


async def send_until_blocked(stream: anyio.abc.SocketStream, piece: bytes) -> int:
    """Send whole pieces until nobody has taken a byte for many passes; how many were taken whole."""
    raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
    sent = refused = 0
    rest = piece
    with socket.fromfd(raw.fileno(), raw.family, raw.type) as plain:
        plain.setblocking(False)
        while refused < 1000 and sent < 1000:
            try:
                rest = rest[plain.send(rest) :]
                refused = 0
            except BlockingIOError:
                refused += 1
                await anyio.lowlevel.checkpoint()
            if not rest:
                sent, rest = sent + 1, piece
    return sent


async def ask(server: Server, request: bytes) -> bytes:
    """Everything that the server says to a request, until it hangs up."""
    async with dialling(server) as stream:
        await stream.send(request)
        return await until_closed(stream)


# --- the door ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ((b"POST", b"GET"), 405, "POST"),
        ((b"POST", b"OPTIONS"), 405, "POST"),
        ((b"/telewire HTTP", b"/other HTTP"), 404, "/other"),
        ((b"Host: 127.0.0.1", b"Host: evil.example"), 403, "hosts="),
        ((b"Content-Length: 2", b"Content-Length: 2\r\nOrigin: http://evil.example"), 403, "origins="),
        ((b"Content-Length: 2", b"Content-Length: 2\r\nSec-Fetch-Site: cross-site"), 403, "cross-site"),
        ((b"Content-Type: application/telewire\r\n", b""), 415, "application/telewire"),
        ((b"application/telewire", b"application/telewire; charset=utf-8"), 415, "charset"),
        ((b"application/telewire", b"text/plain"), 415, "text/plain"),
        ((b"Content-Length: 2", b"Content-Length: 2\r\nContent-Encoding: gzip"), 415, "Content-Encoding"),
        ((b"Content-Length: 2", b"Content-Length: 2\r\nExpect: a-miracle"), 417, "a-miracle"),
        ((b"Content-Length: 2", b"Content-Length: x"), 400, "HTTP"),
        ((b"Content-Length: 2", b"Content-Length: 2\r\nContent-Length: 3"), 400, "HTTP"),
        ((b"Content-Length: 2", b"Transfer-Encoding: gzip"), 501, "HTTP"),
        ((b"Content-Length: 2", b"Content-Length: 2\r\nTransfer-Encoding: chunked"), 400, "not both"),
        ((b"HTTP/1.1", b"HTTP/1.x"), 400, "HTTP"),
        ((b"Host: ", b"Ghost: "), 400, "HTTP"),
        ((b"POST", b"\x16\x03\x01"), 400, "HTTP"),
        ((b"Content-Length: 2", b"X: " + b"x" * 20_000), 431, "16384"),
    ],
)
async def test_a_refusal_names_its_rule(change: tuple[bytes, bytes], status: int, says: str) -> None:
    async with serving() as server:
        request = server.head("Content-Length: 2")
        assert change[0] in request
        answer = await ask(server, request.replace(*change) + b"\x41x")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"Connection: close" in head
        assert b"Access-Control" not in head
        assert says in body.decode()
        assert len(body) < 500
        assert server.recorders == []


async def test_a_refusal_says_what_is_allowed() -> None:
    async with serving() as server:
        answer = await ask(server, server.head().replace(b"POST", b"PUT"))
        assert b"\r\nAllow: POST\r\n" in answer
        answer = await ask(server, server.head().replace(b"application/telewire", b"text/html"))
        assert b"\r\nAccept-Post: application/telewire\r\n" in answer


async def test_an_origin_that_was_allowed_may_post() -> None:
    async with serving(origins=("https://app.example",)) as server:
        request = server.request(b"x").replace(b"Host", b"Origin: https://app.example\r\nHost")
        async with dialling(server) as stream:
            await stream.send(request)
            recorder = await server.exchange()
            assert recorder.transport.request.headers["origin"] == "https://app.example"


@pytest.mark.parametrize("begun", ["", "POST /telewire HTTP/1.1\r\nHost: 127"])
async def test_a_head_that_does_not_come_is_not_waited_for(begun: str) -> None:
    async with serving(replace(LIMITS, hello_seconds=0.05)) as server:
        answer = await ask(server, begun.encode())
        assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_head_may_come_byte_by_byte() -> None:
    async with serving() as server, dialling(server) as stream:
        for byte in server.request(b"x"):
            await stream.send(bytes([byte]))
        recorder = await server.exchange()
        await recorder.until(lambda: recorder.input_ends)
        assert recorder.batches == [b"x"]


# --- an exchange ---------------------------------------------------------------------------------


async def test_the_request_as_the_handler_sees_it() -> None:
    async with serving() as server, dialling(server) as stream:
        await stream.send(server.request(b"one", b"two").replace(b"Host", b"X-Who: me\r\nX-Who: you\r\nHost"))
        recorder = await server.exchange()
        await recorder.until(lambda: recorder.input_ends)
        assert recorder.batches == [b"one", b"two"]
        request = recorder.transport.request
        assert (request.path, request.transport, request.headers["x-who"]) == ("/telewire", "http", "me, you")
        assert request.peer is not None
        assert request.peer.startswith("127.0.0.1:")


async def test_the_response_is_streamed_and_nobody_keeps_it() -> None:
    async with serving() as server, dialling(server) as stream:
        await stream.send(server.request(b"x"))
        recorder = await server.exchange()
        recorder.send(b"first")
        head, _, body = (await until_seen(stream, b"first\r\n")).partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        assert lines[0] == b"http/1.1 200 ok"
        for line in (
            b"content-type: application/telewire",
            b"cache-control: no-store, no-transform",
            b"x-accel-buffering: no",
            b"transfer-encoding: chunked",
        ):
            assert line in lines
        assert body == chunk(write_batch(b"first"))
        recorder._call("send_last", lambda: recorder.transport.send_last([b"second", b"third"]))  # type: ignore[attr-defined]
        rest = await until_seen(stream, b"0\r\n\r\n")
        assert rest == chunk(write_batch(b"second") + write_batch(b"third")) + b"0\r\n\r\n"
        assert await recorder.lost() is None


async def test_a_response_that_is_whole_says_how_long_it_is() -> None:
    async with serving() as server, dialling(server) as stream:
        await stream.send(server.request(b"x"))
        recorder = await server.exchange()
        await recorder.until(lambda: recorder.input_ends)
        recorder.transport.send_last([b"all"])  # type: ignore[attr-defined]
        recorder.transport.send([b"too late"])
        recorder.transport.send_last([b"too late"])  # type: ignore[attr-defined]
        answer = await until_seen(stream, b"all")
        assert b"\r\ncontent-length: 4\r\n" in answer.lower()
        assert answer.endswith(b"\r\n\r\n" + write_batch(b"all"))
        assert await recorder.lost() is None


async def test_both_bodies_stream_at_once() -> None:
    async with serving() as server, dialling(server) as stream:
        await stream.send(server.head("Transfer-Encoding: chunked"))
        recorder = await server.exchange()
        for number in range(5):
            there = b"there %d" % number
            # A batch need not come with one chunk.
            whole = write_batch(there)
            await stream.send(chunk(whole[:3]) + chunk(whole[3:]))
            await recorder.until(lambda: len(recorder.batches) > number)  # noqa: B023 - awaited in the loop
            recorder.send(b"back %d" % number)
            await until_seen(stream, b"back %d\r\n" % number)
        assert recorder.input_ends == 0
        await stream.send(b"0\r\n\r\n")
        await recorder.until(lambda: recorder.input_ends)
        recorder.close()
        await until_seen(stream, b"0\r\n\r\n")
        assert await recorder.lost() is None


async def test_a_client_that_waits_to_be_told_to_go_on_is_told() -> None:
    async with serving() as server, dialling(server) as stream:
        await stream.send(server.head("Content-Length: 2", "Expect: 100-continue"))
        assert (await until_seen(stream, b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        await stream.send(write_batch(b"x"))
        recorder = await server.exchange()
        await recorder.until(lambda: recorder.input_ends)
        assert recorder.batches == [b"x"]


async def test_a_client_of_http_1_0_gets_a_body_that_ends_with_its_connection() -> None:
    async with serving() as server, dialling(server) as stream:
        await stream.send(server.request(b"x").replace(b"HTTP/1.1", b"HTTP/1.0"))
        recorder = await server.exchange()
        await recorder.until(lambda: recorder.input_ends)
        recorder.send(b"first")
        recorder.close()
        head, _, body = (await until_closed(stream)).partition(b"\r\n\r\n")
        assert b"chunked" not in head
        assert body == write_batch(b"first")


# --- the connection after it ---------------------------------------------------------------------


async def test_a_connection_serves_one_exchange_after_the_other() -> None:
    async with serving() as server, dialling(server) as stream:
        for number in range(3):
            await stream.send(server.request(b"%d" % number))
            recorder = await server.exchange(number)
            await recorder.until(lambda: recorder.input_ends)  # noqa: B023 - awaited in the loop
            recorder.transport.send_last([b"answer %d" % number])  # type: ignore[attr-defined]
            await until_seen(stream, b"answer %d" % number)
            assert await recorder.lost() is None
        await stream.send(server.request(b"x").replace(b"/telewire", b"/other"))
        assert (await until_closed(stream)).startswith(b"HTTP/1.1 404 ")


async def test_a_request_that_was_sent_ahead_waits_for_its_turn() -> None:
    async with serving() as server, dialling(server) as stream:
        await stream.send(server.request(b"1") + server.request(b"2"))
        first = await server.exchange()
        await first.until(lambda: first.input_ends)
        assert len(server.recorders) == 1
        first.transport.send_last([b"one"])  # type: ignore[attr-defined]
        second = await server.exchange(1)
        await second.until(lambda: second.input_ends)
        assert second.batches == [b"2"]
        second.transport.send_last([b"two"])  # type: ignore[attr-defined]
        await until_seen(stream, b"two")


async def test_what_is_sent_ahead_is_bounded() -> None:
    async with serving() as server, dialling(server) as stream:
        await stream.send(server.request(b"1"))
        first = await server.exchange()
        assert await send_until_blocked(stream, bytes(65536)) < 1000
        first.close()
        assert await first.lost() is None


async def test_connection_close_is_obeyed() -> None:
    async with serving() as server, dialling(server) as stream:
        await stream.send(server.request(b"1").replace(b"Host", b"Connection: close\r\nHost"))
        recorder = await server.exchange()
        await recorder.until(lambda: recorder.input_ends)
        recorder.transport.send_last([b"all"])  # type: ignore[attr-defined]
        answer = await until_closed(stream)
        assert b"\r\nconnection: close\r\n" in answer.lower()
        assert answer.endswith(b"all")


async def test_a_connection_that_nobody_uses_is_closed() -> None:
    async with serving(replace(LIMITS, idle_seconds=0.05)) as server, dialling(server) as stream:
        await stream.send(server.request(b"1"))
        recorder = await server.exchange()
        await recorder.until(lambda: recorder.input_ends)
        recorder.transport.send_last([b"all"])  # type: ignore[attr-defined]
        assert (await until_closed(stream)).endswith(b"all")


async def test_closing_the_listener_ends_what_is_idle_and_leaves_what_runs() -> None:
    async with serving() as server, dialling(server) as idle, dialling(server) as busy:
        await idle.send(server.request(b"1"))
        first = await server.exchange()
        await first.until(lambda: first.input_ends)
        first.transport.send_last([b"all"])  # type: ignore[attr-defined]
        await until_seen(idle, b"all")
        await busy.send(server.request(b"2"))
        second = await server.exchange(1)
        await second.until(lambda: second.input_ends)
        await server.listener.aclose()
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await idle.receive()
        second.transport.send_last([b"the last"])  # type: ignore[attr-defined]
        assert (await until_closed(busy)).endswith(b"the last")


# --- ends that are none --------------------------------------------------------------------------


async def test_a_request_that_ends_after_its_response_leaves_the_connection_in_use() -> None:
    async with serving() as server, dialling(server) as stream:
        await stream.send(server.head("Transfer-Encoding: chunked") + chunk(write_batch(b"x")))
        recorder = await server.exchange()
        await recorder.until(lambda: recorder.batches)
        recorder.transport.send_last([b"enough"])  # type: ignore[attr-defined]
        await until_seen(stream, b"enough")
        await stream.send(chunk(write_batch(b"y")) + b"0\r\n\r\n" + server.request(b"next"))
        assert await recorder.lost() is None
        assert recorder.batches == [b"x"]
        following = await server.exchange(1)
        await following.until(lambda: following.input_ends)
        assert following.batches == [b"next"]


async def test_a_response_that_ends_before_its_request_is_read_to_its_end() -> None:
    async with serving(replace(LIMITS, cleanup_seconds=0.3)) as server, dialling(server) as stream:
        await stream.send(server.head("Content-Length: 10000000") + write_batch(b"x"))
        recorder = await server.exchange()
        await recorder.until(lambda: recorder.batches)
        recorder.transport.send_last([b"enough"])  # type: ignore[attr-defined]
        answer = await until_seen(stream, b"enough")
        assert answer.startswith(b"HTTP/1.1 200 ")
        # What is still sent is taken for a while, so that the response is not lost to a reset.
        for _ in range(100):
            await stream.send(bytes(10_000))
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await stream.receive()
        await stream.aclose()
        assert await recorder.lost() is None
        assert recorder.batches == [b"x"]


@pytest.mark.parametrize("complete", [True, False])
async def test_a_client_that_leaves_is_noticed_at_once(complete: bool) -> None:
    async with serving() as server:
        async with dialling(server) as stream:
            if complete:
                await stream.send(server.request(b"x"))
            else:
                await stream.send(server.head("Content-Length: 2"))
            recorder = await server.exchange()
            recorder.send(b"first")
            await until_seen(stream, b"first")
        assert "closed the connection" in str(await recorder.lost())


@pytest.mark.parametrize(
    ("body", "batches"),
    [
        (write_batch(b"good") + b"\x00", [b"good"]),
        (write_batch(bytes(262_145)), []),
        (write_batch(b"cut")[:-1], []),
        (b"\x5f\x41x\xff", []),
    ],
)
async def test_a_body_that_is_no_sequence_of_batches(body: bytes, batches: list[bytes]) -> None:
    async with serving() as server:
        request = server.head(f"Content-Length: {len(body)}") + body
        answer = await ask(server, request)
        assert answer.startswith(b"HTTP/1.1 400 ")
        [recorder] = server.recorders
        assert recorder.batches == batches
        assert await recorder.lost() is not None


@pytest.mark.parametrize("framing", [b"zz\r\n", b"-1\r\n", b"1" * 20_000, b"f" * 30 + b"\r\n"])
async def test_chunks_that_are_none(framing: bytes) -> None:
    async with serving() as server:
        answer = await ask(server, server.head("Transfer-Encoding: chunked") + framing)
        assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("body", [b"zz\r\n", chunk(b"\x00")], ids=["no chunk", "no batch that is answered"])
async def test_where_the_response_has_begun_it_is_broken_off(body: bytes) -> None:
    async with serving(replace(LIMITS, cleanup_seconds=0.05)) as server:
        async with dialling(server) as stream:
            await stream.send(server.head("Transfer-Encoding: chunked"))
            recorder = await server.exchange()
            recorder.send(b"first")
            await until_seen(stream, b"first\r\n")
            await stream.send(body)
            assert await until_closed(stream) == b""
        assert await recorder.lost() is not None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"\x00", ErrorCode.MALFORMED),
        (b"\x5f\x41x\xff", ErrorCode.MALFORMED),
        (write_batch(bytes(262_145))[:9], ErrorCode.BATCH_TOO_LARGE),
    ],
)
async def test_what_is_no_batch_is_for_the_machine_to_answer(body: bytes, code: ErrorCode) -> None:
    async with serving() as server:
        async with dialling(server) as stream:
            await stream.send(server.head("Transfer-Encoding: chunked"))
            recorder = await server.exchange()
            recorder.send(b"first")
            await until_seen(stream, b"first\r\n")
            await stream.send(chunk(write_batch(b"good") + body))
            await recorder.until(lambda: bool(recorder.violations))
            assert [violation.code for violation in recorder.violations] == [code]
            await stream.send(chunk(write_batch(b"unheard")))
            recorder.send(b"why")
            recorder.close()
            assert await until_closed(stream) == chunk(write_batch(b"why")) + b"0\r\n\r\n"
        await recorder.lost()
        assert recorder.batches == [b"good"]


async def test_random_bytes_harm_nobody() -> None:
    async with serving() as server:
        for seed in range(30):
            junk = bytes((seed * 31 + index * 17) % 256 for index in range(400))
            answer = await ask(server, junk + b"\r\n\r\n")
            assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))
        assert server.recorders == []


# --- backpressure --------------------------------------------------------------------------------


async def test_a_paused_request_is_not_read() -> None:
    async with serving() as server, dialling(server) as stream:
        plain = stream.extra(anyio.abc.SocketAttribute.raw_socket)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
        await stream.send(server.head("Transfer-Encoding: chunked"))
        recorder = await server.exchange()
        recorder._call("pause", lambda: recorder.transport.pause())  # type: ignore[attr-defined]
        sent = await send_until_blocked(stream, chunk(write_batch(bytes(60_000))))
        assert len(recorder.batches) < sent < 1000
        recorder._call("resume", lambda: recorder.transport.resume())  # type: ignore[attr-defined]
        await recorder.until(lambda: len(recorder.batches) >= sent)


# --- TLS and the whole ---------------------------------------------------------------------------


async def test_over_tls(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    serving_context, trusting = tls
    async with serving(ssl_context=serving_context) as server:
        stream = await anyio.connect_tcp(
            "127.0.0.1",
            server.listener.port,
            ssl_context=trusting,
            tls_hostname="localhost",
            tls_standard_compatible=False,
        )
        async with stream:
            await stream.send(server.request(b"x"))
            recorder = await server.exchange()
            await recorder.until(lambda: recorder.input_ends)
            recorder.transport.send_last([b"over TLS"])  # type: ignore[attr-defined]
            await until_seen(stream, b"over TLS")


def test_the_body_of_an_exchange_is_what_the_specification_says() -> None:
    client, server = Connection("client", exchange=True), Connection("server", exchange=True)
    client.call("f", b"\x82\x80\xa0")
    body = b"".join(map(write_batch, client.data_to_send()))
    assert client.said_all
    for each in BatchReader(Limits()).receive_data(body):
        server.receive_data(each, 0.0)
    server.receive_end(0.0)
    assert [type(event).__name__ for event in server.events_received()] == ["HelloReceived", "CallReceived"]


async def test_a_path_has_a_slash() -> None:
    with pytest.raises(ValueError, match="/telewire"):
        await serve_http1(Recorder().accept, port=0, path="telewire")
