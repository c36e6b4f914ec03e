"""Order fulfilment from the order to the parcel, in both styles."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tasker_host import RetryableError, Succeeded
from tasker_host.handlers.bound import bind

from tasker_examples.orders import functions, handlers
from tasker_examples.settings import ExamplesSettings

Run = Callable[..., Awaitable[dict[str, Succeeded]]]

ORDER: dict[str, Any] = {
    "customer": {"id": 12345, "name": "Jane Doe", "email": "jane@example.com"},
    "items": [
        {"sku": "WIDGET-001", "quantity": 2, "price": 29.99},
        {"sku": "GADGET-002", "quantity": 1, "price": 149.99},
    ],
    "payment": {"method": "credit_card", "token": "tok_1234567890abcdef"},
    "shipping": {"method": "standard", "address": {"street": "123 Main St", "city": "Anytown"}},
}

both_styles = pytest.mark.parametrize(
    "key", ["examples_orders/business_workflow", "examples_orders_dsl/business_workflow"], ids=["class", "function"]
)


@both_styles
async def test_an_order_is_fulfilled(run: Run, key: str) -> None:
    results = {step: result.value for step, result in (await run(key, ORDER)).items()}
    assert list(results) == ["validate_order", "reserve_inventory", "process_payment", "ship_order"]
    assert results["validate_order"]["order_total"] == 209.97
    assert results["reserve_inventory"]["total_reserved_value"] == 209.97
    assert results["process_payment"]["amount_charged"] == 209.97
    assert results["process_payment"]["gateway_response"]["gateway_fee"] == 6.09
    assert results["process_payment"]["payment_method_used"] == "credit_card"
    assert results["ship_order"]["shipping_cost"] == 8.99
    assert results["ship_order"]["carrier"] == "UPS"


@both_styles
async def test_run_again_an_order_keeps_its_numbers(run: Run, key: str) -> None:
    numbers = {
        "reserve_inventory": ["reservation_id"],
        "process_payment": ["payment_id", "transaction_id", "gateway_response"],
        "ship_order": ["shipment_id", "tracking_number", "label_url"],
    }
    first, second = await run(key, ORDER), await run(key, ORDER, attempt=2)
    for step, names in numbers.items():
        for name in names:
            assert first[step].value[name] == second[step].value[name]


@both_styles
async def test_the_second_call_of_a_silent_gateway_is_answered(run: Run, key: str) -> None:
    order = ORDER | {"payment": {"method": "credit_card", "token": "tok_timeout_once_4f6d"}}
    with pytest.raises(RetryableError, match="the payment gateway did not answer in time"):
        await run(key, order, attempt=1)
    results = await run(key, order, attempt=2)
    assert results["ship_order"].value["shipping_status"] == "label_created"


@pytest.mark.parametrize("given", [handlers.ProcessPayment, functions.process_payment], ids=["class", "function"])
def test_both_styles_are_given_the_settings(given: object) -> None:
    with pytest.raises(Exception, match="settings"):
        bind(given, plugin="examples", settings=None)
    (bound,) = bind(given, plugin="examples", settings=ExamplesSettings(gateway_latency_ms=5))
    assert bound.is_async
