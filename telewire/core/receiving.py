"""Receiving: what each frame of the peer does, in the order of the registry.

The middle part of :class:`~telewire.core.connection.Connection`. A handler that finds a broken rule
raises :class:`~telewire.RemoteProtocolError`; the connection turns it into a close, at one place.
"""

from __future__ import annotations

from typing import assert_never

from telewire.core.answering import NEVER
from telewire.core.events import (
    ChunkReceived,
    GoAwayReceived,
    ItemReceived,
    ItemsReceived,
    StreamEnded,
    StreamFailed,
    StreamReset,
    StreamStopped,
)
from telewire.core.halves import Arrival, ReceiveHalf
from telewire.core.lone import MILLISECONDS
from telewire.core.session import Session
from telewire.core.states import HalfInput, HalfState, OutgoingInput
from telewire.core.streams import Call, Stream
from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.limits import Limits
from telewire.wire import frames as wire
from telewire.wire.codec import encode_frame
from telewire.wire.frames import (
    FIRST_POSITIONED,
    KEY_ELSEWHERE,
    KEY_RECONNECT_AFTER,
    End,
    Extensions,
    Items,
    Kind,
)

__all__ = ["Receiving"]


class Receiving(Session):
    """What the peer's frames do to an open conversation."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._peer_accepts = NEVER
        # The number of our last ping, and of the last one that was answered.
        self._ping_number = self._ponged = 0

    def _receive(self, frame: wire.Frame) -> None:
        """Dispatch one frame of an open conversation, the most frequent first."""
        if type(frame) is End:
            # The answer of a call of ours, nearly always: found without asking what else it could be.
            stream = self._ours.get(-1 - frame.stream)
            if type(stream) is Call:
                self._receive_answer_frame(stream, frame)
            else:
                self._receive_payload(frame)
        elif type(frame) is wire.Call:
            target = frame.target
            self._receive_call(frame, target if isinstance(target, str) else self._find(target))
        elif type(frame) is Items:
            self._receive_items(frame)
        elif isinstance(frame, wire.Grant):
            self._receive_grant(frame)
        elif isinstance(frame, (wire.Error, wire.Item)):
            self._receive_payload(frame)
        elif isinstance(frame, wire.Chunk):
            self._receive_chunk(frame)
        elif isinstance(frame, wire.Fragment):
            self._receive_fragment(frame)
        elif isinstance(frame, wire.Stop):
            self._receive_stop(frame)
        elif isinstance(frame, wire.Reset):
            self._receive_reset(frame)
        elif isinstance(frame, wire.Ack):
            self._receive_ack(frame)
        elif isinstance(frame, wire.Ping):
            self._receive_ping(frame)
        elif isinstance(frame, wire.Pong):
            self._receive_pong(frame)
        elif isinstance(frame, wire.GoAway):
            self._receive_goaway(frame)
        elif isinstance(frame, wire.Unknown):
            self._receive_unknown(frame)
        elif self.exchange and isinstance(frame, wire.Hello):
            self._promoted_by(frame)
        elif self._came_before(frame):
            self._unpositioned += 1
        elif isinstance(frame, (wire.Hello, wire.Resume, wire.Resumed, wire.Position, wire.Close)):
            # A close has been dealt with before it could come here.
            raise RemoteProtocolError(
                f"{type(frame).__name__} is not allowed here: it opens a transport, or belongs to another.",
                ErrorCode.INVALID_STATE,
            )
        else:
            assert_never(frame)

    # --- finding the stream ----------------------------------------------------------------------

    def _find(self, reference: int) -> Stream | None:
        """The stream a frame is about; None where it is over, so that the frame is stale."""
        if reference >= 0:
            stream = self._theirs.get(reference)
            numbers = self._peer_numbers
        else:
            reference = -1 - reference
            stream = self._ours.get(reference)
            numbers = self._numbers
        if stream is None and not numbers.spent(reference):
            raise RemoteProtocolError(
                f"Stream number {reference} was never opened; {numbers.next} is the next one.",
                ErrorCode.UNKNOWN_STREAM,
            )
        return stream

    def _receiver(self, stream: Stream, kinds: tuple[Kind, ...]) -> ReceiveHalf | None:
        """The half that a data frame arrives on; None where it was given up, so the frame is stale."""
        half = stream.receive
        if half is None or stream.kind not in kinds:
            raise RemoteProtocolError(
                f"Stream {stream.name} carries no such frame this way.", ErrorCode.INVALID_STATE
            )
        if half.state is _HALF_OPEN:
            return half
        if half.state is HalfState.STOPPED:
            return None
        raise RemoteProtocolError(f"Stream {stream.name} sent data after its end.", ErrorCode.INVALID_STATE)

    def _check_extensions(self, extensions: Extensions | None, name: str) -> None:
        if not self._understood(extensions):
            raise RemoteProtocolError(
                f"{name} has an extension key that must be understood and is not.", ErrorCode.UNSUPPORTED
            )

    # --- data ------------------------------------------------------------------------------------

    def _receive_items(self, frame: wire.Items) -> None:
        stream = self._find(frame.stream)
        half = None if stream is None else self._receiver(stream, _IN_ITEMS)
        if half is None:
            return
        stream = half.stream
        if frame.extensions is not None and not self._understood(frame.extensions):
            self._refuse_stream(stream, ErrorCode.UNSUPPORTED)
            return
        if half.arrival is not None:
            raise RemoteProtocolError(
                f"Stream {stream.name} sent items inside an incomplete payload.", ErrorCode.INVALID_STATE
            )
        half.receive_items(frame)
        self._tell(stream, ItemsReceived(stream, frame.count, frame.payload))

    def _receive_chunk(self, frame: wire.Chunk) -> None:
        stream = self._find(frame.stream)
        half = None if stream is None else self._receiver(stream, _IN_CHUNKS)
        if half is None:
            return
        if not self._understood(frame.extensions):
            self._refuse_stream(half.stream, ErrorCode.UNSUPPORTED)
            return
        if half.arrival is not None:
            raise RemoteProtocolError(
                f"Stream {half.stream.name} sent bytes inside an incomplete payload.", ErrorCode.INVALID_STATE
            )
        half.receive_chunk(frame)
        self._tell(half.stream, ChunkReceived(half.stream, frame.payload))

    def _receive_payload(self, frame: wire.End | wire.Error | wire.Item) -> None:
        stream = self._find(frame.stream)
        if isinstance(stream, Call):
            self._receive_answer_frame(stream, frame)
            return
        half = None if stream is None else self._receiver(stream, _CARRYING[type(frame)])
        if half is None:
            self._accept_streams(frame.declarations, None)
            return
        stream = half.stream
        valued = frame.size > 0 or frame.declarations != ()
        if isinstance(frame, wire.End) and valued and stream.kind in _ENDING_EMPTY:
            raise RemoteProtocolError(
                f"Stream {stream.name} ended with a value, which its kind does not have.",
                ErrorCode.INVALID_STATE,
            )
        if not self._understood(frame.extensions):
            self._accept_streams(frame.declarations, None)
            self._refuse_stream(stream, ErrorCode.UNSUPPORTED)
        elif frame.size > self.limits.message_bytes:
            self._accept_streams(frame.declarations, None)
            self._refuse_stream(stream, ErrorCode.MESSAGE_TOO_LARGE)
        else:
            arrival = half.receive_first(frame)
            if arrival is None:
                self._borrow(half, half.missing)
            else:
                self._deliver(half, arrival, frame.declarations)

    def _receive_fragment(self, frame: wire.Fragment) -> None:
        stream = self._find(frame.stream)
        if isinstance(stream, Call) and stream.settled and stream.opened_here:
            self._receive_unwanted(stream, frame)
            return
        half = None if stream is None else self._receiver(stream, _ANY)
        if half is None:
            self._accept_streams(frame.declarations, None)
            return
        stream = half.stream
        if not self._understood(frame.extensions):
            if isinstance(stream, Call) and stream.opened_here:
                self._settle(stream, ErrorCode.UNSUPPORTED)
                self._receive_unwanted(stream, frame)
                return
            self._accept_streams(frame.declarations, None)
            self._refuse_stream(stream, ErrorCode.UNSUPPORTED)
        elif not isinstance(stream, Call):
            arrival = half.receive_fragment(frame)
            if arrival is not None:
                self._deliver(half, arrival, frame.declarations)
        elif stream.opened_here:
            self._receive_answer_part(stream, half, frame)
        else:
            self._receive_arguments(stream, half, frame)

    def _deliver(
        self, half: ReceiveHalf, arrival: Arrival, declarations: tuple[wire.Declaration, ...]
    ) -> None:
        """Hand out a whole payload of a declared stream."""
        stream = half.stream
        frame, payload = arrival.frame, arrival.payload
        if isinstance(frame, wire.Error):
            # TW-FRM-064: an error introduces nothing.
            self._accept_streams(declarations, None)
            self._tell(stream, StreamFailed(stream, frame.code, payload))
        else:
            declared = self._accept_streams(declarations, stream.call)
            if isinstance(frame, wire.Item):
                self._tell(stream, ItemReceived(stream, payload, declared))
                self._tell_refused(declared)
                return
            self._tell(stream, StreamEnded(stream, payload, declared))
            self._tell_refused(declared)
        half.move(HalfInput.END)
        self._flush(half)

    def _flush(self, half: ReceiveHalf) -> None:
        """Finish a half whose end has arrived once all before it is consumed."""
        if half.state is _HALF_ENDING and not half.window.units:
            half.move(HalfInput.FLUSHED)
            self._retire_if_done(half.stream)

    # --- the other's farewell --------------------------------------------------------------------

    def _receive_stop(self, frame: wire.Stop) -> None:
        stream = self._find(frame.stream)
        if stream is None:
            return
        if isinstance(stream, Call):
            if stream.opened_here:
                raise RemoteProtocolError(
                    f"Call {stream.name} was stopped by its answerer.", ErrorCode.INVALID_STATE
                )
            self._stop_call(stream, frame.code, frame.payload)
            return
        send = stream.send
        if send is None and not self._exported(stream):
            raise RemoteProtocolError(
                f"Stream {stream.name} was stopped by its own sender.", ErrorCode.INVALID_STATE
            )
        if send is None:
            self._tell(stream, StreamStopped(stream, frame.code, frame.payload))
            self._retire(stream)
        elif send.move(HalfInput.STOP):
            self._tell(stream, StreamStopped(stream, frame.code, frame.payload))
            self._drop_outbox(send)
            self._drop_requests(stream)
            self._retire_if_done(stream)

    def _receive_reset(self, frame: wire.Reset) -> None:
        stream = self._find(frame.stream)
        if stream is None:
            return
        if isinstance(stream, Call):
            if not stream.opened_here or not stream.move_outgoing(OutgoingInput.RESET_RECEIVED):
                raise RemoteProtocolError(
                    f"Call {stream.name} was reset, but only an answered call can be, by its answerer.",
                    ErrorCode.INVALID_STATE,
                )
            self._over(stream, frame.code, frame.payload)
            return
        half = stream.receive
        if half is None and (stream.opened_here or stream.kind is not Kind.FUNCTION):
            raise RemoteProtocolError(
                f"Stream {stream.name} was reset by its own receiver.", ErrorCode.INVALID_STATE
            )
        if half is None:
            self._tell(stream, StreamReset(stream, frame.code, frame.payload))
            self._retire(stream)
        elif half.state is HalfState.OPEN and half.move(HalfInput.RESET):
            # Behind an end that has arrived a reset says nothing (TW-STR-007).
            self._tell(stream, StreamReset(stream, frame.code, frame.payload))
            self._release_half(half)
            self._drop_requests(stream)
            self._retire_if_done(stream)

    def _receive_grant(self, frame: wire.Grant) -> None:
        stream = self._find(frame.stream)
        if stream is None:
            return
        half = stream.send
        if half is None and not isinstance(stream, Call):
            raise RemoteProtocolError(
                f"Stream {stream.name} needs no credit this way.", ErrorCode.INVALID_STATE
            )
        arrivals = self._arrivals
        if arrivals is not None and not arrivals.prompt:
            arrivals.prompt = 1
        if not self._understood(frame.extensions):
            self._refuse_stream(stream, ErrorCode.UNSUPPORTED)
        elif half is not None and half.window.grant(frame.limit):
            # A call without a half has only something small to say, which is free.
            self._wake(half)
            self._unblock(half)

    # --- the connection itself -------------------------------------------------------------------

    def _receive_ping(self, frame: wire.Ping) -> None:
        self._unpositioned += 1
        self._check_extensions(frame.extensions, "PING")
        if self.exchange:
            # A sign of life, and no question.
            return
        self._pings += 1
        if self._pings > self.limits.unanswered_pings:
            raise RemoteProtocolError(
                f"More than {self.limits.unanswered_pings} pings wait for their pong to leave.",
                ErrorCode.LIMIT_EXCEEDED,
            )
        self._scheduler.add_sign(encode_frame(wire.Pong(frame.number)))

    def _receive_pong(self, frame: wire.Pong) -> None:
        self._unpositioned += 1
        self._check_extensions(frame.extensions, "PONG")
        if self._ponged < frame.number <= self._ping_number:
            self._ponged = frame.number

    def _receive_goaway(self, frame: wire.GoAway) -> None:
        self._check_extensions(frame.extensions, "GOAWAY")
        numbers = self._numbers
        if frame.calls > self._peer_accepts:
            raise RemoteProtocolError(
                f"GOAWAY now accepts calls below {frame.calls}, after it said {self._peer_accepts}.",
                ErrorCode.INVALID_STATE,
            )
        self._peer_accepts = frame.calls
        if self._arrivals is not None:
            self._arrivals.hurry()
        numbers.calls_below = min(numbers.calls_below, frame.calls)
        extensions = frame.extensions or {}
        after, elsewhere = extensions.get(KEY_RECONNECT_AFTER), extensions.get(KEY_ELSEWHERE)
        self._events.append(
            GoAwayReceived(
                frame.calls,
                frame.code,
                frame.text,
                after / MILLISECONDS if isinstance(after, int) else None,
                elsewhere if isinstance(elsewhere, str) else None,
            )
        )
        self._give_up_unsent()

    def _give_up_unsent(self) -> None:
        """Answer the calls that can no longer leave, since the peer would refuse their numbers."""
        if self._numbers.next >= self._numbers.calls_below:
            for stream in list(self._unsent):
                if isinstance(stream, Call) and not stream.over:
                    self._give_up(stream, ErrorCode.GOING_AWAY)

    def _receive_unknown(self, frame: wire.Unknown) -> None:
        if frame.type < FIRST_POSITIONED:
            self._unpositioned += 1
        stream = None if frame.stream is None else self._find(frame.stream)
        if frame.type % 2 == 0:
            return
        if frame.stream is None:
            raise RemoteProtocolError(
                f"Frame type {frame.type} must be understood and is not.", ErrorCode.UNSUPPORTED
            )
        if stream is not None:
            self._refuse_stream(stream, ErrorCode.UNSUPPORTED)

    # --- refusing --------------------------------------------------------------------------------

    def _refuse_stream(self, stream: Stream, code: ErrorCode) -> None:
        """Reject a whole stream for a reason of ours, and tell the application (TW-ERR-020)."""
        if self.exchange:
            self._note_stop(stream)
        if isinstance(stream, Call):
            if not stream.opened_here:
                self._stop_call(stream, code, b"", here=code)
            elif not stream.settled:
                self._settle(stream, code)
            return
        self._count_forced()
        send, receive = stream.send, stream.receive
        if stream.kind is Kind.FUNCTION:
            if stream.opened_here:
                self._reset_frame(stream, code, b"")
            else:
                self._stop_frame(stream, code, b"")
        if receive is not None and receive.state is HalfState.OPEN:
            self._stop_frame(stream, code, b"")
        if send is not None and send.state in (HalfState.OPEN, HalfState.ENDING):
            self._reset_frame(stream, code, b"")
        self._end_streams([stream], code, b"")


# A member costs as much as a call where it is looked up through its class (CPython 3.11).
_HALF_OPEN = HalfState.OPEN
_HALF_ENDING = HalfState.ENDING
_IN_ITEMS = (Kind.ITEMS, Kind.CHANNEL)
_IN_CHUNKS = (Kind.BYTES,)
_ANY = tuple(Kind)
_CARRYING = {
    wire.Item: (Kind.ITEMS, Kind.CHANNEL),
    wire.End: (Kind.PROMISE, Kind.ITEMS, Kind.BYTES, Kind.CHANNEL),
    wire.Error: (Kind.PROMISE, Kind.ITEMS, Kind.BYTES, Kind.CHANNEL),
}
_ENDING_EMPTY = (Kind.BYTES, Kind.CHANNEL)
