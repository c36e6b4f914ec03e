"""Charging for the order."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from tasker_examples.errors import InvalidInputError, MissingResultError
from tasker_examples.orders.gateway import Gateway
from tasker_examples.orders.identity import code
from tasker_examples.orders.money import dollars


async def process_payment(
    payment: object,
    validation: Mapping[str, Any] | None,
    reservation: Mapping[str, Any] | None,
    *,
    gateway: Gateway,
    step: UUID,
    attempt: int,
    now: datetime,
) -> dict[str, Any]:
    """The receipt for the order's total. Raises InvalidInputError, MissingResultError, and what the gateway raises."""
    if validation is None:
        raise MissingResultError("Missing result from validate_order", error_code="MISSING_VALIDATION_RESULTS")
    if reservation is None:
        raise MissingResultError("Missing result from reserve_inventory", error_code="MISSING_RESERVATION_RESULTS")
    method, token = _means(payment)
    total = dollars(validation["order_total"])
    answer = await gateway.charge(token, total, step=step, attempt=attempt)
    return {
        "payment_processed": True,
        "payment_id": f"PAY-{code(step, 'payment', 12)}",
        "transaction_id": f"TXN-{code(step, 'transaction', 12)}",
        "amount_charged": float(total),
        "payment_method_used": method,
        "gateway_response": answer,
        "processed_at": now.isoformat(),
        "payment_status": "completed",
    }


def _means(payment: object) -> tuple[str, str]:
    """Method and token."""
    if not isinstance(payment, Mapping):
        raise InvalidInputError("the order has no payment", error_code="MISSING_PAYMENT_INFO")
    method, token = payment.get("method"), payment.get("token")
    if not isinstance(method, str) or not method:
        raise InvalidInputError("payment.method is missing", error_code="MISSING_PAYMENT_METHOD")
    if not isinstance(token, str) or not token:
        raise InvalidInputError("payment.token is missing", error_code="MISSING_PAYMENT_TOKEN")
    return method, token
