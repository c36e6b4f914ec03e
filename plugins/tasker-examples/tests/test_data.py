"""The data of the demo is what it says it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

import jsonschema
from tasker_host import Succeeded, TaskTemplate
from tasker_host.errors import HandlerError

from tasker_examples import data

Run = Callable[..., Awaitable[dict[str, Succeeded]]]
Templates = Mapping[str, TaskTemplate]

BUSINESS = "examples_orders/business_workflow"


def problems(templates: Templates, key: str, context: Any) -> list[str]:
    """Where the context breaks the template's input schema."""
    schema = templates[key].input_schema
    assert schema is not None
    return [error.json_path for error in jsonschema.Draft202012Validator(schema).iter_errors(context)]


async def outcome(run: Run, order: Mapping[str, Any], *, attempt: int = 1) -> str:
    try:
        await run(BUSINESS, order, attempt=attempt)
    except HandlerError as error:
        return str(error.error_code)
    return "shipped"


async def test_a_day_of_orders_comes_out_as_planned(run: Run, templates: Templates) -> None:
    valid = [order for order in data.orders() if not problems(templates, BUSINESS, order)]
    first = Counter([await outcome(run, order) for order in valid])
    second = Counter([await outcome(run, order, attempt=2) for order in valid])
    assert len(data.orders()) == 228
    assert first == {
        "shipped": 195,
        "GATEWAY_TIMEOUT": 15,
        "PRODUCT_NOT_FOUND": 3,
        "PAYMENT_DECLINED": 3,
        "ORDER_TOTAL_TOO_HIGH": 2,
        "INSUFFICIENT_STOCK": 2,
    }
    assert second == {
        "shipped": 210,
        "PRODUCT_NOT_FOUND": 3,
        "PAYMENT_DECLINED": 3,
        "ORDER_TOTAL_TOO_HIGH": 2,
        "INSUFFICIENT_STOCK": 2,
    }


def test_invalid_orders_are_wrong_in_one_place_each(templates: Templates) -> None:
    found = [places for order in data.orders() if (places := problems(templates, BUSINESS, order))]
    assert Counter(place for places in found for place in places) == {
        "$": 1,  # no items
        "$.customer": 1,  # no email
        "$.items": 1,  # none in the list
        "$.items[0].quantity": 2,  # 0, and a word
        "$.items[0].price": 1,  # negative
        "$.payment": 1,  # no token
        "$.shipping.method": 1,  # a drone
    }
    assert len(found) == 8


def test_orders_are_told_apart_and_stand_in_the_sequence_they_were_placed() -> None:
    orders = data.orders()
    assert [order["order_id"] for order in orders] == [f"ORD-20261119-{number:04d}" for number in range(1, 229)]
    placed = [datetime.fromisoformat(order["placed_at"]) for order in orders]
    assert placed == sorted(placed)
    assert {moment.date().isoformat() for moment in placed} == {"2026-11-19"}


def test_orders_are_of_every_kind() -> None:
    orders = data.orders()
    assert {len(order.get("items", [])) for order in orders} >= {1, 2, 3, 4}
    assert {order["payment"]["method"] for order in orders} == {"credit_card", "debit_card", "paypal", "gift_card"}
    assert {order["shipping"]["method"] for order in orders} == {"standard", "express", "overnight", "drone"}
    assert len({order["customer"]["id"] for order in orders}) > 100


NUMBERS = ("examples_linear", "examples_diamond", "examples_tree", "examples_mixed_dag")


async def test_numbers_has_a_request_for_every_number_template(run: Run, templates: Templates) -> None:
    requests = data.numbers()
    assert {f"{request['namespace']}/{request['name']}" for request in requests} == {
        key for key in templates if key.split("/")[0].removesuffix("_dsl") in NUMBERS
    }
    for request in requests:
        key = f"{request['namespace']}/{request['name']}"
        assert set(request) == {"namespace", "name", "context"}
        assert problems(templates, key, request["context"]) == []
        assert len(await run(key, request["context"])) == len(templates[key].steps)


def test_callers_get_a_copy_of_their_own() -> None:
    data.orders()[0]["items"].clear()
    assert data.orders()[0]["items"]
