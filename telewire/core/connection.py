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

from hmac import compare_digest
from typing import Final, Literal, final

from telewire.core.checks import Declare
from telewire.core.commands import Commands
from telewire.core.events import ConnectionClosed, Event, HelloReceived, SessionDetached, SessionResumed
from telewire.core.halves import Outgoing, SendHalf
from telewire.core.ids import LAST
from telewire.core.negotiation import RESUME, VERSION, make_hello, read_hello, too_small
from telewire.core.states import (
    CONNECTION,
    ConnectionInput,
    ConnectionState,
    LinkInput,
    LinkState,
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
_ATTACHED: Final = LinkState.ATTACHED
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
        resume: offer to go on over another transport when this one is lost; a server must name its
            session for that.
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
        resume: bool = True,
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
        self._session_id = session_id
        self._token = token
        self._offers_resume = resume and (side == "client" or session_id is not None)
        self._resume = b""
        self._expires = now
        self._hello = encode_frame(make_hello(self.limits, session_id, token, self._offers_resume))
        if side == "server":
            self._scheduler.add_sign(self._hello)

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
        self._unpositioned = 0
        try:
            frames = decode_batch(batch, self.limits)
            for frame in frames:
                if self.state is _OPEN and self.link is _ATTACHED and type(frame) is not wire.Close:
                    self._receive(frame)
                elif not self._receive_handshake(frame):
                    return
        except RemoteProtocolError as error:
            self._violated(error)
            return
        if self._arrivals is not None:
            self._arrivals.note(len(frames) - self._unpositioned, len(batch), now)

    def receive_bytes(self, now: float) -> None:
        """Note bytes that are no whole batch yet: any byte is a sign of life."""
        self._now = self._heard = now
        self._ping_open = False

    def receive_eof(self, now: float) -> None:
        """Learn that the transport is gone.

        A session is detached and waits for :meth:`attach` or :meth:`resume`; without one, everything
        open is settled by events, and the last says so.
        """
        self._now = now
        self._eof = True
        if self.state is _OPEN and self.resumable:
            self._detach("The transport is gone.")
            return
        self._close_left = True
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
        if self.link is not _ATTACHED and now >= self._expires:
            self._lose_session(f"No transport came back within {self.limits.resume_seconds:g} seconds.")
            return
        try:
            for timer in self._timers.due(now):
                self._refuse_stream(timer.call, ErrorCode.DEADLINE_EXCEEDED)
        except RemoteProtocolError as error:
            self._violated(error)
            return
        if self.link is not _ATTACHED:
            return
        if now >= self._heard + self.limits.dead_seconds:
            text = f"The peer was silent for {self.limits.dead_seconds:g} seconds."
            if self.resumable:
                self._eof = True
                self._detach(text)
            else:
                self._violated(RemoteProtocolError(text, ErrorCode.IDLE_TIMEOUT))
        elif now >= self._heard + self.limits.idle_seconds and not self._ping_open:
            self._ping_open = True
            self._ping_number += 1
            self._scheduler.add_sign(encode_frame(wire.Ping(self._ping_number)))

    # --- outputs ---------------------------------------------------------------------------------

    def data_to_send(self, max_bytes: int = 65536) -> list[bytes]:
        """Batches for the transport, in order: about ``max_bytes``, one frame more at most.

        At least one frame, if one may leave. Empty when nothing may; what waits for credit comes
        when the peer has granted it. Once ``state`` is CLOSED, write what this returns, if the
        transport takes it, and close the transport.
        """
        if self.state is ConnectionState.CLOSED:
            return self._last_words()
        if self.link is not _ATTACHED:
            return self._take_resume()
        self._acknowledge(self._now)
        scheduler = self._scheduler
        departures = self._departures
        frames: list[bytes] = scheduler.take_signs(max_bytes) if scheduler.signs else []
        size = sum(map(len, frames))
        if departures is not None and departures.again and (not frames or size < max_bytes):
            frames += departures.take_again(max_bytes - size)
            size = sum(map(len, frames))
        if scheduler.signs or (departures is not None and departures.again):
            return self._cut(frames, size)
        old, before = len(frames), size
        while not frames or size < max_bytes:
            if departures is not None and not departures.has_room(size - before):
                break
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
        if departures is not None and size > before:
            departures.emit(frames[old:], size - before)
        self._pings = 0
        if not scheduler.control:
            self._forced = 0
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
        when = self._expires
        if self.link is _ATTACHED:
            when = self._heard + silence
            if self._arrivals is not None and self._arrivals.due is not None:
                when = min(when, self._arrivals.due)
        deadline = self._timers.next()
        return when if deadline is None or when < deadline else deadline

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
            if self.link is not _ATTACHED:
                # Nobody is there to be told.
                self._close_left = True
                self._move(ConnectionInput.TRANSPORT_LOST)
                self._finish_close()

    # --- sessions --------------------------------------------------------------------------------

    def attach(self, now: float) -> None:
        """Go on over a new transport, as the client: its first batch is then in :meth:`data_to_send`.

        The server's answer is the event SessionResumed, or the end of the conversation.

        Raises:
            LocalProtocolError: there is nothing to resume, or the old transport has not been lost.
        """
        if self.side == "server" or self.state is not _OPEN or self.link is _ATTACHED:
            raise LocalProtocolError(
                f"attach() is for a client whose transport is lost; this {self.side} is {self.state.value} "
                f"and {self.link.value}. Call receive_eof() first; a server is resumed by its Acceptor."
            )
        self._move_link(LinkInput.LOST)
        self._move_link(LinkInput.RESUME_EMITTED)
        assert self._session_id is not None
        assert self._token is not None
        assert self._arrivals is not None
        self._attempt += 1
        self._resume = encode_frame(
            wire.Resume(self._session_id, self._token, self._attempt, self._arrivals.acknowledged())
        )
        self._begin_transport(now)

    def resume(self, attempt: int, received: int, now: float) -> bool:
        """Go on over a new transport, as the server: what :class:`Acceptor` calls for a RESUME.

        The new transport wins, also where the old one still looks alive: give this connection nothing
        more of that. False where an attempt with this number, or a higher one, has been here: then
        nothing has changed, and the new transport is to be closed (TW-SES-035).

        Raises:
            LocalProtocolError: the conversation cannot be resumed.
        """
        if self.side == "client" or self.state is not _OPEN or self._arrivals is None:
            raise LocalProtocolError(f"This {self.side} is {self.state.value} and keeps no session.")
        if attempt <= self._attempt:
            return False
        self._attempt = attempt
        self._now = now
        if self.link is _ATTACHED:
            self._detach("Another transport has taken its place.")
        self._begin_transport(now)
        self._move_link(LinkInput.RESUMED)
        self._scheduler.add_sign(encode_frame(wire.Resumed(attempt, self._arrivals.acknowledged())))
        self._go_on(received)
        return True

    def matches(self, token: bytes) -> bool:
        """Whether ``token`` is that of this session; takes the same time for all that are not."""
        return self._token is not None and compare_digest(self._token, token)

    @property
    def session_id(self) -> bytes | None:
        """What names the session: the server's own, or what its hello said."""
        return self._session_id

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
            if frame.code == ErrorCode.SESSION_LOST:
                self._note_missing()
            self._settle_all(frame.code)
            self._events.append(ConnectionClosed(frame.code, frame.text, by_peer=True))
            return False
        if self.link is not _ATTACHED:
            return self._receive_resumption(frame)
        if isinstance(frame, wire.Resume) and self.side == "server":
            raise RemoteProtocolError("This server keeps no such session.", ErrorCode.SESSION_LOST)
        if not isinstance(frame, wire.Hello):
            raise RemoteProtocolError(
                f"The conversation began with {type(frame).__name__} and not with a hello.",
                ErrorCode.INVALID_STATE,
            )
        self.peer_limits = read_hello(frame, self.side == "server")
        self._check_extensions(frame.extensions, "HELLO")
        self._move(ConnectionInput.HELLO_RECEIVED)
        self._unpositioned += 1
        if self.side == "client":
            self._scheduler.add_sign(self._hello)
            self._session_id, self._token = frame.session, frame.token
        features = frozenset[int]()
        if self._offers_resume and RESUME in frame.features and self._session_id is not None:
            features = frozenset((RESUME,))
            self._begin_session()
        self._events.append(HelloReceived(VERSION, features, self.peer_limits, frame.session))
        return True

    def _receive_resumption(self, frame: wire.Frame) -> bool:
        """What comes on a new transport before the session is attached to it (TW-SES-031)."""
        self._unpositioned += 1
        if isinstance(frame, wire.Hello):
            return True
        if not isinstance(frame, wire.Resumed) or frame.attempt != self._attempt:
            raise RemoteProtocolError(
                f"The answer to attempt {self._attempt} to resume was {type(frame).__name__}.",
                ErrorCode.INVALID_STATE,
            )
        self._check_extensions(frame.extensions, "RESUMED")
        self._move_link(LinkInput.RESUMED)
        self._go_on(frame.received)
        return self.state is _OPEN

    def _go_on(self, received: int) -> None:
        """Replay from the number that the peer stated, then go on."""
        try:
            self._rewind(received)
        except RemoteProtocolError as error:
            self._violated(error)
        else:
            self._events.append(SessionResumed())

    def _begin_transport(self, now: float) -> None:
        """Forget what concerned the old transport only."""
        self._now = self._heard = now
        self._eof = self._ping_open = False
        self._pings = 0
        self._scheduler.signs.clear()

    def _take_resume(self) -> list[bytes]:
        """What a client says first on a new transport, once."""
        resume, self._resume = self._resume, b""
        return [encode_batch([resume])] if resume else []

    def _detach(self, text: str) -> None:
        """Go on without a transport, for a while."""
        if self.link is _ATTACHED:
            self._expires = self._now + self.limits.resume_seconds
            self._events.append(SessionDetached(text))
            for call in self._unresumable_calls():
                self._refuse_stream(call, ErrorCode.SESSION_LOST)
        self._resume = b""
        self._move_link(LinkInput.LOST)

    def _lose_session(self, text: str) -> None:
        """End what cannot be resumed any more."""
        self._close_left = True
        self._move(ConnectionInput.TRANSPORT_LOST)
        self._note_missing()
        self._settle_all(ErrorCode.SESSION_LOST)
        self._events.append(ConnectionClosed(ErrorCode.SESSION_LOST, text, by_peer=False))

    def _violated(self, error: RemoteProtocolError) -> None:
        """Turn a broken rule into a close: the one place where that is done."""
        # While resuming, the close is all that is said on the new transport.
        self._move_link(LinkInput.RESUMED)
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
