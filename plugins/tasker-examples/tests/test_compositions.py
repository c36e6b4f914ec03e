"""Orders that are priced and routed, payments that are reconciled, customers that are welcomed."""

from __future__ import annotations

import pytest
from tasker_host.testing import run_task_async

from tasker_examples import plugin


async def test_an_order_is_priced_and_routed() -> None:
    items = [
        {"name": "lamp", "price": 29.99, "quantity": 3},
        {"name": "chair", "price": 149.99, "quantity": 1},
        {"name": "pen", "price": 12.99, "quantity": 5},
    ]
    ran = await run_task_async("examples_compositions/ecommerce", {"items": items, "state": "OR"}, plugins=[plugin])
    assert ran.is_complete, ran
    assert ran.values["price_order"] == {"subtotal": 304.91, "tax": 24.3928, "shipping": 0.0, "total": 329.3028}
    assert ran.values["route_order"] == {"priority": "normal", "warehouse": "west", "fraud_review": False}


@pytest.mark.parametrize(
    ("price", "total", "routed"),
    [
        (50.0, 63.99, {"priority": "low", "warehouse": "east", "fraud_review": False}),
        (100.0, 108.0, {"priority": "normal", "warehouse": "east", "fraud_review": False}),
        (500.0, 540.0, {"priority": "high", "warehouse": "east", "fraud_review": False}),
        (1000.0, 1080.0, {"priority": "high", "warehouse": "east", "fraud_review": True}),
    ],
)
async def test_what_an_order_comes_to_decides_how_it_is_sent(price: float, total: float, routed: object) -> None:
    cart = {"items": [{"name": "one", "price": price, "quantity": 1}], "state": "NY"}
    ran = await run_task_async("examples_compositions/ecommerce", cart, plugins=[plugin])
    assert ran.values["price_order"]["total"] == total
    assert ran.values["route_order"] == routed


def transactions(**amounts: float) -> list[dict[str, object]]:
    return [{"id": name.replace("_", "-"), "amount": amount} for name, amount in amounts.items()]


async def test_a_provider_is_reconciled_with_our_own_books() -> None:
    given = {
        "external": transactions(txn_001=100.0, txn_002=250.5, txn_003=75.0, txn_004=30.0),
        "internal": transactions(txn_001=100.0, txn_002=250.0, txn_003=75.0),
    }
    ran = await run_task_async("examples_compositions/payment_reconciliation", given, plugins=[plugin])
    assert ran.values["match_transactions"] == {
        "matched": 3,
        "unmatched": ["txn-004"],
        "variances": {"txn-002": 0.5},
    }
    assert ran.values["report_reconciliation"] == {
        "matched": 3,
        "unmatched": 1,
        "total_variance": 0.5,
        "is_balanced": True,
    }


@pytest.mark.parametrize("threshold", [{"max_variance": 0.4}, {"max_unmatched": 0}])
async def test_books_beyond_a_threshold_are_not_balanced(threshold: dict[str, float]) -> None:
    given = {"external": transactions(a=2.5, b=1.0), "internal": transactions(a=2.0), **threshold}
    ran = await run_task_async("examples_compositions/payment_reconciliation", given, plugins=[plugin])
    assert ran.values["report_reconciliation"]["is_balanced"] is False


async def test_a_good_customer_is_welcomed_as_such() -> None:
    jane = {"first_name": "Jane", "last_name": "Doe", "total_spend": 7500, "purchases": 25}
    ran = await run_task_async("examples_compositions/customer_onboarding", jane, plugins=[plugin])
    assert ran.values["welcome_customer"] == {
        "tier": "gold",
        "display_name": "Jane Doe",
        "benefits": {
            "discount_percent": 15,
            "free_shipping": True,
            "priority_support": False,
            "loyalty_multiplier": 2.0,
        },
    }


@pytest.mark.parametrize(
    ("spend", "purchases", "tier"),
    [(10_000, 50, "platinum"), (10_000, 49, "gold"), (1_000, 5, "silver"), (999, 99, "bronze")],
)
async def test_both_spend_and_purchases_make_a_tier(spend: float, purchases: int, tier: str) -> None:
    given = {"first_name": "A", "last_name": "B", "total_spend": spend, "purchases": purchases}
    ran = await run_task_async("examples_compositions/customer_onboarding", given, plugins=[plugin])
    assert ran.values["classify_customer"] == {"tier": tier}
