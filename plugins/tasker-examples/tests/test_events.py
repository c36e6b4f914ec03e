"""What the steps of an order tell others, by which path and in whose words."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import pytest
from tasker_host import DomainEvent, Subscriber, hookimpl
from tasker_host.testing import TaskRun, run_task_async

from tasker_examples import plugin

ORDER = {"order_id": "6f1c1f4e-31c4-4f0a-9d5a-0d8b5f8f6a01", "customer_id": "ada", "amount": 42.5}
QUEUE = "select message from pgmq.q_examples_events_domain_events order by msg_id"


class Listener(ModuleType):
    """A plugin that keeps every fast event."""

    def __init__(self) -> None:
        super().__init__("listener")
        self.events: list[DomainEvent] = []

        def tasker_subscribers() -> list[Subscriber]:
            return [Subscriber("listener", ("**",), self.events.append)]

        self.tasker_subscribers = hookimpl(tasker_subscribers)

    def heard(self) -> list[str]:
        return [event.event_name for event in self.events]


@pytest.fixture
def listener() -> Listener:
    return Listener()


async def run(context: dict[str, Any], listener: Listener) -> TaskRun:
    template = "examples_events/domain_event_publishing"
    return await run_task_async(template, context, plugins=[plugin, listener], effects=[QUEUE])


def durable(ran: TaskRun) -> list[tuple[str, Any]]:
    messages = [json.loads(row["message"]) for row in ran.effects[QUEUE]]
    return [(message["event_name"], message["payload"]) for message in messages]


async def test_an_order_that_is_paid_is_told_by_both_paths(listener: Listener) -> None:
    ran = await run(ORDER, listener)
    assert ran.is_complete, ran
    payment = ran.values["process_payment"]
    # Without `processed_at`, with the order's own number: that is what its publisher is for.
    assert durable(ran) == [
        (
            "payment.processed",
            {
                "transaction_id": payment["transaction_id"],
                "amount": 42.5,
                "payment_method": "credit_card",
                "status": "success",
                "order_id": ORDER["order_id"],
            },
        )
    ]
    assert listener.heard() == ["order.validated", "inventory.updated", "notification.sent"]
    assert set(listener.events[2].payload) == {"notification_id", "channel", "recipient"}


async def test_a_payment_that_fails_is_told_each_time_and_nothing_comes_after_it(listener: Listener) -> None:
    ran = await run({**ORDER, "simulate_failure": True}, listener)
    assert (ran.states["process_payment"], ran.attempts["process_payment"]) == ("error", 3)
    assert [name for name, _ in durable(ran)] == ["payment.failed"] * 3
    assert {payload["error_code"] for _, payload in durable(ran)} == {"PAYMENT_DECLINED"}
    assert listener.heard() == ["order.validated"]


async def test_an_order_that_is_not_valid_is_not_told_at_all(listener: Listener) -> None:
    ran = await run({**ORDER, "amount": 0}, listener)
    assert ran.errors["validate_order"]["error_code"] == "INVALID_AMOUNT"
    assert (durable(ran), listener.heard()) == ([], [])
