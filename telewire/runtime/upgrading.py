"""Upgrading: how a live session moves from the transport it has to a better one (TW-SES-045, 107)."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, final

import anyio

from telewire.core.states import ConnectionState, LinkState
from telewire.errors import TelewireError
from telewire.runtime.attachment import Attachment
from telewire.runtime.driver import HTTP

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telewire.errors import RemoteProtocolError
    from telewire.runtime.backend import Signal, Task
    from telewire.runtime.driver import Driver
    from telewire.runtime.transport import AcceptTransport, Transport

__all__ = ["Upgrading"]

FIRST_SECONDS: Final = 5.0
MOST_SECONDS: Final = 300.0
STEADY_SECONDS: Final = 60.0
"""Of life after which a transport that was moved to has proved good."""


@final
class Upgrading:
    """Tries to move the session of ``driver``, again and again, with waits that grow.

    Args:
        driver: whose connection is a client's session.
        open_transport: opens a transport beside the one in use, and gives it to what it is called with.
        answered: waits until the connection is not resuming any more, for whatever reason.
        timeout: seconds for opening, for the server's first word, and for its answer to the move.
    """

    def __init__(
        self,
        driver: Driver,
        open_transport: Callable[[AcceptTransport], Awaitable[Transport]],
        answered: Callable[[], Awaitable[None]],
        timeout: float,
    ) -> None:
        self._driver = driver
        self._open = open_transport
        self._answered = answered
        self._timeout = timeout
        self._task: Task | None = None
        self._candidate: _Candidate | None = None
        self._pause = 0.0
        self._moved_at: float | None = None
        self._stopped = False
        self.refused = False
        """Whether the last attempt failed."""

    def start(self) -> None:
        """Begin to try, unless that goes on already; also when the session is back on a lesser transport."""
        if self._task is not None or self._stopped or _is_better(self._driver):
            return
        backend = self._driver.backend
        if self._moved_at is not None:
            # It broke. One that breaks soon is not tried again at once.
            steady = backend.now() - self._moved_at >= STEADY_SECONDS
            self._pause = 0.0 if steady else max(FIRST_SECONDS, self._pause)
            self._moved_at = None
        self._task = backend.spawn(self._run)

    def stop(self) -> None:
        """Try no more; a move that has begun goes on."""
        self._stopped = True
        candidate = self._candidate
        if self._task is not None and (candidate is None or candidate.attachment is None):
            self._task.cancel()

    async def _run(self) -> None:
        try:
            while not self._stopped:
                await anyio.sleep(self._pause * random.uniform(0.75, 1.0))
                if self._driver.connection.state is not ConnectionState.OPEN or _is_better(self._driver):
                    return
                if _may_move(self._driver) and await self._try():
                    return
                self._pause = min(max(FIRST_SECONDS, 2 * self._pause), MOST_SECONDS)
        finally:
            self._task = None

    async def _try(self) -> bool:
        """Try once; returns whether the session has moved."""
        driver = self._driver
        candidate = self._candidate = _Candidate(driver)
        try:
            with anyio.fail_after(self._timeout):
                await self._open(candidate.accept)
                await candidate.decided.wait()
                if candidate.attachment is not None:
                    await self._answered()
        except (TelewireError, OSError, ValueError):  # a TimeoutError is an OSError; headers may not do
            if candidate.attachment is not None and driver.attachment is candidate.attachment:
                driver.give_transport_up()
        finally:
            self._candidate = None
            candidate.leave()
        moved = candidate.attachment is not None and driver.attachment is candidate.attachment
        self.refused = not moved
        if moved:
            self._moved_at = driver.backend.now()
        return moved


def _may_move(driver: Driver) -> bool:
    connection = driver.connection
    attached = connection.link is LinkState.ATTACHED and connection.state is ConnectionState.OPEN
    return attached and connection.resumable and not _is_better(driver)


def _is_better(driver: Driver) -> bool:
    """Whether the session is where it would move to already; another such transport may lead elsewhere."""
    return driver.transport.request.transport not in HTTP


@final
class _Candidate:
    """Handles a transport until the server has spoken on it; then the session moves there, at once."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._transport: Transport | None = None
        self._left = False
        self.attachment: Attachment | None = None
        self.decided: Signal = driver.backend.signal()

    def accept(self, transport: Transport) -> _Candidate:
        """Take the transport."""
        self._transport = transport
        return self

    def leave(self) -> None:
        """Nobody waits any more: what was not moved to is given up."""
        if self.attachment is None and self._transport is not None and not self._left:
            self._left = True
            self._transport.abort()

    def batch_received(self, batch: bytes) -> None:
        """The first is the server's hello on this transport, which says that the way is open."""
        if self.attachment is None and not self._left:
            self._move()
        if self.attachment is not None:
            self.attachment.batch_received(batch)

    def _move(self) -> None:
        driver, transport = self._driver, self._transport
        assert transport is not None
        if _may_move(driver):
            driver.connection.move(driver.backend.now())
            self.attachment = driver.attach(transport)
        else:
            self.leave()
        self.decided.set()

    def violation_received(self, error: RemoteProtocolError) -> None:
        """Pass on that no batch came; as the first word it says that this is no way to go."""
        if self.attachment is not None:
            self.attachment.violation_received(error)
        else:
            self.leave()
            self.decided.set()

    def bytes_received(self) -> None:
        """Pass on a sign of life."""
        if self.attachment is not None:
            self.attachment.bytes_received()

    def transport_writable(self) -> None:
        """Pass on that there is room."""
        if self.attachment is not None:
            self.attachment.transport_writable()

    def input_ended(self) -> None:
        """No session's transport has such an end."""

    def transport_lost(self, error: Exception | None) -> None:
        """Pass on that the transport is gone, or that it never was one."""
        self._left = True
        self.decided.set()
        if self.attachment is not None:
            self.attachment.transport_lost(error)
