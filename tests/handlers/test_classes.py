"""Handlers of decisions and batches as classes, and what their helpers make."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tasker_host import (
    Batchable,
    Batches,
    BatchWorkerContext,
    BatchWorkerOutcome,
    Checkpoint,
    Cursor,
    Decision,
    DecisionHandler,
    Failed,
    Handler,
    PermanentError,
    StepContext,
    StepHandler,
    Succeeded,
)
from tasker_host.handlers.bound import bind


class Route(DecisionHandler):
    handler_name = "approvals.route"
    handler_version = "1.2.0"

    def call(self, context):
        return self.decision_success(["auto"], {"amount": context.input["amount"]})


class Import(StepHandler, Batchable):
    handler_name = "imports.analyze"
    worker_template = "work"

    def call(self, context):
        return self.batch_analyzer_success(self.create_batch_outcome(10, 4))


IMPORT = Import()


def context(**more: Any) -> StepContext:
    return StepContext(uuid4(), uuid4(), uuid4(), "tests", "t", "1.0.0", "work_001", "imports.work", **more)


def cursors(made: Succeeded) -> list[tuple[Any, ...]]:
    return [(c.batch_id, c.start_cursor, c.end_cursor, c.batch_size) for c in made.value.cursors]


# Decisions ------------------------------------------------------------------------------------------------------------


def test_a_decision_says_who_decided():
    assert Route().call(context(input={"amount": 5})) == Succeeded(
        Decision(("auto",), {"amount": 5}), {"decision_handler": "approvals.route", "decision_version": "1.2.0"}
    )


def test_a_decision_as_it_is_stored():
    assert Route().decision_success(["a", "b"], {"why": "large"}).value.as_value() == {
        "decision_point_outcome": {"type": "create_steps", "step_names": ["a", "b"]},
        "why": "large",
    }
    assert Route().skip_branches("nothing to do", metadata={"x": 1}) == Succeeded(
        Decision((), {"reason": "nothing to do"}),
        {"x": 1, "decision_handler": "approvals.route", "decision_version": "1.2.0"},
    )


def test_the_other_names_do_the_same():
    handler = Route()
    assert handler.route_to_steps("a") == handler.decision_success(["a"])
    assert handler.decision_no_branches("no") == handler.decision_success_with_outcome(Decision.skip("no"))


def test_what_a_decision_says_besides_may_have_any_name():
    assert Route().decision_success("a", {"steps": 3, "self": 1}).value == Decision(("a",), {"steps": 3, "self": 1})
    assert Route().skip_branches("no", {"amount": 0}).value == Decision((), {"reason": "no", "amount": 0})


def test_a_decision_that_cannot_be_made_is_not_tried_again():
    assert Route().decision_failure("no amount") == Failed(
        "no amount", "decision_error", retryable=False, error_code="DECISION_ERROR"
    )


# The analyzer ---------------------------------------------------------------------------------------------------------


def test_batches_cover_every_item_once():
    made = IMPORT.call(None)
    assert cursors(made) == [("001", 0, 4, 4), ("002", 4, 8, 4), ("003", 8, 10, 2)]
    assert (made.value.total_items, made.value.worker_template, made.metadata) == (10, "work", {"batch_analyzer": True})


def test_fewer_batches_are_larger_and_lose_nothing():
    ranges = IMPORT.create_cursor_ranges(10, 2, max_batches=3)
    assert [(c.start_cursor, c.end_cursor) for c in ranges] == [(0, 4), (4, 8), (8, 10)]


def test_no_items_are_no_batches():
    assert IMPORT.create_cursor_ranges(0, 5) == []
    assert IMPORT.batch_analyzer_success(IMPORT.create_batch_outcome(0, 5)) == Succeeded(
        Batches((), 0, "work", {"reason": "no items"}), {"batch_analyzer": True, "no_batches": True}
    )


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_size_that_makes_no_sense_is_refused(size):
    with pytest.raises(ValueError, match=f"batch_size must be at least 1 \\(got {size}\\)"):
        IMPORT.create_cursor_ranges(10, size)


def test_work_is_spread_over_so_many_workers():
    made = IMPORT.create_cursor_configs(10, 4)
    assert [(c.batch_id, c.start_cursor, c.end_cursor) for c in made] == [
        ("001", 0, 3),
        ("002", 3, 6),
        ("003", 6, 9),
        ("004", 9, 10),
    ]
    assert made[3].more == {"row_count": 1, "worker_index": 3, "total_workers": 4}
    assert [cursor.more["row_count"] for cursor in IMPORT.create_cursor_configs(2, 5)] == [1, 1]
    with pytest.raises(ValueError, match="worker_count must be at least 1"):
        IMPORT.create_cursor_configs(10, 0)


def test_batches_of_your_own_get_ids_and_may_be_plain_data():
    configs = [IMPORT.create_cursor_config("a", "m", metadata={"shard": 1}), {"start_cursor": "m", "end_cursor": "z"}]
    made = IMPORT.batch_analyzer_success(cursor_configs=configs, total_items=26, worker_template_name="other")
    assert cursors(made) == [("001", "a", "m", None), ("002", "m", "z", None)]
    assert made.value.cursors[0].more == {"step_size": 1, "metadata": {"shard": 1}}
    assert (made.value.total_items, made.value.worker_template) == (26, "other")


def test_the_class_says_which_step_runs_its_batches():
    [handler] = bind(Import, plugin="p", settings=None)
    assert handler.worker_template == "work"


# The workers ----------------------------------------------------------------------------------------------------------


def batch_inputs(*, is_no_op: bool = False) -> dict[str, Any]:
    cursor = Cursor("002", 4, 8, 4).as_json()
    metadata = {"batch_id": "002", "batch_index": 1, "total_batches": 3}
    return {"cursor": cursor, "batch_metadata": metadata, "is_no_op": is_no_op}


def test_a_worker_knows_which_of_how_many_batches_it_has():
    batch = IMPORT.get_batch_context(context(step_inputs=batch_inputs()))
    assert isinstance(batch, BatchWorkerContext)
    assert (batch.batch_id, batch.start_cursor, batch.end_cursor) == ("002", 4, 8)
    assert (batch.batch_index, batch.total_batches) == (1, 3)


def test_a_worker_goes_on_where_it_came_to():
    first = IMPORT.get_batch_context(context(step_inputs=batch_inputs()))
    assert (first.resume_from, first.has_checkpoint(), first.checkpoint_items_processed, first.step_size) == (
        4,
        False,
        0,
        1,
    )
    saved = {"cursor": 6, "items_processed": 2, "accumulated_results": [1]}
    again = IMPORT.get_batch_context(context(step_inputs=batch_inputs(), checkpoint=saved))
    assert (again.resume_from, again.has_checkpoint(), again.checkpoint_cursor) == (6, True, 6)
    assert (again.checkpoint_items_processed, again.accumulated_results) == (2, [1])


def test_a_step_that_is_no_worker_has_no_batch():
    assert IMPORT.get_batch_context(context()) is None
    assert IMPORT.get_batch_worker_inputs(context()) is None
    assert IMPORT.handle_no_op_worker(context()) is None


def test_a_worker_without_items_has_its_result_at_once():
    made = IMPORT.handle_no_op_worker(context(step_inputs=batch_inputs(is_no_op=True)))
    assert made is not None
    assert made.value.pop("processed_at") is not None
    assert made.value == {
        "batch_id": "002",
        "no_op": True,
        "processed_count": 0,
        "message": "No batches to process",
    }
    assert IMPORT.handle_no_op_worker(context(step_inputs=batch_inputs())) is None


def test_what_a_worker_did():
    assert IMPORT.batch_worker_success(items_processed=10, items_failed=2, errors=["row 3"]) == Succeeded(
        {
            "items_processed": 10,
            "items_succeeded": 8,
            "items_failed": 2,
            "items_skipped": 0,
            "last_cursor": None,
            "batch_metadata": {},
            "errors": ["row 3"],
        },
        {"batch_worker": True},
    )


def test_a_worker_of_which_nothing_succeeded_says_so():
    assert IMPORT.create_worker_outcome(10, items_succeeded=0).as_value()["items_succeeded"] == 0


def test_a_batch_that_failed_in_part_is_a_success_that_says_so():
    made = IMPORT.batch_worker_partial_failure(BatchWorkerOutcome(3, items_failed=1), "row 2 is empty")
    assert made.value["partial_failure"] is True
    assert made.value["partial_failure_message"] == "row 2 is empty"
    assert made.metadata == {"batch_worker": True, "had_failures": True}


def test_a_batch_that_failed_as_a_whole():
    assert IMPORT.batch_failure("no file") == Failed("no file", "batch_error", error_code="BATCH_ERROR")


def test_a_checkpoint_is_returned():
    assert IMPORT.checkpoint_yield(500, 500, {"sum": 7}) == Checkpoint(500, 500, {"sum": 7})


# Together -------------------------------------------------------------------------------------------------------------

ANALYZED = {"batch_processing_outcome": {"type": "create_batches"}}
NOTHING = {"batch_processing_outcome": {"type": "no_batches"}}


def test_the_workers_values_are_found_in_order():
    values = {"analyze": ANALYZED, "work_002": 2, "work_001": 1, "work_1000": 4, "work_999": 3, "other_001": 0}
    found = IMPORT.detect_aggregation_scenario(values, "analyze", "work")
    assert (found.is_no_batches, found.batchable_result, found.worker_count) == (False, ANALYZED, 4)
    assert list(found.batch_results) == ["work_001", "work_002", "work_999", "work_1000"]


@pytest.mark.parametrize("values", [{"analyze": NOTHING, "work_000": {"no_op": True}}, {"analyze": NOTHING}])
def test_nothing_to_bring_together_is_told(values):
    found = IMPORT.detect_aggregation_scenario(values, "analyze", "work_")
    assert (found.is_no_batches, found.worker_count) == (True, 0)
    assert IMPORT.aggregate_batch_worker_results(found, {"rows": 0}) == {
        "worker_count": 0,
        "scenario": "no_batches",
        "rows": 0,
    }


def test_a_step_that_sees_no_worker_is_told_what_is_there():
    with pytest.raises(ValueError, match=r"no worker named work_… among the steps before this one \(analyze\)"):
        IMPORT.detect_aggregation_scenario({"analyze": ANALYZED}, "analyze", "work")


def test_values_are_brought_together_by_a_function_or_kept():
    found = IMPORT.detect_aggregation_scenario({"a": ANALYZED, "w_001": 2, "w_002": 3}, "a", "w")
    assert IMPORT.aggregate_batch_worker_results(found) == {
        "batch_results": {"w_001": 2, "w_002": 3},
        "worker_count": 2,
        "scenario": "with_batches",
    }
    assert IMPORT.aggregate_batch_worker_results(found, aggregation_fn=lambda all_: {"sum": sum(all_.values())}) == {
        "sum": 5,
        "worker_count": 2,
        "scenario": "with_batches",
    }


def test_counts_are_added_up():
    done = [BatchWorkerOutcome(10, items_failed=2, errors=[1, 2]).as_value(), BatchWorkerOutcome(6).as_value(), None]
    assert IMPORT.aggregate_worker_results(done, max_errors=1) == {
        "total_processed": 16,
        "total_succeeded": 14,
        "total_failed": 2,
        "total_skipped": 0,
        "batch_count": 3,
        "success_rate": 0.875,
        "errors": [1],
        "error_count": 2,
    }
    assert IMPORT.aggregate_worker_results([])["success_rate"] == 0.0


# What is injected -----------------------------------------------------------------------------------------------------


def call(function: Any, **more: Any) -> Any:
    [handler] = bind(Handler("imports.work", function), plugin="p", settings=None)
    return handler.call(context(**more))


def test_a_handler_that_needs_a_batch_fails_for_good_where_there_is_none():
    def work(batch: BatchWorkerContext):
        return batch.batch_id

    assert call(work, step_inputs=batch_inputs()) == "002"
    with pytest.raises(PermanentError, match="step 'work_001' has no batch") as caught:
        call(work)
    assert caught.value.error_code == "BATCH_MISSING"


def test_a_handler_that_can_do_without_is_given_none():
    def work(part: BatchWorkerContext | None):
        return part

    assert call(work) is None


def test_a_checkpoint_is_given_as_data_or_as_the_object():
    def as_data(checkpoint):
        return checkpoint

    def as_object(done: Checkpoint | None):
        return done

    saved = {"cursor": 5, "items_processed": 5, "accumulated_results": [1]}
    assert call(as_data, checkpoint=saved) == saved
    assert call(as_object, checkpoint=saved) == Checkpoint(5, 5, [1])
    assert call(as_object) is None
