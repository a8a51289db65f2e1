"""WebSocket over real sockets: handshakes, refusals, hostile and foreign peers."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import anyio.abc
import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from telewire.errors import ErrorCode, NetworkError, RemoteProtocolError
from telewire.limits import Limits
from telewire.testing.transports import Recorder
from telewire_transports.websocket import WebSocketListener, connect_websocket, serve_websocket
from telewire_transports.websocket.frames import SUBPROTOCOL
from telewire_transports.websocket.masking import mask

pytestmark = pytest.mark.anyio

LIMITS = replace(Limits(), batch_bytes=1000)
KEY = b"\1\2\3\4"
HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: telewire.1\r\n{more}\r\n"
)


class Server:
    """A listener, and a recorder for each transport it accepted."""

    def __init__(self) -> None:
        self.recorders: list[Recorder] = []
        self.listener: WebSocketListener

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.listener.port}/telewire"

    def accept(self, transport: object) -> Recorder:
        recorder = Recorder(f"server {len(self.recorders)}")
        self.recorders.append(recorder)
        return recorder.accept(transport)  # type: ignore[arg-type]

    def handshake(self, *more: str, path: str = "/telewire", host: str | None = None) -> bytes:
        host = host or f"127.0.0.1:{self.listener.port}"
        return HANDSHAKE.format(path=path, host=host, more="".join(f"{line}\r\n" for line in more)).encode()


@asynccontextmanager
async def serving(limits: Limits = LIMITS, **options: object) -> AsyncIterator[Server]:
    server = Server()
    server.listener = await serve_websocket(server.accept, port=0, limits=limits, **options)  # type: ignore[arg-type]
    try:
        yield server
    finally:
        await server.listener.aclose()
        for recorder in server.recorders:
            recorder.abort()
            await recorder.lost()
            assert recorder.complaints == []
            assert len(recorder.losses) == 1


async def receive_all(stream: anyio.abc.ByteReceiveStream) -> bytes:
    data = b""
    try:
        while True:
            data += await stream.receive()
    except anyio.EndOfStream:
        return data


async def ask(server: Server, request: bytes) -> bytes:
    """Everything that the server says to a request, until it hangs up."""
    async with await anyio.connect_tcp("127.0.0.1", server.listener.port) as stream:
        await stream.send(request)
        return await receive_all(stream)


@asynccontextmanager
async def raw_client(server: Server) -> AsyncIterator[tuple[anyio.abc.SocketStream, Recorder]]:
    async with await anyio.connect_tcp("127.0.0.1", server.listener.port) as stream:
        await stream.send(server.handshake())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await stream.receive()
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"telewire.1" in head
        yield stream, server.recorders[-1]


# --- the server's door ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ((b"GET", b"POST"), 405, "GET"),
        ((b"/telewire", b"/other"), 404, "/other"),
        ((b"Host: 127.0.0.1", b"Host: evil.example"), 403, "hosts="),
        ((b"Upgrade: websocket", b"Origin: http://evil.example"), 403, "origins="),
        ((b"Upgrade: websocket", b"Sec-Fetch-Site: cross-site"), 403, "cross-site"),
        ((b"Upgrade: websocket\r\n", b""), 426, "Upgrade: websocket"),
        ((b"Connection: Upgrade\r\n", b""), 400, "Connection"),
        ((b"Version: 13", b"Version: 8"), 426, "Version"),
        ((b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b""), 400, "Key"),
        ((b"telewire.1", b"telewire.2"), 400, "telewire.1"),
        ((b"telewire.1", b"chat"), 400, "telewire.1"),
        ((b"Sec-WebSocket-Protocol: telewire.1\r\n", b""), 400, "telewire.1"),
        ((b"Upgrade: websocket", b"Upgrade: websocket\r\nContent-Length: 3"), 400, "body"),
        ((b"Connection: Upgrade", b"Connection: \xff"), 400, "ASCII"),
        ((b"HTTP/1.1", b"HTTP/1.x"), 400, "HTTP"),
        ((b"Host: ", b"Ghost: "), 400, "HTTP"),
        ((b"GET", b"\x16\x03\x01"), 400, "HTTP"),
        ((b"Upgrade: websocket", b"X: " + bytes([120]) * 20_000), 431, "16384"),
    ],
)
async def test_a_refusal_names_its_rule(change: tuple[bytes, bytes], status: int, says: str) -> None:
    async with serving() as server:
        answer = await ask(server, server.handshake().replace(*change))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"Connection: close" in head
        assert says in body.decode()
        assert len(body) < 500
        assert server.recorders == []


async def test_headers_without_end_are_refused_at_16_kib() -> None:
    async with serving() as server, await anyio.connect_tcp("127.0.0.1", server.listener.port) as stream:
        await stream.send(b"GET /telewire HTTP/1.1\r\n")
        async with anyio.create_task_group() as group:

            async def flood() -> None:
                try:
                    while True:
                        await stream.send(b"X-Endless: " + b"x" * 4000 + b"\r\n")
                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                    return

            group.start_soon(flood)
            assert (await stream.receive()).startswith(b"HTTP/1.1 431 ")
            group.cancel_scope.cancel()


@pytest.mark.parametrize("said", [b"", b"GET /telewire HTTP/1.1\r\nHost: 127"])
async def test_a_handshake_that_does_not_come_is_ended(said: bytes) -> None:
    async with serving(replace(LIMITS, hello_seconds=0.05)) as server:
        answer = await ask(server, said)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"0.05 s" in answer


async def test_closing_the_listener_drops_handshakes_and_leaves_transports() -> None:
    async with serving() as server, raw_client(server) as (stream, recorder):
        async with await anyio.connect_tcp("127.0.0.1", server.listener.port) as idle:
            await idle.send(b"GET ")
            # The idle link is known to the server once a later one has been served.
            async with raw_client(server):
                await server.listener.aclose()
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await idle.receive()
        await stream.send(b"\x82\x82" + KEY + mask(b"hi", KEY))
        await recorder.until(lambda: recorder.batches == [b"hi"])
        with pytest.raises(OSError):
            await anyio.connect_tcp("127.0.0.1", server.listener.port)


async def test_the_request_is_told() -> None:
    async with serving() as server:
        recorder = Recorder()
        await connect_websocket(
            server.url + "?secret=1", recorder.accept, headers={"Authorization": "Bearer x", "X-A": "ü"}
        )
        request = server.recorders[0].transport.request
        assert request.transport == "websocket"
        assert request.path == "/telewire"
        assert request.headers["authorization"] == "Bearer x"
        assert request.headers["x-a"] == "ü"
        assert request.headers["host"] == f"127.0.0.1:{server.listener.port}"
        assert request.peer is not None
        assert request.peer.startswith("127.0.0.1:")
        assert recorder.transport.request.peer == f"127.0.0.1:{server.listener.port}"
        assert "Bearer" not in repr(request)
        recorder.close()
        assert await recorder.lost() is None
        assert await server.recorders[0].lost() is None


async def test_listed_origins_and_hosts_are_served() -> None:
    async with serving(origins=("https://app.example",), hosts=("app.example",)) as server:
        host = "app.example"
        request = server.handshake("Origin: https://app.example", "Sec-Fetch-Site: cross-site", host=host)
        async with await anyio.connect_tcp("127.0.0.1", server.listener.port) as stream:
            await stream.send(request)
            assert (await stream.receive()).startswith(b"HTTP/1.1 101 ")


async def test_batches_behind_the_handshake_are_not_lost() -> None:
    async with serving() as server, await anyio.connect_tcp("127.0.0.1", server.listener.port) as stream:
        await stream.send(server.handshake() + b"\x82\x82" + KEY + mask(b"hi", KEY))
        await stream.receive()
        [recorder] = server.recorders
        await recorder.until(lambda: recorder.batches == [b"hi"])


async def test_a_path_without_slash_is_refused() -> None:
    with pytest.raises(ValueError, match="'/telewire'"):
        await serve_websocket(Recorder().accept, port=0, path="telewire")


# --- hostile peers behind the handshake ----------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "code", "error"),
    [
        (b"\x81\x82" + KEY + b"hi", 1003, ErrorCode.MALFORMED),
        (b"\x82\x02hi", 1002, ErrorCode.MALFORMED),
        (b"\x82\xfe\x03\xe9" + KEY + bytes(1001), 1009, ErrorCode.BATCH_TOO_LARGE),
        (b"\x82\xff" + (2**50).to_bytes(8) + KEY + bytes(500_000), 1009, ErrorCode.BATCH_TOO_LARGE),
        (b"\xff" * 16, 1002, ErrorCode.MALFORMED),
    ],
    ids=["text", "unmasked", "oversized", "vast", "garbage"],
)
async def test_a_broken_rule_is_told_and_ends_the_transport(wire: bytes, code: int, error: ErrorCode) -> None:
    async with serving() as server, raw_client(server) as (stream, recorder):
        await stream.send(b"\x82\x82" + KEY + mask(b"ok", KEY) + wire)
        if code in (1003, 1009):
            # Nothing is said for the machine, which says it itself.
            await recorder.until(lambda: len(recorder.violations) > 0)
            assert recorder.violations[0].code is error
            recorder.send(b"why")
            recorder.close()
        answer = (await receive_all(stream)).removeprefix(b"\x82\x03why")
        assert answer[0] == 0x88
        assert int.from_bytes(answer[2:4]) == code
        await stream.aclose()
        lost = await recorder.lost()
        assert isinstance(lost, RemoteProtocolError)
        assert lost.code is error
        assert recorder.batches == [b"ok"]


async def test_who_ignores_our_close_is_cut() -> None:
    async with serving(replace(LIMITS, cleanup_seconds=0.05)) as server, raw_client(server) as (_, recorder):
        recorder.close()
        lost = await recorder.lost()
        assert isinstance(lost, NetworkError)
        assert "did not answer the close within 0.05 s" in str(lost)


async def test_who_stays_after_a_broken_rule_is_cut() -> None:
    limits = replace(LIMITS, cleanup_seconds=0.05)
    async with serving(limits) as server, raw_client(server) as (stream, recorder):
        await stream.send(b"\x82\x00")
        assert isinstance(await recorder.lost(), RemoteProtocolError)


async def test_a_violation_that_nobody_answers_ends_all_the_same() -> None:
    limits = replace(LIMITS, cleanup_seconds=0.05)
    async with serving(limits) as server, raw_client(server) as (stream, recorder):
        await stream.send(b"\x81\x80" + KEY)
        answer = await receive_all(stream)
        assert int.from_bytes(answer[2:4]) == 1003
        await stream.aclose()
        assert isinstance(await recorder.lost(), RemoteProtocolError)
        assert len(recorder.violations) == 1


@pytest.mark.parametrize("said", [b"", b"\x82\x85" + KEY + b"par"])
async def test_an_end_of_file_without_close_is_a_loss(said: bytes) -> None:
    async with serving() as server, raw_client(server) as (stream, recorder):
        if said:
            await stream.send(said)
            await recorder.until(lambda: recorder.byte_signs > 0)
        await stream.aclose()
        lost = await recorder.lost()
        assert isinstance(lost, NetworkError)
        assert "without a closing handshake" in str(lost)
        assert recorder.batches == []


async def test_any_byte_is_a_sign_of_life_and_pings_are_answered() -> None:
    async with serving() as server, raw_client(server) as (stream, recorder):
        await stream.send(b"\x89\x82" + KEY + mask(b"hi", KEY))
        assert await stream.receive() == b"\x8a\x02hi"
        assert recorder.byte_signs == 1
        await stream.send(b"\x82")
        await recorder.until(lambda: recorder.byte_signs == 2)
        await stream.send(b"\x82" + KEY)
        await recorder.until(lambda: recorder.byte_signs == 3)
        await stream.send(mask(b"hi", KEY))
        await recorder.until(lambda: recorder.batches == [b"hi"])
        assert recorder.byte_signs == 3


async def test_a_ping_flood_that_reads_nothing_does_not_fill_our_output() -> None:
    async with serving() as server, raw_client(server) as (stream, recorder):
        blocked = 0
        while blocked < 500:
            blocked += 1
            if recorder.transport.writable:
                blocked = 0
                recorder.send(bytes(1000) * 64)
            await anyio.lowlevel.checkpoint()
        signs = recorder.byte_signs
        await stream.send(b"\x89\xfd" + KEY + bytes(125))
        await recorder.until(lambda: recorder.byte_signs > signs)
        recorder.close()
        answer = await _frames_of(stream)
        assert 0x8A not in answer
        assert answer[-1] == 0x88


async def _frames_of(stream: anyio.abc.SocketStream) -> list[int]:
    """First bytes of all frames until a close frame."""
    data = b""
    seen: list[int] = []
    while not seen or seen[-1] != 0x88:
        while len(data) < 4:
            data += await stream.receive()
        length, size = data[1], 2
        if length == 126:
            length, size = int.from_bytes(data[2:4]), 4
        while len(data) < size + length:
            data += await stream.receive()
        seen.append(data[0])
        data = data[size + length :]
    return seen


# --- the client ----------------------------------------------------------------------------------


@asynccontextmanager
async def answering(answer: bytes, *, hang_up: bool = True) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that gives one answer; the list holds what it hears afterwards."""
    heard: list[bytes] = []
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)

    async def handle(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            if answer:
                await stream.send(answer)
            if not hang_up:
                try:
                    heard.append(await receive_all(stream))
                except anyio.BrokenResourceError:
                    heard.append(b"reset")

    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        yield f"ws://127.0.0.1:{port}/telewire", heard
        group.cancel_scope.cancel()


async def failure(url: str, timeout: float = 10.0) -> Exception:
    recorder = Recorder()
    try:
        await connect_websocket(url, recorder.accept, timeout=timeout)
    except (NetworkError, RemoteProtocolError) as error:
        assert not hasattr(recorder, "transport")
        return error
    raise AssertionError("It connected.")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 403 No\r\nContent-Length: 14\r\n\r\nBad \x1b[31mHost\n", r"status 403: Bad \x1b[31mHost"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000, "x" * 199 + "…"),
        (b"HTTP/1.1 500 No\r\nConnection: close\r\n\r\nsorry", "status 500: sorry"),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "status 404"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "status 200: hi"),
        (b"HTTP/1.1 102 Wait\r\n\r\n", "status 102"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "did not answer as a WebSocket server"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000, "headers above 16384 bytes"),
        (b"", "hung up during the WebSocket handshake"),
        (b"HTTP/1.1 101 Sw", "hung up during the WebSocket handshake"),
    ],
    ids=["403", "long", "until close", "empty", "chunked", "102", "ssh", "endless", "nothing", "half"],
)
async def test_a_refused_handshake_is_a_network_error(answer: bytes, says: str) -> None:
    async with answering(answer) as (url, _):
        error = await failure(url)
        assert isinstance(error, NetworkError)
        assert says in str(error)
        assert "\x1b" not in str(error)
        assert len(str(error)) < 400


SWITCH = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


@pytest.mark.parametrize("more", [b"", b"Sec-WebSocket-Accept: bm9wZQ==\r\n"])
async def test_a_wrong_101_is_told_by_close_1002(more: bytes) -> None:
    async with answering(SWITCH + more + b"\r\n", hang_up=False) as (url, heard):
        error = await failure(url)
        assert isinstance(error, RemoteProtocolError)
        assert error.code is ErrorCode.VERSION_MISMATCH
        while not heard:
            await anyio.lowlevel.checkpoint()
        assert heard[0][0] == 0x88


@pytest.mark.parametrize("offered", [None, "chat"])
async def test_a_server_of_another_subprotocol_is_told_by_close_1002(offered: str | None) -> None:
    chosen = None if offered is None else [Subprotocol(offered)]
    async with foreign_server(chosen) as (url, protocol):
        error = await failure(url)
        assert isinstance(error, RemoteProtocolError)
        while protocol.close_rcvd is None:
            await anyio.lowlevel.checkpoint()
        assert protocol.close_rcvd.code == 1002


async def test_silence_after_connecting_is_bounded() -> None:
    async with answering(b"", hang_up=False) as (url, heard):
        error = await failure(url, timeout=0.05)
        assert isinstance(error, NetworkError)
        assert "port" in str(error)
        assert "0.05 s" in str(error)
        while not heard:
            await anyio.lowlevel.checkpoint()


async def test_a_refused_connection_names_host_and_port() -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    await listener.aclose()
    error = await failure(f"ws://127.0.0.1:{port}/")
    assert isinstance(error, NetworkError)
    assert f"127.0.0.1 port {port}" in str(error)


async def test_an_untrusted_certificate_is_a_network_error(
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async with serving(ssl_context=tls[0]) as server:
        error = await failure(f"wss://localhost:{server.listener.port}/telewire")
        assert isinstance(error, NetworkError)
        assert "certificate" in str(error).lower()


async def test_plain_bytes_at_a_tls_port_are_dropped(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async with serving(ssl_context=tls[0]) as server:
        answer = b""
        try:
            answer = await ask(server, server.handshake())
        except anyio.BrokenResourceError:
            assert server.recorders == []
        assert b"HTTP/1.1 101" not in answer


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"Sec-WebSocket-Protocol": "x"}, "belongs to the WebSocket handshake"),
        ({"HOST": "x"}, "belongs to the WebSocket handshake"),
        ({"X-A": "a\r\nX-B: hunter2"}, "no header can"),
        ({"X-A": "hunter2\u20ac"}, "no header can"),
        ({"X A": "hunter2"}, "no header can"),
    ],
)
async def test_headers_that_cannot_be_sent(headers: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        await connect_websocket("ws://127.0.0.1:1/", Recorder().accept, headers=headers)
    assert "hunter2" not in str(caught.value)


async def test_cancelling_connect_leaves_nothing_open() -> None:
    async with answering(b"", hang_up=False) as (url, heard):
        with anyio.move_on_after(0.05) as scope:
            await connect_websocket(url, Recorder().accept)
        assert scope.cancelled_caught
        while not heard:
            await anyio.lowlevel.checkpoint()


# --- another implementation ----------------------------------------------------------------------


async def test_a_foreign_client_talks_to_our_server() -> None:
    async with serving() as server:
        protocol = ClientProtocol(parse_uri(server.url), subprotocols=[Subprotocol(SUBPROTOCOL)])
        protocol.send_request(protocol.connect())
        async with await anyio.connect_tcp("127.0.0.1", server.listener.port) as stream:
            received: list[bytes] = []

            async def run(until: int) -> None:
                for data in protocol.data_to_send():
                    await stream.send(data)
                while len(received) < until:
                    protocol.receive_data(await stream.receive())
                    received.extend(
                        event.data for event in protocol.events_received() if isinstance(event, Frame)
                    )

            while not server.recorders:
                await run(0)
                protocol.receive_data(await stream.receive())
            protocol.events_received()
            [recorder] = server.recorders
            protocol.send_binary(b"one")
            protocol.send_binary(b"two ", fin=False)
            protocol.send_continuation(b"parts", fin=True)
            recorder.send(b"a" * 70_000, b"b")
            await run(2)
            assert received == [b"a" * 70_000, b"b"]
            await recorder.until(lambda: recorder.batches == [b"one", b"two parts"])
            protocol.send_close(1000)
            await run(3)
            assert await recorder.lost() is None
            assert await receive_all(stream) == b""


@asynccontextmanager
async def foreign_server(
    subprotocols: list[Subprotocol] | None,
) -> AsyncIterator[tuple[str, ServerProtocol]]:
    """A server of the websockets library that echoes; its choice of subprotocol is forced."""

    def choose(_: ServerProtocol, offered: object) -> Subprotocol | None:
        return subprotocols[0] if subprotocols else None

    protocol = ServerProtocol(subprotocols=subprotocols, select_subprotocol=choose)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)

    async def handle(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            while True:
                try:
                    protocol.receive_data(await stream.receive())
                except anyio.EndOfStream:
                    protocol.receive_eof()
                    return
                for event in protocol.events_received():
                    if isinstance(event, Frame):
                        if event.opcode == 2:
                            protocol.send_binary(event.data)
                    else:
                        protocol.send_response(protocol.accept(event))  # type: ignore[arg-type]
                for data in protocol.data_to_send():
                    if data:
                        await stream.send(data)
                    else:
                        return

    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        yield f"ws://127.0.0.1:{port}/telewire", protocol
        group.cancel_scope.cancel()


async def test_our_client_talks_to_a_foreign_server() -> None:
    async with foreign_server([Subprotocol(SUBPROTOCOL)]) as (url, _):
        recorder = Recorder()
        await connect_websocket(url, recorder.accept)
        batches = [b"x", b"y" * 200, b"z" * 70_000]
        recorder.send(*batches)
        await recorder.until(lambda: len(recorder.batches) == 3)
        assert recorder.batches == batches
        recorder.close()
        assert await recorder.lost() is None
        assert recorder.complaints == []
