"""Orders are charged once, and a gateway that is silent is asked again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from tasker_host import PermanentError, RetryableError

from tasker_examples.orders.gateway import Gateway
from tasker_examples.orders.payment import process_payment

NOW = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
STEP = UUID("019aa2c5-8980-7000-8000-000000000001")
VALIDATION = {"order_total": 209.97}
RESERVATION = {"reservation_id": "RES-1"}


async def pay(
    payment: object,
    *,
    validation: dict[str, Any] | None = VALIDATION,
    reservation: dict[str, Any] | None = RESERVATION,
    attempt: int = 1,
) -> dict[str, Any]:
    return await process_payment(
        payment, validation, reservation, gateway=Gateway(), step=STEP, attempt=attempt, now=NOW
    )


async def test_the_order_s_total_is_charged() -> None:
    result = await pay({"method": "credit_card", "token": "tok_1234567890abcdef"})
    answer = result.pop("gateway_response")
    assert result.pop("payment_id").startswith("PAY-")
    assert result.pop("transaction_id").startswith("TXN-")
    assert result == {
        "payment_processed": True,
        "amount_charged": 209.97,
        "payment_method_used": "credit_card",
        "processed_at": "2026-11-20T14:30:00+00:00",
        "payment_status": "completed",
    }
    assert answer.pop("reference").startswith("GW-")
    assert 50 <= answer.pop("processing_time_ms") <= 249
    assert answer == {"status": "succeeded", "gateway_fee": 6.09}


async def test_half_a_cent_of_the_fee_is_rounded_up() -> None:
    # 2.9 % of 5.00 is 0.145, which floating point would round to 0.14.
    result = await pay({"method": "paypal", "token": "tok_1"}, validation={"order_total": 5.0})
    assert result["gateway_response"]["gateway_fee"] == 0.15


async def test_a_declined_card_is_not_tried_again() -> None:
    with pytest.raises(PermanentError, match=r"^the card was declined for \$209\.97$") as caught:
        await pay({"method": "credit_card", "token": "tok_test_declined"})
    assert caught.value.error_code == "PAYMENT_DECLINED"


async def test_a_gateway_that_does_not_answer_is_asked_again() -> None:
    payment = {"method": "credit_card", "token": "tok_timeout_once_4f6d"}
    with pytest.raises(RetryableError) as caught:
        await pay(payment, attempt=1)
    assert caught.value.error_code == "GATEWAY_TIMEOUT"
    second, third = await pay(payment, attempt=2), await pay(payment, attempt=3)
    assert second == third
    assert second["amount_charged"] == 209.97


@pytest.mark.parametrize(
    ("payment", "code"),
    [
        (None, "MISSING_PAYMENT_INFO"),
        ("tok_1", "MISSING_PAYMENT_INFO"),
        ({"token": "tok_1"}, "MISSING_PAYMENT_METHOD"),
        ({"method": "", "token": "tok_1"}, "MISSING_PAYMENT_METHOD"),
        ({"method": "credit_card"}, "MISSING_PAYMENT_TOKEN"),
        ({"method": "credit_card", "token": 7}, "MISSING_PAYMENT_TOKEN"),
    ],
)
async def test_the_means_of_payment_must_be_complete(payment: object, code: str) -> None:
    with pytest.raises(PermanentError) as caught:
        await pay(payment)
    assert caught.value.error_code == code


async def test_what_earlier_steps_left_must_be_there() -> None:
    payment = {"method": "credit_card", "token": "tok_1"}
    with pytest.raises(RetryableError) as caught:
        await pay(payment, validation=None)
    assert caught.value.error_code == "MISSING_VALIDATION_RESULTS"
    with pytest.raises(RetryableError) as caught:
        await pay(payment, reservation=None)
    assert caught.value.error_code == "MISSING_RESERVATION_RESULTS"
