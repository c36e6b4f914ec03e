"""Order fulfilment in function style."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from tasker_host import From, Input, StepContext, step_handler

from tasker_examples.clock import now
from tasker_examples.orders import payment as payments
from tasker_examples.orders import reservation as reservations
from tasker_examples.orders import shipping as parcels
from tasker_examples.orders import validation as validations
from tasker_examples.orders.gateway import Gateway
from tasker_examples.settings import ExamplesSettings

Validation = Annotated[Mapping[str, Any] | None, From("validate_order")]
Reservation = Annotated[Mapping[str, Any] | None, From("reserve_inventory")]
Payment = Annotated[Mapping[str, Any] | None, From("process_payment")]


@step_handler("examples.dsl.validate_order")
def validate_order(
    customer: Annotated[object, Input("customer")] = None, items: Annotated[object, Input("items")] = None
) -> dict[str, Any]:
    return validations.validate_order(customer, items, now=now())


@step_handler("examples.dsl.reserve_inventory")
def reserve_inventory(context: StepContext, validation: Validation = None) -> dict[str, Any]:
    return reservations.reserve_inventory(validation, step=context.step_uuid, now=now())


@step_handler("examples.dsl.process_payment")
async def process_payment(
    context: StepContext,
    settings: ExamplesSettings,
    payment: Annotated[object, Input("payment")] = None,
    validation: Validation = None,
    reservation: Reservation = None,
) -> dict[str, Any]:
    return await payments.process_payment(
        payment,
        validation,
        reservation,
        gateway=Gateway(settings.gateway_latency_ms),
        step=context.step_uuid,
        attempt=context.attempt,
        now=now(),
    )


@step_handler("examples.dsl.ship_order")
def ship_order(
    context: StepContext,
    shipping: Annotated[object, Input("shipping")] = None,
    validation: Validation = None,
    reservation: Reservation = None,
    payment: Payment = None,
) -> dict[str, Any]:
    return parcels.ship_order(shipping, validation, reservation, payment, step=context.step_uuid, now=now())


HANDLERS = (validate_order, reserve_inventory, process_payment, ship_order)
