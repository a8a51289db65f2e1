"""A running server as a subject: seen from the wire alone, in its own time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from telewire_spec.casefile import Case
from telewire_spec.links import Link, LinkFailed, open_link
from telewire_spec.subject import Reaction, SubjectFailed, Unsupported

__all__ = ["UrlSubject", "for_the_wire"]

SEEN = {"send", "bytes", "expect", "closes", "alive"}
"""Steps that need nothing but frames."""


class UrlSubject:
    """A server at an address: ``ws`` and ``wss`` for WebSocket, ``http`` and ``https`` for exchanges.

    Args:
        url: where it is; ``session+http`` and ``sse+http`` are HTTP sessions.
        carrier: what the report calls it.
        patience: seconds to wait for what should come.
    """

    silent = True
    """It tells nothing of its events."""

    def __init__(self, url: str, *, carrier: str | None = None, patience: float = 5.0) -> None:
        self.url = url
        scheme = url.partition(":")[0]
        self.places = "+" in scheme
        """Whether its carrier may repeat or reorder, so that batches state their positions."""
        self.exchange = scheme in ("http", "https")
        plain = "exchange" if self.exchange else "websocket"
        self.carrier = carrier or (scheme.partition("+")[0] if self.places else plain)
        self.patience = patience
        self.link: Link | None = None

    # Any, throughout: fields of requests and commands are plain values.
    def start(self, **options: Any) -> Reaction:
        """Connect anew."""
        self.close()
        try:
            self.link = open_link(self.url, self.patience)
        except LinkFailed as error:
            raise SubjectFailed(str(error)) from None
        return Reaction()

    def receive(self, batch: bytes) -> Reaction:
        """Send a batch; what it causes comes later."""
        assert self.link is not None, "start() makes it"
        self.link.send(batch)
        return Reaction(closed=self.link.ended)

    def poll(self) -> Reaction:
        """Wait for the next batches, or for the end."""
        assert self.link is not None, "start() makes it"
        until = time.monotonic() + self.patience
        sent: list[bytes] = []
        # Bytes may come that are no whole batch yet.
        while not sent and not self.link.ended and (left := until - time.monotonic()) > 0:
            sent = self.link.receive(left)
        return Reaction(sent, closed=self.link.ended)

    def advance(self, seconds: float) -> Reaction:
        """Its time is not ours."""
        raise Unsupported("A server at an address has its own clock.")

    def cut(self) -> Reaction:
        """Hang up."""
        self.close()
        return Reaction(closed=True)

    def attach(self) -> Reaction:
        """Connect again."""
        return self.start()

    def do(self, commands: Sequence[Mapping[str, Any]]) -> Reaction:
        """Its application does what it does."""
        raise Unsupported("The application of a server at an address is not ours to command.")

    def close(self) -> None:
        """Take leave."""
        if self.link is not None:
            self.link.close()
            self.link = None


def for_the_wire(cases: Sequence[Case], subject: UrlSubject) -> list[Case]:
    """Those that the wire can show: all against the service, and of the machine those without commands.

    Over an exchange there is one call and no PONG, so only what needs no more is left; over an HTTP session
    there is always a session, so what needs that there is none is left out.
    """
    if subject.places:
        return [replace(case, resume=True) for case in cases if case.against == "service"]
    if subject.exchange:
        return [
            replace(case, exchange=True) for case in cases if case.against == "service" and not case.needs
        ]
    return [case for case in cases if case.against == "service" or _frames_only(case)]


def _frames_only(case: Case) -> bool:
    if "server" not in case.roles or case.limits or case.resume or case.exchange or case.places:
        return False
    if not all(set(step) & SEEN for step in case.steps):
        return False
    return not any("CALL" in frame for step in case.steps for frame in step.get("send", ()))
