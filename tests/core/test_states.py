"""states: every (state, input) pair of every table; a refused input leaves the machine as it was."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import pytest

from telewire.core.connection import Connection
from telewire.core.halves import ReceiveHalf, SendHalf
from telewire.core.states import (
    CONNECTION,
    HALF,
    INCOMING_CALL,
    LINK,
    OUTGOING_CALL,
    TABLES,
    ConnectionInput,
    ConnectionState,
    HalfInput,
    HalfState,
    IncomingInput,
    IncomingState,
    LinkInput,
    LinkState,
    OutgoingInput,
    OutgoingState,
    advance,
)
from telewire.core.streams import Call, Stream
from telewire.limits import Limits
from telewire.wire.frames import Kind

# Written a second time on purpose: a changed table must be a decision and not a slip.
EXPECTED = {
    "connection": """
        opening: hello received -> open; close commanded -> closing; close received -> closed;
                 violated -> closing; transport lost -> closed
        open: close commanded -> closing; close received -> closed; violated -> closing;
              transport lost -> closed
        closing: close emitted -> closed; transport lost -> closed; patience ended -> closed
        closed:
    """,
    "link": """
        attached: lost -> detached; resume emitted -> resuming
        detached: resume emitted -> resuming; resumed -> attached
        resuming: lost -> detached; resumed -> attached
    """,
    "outgoing call": """
        queued: emitted -> sent; cancelled -> over; lost -> over
        sent: cancelled -> cancelling; result received -> answered; error received -> over; lost -> over
        cancelling: result received -> over; error received -> over; lost -> over
        answered: closed -> over; reset received -> over; drained -> over; lost -> over
        over:
    """,
    "incoming call": """
        receiving: received -> running; refused -> over; lost -> over
        running: stopped -> stopping; answer commanded -> answering; lost -> over
        answering: stopped -> stopping; closed -> stopping; result emitted -> answered;
                   error emitted -> over; lost -> over
        stopping: result emitted -> over; error emitted -> over; lost -> over
        answered: stopped -> over; closed -> over; drained -> over; lost -> over
        over:
    """,
    "half": """
        open: end -> ending; reset -> reset; stop -> stopped
        ending: flushed -> ended; reset -> reset; stop -> stopped
        ended:
        reset:
        stopped:
    """,
}


def rows(text: str) -> dict[tuple[str, str], str]:
    """(state, input) → next state."""
    found: dict[tuple[str, str], str] = {}
    state = ""
    for line in text.splitlines():
        before, colon, after = line.partition(":")
        state = before.strip() if colon else state
        for row in (after if colon else line).split(";"):
            signal, arrow, target = row.partition("->")
            if arrow:
                found[state, signal.strip()] = target.strip()
    return found


def test_all_tables_are_listed() -> None:
    assert list(TABLES) == list(EXPECTED)
    assert list(TABLES.values()) == [CONNECTION, LINK, OUTGOING_CALL, INCOMING_CALL, HALF]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_table_has_exactly_these_rows(name: str) -> None:
    table = TABLES[name]
    actual = {
        (state.value, signal.value): target.value
        for state, row in table.items()
        for signal, target in row.items()
    }
    assert actual == rows(EXPECTED[name])
    assert set(table) == set(type(next(iter(table))))


@pytest.mark.parametrize("name", EXPECTED)
def test_every_row_changes_the_state(name: str) -> None:
    for state, row in TABLES[name].items():
        assert state not in row.values()


def pairs(states: type[Enum], inputs: type[Enum]) -> list[tuple[Enum, Enum]]:
    return [(state, signal) for state in states for signal in inputs]


def drive(table: dict, state: Enum, signal: Enum, move: Callable[[], bool], look: Callable[[], Enum]) -> None:
    """Let a machine in ``state`` take ``signal``: it does what the table says, or nothing."""
    expected = advance(table, state, signal)
    assert move() is (expected is not None)
    assert look() is (state if expected is None else expected)


@pytest.mark.parametrize(("state", "signal"), pairs(ConnectionState, ConnectionInput))
def test_connection(state: ConnectionState, signal: ConnectionInput) -> None:
    connection = Connection("client")
    connection.state = state
    drive(CONNECTION, state, signal, lambda: connection._move(signal), lambda: connection.state)


@pytest.mark.parametrize(("state", "signal"), pairs(LinkState, LinkInput))
def test_link(state: LinkState, signal: LinkInput) -> None:
    connection = Connection("client")
    connection.link = state
    drive(LINK, state, signal, lambda: connection._move_link(signal), lambda: connection.link)


@pytest.mark.parametrize(("state", "signal"), pairs(OutgoingState, OutgoingInput))
def test_outgoing_call(state: OutgoingState, signal: OutgoingInput) -> None:
    call = Call(True, "f")
    call.outgoing = state
    drive(OUTGOING_CALL, state, signal, lambda: call.move_outgoing(signal), lambda: call.outgoing)
    assert call.incoming is IncomingState.RECEIVING


@pytest.mark.parametrize(("state", "signal"), pairs(IncomingState, IncomingInput))
def test_incoming_call(state: IncomingState, signal: IncomingInput) -> None:
    call = Call(False, "f", 0)
    call.incoming = state
    drive(INCOMING_CALL, state, signal, lambda: call.move_incoming(signal), lambda: call.incoming)
    assert call.outgoing is OutgoingState.QUEUED


@pytest.mark.parametrize("half_class", [SendHalf, ReceiveHalf])
@pytest.mark.parametrize(("state", "signal"), pairs(HalfState, HalfInput))
def test_half(half_class: type[SendHalf] | type[ReceiveHalf], state: HalfState, signal: HalfInput) -> None:
    half = half_class(Stream(Kind.ITEMS, True, None, None, 0), Limits())
    half.state = state
    drive(HALF, state, signal, lambda: half.move(signal), lambda: half.state)
