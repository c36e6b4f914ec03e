"""Is this an order we can fulfil, and what does it come to?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from reprlib import repr as short
from typing import Any, TypeGuard

from tasker_examples.errors import InvalidInputError
from tasker_examples.orders.catalogue import CATALOGUE
from tasker_examples.orders.money import dollars

HIGHEST_TOTAL = Decimal(50_000)


def validate_order(customer: object, items: object, *, now: datetime) -> dict[str, Any]:
    """The checked lines of the order with their totals. Raises InvalidInputError."""
    customer_id = _customer_id(customer)
    lines = [_line(item, position) for position, item in enumerate(_items(items), start=1)]
    total = sum((dollars(line["line_total"]) for line in lines), Decimal(0))
    if total > HIGHEST_TOTAL:
        raise InvalidInputError(
            f"the order comes to ${total:,.2f}; more than ${HIGHEST_TOTAL:,} needs a sales agent",
            error_code="ORDER_TOTAL_TOO_HIGH",
        )
    return {
        "customer_validated": True,
        "customer_id": customer_id,
        "validated_items": lines,
        "order_total": float(total),
        "validation_status": "complete",
        "validated_at": now.isoformat(),
    }


def _customer_id(customer: object) -> int:
    if not isinstance(customer, Mapping):
        raise InvalidInputError("the order has no customer", error_code="MISSING_CUSTOMER_INFO")
    customer_id = customer.get("id")
    if not _is_whole(customer_id):
        raise InvalidInputError(
            f"customer.id must be a whole number, got: {short(customer_id)}", error_code="MISSING_CUSTOMER_ID"
        )
    if not customer.get("email"):
        raise InvalidInputError("customer.email is missing", error_code="MISSING_CUSTOMER_EMAIL")
    return customer_id


def _items(items: object) -> list[object]:
    if items is None:
        raise InvalidInputError("the order has no items", error_code="MISSING_ORDER_ITEMS")
    if not isinstance(items, list):
        raise InvalidInputError(f"items must be a list, got: {short(items)}", error_code="INVALID_ORDER_ITEMS")
    if not items:
        raise InvalidInputError("the order's list of items is empty", error_code="EMPTY_ORDER_ITEMS")
    return items


def _line(item: object, position: int) -> dict[str, Any]:
    if not isinstance(item, Mapping) or not isinstance(item.get("sku"), str):
        raise InvalidInputError(f"item {position} must be an object with a sku", error_code="INVALID_ORDER_ITEM")
    sku, quantity, price = item["sku"], item.get("quantity"), item.get("price")
    if not _is_whole(quantity) or quantity < 1:
        raise InvalidInputError(
            f"item {position} ({sku}): quantity must be a whole number from 1, got: {short(quantity)}",
            error_code="INVALID_QUANTITY",
        )
    if not _is_price(price):
        raise InvalidInputError(
            f"item {position} ({sku}): price must be an amount in whole cents above 0, got: {short(price)}",
            error_code="INVALID_PRICE",
        )
    product = CATALOGUE.get(sku)
    if product is None:
        raise InvalidInputError(
            f"item {position}: no product {short(sku)}; there are {', '.join(CATALOGUE)}",
            error_code="PRODUCT_NOT_FOUND",
        )
    return {
        "sku": sku,
        "product_name": product.name,
        "quantity": quantity,
        "unit_price": price,
        "line_total": float(dollars(price) * quantity),
        "available_stock": product.stock,
        "category": product.category,
    }


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_price(value: object) -> TypeGuard[float]:
    if not (_is_whole(value) or isinstance(value, float)):
        return False
    amount = dollars(value)
    return amount.is_finite() and amount > 0 and int(amount.as_tuple().exponent) >= -2
