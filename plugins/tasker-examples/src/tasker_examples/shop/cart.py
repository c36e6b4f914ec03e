"""What is in a cart, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tasker_host import RetryableError

from tasker_examples.errors import InvalidInputError
from tasker_examples.orders.money import rounded

TAX_RATE = Decimal("0.08")


@dataclass(frozen=True, slots=True)
class Product:
    name: str
    price: Decimal
    stock: int
    is_active: bool = True


PRODUCTS = {
    1: Product("Widget A", Decimal("29.99"), 100),
    2: Product("Widget B", Decimal("49.99"), 50),
    3: Product("Widget C", Decimal("19.99"), 25),
    4: Product("Widget D", Decimal("39.99"), 0),
    5: Product("Widget E", Decimal("59.99"), 10, is_active=False),
}


def validate(items: object) -> dict[str, Any]:
    """The lines of the cart with tax and shipping. Raises InvalidInputError; RetryableError for too little stock."""
    if not isinstance(items, list) or not items:
        raise InvalidInputError("the cart is empty", error_code="MISSING_CART_ITEMS")
    lines = [_line(item) for item in items]
    subtotal = sum((Decimal(str(line["line_total"])) for line in lines), Decimal(0))
    weight = Decimal("0.5") * sum(line["quantity"] for line in lines)
    tax, shipping = rounded(subtotal * TAX_RATE), _shipping(weight)
    return {
        "validated_items": lines,
        "subtotal": float(subtotal),
        "tax": float(tax),
        "shipping": float(shipping),
        "total": float(subtotal + tax + shipping),
        "total_weight": float(weight),
    }


def _line(item: object) -> dict[str, Any]:
    if not isinstance(item, Mapping) or item.get("product_id") is None:
        raise InvalidInputError("an item of the cart has no product_id", error_code="MISSING_PRODUCT_ID")
    number, quantity = item["product_id"], item.get("quantity")
    if isinstance(quantity, bool) or not isinstance(quantity, int) or quantity < 1:
        raise InvalidInputError(
            f"product {number}: quantity must be a whole number from 1", error_code="INVALID_QUANTITY"
        )
    product = PRODUCTS.get(number)
    if product is None:
        raise InvalidInputError(f"there is no product {number}", error_code="PRODUCT_NOT_FOUND")
    if not product.is_active:
        raise InvalidInputError(f"{product.name} is not sold any more", error_code="PRODUCT_INACTIVE")
    if product.stock < quantity:
        raise RetryableError(
            f"{product.name}: {quantity} are wanted, {product.stock} are there",
            error_code="INSUFFICIENT_STOCK",
            retry_after=30,
        )
    return {
        "product_id": number,
        "name": product.name,
        "price": float(product.price),
        "quantity": quantity,
        "line_total": float(product.price * quantity),
    }


def _shipping(weight: Decimal) -> Decimal:
    if weight <= 2:
        return Decimal("5.99")
    return Decimal("9.99") if weight <= 10 else Decimal("14.99")
