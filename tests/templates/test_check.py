"""Every code of `tasker template check` has a template that earns it, and good templates earn none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict

from tasker_host import BatchWorkerContext, From, Input, StepContext, StepHandler, batch_worker, step_handler
from tasker_host.domain.source import parse_template
from tasker_host.domain.template import StepDefinition
from tasker_host.handlers.bound import bind
from tasker_host.handlers.resolve import HandlerNames
from tasker_host.hooks.bound import BoundHandler
from tasker_host.templates.check import check_template, check_text
from tasker_host.templates.findings import CODES, Finding, Severity
from tasker_host.templates.reading import Known

ROOT = Path(__file__).parents[2]

HEAD = "name: t\nnamespace_name: n\nversion: 1.0.0\n"


def steps(*given: str) -> str:
    return HEAD + "steps:\n" + "".join(f"  - {{{one}}}\n" for one in given)


def step(name: str, more: str = "", *, after: str = "") -> str:
    parts = [f"name: {name}", f"handler: {{callable: {name}}}"]
    return ", ".join([*parts, *([f"dependencies: [{after}]"] if after else []), *([more] if more else [])])


BATCH = (
    step("analyze", "type: batchable"),
    step(
        "work",
        "type: batch_worker, batch_config: {batch_size: 1, parallelism: 1, cursor_field: id, worker_template: work,"
        " failure_strategy: isolate}",
        after="analyze",
    ),
)
DECISION = (step("a"), step("route", "type: decision", after="a"), step("x", after="route"), step("y", after="route"))

# Code, text, the step and a piece of the message.
ALONE: list[tuple[str, str, str, str]] = [
    ("UNREADABLE", "name: [", "", "expected"),
    ("UNREADABLE", HEAD + "name: u\n", "", "already on line 1"),
    ("UNKNOWN_KEY", steps(step("a", "retries: 3")), "a", "unknown key; did you mean 'retry'?"),
    ("MISSING_KEY", steps("name: a"), "a", "handler: is required"),
    ("INVALID_VALUE", steps(step("a", "timeout_seconds: soon")), "a", "must be a number (got 'soon')"),
    ("INVALID_SCHEMA", steps(step("a", "result_schema: {type: whole}")), "a", "not a JSON Schema"),
    ("ONCE_BOOLEAN", steps(step("a", "description: yes")), "", "yes is read as text"),
    ("DUPLICATE_STEP", steps(step("a"), step("a")), "a", "already there"),
    ("MISSING_DEPENDENCY", steps(step("load"), step("b", after="laod")), "b", "'laod'; did you mean 'load'?"),
    ("SELF_DEPENDENCY", steps(step("a", after="a")), "a", "depends on itself"),
    ("CYCLE", steps(step("a", after="b"), step("b", after="a")), "", "cycle a → b → a"),
    ("UNREACHABLE_STEP", steps(step("a", after="b"), step("b", after="a"), step("c", after="b")), "c", "a → b → a"),
    ("UNREACHABLE_STEP", steps(step("a", after="z"), step("c", after="a")), "c", "below 'z'"),
    ("DECISION_ON_NOTHING", steps(step("a", "type: decision"), step("b", after="a")), "a", "at least one dependency"),
    ("JOIN_OF_NOTHING", steps(step("a", "type: deferred_convergence")), "a", "needs dependencies"),
    ("BATCH_WITHOUT_WORKER", steps(step("a", "type: batchable")), "a", "needs a batch_worker"),
    ("WORKER_WITHOUT_BATCH", steps(step("a"), step("b", "type: batch_worker", after="a")), "b", "needs a batchable"),
    ("NO_STEPS", HEAD + "steps: []", "", "there are none"),
    ("ORPHAN_STEP", steps(step("a"), step("b", after="a"), step("c")), "c", "stands alone"),
    ("REPEATED_DEPENDENCY", steps(step("a"), step("b", after="a, a")), "b", "'a' 2 times"),
    ("DECISION_WITHOUT_STEPS", steps(step("a"), step("b", "type: decision", after="a")), "b", "nothing to choose"),
    (
        "DEFERRED_WITHOUT_DECISION",
        steps(step("a"), step("b", "type: deferred_convergence", after="a")),
        "b",
        "waits for all its dependencies like any step",
    ),
    ("FAN_IN_NOT_DEFERRED", steps(*DECISION, step("end", after="x, y")), "end", "'route' chooses all of 'x', 'y'"),
    (
        "FAN_IN_NOT_DEFERRED",
        steps(*DECISION, step("xx", after="x"), step("end", after="xx, y")),
        "end",
        "'route' chooses all of 'x', 'y'",
    ),
    ("RETRY_OTHER_NAME", steps(step("a", "retry: {limit: 2}")), "a", "write that"),
    ("RETRY_BELOW_FLOOR", steps(step("a", "retry: {max_attempts: 0}")), "a", "below the documented 1"),
    (
        "RETRY_CAP_BELOW_BASE",
        steps(step("a", "retry: {backoff_base_ms: 5000, max_backoff_ms: 1000}")),
        "a",
        "every wait is 1000 ms",
    ),
    (
        "RETRY_WITHOUT_EFFECT",
        steps(step("a", "retry: {retryable: false, max_attempts: 3, backoff: linear}")),
        "a",
        "'retryable' is false, so max_attempts and backoff have no effect",
    ),
    (
        "RETRY_WITHOUT_EFFECT",
        steps(step("a", "retry: {max_attempts: 1, backoff_base_ms: 500}")),
        "a",
        "'max_attempts' is 1, so backoff_base_ms has no effect",
    ),
    (
        "RETRY_WITHOUT_EFFECT",
        steps(step("a", "retry: {backoff: none, backoff_base_ms: 500}")),
        "a",
        "'backoff' is none, so backoff_base_ms has no effect",
    ),
    (
        "RETRY_WITHOUT_EFFECT",
        steps(step("a")) + "environments: {test: {steps: [{name: ALL, retry: {retryable: false, max_attempts: 2}}]}}",
        "ALL",
        "in environment 'test'",
    ),
    (
        "RETRY_BEYOND_DURATION",
        # 1 + 2 + 4 + 8 + 16 s
        steps(step("a", "retry: {max_attempts: 6}")) + "lifecycle: {max_duration_seconds: 30}",
        "a",
        "come to 31 s",
    ),
    (
        "TIMEOUT_BEYOND_DURATION",
        steps(step("a", "timeout_seconds: 61")) + "lifecycle: {max_duration_minutes: 1}",
        "a",
        "61 s is longer than the whole task may take, 60 s",
    ),
    (
        "BATCH_CONFIG_MISPLACED",
        steps(
            *BATCH,
            step(
                "z",
                "batch_config: {batch_size: 1, parallelism: 1, cursor_field: id, worker_template: work,"
                " failure_strategy: isolate}",
                after="work",
            ),
        ),
        "z",
        "batch_worker only",
    ),
    (
        "UNKNOWN_WORKER",
        steps(BATCH[0], BATCH[1].replace("worker_template: work", "worker_template: wrok")),
        "work",
        "wrok",
    ),
    (
        "UNKNOWN_OVERRIDE",
        steps(step("collect")) + "environments: {test: {steps: [{name: colect, timeout_seconds: 1}]}}",
        "",
        "no step named 'colect'; did you mean 'collect'?",
    ),
    (
        "DUPLICATE_EVENT",
        steps(step("a", "publishes_events: [{name: a.done}, {name: a.done}]")),
        "a",
        "'a.done' is declared twice",
    ),
    ("SCHEMA_NOT_OBJECT", steps(step("a")) + "input_schema: {type: array}", "", "always an object"),
    (
        "CONCURRENCY_FIELD",
        steps(step("a", "concurrency_key: 'k-{customer.id}'"))
        + "input_schema: {type: object, required: [customer], properties: {customer: {properties: {id: {}}}}}",
        "a",
        "does not require 'customer.id'",
    ),
    ("NO_INPUT_SCHEMA", steps(step("a")), "", "any context is accepted"),
    ("NO_RESULT_SCHEMA", steps(step("a")), "a", "no model of it can be generated"),
]


def found(text: str, code: str, known: Known | None = None) -> list[Finding]:
    return [one for one in check_text(text, source="t.yaml", known=known).findings if one.code == code]


@pytest.mark.parametrize(("code", "text", "at", "piece"), ALONE)
def test_what_a_template_alone_earns(code, text, at, piece):
    [finding] = found(text, code)
    assert finding.severity is CODES[code]
    assert finding.step == at
    assert piece in finding.message
    assert finding.where.startswith("t.yaml:")


# With handlers --------------------------------------------------------------------------------------------------------


class Quote(BaseModel):
    total: int
    note: str | None = None


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    total: int


class Order(BaseModel):
    order_id: str


@step_handler("price")
def price(order: Annotated[Order, Input()]) -> Quote:
    return Quote(total=1)


@step_handler("charge")
def charge(quote: Annotated[Quote, From("price")]) -> int:
    return quote.total


@step_handler("strict")
def strict(quote: Annotated[Closed, From("price")]) -> int:
    return quote.total


@step_handler("maybe")
def maybe(quote: Annotated[Quote | None, From("price")] = None, typo: Annotated[Any, From("pryce")] = None) -> None: ...


@step_handler("by_number")
def by_number(number: Annotated[int, Input("number")]) -> None: ...


@batch_worker("work")
def work(batch: BatchWorkerContext) -> int:
    return 0


@step_handler("total")
def total(batches: Annotated[int, From("work")]) -> int:
    return batches


@step_handler("join")
def join(x: Annotated[int, From("x")], a: Annotated[int, From("a")]) -> None: ...


@dataclass
class Opaque:
    rule: Callable[[int], int]


@step_handler("opaque")
def opaque() -> Opaque: ...


@step_handler("takes")
def takes(value: Annotated[dict[str, int], From("opaque")]) -> None: ...


class Multi(StepHandler):
    def call(self, context: StepContext) -> None: ...


def known(*given: Any, publishers: Iterable[str] | None = None) -> Known:
    bound = [one for item in given for one in bind(item, plugin="p", settings=None)]
    names = HandlerNames(bound)

    def handler(of: StepDefinition) -> BoundHandler:
        return names.find(of.handler)

    return Known(handler, None if publishers is None else frozenset(publishers))


ALL = known(price, charge, strict, maybe, by_number, work, total, join, Multi, publishers=["PaymentPublisher"])

INPUT = "input_schema: {type: object, required: [order_id], properties: {order_id: {type: string}}}\n"
PRICED = "result_schema: {type: object, required: [total], properties: {total: {type: integer}, note: {type: string}}}"

WITH: list[tuple[str, str, str, str, Severity]] = [
    ("UNKNOWN_HANDLER", steps(step("prise")), "prise", "did you mean 'price' from plugin 'p'?", Severity.ERROR),
    (
        "UNKNOWN_HANDLER",
        steps("name: a, handler: {callable: Multi, method: cal}"),
        "a",
        "has no method 'cal'; did you mean 'call'?",
        Severity.ERROR,
    ),
    (
        "UNKNOWN_PUBLISHER",
        steps(step("price", "publishes_events: [{name: a.b, publisher: PaymentPublischer}]")),
        "price",
        "did you mean 'PaymentPublisher'?",
        Severity.ERROR,
    ),
    (
        "READS_UNKNOWN_STEP",
        steps(step("charge")),
        "charge",
        "'quote' of its handler reads step 'price'",
        Severity.ERROR,
    ),
    ("READS_UNKNOWN_STEP", steps(step("price"), step("charge")), "charge", "is not above it", Severity.ERROR),
    ("READS_UNKNOWN_STEP", steps(step("price"), step("maybe", after="price")), "maybe", "'pryce'", Severity.ERROR),
    ("READS_BATCH_WORKER", steps(*BATCH, step("total", after="work")), "total", "'work_001' and on", Severity.ERROR),
    (
        "VALUE_NOT_SURE",
        steps(*DECISION, step("join", "type: deferred_convergence", after="x, y")),
        "join",
        "reads step 'x', which a task need not have",
        Severity.WARNING,
    ),
    (
        "VALUE_NOT_SURE",
        steps(step("price", "optional: true"), step("charge", after="price")),
        "charge",
        "its value may be null",
        Severity.WARNING,
    ),
    (
        "MISSING_REQUIRED_FIELD",
        steps(
            step("price", "result_schema: {type: object, properties: {sum: {type: integer}}}"),
            step("charge", after="price"),
        ),
        "charge",
        "field 'total' is required, but the producer has none of that name",
        Severity.ERROR,
    ),
    (
        "TYPE_MISMATCH",
        steps(step("price", PRICED.replace("integer", "string")), step("charge", after="price")),
        "charge",
        "total is string, but integer is read",
        Severity.ERROR,
    ),
    (
        "TYPE_MISMATCH",
        steps(step("price", PRICED), step("strict", after="price")),
        "strict",
        "field 'note' is produced and refused by the consumer",
        Severity.ERROR,
    ),
    (
        "FIELD_NOT_ALWAYS_THERE",
        steps(step("price", PRICED.replace("required: [total], ", "")), step("charge", after="price")),
        "charge",
        "field 'total' is required, but the producer may leave it out",
        Severity.WARNING,
    ),
    (
        "MISSING_OPTIONAL_FIELD",
        steps(step("price", PRICED.replace(", note: {type: string}", "")), step("charge", after="price")),
        "charge",
        "field 'note' is read where it is there",
        Severity.INFO,
    ),
    (
        "EXTRA_PRODUCER_FIELD",
        steps(step("price", PRICED.replace("note:", "tax: {}, note:")), step("charge", after="price")),
        "charge",
        "field 'tax' is produced and not read",
        Severity.INFO,
    ),
    (
        "INPUT_MISMATCH",
        steps(step("price")) + INPUT.replace("string", "integer"),
        "price",
        "order_id is integer, but string is read",
        Severity.ERROR,
    ),
    (
        "INPUT_MISMATCH",
        steps(step("by_number")) + INPUT.replace("{type: object", "{type: object, additionalProperties: false"),
        "by_number",
        "field 'number' is required, but the input_schema has none of that name",
        Severity.ERROR,
    ),
    (
        "INPUT_NOT_SURE",
        steps(step("price")) + INPUT.replace("required: [order_id], ", ""),
        "price",
        "field 'order_id' is required, but the input_schema may leave it out",
        Severity.WARNING,
    ),
]


@pytest.mark.parametrize(("code", "text", "at", "piece", "severity"), WITH)
def test_what_a_template_earns_beside_its_handlers(code, text, at, piece, severity):
    found_there = [one for one in found(text, code, ALL) if one.step == at]
    assert [piece in one.message for one in found_there].count(True) == 1
    assert {one.severity for one in found_there} == {severity}


def test_every_code_is_earned_above():
    assert {code for code, *_ in ALONE} | {code for code, *_ in WITH} == set(CODES)


def test_a_join_may_rely_on_what_every_task_has():
    joined = steps(*DECISION, step("join", "type: deferred_convergence", after="x, y"))
    assert ["'x'" in one.message for one in found(joined, "VALUE_NOT_SURE", ALL)] == [True]


def test_what_a_template_and_its_handlers_agree_on_earns_nothing_but_hints():
    text = steps(step("price", PRICED), step("charge", "result_schema: {type: integer}", after="price")) + INPUT
    report = check_text(text, source="t.yaml", known=ALL)
    assert report.findings == []
    assert report.passes(strict=True)


def test_a_model_that_a_handler_returns_counts_where_there_is_no_result_schema():
    assert found(steps(step("price"), step("strict", after="price")), "TYPE_MISMATCH", ALL)


def test_a_model_without_a_json_schema_is_compared_with_nothing():
    report = check_text(steps(step("opaque"), step("takes", after="opaque")), source="t", known=known(opaque, takes))
    assert report.passes(strict=True)


def test_strict_counts_warnings_and_never_hints():
    hints = check_text(steps(step("a")), source="t")
    assert hints.count(Severity.INFO) == 2
    assert hints.passes(strict=True)
    doubtful = check_text(steps(step("a", "retry: {limit: 2}")), source="t")
    assert (doubtful.passes(), doubtful.passes(strict=True)) == (True, False)


def test_a_template_that_was_read_already_is_checked_too():
    template, _ = parse_template(steps(step("prise")), source="t")
    report = check_template(template, known=ALL)
    assert next((one.code, one.where) for one in report.findings) == ("UNKNOWN_HANDLER", "template n/t 1.0.0")


@pytest.mark.parametrize(
    "file",
    sorted((ROOT / "plugins/tasker-examples/src/tasker_examples/templates").glob("*.yaml")),
    ids=lambda f: f.name,
)
def test_the_examples_earn_no_error_and_no_warning(file):
    assert check_text(file.read_text("utf-8"), source=file.name).passes(strict=True)
