"""timers: the earliest deadline that still matters, and none kept for what ended long ago."""

from __future__ import annotations

from telewire.core.timers import SWEEP, Timers
from telewire.testing.pair import Pair
from tests.core.dialogue import K, assert_empty, names


class Owner:
    def __init__(self) -> None:
        self.timed = True


def test_the_earliest_comes_first() -> None:
    timers: Timers[Owner] = Timers()
    first, second = Owner(), Owner()
    assert timers.next() is None
    timers.add(2.0, second)
    timers.add(1.0, first)
    assert timers.next() == 1.0
    assert timers.due(0.5) == []
    assert timers.due(1.0) == [first]
    assert timers.next() == 2.0
    assert timers.due(9.0) == [second]
    assert timers.next() is None


def test_equal_deadlines_keep_their_order() -> None:
    timers: Timers[Owner] = Timers()
    owners = [Owner() for _ in range(5)]
    for owner in owners:
        timers.add(1.0, owner)
    assert timers.due(1.0) == owners


def test_what_no_longer_matters_is_passed_over() -> None:
    timers: Timers[Owner] = Timers()
    gone, alive, late = Owner(), Owner(), Owner()
    timers.add(1.0, gone)
    timers.add(2.0, alive)
    timers.add(3.0, late)
    gone.timed = False
    assert timers.next() == 2.0
    late.timed = False
    assert timers.due(3.0) == [alive]


def test_all_can_be_dropped() -> None:
    timers: Timers[Owner] = Timers()
    timers.add(1.0, Owner())
    timers.clear()
    assert timers.next() is None


def test_far_deadlines_of_what_has_ended_are_swept_out() -> None:
    timers: Timers[Owner] = Timers()
    alive = [Owner() for _ in range(10)]
    for owner in alive:
        timers.add(1e9, owner)
    for _ in range(100 * SWEEP):
        gone = Owner()
        timers.add(1e9, gone)
        gone.timed = False
    assert len(timers._heap) <= SWEEP + 1
    assert timers.due(1e9) == alive


def test_a_call_that_ends_with_another_whose_time_is_up_is_answered_once() -> None:
    connection = Pair().client
    call = connection.call("f", b"", [(K.CHANNEL, 0)], deadline=1.0, now=0.0)
    connection.call(call.declared[0], b"", deadline=1.0)
    connection.handle_timeout(1.0)
    told = names(connection.events_received())
    assert (told.count("CallRejected"), told.count("CallOver")) == (2, 2)
    assert connection.data_to_send() == []
    assert_empty(connection)
