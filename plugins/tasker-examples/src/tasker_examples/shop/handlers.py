"""An order of a web shop: a chain whose later steps read what earlier ones found out, however far above they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, Field
from tasker_host import From, Input, PermanentError, RetryableError, StepContext, step_handler, workflow

from tasker_examples.clock import now
from tasker_examples.errors import InvalidInputError
from tasker_examples.orders.identity import code, number
from tasker_examples.orders.money import dollars, rounded
from tasker_examples.shop import cart as carts


class Customer(BaseModel):
    email: str
    name: str = "you"


class Payment(BaseModel):
    amount: float = Field(gt=0)
    token: str
    method: str = "card"


class CartItem(BaseModel):
    product_id: int
    quantity: int


class ShopOrder(BaseModel):
    """What a task of the workflow is given."""

    cart_items: list[CartItem]
    customer_info: Customer
    payment_info: Payment


Mapped = Mapping[str, Any]
Cart = Annotated[Mapped, From("validate_cart")]
Paid = Annotated[Mapped, From("process_payment")]
Stock = Annotated[Mapped, From("update_inventory")]
Created = Annotated[Mapped, From("create_order")]
CustomerInfo = Annotated[Customer, Input("customer_info")]

_FEE_RATE, _FEE_FIXED = Decimal("0.029"), Decimal("0.30")
_DECLINED = ("tok_test_declined", "tok_test_insufficient_funds")
_SILENT = "tok_test_network_error"


@step_handler("examples.shop.validate_cart")
def validate_cart(cart_items: Annotated[object, Input("cart_items")] = None) -> dict[str, Any]:
    return carts.validate(cart_items)


@step_handler("examples.shop.process_payment")
def process_payment(
    context: StepContext, cart: Cart, payment: Annotated[Payment, Input("payment_info")]
) -> dict[str, Any]:
    total = dollars(cart["total"])
    if abs(dollars(payment.amount) - total) > Decimal("0.01"):
        raise InvalidInputError(f"${payment.amount:.2f} is paid for ${total:.2f}", error_code="PAYMENT_AMOUNT_MISMATCH")
    if payment.token in _DECLINED:
        raise PermanentError("the card was declined", error_code="PAYMENT_DECLINED")
    if payment.token == _SILENT and context.attempt == 1:
        raise RetryableError("the gateway did not answer", error_code="GATEWAY_TIMEOUT", retry_after=15)
    return {
        "payment_id": f"pay_{code(context.step_uuid, 'payment', 12).lower()}",
        "transaction_id": f"txn_{code(context.step_uuid, 'transaction', 12).lower()}",
        "amount_charged": float(total),
        "fees": float(rounded(total * _FEE_RATE) + _FEE_FIXED),
        "payment_method": payment.method,
        "status": "completed",
    }


@step_handler("examples.shop.update_inventory")
def update_inventory(context: StepContext, cart: Cart, paid: Paid, customer: CustomerInfo) -> dict[str, Any]:
    return {
        "inventory_log_id": f"log_{code(context.step_uuid, 'log', 12).lower()}",
        "reservation_id": f"rsv_{code(context.step_uuid, 'reservation', 12).lower()}",
        "payment_id": paid["payment_id"],
        "reserved_for": customer.email,
        "updated_products": [
            {
                "product_id": line["product_id"],
                "stock_before": carts.PRODUCTS[line["product_id"]].stock,
                "stock_after": carts.PRODUCTS[line["product_id"]].stock - line["quantity"],
            }
            for line in cart["validated_items"]
        ],
        "total_items_reserved": sum(line["quantity"] for line in cart["validated_items"]),
    }


@step_handler("examples.shop.create_order")
def create_order(context: StepContext, cart: Cart, paid: Paid, stock: Stock, customer: CustomerInfo) -> dict[str, Any]:
    at = now()
    return {
        "order_id": 1000 + int(number(context.step_uuid, "order", 9)) % 9000,
        "order_number": f"ORD-{at:%Y%m%d}-{code(context.step_uuid, 'order', 8)}",
        "customer_email": customer.email,
        "total_amount": cart["total"],
        "payment_id": paid["payment_id"],
        "reservation_id": stock["reservation_id"],
        "status": "confirmed",
        "estimated_delivery": f"{at + timedelta(days=7):%B %d, %Y}",
        "created_at": at.isoformat(),
    }


@step_handler("examples.shop.send_confirmation")
def send_confirmation(context: StepContext, cart: Cart, order: Created, customer: CustomerInfo) -> dict[str, Any]:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", customer.email):
        raise InvalidInputError(f"{customer.email!r} is no address to write to", error_code="INVALID_EMAIL")
    if customer.email.startswith("rate_limit@") and context.attempt == 1:
        raise RetryableError("the mail service has had enough for now", error_code="RATE_LIMITED", retry_after=60)
    return {
        "message_id": f"msg_{code(context.step_uuid, 'message', 12).lower()}",
        "recipient": customer.email,
        "subject": f"Your order {order['order_number']}",
        "items": len(cart["validated_items"]),
        "status": "sent",
        "sent_at": now().isoformat(),
    }


_RETRY = {"max_attempts": 2, "backoff": "exponential", "backoff_base_ms": 100, "max_backoff_ms": 5000}

SHOP = (
    workflow(
        "examples_shop/ecommerce_order_processing",
        description="A cart is checked, paid, reserved, ordered and confirmed",
        metadata={"author": "tasker-examples", "tags": ["shop", "chain", "code"]},
        input_schema=ShopOrder,
    )
    .step(validate_cart, retry=_RETRY, timeout_seconds=10)
    .step(process_payment, retry=_RETRY, timeout_seconds=10)
    .step(update_inventory, retry=_RETRY, timeout_seconds=10)
    .step(create_order, retry=_RETRY, timeout_seconds=10)
    .step(send_confirmation, retry=_RETRY, timeout_seconds=10)
)
