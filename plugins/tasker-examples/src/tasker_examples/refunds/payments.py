"""How the payments team makes a refund: eligibility, the gateway, the records, the customer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel
from tasker_host import From, Input, PermanentError, RetryableError, StepContext, step_handler, workflow

from tasker_examples.clock import now
from tasker_examples.errors import InvalidInputError
from tasker_examples.orders.identity import code

Mapped = Mapping[str, Any]


class PaymentRefund(BaseModel):
    """What a task of the workflow is given; amounts are in cents."""

    payment_id: str
    refund_amount: int
    refund_reason: str = "not given"
    customer_email: str = "customer@example.com"


Refund = Annotated[PaymentRefund, Input()]
Eligible = Annotated[Mapped, From("validate_payment_eligibility")]
Refunded = Annotated[Mapped, From("process_gateway_refund")]
Recorded = Annotated[Mapped, From("update_payment_records")]


@step_handler("examples.payments.validate_payment_eligibility")
def validate_payment_eligibility(refund: Refund) -> dict[str, Any]:
    payment = refund.payment_id
    if not re.fullmatch(r"pay_[a-zA-Z0-9_]+", payment):
        raise InvalidInputError(f"{payment!r} is no id of a payment", error_code="INVALID_PAYMENT_ID")
    if refund.refund_amount <= 0:
        raise InvalidInputError("refund_amount must be above 0", error_code="INVALID_REFUND_AMOUNT")
    if payment == "pay_test_insufficient":
        raise PermanentError("less was paid than is to be refunded", error_code="INSUFFICIENT_FUNDS")
    if payment == "pay_test_ineligible":
        raise PermanentError("this payment cannot be refunded", error_code="PAYMENT_NOT_ELIGIBLE")
    if payment == "pay_test_processing":
        raise RetryableError("the payment itself is still under way", error_code="PAYMENT_PROCESSING")
    return {
        "payment_validated": True,
        "payment_id": payment,
        "refund_amount": refund.refund_amount,
        "payment_method": "credit_card",
        "gateway": "MockPaymentGateway",
        "eligibility_status": "eligible",
    }


@step_handler("examples.payments.process_gateway_refund")
def process_gateway_refund(context: StepContext, payment: Eligible) -> dict[str, Any]:
    match payment["payment_id"]:
        case "pay_test_gateway_timeout":
            raise RetryableError("the gateway did not answer", error_code="GATEWAY_TIMEOUT")
        case "pay_test_gateway_error":
            raise PermanentError("the gateway refused", error_code="GATEWAY_ERROR")
        case "pay_test_rate_limit" if context.attempt == 1:
            raise RetryableError("the gateway has had enough for now", error_code="RATE_LIMITED", retry_after=30)
    return {
        "refund_processed": True,
        "refund_id": f"rfnd_{code(context.step_uuid, 'refund', 24).lower()}",
        "gateway_transaction_id": f"gtx_{code(context.step_uuid, 'gateway', 20).lower()}",
        "refund_amount": payment["refund_amount"],
        "refund_status": "processed",
        "estimated_arrival": (now() + timedelta(days=5)).isoformat(),
    }


@step_handler("examples.payments.update_payment_records")
def update_payment_records(context: StepContext, payment: Eligible, refund: Refunded) -> dict[str, Any]:
    if payment["payment_id"] == "pay_test_record_lock" and context.attempt == 1:
        raise RetryableError("the record is locked", error_code="RECORD_LOCKED")
    if payment["payment_id"] == "pay_test_record_error":
        raise RetryableError("the record cannot be written", error_code="RECORD_UPDATE_ERROR")
    return {
        "record_updated": True,
        "record_id": f"rec_{code(context.step_uuid, 'record', 16).lower()}",
        "payment_id": payment["payment_id"],
        "refund_id": refund["refund_id"],
        "payment_status": "refunded",
        "history": [
            {"event": "refund_initiated", "amount": refund["refund_amount"]},
            {"event": "refund_processed", "gateway_transaction_id": refund["gateway_transaction_id"]},
        ],
    }


@step_handler("examples.payments.notify_customer")
def notify_customer(context: StepContext, refund: Refund, done: Refunded, record: Recorded) -> dict[str, Any]:
    email = refund.customer_email
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", email) or email.endswith("@test_invalid"):
        raise InvalidInputError(f"{email!r} is no address to write to", error_code="INVALID_EMAIL")
    if email.endswith("@test_bounce"):
        raise PermanentError(f"mail to {email} comes back", error_code="EMAIL_BOUNCED")
    if email.endswith("@test_rate_limit") and context.attempt == 1:
        raise RetryableError("the mail service has had enough for now", error_code="RATE_LIMITED", retry_after=30)
    return {
        "notification_sent": True,
        "message_id": f"msg_{code(context.step_uuid, 'message', 24).lower()}",
        "recipient": email,
        "subject": f"Your refund of ${done['refund_amount'] / 100:.2f}",
        "refund_id": record["refund_id"],
    }


_RETRY = {"max_attempts": 3, "backoff": "exponential", "backoff_base_ms": 1000, "max_backoff_ms": 30000}

PAYMENTS = (
    workflow(
        "examples_payments/process_refund",
        version="2.1.0",
        description="A refund of a payment: eligible, made by the gateway, recorded, and told",
        metadata={"author": "tasker-examples", "tags": ["refunds", "chain", "code"]},
        input_schema=PaymentRefund,
    )
    .step(validate_payment_eligibility, retry=_RETRY, timeout_seconds=30)
    .step(process_gateway_refund, retry={**_RETRY, "backoff_base_ms": 5000}, timeout_seconds=60)
    .step(update_payment_records, retry=_RETRY, timeout_seconds=30)
    .step(notify_customer, retry={**_RETRY, "max_attempts": 5}, timeout_seconds=30)
)
