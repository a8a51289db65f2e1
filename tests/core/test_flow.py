"""flow: credit arithmetic, by hand and against a plain model."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from telewire.core.flow import Budget, ReceiveWindow, SendWindow


def test_a_grant_is_monotone() -> None:
    window = SendWindow(100)
    window.used = 40
    assert window.available == 60
    assert window.grant(150)
    assert not window.grant(150)
    assert not window.grant(10)
    assert window.available == 110


def test_the_budget_takes_all_or_nothing() -> None:
    budget = Budget(100)
    assert not budget.take(101)
    assert budget.take(100)
    assert not budget.take(1)
    budget.give(100)
    assert budget.left == 100


def test_growth_takes_half_of_the_budget_at_most() -> None:
    budget = Budget(100)
    assert not budget.take_growth(51)
    assert budget.take_growth(50)
    assert not budget.take_growth(1)
    assert budget.take(50)
    budget.give_growth(50)
    assert (budget.left, budget.left_to_grow) == (50, 50)
    assert budget.take(10)
    assert not budget.take_growth(50)
    assert (budget.left, budget.left_to_grow) == (40, 50)


def test_what_passes_the_limit_is_refused_and_not_charged() -> None:
    window = ReceiveWindow(100)
    assert window.receive(100)
    assert not window.receive(1)
    assert window.received == 100


def test_units_are_consumed_oldest_first_and_in_parts() -> None:
    window = ReceiveWindow(1000)
    window.add(3, 100)
    window.add(2, 50)
    assert not window.consume(0)
    assert not window.consume(6)
    assert window.consume(1)
    assert (window.units, window.consumed) == (4, 33)
    assert window.consume(3)
    assert (window.units, window.consumed) == (1, 125)
    assert window.consume(1)
    assert (window.units, window.consumed) == (0, 150)


def fed(window: ReceiveWindow, size: int) -> None:
    """Let bytes arrive and be consumed."""
    assert window.receive(size)
    window.add(size, size)
    assert window.consume(size)


def test_a_grant_comes_after_half_a_window() -> None:
    window = ReceiveWindow(100)
    window.add(10, 100)
    window.receive(100)
    window.consume(4)
    assert not window.tune(100, None, 0.0, Budget(0))
    assert (window.limit, window.mark) == (100, 50)
    window.consume(1)
    assert window.tune(100, None, 0.0, Budget(0))
    assert window.limit == 150
    assert not window.tune(100, None, 0.0, Budget(0))


def test_a_window_grows_from_the_first_consumption_and_gives_back() -> None:
    budget = Budget(2000)
    window = ReceiveWindow(100)
    for _ in range(2):
        window.tune(500, None, 0.0, budget)
    assert (window.window, window.limit, budget.left) == (500, 500, 1600)
    window.release(budget)
    window.release(budget)
    assert (budget.left, budget.left_to_grow) == (2000, 1000)


def test_a_window_stays_where_the_budget_is_short() -> None:
    budget = Budget(100)
    window = ReceiveWindow(100)
    window.tune(500, None, 0.0, budget)
    assert (window.window, budget.left) == (100, 100)


def test_a_remainder_is_lent_in_one_step_and_repaid() -> None:
    budget = Budget(1000)
    window = ReceiveWindow(100)
    window.receive(100)
    assert not window.lend(1001, budget)
    assert window.limit == 100
    assert window.lend(900, budget)
    assert (window.limit, window.loan, budget.left) == (1000, 900, 100)
    window.receive(900)
    window.add(1, 1000)
    assert not window.repay(budget)
    window.consume(1)
    assert window.repay(budget)
    assert not window.repay(budget)
    assert (window.loan, budget.left) == (0, 1000)


def test_a_remainder_within_the_credit_needs_no_loan() -> None:
    budget = Budget(0)
    window = ReceiveWindow(100)
    window.receive(10)
    assert window.lend(90, budget)
    assert (window.limit, window.loan) == (100, 0)


def test_a_loan_goes_back_with_the_half() -> None:
    budget = Budget(1000)
    window = ReceiveWindow(100)
    window.lend(200, budget)
    window.release(budget)
    assert budget.left == 1000


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 5000)), max_size=20), st.data())
def test_no_credit_is_lost_or_made_by_consuming_in_parts(
    parts: list[tuple[int, int]], data: st.DataObject
) -> None:
    window = ReceiveWindow(1 << 30)
    for units, cost in parts:
        window.add(units, cost)
    while window.units:
        before = window.consumed
        assert window.consume(data.draw(st.integers(1, window.units)))
        assert window.consumed >= before
    assert window.consumed == sum(cost for _, cost in parts)
    assert not window.parts
