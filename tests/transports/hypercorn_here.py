"""hypercorn in the loop of the test, on asyncio and on trio, before an ASGI application."""

from __future__ import annotations

import functools
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import hypercorn.asyncio
import hypercorn.trio
import sniffio
from hypercorn.config import Config

__all__ = ["under_hypercorn"]


# Any: ASGI applications are hypercorn's to type.
@asynccontextmanager
async def under_hypercorn(application: Any) -> AsyncIterator[int]:
    """Run it until the block ends; gives its port on 127.0.0.1."""
    settings = Config()
    settings.errorlog = None
    serve: Any = (
        hypercorn.asyncio.serve if sniffio.current_async_library() == "asyncio" else hypercorn.trio.serve
    )
    stop = anyio.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    # hypercorn closes it.
    settings.bind = [f"fd://{listener.detach()}"]
    async with anyio.create_task_group() as group:
        group.start_soon(functools.partial(serve, application, settings, shutdown_trigger=stop.wait))
        # Who waits for ever tells nobody what is wrong.
        with anyio.fail_after(20):
            yield port
        stop.set()
