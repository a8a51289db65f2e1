"""What is no batch, over WebSocket: the machine answers with its CLOSE, and no session comes back to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import anyio.abc
import pytest
import wsproto
from wsproto.events import AcceptConnection, BytesMessage, Request, TextMessage

from telewire import NetworkError, Service
from telewire.errors import ErrorCode
from telewire.limits import Limits
from telewire.runtime.backend import current_backend
from telewire.runtime.server import Server
from telewire.wire import frames as f
from telewire.wire.codec import decode_batch
from telewire_transports import connect
from telewire_transports.websocket import serve_websocket
from tests.transports.raw_websocket import SUBPROTOCOL, Peer, batch, client_of

pytestmark = pytest.mark.anyio

LIMITS = replace(Limits(), fragment_bytes=1024, batch_bytes=2048)
# The heads of what would be refused; the server's side has the mask of a client behind them.
VAST = b"\x82\xff" + (1 << 50).to_bytes(8)
LONG = b"\x82\xfe" + (2049).to_bytes(2)
TEXT = b"\x81\x82"
REFUSED = [
    pytest.param(VAST, 1009, ErrorCode.BATCH_TOO_LARGE, id="vast"),
    pytest.param(LONG, 1009, ErrorCode.BATCH_TOO_LARGE, id="one-byte-too-long"),
    pytest.param(TEXT, 1003, ErrorCode.MALFORMED, id="text"),
]


@asynccontextmanager
async def our_server() -> AsyncIterator[tuple[Server, int]]:
    service: Service[None] = Service()
    server = Server(current_backend(), service, LIMITS)
    listener = await serve_websocket(server.accept, port=0, limits=LIMITS)
    try:
        yield server, listener.port
    finally:
        await listener.aclose()
        await server.abort()


@pytest.mark.parametrize(("head", "closed", "code"), REFUSED)
@pytest.mark.parametrize("greeted", [True, False])
async def test_a_server_says_why_and_gives_the_session_up(
    head: bytes, closed: int, code: ErrorCode, greeted: bool
) -> None:
    async with our_server() as (_, port):
        async with client_of(port) as peer:
            [hello] = await peer.frames()
            assert isinstance(hello, f.Hello)
            assert hello.session is not None
            assert hello.token is not None
            if greeted:
                await peer.say(BytesMessage(batch(f.Hello(1, 1, (1,), {}, None, None), f.Ping(7))))
                assert f.Pong(7) in await peer.frames()
            # Of the message itself there is no byte yet, so nobody has waited for it.
            await peer.stream.send(head + b"mask")
            await peer.hears_the_end(code, closed)
        async with client_of(port) as peer:
            await peer.frames()
            await peer.say(BytesMessage(batch(f.Resume(hello.session, hello.token, 1, 0))))
            [refusal] = await peer.frames()
            assert isinstance(refusal, f.Close)
            assert refusal.code == ErrorCode.SESSION_LOST


async def test_frames_before_it_take_effect_and_those_behind_do_not() -> None:
    async with our_server() as (_, port), client_of(port) as peer:
        await peer.frames()
        await peer.say(BytesMessage(batch(f.Hello(1, 1, (), {}, None, None))))
        before = peer.socket.send(BytesMessage(batch(f.Ping(1))))
        behind = peer.socket.send(TextMessage("hi")) + peer.socket.send(BytesMessage(batch(f.Ping(2))))
        await peer.stream.send(before + behind)
        heard = []
        while isinstance(event := await peer.event(), BytesMessage):
            heard += decode_batch(bytes(event.data), Limits())
        assert [frame for frame in heard if isinstance(frame, f.Pong)] in ([], [f.Pong(1)])
        assert isinstance(heard[-1], f.Close)
        assert heard[-1].code == ErrorCode.MALFORMED


@pytest.mark.parametrize(("head", "closed", "code"), REFUSED)
async def test_a_client_says_why_and_does_not_come_back(head: bytes, closed: int, code: ErrorCode) -> None:
    met: list[ErrorCode] = []
    ended = anyio.Event()

    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            peer = Peer(stream, wsproto.ConnectionType.SERVER)
            assert isinstance(await peer.event(), Request)
            await peer.say(AcceptConnection(subprotocol=SUBPROTOCOL))
            await peer.say(BytesMessage(batch(f.Hello(1, 1, (1,), {}, b"session", b"t" * 16))))
            while not any(isinstance(frame, f.Call) for frame in await peer.frames()):
                continue
            # A server's frames have no mask, and its heads no bit for it.
            await stream.send(head[:1] + bytes([head[1] & 127]) + head[2:])
            await peer.hears_the_end(code, closed)
            met.append(code)
            ended.set()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, serve)
            with anyio.fail_after(20):
                async with connect(f"ws://127.0.0.1:{port}/telewire", limits=LIMITS) as remote:
                    with pytest.raises(NetworkError) as caught:
                        await remote.anything()
                    assert code.name.lower().replace("_", " ") in str(caught.value)
                    # One that tried to come back would be here until it was refused.
                    await ended.wait()
            group.cancel_scope.cancel()
    assert met == [code]
