"""Actor: the random application of one side, which remembers what it sent, was told, and may expect."""

from __future__ import annotations

from random import Random

import cbor2

from telewire.core.events import (
    CallOver,
    CallReceived,
    CallRejected,
    CallResolved,
    ChunkReceived,
    ConnectionClosed,
    Event,
    HelloReceived,
    ItemReceived,
    ItemsReceived,
    SessionDetached,
    SessionResumed,
    StreamEnded,
    StreamStopped,
)
from telewire.core.states import ConnectionState, HalfState
from telewire.core.streams import Call, Stream
from telewire.errors import ErrorCode, LocalProtocolError, ResourceExhausted
from telewire.testing.network import Peer
from telewire.wire.frames import Kind
from telewire.wire.heads import BYTES, encode_head
from tests.core.app import App, is_open
from tests.core.dialogue import assert_empty

__all__ = ["Actor"]

SIZES = (0, 1, 10, 300, 700, 3000, 20_000)
ACTIONS = ("call", "answer", "finish", "send", "end", "stop", "cancel", "consume", "release")


class Actor(App):
    """One side's application. Each payload says which one it is, so that order and loss show."""

    def __init__(self, peer: Peer, dice: Random, now: list[float]) -> None:
        super().__init__(peer.connection, lambda below: dice.randrange(below) if below else 0)
        self.peer = peer
        self.dice = dice
        self.clock = now
        # Some hardly ever read, some hardly ever end anything.
        self.weights = [dice.choice((1, 2, 6)) for _ in ACTIONS]
        self.other: Actor | None = None
        self.sent: dict[Stream, list[bytes]] = {}
        self.got: dict[Stream, list[bytes]] = {}
        self.natural: set[Stream] = set()
        self.stopped: set[Stream] = set()
        self.started: dict[Call, bytes] = {}
        self.asked: dict[Call, bytes] = {}
        self.answers: dict[Call, bytes] = {}
        self.results: dict[Call, tuple[int, bytes]] = {}
        self.in_flight: dict[Call, Stream] = {}
        self.to_lose: list[Call] = []
        self.names: dict[tuple[int | None, bool], Stream] = {}
        self.last_payload = b""
        # On which transport calls of ours have left, by the number of the attempt that brought it; and the
        # one in use, as far as we have heard.
        self.left_on: dict[Call, int] = {}
        self.attempt = 0
        self.last_on: dict[Stream, int] = {}
        self.closed: ConnectionClosed | None = None
        self.crashed = False
        self.away_since = 0.0
        self.moving = False
        self.count = 0

    @property
    def alive(self) -> bool:
        """Whether it can do something."""
        return self.closed is None and not self.crashed and self.connection.state is ConnectionState.OPEN

    # --- what it is told -------------------------------------------------------------------------

    def event(self, event: Event) -> None:
        """Take one event."""
        assert self.closed is None, f"{event} came behind the end"
        if isinstance(event, HelloReceived):
            return
        if isinstance(event, ConnectionClosed):
            self.take_close(event)
            return
        if isinstance(event, SessionDetached):
            self.away_since = self.clock[0]
            # Another transport may be here already, and calls may have left over it.
            gone = [call for call in self.mine if self.left_on.get(call, self.attempt + 1) <= self.attempt]
            self.to_lose += [call for call in gone if not call.resumable and call not in self.results]
        elif isinstance(event, SessionResumed):
            self.moving = False
            self.attempt = self.connection._attempt
        self.take([event])
        self.remember(event)

    def note_left(self) -> None:
        """A batch has left."""
        for call in self.mine:
            if call.number is not None:
                self.left_on.setdefault(call, self.connection._attempt)

    def take_close(self, event: ConnectionClosed) -> None:
        """The end: it has to have a reason, and everything has to be settled (TW-SES-041)."""
        self.closed = event
        other = self.other
        if not self.connection.heard_of:
            assert not self.asked, "calls were made ahead of the hello"
            return
        # The client's hello may have gone astray, in a black hole that opened behind the server's.
        assert event.code in (ErrorCode.SESSION_LOST, *([] if other else [ErrorCode.HELLO_TIMEOUT])), event
        gone = other is None or other.crashed or other.closed is not None
        waited = self.clock[0] - self.away_since >= self.connection.limits.resume_seconds - 1e-6
        assert gone or ((self.detached or self.moving) and waited), (
            f"{event}: there was no need to lose this session"
        )
        assert not self.mine, "calls of ours have no end, and the session is over"
        if other is not None and not other.crashed and other.closed is None:
            self.check_missing(other)

    def check_missing(self, other: Actor) -> None:
        """What was lost is said: the positions that the other side has not had."""
        departures, arrivals = self.connection._departures, other.connection._arrivals
        assert departures is not None
        assert arrivals is not None
        if departures.emitted > arrivals.count:
            assert self.connection.missing is not None, "something is missing, and nobody says so"
            first, last = self.connection.missing
            assert first <= arrivals.count <= last == departures.emitted - 1

    def find(self, stream: Stream) -> Stream:
        """Our own handle of what the other side calls ``stream``."""
        key = (stream.number, not stream.opened_here)
        if key not in self.names:
            everything = (*self.known, *self.asked, *self.started)
            self.names = {(each.number, each.opened_here): each for each in everything}
        assert key in self.names, f"{stream} is nothing that the other side knows of"
        return self.names[key]

    def arrived(self, stream: Stream, payloads: list[bytes]) -> None:
        """Note what has come, and hold it against what the other side has sent: that comes next (I1, I9)."""
        assert self.other is not None
        sent = self.other.sent.get(self.other.find(stream), [])
        got = self.got.setdefault(stream, [])
        if stream.kind is Kind.BYTES:
            [chunk] = payloads
            assert b"".join(sent).startswith(chunk, sum(map(len, got))), "other bytes come than were sent"
        else:
            assert sent[len(got) : len(got) + len(payloads)] == payloads, "other items come than were sent"
        got += payloads

    def ended_in_order(self, stream: Stream) -> None:
        """The end comes behind everything (I1)."""
        assert self.other is not None
        self.natural.add(stream)
        sent, got = self.other.sent.get(self.other.find(stream), []), self.got.get(stream, [])
        assert b"".join(sent) == b"".join(got), "the end has come, and something before it has not"

    def remember(self, event: Event) -> None:
        """Note what has come, and compare it."""
        if isinstance(event, ItemReceived | ChunkReceived):
            self.arrived(event.stream, [event.payload])
        elif isinstance(event, ItemsReceived):
            items = cbor2.loads(event.payload)
            assert len(items) == event.count
            self.arrived(event.stream, [cbor2.dumps(item) for item in items])
        elif isinstance(event, StreamEnded):
            self.ended_in_order(event.stream)
        elif isinstance(event, StreamStopped):
            owner = event.stream.call
            if owner is not None and not owner.over:
                self.stopped.add(event.stream)
        elif isinstance(event, CallReceived):
            self.started[event.call] = event.payload
            assert self.other is not None
            asked = self.other.find(event.call)
            assert isinstance(asked, Call)
            assert self.other.asked[asked] == event.payload, "a call came with another payload"
            if isinstance(event.target, Stream):
                number = event.call.number
                assert number is not None
                assert number > self.last_on.get(event.target, -1), "calls on one reference start in order"
                self.last_on[event.target] = number
        elif isinstance(event, CallResolved):
            self.results[event.call] = (0, event.payload)
            assert self.other is not None
            answered = self.other.find(event.call)
            assert isinstance(answered, Call)
            assert self.other.answers[answered] == event.payload, "an answer is another one than was given"
        elif isinstance(event, CallRejected):
            self.results[event.call] = (event.code, event.payload)
        elif isinstance(event, CallOver):
            assert event.call in self.started or event.call in self.asked

    def move(self) -> None:
        """As a client: go over to a new transport while the old one is alive."""
        if self.alive and not self.connection.detached:
            self.moving = True
            self.away_since = self.clock[0]
            self.peer.move()

    # --- what it does ----------------------------------------------------------------------------

    def act(self) -> None:
        """Do one thing, if it can."""
        if self.alive:
            [action] = self.dice.choices(ACTIONS, self.weights)
            getattr(self, action)()
            self.peer.hand_out()

    def payload(self) -> bytes:
        """An encoded byte string that no other payload of this side equals."""
        self.count += 1
        content = self.count.to_bytes(4, "big") + bytes(SIZES[self.choose(len(SIZES))])
        self.last_payload = encode_head(BYTES, len(content)) + content
        return self.last_payload

    def call(self) -> None:
        """Call, and remember with what."""
        before = set(self.mine)
        self.connection._now = self.clock[0]
        super().call()
        for call in self.mine:
            if call not in before:
                self.asked[call] = self.last_payload
                # Some are lost with their transport.
                call.resumable = self.choose(6) > 0

    def _answer(self, call: Call) -> None:
        payload = self.payload()
        del self.unanswered[call]
        try:
            if self.choose(4):
                self.learn(self.connection.resolve(call, payload, self.declarations()))
            else:
                self.connection.reject(call, ErrorCode.ABORTED, payload)
        except ResourceExhausted:
            self.connection.reject(call, ErrorCode.RESOURCE_EXHAUSTED)
            payload = b""
        except LocalProtocolError:
            assert call.over
        self.answers[call] = payload

    def send(self) -> None:
        """Send, and remember what."""
        stream = self.pick(lambda each: each.kind in SENT and is_open(each.send))
        if stream is None:
            return
        if not self.connection.writable(stream):
            self.blocked.add(stream)
            return
        payload = self.payload()
        try:
            if stream.kind is Kind.BYTES:
                self.connection.send_chunk(stream, payload)
            elif stream.kind is Kind.ITEMS:
                self.learn(self.connection.send_item(stream, payload, self.declarations()))
            else:
                self.learn(self.connection.send_message(stream, payload, self.declarations()))
        except ResourceExhausted:
            return
        self.sent.setdefault(stream, []).append(payload)

    def release(self) -> None:
        """Call a function and release it at once: the call is answered all the same (I10)."""
        function = self.pick(lambda each: each.kind is Kind.FUNCTION and not each.opened_here)
        if function is None:
            return
        try:
            call = self.connection.call(function, self.payload())
        except ResourceExhausted:
            return
        self.mine[call] = 0
        self.asked[call] = self.last_payload
        self.in_flight[call] = function
        self.connection.release(function)
        self.ended.add((function, "receive"))
        try:
            self.connection.call(function, b"")
        except LocalProtocolError:
            return
        raise AssertionError("a function was called after its release")

    # --- coming to an end ------------------------------------------------------------------------

    def consume_all(self, leave: Stream | None = None) -> bool:
        """Consume what waits, except on one stream; whether there was any."""
        found = False
        for stream, units in list(self.waiting.items()):
            if units and stream is not leave:
                found = True
                self.waiting[stream] = 0
                self.connection.consumed(stream, units)
        return found

    def end_all(self, leave: Stream | None) -> None:
        """Answer, finish, end and release everything in order, except what belongs to one stream."""
        for call in list(self.unanswered):
            self._answer(call)
        for call in list(self.bodies):
            del self.bodies[call]
            self.connection.finish(call)
        self.consume_all(leave)
        for stream in list(self.known):
            if stream.retired or stream is leave:
                continue
            if stream.kind is Kind.FUNCTION and not stream.opened_here:
                self.connection.release(stream)
                self.ended.add((stream, "receive"))
            elif is_open(stream.send):
                self.blocked.discard(stream)
                self.connection.end(stream)

    def unread(self) -> Stream | None:
        """One stream on which something waits that nobody reads."""
        return self.pick(lambda each: bool(self.waiting.get(each)) and is_reading(each))

    def check_credit(self) -> None:
        """Where all has been consumed and delivered, a sender has half a window again (TW-STR-035)."""
        for stream in self.known:
            half = stream.send
            if half is None or stream.number is None or stream.retired or not is_open(half):
                continue
            assert half.window.available > self.connection.peer_limits.stream_window // 2, f"{stream} starves"

    def check_end(self) -> None:
        """Nothing is left (I3), every call was answered, every body was told its end once (I5)."""
        assert not self.mine, "a call of ours has no end"
        assert set(self.asked) == set(self.results), "a call of ours has no answer"
        assert self.over == {*self.asked, *self.started}, "the end of a call was not told"
        for call in self.to_lose:
            assert self.results[call][0] == ErrorCode.SESSION_LOST, "a call has outlived its transport"
        assert_empty(self.connection)
        departures = self.connection._departures
        assert departures is None or departures.held == departures.drawn == 0

    def compare(self) -> None:
        """What the other side got is what this one sent (I1)."""
        other = self.other
        if other is None:
            return
        theirs: dict[tuple[int | None, bool], Stream] = {
            (each.number, each.opened_here): each for each in other.known
        }
        for stream, payloads in self.sent.items():
            twin = theirs.get((stream.number, not stream.opened_here))
            if stream.number is None or twin is None:
                continue
            got = other.got.get(twin, [])
            if stream.kind is Kind.BYTES:
                whole = b"".join(payloads)
                assert whole.startswith(b"".join(got)), "bytes are missing, come twice or in another order"
                assert twin not in other.natural or whole == b"".join(got), "the last bytes are missing"
            else:
                assert payloads[: len(got)] == got, "items are missing, come twice or in another order"
                assert twin not in other.natural or payloads == got, "the last items are missing"
        calls = {call.number: call for call in other.started}
        for call, (code, payload) in self.results.items():
            twin_call = calls.get(call.number) if call.number is not None else None
            if code == 0:
                assert twin_call is not None, "a call was answered that the other side never had"
                assert other.answers[twin_call] == payload, "an answer is another one than was given"
            elif code == ErrorCode.NOT_STARTED:
                assert twin_call is None, "a call was started that is said not to have been"
            elif code == ErrorCode.REFERENCE_RELEASED and call in self.in_flight:
                released = theirs.get((self.in_flight[call].number, True))
                assert released not in other.stopped, "a call was overtaken by the release of its function"


SENT = (Kind.ITEMS, Kind.BYTES, Kind.CHANNEL)


def is_reading(stream: Stream) -> bool:
    """Whether something can still arrive on a stream."""
    return stream.receive is not None and stream.receive.state is HalfState.OPEN
