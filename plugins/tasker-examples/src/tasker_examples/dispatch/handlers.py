"""One class with several methods; which one a step calls stands in the template (`handler.method`)."""

from __future__ import annotations

from typing import Any

from tasker_host import StepContext, StepHandler

from tasker_examples.errors import InvalidInputError
from tasker_examples.orders.money import dollars, rounded


class MultiMethodHandler(StepHandler):
    handler_name = "examples.MultiMethodHandler"

    async def call(self, context: StepContext) -> dict[str, Any]:
        return {
            "invoked_method": "call",
            "handler": self.name,
            "message": "the default",
            "input_received": context.get_input("data"),
        }

    async def validate(self, context: StepContext) -> dict[str, Any]:
        amount = _amount(context)
        return {
            "invoked_method": "validate",
            "handler": self.name,
            "message": f"{amount:g} can be processed",
            "validated": True,
            "input_validated": context.get_input("data"),
            "step_uuid": str(context.step_uuid),
        }

    async def process(self, context: StepContext) -> dict[str, Any]:
        amount = dollars(_amount(context))
        fee = rounded(amount / 10)
        return {
            "invoked_method": "process",
            "original_amount": float(amount),
            "processed_amount": float(rounded(amount + amount / 10)),
            "processing_fee": float(fee),
        }

    async def refund(self, context: StepContext) -> dict[str, Any]:
        data = context.get_input("data")
        return {
            "invoked_method": "refund",
            "refund_amount": _amount(context),
            "refund_reason": data.get("reason") or "not_specified",
            # The same in every attempt, unlike a number taken from the clock.
            "refund_id": f"refund_{context.step_uuid.hex}",
        }


class AlternateMethodHandler(StepHandler):
    handler_name = "examples.AlternateMethodHandler"

    async def call(self, context: StepContext) -> dict[str, Any]:
        return {"invoked_method": "call", "step": context.step_name}

    async def execute_action(self, context: StepContext) -> dict[str, Any]:
        action = context.get_input_or("action_type", "default_action")
        return {"invoked_method": "execute_action", "action_type": action}


def _amount(context: StepContext) -> float:
    data = context.get_input("data")
    amount = data.get("amount") if isinstance(data, dict) else None
    if isinstance(amount, bool) or not isinstance(amount, int | float) or amount <= 0:
        raise InvalidInputError(f"data.amount must be a number above 0, got: {amount!r}", error_code="INVALID_AMOUNT")
    return amount


HANDLERS = (MultiMethodHandler, AlternateMethodHandler)
