"""Answering: the peer's calls, from their frame to their start, their refusal or their stop.

Calls on one reference start in the order of their frames (TW-CAL-021). Where the arguments of an
earlier one are still arriving, later ones wait, and with them the events of the streams that they
declare: the application never hears of a stream before the call that brought it.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from telewire.core.calling import Calling
from telewire.core.events import CallReceived, CallStopped
from telewire.core.halves import MORE, ReceiveHalf
from telewire.core.life import CallTimer
from telewire.core.lone import MILLISECONDS
from telewire.core.states import HalfState, IncomingInput, IncomingState
from telewire.core.streams import Call, Stream, Waiting
from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.limits import Limits
from telewire.wire import frames as wire
from telewire.wire.frames import KEY_DEADLINE, KEY_LIFETIME, KEY_METADATA, Kind

__all__ = ["NEVER", "Answering"]

NEVER: Final = 1 << 53
_RECEIVED: Final = IncomingInput.RECEIVED
# A member costs as much as a call where it is looked up through its class (CPython 3.11).
_CHANNEL: Final = Kind.CHANNEL
_FUNCTION: Final = Kind.FUNCTION
_HALF_OPEN: Final = HalfState.OPEN


class Answering(Calling):
    """What becomes of the peer's calls."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        # From which number on we refuse the peer's calls, once we have said so.
        self._calls_accepted = NEVER

    # --- arriving --------------------------------------------------------------------------------

    def _receive_call(self, frame: wire.Call, target: str | Stream | None) -> None:
        """A call; ``target`` is None where what it calls is over."""
        if not self._peer_numbers.accept(frame.stream):
            self._misnumbered(frame.stream)
        if isinstance(target, Stream) and target.kind is not _CHANNEL and not self._exported(target):
            raise RemoteProtocolError(f"Stream {target.name} cannot be called.", ErrorCode.INVALID_STATE)
        call = Call(False, "" if target is None else target, frame.stream)
        if self.exchange:
            self._check_single(call)
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
        extensions = frame.extensions
        if extensions is not None:
            call.deadline = self._arm(call, extensions.get(KEY_DEADLINE), False)
            call.lifetime = self._arm(call, extensions.get(KEY_LIFETIME), True)
        if not frame.flags & MORE and frame.size <= self.limits.stream_window:
            if not frame.declarations and (
                not isinstance(target, Stream) or (not self._starting and not self._unknown(target))
            ):
                # It brings nothing, and nothing can be before it.
                self._start_call(call, frame, frame.payload, ())
            else:
                self._complete_call(call, frame, frame.payload, frame.declarations)
            return
        half = call.receive = ReceiveHalf(call, self.limits)
        # A whole frame here is larger than its credit, which is refused.
        half.receive_first(frame)
        if isinstance(target, Stream):
            self._starting.setdefault(target, deque()).append(call)
        self._borrow(half, half.missing)

    @staticmethod
    def _exported(target: Stream) -> bool:
        return target.kind is _FUNCTION and target.opened_here

    def _arm(self, call: Call, milliseconds: object, lifetime: bool) -> float | None:
        if not isinstance(milliseconds, int):
            return None
        when = self._now + milliseconds / MILLISECONDS
        self._timers.add(when, CallTimer(call, lifetime))
        return when

    def _receive_arguments(self, call: Call, half: ReceiveHalf, frame: wire.Fragment) -> None:
        """The next part of the arguments of a call."""
        arrival = half.receive_fragment(frame)
        if arrival is not None:
            first = arrival.frame
            assert isinstance(first, wire.Call)
            self._release_half(half)
            self._complete_call(call, first, arrival.payload, frame.declarations)

    def _complete_call(
        self, call: Call, frame: wire.Call, payload: bytes, declarations: tuple[wire.Declaration, ...]
    ) -> None:
        """Start a call whose arguments are all here, or let it wait for those before it."""
        declared = self._accept_streams(declarations, call)
        call.declared = declared
        target = call.target
        if isinstance(target, str):
            self._start_call(call, frame, payload, declared)
            self._tell_refused(declared)
            return
        queue = self._starting.get(target)
        if call.receive is None:
            if queue is None and not self._unknown(target):
                self._start_call(call, frame, payload, declared)
                self._tell_refused(declared)
                return
            if queue is None:
                queue = self._starting[target] = deque()
            queue.append(call)
        call.waiting = Waiting(frame, payload, declared)
        # Behind its start, as all that its streams will say until then.
        self._tell_refused(declared)
        self._start_those_ready([target])

    @staticmethod
    def _unknown(target: Stream) -> bool:
        """Whether the application has not heard of a channel, since the call that brings it waits."""
        return target.call is not None and target.call.waiting is not None

    def _start_those_ready(self, targets: list[Stream]) -> None:
        """Start waiting calls on some references, as far as the order allows."""
        for target in targets:
            queue = self._starting.get(target)
            if queue is None or (queue and self._unknown(target)):
                continue
            while queue:
                waiting = queue[0].waiting
                if waiting is None:
                    break
                call = queue.popleft()
                call.waiting = None
                self._start_call(call, waiting.frame, waiting.payload, waiting.declared)
                self._events += waiting.events
                self._free_places(waiting)
                # Calls on the channels that it brought may start now; the loop goes on with them.
                targets += self._brought_by(call)
            else:
                del self._starting[target]

    def _brought_by(self, call: Call) -> list[Stream]:
        """Channels that a call brought and on which others wait."""
        return [target for target in self._starting if target.call is call]

    def _start_call(self, call: Call, frame: wire.Call, payload: bytes, declared: tuple[Stream, ...]) -> None:
        call.move_incoming(_RECEIVED)
        call.body = True
        metadata: dict[str, str] | None = None
        if frame.extensions is not None:
            found = frame.extensions.get(KEY_METADATA)
            metadata = found if isinstance(found, dict) else None
        self._events.append(
            CallReceived(call, call.target, payload, declared, metadata, call.deadline, call.lifetime)
        )

    # --- refusing --------------------------------------------------------------------------------

    def _refusal(self, frame: wire.Call, target: str | Stream | None) -> ErrorCode | None:
        """Why a call is refused before anybody has seen it, if it is: the first reason of TW-CAL-060."""
        extensions = frame.extensions
        if frame.stream >= self._calls_accepted:
            return ErrorCode.GOING_AWAY
        if extensions is not None and not self._understood(extensions):
            return ErrorCode.UNSUPPORTED
        if target is None:
            return ErrorCode.REFERENCE_RELEASED
        if isinstance(target, Stream) and not listening(target):
            return ErrorCode.CHANNEL_CLOSED
        if frame.size > self.limits.message_bytes:
            return ErrorCode.MESSAGE_TOO_LARGE
        if (
            self._incoming_calls >= self.limits.open_calls
            or self._argument_bytes + frame.size > self.limits.argument_bytes
        ):
            return ErrorCode.RESOURCE_EXHAUSTED
        if extensions is not None and 0 in (extensions.get(KEY_DEADLINE), extensions.get(KEY_LIFETIME)):
            return ErrorCode.DEADLINE_EXCEEDED
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
        self._answer_here(call, code)

    def _refuse_unseen(self, call: Call, code: ErrorCode) -> None:
        """Refuse a call that has not started: the application has not seen it."""
        doomed = [(call, code)]
        targets: list[Stream] = []
        for each, why in doomed:
            # What waits behind a channel that it brought would never be heard of; the loop goes on
            # with it.
            for target in self._brought_by(each):
                doomed += [(other, ErrorCode.CHANNEL_CLOSED) for other in self._starting[target]]
            self._refuse_call(each, why)
            self._vanish(each)
            if isinstance(each.target, Stream):
                self._starting[each.target].remove(each)
                targets.append(each.target)
        self._start_those_ready(targets)

    # --- stopping --------------------------------------------------------------------------------

    def _stop_call(self, call: Call, code: int, payload: bytes, *, here: ErrorCode | None = None) -> None:
        """Cancel a call of the peer's, or close it where it is answered.

        ``here`` is set where this side does it, for a reason of its own: then it is the answer of a
        call that has not started or whose answer has not left, and a result that the body still
        gives is followed by a reset, since the peer has not stopped it.
        """
        before = call.incoming
        if before is IncomingState.RECEIVING:
            self._refuse_unseen(call, here or ErrorCode.NOT_STARTED)
            return
        if not call.move_incoming(IncomingInput.STOPPED):
            return
        call.why = (code, payload)
        if before is IncomingState.ANSWERED:
            if here is not None:
                self._reset_frame(call, code, payload)
            self._over(call, code, payload)
            return
        call.settled = here is not None
        if call.body:
            self._events.append(CallStopped(call, code, payload))
        if before is IncomingState.ANSWERING:
            self._drop_queued(call)
            self._answer_here(call, here or ErrorCode.STOPPED)

    def _answer_here(self, call: Call, code: ErrorCode) -> None:
        """Answer a call of the peer's with an error of this side."""
        call.lone = b""
        call.code = code
        self._scheduler.add(call)


def listening(target: Stream) -> bool:
    """Whether requests may still arrive: a channel takes them while both its directions are open."""
    if target.send is None or target.receive is None:
        return True
    return target.send.state is _HALF_OPEN and target.receive.state is _HALF_OPEN
