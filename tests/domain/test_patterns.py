"""Which events a pattern chooses."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_host.domain.patterns import matches, pattern_problem, pattern_regex
from tasker_host.domain.routing import key_problem, queue_problem, relay_problem

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
    assert bool(re.search(pattern_regex(pattern), f".{name}")) is expected


@pytest.mark.parametrize(
    "pattern", ["", ".", "a..b", "a.", ".a", "Payment.*", "a.b*", "a.***", "a b", "a.(b|c)", 5, None, "x" * 256]
)
def test_what_is_no_pattern_is_told(pattern):
    assert pattern_problem(pattern)


def test_a_word_alone_which_no_event_is_called_is_told_with_what_may_be_meant():
    assert pattern_problem("payment") == (
        "'payment' is the name of no event, they have at least two segments: write 'payment.*' for one more,"
        " 'payment.**' for any number"
    )


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("*", False), ("**", False), ("#.finished", False), ("host.**", True), ("host.step.*", True)],
)
def test_the_happenings_of_the_host_are_matched_by_patterns_that_begin_with_host_only(pattern, expected):
    assert matches(pattern, "host.step.finished") is expected


def is_said(parts: list[str], segments: list[str]) -> bool:
    """What the patterns say, word for word."""
    if not parts:
        return not segments
    if parts[0] in ("**", "#"):
        return is_said(parts[1:], segments) or bool(segments and is_said(parts, segments[1:]))
    return bool(segments) and parts[0] in ("*", segments[0]) and is_said(parts[1:], segments[1:])


@given(
    parts=st.lists(st.sampled_from(["a", "b", "*", "**", "#"]), min_size=2, max_size=6),
    segments=st.lists(st.sampled_from(["a", "b", "a_b"]), min_size=2, max_size=6),
)
def test_a_pattern_says_the_same_however_many_times_any_number_of_segments_is_in_it(parts, segments):
    assert matches(".".join(parts), ".".join(segments)) is is_said(parts, segments)


@pytest.mark.timeout(5)
@pytest.mark.parametrize("pattern", [".".join(["**"] * 60), ".".join(["**", "a"] * 40)])
def test_a_pattern_of_any_kind_is_matched_at_once(pattern):
    assert not matches(f"{pattern}.z", ".".join(["a"] * 100))
    assert matches(f"{pattern}.z", ".".join(["a"] * 100 + ["z"]))


@pytest.mark.parametrize("queue", ["payments", "_a1", "x" * 47])
def test_names_of_queues_that_can_be_bound(queue):
    assert queue_problem(queue) is None


@pytest.mark.parametrize(
    "queue",
    ["", "1a", "A", "a-b", "x" * 48, "tests_queue", "erp_relay", "erp_relay_dead", "orchestration_task_requests"],
)
def test_names_of_queues_that_cannot_be_bound(queue):
    assert queue_problem(queue)


@pytest.mark.parametrize("name", ["", "1a", "Erp", "a.b", "a-b", "x" * 37, 5, None])
def test_names_that_a_relay_cannot_have(name):
    assert relay_problem("x" * 36) is None
    assert relay_problem(name)


@pytest.mark.parametrize("path", ["payload.order", "payload.order.id-2", "metadata.task_uuid", "event_name"])
def test_places_of_keys(path):
    assert key_problem(path) is None


@pytest.mark.parametrize("path", ["", "payload", "order", "payload.", "payload.'x", "event", 5])
def test_what_is_no_place_of_a_key(path):
    assert key_problem(path)
