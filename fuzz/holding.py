"""What a connection holds because of its peer, and what chapter 9 allows it to hold."""

from __future__ import annotations

from telewire.core.connection import Connection
from telewire.core.streams import Call, Stream
from telewire.limits import Limits
from telewire.wire.frames import Kind

__all__ = ["held_bytes", "most_bytes"]


def held_bytes(connection: Connection) -> int:
    """Bytes that arrived and were not consumed, at their cost, and frames that wait to leave for them."""
    streams: list[Stream] = [*connection._theirs.values(), *connection._ours.values()]
    total = sum(map(len, connection._scheduler.control)) + sum(map(len, connection._scheduler.signs))
    total += connection._argument_bytes
    for stream in streams:
        half = stream.receive
        if half is not None:
            total += sum(cost for _, cost in half.window.parts)
            if half.arrival is not None:
                total += half.arrival.received
        if isinstance(stream, Call) and stream.waiting is not None:
            total += len(stream.waiting.payload)
            total += sum(len(getattr(event, "payload", b"")) for event in stream.waiting.events)
    return total


def most_bytes(limits: Limits, connection: Connection) -> int:
    """The terms TW-LIM-050 to TW-LIM-057 that bytes can be counted for, with what our side has opened."""
    ours = connection._ours.values()
    channels = sum(stream.kind is Kind.CHANNEL for stream in ours)
    calls = sum(isinstance(stream, Call) for stream in ours)
    incomplete = calls + limits.open_streams
    farewells = 3 * limits.open_streams + limits.open_calls + limits.unanswered_pings + len(ours)
    return (
        (limits.credited_streams + channels + incomplete) * limits.stream_window
        + limits.session_budget
        + 2 * limits.argument_bytes  # as long as they arrive they are counted twice here
        + limits.open_calls * (limits.name_bytes + limits.metadata_bytes)
        + 2 * limits.open_streams * limits.reason_bytes
        + 32 * farewells
    )
