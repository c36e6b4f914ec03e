"""Approvals in class style."""

from __future__ import annotations

from typing import Any

from tasker_host import DecisionHandler, StepContext, StepHandler, Succeeded

from tasker_examples.approvals import rules
from tasker_examples.clock import now

_ROUTES = {"auto": "auto_approval", "manager": "manager_only", "dual": "dual_approval"}
_PATHS = {"auto": "auto", "manager": "manager_only", "dual": "dual_approval"}


class ValidateRequest(StepHandler):
    handler_name = "examples.approvals.validate"

    async def call(self, context: StepContext) -> dict[str, Any]:
        return rules.checked(context.get_input("amount"), context.get_input("requester"), context.get_input("purpose"))


class RouteRequest(DecisionHandler):
    handler_name = "examples.approvals.route"

    async def call(self, context: StepContext) -> Succeeded:
        amount = context.get_dependency_field("validate_request", "amount")
        path = rules.path_of(amount)
        steps = rules.steps_of(path)
        reasoning = f"{amount:g} needs {' and '.join(steps)}"
        return self.decision_success(
            steps,
            {"route_type": _ROUTES[path], "reasoning": reasoning, "amount": amount, "approval_path": _PATHS[path]},
        )


class Approve(StepHandler):
    """Configuration: `approval_type`, `approved_by`, `notes`."""

    handler_name = "examples.approvals.approve"

    async def call(self, context: StepContext) -> dict[str, Any]:
        return {
            "approved": True,
            "approval_type": context.get_config("approval_type"),
            "approved_amount": context.get_dependency_field("validate_request", "amount"),
            "approved_by": context.get_config("approved_by"),
            "approved_at": now().isoformat(),
            "notes": context.get_config("notes"),
        }


class FinalizeApproval(StepHandler):
    handler_name = "examples.approvals.finalize"

    async def call(self, context: StepContext) -> dict[str, Any]:
        request = context.get_dependency_result("validate_request")
        names = ("auto_approve", "manager_approval", "finance_review")
        given = [value for name in names if (value := context.get_dependency_result(name)) is not None]
        return {
            "approved": rules.together(given)["all_approved"],
            "final_amount": request["amount"],
            "requester": request["requester"],
            "purpose": request["purpose"],
            "approval_chain": [value["approval_type"] for value in given],
            "approved_by": [value["approved_by"] for value in given],
            "finalized_at": now().isoformat(),
            "approval_path": context.get_dependency_field("routing_decision", "approval_path"),
        }


HANDLERS = (ValidateRequest, RouteRequest, Approve, FinalizeApproval)
