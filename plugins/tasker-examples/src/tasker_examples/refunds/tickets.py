"""How customer success makes a refund: the ticket, the policy, the manager, and then the payments team's own workflow.

Both teams call their workflow `process_refund`; their namespaces keep them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel
from tasker_host import From, Input, PermanentError, RetryableError, StepContext, step_handler, workflow

from tasker_examples.clock import now
from tasker_examples.errors import InvalidInputError
from tasker_examples.orders.identity import code

Mapped = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Policy:
    """`most_cents` without asking anybody, when `needs_approval` is false."""

    days: int
    needs_approval: bool
    most_cents: int


POLICIES = {
    "standard": Policy(30, True, 10_000),
    "gold": Policy(60, False, 50_000),
    "premium": Policy(90, False, 100_000),
}
PURCHASED_DAYS_AGO = 30
"""Of every purchase here."""

_TICKETS: dict[str, tuple[type[PermanentError] | type[RetryableError], str, str]] = {
    "ticket_closed": (InvalidInputError, "is closed", "TICKET_CLOSED"),
    "ticket_cancelled": (InvalidInputError, "is cancelled", "TICKET_CANCELLED"),
    "ticket_duplicate": (InvalidInputError, "repeats another one", "TICKET_DUPLICATE"),
}


class TicketRefund(BaseModel):
    """What a task of the workflow is given; amounts are in cents."""

    ticket_id: str
    customer_id: str
    refund_amount: int
    refund_reason: str = "not given"
    correlation_id: str | None = None


Ticket = Annotated[TicketRefund, Input()]
Validated = Annotated[Mapped, From("validate_refund_request")]
Checked = Annotated[Mapped, From("check_refund_policy")]
Approved = Annotated[Mapped, From("get_manager_approval")]
Delegated = Annotated[Mapped, From("execute_refund_workflow")]


@step_handler("examples.tickets.validate_refund_request")
def validate_refund_request(ticket: Ticket) -> dict[str, Any]:
    if ticket.refund_amount <= 0:
        raise InvalidInputError("refund_amount must be above 0", error_code="INVALID_REFUND_AMOUNT")
    for start, (error, what, error_code) in _TICKETS.items():
        if ticket.ticket_id.startswith(start):
            raise error(f"ticket {ticket.ticket_id} {what}", error_code=error_code)
    return {
        "request_validated": True,
        "ticket_id": ticket.ticket_id,
        "customer_id": ticket.customer_id,
        "customer_tier": tier_of(ticket.customer_id),
        "purchase_date": (now() - timedelta(days=PURCHASED_DAYS_AGO)).date().isoformat(),
        "payment_id": f"pay_{ticket.ticket_id}",
        "refund_amount": ticket.refund_amount,
    }


@step_handler("examples.tickets.check_refund_policy")
def check_refund_policy(request: Validated) -> dict[str, Any]:
    policy = POLICIES[request["customer_tier"]]
    if policy.days < PURCHASED_DAYS_AGO:
        raise PermanentError(f"the {policy.days} days for refunds are over", error_code="OUTSIDE_REFUND_WINDOW")
    if request["refund_amount"] > policy.most_cents:
        raise PermanentError(
            f"${request['refund_amount'] / 100:.2f} is more than the ${policy.most_cents / 100:.2f} of the"
            f" {request['customer_tier']} tier",
            error_code="EXCEEDS_AMOUNT_LIMIT",
        )
    return {
        "policy_compliant": True,
        "customer_tier": request["customer_tier"],
        "refund_window_days": policy.days,
        "requires_approval": policy.needs_approval,
        "max_allowed_amount": policy.most_cents,
    }


@step_handler("examples.tickets.get_manager_approval")
def get_manager_approval(context: StepContext, request: Validated, policy: Checked) -> dict[str, Any]:
    if not policy["requires_approval"]:
        return {"approval_obtained": True, "approval_required": False, "auto_approved": True, "manager_id": None}
    if request["ticket_id"].startswith("ticket_denied"):
        raise PermanentError("the manager said no", error_code="APPROVAL_DENIED")
    if request["ticket_id"].startswith("ticket_pending"):
        raise RetryableError("the manager has not answered yet", error_code="APPROVAL_PENDING")
    return {
        "approval_obtained": True,
        "approval_required": True,
        "auto_approved": False,
        "manager_id": f"mgr_{code(context.step_uuid, 'manager', 6).lower()}",
        "approval_id": f"appr_{code(context.step_uuid, 'approval', 12).lower()}",
    }


@step_handler("examples.tickets.execute_refund_workflow")
def execute_refund_workflow(
    context: StepContext, ticket: Ticket, request: Validated, approval: Approved
) -> dict[str, Any]:
    """Notes what the payments team is asked for. A plugin of a real shop would submit it, with `Client` and the step's
    own uuid as the idempotency key."""
    if not approval["approval_obtained"]:
        raise PermanentError("nobody approved", error_code="APPROVAL_DENIED")
    return {
        "task_delegated": True,
        "target_namespace": "examples_payments",
        "target_workflow": "process_refund",
        "delegated_request": {
            "payment_id": request["payment_id"],
            "refund_amount": request["refund_amount"],
            "refund_reason": ticket.refund_reason,
        },
        "idempotency_key": f"refund-{context.step_uuid}",
        "correlation_id": ticket.correlation_id or str(context.correlation_id),
    }


@step_handler("examples.tickets.update_ticket_status")
def update_ticket_status(request: Validated, delegated: Delegated) -> dict[str, Any]:
    ticket = request["ticket_id"]
    if ticket.startswith("ticket_locked"):
        raise RetryableError(f"ticket {ticket} is being edited", error_code="TICKET_LOCKED")
    if ticket.startswith("ticket_update_error"):
        raise RetryableError(f"ticket {ticket} cannot be written", error_code="TICKET_UPDATE_ERROR")
    return {
        "ticket_updated": True,
        "ticket_id": ticket,
        "previous_status": "in_progress",
        "new_status": "resolved",
        "refund_completed": delegated["task_delegated"],
        "resolution_note": f"${request['refund_amount'] / 100:.2f} will be refunded",
    }


def tier_of(customer_id: str) -> str:
    """From the customer's id, as the example company writes them."""
    name = customer_id.lower()
    if "vip" in name or "premium" in name:
        return "premium"
    return "gold" if "gold" in name else "standard"


_RETRY = {"max_attempts": 3, "backoff": "exponential", "backoff_base_ms": 1000, "max_backoff_ms": 30000}

CUSTOMER_SUCCESS = (
    workflow(
        "examples_customer_success/process_refund",
        version="1.3.0",
        description="A refund for a ticket: validated, checked against the policy, approved, handed to payments",
        metadata={"author": "tasker-examples", "tags": ["refunds", "chain", "code"]},
        input_schema=TicketRefund,
    )
    .step(validate_refund_request, retry=_RETRY, timeout_seconds=30)
    .step(check_refund_policy, retry=_RETRY, timeout_seconds=30)
    # A manager is asked once: who has not answered is waited for by the next ticket, not by this one.
    .step(get_manager_approval, retry={"max_attempts": 1}, timeout_seconds=60)
    .step(execute_refund_workflow, retry=_RETRY, timeout_seconds=30)
    .step(update_ticket_status, retry=_RETRY, timeout_seconds=30)
)
