"""Attachment: what one transport of a session talks to, for as long as the session is attached to it.

A transport that was replaced may still deliver: nothing of that counts (TW-SES-033, TW-SES-036).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, final

if TYPE_CHECKING:
    from telewire.errors import RemoteProtocolError
    from telewire.runtime.driver import Driver
    from telewire.runtime.transport import Transport

__all__ = ["Attachment", "Route"]

Route: TypeAlias = "Callable[[Attachment, bytes], None]"
"""Takes the first batches of a transport, until it is known which conversation it belongs to."""


@final
class Attachment:
    """A ``PostHandler`` that passes on what it hears while its driver is attached to it."""

    __slots__ = ("driver", "in_request", "route", "transport")

    def __init__(
        self, driver: Driver, transport: Transport, route: Route | None = None, *, in_request: bool = False
    ) -> None:
        self.driver = driver
        self.transport = transport
        self.route = route
        # What is not posted comes in the request of an exchange that was promoted.
        self.in_request = in_request

    def batch_received(self, batch: bytes) -> None:
        """Take one whole batch."""
        if not self.in_request:
            self._take(batch)
        elif self.driver.attachment is self:
            self.driver.batch_received(batch, in_request=True)

    def _take(self, batch: bytes) -> None:
        driver = self.driver
        if driver.attachment is not self:
            return
        if self.route is None:
            driver.batch_received(batch)
        else:
            self.route(self, batch)

    def batch_posted(self, batch: bytes) -> bool:
        """Take one that may have come before, or too early: then the answer is false."""
        self._take(batch)
        return not self.driver.connection.missed

    def violation_received(self, error: RemoteProtocolError) -> None:
        """Refuse what was no batch."""
        if self.driver.attachment is self:
            self.driver.violation_received(error)

    def bytes_received(self) -> None:
        """Note a sign of life."""
        if self.driver.attachment is self:
            self.driver.bytes_received()

    def transport_writable(self) -> None:
        """Go on writing."""
        if self.driver.attachment is self:
            self.driver.transport_writable()

    def input_ended(self) -> None:
        """Only the request of an exchange ends before its transport, and a session may have been one."""
        if self.driver.attachment is self:
            self.driver.input_ended()

    def transport_lost(self, error: Exception | None) -> None:
        """Learn that the transport is gone."""
        if self.driver.attachment is self:
            self.driver.transport_lost(error)
