"""Setting the ordered pieces aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from tasker_host import RetryableError

from tasker_examples.errors import InvalidInputError, MissingResultError
from tasker_examples.orders.catalogue import CATALOGUE
from tasker_examples.orders.identity import code, created_at
from tasker_examples.orders.money import dollars

HELD_FOR = timedelta(minutes=15)


def reserve_inventory(validation: Mapping[str, Any] | None, *, step: UUID, now: datetime) -> dict[str, Any]:
    """The reservation of every line of a validated order, or of none.

    Raises InvalidInputError, MissingResultError, or RetryableError when the stock does not suffice: it may be filled up
    before the next attempt.
    """
    if validation is None:
        raise MissingResultError("Missing result from validate_order", error_code="MISSING_DEPENDENCY_RESULTS")
    lines: list[dict[str, Any]] = validation.get("validated_items") or []
    if not lines:
        raise InvalidInputError("validate_order left no items to reserve", error_code="NO_VALIDATED_ITEMS")
    _check_stock(lines)
    reservation_id = f"RES-{created_at(step)}-{code(step, 'reservation', 8)}"
    return {
        "reservation_id": reservation_id,
        "items_reserved": len(lines),
        "reservation_status": "confirmed",
        "total_reserved_value": float(sum((dollars(line["line_total"]) for line in lines), Decimal(0))),
        "expires_at": (now + HELD_FOR).isoformat(),
        "reserved_at": now.isoformat(),
        "reservation_details": [_reserved(line, reservation_id) for line in lines],
    }


def _check_stock(lines: list[dict[str, Any]]) -> None:
    # Added up first: two lines may each fit into the stock that both together exceed.
    wanted: Counter[str] = Counter()
    for line in lines:
        wanted[line["sku"]] += line["quantity"]
    for sku, quantity in wanted.items():
        product = CATALOGUE[sku]
        if quantity > product.stock:
            raise RetryableError(
                f"{quantity} of {sku} are ordered, {product.stock} are in stock at {product.location}",
                error_code="INSUFFICIENT_STOCK",
            )


def _reserved(line: Mapping[str, Any], reservation_id: str) -> dict[str, Any]:
    return {
        "sku": line["sku"],
        "product_name": line["product_name"],
        "quantity_requested": line["quantity"],
        "quantity_reserved": line["quantity"],
        "unit_price": line["unit_price"],
        "line_total": line["line_total"],
        "stock_location": CATALOGUE[line["sku"]].location,
        "reservation_reference": f"{reservation_id}-{line['sku']}",
    }
