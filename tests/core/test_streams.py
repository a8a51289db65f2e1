"""streams: handles, how they are named and how they stand in frames."""

from __future__ import annotations

from telewire.core.ids import Numbers
from telewire.core.states import IncomingInput, OutgoingInput
from telewire.core.streams import Call, Stream
from telewire.wire.frames import Declaration, Kind


def test_a_reference_is_seen_from_the_sender() -> None:
    assert Stream(Kind.ITEMS, True, None, None, 4).reference == 4
    assert Stream(Kind.ITEMS, False, None, None, 4).reference == -5


def test_introducing_takes_the_next_number() -> None:
    numbers = Numbers()
    numbers.take()
    stream = Stream(Kind.FUNCTION, True, None, 7)
    assert repr(stream) == "<Stream ours (not yet sent) function>"
    assert stream.introduce(numbers) == Declaration(1, Kind.FUNCTION, 7)
    assert (stream.number, stream.reference) == (1, 1)
    assert repr(stream) == "<Stream ours 1 function>"


def test_a_call_says_where_it_stands() -> None:
    ours, theirs = Call(True, "f"), Call(False, "f", 3)
    assert repr(theirs) == "<Call theirs 3 call>"
    assert not ours.over
    assert not theirs.answered
    for step in (OutgoingInput.EMITTED, OutgoingInput.RESULT_RECEIVED):
        assert ours.move_outgoing(step)
    for step in (IncomingInput.RECEIVED, IncomingInput.ANSWER_COMMANDED, IncomingInput.RESULT_EMITTED):
        assert theirs.move_incoming(step)
    assert ours.answered
    assert theirs.answered
    assert ours.move_outgoing(OutgoingInput.DRAINED)
    assert theirs.move_incoming(IncomingInput.DRAINED)
    assert ours.over
    assert theirs.over
    assert not theirs.answered
