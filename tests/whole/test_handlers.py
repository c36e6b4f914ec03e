"""Handlers in a whole host: other systems over HTTP, every style, every place to run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from pydantic import BaseModel

from tasker_host import (
    ApiClient,
    ApiHandler,
    AsyncApiClient,
    Batchable,
    Decision,
    DecisionHandler,
    Host,
    StepContext,
    StepHandler,
    api_handler,
    step_handler,
)
from tests.handlers.server import Answer, Server
from tests.support import chain, plugin, results, run_to_end, running_host


@pytest.fixture
def server() -> Iterator[Server]:
    with Server().running() as running:
        yield running


class Settings(BaseModel):
    url: str


@asynccontextmanager
async def asking(dsn: str, server: Server, *handlers: object, text: str) -> AsyncIterator[Host]:
    """A host with these handlers, whose settings say where the other system is."""
    given = plugin(handlers, [text], tasker_settings=lambda: Settings)
    async with running_host(dsn, given, plugins__p0={"settings": {"url": server.url}}) as host:
        yield host


# Other systems --------------------------------------------------------------------------------------------------------


class Charge(ApiHandler):
    handler_name = "charge"

    def __init__(self, settings: Settings) -> None:
        self.base_url = settings.url

    def call(self, context):
        return self.api_result(self.post("/charges", json={"order": context.get_input("order")}))


class ChargeLater(Charge):
    async def call(self, context):
        return self.api_result(await self.post("/charges", json={"order": context.get_input("order")}))


class ChargeInProcess(Charge):
    runs_in = "process"


@api_handler("charge", base_url=lambda settings: settings.url)
def charge(api: ApiClient, context: StepContext):
    return api.api_result(api.post("/charges", json={"order": context.get_input("order")}))


@api_handler("charge", base_url=lambda settings: settings.url)
async def charge_later(context: StepContext, api: AsyncApiClient):
    return (await api.post("/charges", json={"order": context.get_input("order")})).raise_for_status().body


STYLES = [Charge, ChargeLater, ChargeInProcess, charge, charge_later]


@pytest.mark.parametrize("handler", STYLES, ids=["class", "async class", "process", "function", "async function"])
async def test_what_is_refused_for_now_is_asked_again_with_the_same_key(dsn, server, handler):
    server.answers("/charges", Answer(429, {}, {"Retry-After": "0"}), Answer(500), Answer(201, {"id": "ch-1"}))
    text = chain("t", "charge", max_attempts=3, backoff="none")
    async with asking(dsn, server, handler, text=text) as host:
        row = await run_to_end(host, "t", {"order": 7})
    assert results(row) == {"charge": {"id": "ch-1"}}
    assert row["steps"][0]["attempts"] == 3
    assert [asked.body for asked in server.asked] == [b'{"order":7}'] * 3
    keys = server.headers("idempotency-key")
    assert keys[0]
    assert set(keys) == {keys[0]}
    assert {trace[3:35] for trace in server.headers("traceparent") if trace} == {
        str(row["correlation_id"]).replace("-", "")
    }


async def test_what_is_refused_for_good_is_asked_once(dsn, server):
    server.answers("/charges", Answer(402, {"error": "card declined"}))
    async with asking(dsn, server, Charge, text=chain("t", "charge", max_attempts=3)) as host:
        row = await run_to_end(host, "t", {"order": 7})
    (step,) = row["steps"]
    assert (len(server.asked), step["attempts"]) == (1, 1)
    assert step["error"] == {
        "error_type": "client_error",
        "error_code": "HTTP_402",
        "message": "HTTP 402: card declined",
        "retryable": False,
        "will_retry": False,
    }


async def test_tasks_have_keys_of_their_own(dsn, server):
    server.answers("/charges", Answer(201, {}))
    async with asking(dsn, server, Charge, text=chain("t", "charge")) as host:
        await run_to_end(host, "t", {"order": 1})
        await run_to_end(host, "t", {"order": 2})
    assert len(set(server.headers("idempotency-key"))) == 2


# Decisions and batches as classes -------------------------------------------------------------------------------------


class Route(DecisionHandler):
    def call(self, context):
        amount = context.get_input("amount")
        return self.skip_branches("nothing") if amount == 0 else self.route_to_steps(["large"], {"amount": amount})


class Analyze(StepHandler, Batchable):
    def call(self, context):
        return self.batch_analyzer_success(self.create_batch_outcome(context.get_input_or("rows", 0), 4))


class Work(StepHandler, Batchable):
    def call(self, context):
        if (nothing := self.handle_no_op_worker(context)) is not None:
            return nothing
        batch = self.get_batch_context(context)
        done = context.checkpoint_items_processed
        if done < batch.batch_size:
            return self.checkpoint_yield(batch.start_cursor + done + 1, done + 1)
        return self.batch_worker_success(items_processed=done)


class Totals(StepHandler, Batchable):
    def call(self, context):
        found = self.detect_aggregation_scenario(context.dependencies, "analyze", "work")
        return self.aggregate_batch_worker_results(
            found, {"total_processed": 0}, lambda values: self.aggregate_worker_results(values.values())
        )


@step_handler("start")
async def start():
    return None


@step_handler("large")
def large(context: StepContext):
    return context.get_dependency_field("route", "amount")


DECISION = """
name: t
namespace_name: tests
version: 1.0.0
steps:
  - {name: start, handler: {callable: start}}
  - {name: route, type: decision, handler: {callable: Route}, dependencies: [start]}
  - {name: large, handler: {callable: large}, dependencies: [route]}
"""

BATCHES = """
name: t
namespace_name: tests
version: 1.0.0
steps:
  - {name: analyze, type: batchable, handler: {callable: Analyze}}
  - {name: work, type: batch_worker, handler: {callable: Work}, dependencies: [analyze]}
  - {name: totals, type: deferred_convergence, handler: {callable: Totals}, dependencies: [work]}
"""


@pytest.mark.parametrize(("amount", "made"), [(5, {"large": 5}), (0, {})])
async def test_a_decision_as_a_class(dsn, amount, made):
    async with running_host(dsn, plugin([start, Route, large], [DECISION])) as host:
        row = await run_to_end(host, "t", {"amount": amount})
    values = results(row)
    assert row["status"] == "complete"
    assert values.pop("route")["decision_point_outcome"]["type"] == ("create_steps" if made else "no_branches")
    assert values == {"start": None, **made}


@pytest.mark.parametrize(
    ("rows", "workers", "expected"),
    [
        (10, 3, {"total_processed": 10, "total_succeeded": 10, "batch_count": 3, "scenario": "with_batches"}),
        (0, 1, {"total_processed": 0, "worker_count": 0, "scenario": "no_batches"}),
    ],
)
async def test_batches_as_classes(dsn, rows, workers, expected):
    async with running_host(dsn, plugin([Analyze, Work, Totals], [BATCHES])) as host:
        row = await run_to_end(host, "t", {"rows": rows})
    values = results(row)
    assert len([name for name in values if name.startswith("work_")]) == workers
    assert values["totals"].items() >= expected.items()


@step_handler("decides_here")
def decides_here():
    return Decision.route(["large"])


async def test_a_decision_of_a_step_that_makes_none_fails_it_for_good(dsn):
    async with running_host(dsn, plugin([decides_here], [chain("t", "decides_here")])) as host:
        row = await run_to_end(host, "t")
    error = row["steps"][0]["error"]
    assert (error["error_code"], error["will_retry"]) == ("EXPANSION_REFUSED", False)
    assert error["message"] == (
        "handler 'decides_here' returned Decision, and step 'decides_here' is of type standard, which makes no steps;"
        " write type: decision, or type: batchable, in the template"
    )


# What is handed out ---------------------------------------------------------------------------------------------------


@step_handler("spoils")
def spoils(context: StepContext):
    context.config["seen"].append(context.step_name)
    return [context.config["seen"], context.definition.description]


async def test_what_a_handler_does_to_its_configuration_stays_with_it(dsn):
    text = """
name: t
namespace_name: tests
version: 1.0.0
steps:
  - {name: one, description: first, handler: {callable: spoils, initialization: {seen: []}}}
"""
    async with running_host(dsn, plugin([spoils], [text])) as host:
        rows = [await run_to_end(host, "t", {"n": number}) for number in range(2)]
    assert [results(row) for row in rows] == [{"one": [["one"], "first"]}] * 2
