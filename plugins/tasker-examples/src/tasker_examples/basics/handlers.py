"""The two smallest shapes, with the values that every implementation of them gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from tasker_host import From, Input, step_handler, workflow

Mapped = Mapping[str, Any]

FETCHED_AT, STORED_AT = "2025-01-01T00:00:00Z", "2025-01-01T00:00:01Z"
"""Fixed, so that the values are the same on every day."""


@step_handler("examples.basics.fetch_data")
def fetch_data() -> dict[str, Any]:
    items = [{"id": number, "name": f"item_{number}"} for number in (1, 2, 3)]
    return {"items": items, "count": len(items), "fetched_at": FETCHED_AT}


@step_handler("examples.basics.transform_data")
def transform_data(fetched: Annotated[Mapped, From("fetch_data")]) -> dict[str, Any]:
    items = [{**item, "name": item["name"].upper(), "processed": True} for item in fetched["items"]]
    return {"items": items, "count": len(items)}


@step_handler("examples.basics.store_data")
def store_data(transformed: Annotated[Mapped, From("transform_data")]) -> dict[str, Any]:
    ids = [item["id"] for item in transformed["items"]]
    return {"stored_ids": ids, "stored_count": len(ids), "stored_at": STORED_AT}


@step_handler("examples.basics.diamond_init")
def diamond_init(initial_value: Annotated[int, Input("initial_value")] = 100) -> dict[str, int]:
    return {"value": initial_value}


@step_handler("examples.basics.path_a")
def path_a(given: Annotated[Mapped, From("diamond_init")]) -> dict[str, Any]:
    return {"value": given["value"] * 2, "operation": "multiply_by_2"}


@step_handler("examples.basics.path_b")
def path_b(given: Annotated[Mapped, From("diamond_init")]) -> dict[str, Any]:
    return {"value": given["value"] + 50, "operation": "add_50"}


@step_handler("examples.basics.merge")
def merge(a: Annotated[Mapped, From("path_a")], b: Annotated[Mapped, From("path_b")]) -> dict[str, Any]:
    total = a["value"] + b["value"]
    return {
        "merged_result": total,
        "path_a_value": a["value"],
        "path_b_value": b["value"],
        "merge_summary": {
            "total": total,
            "path_a_operation": a["operation"],
            "path_b_operation": b["operation"],
        },
    }


FETCH_TRANSFORM_STORE = (
    workflow(
        "examples_basics/fetch_transform_store",
        description="Three items are fetched, changed and stored",
        metadata={"author": "tasker-examples", "tags": ["chain", "code"]},
        input_schema={"type": "object"},
    )
    .step(fetch_data)
    .step(transform_data)
    .step(store_data)
)
MERGE_PATHS = (
    workflow(
        "examples_basics/merge_paths",
        description="Two branches of a number, and their sum",
        metadata={"author": "tasker-examples", "tags": ["diamond", "code"]},
        input_schema={"type": "object", "properties": {"initial_value": {"type": "integer", "default": 100}}},
    )
    .step(diamond_init)
    .step(path_a)
    .step(path_b)
    .step(merge)
)
