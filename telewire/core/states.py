"""All states and all transition tables of the protocol: the one place where they are written.

Theory of operation
===================

A conversation is five kinds of small machines side by side, and this file holds every row of each:

* the **connection** itself, which opens with a hello and ends with a close;
* its **link**: whether a session has a transport, and whether a new one goes on with it yet;
* an **outgoing call**, as its caller sees it, and an **incoming call**, as its answerer sees it;
* a **half**, one direction of a stream: every stream is made of them, whatever its unit, and its
  sender and its receiver go through the same states.

A row stands here only if it changes a state. What leaves the state as it is (an item on an open
half, a second cancel) is a guard in the code. An input without a row is refused: a command raises
:class:`~telewire.LocalProtocolError` and changes nothing, a frame of the peer closes the connection.

The tables do not know which side we are. They drive the diagrams in ``spec/diagrams.md``, and
tests walk every (state, input) pair of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, TypeVar

__all__ = [
    "CONNECTION",
    "HALF",
    "INCOMING_CALL",
    "LINK",
    "OUTGOING_CALL",
    "TABLES",
    "ConnectionInput",
    "ConnectionState",
    "HalfInput",
    "HalfState",
    "IncomingInput",
    "IncomingState",
    "LinkInput",
    "LinkState",
    "OutgoingInput",
    "OutgoingState",
    "advance",
]


class TableEnum(Enum):
    """Members are found in the tables by identity: an Enum's own hash is a call into Python."""

    __hash__ = object.__hash__


class ConnectionState(TableEnum):
    """Where the conversation as a whole stands."""

    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class ConnectionInput(TableEnum):
    """What moves a connection."""

    HELLO_RECEIVED = "hello received"
    CLOSE_COMMANDED = "close commanded"
    CLOSE_EMITTED = "close emitted"
    CLOSE_RECEIVED = "close received"
    VIOLATED = "violated"
    TRANSPORT_LOST = "transport lost"
    PATIENCE_ENDED = "patience ended"


CONNECTION: Final[dict[ConnectionState, dict[ConnectionInput, ConnectionState]]] = {
    ConnectionState.OPENING: {
        ConnectionInput.HELLO_RECEIVED: ConnectionState.OPEN,
        ConnectionInput.CLOSE_COMMANDED: ConnectionState.CLOSING,
        ConnectionInput.CLOSE_RECEIVED: ConnectionState.CLOSED,
        ConnectionInput.VIOLATED: ConnectionState.CLOSING,
        ConnectionInput.TRANSPORT_LOST: ConnectionState.CLOSED,
    },
    ConnectionState.OPEN: {
        ConnectionInput.CLOSE_COMMANDED: ConnectionState.CLOSING,
        ConnectionInput.CLOSE_RECEIVED: ConnectionState.CLOSED,
        ConnectionInput.VIOLATED: ConnectionState.CLOSING,
        ConnectionInput.TRANSPORT_LOST: ConnectionState.CLOSED,
    },
    ConnectionState.CLOSING: {
        ConnectionInput.CLOSE_EMITTED: ConnectionState.CLOSED,
        ConnectionInput.TRANSPORT_LOST: ConnectionState.CLOSED,
        ConnectionInput.PATIENCE_ENDED: ConnectionState.CLOSED,
    },
    ConnectionState.CLOSED: {},
}


class LinkState(TableEnum):
    """Whether the session has a transport (chapter 7 of the specification)."""

    ATTACHED = "attached"
    DETACHED = "detached"
    RESUMING = "resuming"


class LinkInput(TableEnum):
    """What moves a link: a server's session is attached at once, a client's when it was answered."""

    LOST = "lost"
    RESUME_EMITTED = "resume emitted"
    RESUMED = "resumed"


LINK: Final[dict[LinkState, dict[LinkInput, LinkState]]] = {
    # A client may also leave a transport that is alive for a better one.
    LinkState.ATTACHED: {
        LinkInput.LOST: LinkState.DETACHED,
        LinkInput.RESUME_EMITTED: LinkState.RESUMING,
    },
    LinkState.DETACHED: {
        LinkInput.RESUME_EMITTED: LinkState.RESUMING,
        LinkInput.RESUMED: LinkState.ATTACHED,
    },
    LinkState.RESUMING: {
        LinkInput.LOST: LinkState.DETACHED,
        LinkInput.RESUMED: LinkState.ATTACHED,
    },
}


class OutgoingState(TableEnum):
    """A call as its caller sees it."""

    QUEUED = "queued"
    SENT = "sent"
    CANCELLING = "cancelling"
    ANSWERED = "answered"
    OVER = "over"


class OutgoingInput(TableEnum):
    """What moves an outgoing call."""

    EMITTED = "emitted"
    CANCELLED = "cancelled"
    RESULT_RECEIVED = "result received"
    ERROR_RECEIVED = "error received"
    CLOSED = "closed"
    RESET_RECEIVED = "reset received"
    DRAINED = "drained"
    LOST = "lost"


OUTGOING_CALL: Final[dict[OutgoingState, dict[OutgoingInput, OutgoingState]]] = {
    OutgoingState.QUEUED: {
        OutgoingInput.EMITTED: OutgoingState.SENT,
        OutgoingInput.CANCELLED: OutgoingState.OVER,
        OutgoingInput.LOST: OutgoingState.OVER,
    },
    OutgoingState.SENT: {
        OutgoingInput.CANCELLED: OutgoingState.CANCELLING,
        OutgoingInput.RESULT_RECEIVED: OutgoingState.ANSWERED,
        OutgoingInput.ERROR_RECEIVED: OutgoingState.OVER,
        OutgoingInput.LOST: OutgoingState.OVER,
    },
    # A cancelled call is over with its answer, whatever the answer is (TW-MOD-052).
    OutgoingState.CANCELLING: {
        OutgoingInput.RESULT_RECEIVED: OutgoingState.OVER,
        OutgoingInput.ERROR_RECEIVED: OutgoingState.OVER,
        OutgoingInput.LOST: OutgoingState.OVER,
    },
    OutgoingState.ANSWERED: {
        OutgoingInput.CLOSED: OutgoingState.OVER,
        OutgoingInput.RESET_RECEIVED: OutgoingState.OVER,
        OutgoingInput.DRAINED: OutgoingState.OVER,
        OutgoingInput.LOST: OutgoingState.OVER,
    },
    OutgoingState.OVER: {},
}


class IncomingState(TableEnum):
    """A call as its answerer sees it."""

    RECEIVING = "receiving"
    RUNNING = "running"
    ANSWERING = "answering"
    STOPPING = "stopping"
    ANSWERED = "answered"
    OVER = "over"


class IncomingInput(TableEnum):
    """What moves an incoming call."""

    RECEIVED = "received"
    REFUSED = "refused"
    STOPPED = "stopped"
    ANSWER_COMMANDED = "answer commanded"
    RESULT_EMITTED = "result emitted"
    ERROR_EMITTED = "error emitted"
    CLOSED = "closed"
    DRAINED = "drained"
    LOST = "lost"


INCOMING_CALL: Final[dict[IncomingState, dict[IncomingInput, IncomingState]]] = {
    IncomingState.RECEIVING: {
        IncomingInput.RECEIVED: IncomingState.RUNNING,
        IncomingInput.REFUSED: IncomingState.OVER,
        IncomingInput.LOST: IncomingState.OVER,
    },
    IncomingState.RUNNING: {
        IncomingInput.STOPPED: IncomingState.STOPPING,
        IncomingInput.ANSWER_COMMANDED: IncomingState.ANSWERING,
        IncomingInput.LOST: IncomingState.OVER,
    },
    # The answer waits for its turn. A stop replaces it: what was not delivered did not happen. Closing
    # lets it leave first.
    IncomingState.ANSWERING: {
        IncomingInput.STOPPED: IncomingState.STOPPING,
        IncomingInput.CLOSED: IncomingState.STOPPING,
        IncomingInput.RESULT_EMITTED: IncomingState.ANSWERED,
        IncomingInput.ERROR_EMITTED: IncomingState.OVER,
        IncomingInput.LOST: IncomingState.OVER,
    },
    # A stopped call is still answered, once its body has ended, and is over with its answer.
    IncomingState.STOPPING: {
        IncomingInput.RESULT_EMITTED: IncomingState.OVER,
        IncomingInput.ERROR_EMITTED: IncomingState.OVER,
        IncomingInput.LOST: IncomingState.OVER,
    },
    IncomingState.ANSWERED: {
        IncomingInput.STOPPED: IncomingState.OVER,
        IncomingInput.CLOSED: IncomingState.OVER,
        IncomingInput.DRAINED: IncomingState.OVER,
        IncomingInput.LOST: IncomingState.OVER,
    },
    IncomingState.OVER: {},
}


class HalfState(TableEnum):
    """One direction of a stream, as its sender or its receiver sees it: the same machine."""

    OPEN = "open"
    ENDING = "ending"
    ENDED = "ended"
    RESET = "reset"
    STOPPED = "stopped"


class HalfInput(TableEnum):
    """What moves a half: *end* and *reset* come from its sender, *stop* from its receiver."""

    END = "end"
    FLUSHED = "flushed"
    RESET = "reset"
    STOP = "stop"


HALF: Final[dict[HalfState, dict[HalfInput, HalfState]]] = {
    HalfState.OPEN: {
        HalfInput.END: HalfState.ENDING,
        HalfInput.RESET: HalfState.RESET,
        HalfInput.STOP: HalfState.STOPPED,
    },
    # The end stands behind the items: at the sender until it is emitted, at the receiver until all
    # before it is consumed. Until then both sides may still give up.
    HalfState.ENDING: {
        HalfInput.FLUSHED: HalfState.ENDED,
        HalfInput.RESET: HalfState.RESET,
        HalfInput.STOP: HalfState.STOPPED,
    },
    HalfState.ENDED: {},
    HalfState.RESET: {},
    HalfState.STOPPED: {},
}

# Any: each table has states and inputs of its own; the diagrams read all of them alike.
TABLES: Final[Mapping[str, Mapping[Any, Mapping[Any, Enum]]]] = {
    "connection": CONNECTION,
    "link": LINK,
    "outgoing call": OUTGOING_CALL,
    "incoming call": INCOMING_CALL,
    "half": HALF,
}

State = TypeVar("State", bound=Enum)
Input = TypeVar("Input", bound=Enum)


def advance(table: dict[State, dict[Input, State]], state: State, signal: Input) -> State | None:
    """The state after ``signal``, or None where the table has no such row: the input is refused."""
    return table[state].get(signal)
