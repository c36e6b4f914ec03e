"""How long a failed step waits before it is tried again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import assert_never

from tasker_host.domain.template import Backoff, RetryPolicy

MOST_REQUESTED_SECONDS = 365 * 86_400.0
"""A year: what a handler or a server may ask for at most."""

_MOST_HEADER_SECONDS = 2**32 - 1


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """`jitter` is the fraction by which a wait is spread, below and above. No wait is longer than `max_ms`."""

    kind: Backoff = Backoff.EXPONENTIAL
    base_ms: int = 1_000
    max_ms: int = 30_000
    jitter: float = 0.15


def effective(policy: RetryPolicy, defaults: BackoffPolicy) -> BackoffPolicy:
    """What the step's policy says, and the host's `defaults` where it says nothing."""
    return BackoffPolicy(
        kind=defaults.kind if policy.backoff is None else policy.backoff,
        base_ms=defaults.base_ms if policy.backoff_base_ms is None else policy.backoff_base_ms,
        max_ms=defaults.max_ms if policy.max_backoff_ms is None else policy.max_backoff_ms,
        jitter=defaults.jitter,
    )


def delay_seconds(attempt: int, policy: BackoffPolicy, *, jitter: float, requested: float | None = None) -> float:
    """Seconds to wait after `attempt` has failed (1 = the first execution), so attempt 1 waits the base.

    `jitter` in [0, 1) is drawn by the caller, so the same arguments give the same wait. `requested`, what the handler
    or a server asked for in seconds, is taken as it is: neither spread nor cut to the policy's cap.
    """
    if requested is not None and not math.isnan(requested):
        return min(max(requested, 0.0), MOST_REQUESTED_SECONDS)
    wait = min(policy.base_ms * _factor(policy.kind, attempt), policy.max_ms) / 1000
    low = wait * (1 - policy.jitter)
    # At the cap waits are spread below it only: cutting them off there would let half of them end together.
    high = min(wait * (1 + policy.jitter), policy.max_ms / 1000)
    return low + (high - low) * jitter


def parse_retry_after(value: str, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for, at `now` (aware); None when it asks for nothing or nothing sensible.

    Either whole seconds, or an HTTP date in the future.
    """
    wait = read_retry_after(value, now)
    if wait is None:
        return None
    is_sensible = wait <= _MOST_HEADER_SECONDS if value.strip().isdigit() else wait > 0
    return wait if is_sensible else None


def read_retry_after(value: str, now: datetime) -> float | None:
    """Seconds from `now` (aware) that a Retry-After header says, whatever they are; None when it cannot be read.

    A date that is past is less than 0.
    """
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        due = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    # Without a zone it is UTC, as HTTP's dates are.
    return ((due if due.tzinfo is not None else due.replace(tzinfo=UTC)) - now).total_seconds()


def _factor(kind: Backoff, attempt: int) -> int:
    match kind:
        case Backoff.NONE:
            return 0
        case Backoff.LINEAR:
            return attempt
        case Backoff.EXPONENTIAL:
            # 2 to the 40th milliseconds are 35 years, more than any cap.
            return 1 << min(attempt - 1, 40)
        case Backoff.FIBONACCI:
            previous, current = 0, 1
            for _ in range(min(attempt, 60) - 1):
                previous, current = current, previous + current
            return current
        case _:
            assert_never(kind)
