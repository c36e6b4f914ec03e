"""Steps whose outcomes are published: what is said, by which path and by whom, stands in the template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from tasker_host import From, Input, RetryableError, StepContext, step_handler

from tasker_examples.clock import now
from tasker_examples.errors import InvalidInputError
from tasker_examples.orders.identity import code

OrderId = Annotated[str, Input("order_id")]
Amount = Annotated[float, Input("amount")]
Mapped = Mapping[str, Any]


@step_handler("examples.events.validate_order")
def validate_order(
    context: StepContext, order_id: OrderId, customer_id: Annotated[str, Input("customer_id")], amount: Amount
) -> dict[str, Any]:
    """Configuration: `validation_mode`; a strict one looks at the amount too."""
    checks = [name for name, value in (("order_id_present", order_id), ("customer_id_present", customer_id)) if value]
    if context.get_config("validation_mode") == "strict":
        if amount <= 0:
            raise InvalidInputError(f"amount must be above 0, got: {amount:g}", error_code="INVALID_AMOUNT")
        checks.append("amount_positive")
    return {
        "order_id": order_id,
        "validation_timestamp": now().isoformat(),
        "validation_checks": checks,
        "validated": True,
    }


@step_handler("examples.events.process_payment")
def process_payment(
    context: StepContext,
    order: Annotated[Mapped, From("validate_order")],
    amount: Amount,
    simulate_failure: Annotated[bool, Input("simulate_failure")] = False,
) -> dict[str, Any]:
    if simulate_failure:
        raise RetryableError(f"the card was declined for order {order['order_id']}", error_code="PAYMENT_DECLINED")
    return {
        "transaction_id": f"TXN-{code(context.step_uuid, 'transaction', 12)}",
        "amount": amount,
        "payment_method": "credit_card",
        "processed_at": now().isoformat(),
        "status": "success",
    }


@step_handler("examples.events.update_inventory")
def update_inventory(
    order: Annotated[Mapped, From("validate_order")],
    payment: Annotated[Mapped, From("process_payment")],  # noqa: ARG001 - it must have been made
) -> dict[str, Any]:
    items = [{"sku": "ITEM-001", "quantity": 1}, {"sku": "ITEM-002", "quantity": 2}]
    return {"order_id": order["order_id"], "items": items, "success": True, "updated_at": now().isoformat()}


@step_handler("examples.events.send_notification")
def send_notification(
    context: StepContext,
    customer_id: Annotated[str, Input("customer_id")],
    inventory: Annotated[Mapped, From("update_inventory")],  # noqa: ARG001 - it must have been updated
) -> dict[str, Any]:
    """Configuration: `notification_type`."""
    return {
        "notification_id": f"NOTIF-{code(context.step_uuid, 'notification', 12)}",
        "channel": context.get_config("notification_type"),
        "recipient": customer_id,
        "sent_at": now().isoformat(),
        "status": "delivered",
    }


HANDLERS = (validate_order, process_payment, update_inventory, send_notification)
