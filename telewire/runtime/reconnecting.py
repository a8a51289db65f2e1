"""Reconnecting: how a client finds its way back to its session (TW-SES-042)."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import anyio

from telewire.errors import TelewireError
from telewire.runtime.attachment import Attachment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telewire.runtime.driver import Driver
    from telewire.runtime.transport import AcceptTransport, Transport, TransportHandler

__all__ = ["reconnect"]

FIRST_SECONDS: Final = 0.1
MOST_SECONDS: Final = 5.0


async def reconnect(
    driver: Driver,
    open_transport: Callable[[AcceptTransport], Awaitable[Transport]],
    answered: Callable[[], Awaitable[None]],
    timeout: float,
) -> None:
    """Open transports until the session goes on over one of them, or is over.

    Args:
        driver: whose connection is detached.
        open_transport: connects, and gives the transport to what it is called with.
        answered: waits until the connection is not resuming any more, for whatever reason.
        timeout: seconds for connecting and for the server's answer, each time.
    """
    connection = driver.connection

    def away() -> bool:
        return connection.detached

    def accept(transport: Transport) -> TransportHandler:
        if not away():
            transport.abort()
            return Attachment(driver, transport)
        connection.attach(driver.backend.now())
        return driver.attach(transport)

    pause = FIRST_SECONDS
    while away():
        try:
            with anyio.fail_after(timeout):
                await open_transport(accept)
                await answered()
        except (TelewireError, OSError, ValueError):  # a TimeoutError is an OSError; headers may not do
            driver.give_transport_up()
        if not away():
            return
        # Jittered, so that clients that were lost together do not come back together.
        await anyio.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(2 * pause, MOST_SECONDS)
