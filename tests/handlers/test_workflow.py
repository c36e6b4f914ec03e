"""Templates as code: signatures give the edges, and what comes out is what the same YAML gives."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from tasker_host import (
    BatchConfig,
    BatchWorkerContext,
    Decision,
    From,
    Handler,
    Input,
    StepContext,
    StepHandler,
    TaskTemplate,
    batch_analyzer,
    batch_worker,
    decision_handler,
    depends_on,
    step_handler,
    workflow,
)
from tasker_host.domain.source import parse_template, template_from_data
from tasker_host.domain.template import RetryPolicy
from tasker_host.errors import TemplateError


class Settings(BaseModel):
    url: str = "x"


class Order(BaseModel):
    items: list[int]


@step_handler("payments.price_order")
def price_order(order: Annotated[Order, Input()]) -> dict[str, int]:
    return {"total_cents": sum(order.items)}


@step_handler("payments.charge_card")
async def charge_card(
    quote: Annotated[dict[str, int], From("price_order")], settings: Settings, context: StepContext
) -> int:
    return quote["total_cents"]


@step_handler("payments.send_receipt")
@depends_on(quote="price_order", charged="charge_card")
def send_receipt(quote, charged, address="nobody"):
    return f"{address}: {charged} of {quote}"


def test_signatures_give_the_edges_and_yaml_the_same_template():
    built = (
        workflow(
            "payments/charge_order", version="1.2.0", description="Price an order, charge the card", on_failure="fail"
        )
        .step(price_order)
        .step(charge_card, retry=RetryPolicy(max_attempts=5), timeout_seconds=20, initialization={"currency": "EUR"})
        .step(send_receipt, optional=True)
        .build()
    )
    written, _ = parse_template(
        """
        name: charge_order
        namespace_name: payments
        version: 1.2.0
        description: Price an order, charge the card
        on_failure: fail
        steps:
          - {name: price_order, handler: {callable: payments.price_order}}
          - name: charge_card
            handler: {callable: payments.charge_card, initialization: {currency: EUR}}
            dependencies: [price_order]
            retry: {max_attempts: 5}
            timeout_seconds: 20
          - name: send_receipt
            handler: {callable: payments.send_receipt}
            dependencies: [price_order, charge_card]
            optional: true
        """,
        source="charge_order.yaml",
    )
    assert built == written
    assert built.sha256() == written.sha256()
    assert parse_template(built.to_yaml(), source="again")[0] == built


class Refund(StepHandler):
    handler_name = "payments.Refund"

    def __init__(self, settings: Settings) -> None:
        self.url = settings.url

    def call(self, charged: Annotated[int, From("charge_card")]) -> int:
        return -charged

    def dry_run(self, quote: Annotated[dict, From("price_order")]) -> int:
        return 0


def test_classes_methods_records_and_names_are_handlers_too():
    made = (
        workflow("payments/refund")
        .step(price_order)
        .step(charge_card)
        .step(Refund)
        .step(Refund, name="try_it", method="dry_run")
        .step(Handler("payments.round", lambda context: None), after=Refund.handler_name.rpartition(".")[2])
        .step("audit.write", name="audit", after=[charge_card, "try_it"])
    )
    built = made.build()
    assert {step.name: step.dependencies for step in built.steps} == {
        "price_order": (),
        "charge_card": ("price_order",),
        "Refund": ("charge_card",),
        "try_it": ("price_order",),
        "round": ("Refund",),
        "audit": ("charge_card", "try_it"),
    }
    assert built.step("try_it").handler.method == "dry_run"
    assert [getattr(one, "__name__", one) for one in made.handlers][:3] == [
        "price_order",
        "charge_card",
        Refund.__name__,
    ]
    assert len(made.handlers) == 4


@decision_handler("approvals.route")
def route(order: Annotated[Any, From("price_order")]) -> Decision:
    return Decision.route(["auto"])


@step_handler("approvals.auto")
def auto() -> str:
    return "auto"


@step_handler("approvals.manager")
def manager() -> str:
    return "manager"


@step_handler("approvals.finish")
def finish(
    auto: Annotated[str | None, From("auto")] = None, manager: Annotated[str | None, From("manager")] = None
) -> str:
    return auto or manager or "nobody"


def test_a_decision_stands_before_what_it_chooses_and_a_join_behind_what_it_reads():
    built = (
        workflow("approvals/approve")
        .step(price_order)
        .decision(route, chooses=[auto, "manager"])
        .step(auto)
        .step(manager)
        .deferred(finish)
        .build()
    )
    assert [(step.name, step.type.value, step.dependencies) for step in built.steps] == [
        ("price_order", "standard", ()),
        ("route", "decision", ("price_order",)),
        ("auto", "standard", ("route",)),
        ("manager", "standard", ("route",)),
        ("finish", "deferred_convergence", ("auto", "manager")),
    ]


@batch_analyzer("imports.analyze", worker_template="work")
def analyze(rows: Annotated[int, Input("rows")]) -> BatchConfig:
    return BatchConfig(rows, 200)


@batch_worker("imports.work")
def work(batch: BatchWorkerContext) -> int:
    return 0


@step_handler("imports.join")
def join(context: StepContext) -> int:
    return 0


def test_a_batch_worker_finds_its_analyzer():
    made = workflow("imports/rows").batchable(analyze).batch_worker(work, batch_size=200, parallelism=5)
    built = made.deferred(join, after=work).build()
    assert [(step.name, step.dependencies) for step in built.steps] == [
        ("analyze", ()),
        ("work", ("analyze",)),
        ("join", ("work",)),
    ]
    config = built.step("work").batch_config
    assert config is not None
    assert (config.batch_size, config.parallelism, config.worker_template) == (200, 5, "work")


def problems(made: Any) -> list[str]:
    with pytest.raises(TemplateError) as caught:
        made.build()
    return [problem.message for problem in caught.value.problems]


def test_faults_name_the_function_and_the_missing_step():
    assert problems(workflow("payments/x").step(price_order, name="price_ordr").step(charge_card)) == [
        f"step 'charge_card' ({__name__}.charge_card): parameter 'quote' reads step 'price_order', which the workflow "
        "does not have; did you mean 'price_ordr'?"
    ]
    assert problems(workflow("payments/x").step(price_order, after=charge_card)) == [
        f"step 'price_order' ({__name__}.price_order): after names 'charge_card', which the workflow does not have"
    ]
    twice = workflow("payments/x").step(price_order).step(price_order, name="again").step("a.b", after=price_order)
    assert problems(twice) == [
        "step 'b': after names price_order, which several steps are: 'price_order', 'again'; name one of them"
    ]
    assert problems(workflow("imports/x").batch_worker(work)) == [
        f"step 'work' ({__name__}.work): it has no analyzer; add one with .batchable(…)"
    ]


def test_everything_else_wrong_is_told_as_for_a_file():
    made = workflow("payments/x", version="1.0").step(price_order, retry={"max_attempts": 101}).step("a", after="a")
    [version, attempts, itself] = sorted(problems(made))
    assert "must be three numbers, like 1.2.0" in "".join([version, attempts, itself])
    assert any("100" in one for one in (version, attempts, itself))
    assert any("depends on itself" in one for one in (version, attempts, itself))


def test_what_is_no_handler_and_options_that_there_are_not_are_refused_at_once():
    with pytest.raises(TypeError, match="not a handler"):
        workflow("payments/x").step(lambda: None)
    with pytest.raises(TypeError, match="no option 'retries'; did you mean 'retry'"):
        workflow("payments/x").step(price_order, retries=3)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="named by namespace and name"):
        workflow("charge_order")


def test_models_stand_for_their_schemas():
    built = workflow("payments/x", input_schema=Order).step(price_order, result_schema=Settings).build()
    assert built.input_schema is not None
    assert built.input_schema["required"] == ["items"]
    assert built.step("price_order").result_schema == {
        "properties": {"url": {"default": "x", "title": "Url", "type": "string"}},
        "title": "Settings",
        "type": "object",
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(values=st.dictionaries(st.text(), JSON, max_size=4), description=st.text())
def test_whatever_a_template_says_comes_back_from_its_yaml(values, description):
    data = {
        "name": "t",
        "namespace_name": "n",
        "version": "1.0.0",
        "description": description,
        "steps": [{"name": "a", "handler": {"callable": "a", "initialization": values}}],
    }
    try:
        made, _ = template_from_data(data, source="data")
    except TemplateError:
        return
    assert parse_template(made.to_yaml(), source="yaml")[0] == made


@pytest.mark.parametrize(
    "text", ["yes", "1e5", "0o17", "0x1f", "~", "", "2020-01-01", "1_000", "12:30", "<<", "=", "a: b", "- a", "a\nb\n"]
)
def test_text_that_looks_like_something_else_stays_text(text):
    made = TaskTemplate(name="t", namespace_name="n", version="1.0.0", description=text)
    assert parse_template(made.to_yaml(), source="yaml")[0].description == text
