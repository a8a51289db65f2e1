"""Commands: what the application may want, each checked whole before anything changes.

The upper part of :class:`~telewire.core.connection.Connection`, without its inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from telewire.core.checks import HALF_OPEN, Checks, Declare
from telewire.core.halves import Outgoing, SendHalf
from telewire.core.life import CREDITED, CallTimer
from telewire.core.states import (
    ConnectionState,
    HalfInput,
    HalfState,
    IncomingInput,
    IncomingState,
    OutgoingInput,
    OutgoingState,
)
from telewire.core.streams import Call, Stream
from telewire.errors import ErrorCode, LocalProtocolError, ResourceExhausted
from telewire.wire.frames import KEY_METADATA, FrameType, Kind

__all__ = ["Commands", "Declare"]

# A member costs as much as a call where it is looked up through its class (CPython 3.11).
_OPEN: Final = ConnectionState.OPEN
_ITEMS: Final = Kind.ITEMS
_BYTES: Final = Kind.BYTES
_CHANNEL: Final = Kind.CHANNEL
_END: Final = FrameType.END
_ENDING: Final = HalfState.ENDING
_ANSWER_COMMANDED: Final = IncomingInput.ANSWER_COMMANDED


class Commands(Checks):
    """The verbs of the application."""

    def writable(self, stream: Stream) -> bool:
        """Whether one more item, message or chunk may be sent on ``stream`` now.

        After a False, :class:`~telewire.core.events.StreamUnblocked` says when it may again.
        """
        half = stream.send
        if half is None or half.state is not HALF_OPEN:
            return False
        if half.writable:
            return True
        half.wanted = True
        half.promised = False
        return False

    def flushed(self, stream: Stream) -> bool:
        """Whether the end of our half has left, or never will; false while it waits behind what was sent.

        After a False, :class:`~telewire.core.events.StreamUnblocked` says when to ask again.
        """
        half = stream.send
        if half is None or half.state is not _ENDING:
            return True
        half.wanted = True
        return False

    def room(self, stream: Stream) -> int:
        """Bytes that may be sent on ``stream`` now, each item, message or chunk counted as its cost."""
        half = stream.send
        if half is None or half.state is not HALF_OPEN:
            return 0
        return half.room

    def stream_of_ours(self, number: int) -> Stream | None:
        """The call or stream that this side opened under ``number``, while it is open."""
        return self._ours.get(number)

    def streams_of_ours(self) -> list[Stream]:
        """All calls and streams that this side opened and that are open, sent or not."""
        return [*self._unsent, *self._ours.values()]

    # --- commands: calls -------------------------------------------------------------------------

    def call(
        self,
        target: str | Stream,
        payload: bytes,
        declare: Sequence[Declare] = (),
        *,
        deadline: float | None = None,
        lifetime: float | None = None,
        metadata: dict[str, str] | None = None,
        now: float | None = None,
        resumable: bool = True,
    ) -> Call:
        """Call a function by name, or a function or channel of the peer's; returns its handle.

        ``deadline`` bounds the answer and ``lifetime`` the whole call: points in time, for which
        ``now`` must be given, since what is left of them when the call leaves travels. One that is
        infinite is none. A call that is not ``resumable`` is lost with its transport. Beyond the number
        of calls the peer allows, calls wait here in order. The streams that ``declare`` introduces stand
        in ``Call.declared``.

        Raises:
            LocalProtocolError: the conversation is not open, the peer goes away (code GOING_AWAY), or
                ``target`` cannot be called.
            ResourceExhausted: too many calls wait, or the payload or its streams pass a limit.
            TransportUnsuitable: this is an exchange, and cannot carry it.
        """
        if self.exchange:
            self._check_first_call()
        elif self.state is not _OPEN:
            self._need_open("call()")
        name_bytes = self._check_target(target)
        if self._outgoing_calls >= self.peer_limits.open_calls and (
            len(self._waiting_calls) >= self.limits.queued_calls
        ):
            raise ResourceExhausted(
                f"{self._outgoing_calls} calls are open and {len(self._waiting_calls)} wait; "
                "await some of them first."
            )
        # One that is infinite never comes; in a cancelled scope it lies in the infinite past.
        if deadline is not None and deadline - deadline != 0:
            deadline = None
        if lifetime is not None and lifetime - lifetime != 0:
            lifetime = None
        timed = deadline is not None or lifetime is not None
        headers = name_bytes
        if timed or metadata:
            headers += self._check_headers(metadata, timed)
        lone = not declare and len(payload) + headers <= self._lone_bytes
        if not lone:
            self._check_payload(payload, declare, headers)
        if now is not None:
            self._now = now
        call = Call(True, target)
        if self.exchange:
            self._single = call
        if declare:
            call.declared = self._declare(declare, call)
        if metadata:
            call.extensions = {KEY_METADATA: metadata}
        if timed:
            self._set_times(call, deadline, lifetime)
        if not resumable:
            call.resumable = False
        if lone:
            call.lone = payload
        else:
            times = (deadline, lifetime) if timed else None
            outgoing = Outgoing(
                FrameType.CALL, payload, call.declared, target=target, extensions=call.extensions, times=times
            )
            self._queue_large(call, outgoing, declare, headers)
        self._unsent[call] = None
        if not isinstance(target, str):
            self._mention(target, 1)
        if self._outgoing_calls < self.peer_limits.open_calls:
            self._place(call)
        else:
            self._waiting_calls[call] = None
        return call

    def resolve(self, stream: Stream, payload: bytes, declare: Sequence[Declare] = ()) -> tuple[Stream, ...]:
        """Answer a call of the peer's, or settle a promise of ours, with a value."""
        if isinstance(stream, Call):
            return self._answer(_END, stream, payload, declare, 0)
        return self._settle_with(_END, stream, payload, declare, 0)

    def reject(self, stream: Stream, code: int, payload: bytes = b"") -> tuple[Stream, ...]:
        """End a call, a promise or any half of ours with an error, behind what was sent before.

        Raises:
            LocalProtocolError: it has ended already or is not ours to end, or ``code`` is none of an
                error of a stream (1 to 31).
            ResourceExhausted: the payload is larger than the peer accepts.
        """
        self._check_code(code, 1)
        return self._settle_with(FrameType.ERROR, stream, payload, (), code)

    def end(
        self, stream: Stream, payload: bytes = b"", declare: Sequence[Declare] = ()
    ) -> tuple[Stream, ...]:
        """End a half of ours in order; ``payload`` is a generator's return value.

        Byte streams and channels end without a value.
        """
        return self._settle_with(_END, stream, payload, declare, 0)

    def finish(self, call: Call) -> None:
        """Say that the body of a call of the peer's has ended; until then the call keeps its place.

        Owed once for each :class:`~telewire.core.events.CallReceived`, after its answer or its end.
        """
        if not call.body:
            raise LocalProtocolError(f"{call!r} has no body to finish.")
        call.body = False
        if call.over:
            self._leave_place(call)

    # --- commands: streams -----------------------------------------------------------------------

    def send_item(
        self, stream: Stream, payload: bytes, declare: Sequence[Declare] = ()
    ) -> tuple[Stream, ...]:
        """Queue an item; consecutive small ones leave in one frame.

        Raises:
            LocalProtocolError: the half is over, or ``writable`` is false: wait for StreamUnblocked.
            ResourceExhausted: the item is larger than the peer accepts.
        """
        return self._send(stream, _ITEMS, payload, declare)

    def send_plain(self, stream: Stream, payload: bytes) -> bool:
        """Queue an item or a message that declares nothing; returns whether one more may follow.

        Raises:
            LocalProtocolError, ResourceExhausted: as :meth:`send_item`.
        """
        half, kind = stream.send, stream.kind
        if kind is not _ITEMS and kind is not _CHANNEL:
            kind = _ITEMS
        elif half is not None and half.state is HALF_OPEN:
            more = half.queue_next(payload)
            if more is not None:
                return more or self.writable(stream)
        self._send(stream, kind, payload, ())
        return self.writable(stream)

    def send_message(
        self, stream: Stream, payload: bytes, declare: Sequence[Declare] = ()
    ) -> tuple[Stream, ...]:
        """Queue a message on a channel; as :meth:`send_item`."""
        return self._send(stream, _CHANNEL, payload, declare)

    def send_chunk(self, stream: Stream, data: bytes) -> None:
        """Queue bytes on a byte stream; an empty chunk vanishes. As :meth:`send_item`."""
        half = self._open_half(stream, _BYTES)
        half.queue_chunk(data)
        self._wake(half)

    def consumed(self, stream: Stream, units: int = 1) -> None:
        """Say that the application has consumed items, messages or bytes: their credit returns.

        On a stream that has ended meanwhile it does nothing.

        Raises:
            LocalProtocolError: fewer units are waiting.
        """
        half = stream.receive
        if half is None or (not stream.retired and not half.window.consume(units)):
            raise LocalProtocolError(f"{stream!r} has fewer than {units} units to consume.")
        if stream.retired:
            return
        window = half.window
        if window.consumed >= window.mark and half.state is HALF_OPEN and not self.uncredited:
            self._tune(half)
        # In an exchange, what is still being put together keeps its room.
        if window.loan and not (self.uncredited and half.arrival is not None) and window.repay(self._budget):
            self._lend()
        self._flush(half)

    def stop(self, stream: Stream, code: int = ErrorCode.NONE, payload: bytes = b"") -> None:
        """Give up receiving: cancels a call of ours or closes it once answered, releases a function,
        closes any other half. Stopping what has ended does nothing.

        Raises:
            LocalProtocolError: we do not receive on it, or the code or reason is not allowed.
        """
        self._check_farewell(code, payload)
        if self.exchange:
            self._note_stop(stream)
        if isinstance(stream, Call):
            self._stop_own_call(stream, code, payload)
            return
        if stream.retired:
            return
        if stream.kind is Kind.FUNCTION and not stream.opened_here:
            self._release(stream)
            return
        half = stream.receive
        if half is None:
            raise LocalProtocolError(f"{stream!r} has no half to stop; its sender resets it.")
        ended = half.state is _ENDING
        if half.move(HalfInput.STOP):
            if not ended:
                self._stop_frame(stream, code, payload)
            self._release_half(half)
            self._drop_requests(stream)
            self._retire_if_done(stream)

    def release(self, stream: Stream) -> None:
        """Release a function of the peer's: no call on it follows those already made."""
        self.stop(stream)

    def reset(self, stream: Stream, code: int = ErrorCode.NONE, payload: bytes = b"") -> None:
        """Give up sending at once: what has not left is discarded. Revokes a function, closes a call of
        the peer's behind its answer. Resetting what has ended does nothing.

        Raises:
            LocalProtocolError: we do not send on it, the call is not answered, or the code or reason
                is not allowed.
        """
        self._check_farewell(code, payload)
        if isinstance(stream, Call):
            self._reset_call(stream, code, payload)
            return
        if stream.retired:
            return
        if stream.kind is Kind.FUNCTION and stream.opened_here:
            self._reset_frame(stream, code, payload)
            self._retire(stream)
            return
        half = stream.send
        if half is None:
            raise LocalProtocolError(f"{stream!r} has no half to reset; its receiver stops it.")
        if half.move(HalfInput.RESET):
            self._reset_frame(stream, code, payload)
            self._drop_outbox(half)
            self._drop_requests(stream)
            self._retire_if_done(stream)

    # --- inside: what commands do ----------------------------------------------------------------

    def _declare(self, declare: Sequence[Declare], owner: Call | None) -> tuple[Stream, ...]:
        """Make the handles of streams that a queued payload will introduce."""
        assert owner is not None, "what can send has an owner"
        if self.exchange:
            self._carries += sum(kind in CREDITED for kind, _ in declare)
        streams = tuple([Stream(kind, True, owner, function) for kind, function in declare])
        for stream in streams:
            self._make_halves(stream)
            self._unsent[stream] = None
            self._count(stream, 1)
            owner.owned[stream] = None
        return streams

    def _send(
        self, stream: Stream, kind: Kind, payload: bytes, declare: Sequence[Declare]
    ) -> tuple[Stream, ...]:
        half = self._open_half(stream, kind)
        if not declare and half.is_small(payload):
            half.queue_small(payload)
            if not half.ready:
                self._wake(half)
            return ()
        self._check_payload(payload, declare)
        declared = self._declare(declare, stream.call)
        overhead = self._overhead(declare)
        half.queue(Outgoing(FrameType.ITEM, payload, declared, overhead=overhead))
        self._wake(half)
        return declared

    def _settle_with(
        self, type: FrameType, stream: Stream, payload: bytes, declare: Sequence[Declare], code: int
    ) -> tuple[Stream, ...]:
        if isinstance(stream, Call):
            return self._answer(type, stream, payload, declare, code)
        half = stream.send
        if half is None or half.state is not HALF_OPEN:
            raise LocalProtocolError(f"{stream!r} has already ended, or is not ours to end.")
        if (payload or declare) and type is _END and stream.kind in (_BYTES, _CHANNEL):
            raise LocalProtocolError(f"{stream!r} ends without a value.")
        self._check_payload(payload, declare)
        declared: tuple[Stream, ...] = ()
        overhead = 0
        if declare:
            declared = self._declare(declare, stream.call)
            overhead = self._overhead(declare)
        half.queue(Outgoing(type, payload, declared, code=code, overhead=overhead))
        half.move(HalfInput.END)
        self._wake(half)
        return declared

    def _answer(
        self, type: FrameType, call: Call, payload: bytes, declare: Sequence[Declare], code: int
    ) -> tuple[Stream, ...]:
        """Queue the one answer of a call of the peer's."""
        if call.opened_here or call.over or call.lone is not None or call.send is not None:
            raise LocalProtocolError(f"{call!r} has already ended, or is not ours to end.")
        declared: tuple[Stream, ...] = ()
        if not declare and len(payload) <= self._lone_bytes:
            call.lone = payload
            call.code = code
            self._scheduler.add(call)
        else:
            self._check_payload(payload, declare)
            if declare:
                declared = self._declare(declare, call)
            self._queue_large(call, Outgoing(type, payload, declared, code=code), declare, 0)
            self._wake_call(call)
        call.move_incoming(_ANSWER_COMMANDED)
        return declared

    def _set_times(self, call: Call, deadline: float | None, lifetime: float | None) -> None:
        """Bound the answer and the whole of a call of ours."""
        call.deadline, call.lifetime = deadline, lifetime
        if deadline is not None:
            self._timers.add(deadline, CallTimer(call, False))
        if lifetime is not None:
            self._timers.add(lifetime, CallTimer(call, True))

    def _queue_large(self, call: Call, outgoing: Outgoing, declare: Sequence[Declare], headers: int) -> None:
        """Queue the one payload that a call's half carries."""
        outgoing.overhead = self._overhead(declare, headers)
        call.send = SendHalf(call, self.peer_limits)
        call.send.queue(outgoing)
        call.send.move(HalfInput.END)

    def _stop_own_call(self, call: Call, code: int, payload: bytes) -> None:
        if not call.opened_here:
            raise LocalProtocolError(
                f"{call!r} is the peer's; answer it with reject(), or reset() it once answered."
            )
        if call.outgoing is OutgoingState.QUEUED:
            call.move_outgoing(OutgoingInput.CANCELLED)
            self._reject_here(call, ErrorCode.NOT_STARTED)
            self._over(call, code, payload)
        elif call.outgoing is OutgoingState.ANSWERED:
            self._close_own_call(call, code, payload)
        elif self.exchange and not call.over:
            self._give_up_emitted(call, ErrorCode.OUTCOME_UNKNOWN, code, payload)
        elif call.move_outgoing(OutgoingInput.CANCELLED):
            call.why = (code, payload)
            self._drop_queued(call)
            self._stop_frame(call, code, payload)

    def _reset_call(self, call: Call, code: int, payload: bytes) -> None:
        if call.opened_here or call.incoming in (IncomingState.RECEIVING, IncomingState.RUNNING):
            raise LocalProtocolError(f"{call!r} cannot be reset: answer it first, or stop it if it is ours.")
        before = call.incoming
        if call.move_incoming(IncomingInput.CLOSED):
            if before is IncomingState.ANSWERING:
                # The answer leaves first, and the reset behind it.
                call.settled = True
                call.why = (code, payload)
                return
            self._reset_frame(call, code, payload)
            self._over(call, code, payload)

    def _release(self, stream: Stream) -> None:
        if stream.mentions:
            stream.released = True
        else:
            self._stop_frame(stream, ErrorCode.NONE, b"")
        self._retire(stream)
