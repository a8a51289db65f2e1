"""How the peers on aiohttp serve their applications; no peer by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

__all__ = ["serve_application"]


async def serve_application(application: web.Application, started: Callable[[int], object]) -> None:
    """Serve on a free port until cancelled; ``started`` learns it. No access log, half a second to end."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        started(runner.addresses[0][1])
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
