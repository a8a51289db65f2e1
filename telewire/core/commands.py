"""Commands: what the application may want, each checked whole before anything changes.

The upper part of :class:`~telewire.core.connection.Connection`, without its inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from telewire.core.halves import Outgoing, SendHalf
from telewire.core.life import CREDITED
from telewire.core.receiving import MILLISECONDS, CallTimer, Receiving
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
from telewire.limits import Limits
from telewire.wire.codec import encode_frame
from telewire.wire.frames import KEY_DEADLINE, KEY_LIFETIME, KEY_METADATA, Extensions, FrameType, Kind, Reset

__all__ = ["Commands", "Declare"]

Declare: TypeAlias = tuple[Kind, int | None]
"""A stream that a payload introduces: its kind and, for functions and channels, the exporter's number."""


class Commands(Receiving):
    """The verbs of the application."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.state = ConnectionState.OPENING

    def writable(self, stream: Stream) -> bool:
        """Whether one more item, message or chunk may be sent on ``stream`` now.

        After a False, :class:`~telewire.core.events.StreamUnblocked` says when it may again.
        """
        half = stream.send
        if half is None or half.state is not HalfState.OPEN:
            return False
        if half.writable:
            return True
        half.wanted = True
        return False

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
    ) -> Call:
        """Call a function by name, or a function or channel of the peer's; returns its handle.

        ``deadline`` bounds the answer and ``lifetime`` the whole call: points in time, for which
        ``now`` must be given, since what is left of them travels. Beyond the
        number of calls the peer allows, calls wait here in order. The streams that ``declare``
        introduces stand in ``Call.declared``.

        Raises:
            LocalProtocolError: the conversation is not open, or ``target`` cannot be called.
            ResourceExhausted: too many calls wait, or the payload or its streams pass a limit.
        """
        self._need_open("call()")
        if now is not None:
            self._now = now
        if isinstance(target, Stream):
            callable_here = target.kind is Kind.CHANNEL or (
                target.kind is Kind.FUNCTION and not target.opened_here
            )
            if not callable_here or target.retired or target.released:
                raise LocalProtocolError(
                    f"{target!r} cannot be called: it is no open function of the peer's."
                )
        elif len(target.encode()) > self.peer_limits.name_bytes:
            raise LocalProtocolError(f"The function name {target[:40]!r}… is longer than the peer allows.")
        if self._outgoing_calls >= self.peer_limits.open_calls and (
            len(self._waiting_calls) >= self.limits.queued_calls
        ):
            raise ResourceExhausted(
                f"{self._outgoing_calls} calls are open and {len(self._waiting_calls)} wait; await some of them first."
            )
        self._check_payload(payload, declare)
        extensions = self._extensions(deadline, lifetime, metadata)
        call = Call(True, target)
        call.declared = self._declare(declare, call)
        call.send = SendHalf(call, self.peer_limits)
        call.send.queue(
            Outgoing(FrameType.CALL, payload, call.declared, target=target, extensions=extensions)
        )
        call.send.move(HalfInput.END)
        self._unsent[call] = None
        self._mention(target, 1)
        if deadline is not None:
            self._timers.add(deadline, CallTimer(call, False))
        if lifetime is not None:
            self._timers.add(lifetime, CallTimer(call, True))
        if self._outgoing_calls < self.peer_limits.open_calls:
            self._place(call)
        else:
            self._waiting_calls[call] = None
        return call

    def resolve(self, stream: Stream, payload: bytes, declare: Sequence[Declare] = ()) -> tuple[Stream, ...]:
        """Answer a call of the peer's, or settle a promise of ours, with a value."""
        return self._settle_with(FrameType.END, stream, payload, declare, 0)

    def reject(
        self, stream: Stream, code: int, payload: bytes = b"", declare: Sequence[Declare] = ()
    ) -> tuple[Stream, ...]:
        """End a call, a promise or any half of ours with an error, behind what was sent before."""
        return self._settle_with(FrameType.ERROR, stream, payload, declare, code)

    def end(
        self, stream: Stream, payload: bytes = b"", declare: Sequence[Declare] = ()
    ) -> tuple[Stream, ...]:
        """End a half of ours in order; ``payload`` is a generator's return value."""
        return self._settle_with(FrameType.END, stream, payload, declare, 0)

    def finish(self, call: Call) -> None:
        """Say that the body of a call of the peer's has ended; until then the call keeps its place.

        Owed once for each :class:`~telewire.core.events.CallReceived`, after its answer or its end.
        """
        if not call.body:
            raise LocalProtocolError(f"{call!r} has no body to finish.")
        call.body = False
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
        return self._send(stream, Kind.ITEMS, payload, declare)

    def send_message(
        self, stream: Stream, payload: bytes, declare: Sequence[Declare] = ()
    ) -> tuple[Stream, ...]:
        """Queue a message on a channel; as :meth:`send_item`."""
        return self._send(stream, Kind.CHANNEL, payload, declare)

    def send_chunk(self, stream: Stream, data: bytes) -> None:
        """Queue bytes on a byte stream; an empty chunk vanishes. As :meth:`send_item`."""
        half = self._open_half(stream, Kind.BYTES)
        if data:
            half.queue_small(data)
            self._wake(half)

    def consumed(self, stream: Stream, units: int = 1) -> None:
        """Say that the application has consumed items, messages or bytes: their credit returns.

        Raises:
            LocalProtocolError: fewer units are waiting.
        """
        half = stream.receive
        if half is None or (not stream.retired and not half.window.consume(units)):
            raise LocalProtocolError(f"{stream!r} has fewer than {units} units to consume.")
        if stream.retired:
            return
        window = half.window
        if half.state is HalfState.OPEN:
            window.grow(self.limits.stream_window_read, self._budget)
            if window.grant() is not None:
                self._scheduler.add_grant(half)
        window.repay(self._budget)
        self._lend()
        self._flush(half)

    def stop(self, stream: Stream, code: int = ErrorCode.NONE, payload: bytes = b"") -> None:
        """Give up receiving: cancels a call of ours or closes it once answered, releases a function,
        closes any other half. Stopping what has ended does nothing.

        Raises:
            LocalProtocolError: we do not receive on it, or the reason is too large.
        """
        self._check_reason(payload)
        if isinstance(stream, Call):
            self._stop_own_call(stream, code, payload)
        elif stream.kind is Kind.FUNCTION and not stream.opened_here:
            self._release(stream)
        else:
            half = stream.receive
            if half is None:
                raise LocalProtocolError(f"{stream!r} has no half to stop; its sender resets it.")
            ended = half.state is HalfState.ENDING
            if not stream.retired and half.move(HalfInput.STOP):
                if not ended:
                    self._stop_frame(stream, code, payload)
                self._release_half(half)
                self._retire_if_done(stream)

    def release(self, stream: Stream) -> None:
        """Release a function of the peer's: no call on it follows those already made."""
        self.stop(stream)

    def reset(self, stream: Stream, code: int = ErrorCode.NONE, payload: bytes = b"") -> None:
        """Give up sending at once: what has not left is discarded. Revokes a function, closes an
        answered call of the peer's. Resetting what has ended does nothing.

        Raises:
            LocalProtocolError: we do not send on it, the call is not answered, or the reason is too large.
        """
        self._check_reason(payload)
        if isinstance(stream, Call):
            self._reset_call(stream, code, payload)
            return
        if stream.kind is Kind.FUNCTION and stream.opened_here:
            self._revoke(stream, code, payload)
            return
        half = stream.send
        if half is None:
            raise LocalProtocolError(f"{stream!r} has no half to reset; its receiver stops it.")
        if stream.retired or not half.move(HalfInput.RESET):
            return
        self._drop_outbox(half)
        if stream in self._unsent:
            # It still has to be introduced, and to end at once.
            half.outbox.append(Outgoing(FrameType.RESET, payload, code=code))
            return
        half.queue(Outgoing(FrameType.RESET, payload, code=code))
        self._scheduler.add(half)

    # --- inside ----------------------------------------------------------------------------------

    def _need_open(self, what: str) -> None:
        if self.state is not ConnectionState.OPEN:
            raise LocalProtocolError(
                f"{what} needs an open conversation, and this one is {self.state.value}; "
                "wait for HelloReceived, or make a new connection."
            )

    # --- inside: checks of commands --------------------------------------------------------------

    def _extensions(
        self, deadline: float | None, lifetime: float | None, metadata: dict[str, str] | None
    ) -> Extensions | None:
        extensions: Extensions = {}
        if deadline is not None:
            extensions[KEY_DEADLINE] = self._left(deadline)
        if lifetime is not None:
            extensions[KEY_LIFETIME] = self._left(lifetime)
        if metadata:
            size = sum(len(key.encode()) + len(value.encode()) + 8 for key, value in metadata.items())
            if size > self.peer_limits.metadata_bytes - 64:
                raise ResourceExhausted(
                    f"The call's headers take {size} bytes; the peer takes {self.peer_limits.metadata_bytes - 64}."
                )
            extensions[KEY_METADATA] = metadata
        return extensions or None

    def _left(self, when: float) -> int:
        return max(0, int((when - self._now) * MILLISECONDS))

    def _check_payload(self, payload: bytes, declare: Sequence[Declare]) -> None:
        limits = self.peer_limits
        if len(payload) > limits.message_bytes:
            raise ResourceExhausted(
                f"A value of {len(payload)} bytes is larger than the {limits.message_bytes} that the peer accepts; "
                "send it as a byte stream or in several items."
            )
        if not declare:
            return
        if len(declare) > limits.references:
            raise ResourceExhausted(
                f"{len(declare)} streams in one value are more than the {limits.references} that the peer accepts."
            )
        credited = sum(kind in CREDITED for kind, _ in declare)
        if (
            self._declared[0] + len(declare) > limits.open_streams
            or self._declared[1] + credited > limits.credited_streams
        ):
            raise ResourceExhausted(
                f"{self._declared[0]} streams are open, {self._declared[1]} of them with items, bytes or messages; "
                f"{len(declare)} more pass the peer's limit. End some first."
            )

    def _check_reason(self, payload: bytes) -> None:
        if len(payload) > self.peer_limits.reason_bytes:
            raise LocalProtocolError(
                f"A reason of {len(payload)} bytes is longer than the {self.peer_limits.reason_bytes} allowed."
            )

    def _open_half(self, stream: Stream, kind: Kind) -> SendHalf:
        half = stream.send
        if half is None or stream.kind is not kind or half.state is not HalfState.OPEN:
            raise LocalProtocolError(f"{stream!r} is not open for sending {kind.name.lower()}.")
        if not half.writable:
            raise LocalProtocolError(f"{stream!r} has no credit left; wait for StreamUnblocked.")
        return half

    # --- inside: what commands do ----------------------------------------------------------------

    def _declare(self, declare: Sequence[Declare], call: Call | None) -> tuple[Stream, ...]:
        """Make the handles of streams that a queued payload will introduce."""
        if not declare:
            return ()
        streams = tuple(Stream(kind, True, call, function) for kind, function in declare)
        for stream in streams:
            self._make_halves(stream)
            self._unsent[stream] = None
            self._count(stream, 1)
            if call is not None:
                call.owned[stream] = None
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
        half.queue(Outgoing(FrameType.ITEM, payload, declared))
        self._wake(half)
        return declared

    def _settle_with(
        self, type: FrameType, stream: Stream, payload: bytes, declare: Sequence[Declare], code: int
    ) -> tuple[Stream, ...]:
        half = stream.send
        if (
            half is None
            or half.state is not HalfState.OPEN
            or (isinstance(stream, Call) and stream.opened_here)
        ):
            raise LocalProtocolError(f"{stream!r} has already ended, or is not ours to end.")
        self._check_payload(payload, declare)
        owner = stream if isinstance(stream, Call) else stream.call
        declared = self._declare(declare, owner)
        half.queue(Outgoing(type, payload, declared, code=code))
        half.move(HalfInput.END)
        if isinstance(stream, Call):
            stream.move_incoming(IncomingInput.ANSWER_COMMANDED)
        self._wake(half)
        return declared

    def _stop_own_call(self, call: Call, code: int, payload: bytes) -> None:
        if not call.opened_here:
            raise LocalProtocolError(
                f"{call!r} is the peer's; answer it with reject(), or reset() it once answered."
            )
        before = call.outgoing
        if before is OutgoingState.QUEUED:
            call.move_outgoing(OutgoingInput.CANCELLED)
            self._drop_call_outbox(call)
            self._reject_here(call, ErrorCode.NOT_STARTED)
            self._over(call, code, payload)
        elif call.move_outgoing(OutgoingInput.CLOSED):
            self._stop_frame(call, code, payload)
            self._over(call, code, payload)
        elif call.move_outgoing(OutgoingInput.CANCELLED):
            call.why = (code, payload)
            self._drop_call_outbox(call)
            self._stop_frame(call, code, payload)

    def _reset_call(self, call: Call, code: int, payload: bytes) -> None:
        if call.opened_here or call.incoming in (IncomingState.RECEIVING, IncomingState.RUNNING):
            raise LocalProtocolError(f"{call!r} cannot be reset: answer it first, or stop it if it is ours.")
        if call.move_incoming(IncomingInput.CLOSED):
            self._scheduler.add_control(encode_frame(Reset(call.reference, code, payload)))
            self._over(call, code, payload)

    def _release(self, stream: Stream) -> None:
        if stream.retired or stream.released:
            return
        if stream.mentions:
            stream.released = True
        else:
            self._stop_frame(stream, ErrorCode.NONE, b"")
        self._retire(stream)

    def _revoke(self, stream: Stream, code: int, payload: bytes) -> None:
        if stream.retired:
            return
        if stream.number is not None:
            self._scheduler.add_control(encode_frame(Reset(stream.reference, code, payload)))
        self._retire(stream)
