"""What an order costs and who sends it: values are computed side by side and brought together."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field
from tasker_host import From, Input, step_handler, workflow

_TAX_RATE = 0.08
_FREE_SHIPPING_FROM = 100
_SHIPPING = 9.99
_HIGH_FROM, _NORMAL_FROM, _FRAUD_REVIEW_FROM = 500, 100, 1000
_WEST = frozenset({"OR", "WA", "CA"})
_DIGITS = 4


class Item(BaseModel):
    name: str = Field(min_length=1)
    price: float = Field(ge=0)
    quantity: int = Field(ge=1)


class Cart(BaseModel):
    items: list[Item] = Field(min_length=1)
    state: str = Field(pattern="^[A-Z]{2}$", description="Where it is sent, as in addresses of the United States.")


class Prices(BaseModel):
    subtotal: float
    tax: float
    shipping: float
    total: float


class Routing(BaseModel):
    priority: Literal["high", "normal", "low"]
    warehouse: Literal["west", "east"]
    fraud_review: bool


@step_handler("examples.compositions.price_order")
def price_order(cart: Annotated[Cart, Input()]) -> Prices:
    subtotal = round(sum(item.price * item.quantity for item in cart.items), _DIGITS)
    tax = round(subtotal * _TAX_RATE, _DIGITS)
    shipping = 0.0 if subtotal >= _FREE_SHIPPING_FROM else _SHIPPING
    return Prices(subtotal=subtotal, tax=tax, shipping=shipping, total=round(subtotal + tax + shipping, _DIGITS))


@step_handler("examples.compositions.route_order")
def route_order(cart: Annotated[Cart, Input()], prices: Annotated[Prices, From("price_order")]) -> Routing:
    total = prices.total
    return Routing(
        priority="high" if total > _HIGH_FROM else "normal" if total > _NORMAL_FROM else "low",
        warehouse="west" if cart.state in _WEST else "east",
        fraud_review=total > _FRAUD_REVIEW_FROM,
    )


PRICING = (
    workflow(
        "examples_compositions/ecommerce",
        description="An order is priced, then routed by what it comes to",
        metadata={"author": "tasker-examples", "tags": ["chain", "models", "code"]},
        input_schema=Cart,
    )
    .step(price_order, result_schema=Prices)
    .step(route_order, result_schema=Routing)
)
