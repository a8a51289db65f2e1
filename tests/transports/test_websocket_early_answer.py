"""A WebSocket client whose connection tells it late that it stands: the answer may be in by then.

uvloop does so, where the server is another process and quick; here a link waits for it.
"""

from __future__ import annotations

import anyio
import pytest

from telewire import Service
from telewire_transports import connect, serve
from telewire_transports.websocket import client

service: Service[None] = Service()


@service.function
async def greet(name: str) -> str:
    return f"Hello {name}!"


async def test_an_answer_that_comes_before_the_connection_is_known_to_stand(
    anyio_backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = client.open_link
    early: list[bool] = []

    async def late(*args, **kwargs):
        link = await real(*args, **kwargs)
        while isinstance(link.handler, client._ClientHandshake):
            await anyio.lowlevel.checkpoint()
        early.append(True)
        return link

    monkeypatch.setattr(client, "open_link", late)
    ports = anyio.create_memory_object_stream[int](1)
    async with ports[0], ports[1], anyio.create_task_group() as group:

        async def serving() -> None:
            await serve(service, port=0, on_started=ports[0].send_nowait)

        group.start_soon(serving)
        with anyio.fail_after(10):
            port = await ports[1].receive()
            async with connect(f"http://127.0.0.1:{port}/telewire", transport="websocket") as remote:
                assert await remote.greet("Ada") == "Hello Ada!"
        assert early == [True]
        group.cancel_scope.cancel()
