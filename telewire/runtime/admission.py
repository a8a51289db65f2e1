"""Admission: who may still come in, counted over all connections of a process before any memory is theirs."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Final, final

from telewire.core.flow import Pool
from telewire.limits import ServerLimits

__all__ = ["Admission", "address_of"]

# Whoever has an IPv6 address has all those that differ in its last 64 bits.
SITE_BITS: Final = 64
PAUSE_SECONDS: Final = 0.5


def address_of(peer: str | None) -> str | None:
    """By what a peer is counted: its address without port; of IPv6 the site, which is one customer."""
    if peer is None:
        return None
    text = peer
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return _site_of(text.partition("%")[0]) or peer


# Those who come often come from few places.
@lru_cache(maxsize=4096)
def _site_of(text: str) -> str | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((address, SITE_BITS), strict=False))
    return str(address)


@final
class Admission:
    """The counters behind :class:`~telewire.ServerLimits`; it refuses with a sentence and forgets nobody.

    A *guest* is whoever takes a place: a link whose request is not read yet, and a conversation. Each
    :meth:`enter` is owed one :meth:`leave`, and a conversation one :meth:`known` when its hello is here.
    """

    def __init__(self, limits: ServerLimits | None = None) -> None:
        self.limits = limits or ServerLimits()
        self.pool = Pool(self.limits.held_bytes)
        """What the budgets of all sessions are drawn from."""
        self.conversations = 0
        self.unknown = 0
        self.by_address: Counter[str] = Counter()
        self._second = 0.0
        self._arrived: Counter[str] = Counter()
        self.posting = 0
        self.talking: Counter[str | None] = Counter()
        """Of these, conversations."""
        self.posters: Counter[str | None] = Counter()
        """Sessions over HTTP by address: each may have a link for its POSTs besides the places there are."""
        self.detached: Callable[[], int] = lambda: 0
        """How many conversations nobody is attached to: they go where others need their places."""
        self.make_room: Callable[[], object] = lambda: None
        """Gives up the one of these that has waited longest."""

    def refusal(self, address: str | None, *, conversation: bool) -> str | None:
        """Why one more guest from ``address`` is refused now, or None; nothing changes."""
        limits = self.limits
        if conversation and self.conversations - self.detached() >= limits.sessions:
            return f"This server holds {self.conversations} sessions and takes no more now; try again later."
        if self.unknown >= limits.unauthenticated + self.posting:
            return f"{self.unknown} connections have not said hello, and no more may wait; try again later."
        if address is not None and self._is_full(address, conversation):
            return f"From your address {self.by_address[address]} connections are open; close some first."
        return None

    def _is_full(self, address: str, conversation: bool) -> bool:
        most = self.limits.sessions_per_address
        if conversation and self.talking[address] >= most:
            return True
        return self.by_address[address] >= most + self.posters[address]

    def enter(self, address: str | None, *, conversation: bool) -> None:
        """Take a place, not known yet."""
        self.unknown += 1
        if conversation:
            self.conversations += 1
            self.talking[address] += 1
        if address is not None:
            self.by_address[address] += 1

    def pause(self, address: str | None, now: float) -> float:
        """Note a new connection; returns for how many seconds it is not to be heard yet."""
        if address is None:
            return 0.0
        if now >= self._second + 1.0:
            self._second = now
            self._arrived.clear()
        self._arrived[address] += 1
        return PAUSE_SECONDS if self._arrived[address] > self.limits.arrivals else 0.0

    def posts(self, address: str | None, step: int) -> None:
        """Note that a session over HTTP begins (1) or ends (-1)."""
        self.posting += step
        self.posters[address] += step
        if not self.posters[address]:
            del self.posters[address]

    def known(self) -> None:
        """Note that a conversation has said hello, and give it its place.

        Not before: until then it may be one that comes back to its session, and that must not go for it.
        """
        self.unknown -= 1
        if self.conversations > self.limits.sessions:
            self.make_room()

    def leave(self, address: str | None, *, conversation: bool, known: bool) -> None:
        """Free the place."""
        if not known:
            self.unknown -= 1
        if conversation:
            self.conversations -= 1
            self.talking[address] -= 1
            if not self.talking[address]:
                del self.talking[address]
        if address is not None:
            self.by_address[address] -= 1
            if not self.by_address[address]:
                del self.by_address[address]
