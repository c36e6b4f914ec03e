"""A circuit breaker: after failures in a row nothing is tried for a while, then one try decides."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from typing import NewType


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


Call = NewType("Call", int)
"""What `begin` gave: its outcome counts as long as the breaker has not changed since."""


class Breaker:
    """Opens after `failure_threshold` failures in a row; `open_seconds` later it lets one try at a time through, and
    closes after `success_threshold` of these have succeeded. `now` is a clock in seconds.

    Every call is begun, and then told as succeeded, failed or given up. What is told of a call that began before the
    breaker opened or closed changes nothing: it says nothing about now.
    """

    def __init__(
        self,
        *,
        failure_threshold: int,
        open_seconds: float,
        success_threshold: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failure_threshold = failure_threshold
        self._open_seconds = open_seconds
        self._success_threshold = success_threshold
        self._now = now
        self._failures = 0
        self._successes = 0
        self._opened_at: float | None = None
        self._trying = False
        # All calls while it is closed share a number; each try has one of its own.
        self._number = 0

    @property
    def failures(self) -> int:
        """In a row, until now."""
        return self._failures

    @property
    def state(self) -> BreakerState:
        if self._opened_at is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self.retry_after > 0 else BreakerState.HALF_OPEN

    @property
    def retry_after(self) -> float:
        """Seconds until something is tried again; 0 when it may be now."""
        if self._opened_at is None:
            return 0.0
        return max(0.0, self._opened_at + self._open_seconds - self._now())

    def begin(self) -> Call | None:
        """A call that may be made; None: leave it. Half open, one at a time may."""
        match self.state:
            case BreakerState.CLOSED:
                return Call(self._number)
            case BreakerState.OPEN:
                return None
            case BreakerState.HALF_OPEN:
                if self._trying:
                    return None
                self._trying = True
                self._number += 1
                return Call(self._number)

    def succeeded(self, call: Call) -> None:
        if call != self._number:
            return
        self._failures = 0
        if self._opened_at is None:
            return
        self._end_try()
        self._successes += 1
        if self._successes >= self._success_threshold:
            self._opened_at = None
            self._successes = 0

    def failed(self, call: Call) -> None:
        if call != self._number:
            return
        self._failures += 1
        if self._opened_at is not None or self._failures >= self._failure_threshold:
            self._opened_at = self._now()
            self._successes = 0
            self._end_try()

    def given_up(self, call: Call) -> None:
        """It was not made to its end, or went wrong for reasons of its caller: another one may try."""
        if call == self._number and self._opened_at is not None:
            self._end_try()

    def _end_try(self) -> None:
        self._trying = False
        self._number += 1
