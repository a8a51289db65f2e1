"""Life: what is open on a connection, who owns it, and everything that follows when it ends.

The lowest part of :class:`~telewire.core.connection.Connection`: it holds the tables of streams, the
budget and the events, and knows the consequences of an end. It decides nothing about frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from telewire.core.events import (
    CallOver,
    CallRejected,
    CallStopped,
    Event,
    StreamReset,
    StreamStopped,
    StreamUnblocked,
)
from telewire.core.flow import Budget
from telewire.core.halves import Outgoing, ReceiveHalf, SendHalf
from telewire.core.ids import Numbers
from telewire.core.scheduler import Scheduler
from telewire.core.states import HalfInput, HalfState, IncomingInput, IncomingState, OutgoingInput
from telewire.core.streams import Call, Stream
from telewire.errors import ErrorCode
from telewire.limits import Limits
from telewire.wire.codec import encode_frame
from telewire.wire.frames import FrameType, Kind, Reset, Stop

__all__ = ["Life"]

CREDITED = (Kind.ITEMS, Kind.BYTES, Kind.CHANNEL)


class Life:
    """Tables of calls and streams, and the consequences of each end."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.peer_limits = limits
        self._ours: dict[int, Stream] = {}
        self._theirs: dict[int, Stream] = {}
        self._numbers = Numbers()
        self._peer_numbers = Numbers()
        self._scheduler = Scheduler()
        self._events: list[Event] = []
        self._budget = Budget(limits.session_budget)
        self._borrowers: deque[ReceiveHalf] = deque()
        # Handles of ours that have no number yet: they die with their payload or the connection.
        self._unsent: dict[Stream, None] = {}
        self._waiting_calls: dict[Call, None] = {}
        self._outgoing_calls = 0
        self._incoming_calls = 0
        self._argument_bytes = 0
        self._refusals = 0
        # Streams open, and of these the credited ones: declared by us, declared to us.
        self._declared = [0, 0]
        self._accepted = [0, 0]

    # --- opening ---------------------------------------------------------------------------------

    def _make_halves(self, stream: Stream) -> None:
        """Give a declared stream the halves that its kind has on this side."""
        kind = stream.kind
        if kind is Kind.FUNCTION:
            return
        if stream.opened_here or kind is Kind.CHANNEL:
            stream.send = SendHalf(stream, self.peer_limits)
        if not stream.opened_here or kind is Kind.CHANNEL:
            stream.receive = ReceiveHalf(stream, self.limits)

    def _count(self, stream: Stream, step: int) -> None:
        counts = self._declared if stream.opened_here else self._accepted
        counts[0] += step
        if stream.kind in CREDITED:
            counts[1] += step

    def _register(self, streams: Iterable[Stream]) -> None:
        """Enter streams of ours whose introduction has left, and let them speak."""
        for stream in streams:
            if stream.retired:
                # Revoked before the peer has heard of it.
                self._scheduler.add_control(encode_frame(Reset(stream.reference, ErrorCode.NONE)))
                continue
            del self._unsent[stream]
            assert stream.number is not None
            self._ours[stream.number] = stream
            if stream.send is not None:
                self._wake(stream.send)

    def _wake(self, half: SendHalf) -> None:
        """Give a half its turn, if it has something to say and is introduced."""
        if half.outbox and (half.stream.number is not None or half.stream.kind is Kind.CALL):
            self._scheduler.add(half)

    def _unblock(self, half: SendHalf) -> None:
        """Tell the application that waits for credit, once there is some."""
        if half.wanted and half.writable:
            half.wanted = False
            self._events.append(StreamUnblocked(half.stream))

    # --- ending one stream -----------------------------------------------------------------------

    def _reject_here(self, call: Call, code: int) -> None:
        """Answer a call of ours ourselves."""
        self._events.append(CallRejected(call, code, b""))

    def _stop_frame(self, stream: Stream, code: int, payload: bytes) -> None:
        self._scheduler.add_control(encode_frame(Stop(stream.reference, code, payload)))

    def _drop_outbox(self, half: SendHalf) -> None:
        """Empty a queue; what it would have introduced ends before it began."""
        for stream in half.clear():
            self._end_stream(stream, ErrorCode.NONE, b"")

    def _end_stream(self, stream: Stream, code: int, payload: bytes) -> None:
        """End whatever of a stream is still open, without a frame, and tell the application."""
        if stream.retired:
            return
        send, receive = stream.send, stream.receive
        sending = send is not None and send.move(HalfInput.STOP)
        receiving = receive is not None and receive.move(HalfInput.RESET)
        if send is not None and sending:
            self._drop_outbox(send)
        self._retire(stream)
        if sending or (stream.kind is Kind.FUNCTION and stream.opened_here):
            self._events.append(StreamStopped(stream, code, payload))
        if receiving or (stream.kind is Kind.FUNCTION and not stream.opened_here):
            self._events.append(StreamReset(stream, code, payload))

    def _retire_if_done(self, stream: Stream) -> None:
        """Forget a stream once neither direction is open."""
        for half in (stream.send, stream.receive):
            if half is not None and half.state in (HalfState.OPEN, HalfState.ENDING):
                return
        self._retire(stream)

    def _retire(self, stream: Stream) -> None:
        """Forget a stream: free what it held, and end its call if it was the last."""
        stream.retired = True
        self._unsent.pop(stream, None)
        self._forget(stream)
        self._count(stream, -1)
        if stream.receive is not None:
            self._release_half(stream.receive)
        call = stream.call
        if call is not None and stream in call.owned:
            del call.owned[stream]
            self._drain(call)

    def _forget(self, stream: Stream) -> None:
        if stream.number is not None:
            (self._ours if stream.opened_here else self._theirs).pop(stream.number, None)

    def _release_half(self, half: ReceiveHalf) -> None:
        half.release(self._budget)
        self._lend()

    def _lend(self) -> None:
        """Grant the remainders of large payloads, in order of arrival, as far as the budget goes."""
        while self._borrowers:
            half = self._borrowers[0]
            if half.needs_loan:
                if not half.window.lend(half.remainder(), self._budget):
                    return
                half.needs_loan = False
                self._scheduler.add_grant(half)
            self._borrowers.popleft()

    # --- ending a call ---------------------------------------------------------------------------

    def _drain(self, call: Call) -> None:
        """End an answered call when nothing that crossed in it is open any more."""
        if call.answered and not call.owned:
            if call.opened_here:
                call.move_outgoing(OutgoingInput.DRAINED)
            else:
                call.move_incoming(IncomingInput.DRAINED)
            self._over(call, ErrorCode.NONE, b"")

    def _over(self, call: Call, code: int, payload: bytes) -> None:
        """Finish a call whose table says that it is over, and all that it owns."""
        self._forget(call)
        if call in self._unsent:
            del self._unsent[call]
            self._waiting_calls.pop(call, None)
            self._mention(call.target, -1)
        if call.receive is not None:
            self._release_half(call.receive)
        self._return_arguments(call)
        self._leave_place(call)
        self._events.append(CallOver(call, code, payload))
        for stream in list(call.owned):
            self._end_stream(stream, code, payload)

    def _return_arguments(self, call: Call) -> None:
        self._argument_bytes -= call.argument_bytes
        call.argument_bytes = 0

    def _leave_place(self, call: Call) -> None:
        """Free the place of a call that is over and whose body has ended."""
        if not call.placed or call.body or not call.over:
            return
        call.placed = False
        if call.opened_here:
            self._outgoing_calls -= 1
            self._start_waiting_calls()
        else:
            self._incoming_calls -= 1

    def _start_waiting_calls(self) -> None:
        while self._waiting_calls and self._outgoing_calls < self.peer_limits.open_calls:
            call = next(iter(self._waiting_calls))
            del self._waiting_calls[call]
            self._place(call)

    def _place(self, call: Call) -> None:
        """Let an outgoing call leave: it takes one of the places the peer offers."""
        assert call.send is not None
        call.placed = True
        self._outgoing_calls += 1
        self._scheduler.add(call.send)

    def _mention(self, target: str | Stream, step: int) -> None:
        """Count queued calls on a function, so that its release does not overtake them."""
        if isinstance(target, Stream):
            target.mentions = max(target.mentions + step, 0)
            if target.released and not target.mentions:
                target.released = False
                self._stop_frame(target, ErrorCode.NONE, b"")

    # --- ending everything -----------------------------------------------------------------------

    def _settle_all(self, code: int, payload: bytes = b"") -> None:
        """End every call and stream: the conversation is over for good."""
        self._scheduler.clear()
        self._waiting_calls.clear()
        calls = [
            stream
            for stream in (*self._ours.values(), *self._theirs.values(), *self._unsent)
            if isinstance(stream, Call)
        ]
        for call in calls:
            if call.over:
                continue
            if not call.opened_here and call.incoming is IncomingState.RECEIVING:
                # The application has not seen it.
                call.move_incoming(IncomingInput.LOST)
                continue
            if call.opened_here:
                answered = call.answered or call.settled
                call.move_outgoing(OutgoingInput.LOST)
                if not answered:
                    self._reject_here(call, code)
            else:
                answered = call.answered
                call.move_incoming(IncomingInput.LOST)
                if call.body and not answered:
                    self._events.append(CallStopped(call, code, payload))
            if call.send is not None:
                self._drop_outbox(call.send)
            self._over(call, code, payload)
        for stream in (*self._ours.values(), *self._theirs.values(), *self._unsent):
            self._end_stream(stream, code, payload)

    def _finish_outbox(self, half: SendHalf, done: Outgoing) -> None:
        """Follow up on a payload whose last frame has left."""
        stream = half.stream
        if done.declared:
            self._register(done.declared)
        if done.type is FrameType.ITEM or done.type is FrameType.CALL:
            return
        if done.type is not FrameType.RESET:
            half.move(HalfInput.FLUSHED)
        if isinstance(stream, Call):
            self._answer_emitted(stream)
        else:
            self._retire_if_done(stream)

    def _answer_emitted(self, call: Call) -> None:
        self._return_arguments(call)
        if call.refused:
            self._refusals -= 1
            return
        call.move_incoming(IncomingInput.ANSWER_EMITTED)
        if call.over:
            code, payload = call.why
            self._over(call, code, payload)
        else:
            self._drain(call)
