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

from dataclasses import replace
from typing import Final, Literal, TypeAlias, final

from telewire.core.commands import Commands
from telewire.core.events import ConnectionClosed, Event, HelloReceived
from telewire.core.halves import Outgoing, SendHalf
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
from telewire.limits import ADVERTISED, Limits
from telewire.wire import frames as wire
from telewire.wire.codec import decode_batch, encode_batch, encode_frame
from telewire.wire.frames import Kind

__all__ = ["Connection", "Declare"]

VERSION: Final = 1
CONTROL_BYTES: Final = 16 * 1024
BATCH_HEAD_BYTES: Final = 9
SMALLEST: Final = 1024

Declare: TypeAlias = tuple[Kind, int | None]
"""A stream that a payload introduces: its kind and, for functions and channels, the exporter's number."""


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
        if side == "client" and (session_id is not None or token is not None):
            raise LocalProtocolError(
                "A client has no session_id or token of its own; the server's hello gives them."
            )
        self.side = side
        self.peer_going_away = False
        self._now = self._heard = self._spoke = self._born = now
        self._ping_number = 0
        self._ping_open = False
        self._eof = False
        self._close = wire.Close(ErrorCode.NONE)
        self._error: RemoteProtocolError | None = None
        self._session = session_id
        self._token = token
        if side == "server":
            self._say_hello()

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
        if self.state not in (ConnectionState.OPENING, ConnectionState.OPEN):
            return
        try:
            for frame in decode_batch(batch, self.limits):
                if self.state is ConnectionState.OPEN and type(frame) is not wire.Close:
                    self._receive(frame)
                elif not self._receive_handshake(frame):
                    return
            if len(self._scheduler.control) > self.limits.open_streams + self.limits.open_calls:
                raise RemoteProtocolError(
                    f"{len(self._scheduler.control)} frames wait to leave because of what the peer sent; "
                    "it must read more or send less.",
                    ErrorCode.LIMIT_EXCEEDED,
                )
        except RemoteProtocolError as error:
            self._violated(error)

    def receive_bytes(self, now: float) -> None:
        """Note bytes that are no whole batch yet: any byte is a sign of life."""
        self._now = self._heard = now
        self._ping_open = False

    def receive_eof(self, now: float) -> None:
        """Learn that the transport is gone. Everything open is settled by events; the last says so."""
        self._now = now
        self._eof = True
        before = self.state
        if not self._move(ConnectionInput.TRANSPORT_LOST):
            return
        if before is not ConnectionState.CLOSING:
            self._settle_all(ErrorCode.SESSION_LOST)
            self._events.append(
                ConnectionClosed(ErrorCode.SESSION_LOST, "The transport is gone.", by_peer=True)
            )
        else:
            self._finish_close()

    def handle_timeout(self, now: float) -> None:
        """Do what is due at ``now``; call it when :meth:`next_timeout` has come."""
        self._now = now
        if self.state is ConnectionState.OPENING and now >= self._born + self.limits.hello_seconds:
            self._violated(
                RemoteProtocolError(
                    f"No hello arrived within {self.limits.hello_seconds:g} seconds.", ErrorCode.HELLO_TIMEOUT
                )
            )
        if self.state is not ConnectionState.OPEN:
            return
        for timer in self._timers.due(now):
            if timer.call.opened_here:
                self._settle(timer.call, ErrorCode.DEADLINE_EXCEEDED)
            else:
                self._refuse_open_call(timer.call, ErrorCode.DEADLINE_EXCEEDED)
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
        when the peer has granted it. After the close has been returned, close the transport.
        """
        if self.state is ConnectionState.CLOSED:
            return []
        scheduler = self._scheduler
        frames: list[bytes] = []
        size = 0
        while size < max_bytes:
            spent = 0
            while scheduler.control and spent < CONTROL_BYTES and size < max_bytes:
                frame = scheduler.next_control()
                frames.append(frame)
                spent += len(frame)
                size += len(frame)
            if not scheduler.control:
                self._pings = 0
            emitted = scheduler.next_data(self._numbers) if scheduler.ring else None
            if emitted is None:
                if scheduler.control and size < max_bytes:
                    continue
                break
            half, frame, done = emitted
            frames.append(frame)
            size += len(frame)
            self._emitted(half, done)
        if self.state is ConnectionState.CLOSING and scheduler.idle:
            frames.append(encode_frame(self._close))
            self._move(ConnectionInput.CLOSE_EMITTED)
            self._finish_close()
        if not frames:
            return []
        self._spoke = self._now
        return self._cut(frames, size)

    def next_timeout(self) -> float | None:
        """When to call :meth:`handle_timeout`, on the clock that ``now`` comes from."""
        if self.state is ConnectionState.OPENING:
            return self._born + self.limits.hello_seconds
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

        What is queued and has its credit leaves before it. Closing twice does nothing.
        """
        if not self._move(ConnectionInput.CLOSE_COMMANDED):
            return
        self._close = wire.Close(code, text)

    # --- inside ----------------------------------------------------------------------------------

    def _move(self, signal: ConnectionInput) -> bool:
        state = advance(CONNECTION, self.state, signal)
        if state is None:
            return False
        self.state = state
        return True

    def _say_hello(self) -> None:
        limits = {number: getattr(self.limits, name) for number, name in ADVERTISED.items()}
        hello = wire.Hello(VERSION, VERSION, (), limits, self._session, self._token)
        self._scheduler.add_control(encode_frame(hello))

    def _receive_handshake(self, frame: wire.Frame) -> bool:
        """A close, or what comes before the conversation is open; false where nothing may follow."""
        if isinstance(frame, wire.Close):
            self._move(ConnectionInput.CLOSE_RECEIVED)
            self._settle_all(frame.code)
            self._events.append(ConnectionClosed(frame.code, frame.text, by_peer=True))
            return False
        if not isinstance(frame, wire.Hello):
            raise RemoteProtocolError(
                f"The conversation began with {type(frame).__name__} and not with a hello.",
                ErrorCode.INVALID_STATE,
            )
        if not frame.version_min <= VERSION <= frame.version_max:
            raise RemoteProtocolError(
                f"The peer speaks versions {frame.version_min} to {frame.version_max}, we speak {VERSION}.",
                ErrorCode.VERSION_MISMATCH,
            )
        if self.side == "server" and (frame.session is not None or frame.token is not None):
            raise RemoteProtocolError(
                "A client's hello names no session and no token.", ErrorCode.INVALID_FRAME
            )
        self._check_extensions(frame.extensions, "HELLO")
        self.peer_limits = self._read_limits(frame.limits)
        self._move(ConnectionInput.HELLO_RECEIVED)
        if self.side == "client":
            self._say_hello()
            self._session, self._token = frame.session, frame.token
        self._events.append(HelloReceived(VERSION, frozenset(), self.peer_limits, frame.session))
        return True

    def _read_limits(self, advertised: dict[int, int]) -> Limits:
        """The peer's limits; a bound that would leave no room for one payload is refused."""
        known = {ADVERTISED[number]: value for number, value in advertised.items() if number in ADVERTISED}
        limits = replace(Limits(), **known)
        smallest = min(limits.fragment_bytes, limits.stream_window, limits.message_bytes)
        if (
            smallest < SMALLEST
            or limits.batch_bytes < limits.fragment_bytes + SMALLEST
            or not 1 <= limits.item_cost <= limits.stream_window // 4
            or limits.batch_frames < 1
        ):
            raise RemoteProtocolError(
                "The peer's hello advertises limits too small to send one payload.", ErrorCode.INVALID_FRAME
            )
        return limits

    def _violated(self, error: RemoteProtocolError) -> None:
        """Turn a broken rule into a close: the one place where that is done."""
        self._move(ConnectionInput.VIOLATED)
        self._error = error
        self._close = wire.Close(error.code, str(error)[:200])
        self._settle_all(error.code)

    def _finish_close(self) -> None:
        self._settle_all(self._close.code)
        self._events.append(
            ConnectionClosed(self._close.code, self._close.text, by_peer=False, error=self._error)
        )

    def _emitted(self, half: SendHalf, done: Outgoing | None) -> None:
        """Follow up on a data frame that has just left."""
        stream = half.stream
        if isinstance(stream, Call) and stream.outgoing is OutgoingState.QUEUED and stream.opened_here:
            assert stream.number is not None
            self._ours[stream.number] = stream
            del self._unsent[stream]
            stream.move_outgoing(OutgoingInput.EMITTED)
            self._mention(stream.target, -1)
        if done is not None:
            self._finish_outbox(half, done)
        if half.wanted:
            self._unblock(half)

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
