"""Approvals in function style, and the template made from the functions: signatures give the edges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from tasker_host import Decision, From, Input, decision_handler, step_handler, workflow

from tasker_examples.approvals import rules

Request = Annotated[Mapping[str, Any], From("validate_request")]
Approval = Mapping[str, Any] | None


@step_handler("examples.dsl.approvals.validate_request")
def validate_request(
    amount: Annotated[object, Input("amount")] = None,
    requester: Annotated[object, Input("requester")] = None,
    purpose: Annotated[object, Input("purpose")] = None,
) -> dict[str, Any]:
    return rules.checked(amount, requester, purpose)


@decision_handler("examples.dsl.approvals.routing_decision")
def routing_decision(request: Request) -> Decision:
    amount = request["amount"]
    path = rules.path_of(amount)
    threshold = {"auto": "small", "manager": "medium", "dual": "large"}[path]
    return Decision.route(rules.steps_of(path), approval_path=path, amount=amount, threshold_used=threshold)


@step_handler("examples.dsl.approvals.auto_approve")
def auto_approve(request: Request) -> dict[str, Any]:
    return _approved(request, "auto", "system", "below the limit")


@step_handler("examples.dsl.approvals.manager_approval")
def manager_approval(request: Request) -> dict[str, Any]:
    return _approved(request, "manager", "manager@example.com", "within the budget of the team")


@step_handler("examples.dsl.approvals.finance_review")
def finance_review(request: Request) -> dict[str, Any]:
    approved = _approved(request, "finance", "finance@example.com", "within the budget of the year")
    return {**approved, "budget_code": "CAPEX-2024"}


@step_handler("examples.dsl.approvals.finalize_approval")
def finalize_approval(
    auto: Annotated[Approval, From("auto_approve")] = None,
    manager: Annotated[Approval, From("manager_approval")] = None,
    finance: Annotated[Approval, From("finance_review")] = None,
) -> dict[str, Any]:
    given = [approval for approval in (auto, manager, finance) if approval is not None]
    approvals = [
        {"type": approval["approval_type"], "approved": approval["approved"], "approver": approval["approver"]}
        for approval in given
    ]
    return {**rules.together(given), "approvals": approvals}


def _approved(request: Mapping[str, Any], kind: str, approver: str, notes: str) -> dict[str, Any]:
    return {
        "approved": True,
        "approval_type": kind,
        "approved_amount": request["amount"],
        "approver": approver,
        "notes": notes,
    }


APPROVALS = (
    workflow(
        "examples_approvals/approval_routing_py",
        description="Approve an amount: by itself, by a manager, or by manager and finance",
        metadata={"author": "tasker-examples", "tags": ["decision", "function-style"]},
        input_schema={
            "type": "object",
            "required": ["amount", "requester", "purpose"],
            "properties": {
                "amount": {"type": "number", "exclusiveMinimum": 0, "maximum": 1_000_000},
                "requester": {"type": "string", "minLength": 1},
                "purpose": {"type": "string", "minLength": 1},
            },
        },
    )
    .step(validate_request, timeout_seconds=30)
    .decision(
        routing_decision,
        chooses=[auto_approve, manager_approval, finance_review],
        retry={"max_attempts": 1},
        timeout_seconds=30,
    )
    .step(auto_approve, timeout_seconds=30)
    .step(manager_approval, timeout_seconds=30)
    .step(finance_review, timeout_seconds=30)
    .deferred(finalize_approval, timeout_seconds=30)
)
