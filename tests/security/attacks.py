"""Attacks: what a hostile peer sends a Connection, each as an endless flow of frames."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from telewire.errors import ErrorCode
from telewire.limits import Limits
from telewire.wire import frames as f
from telewire.wire.frames import Declaration, Kind

__all__ = ["ATTACKS", "SMALL", "Attack"]

SMALL: Final = Limits(
    fragment_bytes=1024,
    batch_bytes=4096,
    batch_frames=512,
    message_bytes=16 * 1024,
    stream_window=2048,
    stream_window_read=4096,
    session_budget=64 * 1024,
    argument_bytes=32 * 1024,
    open_calls=12,
    queued_calls=12,
    open_streams=60,
    credited_streams=20,
    references=30,
    nesting=8,
    name_bytes=64,
    metadata_bytes=128,
    reason_bytes=128,
    replay_bytes=16 * 1024,
)
"""Small enough that a few thousand frames are far beyond every bound."""

# Far more than any limit above allows, so that what is not bounded shows.
MANY: Final = 1_500

C = ErrorCode
K = Kind


@dataclass(frozen=True)
class Attack:
    """Frames without mercy, and what becomes of them.

    ``terms`` are the rules of the formula that name what it can make us hold, besides one batch and the
    entries. ``end`` is the code of the close that it brings about; None: it is borne. With ``reads`` the
    peer takes what we send: then nothing waits in our queues, and most floods may go on for ever.
    """

    frames: Callable[[], Iterator[f.Frame]]
    terms: tuple[str, ...] = ()
    end: ErrorCode | None = None
    reads: bool = False

    @property
    def name(self) -> str:
        """How the test is called."""
        return f"{self.frames.__name__}{'_and_reads' if self.reads else ''}"


def calls() -> Iterator[f.Frame]:
    """One call after the other, none awaited."""
    for number in range(MANY):
        yield f.Call(number, "f", 0, 2, b"\x80\x00")


def calls_with_deadlines() -> Iterator[f.Frame]:
    """Each with a deadline a hundred thousand years away, and cancelled at once."""
    for number in range(MANY):
        yield f.Call(number, "f", 0, 0, b"", (), {0: (1 << 53) - 1, 2: (1 << 53) - 1})
        yield f.Stop(number, C.CANCELLED)


def calls_and_cancels() -> Iterator[f.Frame]:
    """Rapid reset: each call is cancelled before anybody could answer it."""
    for number in range(MANY):
        yield f.Call(number, "f", 0, 0, b"")
        yield f.Stop(number, C.CANCELLED)


def half_calls_and_cancels() -> Iterator[f.Frame]:
    """The same before the arguments are there, so that no function ever starts."""
    for number in range(MANY):
        yield f.Call(number, "f", 1, 4000, bytes(1000))
        yield f.Stop(number, C.CANCELLED)


def argument_bytes() -> Iterator[f.Frame]:
    """Arguments as large as they may be, and never the last byte of them."""
    for number in range(MANY // 10):
        yield f.Call(number, "f", 1, SMALL.message_bytes, bytes(1000))
        yield f.Fragment(number, 1, bytes(1000))


def names_and_metadata() -> Iterator[f.Frame]:
    """Calls that carry as many headers as they may, and a name as long as it may be."""
    pairs = {f"{index:02}": "" for index in range(30)}
    for number in range(MANY):
        yield f.Call(number, "f" * SMALL.name_bytes, 0, 0, b"", (), {6: pairs})


def too_much_metadata() -> Iterator[f.Frame]:
    """One byte more of headers than is allowed."""
    yield f.Call(0, "f", 0, 0, b"", (), {6: {"x": "y" * SMALL.metadata_bytes}})


def references() -> Iterator[f.Frame]:
    """Every call brings as many promises as it may."""
    for number in itertools.count(0, 31):
        if number > 31 * MANY // 10:
            return
        yield f.Call(number, "f", 0, 0, b"", promises(number + 1, SMALL.references))


def too_many_references() -> Iterator[f.Frame]:
    """One reference more than is allowed in a payload."""
    yield f.Call(0, "f", 0, 0, b"", promises(1, SMALL.references + 1))


def promises_that_come_and_go() -> Iterator[f.Frame]:
    """Promises with a long reason to fail, in calls that wait for the one before them to arrive."""
    yield from waiting_call()
    for number in itertools.count(3, 31):
        if number > 31 * MANY // 10:
            return
        yield f.Call(number, 1, 0, 0, b"", promises(number + 1, 30))
        for promise in range(number + 1, number + 31):
            yield f.Reset(promise, C.ABORTED, bytes(SMALL.reason_bytes))


def waiting_call() -> Iterator[f.Frame]:
    """A call that never arrives whole, on a channel, number 1: all later ones on it wait behind it."""
    yield f.Call(0, "f", 0, 0, b"", (Declaration(1, K.CHANNEL, 1),))
    yield f.Call(2, 1, 1, 9, b"x")


def values_that_come_and_go() -> Iterator[f.Frame]:
    """Promises that are kept with as much as their credit allows, in calls that nobody hears of yet."""
    yield from waiting_call()
    for number in range(3, 3 + 31 * SMALL.open_calls, 31):
        yield f.Call(number, 1, 0, 0, b"", promises(number + 1, 30))
        for promise in range(number + 1, number + 31):
            yield f.End(promise, 0, 1000, bytes(1000))


def items_that_come_and_go() -> Iterator[f.Frame]:
    """Streams that are filled and reset, in calls that nobody hears of yet."""
    yield from waiting_call()
    for number in range(3, 3 + 31 * SMALL.open_calls, 31):
        kinds = tuple(Declaration(number + 1 + index, K.ITEMS) for index in range(30))
        yield f.Call(number, 1, 0, 0, b"", kinds)
        for each in kinds:
            yield f.Items(each.stream, 0, 1, b"\x81" + bytes(1000))
            yield f.Reset(each.stream, C.ABORTED)


def unread_streams() -> Iterator[f.Frame]:
    """Streams by the hundred, each filled as far as its credit goes."""
    number = 0
    for _ in range(SMALL.open_calls):
        kinds = tuple(Declaration(number + 1 + index, K.ITEMS) for index in range(10))
        yield f.Call(number, "f", 0, 0, b"", kinds)
        for each in kinds:
            yield f.Items(each.stream, 0, 1, b"\x81" + bytes(1000))
            yield f.Item(each.stream, 1, SMALL.message_bytes, bytes(1000))
        number += 11


def tiny_items() -> Iterator[f.Frame]:
    """Items of one byte, beyond the credit of their stream."""
    yield from one_stream(K.ITEMS)
    for _ in range(MANY):
        yield f.Items(1, 0, 1, b"\x81\x00")


def tiny_chunks() -> Iterator[f.Frame]:
    """Chunks of one byte, the same."""
    yield from one_stream(K.BYTES)
    for _ in range(MANY):
        yield f.Chunk(1, 0, b"x")


def items_that_claim_to_be_many() -> Iterator[f.Frame]:
    """A count that no payload could hold."""
    yield from one_stream(K.ITEMS)
    yield f.Items(1, 0, 1 << 52, b"\x80")


def fragments_never_finished() -> Iterator[f.Frame]:
    """Large items on every stream there may be, each in the smallest parts, the last never sent."""
    kinds = tuple(Declaration(1 + index, K.ITEMS) for index in range(SMALL.credited_streams))
    yield f.Call(0, "f", 0, 0, b"", kinds)
    for each in kinds:
        yield f.Item(each.stream, 1, SMALL.message_bytes, b"xy")
    for _ in range(SMALL.message_bytes // 2 - 2):
        yield f.Fragment(1, 1, b"xy")
        yield f.Fragment(2, 1, b"xy")


def fragments_with_headers() -> Iterator[f.Frame]:
    """Payloads on every stream there may be, begun with as large an extension as there may be."""
    for number in (0, 31):
        kinds = promises(number + 1, SMALL.references)
        yield f.Call(number, "f", 0, 0, b"", kinds)
        for each in kinds:
            yield f.End(each.stream, 1, 9, b"x", (), {14: [[], {}] * 40})


def fragments_beyond_their_payload() -> Iterator[f.Frame]:
    """More bytes than were declared."""
    yield from one_stream(K.ITEMS)
    yield f.Item(1, 1, 100, bytes(50))
    yield f.Fragment(1, 1, bytes(51))


def huge_payloads() -> Iterator[f.Frame]:
    """Lengths that would take all memory, if anybody believed them."""
    yield from one_stream(K.ITEMS)
    yield f.Item(1, 1, 1 << 52, b"x")
    for number in range(2, MANY):
        yield f.Call(number, "f", 1, 1 << 52, b"x")


def stops_and_resets() -> Iterator[f.Frame]:
    """Streams that come and are reset at once, with as much of a reason as there may be."""
    for number in itertools.count(0, 2):
        if number > MANY:
            return
        yield f.Call(number, "f", 0, 0, b"", (Declaration(number + 1, K.CHANNEL, 1),))
        yield f.Reset(number + 1, C.ABORTED, bytes(SMALL.reason_bytes))
        yield f.Stop(number + 1, C.ABORTED, bytes(SMALL.reason_bytes))
        yield f.Stop(number, C.CANCELLED, bytes(SMALL.reason_bytes))


def streams_of_stale_values() -> Iterator[f.Frame]:
    """Values on a stream that is over, each with streams that must all be stopped."""
    yield from one_stream(K.ITEMS)
    yield f.Reset(1, C.ABORTED)
    for number in itertools.count(2, 30):
        if number > 30 * MANY // 10:
            return
        yield f.Item(1, 0, 0, b"", promises(number, 30))


def pings() -> Iterator[f.Frame]:
    """More pings than anybody needs."""
    for number in range(MANY):
        yield f.Ping(number)


def goodbyes() -> Iterator[f.Frame]:
    """Announcements of going away, each with as much text as there may be."""
    for number in range(MANY):
        yield f.GoAway(MANY - number, C.GOING_AWAY, "x" * SMALL.reason_bytes)


def unknown_frames() -> Iterator[f.Frame]:
    """Frames of the future, for streams and for none."""
    yield from one_stream(K.ITEMS)
    for _ in range(MANY):
        yield f.Unknown(64)
        yield f.Unknown(128, 1)


def frames_not_understood() -> Iterator[f.Frame]:
    """Frames that must be understood, on call after call."""
    for number in range(MANY):
        yield f.Call(number, "f", 0, 0, b"")
        yield f.Unknown(129, number)


def grants() -> Iterator[f.Frame]:
    """Credit without end."""
    yield f.Call(0, "f", 0, 0, b"", (Declaration(1, K.CHANNEL, 1),))
    for index in range(MANY):
        yield f.Grant(1, index << 30)


def promises(first: int, count: int) -> tuple[Declaration, ...]:
    """Declarations of so many promises."""
    return tuple(Declaration(first + index, K.PROMISE) for index in range(count))


def one_stream(kind: Kind) -> Iterator[f.Frame]:
    """A call with one stream, number 1."""
    yield f.Call(0, "f", 0, 0, b"", (Declaration(1, kind),))


UNREAD = "TW-LIM-050"
PARTS = "TW-LIM-051"
BUDGET = "TW-LIM-052"
ARGUMENTS = "TW-LIM-053"
NAMES = "TW-LIM-054"
REASONS = "TW-LIM-055"
QUEUED = "TW-LIM-057"

ATTACKS: Final = [
    Attack(calls, (QUEUED,), C.LIMIT_EXCEEDED),
    Attack(calls, reads=True),
    Attack(calls_with_deadlines, (QUEUED,), C.LIMIT_EXCEEDED),
    Attack(calls_with_deadlines, reads=True),
    Attack(calls_and_cancels, (QUEUED,), C.LIMIT_EXCEEDED),
    Attack(calls_and_cancels, reads=True),
    Attack(half_calls_and_cancels, (ARGUMENTS, QUEUED), C.LIMIT_EXCEEDED),
    Attack(half_calls_and_cancels, (ARGUMENTS,), reads=True),
    Attack(argument_bytes, (ARGUMENTS, QUEUED), C.LIMIT_EXCEEDED),
    Attack(argument_bytes, (ARGUMENTS,), reads=True),
    Attack(names_and_metadata, (NAMES, QUEUED), C.LIMIT_EXCEEDED),
    Attack(names_and_metadata, (NAMES,), reads=True),
    Attack(too_much_metadata, end=C.LIMIT_EXCEEDED),
    Attack(references, (QUEUED,), C.LIMIT_EXCEEDED),
    Attack(references, reads=True),
    Attack(too_many_references, end=C.LIMIT_EXCEEDED),
    Attack(promises_that_come_and_go, (REASONS, QUEUED), C.LIMIT_EXCEEDED),
    Attack(promises_that_come_and_go, (REASONS,), reads=True),
    Attack(values_that_come_and_go, (PARTS,), reads=True),
    Attack(items_that_come_and_go, (UNREAD,), reads=True),
    Attack(unread_streams, (UNREAD, BUDGET), reads=True),
    Attack(tiny_items, (UNREAD,), C.FLOW_CONTROL),
    Attack(tiny_chunks, (UNREAD,), C.FLOW_CONTROL),
    Attack(items_that_claim_to_be_many, end=C.FLOW_CONTROL),
    Attack(fragments_never_finished, (UNREAD, BUDGET), reads=True),
    Attack(fragments_with_headers, reads=True),
    Attack(fragments_beyond_their_payload, end=C.INVALID_FRAME),
    Attack(huge_payloads, (QUEUED,), C.LIMIT_EXCEEDED),
    Attack(huge_payloads, reads=True),
    Attack(stops_and_resets, (REASONS, QUEUED), C.LIMIT_EXCEEDED),
    Attack(stops_and_resets, (REASONS,), reads=True),
    Attack(streams_of_stale_values, (QUEUED,), C.LIMIT_EXCEEDED),
    Attack(streams_of_stale_values, reads=True),
    Attack(pings, (QUEUED,), C.LIMIT_EXCEEDED),
    Attack(pings, reads=True),
    Attack(goodbyes, reads=True),
    Attack(unknown_frames, reads=True),
    Attack(frames_not_understood, (QUEUED,), C.LIMIT_EXCEEDED),
    Attack(frames_not_understood, reads=True),
    Attack(grants, reads=True),
]
