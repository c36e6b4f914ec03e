"""What a handler reads about the step that it runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from tasker_host import StepContext

CONTEXT = StepContext(
    UUID(int=1),
    UUID(int=2),
    UUID(int=3),
    "payments",
    "charge_order",
    "2.1.0",
    "charge",
    "payments.charge_card",
    attempt=2,
    max_attempts=3,
    input={"order_id": "o-1", "coupon": None, "items": [{"sku": "a"}], "total": 0},
    dependencies={
        "price": {"result": {"cents": 5}, "lines": [1, 2]},
        "rows_002": 2,
        "rows_001": 1,
        "rows_003": None,
        "skipped": None,
    },
    config={"gateway": "eu-1", "retries": None},
)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda c: c.get_input("order_id"), "o-1"),
        (lambda c: c.get_input("nothing"), None),
        (lambda c: c.get_input_or("coupon", "none"), "none"),
        (lambda c: c.get_input_or("nothing", 5), 5),
        (lambda c: c.get_input_or("nothing"), None),
        (lambda c: c.get_input_or("total", 5), 0),
        (lambda c: [c.has_input("coupon"), c.has_input("nothing")], [True, False]),
        (lambda c: [c.get_config("gateway"), c.get_config("retries"), c.get_config("no")], ["eu-1", None, None]),
        (lambda c: c.get_dependency_result("rows_001"), 1),
        (lambda c: c.get_dependency_result("nothing"), None),
        (lambda c: [c.has_dependency_result("skipped"), c.has_dependency_result("nothing")], [True, False]),
        (lambda c: c.get_dependency_field("price", "result", "cents"), 5),
        (lambda c: c.get_dependency_field("price", "result", "cents", "more"), None),
        (lambda c: c.get_dependency_field("price", "lines", "0"), None),
        (lambda c: c.get_dependency_field("nothing", "a"), None),
        (lambda c: c.get_dependency_result_keys(), ["price", "rows_002", "rows_001", "rows_003", "skipped"]),
        (lambda c: c.get_all_dependency_results("rows_"), [1, 2]),
        (lambda c: c.get_task_field("task_name"), "charge_order"),
        (lambda c: c.get_task_field("context")["order_id"], "o-1"),
        (lambda c: [c.get_task_field("task_uuid"), c.get_task_field("namespace_name")], [UUID(int=1), "payments"]),
        (lambda c: c.get_task_field("colour"), None),
    ],
)
def test_every_accessor_gives_what_it_says(call, expected):
    assert call(CONTEXT) == expected


def test_a_value_is_never_unwrapped_by_guessing():
    assert CONTEXT.get_dependency_result("price") == {"result": {"cents": 5}, "lines": [1, 2]}


@pytest.mark.parametrize(
    ("attempt", "of", "expected"),
    [(1, 3, (0, False, False)), (2, 3, (1, True, False)), (3, 3, (2, True, True)), (1, 1, (0, False, True))],
)
def test_attempts_are_counted_from_one_and_retries_from_none(attempt, of, expected):
    context = replace(CONTEXT, attempt=attempt, max_attempts=of)
    assert (context.retry_count, context.is_retry(), context.is_last_retry()) == expected
    assert context.max_retries == of


@pytest.mark.parametrize(
    ("checkpoint", "expected"),
    [
        (None, (None, 0, None, False)),
        ({"cursor": 0, "items_processed": 7, "accumulated_results": {"sum": 1}}, (0, 7, {"sum": 1}, True)),
        ({"cursor": None}, (None, 0, None, False)),
    ],
)
def test_a_checkpoint_is_read_in_parts(checkpoint: Any, expected: Any):
    context = replace(CONTEXT, checkpoint=checkpoint)
    found = (context.checkpoint_cursor, context.checkpoint_items_processed, context.accumulated_results)
    assert (*found, context.has_checkpoint()) == expected


def test_a_transaction_needs_a_worker():
    with pytest.raises(RuntimeError, match="for async handlers that a worker runs"):
        CONTEXT.transaction()
