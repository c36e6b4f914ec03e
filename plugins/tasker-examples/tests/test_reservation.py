"""Stock is set aside for all lines of an order or for none."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from tasker_host import PermanentError, RetryableError
from tasker_host.errors import HandlerError

from tasker_examples.orders.reservation import reserve_inventory
from tasker_examples.orders.validation import validate_order

NOW = datetime(2026, 11, 20, 23, 50, tzinfo=UTC)
STEP = UUID("019aa2c5-8980-7000-8000-000000000001")  # made 1763667446.144 s after 1970
OTHER_STEP = UUID("019aa2c5-8980-7000-8000-000000000002")


def validated(*items: tuple[str, int, float]) -> dict[str, Any]:
    customer = {"id": 1, "email": "jane@example.com"}
    return validate_order(
        customer, [{"sku": sku, "quantity": quantity, "price": price} for sku, quantity, price in items], now=NOW
    )


def test_every_line_is_reserved_where_it_lies() -> None:
    order = validated(("WIDGET-001", 2, 29.99), ("WIDGET-002", 50, 79.5), ("GADGET-002", 1, 149.99))
    result = reserve_inventory(order, step=STEP, now=NOW)
    reservation_id = result["reservation_id"]
    assert result["reservation_details"][0] == {
        "sku": "WIDGET-001",
        "product_name": "Premium Widget A",
        "quantity_requested": 2,
        "quantity_reserved": 2,
        "unit_price": 29.99,
        "line_total": 59.98,
        "stock_location": "WH-EAST-A1",
        "reservation_reference": f"{reservation_id}-WIDGET-001",
    }
    places = [line["stock_location"] for line in result["reservation_details"]]
    assert places == ["WH-EAST-A1", "WH-WEST-B2", "WH-CENTRAL-C3"]
    del result["reservation_details"], result["reservation_id"]
    assert result == {
        "items_reserved": 3,
        "reservation_status": "confirmed",
        "total_reserved_value": 4184.97,
        "expires_at": "2026-11-21T00:05:00+00:00",
        "reserved_at": "2026-11-20T23:50:00+00:00",
    }


def test_a_second_attempt_reserves_under_the_same_number() -> None:
    order = validated(("WIDGET-001", 2, 29.99))
    first = reserve_inventory(order, step=STEP, now=NOW)["reservation_id"]
    second = reserve_inventory(order, step=STEP, now=NOW.replace(minute=59))["reservation_id"]
    other = reserve_inventory(order, step=OTHER_STEP, now=NOW)["reservation_id"]
    assert first.startswith("RES-1763667446-")
    assert first == second != other


@pytest.mark.parametrize(
    "items",
    [
        [("WIDGET-001", 101, 29.99)],
        [("WIDGET-001", 60, 29.99), ("GADGET-002", 1, 149.99), ("WIDGET-001", 41, 26.99)],
    ],
    ids=["in one line", "in two lines together"],
)
def test_more_than_the_stock_may_be_tried_again(items: list[tuple[str, int, float]]) -> None:
    with pytest.raises(
        RetryableError, match=r"^101 of WIDGET-001 are ordered, 100 are in stock at WH-EAST-A1$"
    ) as caught:
        reserve_inventory(validated(*items), step=STEP, now=NOW)
    assert caught.value.error_code == "INSUFFICIENT_STOCK"


@pytest.mark.parametrize(
    ("validation", "kind", "code"),
    [
        (None, RetryableError, "MISSING_DEPENDENCY_RESULTS"),
        ({}, PermanentError, "NO_VALIDATED_ITEMS"),
        ({"validated_items": []}, PermanentError, "NO_VALIDATED_ITEMS"),
    ],
)
def test_there_must_be_something_to_reserve(
    validation: dict[str, Any] | None, kind: type[HandlerError], code: str
) -> None:
    with pytest.raises(kind) as caught:
        reserve_inventory(validation, step=STEP, now=NOW)
    assert caught.value.error_code == code
