"""Stream and Call: the local handles of what is open, and who owns whom.

A call owns every stream that crosses in its arguments, result, items or messages; when it is over,
all of them end with it (TW-MOD, life). A handle has its number once the frame that introduces it
has left or arrived.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from telewire.core.states import (
    INCOMING_CALL,
    OUTGOING_CALL,
    IncomingInput,
    IncomingState,
    OutgoingInput,
    OutgoingState,
)
from telewire.wire.frames import Declaration, Kind

if TYPE_CHECKING:
    from telewire.core.events import Event
    from telewire.core.halves import ReceiveHalf, SendHalf
    from telewire.core.ids import Numbers
    from telewire.wire import frames as wire
    from telewire.wire.frames import Extensions

__all__ = ["Call", "Stream", "Waiting"]

# A member costs as much as a call where it is looked up through its class (CPython 3.11).
# Names of the module, too, because mypyc takes nothing else for a default that stands on a class.
_CALL: Final = Kind.CALL
_QUEUED: Final = OutgoingState.QUEUED
_RECEIVING: Final = IncomingState.RECEIVING
_OVER_OUTGOING: Final = OutgoingState.OVER
_OVER_INCOMING: Final = IncomingState.OVER
_ANSWERED_OUTGOING: Final = OutgoingState.ANSWERED
_ANSWERED_INCOMING: Final = IncomingState.ANSWERED


class Stream:
    """A handle: what the application names in commands and is told in events.

    ``app`` is the application's to use; the core never looks at it. ``function`` is the exporter's
    number of a function or channel: two handles with the same number are the same function.
    ``mentions`` counts the queued calls on it; ``released`` says that its stop waits for them.
    """

    # Defaults stand on the class: most handles never differ in most of these, and a call is made often.
    kind: Kind
    opened_here: bool
    call: Call | None = None
    function: int | None = None
    number: int | None = None
    # Only meaningful once there is a number; read in every frame, so kept and not computed.
    reference: int = 0
    send: SendHalf | None = None
    receive: ReceiveHalf | None = None
    mentions: int = 0
    released: bool = False
    retired: bool = False
    app: object = None

    def __init__(
        self,
        kind: Kind,
        opened_here: bool,
        call: Call | None,
        function: int | None = None,
        number: int | None = None,
    ) -> None:
        self.kind = kind
        self.opened_here = opened_here
        self.call = call
        self.function = function
        if number is not None:
            self.number = number
            self.reference = number if opened_here else -1 - number

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.kind.name.lower()}>"

    @property
    def name(self) -> str:
        """How messages name the stream: whose it is and its number."""
        side = "ours" if self.opened_here else "theirs"
        return f"{side} {'(not yet sent)' if self.number is None else self.number}"

    def introduce(self, numbers: Numbers) -> Declaration:
        """Take the next number, in the frame that is being emitted."""
        self.number = self.reference = numbers.take()
        return Declaration(self.number, self.kind, self.function)


@final
class Call(Stream):
    """A call, ours or the peer's: a stream that owns others."""

    kind = _CALL
    outgoing: OutgoingState = _QUEUED
    incoming: IncomingState = _RECEIVING
    declared: tuple[Stream, ...] = ()
    argument_bytes: int = 0
    # It counts against the limit of open calls; the application still runs its body.
    placed: bool = False
    body: bool = False
    # Ours: we answered it ourselves, ahead of the peer. The peer's: this side stopped or closed it
    # before its answer had left, so that a result is followed by a reset.
    settled: bool = False
    # Ours: its answer, which nobody wants any more, has been given all credit.
    unlimited: bool = False
    # We answered it without the application.
    refused: bool = False
    # What it was stopped with: the code and reason of its end.
    why: tuple[int, bytes] = (0, b"")
    # A small payload of ours, the arguments or the answer: whole in one frame and free of credit, so it
    # needs no half. None before, and once nothing of it will leave. ``ready`` says that it stands in the
    # scheduler's ring, ``code`` that it is an error.
    lone: bytes | None = None
    code: int = 0
    ready: bool = False
    extensions: Extensions | None = None
    deadline: float | None = None
    lifetime: float | None = None
    waiting: Waiting | None = None
    # Ours: it may go on over another transport.
    resumable: bool = True
    # Nothing more will come of this call; the answer has arrived, or left. Kept with the state.
    over: bool = False
    answered: bool = False

    def __init__(self, opened_here: bool, target: str | Stream, number: int | None = None) -> None:
        self.opened_here = opened_here
        self.target = target
        self.owned: dict[Stream, None] = {}
        if number is not None:
            self.number = number
            self.reference = number if opened_here else -1 - number

    def move_outgoing(self, signal: OutgoingInput) -> bool:
        """Take a step of the caller's table; false, unchanged, where it has no such row."""
        state = OUTGOING_CALL[self.outgoing].get(signal)
        if state is None:
            return False
        self.outgoing = state
        self.over = state is _OVER_OUTGOING
        self.answered = state is _ANSWERED_OUTGOING
        return True

    def move_incoming(self, signal: IncomingInput) -> bool:
        """Take a step of the answerer's table; false, unchanged, where it has no such row."""
        state = INCOMING_CALL[self.incoming].get(signal)
        if state is None:
            return False
        self.incoming = state
        self.over = state is _OVER_INCOMING
        self.answered = state is _ANSWERED_INCOMING
        return True


@final
class Waiting:
    """What is kept of a call of the peer's that is complete and must not start yet (TW-CAL-021).

    ``events`` of the streams that it declares follow its start; those that have ``ended`` count as open
    until then.
    """

    __slots__ = ("declared", "ended", "events", "frame", "payload")

    def __init__(self, frame: wire.Call, payload: bytes, declared: tuple[Stream, ...]) -> None:
        self.frame = frame
        self.payload = payload
        self.declared = declared
        self.events: list[Event] = []
        self.ended: list[Stream] = []
