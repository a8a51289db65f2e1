"""Session: the part of a conversation that outlives its transports (chapter 7 of the specification).

It is in effect where both hellos offer it. Then every frame that has a position is kept until the peer
has acknowledged it, and what a lost transport has swallowed leaves again on the next.
"""

from __future__ import annotations

from telewire.core.answering import Answering
from telewire.core.replay import Arrivals, Departures
from telewire.core.states import LINK, LinkInput, LinkState, advance
from telewire.core.streams import Call
from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.limits import Limits
from telewire.wire.codec import encode_frame
from telewire.wire.frames import Ack

__all__ = ["Session"]


class Session(Answering):
    """Positions, acknowledgements and the link; the middle part of ``Connection`` that knows of them."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.link = LinkState.ATTACHED
        """Whether there is a transport; the conversation itself goes on without one."""
        self.missing: tuple[int, int] | None = None
        """The first and last position of ours that the peer may have missed, once the session is lost."""
        # None while frames have no positions: the hellos have not crossed, or agreed on no session.
        self._departures: Departures | None = None
        self._arrivals: Arrivals | None = None
        # Frames of the batch in hand that have no position.
        self._unpositioned = 0
        self._attempt = 0

    @property
    def resumable(self) -> bool:
        """Whether another transport may go on where this one ends (TW-SES-030)."""
        return self._departures is not None

    def _move_link(self, signal: LinkInput) -> bool:
        link = advance(LINK, self.link, signal)
        if link is None:
            return False
        self.link = link
        return True

    def _begin_session(self) -> None:
        """Count from here on: both hellos have offered it."""
        self._departures = Departures(self.limits.replay_bytes, self.peer_limits.batch_bytes)
        self._arrivals = Arrivals(self.peer_limits.replay_bytes)

    def _acknowledge(self, now: float) -> None:
        """Tell the peer what has come, if that is due."""
        arrivals = self._arrivals
        if arrivals is not None and arrivals.due is not None and arrivals.due <= now:
            self._scheduler.add_sign(encode_frame(Ack(arrivals.acknowledged())))

    def _receive_ack(self, frame: Ack) -> None:
        self._unpositioned += 1
        departures = self._departures
        if departures is None or not departures.acknowledge(frame.received):
            raise RemoteProtocolError(
                f"The peer acknowledged {frame.received} frames; "
                f"{0 if departures is None else departures.emitted} have been sent.",
                ErrorCode.INVALID_STATE,
            )

    def _rewind(self, received: int) -> None:
        """Let all leave again that the peer has not received (TW-SES-037, 038).

        Raises RemoteProtocolError: it says more than has left, or less than it had acknowledged.
        """
        departures = self._departures
        assert departures is not None, "only a session is resumed"
        if received < departures.base:
            self.missing = (received, departures.base - 1)
            raise RemoteProtocolError(
                f"The peer has received {received} frames, and those below {departures.base} are no longer "
                "kept: it had acknowledged them.",
                ErrorCode.SESSION_LOST,
            )
        if not departures.acknowledge(received):
            raise RemoteProtocolError(
                f"The peer has received {received} frames of {departures.emitted}.", ErrorCode.INVALID_STATE
            )
        departures.rewind()

    def _note_missing(self) -> None:
        """Note what the peer may have missed: the session is lost."""
        departures = self._departures
        if self.missing is None and departures is not None and departures.emitted > departures.base:
            self.missing = (departures.base, departures.emitted - 1)

    def _unresumable_calls(self) -> list[Call]:
        """Calls of ours that have left and must not go on over another transport (TW-SES-043)."""
        return [call for call in self._ours.values() if isinstance(call, Call) and not call.resumable]
