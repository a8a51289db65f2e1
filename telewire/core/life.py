"""Life: what is open on a connection, who owns it, and everything that follows when it ends.

The lowest part of :class:`~telewire.core.connection.Connection`: it holds the tables of streams, the
budget and the events, and knows the consequences of an end. It decides nothing about frames.

The order of events: what ended a stream is told before the end of the call that this brings about,
and the end of a call before the ends of the streams that it still owned.
"""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections import deque
from collections.abc import Iterable
from typing import Final

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
from telewire.core.halves import FRAME_BYTES, Outgoing, ReceiveHalf, SendHalf
from telewire.core.ids import Numbers
from telewire.core.scheduler import Scheduler
from telewire.core.states import HalfInput, HalfState, IncomingInput, IncomingState, OutgoingInput
from telewire.core.streams import Call, Stream, Waiting
from telewire.core.timers import Timers
from telewire.errors import ErrorCode
from telewire.limits import Limits
from telewire.wire.codec import encode_frame
from telewire.wire.frames import FrameType, Kind, Reset, Stop

__all__ = ["CREDITED", "CallTimer", "Life"]

CREDITED: Final = (Kind.ITEMS, Kind.BYTES, Kind.CHANNEL)

# A member costs as much as a call where it is looked up through its class (CPython 3.11).
NO_CODE: Final = ErrorCode.NONE
_DRAINED_OUTGOING: Final = OutgoingInput.DRAINED
_ITEM: Final = FrameType.ITEM
_CALL: Final = FrameType.CALL
_DRAINED_INCOMING: Final = IncomingInput.DRAINED
_RESULT_EMITTED: Final = IncomingInput.RESULT_EMITTED
_ERROR_EMITTED: Final = IncomingInput.ERROR_EMITTED


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


# Not below ABC: compiled, a weak reference to what is derived from that ends the process instead of raising.
class Life(metaclass=ABCMeta):
    """Tables of calls and streams, and the consequences of each end."""

    # Whether the conversation is one call over one HTTP request.
    exchange: bool = False
    # Whether no credit binds what arrives: in an exchange, and in what is left of the request of one that
    # was promoted.
    uncredited: bool = False

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._take_peer_limits(limits)
        self._now = 0.0
        self._timers: Timers[CallTimer] = Timers()
        self._ours: dict[int, Stream] = {}
        self._theirs: dict[int, Stream] = {}
        self._numbers = Numbers()
        self._peer_numbers = Numbers()
        self._scheduler = Scheduler()
        self._events: list[Event] = []
        self._budget = Budget(limits.session_budget)
        # Halves whose large payload waits for the budget, in order of arrival.
        self._borrowers: dict[ReceiveHalf, None] = {}
        # Handles of ours that have no number yet: they die with their payload or the connection.
        self._unsent: dict[Stream, None] = {}
        # Farewells to streams that the peer has not heard of: they follow the introduction.
        self._later: dict[Stream, list[Stop | Reset]] = {}
        self._waiting_calls: dict[Call, None] = {}
        # Calls of the peer's on a reference that have arrived and not started, in order, where one waits.
        self._starting: dict[Stream, deque[Call]] = {}
        self._outgoing_calls = 0
        self._incoming_calls = 0
        self._argument_bytes = 0
        # Waiting to leave because of the peer: refusals of its calls, stops of its streams, pongs.
        self._refusals = self._forced = self._pings = 0
        # Streams open, and of these the credited ones: declared by us, declared to us.
        self._declared = [0, 0]
        self._accepted = [0, 0]

    def _tell(self, stream: Stream, event: Event) -> None:
        """Note an event of a stream, behind the start of its call."""
        call = stream.call
        if call is None or call.waiting is None:
            self._events.append(event)
        else:
            call.waiting.events.append(event)

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
            for frame in self._later.pop(stream, ()):
                frame.stream = stream.reference
                self._scheduler.add_control(encode_frame(frame))
            if stream.retired:
                continue
            del self._unsent[stream]
            assert stream.number is not None
            self._ours[stream.number] = stream
            if stream.send is not None:
                self._wake(stream.send)
            for call in self._requests(stream):
                if call.placed:
                    self._wake_call(call)

    def _wake(self, half: SendHalf) -> None:
        """Give a half its turn, if it has something to say and is introduced."""
        if half.outbox and half.stream.number is not None:
            self._scheduler.add(half)

    def _wake_call(self, call: Call) -> None:
        self._scheduler.add(call.send or call)

    def _unblock(self, half: SendHalf) -> None:
        """Tell the application that waits for credit, once there is some."""
        if half.wanted and half.writable:
            half.wanted = False
            self._events.append(StreamUnblocked(half.stream))

    # --- ending one stream -----------------------------------------------------------------------

    def _farewell(self, stream: Stream, frame: Stop | Reset) -> None:
        """Let a stop or reset leave: ahead of data, but not of the frame that introduces the stream."""
        if stream.number is None:
            self._later.setdefault(stream, []).append(frame)
        else:
            frame.stream = stream.reference
            self._scheduler.add_control(encode_frame(frame))

    def _stop_frame(self, stream: Stream, code: int, payload: bytes) -> None:
        self._farewell(stream, Stop(0, code, payload))

    def _reset_frame(self, stream: Stream, code: int, payload: bytes) -> None:
        self._farewell(stream, Reset(0, code, payload))

    def _drop_outbox(self, half: SendHalf) -> None:
        """Empty a queue; what it would have introduced ends before it began."""
        self._end_streams(half.clear(), ErrorCode.NONE, b"")

    def _drop_queued(self, call: Call) -> None:
        """Drop what a call of either side has still to say."""
        call.lone = None
        send = call.send
        if send is not None:
            if call.over:
                send.move(HalfInput.STOP)
            if send.outbox:
                self._drop_outbox(send)

    def _end_streams(self, streams: list[Stream], code: int, payload: bytes) -> None:
        """End whatever of streams is still open, without a frame, and tell the application.

        What waits in their queues to be introduced ends with them.
        """
        for stream in streams:
            self._later.pop(stream, None)
            if stream.retired:
                continue
            send, receive = stream.send, stream.receive
            function = stream.kind is Kind.FUNCTION
            if (send is not None and send.move(HalfInput.STOP)) or (function and stream.opened_here):
                self._tell(stream, StreamStopped(stream, code, payload))
            if (receive is not None and receive.move(HalfInput.RESET)) or (
                function and not stream.opened_here
            ):
                self._tell(stream, StreamReset(stream, code, payload))
            if send is not None:
                # The loop goes on with these.
                streams += send.clear()
            self._retire(stream)

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
        call = stream.call
        assert call is not None, "what was opened has an owner"
        if call.waiting is None or stream.opened_here:
            self._count(stream, -1)
        else:
            # Its events are held until the call starts, and so is its place (TW-LIM-055).
            call.waiting.ended.append(stream)
        if stream.receive is not None:
            self._release_half(stream.receive)
        self._drop_requests(stream)
        del call.owned[stream]
        self._drain(call)

    def _forget(self, stream: Stream) -> None:
        if stream.number is not None:
            (self._ours if stream.opened_here else self._theirs).pop(stream.number, None)

    def _requests(self, stream: Stream) -> list[Call]:
        """Calls on a stream that have not left yet, in order."""
        if not stream.mentions:
            return []
        return [call for call in self._unsent if isinstance(call, Call) and call.target is stream]

    def _drop_requests(self, stream: Stream) -> None:
        """Answer the requests that cannot leave any more, since a half of their channel has gone."""
        if stream.kind is Kind.CHANNEL:
            for call in self._requests(stream):
                self._give_up(call, ErrorCode.CHANNEL_CLOSED)

    # --- the budget ------------------------------------------------------------------------------

    def _release_half(self, half: ReceiveHalf) -> None:
        half.release(self._budget)
        self._scheduler.drop_grant(half)
        if half in self._borrowers:
            del self._borrowers[half]
            # It waits no more; who else does asks again.
            self._budget.short.clear()
        self._lend()

    def _borrow(self, half: ReceiveHalf, cost: int) -> None:
        """Grant what is missing of a large payload in one step, when its turn has come."""
        if self.uncredited:
            self._begin(half, cost)
            return
        self._borrowers[half] = None
        self._lend()

    def _lend(self) -> None:
        """Grant the remainders of large payloads, in order of arrival, as far as the budget goes."""
        while self._borrowers:
            half = next(iter(self._borrowers))
            before = half.window.limit
            # While it waited more of it may have come, or all of it.
            if half.arrival is not None and not half.window.lend(half.missing, self._budget):
                return
            del self._borrowers[half]
            if half.window.limit > before:
                self._scheduler.add_grant(half)

    def _take_peer_limits(self, limits: Limits) -> None:
        """Send by these from now on."""
        self.peer_limits = limits
        room = min(limits.fragment_bytes, limits.batch_bytes) - FRAME_BYTES
        # Up to which size a call's payload and its headers are one frame that needs no half.
        self._lone_bytes = min(limits.item_cost, limits.message_bytes, room)

    @abstractmethod
    def _begin(self, half: ReceiveHalf, cost: int) -> None:
        """Note a payload of an exchange that is incomplete, and find room for the rest of it."""

    # --- ending a call ---------------------------------------------------------------------------

    def _reject_here(self, call: Call, code: int) -> None:
        """Answer a call of ours ourselves."""
        self._events.append(CallRejected(call, code, b""))

    def _give_up(self, call: Call, code: int) -> None:
        """Answer a call of ours that has not left; it leaves no trace."""
        call.move_outgoing(OutgoingInput.CANCELLED)
        self._reject_here(call, code)
        self._over(call, code, b"")

    def _drain(self, call: Call) -> None:
        """End an answered call when nothing that crossed in it is open any more."""
        if call.answered and not call.owned:
            if call.opened_here:
                call.move_outgoing(_DRAINED_OUTGOING)
            else:
                call.move_incoming(_DRAINED_INCOMING)
            self._over(call, NO_CODE, b"")

    def _over(self, call: Call, code: int, payload: bytes) -> None:
        """Finish a call whose table says that it is over, and all that it owns."""
        if call.number is None:
            del self._unsent[call]
            self._waiting_calls.pop(call, None)
            self._mention(call.target, -1)
        else:
            (self._ours if call.opened_here else self._theirs).pop(call.number, None)
        if call.receive is not None:
            self._release_half(call.receive)
        if call.argument_bytes:
            self._return_arguments(call)
        self._events.append(CallOver(call, code, payload))
        if call.owned:
            self._end_streams(list(call.owned), code, payload)
        call.lone = None
        if call.send is not None:
            self._drop_queued(call)
        if call.placed and not call.body:
            self._leave_place(call)
        if self.exchange:
            self._single_over()

    @abstractmethod
    def _single_over(self) -> None:
        """Follow up on the end of the one call of an exchange."""

    def _return_arguments(self, call: Call) -> None:
        self._argument_bytes -= call.argument_bytes
        call.argument_bytes = 0

    def _leave_place(self, call: Call) -> None:
        """Free the place of a call that has one, is over, and whose body has ended."""
        call.placed = False
        if call.opened_here:
            self._outgoing_calls -= 1
            if self._waiting_calls:
                self._start_waiting_calls()
        else:
            self._incoming_calls -= 1
        self._close_if_idle()

    @abstractmethod
    def _close_if_idle(self) -> None:
        """Close a session that began as an exchange and has no call any more."""

    def _start_waiting_calls(self) -> None:
        while self._waiting_calls and self._outgoing_calls < self.peer_limits.open_calls:
            call = next(iter(self._waiting_calls))
            del self._waiting_calls[call]
            self._place(call)

    def _place(self, call: Call) -> None:
        """Let an outgoing call leave: it takes one of the places the peer offers."""
        call.placed = True
        self._outgoing_calls += 1
        self._scheduler.add(call.send or call)

    def _mention(self, target: str | Stream, step: int) -> None:
        """Count queued calls on a function or channel, so that its end does not overtake them."""
        if isinstance(target, Stream):
            target.mentions += step
            if not target.mentions:
                if target.released:
                    target.released = False
                    self._stop_frame(target, ErrorCode.NONE, b"")
                elif target.send is not None:
                    self._wake(target.send)

    # --- ending everything -----------------------------------------------------------------------

    def _settle_all(self, code: int, payload: bytes = b"") -> None:
        """End every call and stream: the conversation is over for good."""
        self._timers.clear()
        self._waiting_calls.clear()
        # First the calls that have not left, so that those on a channel do not hear of its end instead.
        everything = (*self._unsent, *self._ours.values(), *self._theirs.values())
        for call in everything:
            if isinstance(call, Call) and not call.over:
                self._lose(call, code, payload)
        streams = [stream for stream in everything if not isinstance(stream, Call)]
        self._end_streams(streams, code, payload)
        # What the ends have queued has nowhere to go.
        self._scheduler.clear()
        self._later.clear()
        self._starting.clear()
        self._refusals = self._forced = self._pings = 0

    def _lose(self, call: Call, code: int, payload: bytes) -> None:
        """Settle a call whose connection has ended."""
        if call.opened_here:
            unanswered = not call.answered and not call.settled
            call.move_outgoing(OutgoingInput.LOST)
            if unanswered:
                self._reject_here(call, code)
        else:
            unseen = call.incoming is IncomingState.RECEIVING
            unanswered = not call.answered and not unseen
            call.move_incoming(IncomingInput.LOST)
            if unseen:
                # The application has not heard of it, nor will it.
                self._vanish(call)
                return
            if call.body and unanswered:
                self._events.append(CallStopped(call, code, payload))
        self._over(call, code, payload)

    def _vanish(self, call: Call) -> None:
        """Free what a call holds that the application has not seen."""
        self._forget(call)
        if call.receive is not None:
            self._release_half(call.receive)
        self._return_arguments(call)
        if call.owned:
            self._end_streams(list(call.owned), ErrorCode.NONE, b"")
        if call.waiting is not None:
            self._free_places(call.waiting)
        self._leave_place(call)

    def _free_places(self, waiting: Waiting) -> None:
        """Free the places of streams that have ended while their call waited."""
        for stream in waiting.ended:
            self._count(stream, -1)
        waiting.ended.clear()

    def _finish_outbox(self, half: SendHalf, done: Outgoing) -> None:
        """Follow up on a payload whose last frame has left."""
        stream = half.stream
        if done.declared:
            self._register(done.declared)
        if done.type is _ITEM or done.type is _CALL:
            return
        wanted = half.wanted
        half.move(HalfInput.FLUSHED)
        if wanted:
            self._events.append(StreamUnblocked(stream))
        if isinstance(stream, Call):
            self._answer_emitted(stream, done.type is FrameType.ERROR)
        else:
            self._retire_if_done(stream)

    def _answer_emitted(self, call: Call, failed: bool) -> None:
        self._argument_bytes -= call.argument_bytes
        call.argument_bytes = 0
        if call.refused:
            self._refusals -= 1
            if self.exchange:
                self._single_over()
            return
        call.move_incoming(_ERROR_EMITTED if failed else _RESULT_EMITTED)
        if not call.over:
            self._drain(call)
            return
        code, payload = call.why
        if call.settled and not failed:
            # The peer takes the result for one whose streams live on: only we know that it is closed.
            self._reset_frame(call, code, payload)
        self._over(call, code, payload)
