"""Conversation: one session of a client: its driver, the way back, and the way to a better transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias, final

import anyio

from telewire.core.connection import Connection
from telewire.core.events import CallReceived, GoAwayReceived
from telewire.core.states import LinkState
from telewire.errors import NetworkError, TelewireError
from telewire.runtime.driver import Driver
from telewire.runtime.reconnecting import reconnect
from telewire.runtime.transport import OpenTransport, Transport, TransportHandler
from telewire.runtime.upgrading import Upgrading

if TYPE_CHECKING:
    from telewire.limits import Limits
    from telewire.runtime.backend import Backend, Task
    from telewire.runtime.tracing import Tracing

__all__ = ["Conversation", "OpenTransport", "Owner", "Ways"]

Ways: TypeAlias = tuple[OpenTransport, OpenTransport | None]
"""How the transports of one session are opened, and a better one beside the one in use."""


class Owner(Protocol):
    """The client whose conversation it is."""

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until it is true; asked again whenever something has changed."""

    def changed(self, conversation: Conversation) -> None:
        """What its properties say has changed."""

    def called(self, driver: Driver, event: CallReceived) -> None:
        """The server calls."""

    def going_away(self, conversation: Conversation, event: GoAwayReceived) -> None:
        """The server will take no more calls in it."""


@final
class Conversation:
    """One session, from its first transport to its end; host of its driver.

    Args:
        owner: whose it is.
        ways: how its transports are opened.
        resume: go on over another transport when one is lost.
        timeout: seconds until there is a connection.
    """

    def __init__(
        self,
        owner: Owner,
        backend: Backend,
        ways: Ways,
        *,
        limits: Limits | None,
        resume: bool,
        timeout: float,
        tracing: Tracing | None,
    ) -> None:
        self._owner = owner
        self._backend = backend
        self._open_transport, self._upgrade = ways
        self._limits = limits
        self._resume = resume
        self._timeout = timeout
        self._tracing = tracing
        self._entering = True
        self._returning = False
        self._return: Task | None = None
        self.driver: Driver | None = None
        self.upgrading: Upgrading | None = None
        self.begun = False
        """Whether the hellos have crossed."""
        self.gone = False
        """Whether nothing will be heard or said any more."""
        self.error: TelewireError | None = None
        """Why it is over, where it did not end in order."""

    @property
    def ended(self) -> bool:
        """Whether it is over, or about to be."""
        return self.gone or self.error is not None

    @property
    def away(self) -> bool:
        """Whether it goes on without a transport."""
        connection = None if self.driver is None else self.driver.connection
        return connection is not None and connection.detached and not connection.moving

    @property
    def may_upgrade(self) -> bool:
        """Whether it moves to a better transport, or may still."""
        return self.upgrading is not None and not self.upgrading.refused

    async def open(self) -> None:
        """Connect, until the hellos have crossed.

        Raises:
            NetworkError: no connection, or no hello, within the timeout.
        """
        try:
            await self._connect()
        except BaseException:
            self.give_up()
            raise
        finally:
            self._entering = False
        if self._upgrade is not None and self.driver is not None:
            self.upgrading = Upgrading(self.driver, self._upgrade, self._answered, self._timeout)
            self.upgrading.start()
        if self.driver is not None and self.driver.connection.detached:
            self.detached()

    async def _connect(self) -> None:
        try:
            with anyio.fail_after(self._timeout):
                await self._open_transport(self._accept)
                await self._owner.wait_until(lambda: self.begun or self.ended)
        except TimeoutError:
            raise NetworkError(
                f"No connection within {self._timeout:g} seconds; "
                "is a telewire server running at that address?"
            ) from None
        if not self.begun:
            raise self.error or NetworkError("The server closed the connection before it said hello.")

    def _accept(self, transport: Transport) -> TransportHandler:
        before = self.driver
        if before is not None:
            # What was tried first did not do, and nobody asks what becomes of it.
            before.host = _Nobody()
            before.retire()
            before.connection.receive_eof(self._backend.now())
            before.connection.close()
            before.digest()
            self.begun, self.gone, self.error = False, False, None
        connection = Connection("client", limits=self._limits, resume=self._resume, now=self._backend.now())
        self.driver = Driver(self._backend, connection, transport, self, tracing=self._tracing)
        return self.driver.attach(transport)

    def close(self) -> None:
        """Close in order: what is open ends, what was sent leaves."""
        self.stop_upgrading()
        if self.driver is not None:
            self.driver.connection.close()
            self.driver.schedule()

    def stop_upgrading(self) -> None:
        """Look for no better transport any more."""
        if self.upgrading is not None:
            self.upgrading.stop()

    def give_up(self) -> None:
        """Leave nothing behind where there is no connection: nobody will come back to a session."""
        if self.driver is not None:
            self.driver.connection.close()
            self.driver.digest()
        self.abort()

    def abort(self) -> None:
        """Drop the transport, and what looks for another."""
        if self._return is not None:
            self._return.cancel()
        if self.driver is not None and not self.gone:
            self.driver.transport.abort()

    # --- host of the driver ----------------------------------------------------------------------

    def opened(self) -> None:
        """The hellos have crossed."""
        self.begun = True
        self._owner.changed(self)

    def called(self, driver: Driver, event: CallReceived) -> None:
        """The server calls."""
        self._owner.called(driver, event)

    def going_away(self, event: GoAwayReceived) -> None:
        """The server will take no more calls."""
        self._owner.going_away(self, event)

    def closed(self, error: TelewireError | None) -> None:
        """The conversation is over."""
        self.error = error
        self._owner.changed(self)

    def lost(self) -> None:
        """The transport has ended."""
        self.gone = True
        self._owner.changed(self)

    def detached(self) -> None:
        """The transport is lost and the session is not: find the way back."""
        self._owner.changed(self)
        # While it enters, another way may be tried, or there is none.
        if not self._entering and self.driver is not None and not self._returning:
            self._returning = True
            self._return = self._backend.spawn(self._reconnect, self.driver)

    async def _reconnect(self, driver: Driver) -> None:
        try:
            await reconnect(driver, self._open_transport, self._answered, self._timeout)
        finally:
            self._returning = False
        if self.upgrading is not None:
            self.upgrading.start()

    async def _answered(self) -> None:
        """Wait until the server has answered a resume, or the connection is lost again."""
        await self._owner.wait_until(
            lambda: self.driver is None or self.driver.connection.link is not LinkState.RESUMING
        )

    def resumed(self) -> None:
        """The session goes on."""
        self._owner.changed(self)


@final
class _Nobody:
    """Host of a driver of which nobody asks any more what becomes of it."""

    def opened(self) -> None:
        """Nobody asks."""

    def called(self, driver: Driver, event: CallReceived) -> None:
        """Nobody answers."""

    def going_away(self, event: GoAwayReceived) -> None:
        """Nobody asks."""

    def closed(self, error: TelewireError | None) -> None:
        """Nobody asks."""

    def lost(self) -> None:
        """Nobody asks."""

    def detached(self) -> None:
        """Nobody comes back."""

    def resumed(self) -> None:
        """Nobody asks."""
