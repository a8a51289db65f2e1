"""Resuming: how a session goes on over another transport, or is lost (chapter 7 of the specification).

The part of :class:`~telewire.core.connection.Connection` that changes what it is attached to.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import Final

from telewire.core.arrivals import PROMPT_BATCHES
from telewire.core.ending import Ending
from telewire.core.events import ConnectionClosed, SessionDetached, SessionResumed
from telewire.core.states import ConnectionInput, ConnectionState, LinkInput, LinkState
from telewire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from telewire.limits import Limits
from telewire.wire import frames as wire
from telewire.wire.codec import encode_batch, encode_frame
from telewire.wire.frames import KEY_REQUESTED

__all__ = ["IDENTITY_BYTES", "Resuming"]

_ATTACHED: Final = LinkState.ATTACHED

IDENTITY_BYTES: Final = 64
"""The most that a session id or a token has (TW-NEG-011)."""


class Resuming(Ending):
    """The ways from one transport to the next."""

    def __init__(self, limits: Limits, side: str, exchange: bool) -> None:
        super().__init__(limits, side, exchange)
        self._session_id: bytes | None = None
        self._token: bytes | None = None
        self._heard = 0.0
        self._expires = 0.0
        self._ping_open = False
        self._eof = False
        self._opened = False
        # The transport in use was left for another, which has not answered yet.
        self._moving = False
        # Until which position what comes left in the request of a promoted exchange, as a resume has said.
        self._requested = 0
        # The same of ours, until the server has acknowledged all of it.
        self._gate = 0
        # What a client says first on a new transport.
        self._resume: list[bytes] = []
        self._hello = b""

    @property
    def session_id(self) -> bytes | None:
        """What names the session: the server's own, or what its hello said."""
        return self._session_id

    @property
    def token(self) -> bytes | None:
        """What proves that a transport belongs to the session; a secret of both sides."""
        return self._token

    @property
    def heard_of(self) -> bool:
        """Whether the peer's hello has come."""
        return self._opened

    @property
    def moving(self) -> bool:
        """Whether the session was moved to a transport that has not answered yet; the application waits."""
        return self._moving

    @property
    def detached(self) -> bool:
        """Whether the conversation goes on and has no transport, or none that has answered yet."""
        return self.link is not _ATTACHED and self.state is ConnectionState.OPEN

    def matches(self, token: bytes) -> bool:
        """Whether ``token`` is that of this session; takes the same time for all that are not."""
        return self._token is not None and compare_digest(self._token, token)

    def attach(self, now: float) -> None:
        """Go on over a new transport, as the client: its first batch is then in ``data_to_send()``.

        The server's answer is the event SessionResumed, or the end of the conversation.

        Raises:
            LocalProtocolError: there is nothing to resume, or the old transport has not been lost.
        """
        if self.side == "server" or self.state is not ConnectionState.OPEN or self.link is _ATTACHED:
            raise LocalProtocolError(
                f"attach() is for a client whose transport is lost; this {self.side} is {self.state.value} "
                f"and {self.link.value}. Call receive_eof() first; a server is resumed by its Acceptor."
            )
        self._now = now
        self._detach("The transport to move to did not answer.")
        self._ask_to_resume(now)

    def move(self, now: float) -> None:
        """Go on over a new transport, as the client, while the old one is alive: give nothing more of that.

        The application hears of it only where it fails; then the session is detached (TW-SES-045).

        Raises:
            LocalProtocolError: there is no session, or its transport is lost already: then use attach().
        """
        if self.side == "server" or self.state is not ConnectionState.OPEN or not self.resumable:
            raise LocalProtocolError(f"This {self.side} is {self.state.value} and has no session to move.")
        if self.link is not _ATTACHED:
            raise LocalProtocolError(f"The session is {self.link.value}; use attach().")
        self._moving = True
        self._expires = now + self.limits.resume_seconds
        self._ask_to_resume(now)

    def _ask_to_resume(self, now: float) -> None:
        assert self._session_id is not None
        assert self._token is not None
        assert self._arrivals is not None
        self._move_link(LinkInput.RESUME_EMITTED)
        self._attempt += 1
        received = self._arrivals.acknowledged()
        extensions: wire.Extensions | None = {KEY_REQUESTED: self._gate} if self._gate else None
        frame = wire.Resume(self._session_id, self._token, self._attempt, received, extensions)
        # Where nothing has come of this session, our hello may be lost, too.
        unheard = received == 0 and self._departures is not None and self._departures.base == 0
        self._resume = [encode_frame(frame), *([self._hello] if unheard else [])]
        self._begin_transport(now)

    def resume(self, attempt: int, received: int, now: float, requested: int = 0) -> bool:
        """Go on over a new transport, as the server: what ``Acceptor`` calls for a RESUME.

        The new transport wins, also where the old one still looks alive: give this connection nothing
        more of that. False where an attempt with this number, or a higher one, has been here: then
        nothing has changed, and the new transport is to be closed (TW-SES-035).

        ``requested`` is how many positioned frames the peer says to have emitted in the request of a
        promoted exchange.

        Raises:
            LocalProtocolError: the conversation cannot be resumed.
        """
        if self.side == "client" or self.state is not ConnectionState.OPEN or self._arrivals is None:
            raise LocalProtocolError(f"This {self.side} is {self.state.value} and keeps no session.")
        if attempt <= self._attempt:
            return False
        self._attempt = attempt
        self._now = now
        if self.link is _ATTACHED:
            self._detach("Another transport has taken its place.")
        self._requested = requested
        self._begin_transport(now)
        self._move_link(LinkInput.RESUMED)
        self._scheduler.add_sign(encode_frame(wire.Resumed(attempt, self._arrivals.acknowledged())))
        self._go_on(received)
        return True

    def begin_again(self, resume: wire.Resume) -> None:
        """Take the name of a session that never had its client's hello, which comes next (TW-SES-044).

        Raises:
            LocalProtocolError: this is no server's connection that has just begun.
        """
        if self.side == "client" or self.state is not ConnectionState.OPENING:
            raise LocalProtocolError(f"This {self.side} is {self.state.value} and has a session of its own.")
        self._session_id, self._token, self._attempt = resume.session, resume.token, resume.attempt
        self._scheduler.add_sign(encode_frame(wire.Resumed(resume.attempt, 0)))

    # --- inside ----------------------------------------------------------------------------------

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
        self._moving = False
        self._go_on(frame.received)
        return self.state is ConnectionState.OPEN

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
        self._ponged = self._ping_number
        self._now = self._heard = now
        self._eof = self._ping_open = False
        self._pings = 0
        self._scheduler.signs.clear()
        assert self._arrivals is not None, "a session counts what comes"
        self._arrivals.prompt = PROMPT_BATCHES

    def _take_resume(self) -> list[bytes]:
        """What a client says first on a new transport, once."""
        resume, self._resume = self._resume, []
        return [encode_batch(resume)] if resume else []

    def _detach(self, text: str) -> None:
        """Go on without a transport, for a while."""
        if self.link is _ATTACHED or self._moving:
            self._moving = False
            self._expires = self._now + self.limits.resume_seconds
            self._events.append(SessionDetached(text))
            for call in self._unresumable_calls():
                self._refuse_stream(call, ErrorCode.SESSION_LOST)
        self._resume = []
        self._move_link(LinkInput.LOST)

    def _lose_session(self, text: str) -> None:
        """End what cannot be resumed any more."""
        self._close_left = True
        self._move(ConnectionInput.TRANSPORT_LOST)
        self._note_missing()
        self._settle_all(ErrorCode.SESSION_LOST)
        self._events.append(ConnectionClosed(ErrorCode.SESSION_LOST, text, by_peer=False))
