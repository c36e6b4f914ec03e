"""The product file in class style: each worker sums up its rows, a join sums up the workers."""

from __future__ import annotations

from typing import Any

from tasker_host import Batchable, BatchConfig, StepContext, StepHandler

from tasker_examples.batch import products
from tasker_examples.settings import ExamplesSettings


class CsvAnalyzer(StepHandler, Batchable):
    """Configuration: `batch_size`, `max_workers`. They come from the template only: no request can ask for more."""

    handler_name = "examples.csv.analyze"

    def __init__(self, settings: ExamplesSettings) -> None:
        self.settings = settings

    def call(self, context: StepContext) -> Any:
        file = products.product_file(context.get_input("csv_file_path"), self.settings)
        rows = 0 if file is None else products.count_rows(file)
        if not rows:
            return self.no_batches_outcome("no_rows", {"total_rows": 0})
        size, most = context.get_config("batch_size"), context.get_config("max_workers")
        # Rows are counted from 1, as people do.
        return BatchConfig(rows, size, max_batches=most, start=1, metadata={"total_rows": rows})


class CsvWorker(StepHandler, Batchable):
    handler_name = "examples.csv.process"

    def __init__(self, settings: ExamplesSettings) -> None:
        self.settings = settings

    def call(self, context: StepContext) -> Any:
        nothing = self.handle_no_op_worker(context)
        batch = self.get_batch_context(context)
        if nothing is not None or batch is None:
            return nothing
        file = products.product_file(context.get_input("csv_file_path"), self.settings)
        rows = [] if file is None else products.rows_between(file, batch.start_cursor - 1, batch.end_cursor - 1)
        return {
            **products.summary(rows),
            "batch_id": batch.batch_id,
            "start_row": batch.start_cursor,
            "end_row": batch.end_cursor,
        }


class CsvAggregator(StepHandler, Batchable):
    handler_name = "examples.csv.aggregate"

    def call(self, context: StepContext) -> dict[str, Any]:
        scenario = self.detect_aggregation_scenario(context.dependencies, "analyze_csv", "process_csv_batch_")
        return self.aggregate_batch_worker_results(
            scenario, products.together([]), lambda results: products.together(results.values())
        )


HANDLERS = (CsvAnalyzer, CsvWorker, CsvAggregator)
