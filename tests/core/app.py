"""App: an application that uses one side of a Pair at random and watches that the core keeps its promises."""

from __future__ import annotations

from collections.abc import Callable

from telewire.core.connection import Connection, Declare
from telewire.core.events import (
    CallOver,
    CallReceived,
    CallRejected,
    CallResolved,
    CallStopped,
    ChunkReceived,
    ConnectionClosed,
    Event,
    ItemReceived,
    ItemsReceived,
    SessionDetached,
    SessionResumed,
    StreamEnded,
    StreamFailed,
    StreamReset,
    StreamStopped,
    StreamUnblocked,
)
from telewire.core.halves import SendHalf
from telewire.core.states import HalfState
from telewire.core.streams import Call, Stream
from telewire.errors import ErrorCode, LocalProtocolError, ResourceExhausted
from telewire.wire.frames import Kind

Choose = Callable[[int], int]
"""A number below the one given."""

CODES = (ErrorCode.NONE, ErrorCode.ABORTED, ErrorCode.CANCELLED)


class App:
    """What one side knows; each method does one thing that an application may do."""

    def __init__(self, connection: Connection, choose: Choose) -> None:
        self.connection = connection
        self.choose = choose
        self.known: dict[Stream, None] = {}
        self.mine: dict[Call, int] = {}
        self.bodies: dict[Call, None] = {}
        self.unanswered: dict[Call, None] = {}
        self.over: set[Call] = set()
        self.ended: set[tuple[Stream, str]] = set()
        self.waiting: dict[Stream, int] = {}
        self.blocked: set[Stream] = set()
        self.functions = 0
        self.detached = False

    # --- events ----------------------------------------------------------------------------------

    def take(self, events: list[Event]) -> None:
        """Follow events and check each against all before it."""
        for event in events:
            if isinstance(event, (CallReceived, CallStopped, CallResolved, CallRejected, CallOver)):
                self._take_call(event)
            elif isinstance(event, (SessionDetached, SessionResumed)):
                self.detached = isinstance(event, SessionDetached)
            elif isinstance(event, ConnectionClosed):
                raise AssertionError(f"an honest pair was closed: {event}")
            else:
                stream = getattr(event, "stream", None)
                assert isinstance(stream, Stream), event
                self._take_stream(event, stream)

    def _take_call(self, event: CallReceived | CallStopped | CallResolved | CallRejected | CallOver) -> None:
        call = event.call
        assert call not in self.over, "nothing follows the end of a call"
        if isinstance(event, CallReceived):
            assert call not in self.bodies
            assert isinstance(event.target, str) or event.target in self.known
            self.bodies[call] = self.unanswered[call] = None
            self.learn(event.declared)
        elif isinstance(event, CallStopped):
            assert call in self.bodies
        elif isinstance(event, (CallResolved, CallRejected)):
            self.mine[call] += 1
            assert self.mine[call] == 1, "a call is answered once"
            self.learn(event.declared)
        else:
            assert call.over
            assert self.mine.pop(call, 1) == 1, "a call is answered before it is over"
            self.over.add(call)
            self.unanswered.pop(call, None)

    def _take_stream(self, event: Event, stream: Stream) -> None:
        assert stream in self.known, f"{event} is about a stream that nobody was told of"
        if isinstance(event, StreamStopped):
            self._end(stream, "send")
            self.blocked.discard(stream)
        elif isinstance(event, StreamUnblocked):
            assert stream in self.blocked
            self.blocked.discard(stream)
        elif isinstance(event, StreamReset) and self.waiting.get(stream):
            # Also behind an end, while what came before it is not consumed.
            self.ended.add((stream, "receive"))
        else:
            assert (stream, "receive") not in self.ended, "nothing follows the end of a half"
            if isinstance(event, ItemsReceived):
                self.waiting[stream] = self.waiting.get(stream, 0) + event.count
            elif isinstance(event, ItemReceived):
                self.waiting[stream] = self.waiting.get(stream, 0) + 1
                self.learn(event.declared)
            elif isinstance(event, ChunkReceived):
                self.waiting[stream] = self.waiting.get(stream, 0) + len(event.payload)
            elif isinstance(event, (StreamEnded, StreamFailed, StreamReset)):
                self._end(stream, "receive")
                if isinstance(event, StreamEnded):
                    self.learn(event.declared)

    def _end(self, stream: Stream, half: str) -> None:
        assert (stream, half) not in self.ended, "a half ends once"
        self.ended.add((stream, half))

    def learn(self, streams: tuple[Stream, ...]) -> None:
        """Remember handles, from events or from our own commands."""
        for stream in streams:
            assert stream not in self.known
            self.known[stream] = None

    # --- what an application does ----------------------------------------------------------------

    def pick(self, wanted: Callable[[Stream], bool]) -> Stream | None:
        """One of the open streams that are as wanted."""
        found = [stream for stream in self.known if not stream.retired and wanted(stream)]
        return found[self.choose(len(found))] if found else None

    def declarations(self) -> list[Declare]:
        """Up to three streams to introduce."""
        declare: list[Declare] = []
        for _ in range(max(0, self.choose(6) - 2)):
            kind = Kind(1 + self.choose(5))
            self.functions += 1
            declare.append((kind, self.functions if kind >= Kind.FUNCTION else None))
        return declare

    def payload(self) -> bytes:
        """Something small, mostly."""
        return bytes((0, 1, 10, 300, 700, 3000, 20_000)[self.choose(7)])

    def call(self) -> None:
        """Call a name, a function or a channel, perhaps with a deadline."""

        def callable_here(stream: Stream) -> bool:
            if stream.kind is Kind.CHANNEL:
                halves = (stream.send, stream.receive)
                return all(half is not None and half.state is HalfState.OPEN for half in halves)
            return stream.kind is Kind.FUNCTION and not stream.opened_here

        target: str | Stream = (self.pick(callable_here) if self.choose(2) else None) or "f"
        deadline = None if self.choose(4) else self.connection._now + self.choose(3)
        try:
            call = self.connection.call(target, self.payload(), self.declarations(), deadline=deadline)
        except ResourceExhausted:
            return
        self.mine[call] = 0
        self.learn(call.declared)

    def answer(self) -> None:
        """Answer a call of the peer's, or refuse it."""
        if self.unanswered:
            self._answer(list(self.unanswered)[self.choose(len(self.unanswered))])

    def _answer(self, call: Call) -> None:
        del self.unanswered[call]
        try:
            if self.choose(4):
                self.learn(self.connection.resolve(call, self.payload(), self.declarations()))
            else:
                self.connection.reject(call, ErrorCode.ABORTED, self.payload())
        except ResourceExhausted:
            self.connection.reject(call, ErrorCode.RESOURCE_EXHAUSTED)
        except LocalProtocolError:
            assert call.over

    def finish(self) -> None:
        """End a body that has answered, or whose call is over."""
        done = [call for call in self.bodies if call not in self.unanswered]
        if done:
            call = done[self.choose(len(done))]
            del self.bodies[call]
            self.connection.finish(call)

    def send(self) -> None:
        """Send something on a half of ours."""
        stream = self.pick(
            lambda each: each.kind in (Kind.ITEMS, Kind.BYTES, Kind.CHANNEL) and is_open(each.send)
        )
        if stream is None:
            return
        if not self.connection.writable(stream):
            self.blocked.add(stream)
            return
        try:
            if stream.kind is Kind.BYTES:
                self.connection.send_chunk(stream, self.payload())
            elif stream.kind is Kind.ITEMS:
                self.learn(self.connection.send_item(stream, self.payload(), self.declarations()))
            else:
                self.learn(self.connection.send_message(stream, self.payload(), self.declarations()))
        except ResourceExhausted:
            return

    def end(self) -> None:
        """End a half of ours: in order, with an error, or at once."""
        stream = self.pick(
            lambda each: is_open(each.send) or (each.kind is Kind.FUNCTION and each.opened_here)
        )
        if stream is None:
            return
        how = self.choose(3)
        self.blocked.discard(stream)
        if stream.kind is Kind.FUNCTION or how == 0:
            self.connection.reset(stream, CODES[self.choose(3)])
            self.ended.add((stream, "send"))
        elif how == 1:
            self.connection.reject(stream, ErrorCode.ABORTED, self.payload())
        elif stream.kind in (Kind.BYTES, Kind.CHANNEL):
            self.connection.end(stream)
        else:
            try:
                self.learn(self.connection.end(stream, self.payload(), self.declarations()))
            except ResourceExhausted:
                self.connection.end(stream)

    def stop(self) -> None:
        """Give up a half of the peer's, or release a function."""
        stream = self.pick(
            lambda each: each.receive is not None or (each.kind is Kind.FUNCTION and not each.opened_here)
        )
        if stream is not None:
            self.connection.stop(stream, CODES[self.choose(3)])
            self.ended.add((stream, "receive"))

    def cancel(self) -> None:
        """Cancel or close a call of ours, or close one of the peer's."""
        if self.mine and self.choose(2):
            self.connection.stop(list(self.mine)[self.choose(len(self.mine))], CODES[self.choose(3)])
            return
        answered = [call for call in self.bodies if call not in self.unanswered]
        if answered:
            self.connection.reset(answered[self.choose(len(answered))], CODES[self.choose(3)])

    def consume(self) -> None:
        """Consume a part of what has arrived on a stream."""
        streams = [stream for stream, units in self.waiting.items() if units]
        if streams:
            stream = streams[self.choose(len(streams))]
            units = 1 + self.choose(self.waiting[stream])
            self.waiting[stream] -= units
            self.connection.consumed(stream, units)

    def wind_up(self) -> None:
        """Come to an end with everything: answer, finish, consume, cancel."""
        for call in list(self.unanswered):
            del self.unanswered[call]
            if not call.over:
                self.connection.reject(call, ErrorCode.INTERNAL)
        for call in list(self.bodies):
            del self.bodies[call]
            self.connection.finish(call)
        for stream, units in self.waiting.items():
            if units:
                self.connection.consumed(stream, units)
        self.waiting.clear()
        for call in list(self.mine):
            self.connection.stop(call)


def is_open(half: SendHalf | None) -> bool:
    """Whether more can be sent on a half."""
    return half is not None and half.state is HalfState.OPEN
