"""Class style: what handlers of batches have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar

from tasker_host.domain.batches import Batches, BatchWorkerContext, Cursor, batch_id, cursor_ranges
from tasker_host.domain.context import StepContext
from tasker_host.domain.result import Checkpoint, Failed, Succeeded
from tasker_host.handlers.aggregation import BatchAggregationScenario, BatchWorkerOutcome, aggregate_worker_results


class Batchable:
    """Beside `StepHandler`, for the analyzer, the workers and the step that brings their values together:
    `class CsvAnalyzer(StepHandler, Batchable)`."""

    worker_template: ClassVar[str | None] = None
    """Of an analyzer: the batch_worker step that runs its batches; needed only when several depend on it."""

    # The analyzer -----------------------------------------------------------------------------------------------------

    def create_cursor_config(
        self, start: Any, end: Any, step_size: int = 1, metadata: Mapping[str, Any] | None = None
    ) -> Cursor:
        """One batch of your own, from `start` up to `end`, which is not part of it; both any JSON values.

        Its id is its number among the batches that are given to `batch_analyzer_success`.
        """
        more = {"step_size": step_size, **({"metadata": dict(metadata)} if metadata else {})}
        return Cursor("", start, end, end - start if _is_number(start) and _is_number(end) else None, more)

    def create_cursor_ranges(
        self, total_items: int, batch_size: int, step_size: int = 1, max_batches: int | None = None
    ) -> list[Cursor]:
        """Batches over items numbered from 0 that cover each exactly once; of no items, no batches.

        Where that would be more than `max_batches`, each is larger. Raises ValueError when the numbers make no sense.
        """
        ranges = cursor_ranges(total_items, batch_size, max_batches=max_batches)
        return _numbered(self.create_cursor_config(start, end, step_size) for start, end in ranges)

    def create_cursor_configs(self, total_items: int, worker_count: int) -> list[Cursor]:
        """Batches for at most so many workers; each has `row_count`, `worker_index` (from 0) and `total_workers`.

        Raises ValueError when the numbers make no sense.
        """
        if worker_count < 1:
            raise ValueError(f"worker_count must be at least 1 (got {worker_count})")
        ranges = cursor_ranges(total_items, max(1, -(-total_items // worker_count)))
        return [
            Cursor(
                batch_id(index + 1),
                start,
                end,
                end - start,
                {"row_count": end - start, "worker_index": index, "total_workers": len(ranges)},
            )
            for index, (start, end) in enumerate(ranges)
        ]

    def create_batch_outcome(
        self,
        total_items: int,
        batch_size: int,
        step_size: int = 1,
        batch_metadata: Mapping[str, Any] | None = None,
        max_batches: int | None = None,
    ) -> Batches:
        """Every item in one batch: what `batch_analyzer_success` takes."""
        ranges = self.create_cursor_ranges(total_items, batch_size, step_size, max_batches)
        return self.create_batch_outcome_from_ranges(ranges, total_items, batch_metadata)

    def create_batch_outcome_from_ranges(
        self,
        ranges: Iterable[Cursor | Mapping[str, Any]],
        total_items: int | None = None,
        batch_metadata: Mapping[str, Any] | None = None,
    ) -> Batches:
        """The same, of batches that you made yourself; without `total_items` their sizes are added up."""
        cursors = tuple(_numbered(ranges))
        if total_items is None:
            total_items = sum(cursor.batch_size or 0 for cursor in cursors)
        return Batches(cursors, total_items, self.worker_template, batch_metadata or {})

    def batch_analyzer_success(  # noqa: PLR0917 - as others know it
        self,
        outcome: Batches | None = None,
        metadata: Mapping[str, Any] | None = None,
        worker_template_name: str | None = None,
        cursor_configs: Iterable[Cursor | Mapping[str, Any]] | None = None,
        total_items: int | None = None,
        batch_metadata: Mapping[str, Any] | None = None,
    ) -> Succeeded:
        """A worker for each batch of `outcome`, or of `cursor_configs`. When there is none, it is as
        `no_batches_outcome`."""
        if outcome is None:
            outcome = self.create_batch_outcome_from_ranges(cursor_configs or (), total_items, batch_metadata)
        if not outcome.cursors:
            return self.no_batches_outcome(str(outcome.metadata.get("reason", "no items")), metadata)
        name = worker_template_name or outcome.worker_template or self.worker_template
        return Succeeded(replace(outcome, worker_template=name), {**(metadata or {}), "batch_analyzer": True})

    def no_batches_outcome(self, reason: str, metadata: Mapping[str, Any] | None = None) -> Succeeded:
        """Nothing to do: one worker runs that has no items, so that the steps below run in any case."""
        batches = Batches((), 0, self.worker_template, {"reason": reason, **(metadata or {})})
        return Succeeded(batches, {"batch_analyzer": True, "no_batches": True})

    # The workers ------------------------------------------------------------------------------------------------------

    def get_batch_context(self, context: StepContext) -> BatchWorkerContext | None:
        """The batch of this step; None when it is no batch worker."""
        return context.batch

    def get_batch_worker_inputs(self, context: StepContext) -> Mapping[str, Any] | None:
        """What the analyzer wrote for this worker, as plain data: `cursor`, `batch_metadata`, `is_no_op`; None when it
        is no batch worker."""
        return context.step_inputs if context.batch is not None else None

    def handle_no_op_worker(self, context: StepContext) -> Succeeded | None:
        """What to return at once when it is not None: this worker stands for work without items."""
        batch = context.batch
        if batch is None or not batch.is_no_op:
            return None
        return Succeeded(
            {
                "batch_id": batch.batch_id,
                "no_op": True,
                "processed_count": 0,
                "message": "No batches to process",
                "processed_at": datetime.now(UTC).isoformat(),
            },
            {"batch_worker": True, "no_op": True},
        )

    def create_worker_outcome(  # noqa: PLR0917 - as others know it
        self,
        items_processed: int,
        items_succeeded: int | None = None,
        items_failed: int = 0,
        items_skipped: int = 0,
        results: list[Any] | None = None,
        errors: list[Any] | None = None,
        last_cursor: Any = None,
        batch_metadata: Mapping[str, Any] | None = None,
    ) -> BatchWorkerOutcome:
        """What `batch_worker_success` takes. `items_succeeded` left out: all that neither failed nor were skipped."""
        return BatchWorkerOutcome(
            items_processed,
            items_succeeded,
            items_failed,
            items_skipped,
            results,
            errors,
            last_cursor,
            batch_metadata or {},
        )

    def batch_worker_success(
        self,
        outcome: BatchWorkerOutcome | None = None,
        metadata: Mapping[str, Any] | None = None,
        items_processed: int = 0,
        **more: Any,
    ) -> Succeeded:
        """The batch is done. Without `outcome`, the arguments are those of `create_worker_outcome`."""
        if outcome is None:
            outcome = self.create_worker_outcome(items_processed, **more)
        return Succeeded(outcome.as_value(), {**(metadata or {}), "batch_worker": True})

    def batch_worker_partial_failure(
        self, outcome: BatchWorkerOutcome, message: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> Succeeded:
        """The batch is done and some of its items failed: a success that says `partial_failure`."""
        said = {"partial_failure": True, **({"partial_failure_message": message} if message else {})}
        return Succeeded(outcome.as_value() | said, {**(metadata or {}), "batch_worker": True, "had_failures": True})

    def batch_failure(
        self,
        message: str,
        error_type: str = "batch_error",
        retryable: bool = True,
        metadata: Mapping[str, Any] | None = None,
    ) -> Failed:
        """The batch failed as a whole."""
        return Failed(message, error_type, retryable, None, "BATCH_ERROR", metadata or {})

    def checkpoint_yield(self, cursor: Any, items_processed: int, accumulated_results: Any = None) -> Checkpoint:
        """Return it: how far the handler came is saved, and it goes on from there in the same attempt."""
        return Checkpoint(cursor, items_processed, accumulated_results)

    # The step that brings their values together -----------------------------------------------------------------------

    def detect_aggregation_scenario(
        self, dependency_results: Mapping[str, Any], batchable_step_name: str, batch_worker_prefix: str
    ) -> BatchAggregationScenario:
        """What there is to bring together, from `context.dependencies`. Raises ValueError when it cannot be told."""
        return BatchAggregationScenario.detect(dependency_results, batchable_step_name, batch_worker_prefix)

    def no_batches_aggregation_result(self, zero_metrics: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Of nothing: `zero_metrics`, and that there was none."""
        return {"worker_count": 0, "scenario": "no_batches", **(zero_metrics or {})}

    def aggregate_batch_worker_results(
        self,
        scenario: BatchAggregationScenario,
        zero_metrics: Mapping[str, Any] | None = None,
        aggregation_fn: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """What `aggregation_fn` makes of the workers' values, by their names, with their count; without it the values
        themselves, under `batch_results`."""
        if scenario.is_no_batches:
            return self.no_batches_aggregation_result(zero_metrics)
        results = scenario.batch_results
        made = {"batch_results": dict(results)} if aggregation_fn is None else dict(aggregation_fn(results))
        return {**made, "worker_count": scenario.worker_count, "scenario": "with_batches"}

    aggregate_worker_results = staticmethod(aggregate_worker_results)


def _numbered(cursors: Iterable[Cursor | Mapping[str, Any]]) -> list[Cursor]:
    """Those without an id get their number as one; plain data becomes cursors."""
    found = []
    for number, given in enumerate(cursors, start=1):
        cursor = given if isinstance(given, Cursor) else _cursor(given)
        found.append(cursor if cursor.batch_id else replace(cursor, batch_id=batch_id(number)))
    return found


def _cursor(data: Mapping[str, Any]) -> Cursor:
    more = dict(data)
    known = (more.pop("start_cursor", None), more.pop("end_cursor", None), more.pop("batch_size", None))
    return Cursor(str(more.pop("batch_id", "")), *known, more)


def _is_number(cursor: Any) -> bool:
    return isinstance(cursor, int) and not isinstance(cursor, bool)
