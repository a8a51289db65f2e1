"""A server that hears a long message come slowly says that it is there (TW-NEG-066), over a WebSocket."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest
from wsproto.events import BytesMessage

from telewire import Limits, Service
from telewire.runtime.backend import current_backend
from telewire.runtime.server import Server
from telewire.wire import frames as f
from telewire_transports.websocket import serve_websocket
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
