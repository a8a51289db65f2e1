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

from collections.abc import Sequence
from typing import Final, Literal, final

from telewire.core.arrivals import KEPT_BYTES
from telewire.core.checks import Declare
from telewire.core.events import ConnectionClosed, Event, HelloReceived
from telewire.core.exchange import UNLIMITED, without_credit
from telewire.core.flow import Pool
from telewire.core.halves import Outgoing, SendHalf
from telewire.core.ids import LAST
from telewire.core.negotiation import RESUME, USUAL, VERSION, make_hello, read_hello, too_small
from telewire.core.placing import into_batches
from telewire.core.promoting import Promoting
from telewire.core.replay import Departures
from telewire.core.resuming import IDENTITY_BYTES
from telewire.core.states import (
    ConnectionInput,
    ConnectionState,
    LinkState,
    OutgoingInput,
    OutgoingState,
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
_QUEUED: Final = OutgoingState.QUEUED

MOST_PINGS: Final = 4
"""How many pings may wait for their pong (TW-NEG-063)."""
SIGN_OF_LIFE: Final = encode_frame(wire.Pong(0))
"""It answers nothing: our pings are numbered from 1, and so should the peer's be (TW-NEG-066)."""


@final
class Connection(Promoting):
    """One conversation, as ``"client"`` or ``"server"``.

    Both sides are equal once the hellos have crossed: either may call the other.

    Args:
        side: a server speaks first, so only it has a session.
        limits: what we accept; advertised to the peer where it must know.
        session_id: names the session; random bytes of yours, never reused.
        token: proves that a later transport belongs to it; at least 16 random bytes of yours.
        resume: offer to go on over another transport when this one is lost; a server must name its
            session for that.
        now: the time at which the transport came up.
        exchange: the conversation is one call of the client's, which it may make at once, over one HTTP
            request (TW-SES-070). Then the application obeys ``readable``, ends the request where
            ``said_all`` is true, and says with :meth:`receive_end` that the request has ended.
        promotion: of an exchange: let it go on as a session where its answer needs one (TW-SES-081).
        peer_limits: of an exchange's client: what the server stated in an earlier one.
        pool: what the session budget and the replay buffer are drawn from, with those of other
            connections (TW-LIM-020).

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
        exchange: bool = False,
        promotion: bool = False,
        peer_limits: Limits | None = None,
        pool: Pool | None = None,
    ) -> None:
        own = limits or USUAL
        if exchange and side == "server":
            own = own.of_exchanges()
        super().__init__(without_credit(own) if exchange else own, side, exchange, own)
        self._budget.pool = pool
        self._check_own(own, session_id, token)
        self._now = self._heard = self._born = self._beat = self._expires = now
        self._session_id = session_id
        self._token = token
        self._offers_resume = resume and not exchange and (side == "client" or session_id is not None)
        stated, offered = self.limits, self._offers_resume
        if exchange and promotion:
            self._offer_promotion()
            stated, offered = own, True
        self._hello = encode_frame(make_hello(stated, session_id, token, offered))
        if (side == "server") is not exchange:
            self._scheduler.add_sign(self._hello)
        if exchange:
            self._take_peer_limits(without_credit((peer_limits or USUAL).as_assumed()))
            self._scheduler.one_payload = True

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
        if self._peer_closed or (self.state is not _OPEN and self.state is not ConnectionState.OPENING):
            return
        try:
            frames = decode_batch(batch, self.limits)
        except RemoteProtocolError as error:
            self._violated(error)
            return
        self.take_frames(frames, len(batch), now)

    def take_frames(self, frames: Sequence[wire.Frame], size: int, now: float) -> None:
        """Take the frames of a batch of ``size`` bytes: what :meth:`receive_data` does with them."""
        self._unpositioned = 0
        try:
            if self.states_positions:
                frames = self._take_new(frames, now)
            for frame in frames:
                if self.state is _OPEN and self.link is _ATTACHED and type(frame) is not wire.Close:
                    self._receive(frame)
                elif not self._receive_handshake(frame):
                    return
        except RemoteProtocolError as error:
            self._violated(error)
            return
        if self._arrivals is not None:
            self._arrivals.note(len(frames) - self._unpositioned, size, now)
            if self._in_request and self._requested:
                self._note_again(size)
        else:
            self._taken += len(frames) - self._unpositioned

    def grant_again(self) -> None:
        """Grant what has waited for the pool; owed to each connection that draws from it, when it says so."""
        self._lend()

    def receive_violation(self, error: RemoteProtocolError, now: float) -> None:
        """Refuse what the transport brought in place of a batch: a text, or more than ``batch_bytes``.

        For adapters, which see that before they have all of it and keep nothing (TW-FRM-004). It closes
        the connection as a batch that breaks a rule does, with the code of ``error``.

        Raises:
            LocalProtocolError: :meth:`receive_eof` was called before.
        """
        if self._eof:
            raise LocalProtocolError("receive_violation() was called after receive_eof().")
        self._now = self._heard = now
        if not self._peer_closed and self.state in (_OPEN, ConnectionState.OPENING):
            self._violated(error)

    def receive_bytes(self, now: float) -> bool:
        """Note bytes that are no whole batch yet: any byte is a sign of life.

        True where one of ours is in :meth:`data_to_send`: who sends a frame over a slow link hears
        nothing meanwhile, and would take us for dead (TW-NEG-066).
        """
        self._now = self._heard = now
        self._ping_open = False
        if (
            now < self._beat + self.limits.idle_seconds
            or self.exchange
            or self.state is not _OPEN
            or self.link is not _ATTACHED
            or self._scheduler.ahead
        ):
            return False
        self._beat = now
        self._scheduler.add_sign(SIGN_OF_LIFE)
        return True

    def receive_eof(self, now: float) -> None:
        """Learn that the transport is gone.

        A session is detached and waits for :meth:`attach` or :meth:`resume`; without one, everything
        open is settled by events, and the last says so.
        """
        self._now = now
        self._eof = True
        promoting = bool(self._second_hello)
        if self.state is _OPEN and self.resumable and not promoting:
            self._detach("The transport is gone.")
            return
        self._close_left = True
        closing = self.state is ConnectionState.CLOSING
        if self._peer_closed or not self._move(ConnectionInput.TRANSPORT_LOST):
            return
        if closing:
            self._finish_close()
        else:
            # Of a promotion that has not left nobody knows.
            cancelled = (self.exchange and self.side == "server") or promoting
            self._settle_all(ErrorCode.CANCELLED if cancelled else ErrorCode.SESSION_LOST)
            self._events.append(
                ConnectionClosed(ErrorCode.SESSION_LOST, "The transport is gone.", by_peer=True)
            )

    def receive_end(self, now: float) -> None:
        """Learn, as an exchange's server, that the request has ended; the transport goes on."""
        self._now = now
        if self.promoted:
            if self._in_request:
                self._end_request()
            return
        self.heard_all = True
        if self.state in (ConnectionState.OPENING, ConnectionState.OPEN) and self._is_missing():
            self._violated(
                RemoteProtocolError("The request ended before what it had begun.", ErrorCode.INVALID_STATE)
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
        if self.state is not ConnectionState.OPEN and not (
            self.exchange and self.state is ConnectionState.OPENING
        ):
            return
        if self.link is not _ATTACHED and now >= self._expires:
            self._lose_session(f"No transport came back within {self.limits.resume_seconds:g} seconds.")
            return
        try:
            for timer in self._timers.due(now):
                # One that was due at the same time may have ended this call, too.
                if timer.timed:
                    self._refuse_stream(timer.call, ErrorCode.DEADLINE_EXCEEDED)
        except RemoteProtocolError as error:
            self._violated(error)
            return
        if self.exchange:
            self._exchange_due(now)
        elif self.link is not _ATTACHED:
            return
        elif now >= self._heard + self.limits.dead_seconds:
            text = f"The peer was silent for {self.limits.dead_seconds:g} seconds."
            if self.resumable:
                self._eof = True
                self._detach(text)
            else:
                self._violated(RemoteProtocolError(text, ErrorCode.IDLE_TIMEOUT))
        elif now >= self._heard + self.limits.idle_seconds and not self._ping_open:
            self._ping_open = True
            if self._ping_number - self._ponged < MOST_PINGS:
                self._ping()

    # --- outputs ---------------------------------------------------------------------------------

    def data_to_send(self, max_bytes: int = 65536, now: float | None = None) -> list[bytes]:
        """Batches for the transport, in order: about ``max_bytes``, one frame more at most.

        At least one frame, if one may leave; what waits for credit, or for what is on its way to arrive,
        comes when the peer has told. Once ``state`` is CLOSED, write what this returns, if the transport
        takes it, and close that. ``now`` is the time at which it leaves, where that is known to be later
        than the last input: round trips are counted from then, deadlines up to then.
        """
        if now is not None:
            self._now = now
        if self.state is not _OPEN and self.state is ConnectionState.CLOSED:
            return self._last_words()
        if self.link is not _ATTACHED:
            return self._take_resume()
        scheduler = self._scheduler
        if (self.said_all or self._leaves) and self._is_silent():
            return []
        departures, arrivals = self._departures, self._arrivals
        ahead: list[bytes] = self._say_promotion() if self._second_hello else []
        if (
            arrivals is not None
            and arrivals.due is not None
            and (arrivals.due <= self._now or (arrivals.rides <= self._now and not scheduler.idle))
        ):
            scheduler.add_sign(encode_frame(wire.Ack(arrivals.acknowledged())))
        frames: list[bytes] = []
        if departures is not None and scheduler.lonely and departures.free and not self.states_positions:
            # One small call or answer, as mostly where few are in flight: what only several need costs 5 %.
            frame = self._take_lone(departures)
            if frame is not None:
                if scheduler.idle:
                    self._forced = self._pings = 0
                    return [encode_batch((frame,))]
                frames.append(frame)
        if scheduler.signs:
            frames += scheduler.take_signs(max_bytes)
        size = sum(map(len, frames)) if frames else 0
        bare = position = 0
        if departures is not None and (self.states_positions or departures.again):
            bare, position = len(frames), departures.next
            if departures.again and (not frames or size < max_bytes):
                frames += departures.take_again(max_bytes - size, self._now)
                size = sum(map(len, frames))
        old, before = len(frames), size
        if not self._gate or self._passes_gate():
            size = self._gather(frames, size, max_bytes)
        if self._said is not None and departures is None:
            self._said.note(frames[old:])
        self._pings = 0
        if not scheduler.control:
            self._forced = 0
        if departures is not None and len(frames) > old:
            if departures.unknown and len(frames) > old + 1:
                # Alone it tells the round trip (TW-SES-126).
                first, frames = frames[: old + 1], frames[old + 1 :]
                departures.emit(first[old:], len(first[old]), self._now)
                ahead += into_batches(
                    first, size, bare, old, position, self.peer_limits, self.states_positions
                )
                bare, old, position, before = 0, 0, position + 1, before + len(first[old])
            departures.emit(frames[old:], size - before, self._now)
        batches = ahead + into_batches(
            frames, size, bare, old, position, self.peer_limits, self.states_positions
        )
        if self.state is not _OPEN and scheduler.idle and (not frames or size < max_bytes):
            batches += self._say_close()
        if self.exchange and self.side == "client":
            self.said_all = self._has_said_all()
        return batches

    def _gather(self, frames: list[bytes], size: int, max_bytes: int) -> int:
        """Add what may leave, in turn, to frames of ``size`` bytes; returns of how many they are then."""
        scheduler, departures = self._scheduler, self._departures
        old, before, ring = len(frames), size, scheduler.ring
        # Without asking anybody (TW-SES-021, TW-SES-120).
        most, full = UNLIMITED if departures is None else before + departures.room, False
        while not frames or size < max_bytes:
            if size > most:
                assert departures is not None, "without it there is no bound"
                count = len(frames) - old
                if departures.again or not departures.has_room(count, size - before):
                    break
                full = not departures.may_fly(size - before)
                most = before + departures.room - count * KEPT_BYTES
            # What makes room for others, or says farewell, leaves however much is on its way.
            frame = scheduler.next_control() if scheduler.control or scheduler.grants else None
            if frame is None:
                if full:
                    assert departures is not None, "without it nothing is ever full"
                    light = departures.may_fly_light
                    emitted = scheduler.next_light(self._numbers, self._now) if light else None
                    if emitted is not None:
                        departures.note_light(len(frames) - old, len(emitted[1]))
                else:
                    emitted = scheduler.next_data(self._numbers, self._now)
                if emitted is None:
                    if scheduler.ahead and not full:
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
            most -= KEPT_BYTES
            if not ring and scheduler.idle:
                break
        return size

    def _take_lone(self, departures: Departures) -> bytes | None:
        """Emit the one small call or answer that waits, and give it its position."""
        call, frame = self._scheduler.next_lone(self._numbers, self._now)
        if frame is None:
            return None
        if call.opened_here:
            self._call_emitted(call)
        else:
            self._answer_emitted(call, call.code != 0)
        departures.emit_one(frame, self._now)
        return frame

    def next_timeout(self) -> float | None:
        """When to call :meth:`handle_timeout`, on the clock that ``now`` comes from."""
        if self.state is not _OPEN or self.exchange:
            return self._other_timeout()
        silence = self.limits.dead_seconds if self._ping_open else self.limits.idle_seconds
        when = self._expires
        if self.link is _ATTACHED:
            when = self._heard + silence
            # One that is due already leaves when the transport takes something, and no timer helps it.
            if (
                self._arrivals is not None
                and (due := self._arrivals.due) is not None
                and self._now < due < when
            ):
                when = due
        deadline = self._timers.next()
        return when if deadline is None or when < deadline else deadline

    def _other_timeout(self) -> float | None:
        """The same of a conversation that is not open, or an exchange."""
        if self.state is ConnectionState.CLOSING:
            return self._closing_until
        if self.exchange:
            return self._exchange_timeout()
        return self._born + self.limits.hello_seconds if self.state is ConnectionState.OPENING else None

    def events_received(self) -> list[Event]:
        """What has happened since the last call, in order."""
        events = self._events
        if not events:
            return []
        self._events = []
        return events

    @property
    def has_events(self) -> bool:
        """Whether :meth:`events_received` would return any."""
        return bool(self._events)

    # --- inside ----------------------------------------------------------------------------------

    def _is_silent(self) -> bool:
        """Whether nothing leaves any more; a side that goes away takes its next step here."""
        if self.said_all:
            # TW-SES-075: what there still is, the server is not told.
            self._scheduler.clear()
            return True
        self._go_on_leaving()
        return False

    def _ping(self) -> int:
        self._ping_number += 1
        self._scheduler.add_sign(encode_frame(wire.Ping(self._ping_number)))
        return self._ping_number

    def _exchange_due(self, now: float) -> None:
        """Take the peer for dead where it should be heard and is not; be heard ourselves (TW-SES-079)."""
        if self._listens() and now >= self._heard + self.limits.dead_seconds:
            if self.readable:
                self._violated(
                    RemoteProtocolError(
                        f"The peer was silent for {self.limits.dead_seconds:g} seconds.",
                        ErrorCode.IDLE_TIMEOUT,
                    )
                )
                return
            self._heard = now
        if self._speaks() and now >= self._beat + self.limits.idle_seconds:
            self._beat = now
            if not self._scheduler.ahead:
                self._ping()

    def _exchange_timeout(self) -> float | None:
        """The next timeout of an exchange that is not closing."""
        if self.state is ConnectionState.CLOSED:
            return None
        due = [self._timers.next()]
        if self.state is ConnectionState.OPENING:
            due.append(self._born + self.limits.hello_seconds)
        elif self._listens():
            due.append(self._heard + self.limits.dead_seconds)
        if self._speaks():
            due.append(self._beat + self.limits.idle_seconds)
        return min((when for when in due if when is not None), default=None)

    def _listens(self) -> bool:
        return self.state is _OPEN and not self.heard_all and not self._peer_closed

    def _speaks(self) -> bool:
        return not self.said_all and (self.side == "client" or self.state is not ConnectionState.OPENING)

    def _check_own(self, limits: Limits, session_id: bytes | None, token: bytes | None) -> None:
        """What the application may not choose (TW-NEG-011, TW-LIM-003, TW-STR-045, TW-SES-070)."""
        if (self.side == "client" or self.exchange) and (session_id is not None or token is not None):
            raise LocalProtocolError(
                "A client, and an exchange, has no session_id or token; the hello of a server's session "
                "gives them."
            )
        if (session_id is None) is not (token is None):
            raise LocalProtocolError("A server names both session_id and token, or neither.")
        if len(session_id or b"") > IDENTITY_BYTES or len(token or b"") > IDENTITY_BYTES:
            raise LocalProtocolError(f"session_id and token have at most {IDENTITY_BYTES} bytes.")
        problem = too_small(limits)
        if problem is not None:
            raise LocalProtocolError(f"These limits leave no room: {problem}")
        if self.limits.message_bytes > self.limits.session_budget // 2:
            raise LocalProtocolError(
                f"message_bytes is {self.limits.message_bytes}; it must be at most half of session_budget, "
                f"{self.limits.session_budget}."
            )

    def _receive_handshake(self, frame: wire.Frame) -> bool:
        """A close, or what comes before the conversation is open; false where nothing may follow."""
        if self.state is not _OPEN and self.state is not ConnectionState.OPENING:
            # A frame before this one has ended an exchange.
            return False
        if isinstance(frame, wire.Close):
            self._receive_close(frame)
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
        limits = read_hello(frame, self.side == "server")
        self._take_peer_limits(without_credit(limits) if self.exchange else limits)
        if self.exchange:
            self._agree_on_promotion(frame, limits)
        self._check_extensions(frame.extensions, "HELLO")
        self._move(ConnectionInput.HELLO_RECEIVED)
        self._unpositioned += 1
        self._opened = True
        if (self.side == "client") is not self.exchange:
            self._scheduler.add_sign(self._hello)
        if self.side == "client" and not self.exchange:
            self._session_id, self._token = frame.session, frame.token
        features = frozenset[int]()
        if self._offers_resume and RESUME in frame.features and self._session_id is not None:
            features = frozenset((RESUME,))
            self._begin_session()
        elif self.states_positions:
            raise RemoteProtocolError(
                "Over HTTP a conversation needs feature 1, resume, on both sides.", ErrorCode.UNSUPPORTED
            )
        self._events.append(HelloReceived(VERSION, features, self.peer_limits, frame.session))
        return True

    def _emitted(self, half: SendHalf, done: Outgoing | None) -> None:
        """Follow up on a data frame of a half that has just left."""
        stream = half.stream
        if isinstance(stream, Call) and stream.outgoing is _QUEUED and stream.opened_here:
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

    def _say_close(self) -> list[bytes]:
        """The close, where all that was to leave before it has."""
        if self.state is not ConnectionState.CLOSING:
            return []
        self._move(ConnectionInput.CLOSE_EMITTED)
        self._finish_close()
        return self._last_words()
