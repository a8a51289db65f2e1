"""Ending: how a conversation closes as a whole, in order, by a broken rule, or as an exchange does.

The part of :class:`~telewire.core.connection.Connection` between its commands and its inputs.
"""

from __future__ import annotations

from typing import Final

from telewire.core.events import ConnectionClosed
from telewire.core.leaving import Leaving
from telewire.core.states import (
    CONNECTION,
    ConnectionInput,
    ConnectionState,
    HalfState,
    LinkInput,
    LinkState,
    advance,
)
from telewire.core.streams import Call, Stream
from telewire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from telewire.limits import Limits
from telewire.wire import frames as wire
from telewire.wire.codec import encode_batch, encode_frame

__all__ = ["Ending"]

TEXT_CHARACTERS: Final = 200
# What a close may say; with a code of a stream, or one nobody knows, something is wrong (TW-ERR-002).
CLOSING: Final = frozenset(
    {ErrorCode.NONE, ErrorCode.GOING_AWAY, ErrorCode.UNSUPPORTED, ErrorCode.SESSION_LOST}
    | {code for code in ErrorCode if code >= ErrorCode.PROTOCOL_ERROR}
)
_IN_ORDER: Final = wire.Close(ErrorCode.NONE)


class Ending(Leaving):
    """The ways to a closed conversation."""

    # In an exchange: the client has nothing more to say, now or later, so its request may end; and the
    # server has all of it.
    said_all: bool = False
    heard_all: bool = False
    # The client gave up what the server cannot be told of: the end of the transport tells it.
    hung_up: bool = False
    _given_up: bool = False
    # The server has closed, and what came before that is still being consumed.
    _peer_closed: bool = False

    def __init__(self, limits: Limits, side: str, exchange: bool) -> None:
        super().__init__(limits)
        self.side = side
        self.exchange = self.uncredited = exchange
        self._closing_until = 0.0
        self._close = _IN_ORDER
        self._close_left = False
        self._error: RemoteProtocolError | None = None

    def close(self, code: int = ErrorCode.NONE, text: str = "") -> None:
        """Close the conversation: everything open ends here, and the close leaves last.

        What is queued and has its credit leaves before it, within ``cleanup_seconds``. Closing
        twice does nothing. The client of an exchange has nobody to tell: it is closed at once.

        Raises:
            LocalProtocolError: the code or the text is not allowed.
        """
        self._check_ending(code, text, ErrorCode.NONE, ErrorCode.GOING_AWAY, ErrorCode.SESSION_LOST)
        if self._move(ConnectionInput.CLOSE_COMMANDED):
            self._close = wire.Close(code, text)
            self._closing_until = self._now + self.limits.cleanup_seconds
            if self.exchange and self.side == "client":
                self._hang_up()
            elif self.link is not LinkState.ATTACHED:
                # Nobody is there to be told.
                self._close_left = True
                self._move(ConnectionInput.TRANSPORT_LOST)
                self._finish_close()

    # --- inside ----------------------------------------------------------------------------------

    def _move(self, signal: ConnectionInput) -> bool:
        state = advance(CONNECTION, self.state, signal)
        if state is None:
            return False
        self.state = state
        return True

    def _violated(self, error: RemoteProtocolError) -> None:
        """Turn a broken rule into a close: the one place where that is done."""
        # While resuming, the close is all that is said on the new transport.
        self._move_link(LinkInput.RESUMED)
        self._move(ConnectionInput.VIOLATED)
        # Without the frames that it and its cause came through: they refer to us, and hold the batch.
        error.__cause__ = error.__context__ = None
        self._error = error.with_traceback(None)
        text = str(error).encode("ascii", "backslashreplace").decode()
        self._close = wire.Close(error.code, text[: min(TEXT_CHARACTERS, self.peer_limits.reason_bytes)])
        self._closing_until = self._now + self.limits.cleanup_seconds
        self._settle_all(error.code)
        if self.exchange and self.side == "client":
            self._hang_up()

    def _go_on_leaving(self) -> None:
        """Take the next step of going away: asked whenever something may leave."""
        if not self._drains and self._ask_heard() and not self._lends():
            self._take_second_step()
        if self._drains and self._is_quiet():
            assert self._goaway is not None, "only a side that goes away drains"
            # Nobody needs this conversation any more (TW-ERR-064).
            self.close(self._goaway.code)

    def _finish_close(self) -> None:
        self._settle_all(self._close.code)
        self._events.append(
            ConnectionClosed(self._close.code, self._close.text, by_peer=False, error=self._error)
        )

    def _last_words(self) -> list[bytes]:
        """The close, once, where this side closes."""
        if self._close_left:
            return []
        self._close_left = True
        return [encode_batch([encode_frame(self._close)])]

    def _receive_close(self, frame: wire.Close) -> None:
        code = frame.code if frame.code in CLOSING else ErrorCode.PROTOCOL_ERROR
        if self.exchange and self.side == "client" and code == ErrorCode.NONE and not self._is_over():
            if self._is_whole():
                self._peer_closed = self._close_left = True
                return
            code = ErrorCode.SESSION_LOST
        self._move(ConnectionInput.CLOSE_RECEIVED)
        self._close_left = True
        if code == ErrorCode.SESSION_LOST:
            self._note_missing()
        self._settle_all(code)
        self._events.append(ConnectionClosed(code, frame.text, by_peer=True))

    # --- exchanges -------------------------------------------------------------------------------

    def _hang_up(self) -> None:
        """Close without a word: the end of the transport says it (TW-SES-076)."""
        self.hung_up = self._close_left = True
        self._move(ConnectionInput.CLOSE_EMITTED)
        self._finish_close()

    def _single_over(self) -> None:
        """The call of an exchange is over here: so is the exchange, if nobody has to be waited for."""
        if self.side == "server" or self._given_up:
            self.close()
        elif self._peer_closed and self._move(ConnectionInput.CLOSE_RECEIVED):
            self._settle_all(ErrorCode.NONE)
            self._events.append(ConnectionClosed(ErrorCode.NONE, "", by_peer=True))

    def _is_over(self) -> bool:
        return self._single is None or self._single.over

    def _is_whole(self) -> bool:
        """Whether all that the server has to say of the call has arrived, though it is not yet consumed."""
        call = self._single
        return (
            call is not None
            and call.answered
            and all(
                stream.receive is not None and stream.receive.state is HalfState.ENDING
                for stream in call.owned
            )
        )

    def _check_first_call(self) -> None:
        """Whether the one call of an exchange may be made."""
        if self.side == "server":
            raise self._unsuitable("Over one HTTP exchange, the server cannot call the client.")
        if self._single is not None or self.state not in (ConnectionState.OPENING, ConnectionState.OPEN):
            raise LocalProtocolError("An exchange has one call; make another exchange for the next one.")

    def _note_stop(self, stream: Stream) -> None:
        """Note that we give something up: behind the end of the request the server cannot be told."""
        if self.said_all or isinstance(stream, Call):
            self._given_up = True

    def _has_said_all(self) -> bool:
        """Whether the client of an exchange has emitted everything, and opened nothing that goes on."""
        call = self._single
        if call is None or call.number is None or self._unsent or not self._scheduler.idle:
            return False
        return not any(stream is not call for stream in self._ours.values())

    def _is_missing(self) -> bool:
        """Whether something that the client of an exchange has begun has no end (TW-SES-075)."""
        if self._single is None:
            return True
        return any(
            stream.receive is not None
            and stream.receive.state is HalfState.OPEN
            and (stream.receive.arrival is not None or not isinstance(stream, Call))
            for stream in self._theirs.values()
        )
