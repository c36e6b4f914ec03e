"""How long a failed step waits."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_host.domain.backoff import BackoffPolicy, delay_seconds, effective, parse_retry_after
from tasker_host.domain.template import Backoff, RetryPolicy

NOW = datetime(2026, 11, 20, 8, 30, 0, tzinfo=UTC)
MIDDLE = 0.5


def policy(kind: Backoff, base_ms: int = 1_000, max_ms: int = 60_000, jitter: float = 0.0) -> BackoffPolicy:
    return BackoffPolicy(kind, base_ms, max_ms, jitter)


@pytest.mark.parametrize(
    ("kind", "waits"),
    [
        (Backoff.NONE, [0, 0, 0, 0, 0, 0, 0, 0]),
        (Backoff.LINEAR, [2, 4, 6, 8, 10, 12, 14, 16]),
        (Backoff.EXPONENTIAL, [2, 4, 8, 16, 32, 60, 60, 60]),
        (Backoff.FIBONACCI, [2, 2, 4, 6, 10, 16, 26, 42]),
    ],
)
def test_waits_after_the_first_to_the_eighth_attempt(kind: Backoff, waits: list[float]) -> None:
    found = [delay_seconds(k, policy(kind, base_ms=2_000), jitter=MIDDLE) for k in range(1, 9)]
    assert found == waits


def test_jitter_spreads_a_wait_evenly_below_and_above() -> None:
    spread = policy(Backoff.LINEAR, base_ms=10_000, jitter=0.15)
    assert delay_seconds(1, spread, jitter=0.0) == pytest.approx(8.5)
    assert delay_seconds(1, spread, jitter=0.5) == pytest.approx(10.0)
    assert delay_seconds(1, spread, jitter=0.999999) == pytest.approx(11.5, abs=1e-4)


def test_at_the_cap_waits_are_spread_below_it_only() -> None:
    spread = policy(Backoff.LINEAR, base_ms=90_000, jitter=0.1)
    assert delay_seconds(1, spread, jitter=0.0) == pytest.approx(54.0)
    assert delay_seconds(1, spread, jitter=0.5) == pytest.approx(57.0)
    assert delay_seconds(1, spread, jitter=0.999999) == pytest.approx(60.0, abs=1e-4)


@pytest.mark.parametrize(
    ("requested", "seconds"),
    [(90.0, 90.0), (0.0, 0.0), (-5.0, 0.0), (float("inf"), 31_536_000.0), (1e300, 31_536_000.0)],
)
def test_a_requested_wait_is_kept_beyond_the_cap_and_without_jitter(requested: float, seconds: float) -> None:
    assert delay_seconds(3, policy(Backoff.LINEAR, jitter=0.5), jitter=0.9, requested=requested) == seconds


def test_a_request_for_no_number_is_no_request() -> None:
    assert delay_seconds(1, policy(Backoff.LINEAR), jitter=MIDDLE, requested=float("nan")) == 1.0


def test_the_step_outweighs_the_host_where_it_says_something() -> None:
    defaults = BackoffPolicy(Backoff.EXPONENTIAL, 1_000, 60_000, 0.2)
    assert effective(RetryPolicy(), defaults) == defaults
    assert effective(RetryPolicy(backoff=Backoff.NONE, max_backoff_ms=5), defaults) == BackoffPolicy(
        Backoff.NONE, 1_000, 5, 0.2
    )
    assert effective(RetryPolicy(backoff_base_ms=0), defaults).base_ms == 0


KINDS = st.sampled_from(Backoff)
JITTER = st.floats(0, 1, exclude_max=True)
POLICIES = st.builds(
    BackoffPolicy, KINDS, st.integers(0, 3_600_000), st.integers(0, 3_600_000), st.floats(0, 1)
)  # fmt: skip


@given(POLICIES, st.integers(1, 200), JITTER)
def test_no_wait_is_shorter_than_the_one_before(policy: BackoffPolicy, attempt: int, jitter: float) -> None:
    now = delay_seconds(attempt, policy, jitter=jitter)
    assert delay_seconds(attempt + 1, policy, jitter=jitter) >= now * (1 - 1e-12)


@given(POLICIES, st.integers(1, 10_000), JITTER)
def test_every_wait_lies_within_the_cap_and_the_jitter(policy: BackoffPolicy, attempt: int, jitter: float) -> None:
    wait = delay_seconds(attempt, policy, jitter=jitter)
    plain = delay_seconds(attempt, BackoffPolicy(policy.kind, policy.base_ms, policy.max_ms, 0.0), jitter=jitter)
    assert 0 <= wait <= policy.max_ms / 1000 * (1 + 1e-12)
    assert plain * (1 - policy.jitter) * (1 - 1e-12) <= wait <= plain * (1 + policy.jitter) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        (" 0 ", 0.0),
        ("4294967295", 4294967295.0),
        ("4294967296", None),
        ("-5", None),
        ("", None),
        ("soon", None),
        ("1.5", None),
        ("٣", None),
        ("9" * 5000, None),
        ("Fri, 20 Nov 2026 08:31:30 GMT", 90.0),
        ("Friday, 20-Nov-26 08:31:30 GMT", 90.0),
        ("Fri, 20 Nov 2026 08:31:30 -0000", 90.0),
        ("Fri, 20 Nov 2026 09:31:30 +0100", 90.0),
        ("Fri, 20 Nov 2026 08:29:30 GMT", None),
        ("Fri, 99 Nov 2026 08:29:30 GMT", None),
    ],
)
def test_what_a_retry_after_header_asks_for(value: str, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


@given(st.text())
def test_no_header_is_too_odd_to_be_read(value: str) -> None:
    assert parse_retry_after(value, NOW) is None or parse_retry_after(value, NOW) >= 0
