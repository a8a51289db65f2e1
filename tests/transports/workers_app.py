"""An application for several worker processes: its functions say which of them has answered."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

from telewire import Service
from telewire_transports.asgi import TelewireASGI

service: Service[None] = Service()


@service.function
async def worker() -> int:
    return os.getpid()


@service.function
async def count() -> AsyncIterator[tuple[int, int]]:
    """Numbers without an end, and whose they are."""
    number = 0
    while True:
        yield number, os.getpid()
        number += 1


app = TelewireASGI(service, hosts=("127.0.0.1",), drain_seconds=0.2)
