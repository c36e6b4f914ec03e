"""A diamond, a decision and a batch in one: even and odd numbers are counted, and those that are more are added up."""

from __future__ import annotations

from typing import Annotated, Any

from tasker_host import (
    BatchConfig,
    BatchWorkerContext,
    Decision,
    From,
    Input,
    StepContext,
    batch_analyzer,
    batch_worker,
    decision_handler,
    step_handler,
)

from tasker_examples.errors import InvalidInputError

Numbers = list[int]


@step_handler("examples.ddb.start")
def start(numbers: Annotated[object, Input("numbers")] = None) -> dict[str, Any]:
    given = numbers if isinstance(numbers, list) else []
    if not given or not all(isinstance(number, int) and not isinstance(number, bool) for number in given):
        raise InvalidInputError(f"numbers must be a list of whole numbers, got: {numbers!r:.80}")
    return {"numbers": given, "count": len(given)}


@step_handler("examples.ddb.branch")
def branch(context: StepContext, given: Annotated[dict[str, Any], From("ddb_diamond_start")]) -> dict[str, Any]:
    """Configuration: `keep`, `even` or `odd`."""
    keep = context.get_config("keep")
    kept = [number for number in given["numbers"] if number % 2 == (0 if keep == "even" else 1)]
    return {"numbers": kept, "count": len(kept)}


@decision_handler("examples.ddb.route")
def route(
    evens: Annotated[dict[str, Any], From("branch_evens")], odds: Annotated[dict[str, Any], From("branch_odds")]
) -> Decision:
    even, odd = evens["count"], odds["count"]
    kind = "even" if even >= odd else "odd"
    return Decision.route(
        [f"{kind}_batch_analyzer"],
        route_type=f"{kind}_batch",
        even_count=even,
        odd_count=odd,
        reasoning=f"{even} even, {odd} odd",
    )


@batch_analyzer("examples.ddb.analyze")
def analyze(context: StepContext) -> BatchConfig:
    """Configuration: `branch` (a step), `batch_size`, `max_workers`."""
    count = context.get_dependency_field(context.get_config("branch"), "count")
    return BatchConfig(count, context.get_config("batch_size"), max_batches=context.get_config("max_workers"))


@batch_worker("examples.ddb.process")
def process(context: StepContext, batch: BatchWorkerContext) -> dict[str, Any]:
    """Configuration: `branch` (a step)."""
    numbers = context.get_dependency_field(context.get_config("branch"), "numbers")
    own = numbers[batch.start_cursor : batch.end_cursor]
    return {
        "processed_count": len(own),
        "batch_sum": sum(own),
        "start_idx": batch.start_cursor,
        "end_idx": batch.end_cursor,
        "batch_numbers": own,
    }


@step_handler("examples.ddb.aggregate")
def aggregate(context: StepContext) -> dict[str, Any]:
    """Configuration: `workers`, with which the names of the workers begin. The average is by batches."""
    values = list(context.get_all_dependency_results(context.get_config("workers")))
    total = sum(value["batch_sum"] for value in values)
    return {
        "total_processed": sum(value["processed_count"] for value in values),
        "total_sum": total,
        "batch_count": len(values),
        "average": total // len(values),
    }


HANDLERS = (start, branch, route, analyze, process, aggregate)
