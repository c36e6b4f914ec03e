"""Orders are checked before anything is done for them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from tasker_host import PermanentError

from tasker_examples.orders.validation import validate_order

NOW = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
CUSTOMER = {"id": 12345, "name": "Jane Doe", "email": "jane@example.com"}
WIDGETS = {"sku": "WIDGET-001", "quantity": 2, "price": 29.99}
GADGET = {"sku": "GADGET-002", "quantity": 1, "price": 149.99}


def test_a_good_order_is_priced_line_by_line() -> None:
    assert validate_order(CUSTOMER, [WIDGETS, GADGET], now=NOW) == {
        "customer_validated": True,
        "customer_id": 12345,
        "validated_items": [
            {
                "sku": "WIDGET-001",
                "product_name": "Premium Widget A",
                "quantity": 2,
                "unit_price": 29.99,
                "line_total": 59.98,
                "available_stock": 100,
                "category": "widgets",
            },
            {
                "sku": "GADGET-002",
                "product_name": "Standard Gadget C",
                "quantity": 1,
                "unit_price": 149.99,
                "line_total": 149.99,
                "available_stock": 200,
                "category": "gadgets",
            },
        ],
        "order_total": 209.97,
        "validation_status": "complete",
        "validated_at": "2026-11-20T14:30:00+00:00",
    }


def test_cents_do_not_drift() -> None:
    # 3 × 71.55 is 214.64999999999998 in binary floating point.
    result = validate_order(CUSTOMER, [{"sku": "WIDGET-002", "quantity": 3, "price": 71.55}] * 3, now=NOW)
    assert [line["line_total"] for line in result["validated_items"]] == [214.65, 214.65, 214.65]
    assert result["order_total"] == 643.95


@pytest.mark.parametrize(
    ("customer", "code"),
    [
        (None, "MISSING_CUSTOMER_INFO"),
        ("Jane Doe", "MISSING_CUSTOMER_INFO"),
        ({"email": "jane@example.com"}, "MISSING_CUSTOMER_ID"),
        ({"id": "12345", "email": "jane@example.com"}, "MISSING_CUSTOMER_ID"),
        ({"id": True, "email": "jane@example.com"}, "MISSING_CUSTOMER_ID"),
        ({"id": 12345}, "MISSING_CUSTOMER_EMAIL"),
        ({"id": 12345, "email": ""}, "MISSING_CUSTOMER_EMAIL"),
    ],
)
def test_a_customer_must_be_known(customer: object, code: str) -> None:
    with pytest.raises(PermanentError) as caught:
        validate_order(customer, [WIDGETS], now=NOW)
    assert caught.value.error_code == code


@pytest.mark.parametrize(
    ("items", "code"),
    [
        (None, "MISSING_ORDER_ITEMS"),
        ("WIDGET-001", "INVALID_ORDER_ITEMS"),
        ({}, "INVALID_ORDER_ITEMS"),
        ([], "EMPTY_ORDER_ITEMS"),
        (["WIDGET-001"], "INVALID_ORDER_ITEM"),
        ([{"quantity": 1, "price": 2.5}], "INVALID_ORDER_ITEM"),
        ([{"sku": 7, "quantity": 1, "price": 2.5}], "INVALID_ORDER_ITEM"),
        ([WIDGETS, GADGET | {"sku": "GADGET-001"}], "PRODUCT_NOT_FOUND"),
    ],
)
def test_items_must_be_products_of_the_shop(items: object, code: str) -> None:
    with pytest.raises(PermanentError) as caught:
        validate_order(CUSTOMER, items, now=NOW)
    assert caught.value.error_code == code


@pytest.mark.parametrize("quantity", [None, 0, -1, 1.5, 2.0, "2", True])
def test_a_quantity_is_a_whole_number_from_one(quantity: Any) -> None:
    with pytest.raises(PermanentError, match=r"^item 2 \(GADGET-002\): quantity must be") as caught:
        validate_order(CUSTOMER, [WIDGETS, GADGET | {"quantity": quantity}], now=NOW)
    assert caught.value.error_code == "INVALID_QUANTITY"


@pytest.mark.parametrize("price", [None, 0, -29.99, 29.999, 1e-7, "29.99", True, float("nan"), float("inf")])
def test_a_price_is_in_whole_cents_above_nothing(price: Any) -> None:
    with pytest.raises(PermanentError, match=r"^item 1 \(WIDGET-001\): price must be") as caught:
        validate_order(CUSTOMER, [WIDGETS | {"price": price}], now=NOW)
    assert caught.value.error_code == "INVALID_PRICE"


@pytest.mark.parametrize("price", [30, 29.9, 0.01])
def test_a_price_may_have_fewer_digits(price: float) -> None:
    result = validate_order(CUSTOMER, [WIDGETS | {"price": price, "quantity": 1}], now=NOW)
    assert result["order_total"] == price


@pytest.mark.parametrize(
    ("quantity", "price"), [(1, 50_000.01), (334, 149.99), (10**6, 1e300), (1, 10**400), (10**400, 29.99)]
)
def test_a_total_above_fifty_thousand_is_refused(quantity: int, price: float) -> None:
    with pytest.raises(PermanentError) as caught:
        validate_order(CUSTOMER, [GADGET | {"quantity": quantity, "price": price}], now=NOW)
    assert caught.value.error_code == "ORDER_TOTAL_TOO_HIGH"


def test_a_total_of_fifty_thousand_is_not() -> None:
    result = validate_order(CUSTOMER, [GADGET | {"quantity": 1000, "price": 50}], now=NOW)
    assert result["order_total"] == 50_000
