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


def test_it_opens_after_failures_in_a_row_only(breaker):
    for failed in (True, True, False, True, True):
        assert breaker.allows()
        breaker.failed() if failed else breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED
    breaker.failed()
    assert (breaker.state, breaker.allows(), breaker.retry_after) == (BreakerState.OPEN, False, 5)


def test_successes_of_calls_that_began_before_it_opened_do_not_close_it(breaker):
    for _ in range(3):
        breaker.failed()
    breaker.succeeded()
    breaker.succeeded()
    assert (breaker.state, breaker.failures) == (BreakerState.OPEN, 3)


def test_after_a_while_it_lets_one_try_through_and_closes_after_some_successes(breaker, clock):
    for _ in range(3):
        breaker.failed()
    clock.now = 5
    assert breaker.state is BreakerState.HALF_OPEN
    assert [breaker.allows(), breaker.allows()] == [True, False]
    breaker.succeeded()
    assert (breaker.state, breaker.allows()) == (BreakerState.HALF_OPEN, True)
    breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED


def test_a_failed_try_opens_it_again(breaker, clock):
    for _ in range(3):
        breaker.failed()
    clock.now = 5
    assert breaker.allows()
    breaker.failed()
    assert (breaker.state, breaker.retry_after) == (BreakerState.OPEN, 5)
