"""A circuit breaker: after failures in a row nothing is tried for a while, then one try decides."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Opens after `failure_threshold` failures in a row; `open_seconds` later it lets one try at a time through, and
    closes after `success_threshold` of these have succeeded. `now` is a clock in seconds."""

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

    def allows(self) -> bool:
        """Whether to try. Half open: one try at a time, which must then be told as success or failure."""
        match self.state:
            case BreakerState.CLOSED:
                return True
            case BreakerState.OPEN:
                return False
            case BreakerState.HALF_OPEN:
                allowed, self._trying = not self._trying, True
                return allowed

    def succeeded(self) -> None:
        if self.state is BreakerState.OPEN:
            return  # of a call that began before: it says nothing about now
        self._failures = 0
        self._trying = False
        if self._opened_at is None:
            return
        self._successes += 1
        if self._successes >= self._success_threshold:
            self._opened_at = None

    def failed(self) -> None:
        self._trying = False
        self._successes = 0
        self._failures += 1
        if self._opened_at is not None or self._failures >= self._failure_threshold:
            self._opened_at = self._now()
