"""What is no batch, over HTTP: the machine answers with its CLOSE (TW-FRM-003, TW-SES-103)."""

from __future__ import annotations

import contextlib

import anyio
import anyio.abc
import pytest

from telewire import NetworkError, Service
from telewire.core.events import CallRejected, ConnectionClosed
from telewire.errors import ErrorCode
from telewire.limits import Limits
from telewire.runtime.transport import TransportName
from telewire.wire import frames as f
from telewire.wire.codec import decode_batch
from telewire.wire.reader import BatchReader, write_batch
from telewire_transports import connect
from telewire_transports.http1.events import write_events
from tests.transports.exchanges import serving
from tests.transports.raw_http import Raw, port_of
from tests.transports.raw_websocket import batch

pytestmark = pytest.mark.anyio
VAST = [
    pytest.param(b"\xff", ErrorCode.MALFORMED, id="no-byte-string"),
    pytest.param(b"\x5f\x41x\xff", ErrorCode.MALFORMED, id="indefinite"),
    pytest.param(write_batch(bytes(262_145))[:9], ErrorCode.BATCH_TOO_LARGE, id="vast"),
]


def closed_with(raw: Raw) -> ErrorCode | int | None:
    """The code of the CLOSE that has come, if one has."""
    ends = [each for each in raw.core.events_received() if isinstance(each, ConnectionClosed)]
    return ends[0].code if ends else None


async def refused_post(
    port: int, accept: str, body: bytes, path: str = "/telewire"
) -> ErrorCode | int | None:
    """Post to a session of its own what is no batch; the code that the session ends with."""
    raw = Raw(port, path)
    await raw.open(Accept=accept)
    assert await raw.post(raw.say()) == 204
    assert await raw.post(body) == 400
    codes: list[ErrorCode | int] = []

    def ended() -> bool:
        code = closed_with(raw)
        codes.extend([] if code is None else [code])
        return bool(codes)

    await raw.hear(ended)
    await raw.stream.aclose()
    return codes[0]


@pytest.mark.parametrize("accept", ["application/telewire", "text/event-stream"])
@pytest.mark.parametrize(("body", "code"), VAST)
async def test_a_post_that_is_no_batch_ends_the_session_with_a_word(
    accept: str, body: bytes, code: ErrorCode
) -> None:
    async with serving(Service()) as url:
        assert await refused_post(port_of(url), accept, body) == code


async def test_a_post_that_was_cut_harms_nothing() -> None:
    """A proxy may cut it: it is sent again."""
    async with serving(Service()) as url:
        raw = Raw(port_of(url))
        await raw.open()
        body = raw.say()
        assert await raw.post(body[:-1]) == 400
        assert await raw.post(body) == 204
        raw.core.call("nothing", bytes([0x82, 0x80, 0xA0]))
        assert await raw.post(raw.say()) == 204
        await raw.hear(lambda: any(isinstance(each, CallRejected) for each in raw.core.events_received()))
        await raw.stream.aclose()


class Liar:
    """A server of one HTTP session that says what is no batch as soon as it is called, and notes the rest."""

    def __init__(self, kind: TransportName, lie: bytes) -> None:
        self.kind = kind
        self.lie = lie
        self.heard: list[f.Frame] = []
        self.opened = 0
        self.called = anyio.Event()

    async def serve(self, stream: anyio.abc.SocketStream) -> None:
        """Answer one request after the other."""
        async with stream:
            data = b""
            while True:
                while b"\r\n\r\n" not in data:
                    try:
                        data += await stream.receive()
                    except (anyio.EndOfStream, anyio.BrokenResourceError):
                        return
                head, _, data = data.partition(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                while len(data) < length:
                    data += await stream.receive()
                body, data = data[:length], data[length:]
                if b"telewire-session: open" in head.lower():
                    await self._down(stream)
                    return
                await stream.send(b"HTTP/1.1 204 No Content\r\n\r\n")
                self._note(body)

    def _note(self, body: bytes) -> None:
        for each in BatchReader(Limits()).receive_data(body):
            self.heard += decode_batch(each, Limits())
        if any(isinstance(frame, f.Call) for frame in self.heard):
            self.called.set()

    async def _down(self, stream: anyio.abc.SocketStream) -> None:
        self.opened += 1
        sse = self.kind == "sse"
        head = "HTTP/1.1 200 OK\r\nTelewire-Session: a.b.c\r\nContent-Type: "
        await stream.send((head + ("text/event-stream" if sse else "application/telewire")).encode())
        hello = batch(f.Position(0), f.Hello(1, 1, (1,), {}, b"session", b"t" * 16))
        await stream.send(b"\r\n\r\n" + (write_events([hello]) if sse else write_batch(hello)))
        await self.called.wait()
        await stream.send(self.lie)
        with contextlib.suppress(anyio.BrokenResourceError, anyio.EndOfStream):
            while True:
                await stream.receive()


@pytest.mark.parametrize(
    ("kind", "lie", "code"),
    [
        ("http", b"\xff", ErrorCode.MALFORMED),
        ("http", write_batch(bytes(262_145))[:9], ErrorCode.BATCH_TOO_LARGE),
        ("sse", b"data: %%\n\n", ErrorCode.MALFORMED),
        ("sse", b"data: " + b"A" * 400_000, ErrorCode.BATCH_TOO_LARGE),
    ],
)
async def test_a_client_says_why_and_does_not_come_back(
    kind: TransportName, lie: bytes, code: ErrorCode
) -> None:
    liar = Liar(kind, lie)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, liar.serve)
            with anyio.fail_after(20):
                async with connect(f"http://127.0.0.1:{port}/telewire", transport=kind) as remote:
                    with pytest.raises(NetworkError) as caught:
                        await remote.anything()
                    assert code.name.lower().replace("_", " ") in str(caught.value)
            group.cancel_scope.cancel()
    last = liar.heard[-1]
    assert isinstance(last, f.Close)
    assert last.code == code
    assert liar.opened == 1
