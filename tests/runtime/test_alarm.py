"""Alarm: it rings at least once by the time that was asked for, and makes no timer that it does not need."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from telewire.runtime.alarm import Alarm
from telewire.runtime.backend import Backend, Timer


class _Timers:
    """A backend's clock, which is moved by hand."""

    def __init__(self) -> None:
        self.pending: list[_Timer] = []
        self.made = self.cancelled = 0

    def call_at(self, when: float, ring: Callable[[], object]) -> Timer:
        self.made += 1
        timer = _Timer(self, when, ring)
        self.pending.append(timer)
        return timer

    def advance(self, now: float) -> None:
        while due := [timer for timer in self.pending if timer.when <= now]:
            first = min(due, key=lambda timer: timer.when)
            self.pending.remove(first)
            first.ring()


class _Timer(Timer):
    def __init__(self, timers: _Timers, when: float, ring: Callable[[], object]) -> None:
        self.timers = timers
        self.when = when
        self.ring = ring

    def cancel(self) -> None:
        self.timers.cancelled += 1
        self.timers.pending.remove(self)


class _Owner:
    """Sets its alarm again each time, as a driver does: ``wants`` is when."""

    def __init__(self) -> None:
        self.timers = _Timers()
        self.alarm = Alarm()
        self.rang = 0

    def set(self, when: float) -> None:
        # What the alarm uses of a backend is its timers.
        self.alarm.set(when, cast(Backend, self.timers), self.ring)

    def ring(self) -> None:
        self.alarm.rung()
        self.rang += 1


def test_what_is_later_is_heard_of_when_it_rings() -> None:
    owner = _Owner()
    owner.set(1.0)
    owner.set(2.0)
    assert owner.timers.made == 1
    owner.timers.advance(1.0)
    assert owner.rang == 1
    owner.set(2.0)
    owner.timers.advance(2.0)
    assert owner.rang == 2


def test_a_nearer_time_for_once_makes_one_timer_and_cancels_none() -> None:
    owner = _Owner()
    owner.set(15.0)
    for second in range(10):
        owner.set(second + 0.025)
        owner.timers.advance(second + 0.5)
        assert owner.rang == second + 1
        owner.set(second + 15.0)
    assert (owner.timers.made, owner.timers.cancelled) == (11, 0)
    owner.timers.advance(15.0)
    assert owner.rang == 11, "the one behind is still there"


@pytest.mark.parametrize("times", [(15.0, 3.0, 1.0), (15.0, 3.0, 2.0, 1.0)])
def test_ever_nearer_times_all_count(times: tuple[float, ...]) -> None:
    owner = _Owner()
    for when in times:
        owner.set(when)
    owner.timers.advance(1.0)
    assert owner.rang == 1
    assert len(owner.timers.pending) == 1
    owner.timers.advance(15.0)
    assert owner.rang == 2


def test_nothing_rings_once_it_is_cleared() -> None:
    owner = _Owner()
    owner.set(15.0)
    owner.set(1.0)
    owner.alarm.clear()
    assert not owner.timers.pending
    owner.alarm.clear()
    owner.set(20.0)
    owner.timers.advance(20.0)
    assert owner.rang == 1
