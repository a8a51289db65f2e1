"""Connection: one conversation as a pure machine; the only public machine of telewire.

Feed it batches and commands, then always, in this order: write :meth:`Connection.data_to_send`, arm
:meth:`Connection.next_timeout`, hand out :meth:`Connection.events_received`.

* Inputs (``receive_data``, ``receive_eof``, ``handle_timeout``) take the time as ``now``, in seconds
  of any clock that does not go back. They never raise for what the peer did.
* Commands check everything first and then act: one that raises has changed nothing.
* Payloads are encoded values; the core counts and moves them and never looks inside.

It reads no clock, rolls no dice, awaits nothing and logs nothing.
"""

from __future__ import annotations

from typing import Final, Literal, final

from telewire.core.checks import Declare
from telewire.core.commands import Commands
from telewire.core.events import ConnectionClosed, Event, HelloReceived
from telewire.core.halves import Outgoing, SendHalf
from telewire.core.ids import LAST
from telewire.core.negotiation import VERSION, make_hello, read_hello, too_small
from telewire.core.states import (
    CONNECTION,
    ConnectionInput,
    ConnectionState,
    OutgoingInput,
    OutgoingState,
    advance,
)
from telewire.core.streams import Call
from telewire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from telewire.limits import Limits
from telewire.wire import frames as wire
from telewire.wire.codec import decode_batch, encode_batch, encode_frame

__all__ = ["Connection", "Declare"]

# A member costs as much as a call where it is looked up through its class (CPython 3.11).
_OPEN: Final = ConnectionState.OPEN
_EMITTED: Final = OutgoingInput.EMITTED

BATCH_HEAD_BYTES: Final = 9
IDENTITY_BYTES: Final = 64
TEXT_CHARACTERS: Final = 200


@final
class Connection(Commands):
    """One conversation, as ``"client"`` or ``"server"``.

    Both sides are equal once the hellos have crossed: either may call the other.

    Args:
        side: a server speaks first, so only it has the next two.
        limits: what we accept; advertised to the peer where it must know.
        session_id: names the session; random bytes of yours, never reused.
        token: proves that a later transport belongs to it; at least 16 random bytes of yours.
        now: the time at which the transport came up.

    Raises:
        LocalProtocolError: the limits leave no room for a payload, or a session was named wrongly.
    """

    def __init__(
        self,
        side: Literal["client", "server"],
        *,
        limits: Limits | None = None,
        session_id: bytes | None = None,
        token: bytes | None = None,
        now: float = 0.0,
    ) -> None:
        super().__init__(limits or Limits())
        self._check_own(side, session_id, token)
        self.side = side
        self._now = self._heard = self._born = now
        self._closing_until = now
        self._ping_number = 0
        self._ping_open = False
        self._eof = False
        self._close = wire.Close(ErrorCode.NONE)
        self._close_left = False
        self._error: RemoteProtocolError | None = None
        self._hello = encode_frame(make_hello(self.limits, session_id, token))
        if side == "server":
            self._scheduler.add_control(self._hello)

    # --- inputs ----------------------------------------------------------------------------------

    def receive_data(self, batch: bytes, now: float) -> None:
        """Take one whole batch from the transport.

        A batch that breaks a rule closes the connection: the last event says why, and the close
        that tells the peer is in :meth:`data_to_send`. What arrives after a close is ignored.

        Raises:
            LocalProtocolError: :meth:`receive_eof` was called before.
        """
        if self._eof:
            raise LocalProtocolError("receive_data() was called after receive_eof(); attach a new transport.")
        self._now = self._heard = now
        self._ping_open = False
        if self.state is not _OPEN and self.state is not ConnectionState.OPENING:
            return
        try:
            for frame in decode_batch(batch, self.limits):
                if self.state is _OPEN and type(frame) is not wire.Close:
                    self._receive(frame)
                elif not self._receive_handshake(frame):
                    return
        except RemoteProtocolError as error:
            self._violated(error)

    def receive_bytes(self, now: float) -> None:
        """Note bytes that are no whole batch yet: any byte is a sign of life."""
        self._now = self._heard = now
        self._ping_open = False

    def receive_eof(self, now: float) -> None:
        """Learn that the transport is gone. Everything open is settled by events; the last says so."""
        self._now = now
        self._eof = self._close_left = True
        closing = self.state is ConnectionState.CLOSING
        if not self._move(ConnectionInput.TRANSPORT_LOST):
            return
        if closing:
            self._finish_close()
        else:
            self._settle_all(ErrorCode.SESSION_LOST)
            self._events.append(
                ConnectionClosed(ErrorCode.SESSION_LOST, "The transport is gone.", by_peer=True)
            )

    def handle_timeout(self, now: float) -> None:
        """Do what is due at ``now``; call it when :meth:`next_timeout` has come."""
        self._now = now
        if self.state is ConnectionState.OPENING and now >= self._born + self.limits.hello_seconds:
            self._violated(
                RemoteProtocolError(
                    f"No hello arrived within {self.limits.hello_seconds:g} seconds.", ErrorCode.HELLO_TIMEOUT
                )
            )
        if self.state is ConnectionState.CLOSING and now >= self._closing_until:
            self._move(ConnectionInput.PATIENCE_ENDED)
            self._finish_close()
        if self.state is not ConnectionState.OPEN:
            return
        try:
            for timer in self._timers.due(now):
                self._refuse_stream(timer.call, ErrorCode.DEADLINE_EXCEEDED)
        except RemoteProtocolError as error:
            self._violated(error)
            return
        if now >= self._heard + self.limits.dead_seconds:
            self._violated(
                RemoteProtocolError(
                    f"The peer was silent for {self.limits.dead_seconds:g} seconds.", ErrorCode.IDLE_TIMEOUT
                )
            )
        elif now >= self._heard + self.limits.idle_seconds and not self._ping_open:
            self._ping_open = True
            self._ping_number += 1
            self._scheduler.add_control(encode_frame(wire.Ping(self._ping_number)))

    # --- outputs ---------------------------------------------------------------------------------

    def data_to_send(self, max_bytes: int = 65536) -> list[bytes]:
        """Batches for the transport, in order: about ``max_bytes``, one frame more at most.

        At least one frame, if one may leave. Empty when nothing may; what waits for credit comes
        when the peer has granted it. Once ``state`` is CLOSED, write what this returns, if the
        transport takes it, and close the transport.
        """
        if self.state is ConnectionState.CLOSED:
            return self._last_words()
        scheduler = self._scheduler
        frames: list[bytes] = []
        size = 0
        while not frames or size < max_bytes:
            frame = scheduler.next_control() if scheduler.control or scheduler.grants else None
            if frame is None:
                emitted = scheduler.next_data(self._numbers, self._now)
                if emitted is None:
                    if scheduler.ahead:
                        continue
                    break
                half, frame, done = emitted
                if not isinstance(half, Call):
                    self._emitted(half, done)
                elif half.opened_here:
                    self._call_emitted(half)
                else:
                    self._answer_emitted(half, half.code != 0)
            frames.append(frame)
            size += len(frame)
        if not scheduler.control:
            self._pings = self._forced = 0
        batches = self._cut(frames, size) if frames else []
        if self.state is ConnectionState.CLOSING and scheduler.idle and (not frames or size < max_bytes):
            self._move(ConnectionInput.CLOSE_EMITTED)
            self._finish_close()
            batches += self._last_words()
        return batches

    def _last_words(self) -> list[bytes]:
        """The close, once, where this side closes."""
        if self._close_left:
            return []
        self._close_left = True
        return [encode_batch([encode_frame(self._close)])]

    def next_timeout(self) -> float | None:
        """When to call :meth:`handle_timeout`, on the clock that ``now`` comes from."""
        if self.state is ConnectionState.OPENING:
            return self._born + self.limits.hello_seconds
        if self.state is ConnectionState.CLOSING:
            return self._closing_until
        if self.state is not ConnectionState.OPEN:
            return None
        silence = self.limits.dead_seconds if self._ping_open else self.limits.idle_seconds
        liveness = self._heard + silence
        deadline = self._timers.next()
        return liveness if deadline is None or liveness < deadline else deadline

    def events_received(self) -> list[Event]:
        """What has happened since the last call, in order."""
        events = self._events
        self._events = []
        return events

    @property
    def has_events(self) -> bool:
        """Whether :meth:`events_received` would return any."""
        return bool(self._events)

    def close(self, code: int = ErrorCode.NONE, text: str = "") -> None:
        """Close the conversation: everything open ends here, and the close leaves last.

        What is queued and has its credit leaves before it, within ``cleanup_seconds``. Closing
        twice does nothing.

        Raises:
            LocalProtocolError: the code or the text is not allowed.
        """
        self._check_ending(code, text)
        if self._move(ConnectionInput.CLOSE_COMMANDED):
            self._close = wire.Close(code, text)
            self._closing_until = self._now + self.limits.cleanup_seconds

    # --- inside ----------------------------------------------------------------------------------

    def _move(self, signal: ConnectionInput) -> bool:
        state = advance(CONNECTION, self.state, signal)
        if state is None:
            return False
        self.state = state
        return True

    def _check_own(self, side: str, session_id: bytes | None, token: bytes | None) -> None:
        """What the application may not choose (TW-NEG-011, TW-LIM-003, TW-STR-045)."""
        if side == "client" and (session_id is not None or token is not None):
            raise LocalProtocolError(
                "A client has no session_id or token of its own; the server's hello gives them."
            )
        if (session_id is None) is not (token is None):
            raise LocalProtocolError("A server names both session_id and token, or neither.")
        if len(session_id or b"") > IDENTITY_BYTES or len(token or b"") > IDENTITY_BYTES:
            raise LocalProtocolError(f"session_id and token have at most {IDENTITY_BYTES} bytes.")
        problem = too_small(self.limits)
        if problem is not None:
            raise LocalProtocolError(f"These limits leave no room: {problem}")
        if self.limits.message_bytes > self.limits.session_budget // 2:
            raise LocalProtocolError(
                f"message_bytes is {self.limits.message_bytes}; it must be at most half of session_budget, "
                f"{self.limits.session_budget}."
            )

    def _receive_handshake(self, frame: wire.Frame) -> bool:
        """A close, or what comes before the conversation is open; false where nothing may follow."""
        if isinstance(frame, wire.Close):
            self._move(ConnectionInput.CLOSE_RECEIVED)
            self._close_left = True
            self._settle_all(frame.code)
            self._events.append(ConnectionClosed(frame.code, frame.text, by_peer=True))
            return False
        if not isinstance(frame, wire.Hello):
            raise RemoteProtocolError(
                f"The conversation began with {type(frame).__name__} and not with a hello.",
                ErrorCode.INVALID_STATE,
            )
        self.peer_limits = read_hello(frame, self.side == "server")
        self._check_extensions(frame.extensions, "HELLO")
        self._move(ConnectionInput.HELLO_RECEIVED)
        if self.side == "client":
            self._scheduler.add_control(self._hello)
        self._events.append(HelloReceived(VERSION, frozenset(), self.peer_limits, frame.session))
        return True

    def _violated(self, error: RemoteProtocolError) -> None:
        """Turn a broken rule into a close: the one place where that is done."""
        self._move(ConnectionInput.VIOLATED)
        self._error = error
        text = str(error).encode("ascii", "backslashreplace").decode()
        self._close = wire.Close(error.code, text[: min(TEXT_CHARACTERS, self.peer_limits.reason_bytes)])
        self._closing_until = self._now + self.limits.cleanup_seconds
        self._settle_all(error.code)

    def _finish_close(self) -> None:
        self._settle_all(self._close.code)
        self._events.append(
            ConnectionClosed(self._close.code, self._close.text, by_peer=False, error=self._error)
        )

    def _emitted(self, half: SendHalf, done: Outgoing | None) -> None:
        """Follow up on a data frame of a half that has just left."""
        stream = half.stream
        if isinstance(stream, Call) and stream.outgoing is OutgoingState.QUEUED and stream.opened_here:
            self._call_emitted(stream)
        if done is not None:
            self._finish_outbox(half, done)
            if done.declared:
                self._numbers_taken()
        if half.wanted:
            self._unblock(half)

    def _call_emitted(self, call: Call) -> None:
        """Enter a call of ours whose first frame has just left."""
        assert call.number is not None
        self._ours[call.number] = call
        del self._unsent[call]
        call.move_outgoing(_EMITTED)
        if not isinstance(call.target, str):
            self._mention(call.target, -1)
        if self._numbers.next >= self._numbers.calls_below:
            self._numbers_taken()

    def _numbers_taken(self) -> None:
        """Stop in time where our numbers, or those that the peer still accepts, come to an end."""
        if self._numbers.next >= self._numbers.calls_below:
            self._give_up_unsent()
        if self._numbers.next >= LAST:
            self.close(ErrorCode.NONE, "The numbers of this side are used up.")

    def _cut(self, frames: list[bytes], size: int) -> list[bytes]:
        """Cut frames into batches that the peer accepts."""
        limits = self.peer_limits
        room = limits.batch_bytes - BATCH_HEAD_BYTES
        if size <= room and len(frames) <= limits.batch_frames:
            return [encode_batch(frames)]
        batches: list[bytes] = []
        begin = filled = 0
        for index, frame in enumerate(frames):
            if index > begin and (filled + len(frame) > room or index - begin >= limits.batch_frames):
                batches.append(encode_batch(frames[begin:index]))
                begin, filled = index, 0
            filled += len(frame)
        batches.append(encode_batch(frames[begin:]))
        return batches
