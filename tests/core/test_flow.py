"""flow: credit arithmetic, by hand and against a plain model."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from telewire.core.flow import Budget, Pool, ReceiveWindow, SendWindow


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


# --- windows that tune themselves ----------------------------------------------------------------

USUAL = 1 << 20


def read(window: ReceiveWindow, budget: Budget, size: int, now: float, trip: float = 0.09) -> None:
    """Let bytes arrive and be consumed at one time, in chunks, as a machine does (TW-STR-085)."""
    for _ in range(size // 65536):
        fed(window, 65536)
        if window.consumed >= window.mark:
            window.tune(USUAL, trip, now, budget)


def test_a_window_doubles_while_more_than_a_third_is_consumed_in_a_round_trip() -> None:
    # TW-STR-081.
    budget = Budget(1 << 28)
    window = ReceiveWindow(65536)
    read(window, budget, 65536, 0.0)
    assert window.window == USUAL
    now, sizes = 0.0, []
    for _ in range(8):
        now += 0.1
        read(window, budget, 512 * 1024, now)
        sizes.append(window.window)
    assert sizes == [2 * USUAL] * 8
    assert window.grown == 2 * USUAL - 65536 == (1 << 27) - budget.left_to_grow
    now += 0.1
    read(window, budget, 1 << 20, now)
    assert window.window == 4 * USUAL


def test_without_a_round_trip_a_window_stays() -> None:
    budget = Budget(1 << 28)
    window = ReceiveWindow(65536)
    for number in range(20):
        read(window, budget, 65536 if not number else 512 * 1024, number, trip=0.0)
    assert window.window == USUAL


def test_what_was_consumed_in_a_longer_time_counts_in_proportion() -> None:
    budget = Budget(1 << 28)
    window = ReceiveWindow(65536)
    read(window, budget, 65536, 0.0)
    for number in range(1, 20):
        # Spread over ten round trips.
        read(window, budget, 65536, 0.1 * number)
    assert window.window == USUAL


def test_large_windows_are_granted_in_steps_of_512_kib() -> None:
    # TW-STR-035.
    budget = Budget(1 << 28)
    window = ReceiveWindow(65536)
    read(window, budget, 65536, 0.0)
    limits = []
    for number in range(1, 30):
        read(window, budget, 512 * 1024, 0.1 * number)
        limits.append(window.limit)
    assert window.window == 2 * USUAL
    assert {after - before for before, after in pairwise(limits[4:])} == {512 * 1024}


def test_a_window_shrinks_when_little_is_consumed_and_gives_back_as_it_is() -> None:
    # TW-STR-082, TW-STR-083: what was granted stays granted, and memory comes back by consumption.
    budget = Budget(1 << 28)
    window = ReceiveWindow(65536)
    now = 0.0
    read(window, budget, 65536, now)
    for _ in range(8):
        now += 0.1
        read(window, budget, 1 << 20, now)
    assert window.window == 4 * USUAL
    limits, held = [window.limit], []
    while window.window > USUAL:
        now += 0.1
        read(window, budget, 65536, now)
        limits.append(window.limit)
        held.append(window.grown)
        assert window.grown >= max(window.window, window.limit - window.consumed) - 65536
        assert budget.left_to_grow == (1 << 27) - window.grown
    assert limits == sorted(limits)
    assert held == sorted(held, reverse=True)
    assert len(set(held)) > 2
    for _ in range(64):
        now += 0.1
        read(window, budget, 65536, now)
    assert (window.window, window.grown) == (USUAL, USUAL - 65536)
    window.release(budget)
    assert budget.left_to_grow == 1 << 27


def test_a_window_that_shrank_grows_again_with_what_it_still_holds() -> None:
    budget = Budget(1 << 23)
    window = ReceiveWindow(65536)
    now = 0.0
    read(window, budget, 65536, now)
    for _ in range(4):
        now += 0.1
        read(window, budget, 1 << 20, now)
    assert window.window == 4 * USUAL
    while window.window == 4 * USUAL:
        now += 0.1
        read(window, budget, 65536, now)
    assert window.grown > 2 * USUAL
    for _ in range(3):
        now += 0.1
        read(window, budget, 1 << 20, now)
    assert window.window == 4 * USUAL
    assert budget.left_to_grow == (1 << 22) - window.grown


def test_who_is_large_gives_way_to_who_is_small() -> None:
    # TW-STR-084.
    budget = Budget(17 << 20)
    large, small = ReceiveWindow(65536), ReceiveWindow(65536)
    now = 0.0
    read(large, budget, 65536, now)
    for _ in range(10):
        now += 0.1
        read(large, budget, 2 << 20, now)
    assert (large.window, small.window) == (8 * USUAL, 65536)
    for _ in range(40):
        now += 0.1
        read(large, budget, 1 << 20, now)
        read(small, budget, 32768, now)
        read(small, budget, 65536 if small.window < USUAL else 1 << 20, now)
    assert large.window == small.window == 4 * USUAL


def test_who_has_ended_wants_nothing_any_more() -> None:
    pool = Pool(1 << 21)
    budget, other = Budget(1 << 20, pool), Budget(1 << 24, pool)
    window, waiting = ReceiveWindow(65536), ReceiveWindow(65536)
    assert budget.take_growth(1 << 19)
    read(window, budget, 65536, 0.0)
    assert budget.is_short(1 << 21)
    # Less than that does not help it, and is no reason to forget it.
    budget.give_growth(65536)
    assert budget.is_short(1 << 21)
    window.release(budget)
    assert not budget.is_short(1 << 21)
    read(waiting, other, 65536, 0.0)
    assert budget.is_short(1 << 21)
    waiting.release(other)
    budget.give_growth((1 << 19) - 65536)
    assert waiting.grown == window.grown == 0
    assert (budget.left, pool.left, pool.left_to_grow) == (1 << 20, 1 << 21, 1 << 20)


def test_a_remainder_without_room_lets_windows_shrink() -> None:
    budget = Budget(1 << 23)
    window, other = ReceiveWindow(65536), ReceiveWindow(65536)
    now = 0.0
    read(window, budget, 65536, now)
    for _ in range(4):
        now += 0.1
        read(window, budget, 1 << 20, now)
    assert window.window == 4 * USUAL
    # However much is consumed, nothing grows until it is there.
    while not other.lend((1 << 23) - USUAL, budget):
        now += 0.1
        read(window, budget, 1 << 20, now)
    assert window.window == USUAL
    assert not budget.is_short(1 << 30)


def test_a_short_pool_lets_the_windows_of_all_shrink() -> None:
    pool = Pool(1 << 24)
    mine, other = Budget(1 << 28, pool), Budget(1 << 28, pool)
    window = ReceiveWindow(65536)
    now = 0.0
    read(window, mine, 65536, now)
    for _ in range(4):
        now += 0.1
        read(window, mine, 1 << 20, now)
    assert window.window == 4 * USUAL
    # Who wants more than we have is no reason.
    assert not other.take_growth(1 << 24, 1 << 24)
    assert not mine.is_short(4 * USUAL)
    while not other.take_growth(6 << 20, USUAL):
        now += 0.1
        read(window, mine, 1 << 20, now)
    assert window.window == 2 * USUAL
    assert not other.take(1 << 24)
    assert mine.is_short(1)


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


def test_of_two_that_want_more_the_smaller_counts() -> None:
    budget = Budget(1000)
    assert not budget.take_growth(501, 64)
    assert not budget.take_growth(501, 128)
    assert budget.is_short(65)
    assert not budget.is_short(64)
