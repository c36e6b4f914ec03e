"""docs/events.md: what it says of declarations, messages, publishers and subscribers is what happens."""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import Any, get_args

import pytest

from tasker_host import EventPublisher, PermanentError, StepContext, step_handler
from tasker_host.domain.publishing import Result
from tasker_host.domain.template import PublishCondition
from tasker_host.events.hub import HAPPENINGS
from tasker_host.events.message import METADATA
from tests.docs.pages import code, page
from tests.events.test_publishing import Heard
from tests.support import ended, plugin, running_host


@pytest.fixture
def example(monkeypatch) -> ModuleType:
    """What the examples of the page define."""
    module = ModuleType("an_example_of_events")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in page("events").blocks("python"):
        exec(compile(block.text, str(block), "exec"), vars(module))
    return module


@step_handler("payments.charge_card")
async def charge_card(context: StepContext) -> dict[str, Any]:
    if context.input["card"] == "bad":
        raise PermanentError("card declined", error_code="CARD_DECLINED")
    return {"transaction_id": "tx-9", "amount_cents": 1250}


async def test_the_template_and_the_publishers_of_the_page_publish_what_it_says(example, dsn):
    (text,) = (block.text for block in page("events").blocks("yaml"))
    heard = Heard()
    example.tell_sales = heard.receive
    given = plugin(
        [charge_card],
        [text],
        tasker_publishers=lambda: example.tasker_publishers(None),
        tasker_subscribers=lambda: [
            subscriber.__class__("s", subscriber.events, heard.receive)
            for subscriber in example.tasker_subscribers(None)
        ],
    )
    async with running_host(dsn, given) as host:
        for card in ("good", "bad"):
            request = {"namespace": "payments", "name": "charge_order", "context": {"order_id": 7, "card": card}}
            await ended(host, await host.submissions.submit(_request(request)))
        rows = await host.database.fetch("select message from pgmq.q_payments_domain_events order by msg_id")
        fast = await heard.until(2)
    processed, failed = (json.loads(row["message"]) for row in rows)
    (shown,) = (json.loads(block.text) for block in page("events").blocks("json"))
    assert processed.keys() == shown.keys()
    assert processed["metadata"].keys() == shown["metadata"].keys()
    assert processed["payload"] == shown["payload"]
    assert failed["event_name"] == "payment.failed"
    assert failed["payload"] == {"order_id": 7, "why": "CARD_DECLINED", "final": True}
    assert failed["metadata"]["fired_by"] == "PaymentPublisher"
    assert [event.event_name for event in fast] == ["payment.attempted"] * 2


def _request(data: dict[str, Any]) -> Any:
    from tasker_host.domain.request import request_from_data

    return request_from_data(data)


def test_every_condition_outcome_and_happening_is_there():
    of = page("events")
    assert [code(row[0])[0] for row in of.table("Declaring events", "condition")] == [c.value for c in PublishCondition]
    said = set(code(of.section("What an event is")))
    assert set(get_args(Result)) <= said
    assert [code(row[0])[0] for row in of.table("What the host tells of itself", "event")] == list(HAPPENINGS)


def test_the_metadata_shown_is_all_that_there_is():
    (shown,) = (json.loads(block.text) for block in page("events").blocks("json"))
    sometimes = {"parent_correlation_id", "attempt", "outcome"}  # where there is something to say
    assert set(shown["metadata"]) == METADATA - sometimes
    assert set(code(page("events").section("What an event is"))) >= sometimes


def test_every_method_of_a_publisher_is_there():
    rows = page("events").table("Publishers", "method of `EventPublisher`")
    methods = [name for name, value in vars(EventPublisher).items() if callable(value) and not name.startswith("_")]
    assert [code(row[0])[0].partition("(")[0] for row in rows] == methods
