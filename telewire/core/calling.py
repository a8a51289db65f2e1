"""Calling: the answers of our calls, whoever gives them: the peer, or this side ahead of it."""

from __future__ import annotations

from typing import Final, NoReturn

from telewire.core.events import CallRejected, CallResolved, StreamReset, StreamStopped
from telewire.core.exchange import UNLIMITED, Exchange
from telewire.core.halves import MORE, ReceiveHalf
from telewire.core.life import CREDITED
from telewire.core.states import HalfInput, OutgoingInput, OutgoingState
from telewire.core.streams import Call, Stream
from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.wire import frames as wire
from telewire.wire.codec import KNOWN_ODD_KEYS, encode_frame
from telewire.wire.frames import End, Extensions, Kind

__all__ = ["Calling"]

_SENT: Final = OutgoingState.SENT
_RESULT_RECEIVED: Final = OutgoingInput.RESULT_RECEIVED


class Calling(Exchange):
    """What becomes of our calls, and of the streams that payloads introduce."""

    @staticmethod
    def _understood(extensions: Extensions | None) -> bool:
        return extensions is None or all(key % 2 == 0 or key in KNOWN_ODD_KEYS for key in extensions)

    # --- streams that a payload introduces -------------------------------------------------------

    def _misnumbered(self, number: int) -> NoReturn:
        raise RemoteProtocolError(
            f"Stream number {number} was opened out of order; {self._peer_numbers.next} is the next one.",
            ErrorCode.INVALID_STATE,
        )

    def _accept_streams(
        self, declarations: tuple[wire.Declaration, ...], call: Call | None
    ) -> tuple[Stream, ...]:
        """Open the streams that a whole payload declares; without a call they are stopped at once."""
        if not declarations:
            return ()
        streams: list[Stream] = []
        for declaration in declarations:
            if not self._peer_numbers.accept(declaration.stream):
                self._misnumbered(declaration.stream)
            stream = Stream(declaration.kind, False, call, declaration.number, declaration.stream)
            streams.append(stream)
            if self.exchange:
                self._check_carried(declaration.kind)
            if call is None:
                self._turn_away(stream, ErrorCode.NONE)
            elif self._full(stream):
                self._turn_away(stream, ErrorCode.RESOURCE_EXHAUSTED)
            else:
                self._make_halves(stream)
                self._theirs[declaration.stream] = stream
                self._count(stream, 1)
                call.owned[stream] = None
                if self.exchange and stream.kind in CREDITED:
                    self._inlet = stream.receive
        return tuple(streams)

    def _full(self, stream: Stream) -> bool:
        streams, credited = self._accepted
        return streams >= self.limits.open_streams or (
            stream.kind in CREDITED and credited >= self.limits.credited_streams
        )

    def _turn_away(self, stream: Stream, code: int) -> None:
        """Stop a stream that nobody here will have (TW-MOD-031, TW-STR-071)."""
        stream.retired = True
        self._count_forced()
        self._stop_frame(stream, code, b"")
        if stream.kind is Kind.CHANNEL:
            self._reset_frame(stream, code, b"")

    def _count_forced(self) -> None:
        """Count what goes ahead of data because of what the peer sent, until it has left (TW-STR-072)."""
        self._forced += 1
        if self._forced > self.limits.open_streams:
            raise RemoteProtocolError(
                f"More than {self.limits.open_streams} stops wait to leave for streams that were refused; "
                "read more or declare less.",
                ErrorCode.LIMIT_EXCEEDED,
            )

    def _tell_refused(self, streams: tuple[Stream, ...]) -> None:
        """After the event that introduces them: those refused for lack of room have already ended."""
        for stream in streams:
            if stream.retired:
                if stream.kind is Kind.CHANNEL:
                    self._tell(stream, StreamStopped(stream, ErrorCode.RESOURCE_EXHAUSTED, b""))
                self._tell(stream, StreamReset(stream, ErrorCode.RESOURCE_EXHAUSTED, b""))

    # --- answers from the peer -------------------------------------------------------------------

    def _receive_answer_frame(self, call: Call, frame: wire.End | wire.Error | wire.Item) -> None:
        """The first frame of an answer; most answers are whole in it and need no half."""
        if (
            call.outgoing is _SENT
            and type(frame) is End
            and frame.size <= self.limits.stream_window
            and frame.size <= self.limits.message_bytes
            and call.receive is None
            and not (frame.flags or frame.declarations or frame.extensions)
        ):
            # Nearly all answers are this one: all that is asked below holds of it, and is asked once.
            call.move_outgoing(_RESULT_RECEIVED)
            self._events.append(CallResolved(call, frame.payload, ()))
            if call.send is not None:
                self._drop_queued(call)
            self._drain(call)
            return
        if not call.opened_here or isinstance(frame, wire.Item):
            raise RemoteProtocolError(
                f"Call {call.name} carries no such frame this way.", ErrorCode.INVALID_STATE
            )
        if call.outgoing is OutgoingState.ANSWERED:
            raise RemoteProtocolError(f"Call {call.name} was answered twice.", ErrorCode.INVALID_STATE)
        whole = not frame.flags & MORE
        if call.settled:
            self._receive_unwanted(call, frame)
        elif not self._understood(frame.extensions):
            self._settle(call, ErrorCode.UNSUPPORTED)
            self._receive_unwanted(call, frame)
        elif frame.size > self.limits.message_bytes:
            self._settle(call, ErrorCode.MESSAGE_TOO_LARGE)
            self._receive_unwanted(call, frame)
        elif whole and call.receive is None and frame.size <= self.limits.stream_window:
            self._receive_answer(call, frame, frame.payload, frame.declarations)
        else:
            if call.receive is None:
                call.receive = ReceiveHalf(call, self.limits)
            arrival = call.receive.receive_first(frame)
            if arrival is None:
                self._borrow(call.receive, call.receive.missing)
            else:
                self._receive_answer(call, frame, frame.payload, frame.declarations)

    def _receive_answer_part(self, call: Call, half: ReceiveHalf, frame: wire.Fragment) -> None:
        """The next part of an answer that is being put together."""
        arrival = half.receive_fragment(frame)
        if arrival is not None:
            first = arrival.frame
            assert isinstance(first, wire.End | wire.Error)
            self._receive_answer(call, first, arrival.payload, frame.declarations)

    def _receive_unwanted(
        self,
        call: Call,
        frame: wire.End | wire.Error | wire.Fragment,
    ) -> None:
        """A frame of the answer of a call that was settled here: only that it ends matters."""
        if call.over:
            # In an exchange it is over at once, and the transport with it.
            return
        if not frame.flags & wire.Flag.MORE:
            self._accept_streams(frame.declarations, None)
            call.move_outgoing(OutgoingInput.RESULT_RECEIVED)
            self._over(call, *call.why)
        else:
            self._give_all_credit(call)

    def _give_all_credit(self, call: Call) -> None:
        """Let an answer come that nobody wants: nothing of it is kept, and without credit it never ends."""
        if not call.unlimited:
            call.unlimited = True
            self._scheduler.add_control(encode_frame(wire.Grant(call.reference, UNLIMITED)))

    def _receive_answer(
        self,
        call: Call,
        frame: wire.End | wire.Error,
        payload: bytes,
        declarations: tuple[wire.Declaration, ...],
    ) -> None:
        """The one answer of a call of ours. What the result of a cancelled call declares ends with it."""
        if call.receive is not None:
            self._release_half(call.receive)
            call.receive = None
        cancelled = call.outgoing is OutgoingState.CANCELLING
        # First what may still break a rule: the end of the connection answers calls that are not answered.
        if isinstance(frame, wire.Error):
            self._accept_streams(declarations, None)
            call.move_outgoing(OutgoingInput.ERROR_RECEIVED)
            self._events.append(CallRejected(call, frame.code, payload))
        else:
            declared = self._accept_streams(declarations, None if cancelled else call)
            call.move_outgoing(OutgoingInput.RESULT_RECEIVED)
            if cancelled:
                self._events.append(CallResolved(call, payload, ()))
            else:
                self._events.append(CallResolved(call, payload, declared))
                self._tell_refused(declared)
        if call.over:
            self._over(call, *call.why)
            return
        # TW-CAL-011: what has not left of the arguments is not wanted.
        self._drop_queued(call)
        self._drain(call)

    # --- answers from here -----------------------------------------------------------------------

    def _settle(self, call: Call, code: int) -> None:
        """Answer a call of ours ourselves, ahead of the peer, and stop it there (TW-ERR-021)."""
        if self.exchange:
            self._note_stop(call)
        if call.outgoing is OutgoingState.QUEUED:
            self._give_up(call, code)
            return
        if call.outgoing is OutgoingState.ANSWERED:
            self._close_own_call(call, code, b"")
            return
        if self.exchange:
            self._give_up_emitted(call, code, code, b"")
            return
        if call.outgoing is OutgoingState.SENT:
            call.move_outgoing(OutgoingInput.CANCELLED)
            call.why = (code, b"")
            self._stop_frame(call, code, b"")
        call.settled = True
        self._reject_here(call, code)
        self._drop_queued(call)
        half = call.receive
        if half is not None:
            # A part of the answer has arrived; let the rest come, and forget it.
            half.move(HalfInput.STOP)
            self._give_all_credit(call)
            self._release_half(half)
            call.receive = None

    def _close_own_call(self, call: Call, code: int, payload: bytes) -> None:
        """Close an answered call of ours: it is over at once, and the peer is told."""
        call.move_outgoing(OutgoingInput.CLOSED)
        self._stop_frame(call, code, payload)
        self._over(call, code, payload)
