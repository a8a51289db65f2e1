"""Every bound of one connection in one frozen record, each with the attack it stops.

Bounds that the peer must know travel in the hello under the number in ``ADVERTISED``
(registry: ``spec/registries/limits.csv``); the others are enforced where they stand.
Byte counts are bytes, times are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

__all__ = ["ADVERTISED", "Limits", "ServerLimits"]

KIB: Final = 1024
MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one connection accepts and how long it waits. Being at a bound works, one beyond does not."""

    fragment_bytes: int = 64 * KIB
    """Payload bytes in one frame: a small call behind a large one leaves within two frames."""
    batch_bytes: int = 256 * KIB
    """One batch, encoded: bounds what a decoder is given at once."""
    batch_frames: int = 16 * KIB
    """Frames in one batch: a batch of one-byte frames must not cost more than it weighs."""
    message_bytes: int = 16 * MIB
    """One payload, reassembled: a declared length alone must not reserve memory."""
    stream_window: int = 64 * KIB
    """Initial credit of each half of a stream: what a peer can make us hold unread, per stream."""
    stream_window_read: int = 1 * MIB
    """Window of a stream once its consumer has read from it; taken from the session budget, as is what it
    grows by from there: as much as is read in a few round trips (TW-STR-081)."""
    item_cost: int = 256
    """Least cost of an item: floods of tiny items must not cost more memory than credit."""
    session_budget: int = 64 * MIB
    """Grown windows and reassembly together: bounds one session beyond its initial credit."""
    open_calls: int = 1_000
    """Calls not over, as answerer: rapid call-and-cancel is bounded without a clock."""
    queued_calls: int = 10_000
    """Calls waiting locally for the peer's ``open_calls``; then ``ResourceExhausted``."""
    open_streams: int = 10_000
    """Streams of every kind the peer may have declared to us and not ended."""
    credited_streams: int = 1_000
    """Of these, streams with items, bytes or messages: each costs its initial credit."""
    references: int = 1_000
    """Streams declared by one payload."""
    argument_bytes: int = 64 * MIB
    """Argument bytes of calls not yet answered; calls beyond are refused."""
    replay_bytes: int = 64 * MIB
    """Frames kept for a resume, not yet acknowledged."""
    nesting: int = 64
    """Depth of a value: recursion in decoders must be bounded."""
    name_bytes: int = 1 * KIB
    """The name of a function."""
    metadata_bytes: int = 8 * KIB
    """The extension map of one frame, metadata included, encoded."""
    reason_bytes: int = 16 * KIB
    """The value of a stop or reset, encoded: these leave ahead of data."""
    unanswered_pings: int = 4
    """Pings of the peer waiting for their pong: a ping flood must not fill our output."""
    hello_seconds: float = 10.0
    """A transport without a hello after this time is closed: idle sockets are not free."""
    idle_seconds: float = 15.0
    """Silence after which a ping leaves."""
    resume_seconds: float = 60.0
    """How long a session without a transport is kept: what waits for a client that never comes back."""
    dead_seconds: float = 30.0
    """Silence, of any byte, after which the peer is taken for dead."""
    cleanup_seconds: float = 5.0
    """How long a cancelled body may clean up before its outcome is unknown."""

    def with_resume_window(self, seconds: float | None) -> Limits:
        """The same with another ``resume_seconds``; unchanged where ``seconds`` is None."""
        return self if seconds is None else replace(self, resume_seconds=seconds)

    def of_exchanges(self) -> Limits:
        """The same with room for what clients send before they are told: no size of a frame or batch is
        below its default (TW-SES-071).
        """
        low = {name: least for name, least in _ASSUMED.items() if getattr(self, name) < least}
        return replace(self, **low) if low else self

    def as_assumed(self) -> Limits:
        """The same with no such size above its default: what a server has stated once may have changed."""
        high = {name: most for name, most in _ASSUMED.items() if getattr(self, name) > most}
        return replace(self, **high) if high else self


_ASSUMED: Final = {
    name: getattr(Limits(), name) for name in ("fragment_bytes", "batch_bytes", "batch_frames")
}
"""What an exchange's client goes by until it has the server's hello."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """What one server accepts over all its connections (TW-LIM-020); beyond it new ones get status 503."""

    sessions: int = 10_000
    """Conversations at a time: each has its own :class:`Limits`, so many of them are many times these."""
    sessions_per_address: int = 1_000
    """The same, with connections that have asked nothing yet, from one address (of IPv6: one /64): one
    visitor must not take all places."""
    detached: int = 1_000
    """Sessions that wait for their client to come back; the one that has waited longest goes first."""
    unauthenticated: int = 1_000
    """Connections that have not said hello: idle sockets and slow requests are not free."""
    arrivals: int = 100
    """New connections from one address within a second that are heard at once. More of them wait half a
    second, and who has closed its side by then is not heard at all: who comes again and again with garbage
    takes the less of everybody's time."""
    held_bytes: int = 1024 * MIB
    """What the session budgets and replay buffers of all conversations may take together. Beyond it windows
    do not grow, large payloads wait, a session keeps only 64 KiB for a resume, and detached ones go."""
    age_seconds: float | None = None
    """Age at which a session is asked to leave, which clients do by opening another; None: never. It brings
    clients to servers that came later, and to new addresses of a name."""
    age_jitter: float = 0.1
    """By how much of it that age differs at random, each way: who came together does not leave together."""
    grace_seconds: float = 30.0
    """How long what is open in such a session may go on; then it ends with ``GoingAway``."""


ADVERTISED: Final[dict[int, str]] = {
    0: "fragment_bytes",
    1: "batch_bytes",
    2: "message_bytes",
    3: "stream_window",
    4: "open_calls",
    5: "open_streams",
    6: "credited_streams",
    7: "references",
    8: "argument_bytes",
    9: "replay_bytes",
    10: "nesting",
    11: "name_bytes",
    12: "metadata_bytes",
    13: "reason_bytes",
    14: "batch_frames",
    15: "item_cost",
}
"""Number in the hello → field of :class:`Limits`."""
