"""A stand-in for a payment provider."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from tasker_host import PermanentError, RetryableError

from tasker_examples.orders.identity import code, number
from tasker_examples.orders.money import rounded

FEE_RATE = Decimal("0.029")
DECLINED = "tok_test_declined"
TIMES_OUT_ONCE = "tok_timeout_once"


@dataclass(frozen=True, slots=True)
class Gateway:
    """Keeps no state: its answer follows from the token, the attempt and the step that asks, on whichever worker.

    The token `tok_test_declined` is declined; one that starts with `tok_timeout_once` is answered from the second
    attempt on; every other is charged.
    """

    latency_ms: int = 0

    async def charge(self, token: str, amount: Decimal, *, step: UUID, attempt: int) -> dict[str, Any]:
        """The gateway's answer. Raises PermanentError (PAYMENT_DECLINED) or RetryableError (GATEWAY_TIMEOUT)."""
        await asyncio.sleep(self.latency_ms / 1000)
        if token == DECLINED:
            raise PermanentError(f"the card was declined for ${amount:,.2f}", error_code="PAYMENT_DECLINED")
        if token.startswith(TIMES_OUT_ONCE) and attempt == 1:
            raise RetryableError("the payment gateway did not answer in time", error_code="GATEWAY_TIMEOUT")
        return {
            "status": "succeeded",
            "processing_time_ms": 50 + int(number(step, "processing time", 6)) % 200,
            "gateway_fee": float(rounded(amount * FEE_RATE)),
            "reference": f"GW-{code(step, 'gateway', 12)}",
        }
