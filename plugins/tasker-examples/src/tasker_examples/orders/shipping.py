"""Handing the order to a carrier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from tasker_examples.errors import InvalidInputError, MissingResultError
from tasker_examples.orders.identity import code, number
from tasker_examples.orders.money import rounded

KILOGRAMS_A_LINE = Decimal("0.5")
DOLLARS_A_KILOGRAM = Decimal("2.50")

_SATURDAY = 5


@dataclass(frozen=True, slots=True)
class Service:
    """`base` in dollars pays for the first kilogram."""

    carrier: str
    name: str
    base: Decimal
    business_days: int


STANDARD = Service("UPS", "Ground", Decimal("8.99"), 5)
SERVICES = {
    "overnight": Service("FedEx", "Overnight", Decimal("25.00"), 1),
    "express": Service("FedEx", "Express", Decimal("15.00"), 2),
}


def ship_order(
    shipping: object,
    validation: Mapping[str, Any] | None,
    reservation: Mapping[str, Any] | None,
    payment: Mapping[str, Any] | None,
    *,
    step: UUID,
    now: datetime,
) -> dict[str, Any]:
    """The label of the parcel; a method that is neither `overnight` nor `express` is standard.

    Raises InvalidInputError, or MissingResultError when an earlier step left nothing.
    """
    before = {"validate_order": validation, "reserve_inventory": reservation, "process_payment": payment}
    missing = [name for name, value in before.items() if value is None]
    if reservation is None or missing:
        raise MissingResultError(f"Missing result from {', '.join(missing)}", error_code="MISSING_DEPENDENCY_RESULTS")
    if not isinstance(shipping, Mapping):
        raise InvalidInputError("the order does not say how to ship it", error_code="MISSING_SHIPPING_INFO")
    if not shipping.get("address"):
        raise InvalidInputError("shipping.address is missing", error_code="MISSING_SHIPPING_ADDRESS")
    service = SERVICES.get(str(shipping.get("method")), STANDARD)
    shipment_id = f"SHIP-{code(step, 'shipment', 10)}"
    return {
        "shipment_id": shipment_id,
        "tracking_number": _tracking_number(service, step),
        "shipping_status": "label_created",
        "estimated_delivery": business_days_after(now.date(), service.business_days).isoformat(),
        "shipping_cost": float(shipping_cost(service, lines=len(reservation["reservation_details"]))),
        "carrier": service.carrier,
        "service_type": service.name,
        "label_url": f"https://labels.example.com/{shipment_id}.pdf",
        "processed_at": now.isoformat(),
    }


def shipping_cost(service: Service, *, lines: int) -> Decimal:
    """Dollars for a parcel of `lines` lines of the order, each packed as one half kilogram whatever its quantity."""
    weight = KILOGRAMS_A_LINE * lines
    return rounded(service.base + max(weight - 1, Decimal(0)) * DOLLARS_A_KILOGRAM)


def business_days_after(day: date, count: int) -> date:
    """The date `count` business days after `day`; Saturdays and Sundays do not count."""
    while count:
        day += timedelta(days=1)
        count -= day.weekday() < _SATURDAY
    return day


def _tracking_number(service: Service, step: UUID) -> str:
    if service.carrier == "UPS":
        return f"1Z{code(step, 'tracking', 16)}"
    return number(step, "tracking", 12)
