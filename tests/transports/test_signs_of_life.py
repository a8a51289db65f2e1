"""A server that hears a long message come slowly says that it is there, and waits (TW-NEG-066)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from wsproto.events import BytesMessage

from telewire import Limits, Service
from telewire.runtime.backend import current_backend
from telewire.runtime.server import Server
from telewire.wire import frames as f
from telewire.wire.codec import decode_batch
from telewire.wire.reader import write_batch
from telewire_transports.asgi import TelewireASGI
from telewire_transports.websocket import serve_websocket
from tests.transports.exchanges import serving
from tests.transports.hypercorn_here import under_hypercorn
from tests.transports.raw_http import Raw, port_of
from tests.transports.raw_websocket import batch, client_of

pytestmark = pytest.mark.anyio


async def test_a_message_that_trickles_in_is_answered_before_it_is_whole() -> None:
    limits = Limits(idle_seconds=0.02)
    service: Service[None] = Service()
    server = Server(current_backend(), service, limits)
    listener = await serve_websocket(server.accept, port=0, limits=limits)
    with anyio.fail_after(20):
        async with client_of(listener.port) as peer:
            await peer.frames()
            await peer.say(BytesMessage(batch(f.Hello(1, 1, (), {}, None, None))))
            # A message of 60,000 bytes; all of it is not awaited.
            await peer.stream.send(b"\x82\xfe" + (60_000).to_bytes(2) + b"mask")

            async def trickle() -> None:
                for _ in range(50_000):
                    await peer.stream.send(b"\x00")
                    await anyio.lowlevel.checkpoint()

            async with anyio.create_task_group() as group:
                group.start_soon(trickle)
                signs = 0
                while signs < 3:
                    signs += (await peer.frames()).count(f.Pong(0))
                group.cancel_scope.cancel()
    await listener.aclose()
    await server.abort()


@asynccontextmanager
async def served(door: str, limits: Limits) -> AsyncIterator[int]:
    """Our server, or an ASGI application; gives the port."""
    if door == "asgi":
        # The session that is left behind is not waited for.
        application = TelewireASGI(Service(), hosts=("127.0.0.1",), limits=limits, drain_seconds=0)
        async with under_hypercorn(application) as port:
            yield port
    else:
        async with serving(Service(), hosts=("127.0.0.1",), limits=limits) as url:
            yield port_of(url)


@pytest.mark.parametrize("accept", ["application/telewire", "text/event-stream"])
@pytest.mark.parametrize("door", ["serve", "asgi"])
async def test_a_post_that_trickles_in_is_answered_before_it_is_whole(door: str, accept: str) -> None:
    limits = Limits(idle_seconds=0.02, dead_seconds=1.0)
    async with served(door, limits) as port:
        raw = Raw(port)
        await raw.open(Accept=accept)
        assert await raw.post(raw.say()) == 204
        # One batch of 60,000 bytes; all of it is not awaited.
        whole = write_batch(bytes(60_000))
        head = {"Telewire-Session": raw.session, "Content-Length": str(len(whole))}
        slow = await raw._send(head, whole[:3])

        async def trickle() -> None:
            for _ in range(50_000):
                await slow.send(b"\x00")
                await anyio.lowlevel.checkpoint()

        async with slow, raw.stream, anyio.create_task_group() as group:
            group.start_soon(trickle)
            signs = 0
            # With patience for nothing but the bytes of the body, it would be dead by then.
            while signs < 3:
                # An empty one says that the response lives, and nothing of the session.
                for each in filter(None, raw._batches(raw.reader)):
                    signs += decode_batch(each, limits).count(f.Pong(0))
                raw.rest += await raw.stream.receive()
            group.cancel_scope.cancel()
