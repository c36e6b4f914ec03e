"""Order fulfilment in class style."""

from __future__ import annotations

from typing import Any

from tasker_host import StepContext, StepHandler

from tasker_examples.clock import now
from tasker_examples.orders import payment, reservation, shipping, validation
from tasker_examples.orders.gateway import Gateway
from tasker_examples.settings import ExamplesSettings


class ValidateOrder(StepHandler):
    handler_name = "examples.orders.validate_order"

    async def call(self, context: StepContext) -> dict[str, Any]:
        return validation.validate_order(context.get_input("customer"), context.get_input("items"), now=now())


class ReserveInventory(StepHandler):
    handler_name = "examples.orders.reserve_inventory"

    async def call(self, context: StepContext) -> dict[str, Any]:
        validated = context.get_dependency_result("validate_order")
        return reservation.reserve_inventory(validated, step=context.step_uuid, now=now())


class ProcessPayment(StepHandler):
    handler_name = "examples.orders.process_payment"

    def __init__(self, settings: ExamplesSettings) -> None:
        self.gateway = Gateway(settings.gateway_latency_ms)

    async def call(self, context: StepContext) -> dict[str, Any]:
        return await payment.process_payment(
            context.get_input("payment"),
            context.get_dependency_result("validate_order"),
            context.get_dependency_result("reserve_inventory"),
            gateway=self.gateway,
            step=context.step_uuid,
            attempt=context.attempt,
            now=now(),
        )


class ShipOrder(StepHandler):
    handler_name = "examples.orders.ship_order"

    async def call(self, context: StepContext) -> dict[str, Any]:
        return shipping.ship_order(
            context.get_input("shipping"),
            context.get_dependency_result("validate_order"),
            context.get_dependency_result("reserve_inventory"),
            context.get_dependency_result("process_payment"),
            step=context.step_uuid,
            now=now(),
        )


HANDLERS = (ValidateOrder, ReserveInventory, ProcessPayment, ShipOrder)
