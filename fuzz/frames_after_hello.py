"""Frames at random behind a valid hello: the machine takes them, or closes once, and never holds too much."""

from __future__ import annotations

from typing import Final, Literal

from fuzz.choices import Choices
from fuzz.holding import held_bytes, most_bytes
from telewire.core.connection import Connection, Declare
from telewire.core.events import (
    CallOver,
    CallReceived,
    CallRejected,
    CallResolved,
    ChunkReceived,
    ConnectionClosed,
    Event,
    GoAwayReceived,
    ItemReceived,
    ItemsReceived,
    StreamEnded,
    StreamFailed,
)
from telewire.core.states import ConnectionState
from telewire.core.streams import Call, Stream
from telewire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError, ResourceExhausted
from telewire.limits import ADVERTISED, Limits
from telewire.wire import frames as f
from telewire.wire.codec import decode_batch, encode_batch, encode_frame
from telewire.wire.frames import Kind
from telewire.wire.reader import BatchReader

__all__ = ["SMALL", "target"]

SMALL: Final = Limits(
    **{"fragment_bytes": 1024, "batch_bytes": 4096, "batch_frames": 64, "message_bytes": 16384},
    **{"stream_window": 1024, "stream_window_read": 4096, "session_budget": 65536, "argument_bytes": 32768},
    **{"open_calls": 4, "queued_calls": 4, "open_streams": 12, "credited_streams": 6, "references": 4},
    **{"name_bytes": 32, "metadata_bytes": 64, "reason_bytes": 64, "item_cost": 64, "nesting": 8},
)
WIDE: Final = Limits(batch_bytes=1 << 24)
EXTENSIONS: Final[tuple[f.Extensions | None, ...]] = (
    None,
    None,
    None,
    {f.KEY_DEADLINE: 100},
    {f.KEY_LIFETIME: 0},
    {f.KEY_URGENCY: 1},
    {f.KEY_PIPELINE: 1},
    {14: [1]},
)
TIMES: Final[tuple[f.Extensions | None, ...]] = (None, None, {0: 3000}, {2: 1000})
RECORDED: Final[dict[bytes, Literal["server", "client"]]] = {b"\xfe": "server", b"\xff": "client"}
SIZES: Final = (0, 1, 2, 64, 65, 300, 1023, 1024)


def can_be_stopped(stream: Stream) -> bool:
    """Whether an application may stop it: a call of ours, a function of the peer's, a half we receive on."""
    if isinstance(stream, Call):
        return stream.opened_here
    if stream.kind is Kind.FUNCTION:
        return not stream.opened_here
    return stream.receive is not None


def target(data: bytes) -> None:
    """Play a peer that says anything: byte 0 chooses which side is real, and what the others are.

    They decide what happens, mostly; behind a byte of ``RECORDED`` they are what the peer says, a byte string
    for each batch.
    """
    if data[:1] in RECORDED:
        Play(Choices(b""), RECORDED[data[:1]]).listen(data[1:])
        return
    choices = Choices(data)
    Play(choices, choices.one(("server", "client"))).run()


class Play:
    """A real side, its small application, and what the made-up peer says."""

    def __init__(self, choices: Choices, side: Literal["server", "client"]) -> None:
        self.choices = choices
        session, token = (b"s", b"t" * 16) if side == "server" else (None, None)
        self.connection = Connection(side, limits=SMALL, resume=False, session_id=session, token=token)
        self.now = 0.0
        self.next = 0
        self.calls: list[Call] = []
        self.streams: list[Stream] = []
        self.closed: ConnectionClosed | None = None
        self.opened = 0
        self.warned = False

    def listen(self, stream: bytes) -> None:
        """Greet, take batches as they stand, and answer each call at once; then lose the transport."""
        self.greet()
        reader = BatchReader(SMALL)
        try:
            reader.receive_data(stream)
        except RemoteProtocolError as error:
            broken: RemoteProtocolError | None = error
        else:
            broken = None
        for batch in reader.completed:
            self.now += 0.25
            self.connection.receive_data(batch, self.now)
            self.follow()
            while self.calls:
                self.answer(self.calls.pop(0))
            if self.connection.state is not ConnectionState.OPEN:
                break
            self.connection.data_to_send()
            self.follow()
        if broken is not None and self.connection.state is ConnectionState.OPEN:
            self.connection.receive_violation(broken, self.now)
            self.follow()
        self.finish()

    def greet(self) -> None:
        """Let the peer say a hello that is valid."""
        limits = {number: getattr(SMALL, name) for number, name in ADVERTISED.items()}
        identity = (None, None) if self.connection.side == "server" else (b"id", b"token")
        self.say([f.Hello(1, 1, (), limits, *identity)])

    def run(self) -> None:
        """Greet, then say and do things until the data end; then lose the transport."""
        self.greet()
        while self.choices.left and self.connection.state is ConnectionState.OPEN:
            if self.choices.chance(64):
                self.act()
            else:
                self.say([self.frame() for _ in range(1 + self.choices.below(4) * self.choices.below(3))])
            if self.choices.below(4) and self.connection.state is ConnectionState.OPEN:
                # Mostly it leaves at once, so that the peer is not refused for what waits.
                self.connection.data_to_send()
                self.follow()
        self.finish()

    # --- the peer --------------------------------------------------------------------------------

    def say(self, frames: list[f.Frame]) -> None:
        """Let the peer emit frames, and check what follows from them."""
        batch = encode_batch([encode_frame(frame) for frame in frames])
        self.now += self.choices.below(8) / 4
        self.connection.receive_data(batch, self.now)
        self.follow()

    def reference(self) -> int:
        """A stream: one that may be open, mostly, of either side."""
        if self.choices.chance(8):
            return self.choices.one((1 << 52, -(1 << 52), self.next, -40))
        number = self.choices.below(self.next)
        # Of our side's streams the peer knows those that have left, which have numbers.
        ours = self.connection._numbers.next
        return -1 - self.choices.below(ours) if ours and self.choices.below(2) else number

    def declarations(self) -> tuple[f.Declaration, ...]:
        """Streams with the numbers that come next, mostly."""
        declared = []
        for _ in range(max(0, self.choices.below(6) - 3)):
            kind = Kind(1 + self.choices.below(5))
            number = self.choices.below(4) if kind >= Kind.FUNCTION else None
            declared.append(f.Declaration(self.next, kind, number))
            self.next += 0 if self.choices.chance(4) else 1
        return tuple(declared)

    def body(self) -> tuple[int, int, bytes, tuple[f.Declaration, ...]]:
        """Flags, size, payload and declarations of a first frame."""
        payload = bytes(self.choices.one(SIZES))
        if payload and self.choices.chance(48):
            return 1, len(payload) + self.choices.one((1, 500, 16384, 1 << 40)), payload, ()
        return 0, len(payload), payload, self.declarations()

    def frame(self) -> f.Frame:
        """One frame: mostly one that fits a stream that is open, so that the conversation goes on."""
        streams = [*self.connection._theirs.values(), *self.connection._ours.values()]
        choice = self.choices.byte()
        if choice < 8:
            return self.anything()
        if choice > 16:
            # A caller has nothing to say on its own call but that it gives it up.
            streams = [each for each in streams if each.opened_here or not isinstance(each, Call)]
        if choice < 60 or not streams:
            functions = [
                each
                for each in streams
                if each.kind is Kind.CHANNEL or (each.kind is Kind.FUNCTION and each.opened_here)
            ]
            target: str | int = "f"
            if functions and self.choices.below(2):
                target = -1 - self.choices.one(functions).reference
            number, self.next = self.next, self.next + 1
            return f.Call(number, target, *self.body(), self.choices.one(TIMES))
        return self.fitting(self.choices.one(streams))

    def fitting(self, stream: Stream) -> f.Frame:
        """A frame that the peer may send on a stream, by its kind; not always in its state."""
        reference = -1 - stream.reference
        receive = stream.receive
        code = self.choices.one((0, 1, 5, 7))
        if receive is not None and receive.arrival is not None and self.choices.below(4):
            arrival = receive.arrival
            missing = min(arrival.frame.size - arrival.received, 1 + self.choices.one(SIZES[:-1]))
            more = arrival.received + missing < arrival.frame.size
            return f.Fragment(reference, int(more), bytes(missing), () if more else self.declarations())
        farewell = self.farewell(stream)
        choice = self.choices.below(8)
        if isinstance(stream, Call):
            if not stream.opened_here or stream.answered:
                return farewell(reference, code, b"")
            return f.End(reference, *self.body()) if choice < 6 else f.Error(reference, 1, *self.body()[:3])
        if stream.kind is Kind.FUNCTION or choice == 0:
            return farewell(reference, code, b"")
        if receive is None or (choice == 1 and stream.send is not None):
            return f.Grant(reference, 1024 * (1 + self.choices.below(64)))
        if stream.kind is Kind.PROMISE:
            return f.End(reference, *self.body())
        if choice == 2:
            empty = stream.kind is not Kind.ITEMS
            return f.End(reference, *((0, 0, b"", ()) if empty else self.body()))
        if stream.kind is Kind.BYTES:
            return f.Chunk(reference, 0, bytes(1 + self.choices.one(SIZES[:-1])))
        if choice < 5:
            return f.Items(reference, 0, 1 + self.choices.below(9), b"\x80" + bytes(self.choices.below(200)))
        return f.Item(reference, *self.body())

    def farewell(self, stream: Stream) -> type[f.Stop] | type[f.Reset]:
        """How the peer may give a stream up, mostly: who receives it or calls stops, who sends it resets."""
        if isinstance(stream, Call) or stream.kind is Kind.FUNCTION:
            stops = stream.opened_here is (stream.kind is Kind.FUNCTION)
        elif stream.kind is Kind.CHANNEL:
            stops = bool(self.choices.below(2))
        else:
            stops = stream.send is not None
        return f.Stop if stops is not self.choices.chance(8) else f.Reset

    def anything(self) -> f.Frame:
        """One frame of any type but HELLO, with fields that may fit."""
        choice = self.choices.below(32)
        stream = self.reference()
        code = self.choices.one((0, 1, 5, 6, 7, 16, 33, 1 << 50))
        reason = bytes(self.choices.one((0, 0, 3, 64)))
        extensions = self.choices.one(EXTENSIONS)
        if choice < 8:
            target: str | int = stream if self.choices.below(2) else self.choices.one(("f", "f", ""))
            number, self.next = self.next, self.next + (0 if self.choices.chance(4) else 1)
            return f.Call(number, target, *self.body(), extensions)
        if choice < 12:
            return f.End(stream, *self.body(), extensions)
        if choice < 14:
            return f.Error(stream, code, *self.body(), extensions)
        if choice < 17:
            return f.Item(stream, *self.body(), extensions)
        if choice < 19:
            return f.Items(
                stream, 0, 1 + self.choices.below(9), b"\x80" + bytes(self.choices.below(200)), extensions
            )
        if choice < 21:
            return f.Chunk(stream, 0, bytes(1 + self.choices.one(SIZES[:-1])), extensions)
        if choice < 24:
            more = self.choices.below(2)
            return f.Fragment(
                stream, more, bytes(1 + self.choices.one(SIZES[:-1])), () if more else self.declarations()
            )
        if choice < 26:
            return f.Stop(stream, code, reason, extensions)
        if choice < 28:
            return f.Reset(stream, code, reason, extensions)
        if choice < 30:
            return f.Grant(stream, self.choices.one((0, 2048, 1 << 20, (1 << 53) - 1)), extensions)
        return self.rare(code, extensions)

    def rare(self, code: int, extensions: f.Extensions | None) -> f.Frame:
        """A frame of the connection, or of an unassigned type."""
        kind = self.choices.below(12)
        numbers: list[f.Frame] = [
            *(f.Ping(1, extensions), f.Ping(2), f.Pong(1, extensions), f.Ack(0), f.Position(0)),
            *(f.GoAway(self.choices.below(9), code, "", extensions), f.Close(code, "bye", extensions)),
            *(f.Unknown(8), f.Unknown(9), f.Unknown(128, self.reference()), f.Unknown(129, self.reference())),
            f.Resume(b"", b"", 1, 0),
        ]
        return numbers[kind]

    # --- our application -------------------------------------------------------------------------

    def act(self) -> None:
        """Let the application do one thing that it may do, or let time pass."""
        choice = self.choices.below(8)
        connection = self.connection
        try:
            if choice == 0:
                call = connection.call("f", bytes(self.choices.one(SIZES)), self.declare(), now=self.now)
                self.streams += [call, *call.declared]
                self.opened += 1 + len(call.declared)
            elif choice < 4 and self.calls:
                self.answer(self.calls.pop(self.choices.below(len(self.calls))))
            elif choice == 4 and self.streams:
                stream = self.choices.one(self.streams)
                if not isinstance(stream, Call) and connection.writable(stream):
                    self.send(stream)
            elif choice == 5 and self.streams:
                stream = self.choices.one(self.streams)
                if can_be_stopped(stream):
                    connection.stop(stream, ErrorCode.CANCELLED)
            elif choice == 6:
                connection.data_to_send(1 + self.choices.below(2000))
            else:
                self.now += self.choices.below(40)
                connection.handle_timeout(self.now)
        except ResourceExhausted:
            pass
        except LocalProtocolError:
            assert self.warned, "what an application may do was refused"
        self.follow()

    def declare(self) -> list[Declare]:
        """Up to two streams of ours."""
        kinds = [Kind(1 + self.choices.below(5)) for _ in range(max(0, self.choices.below(5) - 2))]
        return [(kind, index if kind >= Kind.FUNCTION else None) for index, kind in enumerate(kinds)]

    def answer(self, call: Call) -> None:
        """Answer a call, if it can still be, and say that its body has ended."""
        if not call.over and self.connection.state is ConnectionState.OPEN:
            if self.choices.below(3):
                try:
                    declared = self.connection.resolve(call, bytes(self.choices.one(SIZES)), self.declare())
                except ResourceExhausted:
                    declared = self.connection.resolve(call, b"")
                self.streams += declared
                self.opened += len(declared)
            else:
                self.connection.reject(call, ErrorCode.ABORTED)
        self.connection.finish(call)

    def send(self, stream: Stream) -> None:
        """Send on a half of ours."""
        payload = bytes(1 + self.choices.one(SIZES))
        if stream.kind is Kind.BYTES:
            self.connection.send_chunk(stream, payload)
        elif stream.kind is Kind.ITEMS:
            self.connection.send_item(stream, payload)
        elif stream.kind is Kind.CHANNEL:
            self.connection.send_message(stream, payload)
        elif stream.kind is Kind.PROMISE:
            self.connection.resolve(stream, payload)

    # --- what must hold --------------------------------------------------------------------------

    def follow(self) -> None:
        """Take the events; nothing may be held beyond the formula."""
        for event in self.connection.events_received():
            assert self.closed is None, f"{event} came after the connection was closed"
            self.take(event)
        theirs = self.connection._theirs.values()
        for stream in (*theirs, *self.connection._ours.values()):
            if stream.receive is not None:
                window = stream.receive.window
                assert window.received <= window.limit, f"{stream} took what it had not granted (TW-STR-031)"
        calls = sum(isinstance(each, Call) for each in theirs)
        assert calls <= 2 * SMALL.open_calls, "those that are open and those that wait to be refused"
        assert len(theirs) - calls <= SMALL.open_streams
        held = held_bytes(self.connection)
        most = most_bytes(SMALL, self.connection)
        assert held <= most, f"{held} bytes are held, of {most}"

    def take(self, event: Event) -> None:
        """Remember what the application was given; consume now and then."""
        if isinstance(event, CallReceived):
            self.calls.append(event.call)
            self.streams += event.declared
        elif isinstance(event, CallResolved | CallRejected | StreamEnded | StreamFailed):
            self.streams += event.declared
        elif isinstance(event, ItemReceived):
            self.streams += event.declared
            self.consume(event.stream, 1)
        elif isinstance(event, ItemsReceived):
            self.consume(event.stream, event.count)
        elif isinstance(event, ChunkReceived):
            self.consume(event.stream, len(event.payload))
        elif isinstance(event, GoAwayReceived):
            self.warned = True
        elif isinstance(event, ConnectionClosed):
            self.closed = event
        elif isinstance(event, CallOver):
            self.streams = [each for each in self.streams if not each.retired and each is not event.call]

    def consume(self, stream: Stream, units: int) -> None:
        """Consume what has just arrived, in every second case."""
        if self.choices.below(2):
            self.connection.consumed(stream, units)

    def finish(self) -> None:
        """Read all that leaves, lose the transport, and end the bodies."""
        batches = []
        for _ in range(10_000):
            more = self.connection.data_to_send()
            if not more:
                break
            batches += more
        frames = [frame for batch in batches for frame in decode_batch(batch, WIDE)]
        self.follow()
        if self.closed is not None:
            assert self.connection.next_timeout() is None
            if not self.closed.by_peer:
                last = frames[-1]
                assert isinstance(last, f.Close)
                assert last.code == self.closed.code
                assert not any(isinstance(frame, f.Close) for frame in frames[:-1])
        self.connection.receive_eof(self.now)
        self.follow()
        assert self.closed is not None, "the end of the transport is the end of the connection"
        while self.calls:
            self.connection.finish(self.calls.pop())
        assert not self.connection._theirs
        assert not self.connection._ours
