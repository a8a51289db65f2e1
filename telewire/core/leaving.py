"""Leaving: how a side goes away: a warning, then its last call, then the close when all is over.

The part of :class:`~telewire.core.connection.Connection` behind TW-ERR-060 to 068. How long to wait at
most is the application's to say: it closes the conversation when its patience ends.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Final

from telewire.core.answering import NEVER
from telewire.core.commands import Commands
from telewire.core.exchange import UNLIMITED
from telewire.core.lone import LONGEST_BUDGET, MILLISECONDS
from telewire.core.streams import Call
from telewire.errors import ErrorCode
from telewire.limits import Limits
from telewire.wire import frames as wire
from telewire.wire.codec import encode_frame
from telewire.wire.frames import KEY_ELSEWHERE, KEY_RECONNECT_AFTER, Extensions, Kind

__all__ = ["EVERY_CALL", "Leaving"]

EVERY_CALL: Final = UNLIMITED
"""What a warning states: no call has such a number."""


class Leaving(Commands):
    """Going away, in one step or in two."""

    # Whether this side goes away in two steps, and whether it has come to the second.
    _leaves: bool = False
    _drains: bool = False

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._goaway: wire.GoAway | None = None
        # What proves that the peer has had the warning: all below this position has arrived, or this pong.
        # A warning that has not left has no position yet.
        self._heard_at = NEVER
        self._heard_by: int | None = None
        self._warned = False

    @property
    def going_away(self) -> bool:
        """Whether this side has said that it will take no further calls, or will soon."""
        return self._goaway is not None

    @property
    def idle(self) -> bool:
        """Whether nothing is open, either way, and nothing runs here on account of a call of the peer's."""
        return not (self._ours or self._theirs or self._unsent or self._incoming_calls)

    def never_started(self, call: Call) -> bool:
        """Whether a call of ours that ended with GOING_AWAY is known not to have started (TW-ERR-070)."""
        return call.number is None or call.number >= self._peer_accepts

    def go_away(
        self,
        code: int = ErrorCode.GOING_AWAY,
        text: str = "",
        *,
        reconnect_after: float | None = None,
        elsewhere: str | None = None,
    ) -> None:
        """Accept no further call of the peer's; those that have arrived go on. Twice does nothing.

        The peer is told, and calls that it emits before it has heard of it are refused. To refuse none,
        use :meth:`drain`.

        Args:
            code: why.
            text: the same in words; composed here, never of values (TW-ERR-045).
            reconnect_after: seconds that the peer shall wait before it opens a successor.
            elsewhere: the address of that, where it is not the same.

        Raises:
            LocalProtocolError: the conversation is not open, or the code or text is not allowed.
        """
        self._need_open("go_away()")
        self._check_ending(code, text, ErrorCode.NONE, ErrorCode.GOING_AWAY)
        self._say_last(wire.GoAway(0, code, text, self._hints(reconnect_after, elsewhere)))

    def drain(
        self,
        code: int = ErrorCode.GOING_AWAY,
        text: str = "",
        *,
        reconnect_after: float | None = None,
        elsewhere: str | None = None,
    ) -> None:
        """Go away in two steps, and close when nothing is open any more. Twice does nothing.

        The peer is warned, and may call until it has heard of that; then :meth:`go_away` follows by
        itself, with the same arguments, as soon as no function and no channel of an open call may be
        called by the peer: what goes on works until the end. When nothing is open any more, and the peer
        has all that was said, the conversation closes with ``code``. Whoever cannot wait so long calls
        ``close()``.

        Raises:
            LocalProtocolError: the conversation is not open, or the code or text is not allowed.
        """
        self._need_open("drain()")
        self._check_ending(code, text, ErrorCode.NONE, ErrorCode.GOING_AWAY)
        if self.exchange:
            # It has one call, which has come.
            return
        self._leaves = True
        if self._goaway is not None:
            self._drains = self._calls_accepted != NEVER
            return
        goaway = wire.GoAway(EVERY_CALL, code, text, self._hints(reconnect_after, elsewhere))
        self._goaway = goaway
        self._scheduler.add_control(encode_frame(goaway))
        if self._departures is None:
            self._heard_by = self._ping()

    # --- inside ----------------------------------------------------------------------------------

    @abstractmethod
    def _ping(self) -> int:
        """Ask for a pong; returns its number."""

    def _hints(self, reconnect_after: float | None, elsewhere: str | None) -> Extensions | None:
        """When and where to reconnect; nothing where the peer has no room for it."""
        hints: dict[int, object] = {}
        if reconnect_after is not None:
            hints[KEY_RECONNECT_AFTER] = max(0, min(int(reconnect_after * MILLISECONDS), LONGEST_BUDGET))
        if elsewhere is not None:
            hints[KEY_ELSEWHERE] = elsewhere
        bare = wire.GoAway(0, 0)
        size = len(encode_frame(wire.GoAway(0, 0, "", hints))) - len(encode_frame(bare))
        return hints if hints and size <= self.peer_limits.metadata_bytes else None

    def _ask_heard(self) -> bool:
        """Whether the peer has had the warning, so that the calls it makes from now on are its own fault."""
        departures = self._departures
        if departures is not None and not self._warned:
            if self._heard_at == NEVER and not self._scheduler.control:
                # It has left: with all that has left until now it will have arrived.
                self._heard_at = departures.emitted
            self._warned = departures.base >= self._heard_at
        return self._warned

    def _lends(self) -> bool:
        """Whether the peer may call what lives in a call of before: a function of ours, or a channel."""
        return any(
            stream.kind is Kind.CHANNEL or (stream.kind is Kind.FUNCTION and stream.opened_here)
            for streams in (self._unsent, self._ours.values(), self._theirs.values())
            for stream in streams
        )

    def _take_second_step(self) -> None:
        goaway = self._goaway
        assert goaway is not None, "the first came before"
        self._drains = True
        self._say_last(goaway)

    def _say_last(self, goaway: wire.GoAway) -> None:
        """State the number that follows the last call that has arrived."""
        self._goaway = goaway
        number = self._peer_numbers.next
        if self._calls_accepted > number:
            self._calls_accepted = number
            last = wire.GoAway(number, goaway.code, goaway.text, goaway.extensions)
            self._scheduler.add_control(encode_frame(last))

    def _receive_pong(self, frame: wire.Pong) -> None:
        super()._receive_pong(frame)
        if frame.number == self._heard_by:
            self._warned = True

    def _is_quiet(self) -> bool:
        """Whether nothing is open, and the peer has all that was said of what was (TW-ERR-064)."""
        departures = self._departures
        if not self.idle or departures is None:
            return self.idle
        scheduler = self._scheduler
        waits = scheduler.control or scheduler.grants or scheduler.ring
        return not waits and departures.base == departures.emitted
