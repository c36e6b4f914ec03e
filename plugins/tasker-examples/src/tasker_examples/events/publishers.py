"""What two of the events say, where that is not simply the step's value."""

from __future__ import annotations

from typing import Any

from tasker_host import EventPublisher, Failed, StepContext, StepResult, Succeeded


class PaymentEventPublisher(EventPublisher):
    """`payment.processed` without what only the gateway cares for; `payment.failed` with what an operator needs."""

    name = "examples.PaymentEventPublisher"

    def transform_payload(self, step: StepContext, result: StepResult, event: Any) -> Any:  # noqa: ARG002
        if isinstance(result, Failed):
            return {
                "error_code": result.error_code or result.error_type,
                "error_message": result.message,
                "order_id": step.get_input("order_id"),
            }
        assert isinstance(result, Succeeded)
        kept = ("transaction_id", "amount", "payment_method", "status")
        return {**{key: result.value[key] for key in kept}, "order_id": step.get_input("order_id")}


class NotificationEventPublisher(EventPublisher):
    """`notification.sent`, for those that were delivered only."""

    name = "examples.NotificationEventPublisher"

    def should_publish(self, step: StepContext, result: StepResult, event: Any) -> bool:  # noqa: ARG002 - as every publisher is called
        return isinstance(result, Succeeded) and result.value["status"] == "delivered"

    def transform_payload(self, step: StepContext, result: StepResult, event: Any) -> Any:  # noqa: ARG002
        assert isinstance(result, Succeeded)
        return {key: result.value[key] for key in ("notification_id", "channel", "recipient")}


PUBLISHERS = (PaymentEventPublisher(), NotificationEventPublisher())
