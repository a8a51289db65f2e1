"""The state machine behind our adapters: each batch crosses a socket between the two of a carrier."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal

from telewire.errors import RemoteProtocolError
from telewire.limits import Limits
from telewire_spec.driver.application import Application
from telewire_spec.driver.carriers import CARRIERS, Link
from telewire_spec.subject import Reaction, Unsupported

__all__ = ["CarriedApplication"]


class CarriedApplication(Application):
    """As :class:`Application`, over one of ``CARRIERS``."""

    def __init__(self, portal: BlockingPortal, carrier: str) -> None:
        super().__init__()
        self.portal = portal
        self.carrier = carrier
        self.make = CARRIERS[carrier]
        self.carries = self.make().carries
        """Which sorts of cases it can carry."""
        self.link: Link | None = None

    # Any: the fields of the request ``start``.
    def start(self, **options: Any) -> Reaction:
        """Begin over a transport of its own."""
        sort = "exchange" if options.get("exchange") else "places" if options.get("places") else "connection"
        if sort not in self.carries:
            raise Unsupported(f"What crosses here is {' or '.join(self.carries)}, not {sort}.")
        self._drop()
        self._connect(options["role"], Limits(**options.get("limits", {})))
        return self._across(super().start(**options))

    def receive(self, batch: bytes) -> Reaction:
        """Let a batch cross, and take what has come."""
        link, far = self._far()
        if link.ends[self.role].lost:
            return Reaction(closed=True)
        if not batch and link.has_signs and self.role == "client":
            raise Unsupported("What has no bytes is a sign of life here, and no batch (TW-SES-106).")
        self.portal.call(link.transports[far].send, [batch])
        arrived = link.ends[self.role].take()
        if arrived is None:
            return self._across(super().cut())
        if isinstance(arrived, RemoteProtocolError):
            return self._across(self.refuse(arrived))
        return self._across(super().receive(arrived))

    def advance(self, seconds: float) -> Reaction:
        """Time passes for the machine alone."""
        return self._across(super().advance(seconds))

    def do(self, commands: Sequence[Any]) -> Reaction:
        """What it causes crosses as well."""
        return self._across(super().do(commands))

    def cut(self) -> Reaction:
        """Break the transport off at both ends."""
        self._drop()
        return super().cut()

    def attach(self) -> Reaction:
        """Connect again."""
        self._connect(self.role, self.limits)
        return self._across(super().attach())

    def close(self) -> None:
        """Break off what is open."""
        self._drop()

    # --- inside ----------------------------------------------------------------------------------

    def _connect(self, role: str, limits: Limits) -> None:
        self._drop()
        self.link = self.make()
        self.portal.call(partial(self.link.open, limits, role))

    def _drop(self) -> None:
        link, self.link = self.link, None
        if link is not None:
            for name, transport in link.transports.items():
                self.portal.call(transport.abort)
                while link.ends[name].take() is not None:
                    pass
            self.portal.call(link.aclose)

    def _far(self) -> tuple[Link, str]:
        assert self.link is not None, "a transport is there while batches are received"
        return self.link, "server" if self.role == "client" else "client"

    def _across(self, reaction: Reaction) -> Reaction:
        """Let what leaves cross, and tell what has arrived."""
        if self.link is None:
            return reaction
        link, far = self._far()
        sent = []
        if reaction.sent and not link.ends[self.role].lost:
            self.portal.call(link.transports[self.role].send, reaction.sent)
            for _ in reaction.sent:
                arrived = link.ends[far].take()
                if isinstance(arrived, bytes):
                    sent.append(arrived)
        if reaction.closed and not link.ends[self.role].lost:
            self.portal.call(link.transports[self.role].close)
            while link.ends[self.role].take() is not None:
                pass
        return Reaction(sent, reaction.events, reaction.closed)


def open_portal() -> Any:  # Any: a context manager of anyio's, whose type has no name.
    """A loop in a thread of its own; the caller owes leaving it."""
    return start_blocking_portal("asyncio")
