"""The product file in function style: each worker lists its rows, a join adds them up."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from tasker_host import (
    BatchConfig,
    Batches,
    BatchWorkerContext,
    Input,
    StepContext,
    batch_analyzer,
    batch_worker,
    step_handler,
)

from tasker_examples.batch import products
from tasker_examples.settings import ExamplesSettings

FilePath = Annotated[object, Input("csv_file_path")]


@batch_analyzer("examples.dsl.csv.analyze", worker_template="process_csv_batch_py")
def analyze(settings: ExamplesSettings, context: StepContext, csv_file_path: FilePath = None) -> BatchConfig | Batches:
    file = products.product_file(csv_file_path, settings)
    rows = 0 if file is None else products.count_rows(file)
    return BatchConfig(rows, context.get_config("batch_size"), max_batches=context.get_config("max_workers"))


@batch_worker("examples.dsl.csv.process")
def process(settings: ExamplesSettings, batch: BatchWorkerContext, csv_file_path: FilePath = None) -> dict[str, Any]:
    file = products.product_file(csv_file_path, settings)
    rows = [] if file is None or batch.is_no_op else products.rows_between(file, batch.start_cursor, batch.end_cursor)
    results = [
        {
            "row_number": number,
            "product_id": row["id"],
            "inventory_value": float(Decimal(row["price"]) * int(row["stock"])),
            "price": float(row["price"]),
            "stock": int(row["stock"]),
        }
        for number, row in enumerate(rows, start=(batch.start_cursor or 0) + 1)
    ]
    return {
        "items_processed": len(results),
        "items_succeeded": len(results),
        "items_failed": 0,
        "last_cursor": batch.end_cursor,
        "results": results,
    }


@step_handler("examples.dsl.csv.aggregate")
def aggregate(context: StepContext) -> dict[str, Any]:
    workers = list(context.get_all_dependency_results("process_csv_batch_py_"))
    values = [Decimal(str(row["inventory_value"])) for worker in workers for row in worker["results"]]
    processed = sum(worker["items_processed"] for worker in workers)
    return {
        "total_processed": processed,
        "total_succeeded": sum(worker["items_succeeded"] for worker in workers),
        "total_failed": sum(worker["items_failed"] for worker in workers),
        "worker_count": len(workers) if processed else 0,
        "total_inventory_value": float(sum(values)),
    }


HANDLERS = (analyze, process, aggregate)
