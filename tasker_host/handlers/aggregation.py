"""What batch workers did, and all of it together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tasker_host.domain.batches import OUTCOME

MOST_ERRORS = 100
"""Errors of items that are kept of a whole batch job."""

NO_BATCH_ID = "000"
"""The batch of the one worker that runs when there is nothing to do."""

_COUNTS = ("items_processed", "items_succeeded", "items_failed", "items_skipped")


@dataclass(frozen=True, slots=True)
class BatchWorkerOutcome:
    """What one batch worker did. `items_succeeded` left out: all processed that neither failed nor were skipped.

    `results` and `errors` are any JSON values, of items that are worth keeping.
    """

    items_processed: int
    items_succeeded: int | None = None
    items_failed: int = 0
    items_skipped: int = 0
    results: list[Any] | None = None
    errors: list[Any] | None = None
    last_cursor: Any = None
    batch_metadata: Mapping[str, Any] = field(default_factory=dict)

    def as_value(self) -> dict[str, Any]:
        """The value of the worker's step; `results` and `errors` only when given."""
        succeeded = self.items_succeeded
        if succeeded is None:
            succeeded = max(0, self.items_processed - self.items_failed - self.items_skipped)
        value = {
            "items_processed": self.items_processed,
            "items_succeeded": succeeded,
            "items_failed": self.items_failed,
            "items_skipped": self.items_skipped,
            "last_cursor": self.last_cursor,
            "batch_metadata": dict(self.batch_metadata),
        }
        lists = {"results": self.results, "errors": self.errors}
        return value | {name: items for name, items in lists.items() if items is not None}


@dataclass(frozen=True, slots=True)
class BatchAggregationScenario:
    """What a step below the batch workers finds.

    `batch_results` maps the workers' names to their values, in the order of batches; `batchable_result` is the value of
    the analyzer, None when the step is given its parents' values only.
    """

    is_no_batches: bool
    batchable_result: Any
    batch_results: Mapping[str, Any]

    @property
    def worker_count(self) -> int:
        return len(self.batch_results)

    @classmethod
    def detect(
        cls, dependencies: Mapping[str, Any], batchable_step: str, worker_prefix: str
    ) -> BatchAggregationScenario:
        """From `context.dependencies`. `worker_prefix` is the name of the batch_worker step of the template.

        Raises ValueError when neither a worker is there, nor an analyzer that says that there was nothing to do.
        """
        prefix = worker_prefix if worker_prefix.endswith("_") else f"{worker_prefix}_"
        names = sorted((name for name in dependencies if name.startswith(prefix)), key=_in_order)
        workers = {name: dependencies[name] for name in names}
        analyzed = dependencies.get(batchable_step)
        if list(workers) == [prefix + NO_BATCH_ID] or (not workers and _says_no_batches(analyzed)):
            return cls(True, analyzed, {})
        if workers:
            return cls(False, analyzed, workers)
        raise ValueError(
            f"no worker named {prefix}… among the steps before this one"
            f" ({', '.join(dependencies) or 'there are none'}), and '{batchable_step}' does not say that there was"
            f" nothing to do; does the step depend on '{worker_prefix.removesuffix('_')}'?"
        )


def aggregate_worker_results(results: Iterable[Any], max_errors: int = MOST_ERRORS) -> dict[str, Any]:
    """Sums over what workers returned: `total_processed`, `total_succeeded`, `total_failed`, `total_skipped`,
    `batch_count`, `success_rate` (0 to 1 of what was processed; 0.0 of nothing), `errors` (the first ones),
    `error_count`.

    What is not an object counts as a batch without items.
    """
    totals = dict.fromkeys(_COUNTS, 0)
    errors: list[Any] = []
    error_count = batch_count = 0
    for result in results:
        batch_count += 1
        if not isinstance(result, Mapping):
            continue
        for key in totals:
            totals[key] += result.get(key) or 0
        found = result.get("errors") or []
        error_count += len(found)
        errors += found[: max(0, max_errors - len(errors))]
    processed = totals["items_processed"]
    return {
        "total_processed": processed,
        "total_succeeded": totals["items_succeeded"],
        "total_failed": totals["items_failed"],
        "total_skipped": totals["items_skipped"],
        "batch_count": batch_count,
        "success_rate": totals["items_succeeded"] / processed if processed else 0.0,
        "errors": errors,
        "error_count": error_count,
    }


def _in_order(name: str) -> tuple[int, str]:
    # More than 999 batches: work_1000 comes after work_999.
    return len(name), name


def _says_no_batches(value: Any) -> bool:
    outcome = value.get(OUTCOME) if isinstance(value, Mapping) else None
    return outcome == "no_batches" or (isinstance(outcome, Mapping) and outcome.get("type") == "no_batches")
