"""Batches, from the task that is submitted to its last step, with the values they must come to."""

from __future__ import annotations

from pathlib import Path

import pytest
from tasker_host.testing import TaskRun, run_task_async

from tasker_examples import plugin

CATEGORIES = {
    "beauty": 50,
    "fragrances": 50,
    "furniture": 50,
    "groceries": 270,
    "home-decoration": 50,
    "kitchen-accessories": 300,
    "laptops": 50,
    "mens-shirts": 50,
    "mens-shoes": 25,
    "mens-watches": 60,
    "mobile-accessories": 45,
}


async def run(name: str, context: dict[str, object], **settings: object) -> TaskRun:
    return await run_task_async(f"examples_batch/{name}", context, plugins=[plugin], settings=settings)


async def test_a_file_of_a_thousand_products_comes_to_its_exact_totals() -> None:
    ran = await run("csv_product_inventory_analyzer", {"csv_file_path": "products.csv"})
    assert ran.is_complete, ran
    assert ran.values["aggregate_csv_results"] == {
        "total_processed": 1000,
        "total_inventory_value": 35588047.0,
        "category_counts": CATEGORIES,
        "max_price": 13999.99,
        "max_price_product": "Rolex Submariner Watch",
        "overall_average_rating": 3.8517,
        "worker_count": 5,
        "scenario": "with_batches",
    }
    workers = [ran.values[f"process_csv_batch_00{number}"] for number in (1, 2, 3, 4, 5)]
    assert [(worker["start_row"], worker["end_row"]) for worker in workers] == [
        (1, 201),
        (201, 401),
        (401, 601),
        (601, 801),
        (801, 1001),
    ]
    assert {worker["total_inventory_value"] for worker in workers} == {7117609.4}


async def test_the_same_in_function_style() -> None:
    ran = await run("csv_product_inventory_analyzer_py", {"csv_file_path": "products.csv"})
    assert ran.values["aggregate_csv_results_py"] == {
        "total_processed": 1000,
        "total_succeeded": 1000,
        "total_failed": 0,
        "worker_count": 5,
        "total_inventory_value": 35588047.0,
    }
    second = ran.values["process_csv_batch_py_002"]
    assert (second["results"][0]["row_number"], second["results"][-1]["row_number"]) == (201, 400)


@pytest.mark.parametrize("style", ["", "_py"])
async def test_a_file_that_is_not_there_is_no_work(style: str) -> None:
    ran = await run(f"csv_product_inventory_analyzer{style}", {"csv_file_path": "absent.csv"})
    assert ran.is_complete, ran
    assert (f"process_csv_batch{style}_000" in ran.steps) is True
    joined = ran.values[f"aggregate_csv_results{style}"]
    assert (joined["total_processed"], joined["worker_count"], joined["total_inventory_value"]) == (0, 0, 0.0)


@pytest.mark.parametrize("style", ["", "_py"])
async def test_no_request_can_name_a_file_outside_the_folder(style: str) -> None:
    ran = await run(f"csv_product_inventory_analyzer{style}", {"csv_file_path": "../../../etc/passwd"})
    assert ran.state == "blocked_by_failures"
    assert ran.errors[f"analyze_csv{style}"]["error_code"] == "FILE_NOT_ALLOWED"
    assert ran.attempts[f"analyze_csv{style}"] == 1


async def test_files_may_be_in_a_folder_of_ones_own(tmp_path: Path) -> None:
    header = "id,title,description,category,price,discountPercentage,rating,stock,brand,sku,weight\n"
    (tmp_path / "mine.csv").write_text(header + "1,Cup,,kitchen,2.50,0,4.0,3,,,1\n2,Jug,,kitchen,10.01,0,5.0,2,,,1\n")
    ran = await run("csv_product_inventory_analyzer", {"csv_file_path": "mine.csv"}, csv_folder=str(tmp_path))
    joined = ran.values["aggregate_csv_results"]
    assert (joined["total_inventory_value"], joined["overall_average_rating"], joined["worker_count"]) == (
        27.52,
        4.5,
        1,
    )


@pytest.mark.parametrize(
    ("size", "workers", "total"),
    [(5000, 5, 5000), (1000, 1, 1000), (1001, 2, 1001), (25_000, 10, 25_000), (999, 0, 999), (0, 0, 0)],
)
async def test_a_data_set_is_counted_once(size: int, workers: int, total: int) -> None:
    ran = await run("large_dataset_processor", {"dataset_size": size})
    assert ran.values["aggregate_results"] == {"total_processed": total, "worker_count": workers}
    counted = [
        value for name, value in ran.values.items() if name.startswith("process_batch_") and "no_op" not in value
    ]
    assert sum(value["processed_count"] for value in counted) == (size if workers else 0)
    if size == 5000:
        assert {value["checkpoint_count"] for value in counted} == {10}


async def test_a_worker_goes_on_from_its_checkpoint_in_the_next_attempt() -> None:
    ran = await run("batch_resumption_test", {})
    assert ran.is_complete, ran
    assert ran.attempts["checkpoint_fail_batch_001"] == 2
    assert ran.values["checkpoint_fail_batch_001"] == {
        "total_processed": 50,
        "resumed_from": 50,
        "final_position": 100,
        "start_position": 0,
        "end_position": 100,
        "attempts": 2,
    }
    [failed] = [entry for entry in ran.history if entry["error"]]
    assert failed["error"]["error_code"] == "SIMULATED_BATCH_FAILURE"


@pytest.mark.parametrize(
    ("context", "total", "running", "checkpoints", "attempts"),
    [
        ({"total_items": 100}, 100, 5050, 4, 1),
        ({"total_items": 100, "items_per_checkpoint": 20, "fail_after_items": 50}, 100, 5050, 5, 2),
        ({"total_items": 50, "items_per_checkpoint": 5}, 50, 1275, 10, 1),
        ({"total_items": 10}, 10, 55, 0, 1),
    ],
)
async def test_a_worker_that_yields_adds_everything_up_once(
    context: dict[str, object], total: int, running: int, checkpoints: int, attempts: int
) -> None:
    ran = await run("checkpoint_yield_test", context)
    assert ran.values["aggregate_results"] == {
        "total_processed": total,
        "running_total": running,
        "item_count": total,
        "checkpoints_used": checkpoints,
        "worker_count": 1,
        "test_passed": True,
        "scenario": "with_batches",
    }
    assert ran.attempts["checkpoint_yield_batch_001"] == attempts


async def test_a_failure_for_good_keeps_the_checkpoint() -> None:
    context = {"fail_after_items": 30, "items_per_checkpoint": 10, "permanent_failure": True}
    ran = await run("checkpoint_yield_test", context)
    assert ran.state == "blocked_by_failures"
    failed = ran.steps["checkpoint_yield_batch_001"]
    assert (failed.state, failed.attempts) == ("error", 1)
    assert failed.checkpoint is not None
    assert (failed.checkpoint["cursor"], failed.checkpoint["accumulated_results"]["running_total"]) == (30, 465)


async def test_nothing_to_yield_is_no_batch() -> None:
    ran = await run("checkpoint_yield_test", {"total_items": 0})
    assert ran.values["aggregate_results"] == {
        "total_processed": 0,
        "running_total": 0,
        "test_passed": True,
        "scenario": "no_batches",
    }
