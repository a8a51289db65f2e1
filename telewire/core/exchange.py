"""Exchange: what one call over one HTTP request may carry, and what differs on its way (TW-SES-070).

An exchange is a connection that is one call of the client's. The transport is its backpressure, so
credit is unlimited; what replaces it is asked here: one stream each way, one payload at a time put
together, and whether more should be read at all.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Final

from telewire.core.halves import ReceiveHalf
from telewire.core.life import CREDITED, Life
from telewire.core.states import HalfState, OutgoingInput
from telewire.core.streams import Call, Stream
from telewire.errors import ErrorCode, RemoteProtocolError, TransportUnsuitable
from telewire.limits import Limits
from telewire.wire.frames import Hello, Kind

__all__ = ["UNLIMITED", "Exchange", "without_credit"]

UNLIMITED: Final = (1 << 53) - 1
"""All the credit that there is."""

READ_MARK: Final = 64 * 1024
"""Cost waiting for the application at which nothing more is read (TW-SES-078)."""

SUITABLE: Final = ("websocket",)


class Exchange(Life):
    """What an exchange carries. In any other connection ``exchange`` is false and the rest unused."""

    # The call, once it is known.
    _single: Call | None = None
    # Items and bytes streams declared so far, by us and by the peer.
    _carries: int = 0
    _carried: int = 0
    # The peer's one stream, and what is being put together.
    _inlet: ReceiveHalf | None = None
    _partial: ReceiveHalf | None = None
    # What the rest of it takes, as long as there is no room for that.
    _missing: int = 0
    _read_mark: int = READ_MARK

    @property
    def readable(self) -> bool:
        """Whether more should be read of a request, or of an exchange's response (TW-SES-078, TW-SES-086)."""
        if self._missing:
            return False
        half = self._inlet
        if half is None or half.arrival is not None or half.state is not HalfState.OPEN:
            return True
        return half.window.received - half.window.consumed < self._read_mark

    def _check_suitable(self, kinds: Iterable[Kind]) -> None:
        """Whether a value of ours may introduce streams of these kinds (TW-SES-073)."""
        streams = self._carries
        for kind in kinds:
            if kind is Kind.FUNCTION or kind is Kind.CHANNEL:
                raise self._unsuitable(f"One HTTP exchange cannot carry a {kind.name.lower()}.")
            streams += kind in CREDITED
        if streams > 1:
            raise self._unsuitable("One HTTP exchange carries one iterator or byte stream each way, no more.")

    def _unsuitable(self, sentence: str) -> TransportUnsuitable:
        error = TransportUnsuitable(SUITABLE, sentence)
        error.refused_by = self
        return error

    def _check_carried(self, kind: Kind) -> None:
        """The same for what the peer introduces."""
        self._carried += kind in CREDITED
        if kind is Kind.FUNCTION or kind is Kind.CHANNEL or self._carried > 1:
            raise RemoteProtocolError(
                f"An exchange cannot carry this {kind.name.lower()} stream.", ErrorCode.INVALID_STATE
            )

    def _check_single(self, call: Call) -> None:
        """Take the client's one call (TW-SES-072)."""
        if self._single is not None or not isinstance(call.target, str):
            raise RemoteProtocolError("An exchange has one call, on a name.", ErrorCode.INVALID_STATE)
        self._single = call

    def _give_up_emitted(self, call: Call, answer: int, code: int, payload: bytes) -> None:
        """Answer the call ourselves: nothing of its answer will be heard (TW-SES-076)."""
        self._reject_here(call, answer)
        call.move_outgoing(OutgoingInput.LOST)
        self._over(call, code, payload)

    @abstractmethod
    def _note_stop(self, stream: Stream) -> None:
        """Note that we give up a stream of an exchange."""

    @abstractmethod
    def _promoted_by(self, hello: Hello) -> None:
        """Take a hello that comes in an open exchange: it promotes that, or breaks a rule."""

    def _begin(self, half: ReceiveHalf, cost: int) -> None:
        """Note a payload that is incomplete; there is one at a time (TW-SES-074).

        The rest of it is read when the budget has room for it: no credit holds it back.
        """
        before = self._partial
        if before is not None and before is not half and before.arrival is not None:
            raise RemoteProtocolError(
                "Two payloads of an exchange were incomplete at one time.", ErrorCode.INVALID_STATE
            )
        self._partial = half
        self._missing = cost
        self._lend()

    def _lend(self) -> None:
        """Find room for what has waited for it."""
        super()._lend()
        half = self._partial
        if half is None or not self._missing:
            return
        if half.arrival is None:
            # It was given up.
            self._missing = 0
        elif self._budget.take(self._missing):
            half.window.loan += self._missing
            self._missing = 0


# Exchanges are many, and made of few limits.
@lru_cache(maxsize=256)
def without_credit(limits: Limits) -> Limits:
    """Limits as they hold in an exchange (TW-SES-070)."""
    return replace(limits, stream_window=UNLIMITED, stream_window_read=UNLIMITED)
