"""A data set of so many items, cut into equal parts: counting them is all the work there is."""

from __future__ import annotations

from typing import Any

from tasker_host import (
    Batchable,
    Batches,
    PermanentError,
    StepContext,
    StepHandler,
    Succeeded,
)

_CHUNK = 100
"""Items between two looks at how far a worker is."""


class DatasetAnalyzer(StepHandler, Batchable):
    """Configuration: `batch_size`, `max_workers`."""

    handler_name = "examples.dataset.analyze"

    async def call(self, context: StepContext) -> Any:
        dataset_size = context.get_input("dataset_size")
        size, most = context.get_config("batch_size"), context.get_config("max_workers")
        if dataset_size < size:
            return self.no_batches_outcome("dataset_too_small", {"dataset_size": dataset_size})
        workers = min(-(-dataset_size // size), most)
        cursors = self.create_cursor_configs(dataset_size, workers)
        return self.batch_analyzer_success(
            Batches(tuple(cursors), dataset_size, metadata={"dataset_size": dataset_size})
        )


class DatasetWorker(StepHandler, Batchable):
    handler_name = "examples.dataset.process"

    async def call(self, context: StepContext) -> Any:
        batch = self.get_batch_context(context)
        if batch is None or batch.is_no_op:
            reason = "NoBatches scenario - no items to process"
            return {"no_op": True, "reason": reason, "batch_id": batch.batch_id if batch else None}
        start, end = batch.start_cursor, batch.end_cursor
        position, checkpoints = start, 0
        while position < end:
            position = min(position + _CHUNK, end)
            checkpoints += 1
        return {
            "processed_count": end - start,
            "checkpoint_count": checkpoints,
            "start_position": start,
            "end_position": end,
            "final_position": position,
            "batch_id": batch.batch_id,
        }


class DatasetAggregator(StepHandler, Batchable):
    handler_name = "examples.dataset.aggregate"

    async def call(self, context: StepContext) -> Any:
        dataset_size = context.get_input("dataset_size")
        scenario = self.detect_aggregation_scenario(context.dependencies, "analyze_dataset", "process_batch_")
        if scenario.is_no_batches:
            return {"total_processed": dataset_size, "worker_count": 0}
        counts = [value["processed_count"] for value in scenario.batch_results.values()]
        if sum(counts) != dataset_size:
            raise PermanentError(
                f"the workers did {sum(counts)} items of {dataset_size}", error_code="AGGREGATION_MISMATCH"
            )
        return Succeeded({"total_processed": sum(counts), "worker_count": len(counts)})


HANDLERS = (DatasetAnalyzer, DatasetWorker, DatasetAggregator)
