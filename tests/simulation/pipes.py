"""Pipes: two machines with a link of one rate and one delay between them, in virtual time.

The link has a queue without end before its bottleneck, first in, first out, which is where everything
waits that a sender lets leave too early. Nothing is lost, nothing is random, and payloads are shared, so
that a link of 1,000 Mbit/s can be filled in a moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final

from telewire.core.connection import Connection
from telewire.core.events import (
    CallReceived,
    CallResolved,
    ChunkReceived,
    ItemsReceived,
    StreamUnblocked,
)
from telewire.core.flight import Flight
from telewire.core.streams import Stream
from telewire.limits import Limits
from telewire.wire.codec import decode_batch
from telewire.wire.frames import Kind, Resume

__all__ = ["CHUNK", "MBIT", "MIB", "WIDE", "Chat", "Pipe", "Side"]

MIB: Final = 1 << 20
MBIT: Final = 1e6 / 8
"""Bytes a second of 1 Mbit/s."""
WIDE: Final = Limits(session_budget=128 * MIB)
"""Windows of 64 MiB, and a replay buffer of 64 MiB."""
CHUNK: Final = bytes(64 * 1024)


class Way:
    """One direction: what has passed the bottleneck, and when it is free again."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.free_at = 0.0
        self.carried = 0


class Side:
    """One machine: who writes into it, who reads from it, and what is known of either.

    ``flying`` is what has left and is not acknowledged, as the machine counts it, ``most`` the most of
    it; ``read`` is what was consumed of each stream, in bytes.
    """

    def __init__(self, pipe: Pipe, connection: Connection, way: Way) -> None:
        self.pipe = pipe
        self.connection = connection
        self.way = way
        self.most = 0
        self.read: dict[Stream, int] = {}
        self.bulk: set[Stream] = set()
        self.heard: Callable[[int], object] | None = None
        """Called with the number of items that arrive together."""
        self.reads: Callable[[Stream], bool] = lambda stream: True
        """Whether the application takes what arrives on a stream at once."""
        self.asked: Callable[[CallReceived], object] | None = None
        self.answered: Callable[[CallResolved], object] | None = None

    @property
    def flying(self) -> int:
        """What has left and is not acknowledged, in bytes."""
        departures = self.connection._departures
        return 0 if departures is None else departures.flying

    @property
    def flight(self) -> Flight:
        """What the machine knows of the link."""
        departures = self.connection._departures
        assert departures is not None, "only a session counts what is on its way"
        return departures.flight

    def fill(self, stream: Stream) -> None:
        """Keep a byte stream full from now on."""
        self.bulk.add(stream)
        while stream.send is not None and self.connection.writable(stream):
            self.connection.send_chunk(stream, CHUNK)

    def pump(self) -> None:
        """Hand out events, and let leave what may."""
        connection, pipe = self.connection, self.pipe
        while True:
            for event in connection.events_received():
                self._take(event)
            batches = connection.data_to_send(now=pipe.now)
            self.most = max(self.most, self.flying)
            if not batches and not connection.has_events:
                break
            for batch in batches:
                pipe.carry(self, batch)
        pipe.arm(self)

    def _take(self, event: object) -> None:
        connection = self.connection
        if isinstance(event, ChunkReceived):
            if self.reads(event.stream):
                self.read[event.stream] = self.read.get(event.stream, 0) + len(event.payload)
                connection.consumed(event.stream, len(event.payload))
        elif isinstance(event, ItemsReceived):
            connection.consumed(event.stream, event.count)
            if self.heard is not None:
                self.heard(event.count)
        elif isinstance(event, StreamUnblocked):
            if event.stream in self.bulk:
                self.fill(event.stream)
        elif isinstance(event, CallReceived):
            if self.asked is not None:
                self.asked(event)
        elif isinstance(event, CallResolved) and self.answered is not None:
            self.answered(event)


class Pipe:
    """Two machines and the link between them; ``client`` and ``server`` are its sides.

    Args:
        rate: of the link, each way, in bytes a second.
        trip: how long an empty link takes there and back, in seconds.
        limits: of both sides.
    """

    def __init__(self, rate: float, trip: float, limits: Limits = WIDE, *, resume: bool = True) -> None:
        self.rate = rate
        self.trip = trip
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0
        self._epoch = 0
        server = Connection("server", limits=limits, session_id=b"s", token=bytes(16), resume=resume)
        self.client = Side(self, Connection("client", limits=limits, resume=resume), Way(rate))
        self.server = Side(self, server, Way(rate))
        self._armed: dict[Side, float] = {}
        self.pump()
        self.run(2 * trip + 0.1)

    @property
    def holds(self) -> float:
        """What the link holds when it is full and nothing waits, in bytes."""
        return self.rate * self.trip

    def call_at(self, when: float, function: Callable[[], object]) -> None:
        """Call a function when the time has come; those of one instant in order."""
        self._count += 1
        heappush(self._due, (when, self._count, function))

    def carry(self, side: Side, batch: bytes) -> None:
        """Take a batch of one side to the other."""
        way = side.way
        way.free_at = max(way.free_at, self.now) + len(batch) / way.rate
        other = self.server if side is self.client else self.client
        epoch = self._epoch

        def arrive() -> None:
            if epoch == self._epoch:
                way.carried += len(batch)
                if other.connection.detached and other is self.server:
                    resume = decode_batch(batch, Limits())[0]
                    assert isinstance(resume, Resume)
                    assert other.connection.resume(resume.attempt, resume.received, self.now)
                else:
                    other.connection.receive_data(batch, self.now)
                other.pump()

        self.call_at(way.free_at + self.trip / 2, arrive)

    def arm(self, side: Side) -> None:
        """Wake a side when it asks for it."""
        when = side.connection.next_timeout()
        if when is None or when == self._armed.get(side):
            return
        self._armed[side] = when

        def wake() -> None:
            if self._armed.get(side) == when:
                del self._armed[side]
                side.connection.handle_timeout(self.now)
                side.pump()

        self.call_at(max(when, self.now), wake)

    def pump(self) -> None:
        """Let both sides say what they have."""
        self.client.pump()
        self.server.pump()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self._due and self._due[0][0] <= end:
            self.now, _, function = heappop(self._due)
            function()
        self.now = end

    def move(self, rate: float, trip: float) -> None:
        """Lose the link and all on its way, and resume the session over another."""
        self._epoch += 1
        self.rate, self.trip = rate, trip
        for side in (self.client, self.server):
            side.connection.receive_eof(self.now)
            side.way.rate, side.way.free_at = rate, self.now
        self.client.connection.attach(self.now)
        self.client.pump()

    def download(self, count: int = 1) -> list[Stream]:
        """Let the server fill byte streams without end; gives the client's ends once they are there."""
        client, server = self.client.connection, self.server
        ends: list[Stream] = []

        def begin(event: CallReceived) -> None:
            streams = server.connection.resolve(event.call, b"", [(Kind.BYTES, None)] * count)
            server.connection.finish(event.call)
            for stream in streams:
                server.fill(stream)

        def note(event: CallResolved) -> None:
            ends.extend(event.declared)

        server.asked, self.client.answered = begin, note
        client.call("download", b"")
        self.client.pump()
        return ends


class Chat:
    """Small items from the server, one each so many seconds; ``waits`` is how long each took too long."""

    def __init__(self, pipe: Pipe, pause: float) -> None:
        self.waits: list[float] = []
        self._pipe = pipe
        self._pause = pause
        self._left: deque[float] = deque()
        self._stream: Stream | None = None
        pipe.server.asked = self._begin
        pipe.client.heard = self._note
        pipe.client.connection.call("chat", b"")
        pipe.client.pump()
        pipe.run(2 * pipe.trip + 0.1)
        self._say()

    def _begin(self, event: CallReceived) -> None:
        connection = self._pipe.server.connection
        [self._stream] = connection.resolve(event.call, b"", [(Kind.ITEMS, None)])
        connection.finish(event.call)

    def _say(self) -> None:
        pipe, stream = self._pipe, self._stream
        assert stream is not None, "the call has been answered"
        if pipe.server.connection.writable(stream):
            self._left.append(pipe.now)
            pipe.server.connection.send_item(stream, b"\x65hello")
            pipe.server.pump()
        pipe.call_at(pipe.now + self._pause, self._say)

    def _note(self, count: int) -> None:
        for _ in range(count):
            self.waits.append(self._pipe.now - self._left.popleft() - self._pipe.trip / 2)
