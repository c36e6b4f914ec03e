"""Parcels go out with the right carrier, at the right price, on the right day."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from tasker_host import PermanentError, RetryableError

from tasker_examples.orders.shipping import SERVICES, STANDARD, business_days_after, ship_order, shipping_cost

FRIDAY = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
STEP = UUID("019aa2c5-8980-7000-8000-000000000001")
ADDRESS = {"street": "123 Main St", "city": "Anytown"}


def ship(shipping: object, *, lines: int = 2) -> dict[str, Any]:
    return ship_order(shipping, {}, {"reservation_details": [{}] * lines}, {}, step=STEP, now=FRIDAY)


@pytest.mark.parametrize(
    ("method", "carrier", "service", "cost", "delivery"),
    [
        ("standard", "UPS", "Ground", 8.99, "2026-11-27"),
        ("express", "FedEx", "Express", 15.00, "2026-11-24"),
        ("overnight", "FedEx", "Overnight", 25.00, "2026-11-23"),
        ("by pigeon", "UPS", "Ground", 8.99, "2026-11-27"),
        (None, "UPS", "Ground", 8.99, "2026-11-27"),
    ],
)
def test_the_method_chooses_the_service(
    method: str | None, carrier: str, service: str, cost: float, delivery: str
) -> None:
    result = ship({"method": method, "address": ADDRESS})
    assert (result["carrier"], result["service_type"]) == (carrier, service)
    assert result["shipping_cost"] == cost
    assert result["estimated_delivery"] == delivery


def test_the_label() -> None:
    result = ship({"method": "standard", "address": ADDRESS})
    assert result["shipping_status"] == "label_created"
    assert result["processed_at"] == "2026-11-20T14:30:00+00:00"
    assert result["label_url"] == f"https://labels.example.com/{result['shipment_id']}.pdf"
    assert set(result) == {
        "shipment_id", "tracking_number", "shipping_status", "estimated_delivery", "shipping_cost", "carrier",
        "service_type", "label_url", "processed_at",
    }  # fmt: skip


def test_tracking_numbers_look_like_the_carrier_s() -> None:
    ups = ship({"method": "standard", "address": ADDRESS})["tracking_number"]
    fedex = ship({"method": "express", "address": ADDRESS})["tracking_number"]
    assert (ups[:2], len(ups)) == ("1Z", 18)
    assert fedex.isdecimal()
    assert len(fedex) == 12


def test_a_second_attempt_prints_the_same_label() -> None:
    assert ship({"method": "express", "address": ADDRESS}) == ship({"method": "express", "address": ADDRESS})


@pytest.mark.parametrize(("lines", "cost"), [(1, "8.99"), (2, "8.99"), (3, "10.24"), (4, "11.49"), (20, "31.49")])
def test_each_line_beyond_the_first_kilogram_is_paid_for(lines: int, cost: str) -> None:
    assert shipping_cost(STANDARD, lines=lines) == Decimal(cost)


def test_weight_costs_the_same_overnight() -> None:
    assert shipping_cost(SERVICES["overnight"], lines=4) == Decimal("27.50")


@pytest.mark.parametrize(
    ("day", "count", "expected"),
    [
        (date(2026, 11, 16), 1, date(2026, 11, 17)),  # a Monday
        (date(2026, 11, 16), 5, date(2026, 11, 23)),
        (date(2026, 11, 20), 1, date(2026, 11, 23)),  # a Friday
        (date(2026, 11, 21), 1, date(2026, 11, 23)),  # a Saturday
        (date(2026, 11, 22), 2, date(2026, 11, 24)),  # a Sunday
        (date(2026, 12, 31), 2, date(2027, 1, 4)),
    ],
)
def test_weekends_are_skipped(day: date, count: int, expected: date) -> None:
    assert business_days_after(day, count) == expected


@pytest.mark.parametrize(
    ("shipping", "code"),
    [
        (None, "MISSING_SHIPPING_INFO"),
        ("standard", "MISSING_SHIPPING_INFO"),
        ({"method": "standard"}, "MISSING_SHIPPING_ADDRESS"),
        ({"method": "standard", "address": {}}, "MISSING_SHIPPING_ADDRESS"),
    ],
)
def test_a_parcel_needs_an_address(shipping: object, code: str) -> None:
    with pytest.raises(PermanentError) as caught:
        ship(shipping)
    assert caught.value.error_code == code


def test_all_earlier_steps_must_be_done() -> None:
    with pytest.raises(RetryableError, match=r"^Missing result from validate_order, process_payment$") as caught:
        ship_order({"method": "standard", "address": ADDRESS}, None, {}, None, step=STEP, now=FRIDAY)
    assert caught.value.error_code == "MISSING_DEPENDENCY_RESULTS"
