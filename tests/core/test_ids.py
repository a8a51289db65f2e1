"""ids: numbers are gapless, increasing and never given twice."""

from __future__ import annotations

from telewire.core.ids import LAST, Numbers


def test_numbers_are_taken_in_order() -> None:
    numbers = Numbers()
    assert [numbers.take(), numbers.take(), numbers.take()] == [0, 1, 2]
    assert numbers.next == 3


def test_only_the_next_number_is_accepted() -> None:
    numbers = Numbers()
    assert numbers.accept(0)
    assert not numbers.accept(0)
    assert not numbers.accept(2)
    assert numbers.next == 1


def test_what_is_below_the_mark_is_spent() -> None:
    numbers = Numbers()
    numbers.take()
    assert numbers.spent(0)
    assert not numbers.spent(1)


def test_calls_end_before_the_numbers_do() -> None:
    assert Numbers().calls_below == LAST < 2**53
