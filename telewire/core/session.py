"""Session: the part of a conversation that outlives its transports (chapter 7 of the specification).

It is in effect where both hellos offer it. Then every frame that has a position is kept until the peer
has acknowledged it, and what a lost transport has swallowed leaves again on the next.
"""

from __future__ import annotations

from collections.abc import Sequence

from telewire.core.answering import Answering
from telewire.core.arrivals import Arrivals
from telewire.core.halves import ReceiveHalf
from telewire.core.placing import place
from telewire.core.replay import Departures
from telewire.core.states import LINK, LinkInput, LinkState, advance
from telewire.core.streams import Call
from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.limits import Limits
from telewire.wire.frames import Ack, Frame, Hello, Position, Resume, Resumed

__all__ = ["Session"]


class Session(Answering):
    """Positions, acknowledgements and the link; the middle part of ``Connection`` that knows of them."""

    side: str
    states_positions: bool = False
    """Whether the transport may repeat or reorder batches, so that each states its position (TW-SES-050).
    Whoever attaches a transport says so here before anything is sent or received on it."""
    missed: bool = False
    """Whether the last batch was refused because one before it is missing (TW-SES-052)."""

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

    @property
    def drawn(self) -> int:
        """Bytes of the pool that this conversation has taken: what giving it up would free."""
        kept = 0 if self._departures is None else self._departures.drawn
        return self.limits.session_budget - self._budget.left + kept

    def _settle_all(self, code: int, payload: bytes = b"") -> None:
        """End everything that is open; what was kept is not needed any more."""
        super()._settle_all(code, payload)
        if self._departures is not None:
            self._departures.release()

    def _tune(self, half: ReceiveHalf) -> None:
        """Size the window of a half by what was consumed, and grant what is due."""
        departures = self._departures
        trip = None if departures is None else departures.flight.trip
        before = half.window.grown
        if half.window.tune(self.limits.stream_window_read, trip, self._now, self._budget):
            self._scheduler.add_grant(half)
        if half.window.grown < before:
            self._lend()

    def _move_link(self, signal: LinkInput) -> bool:
        link = advance(LINK, self.link, signal)
        if link is None:
            return False
        self.link = link
        return True

    def _begin_session(self) -> None:
        """Count from here on: both hellos have offered it."""
        self._departures = Departures(
            self.limits.replay_bytes, self.peer_limits.batch_bytes, self._budget.pool
        )
        self._arrivals = Arrivals(self.peer_limits.replay_bytes)

    def _take_new(self, frames: Sequence[Frame], now: float) -> Sequence[Frame]:
        """What is new of a batch that may have come before, or too early."""
        if frames and isinstance(frames[0], Position) and not self._understood(frames[0].extensions):
            raise RemoteProtocolError(
                "POSITION has an extension key that must be understood and is not.", ErrorCode.UNSUPPORTED
            )
        arrivals = self._arrivals
        if arrivals is not None:
            expected = arrivals.count
            # There an acknowledgement may be a request of its own.
            arrivals.prompt = 0
        else:
            # Nothing is expected ahead of a hello.
            expected = 0 if any(isinstance(frame, Hello) for frame in frames) else -1
        fresh, known = place(frames, expected)
        self.missed = known < 0
        if known and arrivals is not None:
            arrivals.due = now
        return fresh

    def _came_before(self, frame: Frame) -> bool:
        """Whether a frame that opens a transport is one that came already, where that may be (TW-SES-054)."""
        if isinstance(frame, Resume):
            return self.states_positions and frame.attempt == self._attempt
        if isinstance(frame, Resumed):
            # Only a client has attempts that are answered; the first has the number 1.
            return self.states_positions and self.side == "client" and frame.attempt == self._attempt > 0
        return self.states_positions and isinstance(frame, Hello)

    def _receive_ack(self, frame: Ack) -> None:
        self._unpositioned += 1
        departures = self._departures
        if departures is None or not departures.acknowledge(frame.received, self._now):
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
        if not departures.acknowledge(received, self._now):
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
