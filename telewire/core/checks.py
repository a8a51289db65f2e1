"""Checks: what a command must hold to, asked before anything changes.

A command that would break a rule of ours or pass a limit of the peer's is refused by raising, and
has changed nothing (TW-ERR-013, TW-LIM-002).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, TypeAlias

from telewire.core.answering import listening
from telewire.core.halves import DECLARATION_BYTES, FRAME_BYTES, SendHalf
from telewire.core.life import CREDITED
from telewire.core.receiving import Receiving
from telewire.core.states import ConnectionState, HalfState
from telewire.core.streams import Stream
from telewire.errors import ErrorCode, LocalProtocolError, ResourceExhausted
from telewire.limits import Limits
from telewire.wire.codec import encode_head
from telewire.wire.frames import Kind

__all__ = ["HALF_OPEN", "Checks", "Declare"]

# A member costs as much as a call where it is looked up through its class (CPython 3.11).
HALF_OPEN: Final = HalfState.OPEN
_CHANNEL: Final = Kind.CHANNEL
_FUNCTION: Final = Kind.FUNCTION

Declare: TypeAlias = tuple[Kind, int | None]
"""A stream that a payload introduces: its kind and, for functions and channels, the exporter's number."""

TEXT = 3
MAP = 5

# The heads of an extension map and of the metadata's key; both deadlines at their longest.
MAP_BYTES = 2
DEADLINES_BYTES = 21


class Checks(Receiving):
    """The questions that commands ask first."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.state = ConnectionState.OPENING

    def _need_open(self, what: str) -> None:
        if self.state is not ConnectionState.OPEN:
            raise LocalProtocolError(
                f"{what} needs an open conversation, and this one is {self.state.value}; "
                "wait for HelloReceived, or make a new connection."
            )

    def _check_target(self, target: str | Stream) -> int:
        """Whether it can be called; returns the bytes that its name takes."""
        if self._numbers.next >= self._numbers.calls_below:
            raise LocalProtocolError(
                "The peer goes away and accepts no further calls; make a new connection.",
                ErrorCode.GOING_AWAY,
            )
        if isinstance(target, str):
            size = _name_bytes(target)
            if size > self.peer_limits.name_bytes:
                raise LocalProtocolError(
                    f"The function name {target[:40]!r}… takes {size} bytes; "
                    f"the peer allows {self.peer_limits.name_bytes}."
                )
            return size
        callable_here = target.kind is _CHANNEL or (target.kind is _FUNCTION and not target.opened_here)
        if not callable_here or target.retired or not listening(target):
            raise LocalProtocolError(f"{target!r} cannot be called: it is no open function of the peer's.")
        return 0

    def _check_headers(self, metadata: dict[str, str] | None, timed: bool) -> int:
        """What the headers of a call take in its frame."""
        size = (MAP_BYTES if timed or metadata else 0) + (DEADLINES_BYTES if timed else 0)
        if metadata:
            size += len(encode_head(MAP, len(metadata)))
            for pair in metadata.items():
                for text in pair:
                    length = _text_bytes(text, "A header of the call")
                    size += len(encode_head(TEXT, length)) + length
        if size > self.peer_limits.metadata_bytes:
            raise ResourceExhausted(
                f"The call's headers take {size} bytes; the peer takes {self.peer_limits.metadata_bytes}."
            )
        return size

    def _overhead(self, declare: Sequence[Declare], headers: int = 0) -> int:
        """What the frames of a payload hold besides it, where that needs to be known."""
        return FRAME_BYTES + headers + DECLARATION_BYTES * len(declare) if declare or headers else 0

    def _check_payload(self, payload: bytes, declare: Sequence[Declare], headers: int = 0) -> None:
        limits = self.peer_limits
        if len(payload) > limits.message_bytes:
            raise ResourceExhausted(
                f"A value of {len(payload)} bytes is larger than the {limits.message_bytes} that the peer "
                "accepts; send it as a byte stream or in several items."
            )
        if declare:
            self._check_declarations(declare)
        if (declare or headers) and self._overhead(declare, headers) >= limits.batch_bytes:
            raise ResourceExhausted(
                f"{len(declare)} streams and {headers} bytes of headers do not fit into a batch of "
                f"{limits.batch_bytes} bytes, which is all the peer takes."
            )

    def _check_declarations(self, declare: Sequence[Declare]) -> None:
        limits = self.peer_limits
        for kind, number in declare:
            if kind is Kind.CALL or (number is None) is (kind in (_FUNCTION, _CHANNEL)):
                raise LocalProtocolError(
                    f"{kind.name.lower()} with number {number} cannot be declared: functions and channels "
                    "have a number, the other kinds have none, and calls are not declared."
                )
        if self.exchange:
            self._check_suitable([kind for kind, _ in declare])
        if len(declare) > limits.references:
            raise ResourceExhausted(
                f"{len(declare)} streams in one value are more than the {limits.references} that the peer "
                "accepts."
            )
        credited = sum(kind in CREDITED for kind, _ in declare)
        if (
            self._declared[0] + len(declare) > limits.open_streams
            or self._declared[1] + credited > limits.credited_streams
        ):
            raise ResourceExhausted(
                f"{self._declared[0]} streams are open, {self._declared[1]} of them with items, bytes or "
                f"messages; {len(declare)} more pass the peer's limit. End some first."
            )

    @abstractmethod
    def _check_first_call(self) -> None:
        """Whether the one call of an exchange may be made."""

    def _check_farewell(self, code: int, payload: bytes) -> None:
        self._check_code(code, 0)
        allowed = min(self.peer_limits.reason_bytes, self.peer_limits.fragment_bytes)
        if len(payload) > allowed:
            raise LocalProtocolError(
                f"A reason of {len(payload)} bytes is longer than the {allowed} allowed."
            )

    @staticmethod
    def _check_code(code: int, lowest: int) -> None:
        if not lowest <= code < ErrorCode.PROTOCOL_ERROR:
            raise LocalProtocolError(
                f"Code {code} cannot stand here; codes from {lowest} to 31 end a call or stream."
            )

    def _check_ending(self, code: int, text: str, *endings: ErrorCode) -> None:
        """What a GOAWAY or CLOSE may say: one of ``endings``, or a code of the connection (TW-ERR-001)."""
        if code not in endings and code < ErrorCode.PROTOCOL_ERROR:
            raise LocalProtocolError(f"Code {code} is one of a stream; it cannot end the connection.")
        allowed = min(self.peer_limits.reason_bytes, self.peer_limits.fragment_bytes)
        if _text_bytes(text, "The text") > allowed:
            raise LocalProtocolError(f"A text of {len(text)} characters is longer than {allowed} bytes.")

    def _open_half(self, stream: Stream, kind: Kind) -> SendHalf:
        half = stream.send
        if half is None or stream.kind is not kind or half.state is not HALF_OPEN:
            raise LocalProtocolError(f"{stream!r} is not open for sending {kind.name.lower()}.")
        if not half.writable and not half.promised:
            raise LocalProtocolError(f"{stream!r} has no credit left; wait for StreamUnblocked.")
        half.promised = False
        return half


# Functions are few and called often, so are their names.
@lru_cache(maxsize=1024)
def _name_bytes(name: str) -> int:
    return _text_bytes(name, "The function name")


def _text_bytes(text: str, what: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise LocalProtocolError(
            f"{what} {text[:40]!r} has lone surrogates, which cannot be encoded; send proper text."
        ) from None
