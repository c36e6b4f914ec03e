"""Each shape of the examples, from submission to its last step, on PostgreSQL, with the values it must come to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tasker_examples import plugin as examples
from tasker_examples.data import orders

from tasker_host.domain.request import request_from_data
from tasker_host.host import Host
from tests.support import ended, results, running_host

SIX_TO_THE_64 = 63340286662973277706162286946811886609896461828096

SQUARES_OF_6 = {
    "linear/mathematical_sequence": {
        "linear_step_1": 36,
        "linear_step_2": 1296,
        "linear_step_3": 1679616,
        "linear_step_4": 2821109907456,
    },
    "diamond/diamond_pattern": {
        "diamond_start": 36,
        "diamond_branch_b": 1296,
        "diamond_branch_c": 1296,
        "diamond_end": 2821109907456,
    },
    "tree/hierarchical_tree": {
        "tree_root": 36,
        "tree_branch_left": 1296,
        "tree_branch_right": 1296,
        "tree_leaf_d": 1679616,
        "tree_leaf_e": 1679616,
        "tree_leaf_f": 1679616,
        "tree_leaf_g": 1679616,
        "tree_final_convergence": SIX_TO_THE_64,
    },
    "mixed_dag/complex_dag": {
        "dag_init": 36,
        "dag_process_left": 1296,
        "dag_process_right": 1296,
        "dag_validate": 2821109907456,
        "dag_transform": 1679616,
        "dag_analyze": 1679616,
        "dag_finalize": SIX_TO_THE_64,
    },
}

both_styles = pytest.mark.parametrize("style", ["", "_dsl"], ids=["class", "function"])


@pytest.fixture
async def host(dsn: str) -> AsyncIterator[Host]:
    async with running_host(dsn, examples) as host:
        yield host


async def run(host: Host, namespace: str, name: str, context: dict[str, Any]) -> dict[str, Any]:
    request = request_from_data({"namespace": namespace, "name": name, "context": context})
    (row,) = await ended(host, await host.submissions.submit(request))
    return row


@both_styles
@pytest.mark.parametrize("shape", SQUARES_OF_6)
async def test_a_shape_comes_to_its_exact_values(host: Host, shape: str, style: str) -> None:
    kind, name = shape.split("/")
    row = await run(host, f"examples_{kind}{style}", name, {"even_number": 6})
    assert row["status"] == "complete"
    assert results(row) == SQUARES_OF_6[shape]
    assert {step["attempts"] for step in row["steps"]} == {1}


@both_styles
async def test_an_odd_number_fails_in_the_first_step_for_good(host: Host, style: str) -> None:
    row = await run(host, f"examples_linear{style}", "mathematical_sequence", {"even_number": 7})
    assert row["status"] == "blocked_by_failures"
    first, *rest = row["steps"]
    assert (first["current_state"], first["attempts"]) == ("error", 1)
    assert {step["current_state"] for step in rest} == {"pending"}


@both_styles
async def test_an_order_whose_payment_times_out_once_is_shipped(host: Host, style: str) -> None:
    order = next(order for order in orders() if order["payment"]["token"].startswith("tok_timeout_once"))
    row = await run(host, f"examples_orders{style}", "business_workflow", order)
    assert row["status"] == "complete"
    attempts = {step["name"]: step["attempts"] for step in row["steps"]}
    assert attempts["process_payment"] == 2
    assert set(attempts.values()) == {1, 2}


async def test_the_whole_day_ends_as_its_data_says(host: Host) -> None:
    requests = [
        request_from_data(
            {
                "namespace": "examples_orders",
                "name": "business_workflow",
                "context": order,
                "idempotency_key": f"day-{number}",
            }
        )
        for number, order in enumerate(orders())
    ]
    answers = await host.submissions.submit_many(requests)
    tasks = [answer for answer in answers if not isinstance(answer, Exception)]
    rows = await ended(host, *tasks, timeout_seconds=60)
    codes = [step["error"]["error_code"] for row in rows for step in row["steps"] if step["current_state"] == "error"]
    assert len(answers) - len(tasks) == 8
    assert sum(row["status"] == "complete" for row in rows) == 210
    assert sorted(codes) == sorted(
        ["PRODUCT_NOT_FOUND"] * 3 + ["PAYMENT_DECLINED"] * 3 + ["ORDER_TOTAL_TOO_HIGH"] * 2 + ["INSUFFICIENT_STOCK"] * 2
    )
