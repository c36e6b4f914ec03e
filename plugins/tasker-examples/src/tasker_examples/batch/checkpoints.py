"""Workers that save how far they are: one goes on at its checkpoint after a failure, one yields again and again."""

from __future__ import annotations

from typing import Annotated, Any

from tasker_host import (
    BatchConfig,
    BatchWorkerContext,
    Checkpoint,
    Input,
    PermanentError,
    RetryableError,
    StepContext,
    batch_analyzer,
    batch_worker,
    step_handler,
)

Total = Annotated[int, Input("total_items")]
FailAfter = Annotated[int | None, Input("fail_after_items")]
PerCheckpoint = Annotated[int | None, Input("items_per_checkpoint")]


@batch_analyzer("examples.checkpoints.analyze")
def analyze(total_items: Total = 100) -> BatchConfig:
    """All items in one batch, so that its worker has a long way to go."""
    return BatchConfig(total_items, max(1, total_items))


@batch_worker("examples.checkpoints.process")
def process(
    context: StepContext,
    batch: BatchWorkerContext,
    *,
    items_per_checkpoint: PerCheckpoint = None,
    fail_after_items: FailAfter = None,
    fail_on_attempt: Annotated[int, Input("fail_on_attempt")] = 1,
    permanent_failure: Annotated[bool, Input("permanent_failure")] = False,
) -> Checkpoint | dict[str, Any]:
    """Adds up the values of the items; the value of item i is i + 1."""
    size = items_per_checkpoint or context.get_config("items_per_checkpoint")
    total = 0 if batch.is_no_op else batch.end_cursor - batch.start_cursor
    done = context.checkpoint_cursor or 0
    so_far = context.accumulated_results or {"running_total": 0, "item_ids": []}
    upto = min(done + size, total)
    running, ids = so_far["running_total"], list(so_far["item_ids"])
    for item in range(done, upto):
        if item == fail_after_items and context.attempt == fail_on_attempt:
            error = PermanentError if permanent_failure else RetryableError
            raise error(f"told to fail after {item} items", error_code="SIMULATED_BATCH_FAILURE")
        running += item + 1
        ids.append(f"item_{item:04}")
    if upto < total:
        return Checkpoint(upto, upto, {"running_total": running, "item_ids": ids})
    return {
        "items_processed": total,
        "items_succeeded": total,
        "items_failed": 0,
        "batch_metadata": {
            "running_total": running,
            "item_ids": ids,
            "final_cursor": total,
            "checkpoints_used": total // size,
        },
    }


@step_handler("examples.checkpoints.aggregate")
def aggregate(context: StepContext) -> dict[str, Any]:
    workers = list(context.get_all_dependency_results("checkpoint_yield_batch_"))
    processed = sum(worker["items_processed"] for worker in workers)
    running = sum(worker["batch_metadata"]["running_total"] for worker in workers)
    if not processed:
        return {"total_processed": 0, "running_total": 0, "test_passed": True, "scenario": "no_batches"}
    return {
        "total_processed": processed,
        "running_total": running,
        "item_count": sum(len(worker["batch_metadata"]["item_ids"]) for worker in workers),
        "checkpoints_used": sum(worker["batch_metadata"]["checkpoints_used"] for worker in workers),
        "worker_count": len(workers),
        "test_passed": True,
        "scenario": "with_batches",
    }


@batch_analyzer("examples.resumption.analyze")
def analyze_for_resumption(
    context: StepContext, dataset_size: Annotated[int, Input("dataset_size")] = 100
) -> BatchConfig:
    return BatchConfig(dataset_size, context.get_config("batch_size"), max_batches=context.get_config("max_workers"))


@batch_worker("examples.resumption.process")
def process_and_fail_once(context: StepContext, batch: BatchWorkerContext) -> Checkpoint | dict[str, Any]:
    """Configuration: `fail_after_items`, `fail_on_attempt`, `items_per_checkpoint`."""
    start, end = batch.start_cursor, batch.end_cursor
    position = start if context.checkpoint_cursor is None else context.checkpoint_cursor
    resumed_from = (context.accumulated_results or {}).get("resumed_from", {})
    # Each attempt notes where it began, so that the last one can tell.
    resumed_from = {**resumed_from, str(context.attempt): resumed_from.get(str(context.attempt), position)}
    if position - start >= context.get_config("fail_after_items") and context.attempt == context.get_config(
        "fail_on_attempt"
    ):
        raise RetryableError(
            f"told to fail after {position - start} items",
            error_code="SIMULATED_BATCH_FAILURE",
            metadata={
                "checkpoint_progress": position,
                "processed_before_failure": position - start,
                "resumed_from": resumed_from[str(context.attempt)],
            },
        )
    position = min(position + context.get_config("items_per_checkpoint"), end)
    if position < end:
        return Checkpoint(position, position - start, {"resumed_from": resumed_from})
    began = resumed_from[str(context.attempt)]
    return {
        "total_processed": end - began,
        "resumed_from": began,
        "final_position": position,
        "start_position": start,
        "end_position": end,
        "attempts": context.attempt,
    }


@step_handler("examples.resumption.aggregate")
def aggregate_resumed(context: StepContext) -> dict[str, Any]:
    workers = list(context.get_all_dependency_results("checkpoint_fail_batch_"))
    return {"worker_count": len(workers), "final_positions": [worker["final_position"] for worker in workers]}


HANDLERS = (analyze, process, aggregate, analyze_for_resumption, process_and_fail_once, aggregate_resumed)
