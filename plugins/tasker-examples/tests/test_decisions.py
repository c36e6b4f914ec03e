"""Decisions: which steps a task gets, and what it comes to."""

from __future__ import annotations

from typing import Any

import pytest
from tasker_host.testing import TaskRun, run_task_async

from tasker_examples import plugin

REQUEST = {"requester": "ada", "purpose": "a second monitor"}


async def run(template: str, context: dict[str, Any]) -> TaskRun:
    return await run_task_async(template, context, plugins=[plugin])


@pytest.mark.parametrize("name", ["approval_routing", "approval_routing_py"])
@pytest.mark.parametrize(
    ("amount", "branches"),
    [
        (500, ["auto_approve"]),
        (1000, ["manager_approval"]),
        (4999.99, ["manager_approval"]),
        (5000, ["manager_approval", "finance_review"]),
    ],
)
async def test_an_amount_is_approved_by_those_it_needs(name: str, amount: float, branches: list[str]) -> None:
    ran = await run(f"examples_approvals/{name}", {"amount": amount, **REQUEST})
    assert ran.is_complete, ran
    assert set(ran.steps) == {"validate_request", "routing_decision", *branches, "finalize_approval"}
    kinds = {"auto_approve": "auto", "manager_approval": "manager", "finance_review": "finance"}
    final = ran.values["finalize_approval"]
    if name == "approval_routing_py":
        assert (final["final_status"], final["approval_count"], final["all_approved"]) == (
            "approved",
            len(branches),
            True,
        )
        assert [approval["type"] for approval in final["approvals"]] == [kinds[step] for step in branches]
    else:
        assert (final["approved"], final["final_amount"], final["requester"]) == (True, amount, "ada")
        path = {1: "manager_only", 2: "dual_approval"}[len(branches)] if amount >= 1000 else "auto"
        assert final["approval_path"] == path


async def test_the_decision_says_why() -> None:
    ran = await run("examples_approvals/approval_routing_py", {"amount": 10_000, **REQUEST})
    assert ran.values["routing_decision"] == {
        "decision_point_outcome": {"type": "create_steps", "step_names": ["manager_approval", "finance_review"]},
        "approval_path": "dual",
        "amount": 10_000,
        "threshold_used": "large",
    }
    assert ran.values["finance_review"]["budget_code"] == "CAPEX-2024"


async def test_a_purpose_of_spaces_passes_the_schema_and_fails_for_good() -> None:
    ran = await run("examples_approvals/approval_routing", {"amount": 5, "requester": "ada", "purpose": "  "})
    assert ran.state == "blocked_by_failures"
    assert ran.errors["validate_request"]["error_code"] == "EMPTY_PURPOSE"


@pytest.mark.parametrize(
    ("numbers", "kind", "workers", "total", "average"),
    [
        ([2, 4, 6, 8, 10, 12], "even", 3, 42, 14),
        ([1, 3, 5, 7, 9, 11, 2, 4], "odd", 3, 36, 12),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], "even", 3, 30, 10),
    ],
)
async def test_the_more_numerous_are_added_up(
    numbers: list[int], kind: str, workers: int, total: int, average: int
) -> None:
    ran = await run("examples_combined/diamond_decision_batch_processor", {"numbers": numbers})
    assert ran.is_complete, ran
    other = "odd" if kind == "even" else "even"
    assert not [
        name for name in ran.steps if name.startswith((f"{other}_batch", f"process_{other}", f"aggregate_{other}"))
    ]
    assert [name for name in ran.steps if name.startswith("process_")] == [
        f"process_{kind}_batch_00{number}" for number in range(1, workers + 1)
    ]
    joined = ran.values[f"aggregate_{kind}_results"]
    assert (joined["total_sum"], joined["batch_count"], joined["average"]) == (total, workers, average)
