"""Names of queues and relays, and where keys are in events."""

from __future__ import annotations

import pytest

from tasker_host.domain.routing import key_problem, queue_problem, relay_problem


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
