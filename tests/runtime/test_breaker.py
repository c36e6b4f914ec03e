"""The circuit breaker: closed, open, half open."""

from __future__ import annotations

import pytest

from tasker_host.runtime.breaker import Breaker, BreakerState


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(failure_threshold=3, open_seconds=5, success_threshold=2, now=clock)


def opened(breaker: Breaker) -> None:
    """Three calls that fail."""
    for _ in range(3):
        breaker.failed(breaker.begin())
    assert breaker.state is BreakerState.OPEN


def test_it_opens_after_failures_in_a_row_only(breaker):
    for failed in (True, True, False, True, True):
        call = breaker.begin()
        breaker.failed(call) if failed else breaker.succeeded(call)
    assert breaker.state is BreakerState.CLOSED
    breaker.failed(breaker.begin())
    assert (breaker.state, breaker.begin(), breaker.retry_after) == (BreakerState.OPEN, None, 5)


def test_what_was_given_up_counts_neither_way(breaker):
    for _ in range(2):
        breaker.failed(breaker.begin())
    for _ in range(5):
        breaker.given_up(breaker.begin())
    assert (breaker.state, breaker.failures) == (BreakerState.CLOSED, 2)


def test_calls_that_began_before_it_opened_do_not_close_it(breaker):
    early = breaker.begin()
    opened(breaker)
    breaker.succeeded(early)
    breaker.succeeded(early)
    assert (breaker.state, breaker.failures) == (BreakerState.OPEN, 3)


def test_calls_that_began_before_it_opened_are_no_tries(breaker, clock):
    early = breaker.begin()
    opened(breaker)
    clock.now = 5
    a_try = breaker.begin()
    for _ in range(3):
        breaker.succeeded(early)
        breaker.failed(early)
        breaker.given_up(early)
    assert (breaker.state, breaker.begin()) == (BreakerState.HALF_OPEN, None)  # the try is still on its way
    breaker.succeeded(a_try)
    breaker.succeeded(breaker.begin())
    assert breaker.state is BreakerState.CLOSED


def test_after_a_while_it_lets_one_try_through_and_closes_after_some_successes(breaker, clock):
    opened(breaker)
    clock.now = 5
    assert breaker.state is BreakerState.HALF_OPEN
    first, second = breaker.begin(), breaker.begin()
    assert (first is None, second) == (False, None)
    breaker.succeeded(first)
    breaker.succeeded(first)  # told twice, it counts once
    assert breaker.state is BreakerState.HALF_OPEN
    breaker.succeeded(breaker.begin())
    assert breaker.state is BreakerState.CLOSED


def test_a_try_that_is_given_up_leaves_its_turn_to_another(breaker, clock):
    opened(breaker)
    clock.now = 5
    breaker.given_up(breaker.begin())
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.begin() is not None


def test_a_failed_try_opens_it_again(breaker, clock):
    opened(breaker)
    clock.now = 5
    breaker.failed(breaker.begin())
    assert (breaker.state, breaker.retry_after) == (BreakerState.OPEN, 5)


def test_a_call_of_the_time_before_does_not_keep_a_closed_one_from_counting(breaker, clock):
    early = breaker.begin()
    opened(breaker)
    clock.now = 5
    for _ in range(2):
        breaker.succeeded(breaker.begin())
    breaker.failed(early)
    assert (breaker.state, breaker.failures) == (BreakerState.CLOSED, 0)
