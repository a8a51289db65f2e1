"""Helpers of the core's tests: hand-made frames, what left as frames, and proof that nothing is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from telewire.core.connection import Connection
from telewire.core.events import CallReceived, ConnectionClosed, Event
from telewire.core.flow import Pool
from telewire.core.streams import Call, Stream
from telewire.errors import ErrorCode
from telewire.limits import ADVERTISED, Limits
from telewire.testing.pair import Pair
from telewire.wire import frames as f
from telewire.wire.codec import decode_batch, encode_batch, encode_frame

LIMITS = Limits(batch_bytes=1 << 24, references=1 << 20)

E = TypeVar("E")

K = f.Kind
C = ErrorCode


def batch(*frames: f.Frame) -> bytes:
    """One batch of hand-made frames."""
    return encode_batch([encode_frame(frame) for frame in frames])


def frames_of(batches: Sequence[bytes]) -> list[f.Frame]:
    """What left, frame by frame."""
    return [frame for each in batches for frame in decode_batch(each, LIMITS)]


def sent(connection: Connection, max_bytes: int = 1 << 30) -> list[f.Frame]:
    """Everything that leaves now."""
    return frames_of(connection.data_to_send(max_bytes))


def hello(of: Limits | None = None, **changes: object) -> f.Hello:
    """A client's hello."""
    values = {number: getattr(of or Limits(), name) for number, name in ADVERTISED.items()}
    return f.Hello(**{"version_min": 1, "version_max": 1, "limits": values} | changes)  # type: ignore[arg-type]


class Peer:
    """A server's connection whose peer is hand-made: frames go in, frames and events come out."""

    def __init__(
        self, ours: Limits | None = None, theirs: Limits | None = None, pool: Pool | None = None
    ) -> None:
        self.core = Connection("server", limits=ours, session_id=b"s", token=b"t" * 16, pool=pool)
        self.now = 0.0
        sent(self.core)
        self.core.receive_data(batch(hello(theirs)), 0.0)
        self.core.events_received()

    def say(self, *frames: f.Frame) -> list[Event]:
        """Let the peer emit one batch; returns the events."""
        self.core.receive_data(batch(*frames), self.now)
        return self.core.events_received()

    def hear(self, max_bytes: int = 1 << 30) -> list[f.Frame]:
        """What leaves for the peer."""
        return sent(self.core, max_bytes)

    def call(
        self, number: int, payload: bytes = b"", *declarations: f.Declaration, target: str | int = "f"
    ) -> Call:
        """Let the peer make a call that is accepted."""
        events = self.say(f.Call(number, target, 0, len(payload), payload, declarations))
        [call] = [event.call for event in events if isinstance(event, CallReceived)]
        return call

    def answered(self, number: int, *kinds: tuple[K, int | None]) -> tuple[Call, tuple[Stream, ...]]:
        """Take a call of the peer's and answer it with streams of ours, all of which has left."""
        call = self.call(number)
        streams = self.core.resolve(call, b"", kinds)
        self.core.finish(call)
        self.hear()
        return call, streams

    def closed(self) -> C:
        """The code with which the connection was closed because of the peer, which must be the case."""
        last = self.hear()[-1]
        assert isinstance(last, f.Close)
        events = self.core.events_received()
        final = events[-1]
        assert isinstance(final, ConnectionClosed)
        assert sum(isinstance(event, ConnectionClosed) for event in events) == 1
        assert final.error is not None
        assert final.error.code == final.code == last.code
        assert self.core.next_timeout() is None
        assert self.hear() == []
        return C(last.code)


def close_code(frames: Sequence[f.Frame]) -> C:
    """The code of the close that is the last of what left."""
    last = frames[-1]
    assert isinstance(last, f.Close)
    return C(last.code)


def end_code(events: Sequence[Event]) -> C:
    """The code with which the conversation ended, as the last event says."""
    last = events[-1]
    assert isinstance(last, ConnectionClosed)
    return C(last.code)


def only(events: Sequence[Event], kind: type[E]) -> E:
    """The one event of a kind among others."""
    [event] = [event for event in events if isinstance(event, kind)]
    return event


def refusal(peer: Peer, *frames: f.Frame) -> C:
    """Let the peer emit frames that break a rule; returns the code of the close."""
    peer.core.receive_data(batch(*frames), peer.now)
    return peer.closed()


def assert_empty(connection: Connection) -> None:
    """Nothing is open and nothing is held: every table is empty, every counter is back at zero."""
    tables = {
        "ours": connection._ours,
        "theirs": connection._theirs,
        "unsent": connection._unsent,
        "later": connection._later,
        "waiting calls": connection._waiting_calls,
        "starting": connection._starting,
        "borrowers": connection._borrowers,
        "ring": connection._scheduler.ring,
        "control": connection._scheduler.control,
        "grants": connection._scheduler.grants,
    }
    assert {name: table for name, table in tables.items() if table} == {}
    counters = {
        "outgoing calls": connection._outgoing_calls,
        "incoming calls": connection._incoming_calls,
        "argument bytes": connection._argument_bytes,
        "refusals": connection._refusals,
        "forced": connection._forced,
        "declared": connection._declared,
        "accepted": connection._accepted,
    }
    assert {name: count for name, count in counters.items() if count not in (0, [0, 0])} == {}
    budget = connection._budget
    size = connection.limits.session_budget
    assert (budget.left, budget.left_to_grow) == (size, size // 2)
    assert connection._timers.next() is None


def settle(pair: Pair) -> None:
    """Deliver all, and prove that both sides are empty."""
    pair.deliver()
    assert_empty(pair.client)
    assert_empty(pair.server)


def names(events: Sequence[Event]) -> list[str]:
    """The classes of events, in order."""
    return [type(event).__name__ for event in events]
