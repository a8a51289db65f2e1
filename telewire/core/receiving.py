"""Receiving: what each frame of the peer does, in the order of the registry.

The middle part of :class:`~telewire.core.connection.Connection`. A handler that finds a broken rule
raises :class:`~telewire.RemoteProtocolError`; the connection turns it into a close, at one place.
"""

from __future__ import annotations

from typing import Final, assert_never

from telewire.core.events import (
    CallReceived,
    CallRejected,
    CallResolved,
    CallStopped,
    ChunkReceived,
    GoAwayReceived,
    ItemReceived,
    ItemsReceived,
    StreamEnded,
    StreamFailed,
    StreamReset,
    StreamStopped,
)
from telewire.core.halves import Arrival, Outgoing, ReceiveHalf, SendHalf
from telewire.core.life import CREDITED, Life
from telewire.core.states import (
    HalfInput,
    HalfState,
    IncomingInput,
    IncomingState,
    OutgoingInput,
    OutgoingState,
)
from telewire.core.streams import Call, Stream
from telewire.core.timers import Timers
from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.limits import Limits
from telewire.wire import frames as wire
from telewire.wire.codec import KNOWN_ODD_KEYS, encode_frame
from telewire.wire.frames import KEY_DEADLINE, KEY_LIFETIME, KEY_METADATA, Extensions, FrameType, Kind

__all__ = ["CallTimer", "Receiving"]

MILLISECONDS: Final = 1000


class CallTimer:
    """A deadline of a call: of its answer, or of its whole life."""

    __slots__ = ("call", "lifetime")

    def __init__(self, call: Call, lifetime: bool) -> None:
        self.call = call
        self.lifetime = lifetime

    @property
    def timed(self) -> bool:
        """Whether the deadline still matters."""
        call = self.call
        return not call.over and not call.settled and (self.lifetime or not call.answered)


class Receiving(Life):
    """What the peer's frames do to an open conversation."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._timers: Timers[CallTimer] = Timers()
        self._now = 0.0
        self._pings = 0

    def _receive(self, frame: wire.Frame) -> None:
        """Dispatch one frame of an open conversation, the most frequent first."""
        if isinstance(frame, wire.Items):
            self._receive_items(frame)
        elif isinstance(frame, wire.End | wire.Error | wire.Item):
            self._receive_payload(frame)
        elif isinstance(frame, wire.Call):
            self._receive_call(frame)
        elif isinstance(frame, wire.Grant):
            self._receive_grant(frame)
        elif isinstance(frame, wire.Chunk):
            self._receive_chunk(frame)
        elif isinstance(frame, wire.Fragment):
            self._receive_fragment(frame)
        elif isinstance(frame, wire.Stop):
            self._receive_stop(frame)
        elif isinstance(frame, wire.Reset):
            self._receive_reset(frame)
        elif isinstance(frame, wire.Ping):
            self._receive_ping(frame)
        elif isinstance(frame, wire.Pong):
            self._check_extensions(frame.extensions, "PONG")
        elif isinstance(frame, wire.GoAway):
            self._check_extensions(frame.extensions, "GOAWAY")
            self._events.append(GoAwayReceived(frame.calls, frame.code, frame.text))
        elif isinstance(frame, wire.Unknown):
            self._receive_unknown(frame)
        elif isinstance(frame, wire.Hello | wire.Resume | wire.Resumed | wire.Ack | wire.Position):
            raise RemoteProtocolError(
                f"{type(frame).__name__} is not allowed here: no feature that uses it was agreed on.",
                ErrorCode.INVALID_STATE,
            )
        elif isinstance(frame, wire.Close):
            raise AssertionError("a close is handled before the frames of an open conversation")
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

    def _receiver(self, stream: Stream) -> ReceiveHalf | None:
        """The half that a data frame arrives on; None where it was given up, so the frame is stale."""
        half = stream.receive
        if half is None:
            raise RemoteProtocolError(
                f"Stream {stream.name} carries no data this way.", ErrorCode.INVALID_STATE
            )
        if half.state is HalfState.OPEN:
            return half
        if half.state is HalfState.ENDING or half.state is HalfState.ENDED:
            raise RemoteProtocolError(
                f"Stream {stream.name} sent data after its end.", ErrorCode.INVALID_STATE
            )
        return None

    @staticmethod
    def _understood(extensions: Extensions | None) -> bool:
        return extensions is None or all(key % 2 == 0 or key in KNOWN_ODD_KEYS for key in extensions)

    def _check_extensions(self, extensions: Extensions | None, name: str) -> None:
        if not self._understood(extensions):
            raise RemoteProtocolError(
                f"{name} has an extension key that must be understood and is not.", ErrorCode.UNSUPPORTED
            )

    def _accept_streams(
        self, declarations: tuple[wire.Declaration, ...], call: Call | None
    ) -> tuple[Stream, ...]:
        """Open the streams that a whole payload declares; without a call they are stopped at once."""
        if not declarations:
            return ()
        streams: list[Stream] = []
        for declaration in declarations:
            self._accept_number(declaration.stream)
            stream = Stream(declaration.kind, False, call, declaration.number, declaration.stream)
            streams.append(stream)
            if call is None:
                stream.retired = True
                self._stop_frame(stream, ErrorCode.NONE, b"")
            elif self._full(stream):
                stream.retired = True
                self._stop_frame(stream, ErrorCode.RESOURCE_EXHAUSTED, b"")
            else:
                self._make_halves(stream)
                self._theirs[declaration.stream] = stream
                self._count(stream, 1)
                call.owned[stream] = None
        return tuple(streams)

    def _full(self, stream: Stream) -> bool:
        streams, credited = self._accepted
        return streams >= self.limits.open_streams or (
            stream.kind in CREDITED and credited >= self.limits.credited_streams
        )

    def _accept_number(self, number: int) -> None:
        if not self._peer_numbers.accept(number):
            raise RemoteProtocolError(
                f"Stream number {number} was opened out of order; {self._peer_numbers.next} is the next one.",
                ErrorCode.INVALID_STATE,
            )

    def _tell_refused(self, streams: tuple[Stream, ...]) -> None:
        """After the event that introduces them: those refused for lack of room have already ended."""
        for stream in streams:
            if stream.retired:
                self._events.append(StreamReset(stream, ErrorCode.RESOURCE_EXHAUSTED, b""))

    # --- data ------------------------------------------------------------------------------------

    def _receive_items(self, frame: wire.Items) -> None:
        stream = self._find(frame.stream)
        half = None if stream is None else self._receiver(stream)
        if stream is None or half is None:
            return
        if stream.kind is not Kind.ITEMS and stream.kind is not Kind.CHANNEL:
            raise RemoteProtocolError(f"Stream {stream.name} does not carry items.", ErrorCode.INVALID_STATE)
        if frame.extensions is not None and not self._understood(frame.extensions):
            self._refuse_half(half, ErrorCode.UNSUPPORTED)
            return
        if half.arrival is not None:
            raise RemoteProtocolError(
                f"Stream {stream.name} sent items inside an incomplete payload.", ErrorCode.INVALID_STATE
            )
        half.receive_items(frame)
        self._events.append(ItemsReceived(stream, frame.count, frame.payload))

    def _receive_chunk(self, frame: wire.Chunk) -> None:
        stream = self._find(frame.stream)
        half = None if stream is None else self._receiver(stream)
        if half is None:
            return
        if half.stream.kind is not Kind.BYTES:
            raise RemoteProtocolError(
                f"Stream {half.stream.name} does not carry bytes.", ErrorCode.INVALID_STATE
            )
        if not self._understood(frame.extensions):
            self._refuse_half(half, ErrorCode.UNSUPPORTED)
            return
        half.receive_chunk(frame)
        self._events.append(ChunkReceived(half.stream, frame.payload))

    def _receive_payload(self, frame: wire.End | wire.Error | wire.Item) -> None:
        stream = self._find(frame.stream)
        if stream is None:
            self._accept_streams(frame.declarations, None)
            return
        if isinstance(stream, Call):
            self._receive_answer_frame(stream, frame)
            return
        half = self._receiver(stream)
        if half is None:
            self._accept_streams(frame.declarations, None)
        elif isinstance(frame, wire.Item) and stream.kind not in (Kind.ITEMS, Kind.CHANNEL):
            raise RemoteProtocolError(f"Stream {stream.name} does not carry items.", ErrorCode.INVALID_STATE)
        elif not self._understood(frame.extensions):
            self._accept_streams(frame.declarations, None)
            self._refuse_half(half, ErrorCode.UNSUPPORTED)
        elif frame.size > self.limits.message_bytes:
            self._refuse_half(half, ErrorCode.MESSAGE_TOO_LARGE)
        else:
            self._advance(half, half.receive_first(frame), frame.declarations)

    def _receive_answer_frame(self, call: Call, frame: wire.End | wire.Error | wire.Item) -> None:
        """The first frame of an answer; most answers are whole in it and need no half."""
        if not call.opened_here or isinstance(frame, wire.Item):
            raise RemoteProtocolError(
                f"Call {call.name} carries no such frame this way.", ErrorCode.INVALID_STATE
            )
        whole = not frame.flags & wire.Flag.MORE
        if call.settled:
            if whole:
                self._receive_answer(call, frame, b"", frame.declarations)
            return
        if not self._understood(frame.extensions):
            self._accept_streams(frame.declarations, None)
            self._refuse_call_answer(call, ErrorCode.UNSUPPORTED, whole)
        elif frame.size > self.limits.message_bytes:
            self._refuse_call_answer(call, ErrorCode.MESSAGE_TOO_LARGE, whole)
        elif whole and call.receive is None and frame.size <= self.limits.stream_window:
            self._receive_answer(call, frame, frame.payload, frame.declarations)
        else:
            if call.receive is None:
                call.receive = ReceiveHalf(call, self.limits)
            self._advance(call.receive, call.receive.receive_first(frame), frame.declarations)

    def _refuse_call_answer(self, call: Call, code: ErrorCode, whole: bool) -> None:
        """An answer that we cannot take settles the call here; a whole one needs no second answer."""
        self._settle(call, code)
        if whole and call.move_outgoing(OutgoingInput.ANSWER_RECEIVED):
            self._over(call, code, b"")

    def _receive_fragment(self, frame: wire.Fragment) -> None:
        stream = self._find(frame.stream)
        half: ReceiveHalf | None = None
        if isinstance(stream, Call) and stream.opened_here and stream.settled:
            if not frame.flags & wire.Flag.MORE:
                end = wire.End(frame.stream, 0, 0, b"", frame.declarations)
                self._receive_answer(stream, end, b"", frame.declarations)
            return
        if stream is not None:
            half = self._receiver(stream)
        if half is None:
            self._accept_streams(frame.declarations, None)
        elif not self._understood(frame.extensions):
            self._accept_streams(frame.declarations, None)
            self._refuse_half(half, ErrorCode.UNSUPPORTED)
        else:
            self._advance(half, half.receive_fragment(frame), frame.declarations)

    def _advance(
        self, half: ReceiveHalf, arrival: Arrival | None, declarations: tuple[wire.Declaration, ...]
    ) -> None:
        """Go on with a payload: grant what it still needs, or deliver it whole."""
        if arrival is None:
            if half.arrival is not None and len(half.arrival.parts) == 1:
                half.needs_loan = True
                self._borrowers.append(half)
                self._lend()
            return
        stream = half.stream
        owner = stream if isinstance(stream, Call) else stream.call
        frame, payload = arrival.frame, arrival.payload
        if isinstance(frame, wire.Call):
            assert isinstance(stream, Call)
            self._release_half(half)
            self._start_call(stream, frame, payload, self._accept_streams(declarations, owner))
        elif isinstance(stream, Call):
            self._receive_answer(stream, frame, payload, declarations)
        elif isinstance(frame, wire.Item):
            declared = self._accept_streams(declarations, owner)
            self._events.append(ItemReceived(stream, payload, declared))
            self._tell_refused(declared)
        else:
            declared = self._accept_streams(declarations, owner)
            if isinstance(frame, wire.Error):
                self._events.append(StreamFailed(stream, frame.code, payload, declared))
            else:
                self._events.append(StreamEnded(stream, payload, declared))
            self._tell_refused(declared)
            half.move(HalfInput.END)
            self._flush(half)

    def _flush(self, half: ReceiveHalf) -> None:
        """Finish a half whose end has arrived once all before it is consumed."""
        if half.state is HalfState.ENDING and not half.window.units:
            half.move(HalfInput.FLUSHED)
            self._retire_if_done(half.stream)

    def _refuse_half(self, half: ReceiveHalf, code: ErrorCode) -> None:
        """Give up a half of the peer's for a reason of ours, and tell the application."""
        stream = half.stream
        if isinstance(stream, Call):
            self._settle(stream, code)
        else:
            half.move(HalfInput.STOP)
            self._stop_frame(stream, code, b"")
            self._retire_if_done(stream)
            self._events.append(StreamReset(stream, code, b""))

    # --- calls -----------------------------------------------------------------------------------

    def _receive_call(self, frame: wire.Call) -> None:
        self._accept_number(frame.stream)
        target: str | Stream | None = (
            frame.target if isinstance(frame.target, str) else self._find(frame.target)
        )
        if isinstance(target, Stream) and (target.kind is not Kind.CHANNEL and not self._exported(target)):
            raise RemoteProtocolError(f"Stream {target.name} cannot be called.", ErrorCode.INVALID_STATE)
        call = Call(False, target or "", frame.stream)
        call.send = SendHalf(call, self.peer_limits)
        code = self._refusal(frame, target)
        if code is not None:
            self._accept_streams(frame.declarations, None)
            self._refuse_call(call, code)
            return
        self._theirs[frame.stream] = call
        call.placed = True
        self._incoming_calls += 1
        call.argument_bytes = frame.size
        self._argument_bytes += frame.size
        if not frame.flags & wire.Flag.MORE and frame.size <= self.limits.stream_window:
            self._start_call(call, frame, frame.payload, self._accept_streams(frame.declarations, call))
            return
        call.receive = ReceiveHalf(call, self.limits)
        self._advance(call.receive, call.receive.receive_first(frame), frame.declarations)

    @staticmethod
    def _exported(target: Stream) -> bool:
        return target.kind is Kind.FUNCTION and target.opened_here

    def _refusal(self, frame: wire.Call, target: str | Stream | None) -> ErrorCode | None:
        """Why a call is refused before anybody has seen it, if it is."""
        if not self._understood(frame.extensions):
            return ErrorCode.UNSUPPORTED
        if target is None:
            return ErrorCode.REFERENCE_RELEASED
        if frame.size > self.limits.message_bytes:
            return ErrorCode.MESSAGE_TOO_LARGE
        if (
            self._incoming_calls >= self.limits.open_calls
            or self._argument_bytes + frame.size > self.limits.argument_bytes
        ):
            return ErrorCode.RESOURCE_EXHAUSTED
        return None

    def _refuse_call(self, call: Call, code: ErrorCode) -> None:
        """Answer a call without the application; a peer that floods us with them is closed."""
        self._refusals += 1
        if self._refusals > self.limits.open_calls:
            raise RemoteProtocolError(
                f"More than {self.limits.open_calls} refused calls wait for their answer to leave.",
                ErrorCode.LIMIT_EXCEEDED,
            )
        call.refused = True
        call.move_incoming(IncomingInput.REFUSED)
        assert call.send is not None
        call.send.queue(Outgoing(FrameType.ERROR, b"", code=code))
        call.send.move(HalfInput.END)
        self._scheduler.add(call.send)

    def _start_call(self, call: Call, frame: wire.Call, payload: bytes, declared: tuple[Stream, ...]) -> None:
        call.move_incoming(IncomingInput.RECEIVED)
        call.body = True
        call.declared = declared
        extensions = frame.extensions
        metadata: dict[str, str] | None = None
        deadline = lifetime = None
        if extensions is not None:
            deadline = self._arm(call, extensions.get(KEY_DEADLINE), False)
            lifetime = self._arm(call, extensions.get(KEY_LIFETIME), True)
            found = extensions.get(KEY_METADATA)
            metadata = found if isinstance(found, dict) else None
        self._events.append(CallReceived(call, call.target, payload, declared, metadata, deadline, lifetime))
        self._tell_refused(declared)

    def _arm(self, call: Call, milliseconds: object, lifetime: bool) -> float | None:
        if not isinstance(milliseconds, int):
            return None
        when = self._now + milliseconds / MILLISECONDS
        self._timers.add(when, CallTimer(call, lifetime))
        return when

    def _receive_answer(
        self,
        call: Call,
        frame: wire.End | wire.Error | wire.Item,
        payload: bytes,
        declarations: tuple[wire.Declaration, ...],
    ) -> None:
        """The one answer of a call of ours. What a cancelled call declares ends with it."""
        if call.receive is not None:
            self._release_half(call.receive)
            call.receive = None
        unwanted = call.settled or call.outgoing is OutgoingState.CANCELLING
        if not call.move_outgoing(OutgoingInput.ANSWER_RECEIVED):
            raise RemoteProtocolError(f"Call {call.name} was answered twice.", ErrorCode.INVALID_STATE)
        if call.send is not None:
            self._drop_outbox(call.send)
        declared = self._accept_streams(declarations, None if unwanted else call)
        if not call.settled:
            if isinstance(frame, wire.Error):
                self._events.append(CallRejected(call, frame.code, payload, () if unwanted else declared))
            elif unwanted:
                self._events.append(CallResolved(call, payload, ()))
            else:
                self._events.append(CallResolved(call, payload, declared))
            if not unwanted:
                self._tell_refused(declared)
        if call.over:
            code, reason = call.why
            self._over(call, code, reason)
        else:
            self._drain(call)

    def _settle(self, call: Call, code: ErrorCode) -> None:
        """Answer a call of ours ourselves, ahead of the peer, and stop it there."""
        if call.outgoing is OutgoingState.QUEUED:
            call.move_outgoing(OutgoingInput.CANCELLED)
            self._reject_here(call, code)
            self._drop_call_outbox(call)
            self._over(call, code, b"")
            return
        if call.outgoing is OutgoingState.ANSWERED:
            self._stop_frame(call, code, b"")
            call.move_outgoing(OutgoingInput.CLOSED)
            self._over(call, code, b"")
            return
        if call.outgoing is OutgoingState.SENT:
            call.move_outgoing(OutgoingInput.CANCELLED)
            self._stop_frame(call, code, b"")
        self._drop_call_outbox(call)
        if call.receive is not None:
            call.receive.move(HalfInput.STOP)
            self._release_half(call.receive)
            call.receive = None
        call.settled = True
        call.why = (code, b"")
        self._reject_here(call, code)

    def _drop_call_outbox(self, call: Call) -> None:
        assert call.send is not None
        self._drop_outbox(call.send)

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
            self._stop_call(stream, frame.code, frame.payload, ErrorCode.STOPPED)
            return
        send = stream.send
        if send is None and not self._exported(stream):
            raise RemoteProtocolError(
                f"Stream {stream.name} was stopped by its own sender.", ErrorCode.INVALID_STATE
            )
        if send is not None:
            if not send.move(HalfInput.STOP):
                return
            self._drop_outbox(send)
            self._retire_if_done(stream)
        else:
            self._retire(stream)
        self._events.append(StreamStopped(stream, frame.code, frame.payload))

    def _stop_call(self, call: Call, code: int, payload: bytes, answer: ErrorCode) -> None:
        """Cancel a call of the peer's, or close it where it is answered.

        ``answer`` is how a call ends whose body has ended, or never began, but whose answer has not left.
        """
        before = call.incoming
        if before is IncomingState.RECEIVING:
            self._refuse_receiving(call, ErrorCode.NOT_STARTED if answer is ErrorCode.STOPPED else answer)
            return
        if not call.move_incoming(IncomingInput.STOP_RECEIVED):
            return
        call.why = (code, payload)
        if before is IncomingState.ANSWERED:
            self._over(call, code, payload)
            return
        if before is IncomingState.ANSWERING:
            assert call.send is not None
            self._drop_outbox(call.send)
            call.send.queue(Outgoing(FrameType.ERROR, b"", code=answer))
            self._scheduler.add(call.send)
        self._events.append(CallStopped(call, code, payload))

    def _refuse_receiving(self, call: Call, code: ErrorCode) -> None:
        """Refuse a call whose arguments are still arriving: the application has not seen it."""
        if call.receive is not None:
            self._release_half(call.receive)
        self._forget(call)
        self._return_arguments(call)
        self._refuse_call(call, code)
        self._leave_place(call)

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
        if half is not None:
            if not half.move(HalfInput.RESET):
                return
            self._release_half(half)
            self._retire_if_done(stream)
        else:
            self._retire(stream)
        self._events.append(StreamReset(stream, frame.code, frame.payload))

    def _receive_grant(self, frame: wire.Grant) -> None:
        stream = self._find(frame.stream)
        if stream is None:
            return
        half = stream.send
        if half is None:
            raise RemoteProtocolError(
                f"Stream {stream.name} needs no credit this way.", ErrorCode.INVALID_STATE
            )
        if not self._understood(frame.extensions):
            raise RemoteProtocolError(
                f"GRANT for stream {stream.name} has a key that must be understood.", ErrorCode.UNSUPPORTED
            )
        if half.window.grant(frame.limit):
            self._wake(half)
            self._unblock(half)

    # --- the connection itself -------------------------------------------------------------------

    def _receive_ping(self, frame: wire.Ping) -> None:
        self._check_extensions(frame.extensions, "PING")
        self._pings += 1
        if self._pings > self.limits.unanswered_pings:
            raise RemoteProtocolError(
                f"More than {self.limits.unanswered_pings} pings wait for their pong to leave.",
                ErrorCode.LIMIT_EXCEEDED,
            )
        self._scheduler.add_control(encode_frame(wire.Pong(frame.number)))

    def _receive_unknown(self, frame: wire.Unknown) -> None:
        if frame.type % 2 == 0:
            return
        if frame.stream is None:
            raise RemoteProtocolError(
                f"Frame type {frame.type} must be understood and is not.", ErrorCode.UNSUPPORTED
            )
        stream = self._find(frame.stream)
        if stream is not None:
            self._refuse_stream(stream, ErrorCode.UNSUPPORTED)

    def _refuse_stream(self, stream: Stream, code: ErrorCode) -> None:
        """Give up a whole stream for a reason of ours, and tell the application."""
        if isinstance(stream, Call):
            if stream.opened_here:
                if not stream.settled:
                    self._settle(stream, code)
            else:
                self._refuse_open_call(stream, code)
            return
        if stream.receive is not None or not stream.opened_here:
            self._stop_frame(stream, code, b"")
        if stream.send is not None or self._exported(stream):
            self._scheduler.add_control(encode_frame(wire.Reset(stream.reference, code)))
        self._end_stream(stream, code, b"")

    def _refuse_open_call(self, call: Call, code: ErrorCode) -> None:
        """End a call of the peer's for a reason of ours."""
        if call.move_incoming(IncomingInput.CLOSED):
            self._scheduler.add_control(encode_frame(wire.Reset(call.reference, code)))
            self._over(call, code, b"")
        else:
            self._stop_call(call, code, b"", code)
