"""Which events a pattern chooses."""

from __future__ import annotations

import pytest

from tasker_host.domain.patterns import matches, pattern_problem

MATCHES = [
    ("payment.processed", "payment.processed", True),
    ("payment.processed", "payment.processed.late", False),
    ("payment.processed", "paymentxprocessed", False),
    ("payment.*", "payment.processed", True),
    ("payment.*", "payment.card.processed", False),
    ("payment.*", "payment", False),
    ("payment.*", "repayment.processed", False),
    ("payment.**", "payment.processed", True),
    ("payment.**", "payment.card.processed", True),
    ("payment.**", "payments.processed", False),
    ("payment.#", "payment.card.processed", True),
    ("#.processed", "payment.card.processed", True),
    ("**.processed", "processed", True),
    ("#.processed", "payment.unprocessed", False),
    ("*.processed", "payment.processed", True),
    ("*.processed", "payment.card.processed", False),
    ("order.*.shipped", "order.parcel.shipped", True),
    ("order.**.shipped", "order.shipped", True),
    ("order.**.shipped", "order.a.b.shipped", True),
    ("#", "payment.card.processed", True),
    ("*", "payment.card.processed", True),
]


@pytest.mark.parametrize(("pattern", "name", "expected"), MATCHES)
def test_which_names_a_pattern_matches(pattern, name, expected):
    assert pattern_problem(pattern) is None
    assert matches(pattern, name) is expected


@pytest.mark.parametrize(
    "pattern", ["", ".", "a..b", "a.", ".a", "Payment.*", "a.b*", "a.***", "a b", "a.(b|c)", 5, None, "x" * 256]
)
def test_what_is_no_pattern_is_told(pattern):
    assert pattern_problem(pattern)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("*", False), ("**", False), ("#.finished", False), ("host.**", True), ("host.step.*", True)],
)
def test_the_happenings_of_the_host_are_matched_by_patterns_that_begin_with_host_only(pattern, expected):
    assert matches(pattern, "host.step.finished") is expected
