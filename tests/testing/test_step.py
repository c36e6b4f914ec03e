"""One attempt at one step, as a worker makes it."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Annotated

import pytest
from pydantic import BaseModel

from tasker_host import (
    BatchConfig,
    Checkpoint,
    Classifier,
    Cursor,
    Decision,
    DecisionHandler,
    Failed,
    From,
    Input,
    Middleware,
    PermanentError,
    RetryableError,
    StepContext,
    StepHandler,
    Succeeded,
    step_handler,
)
from tasker_host.handlers.bound import BindError
from tasker_host.testing import NoDatabase, run_step, run_step_async


class Order(BaseModel):
    sku: str
    quantity: int = 1


class Quote(BaseModel):
    cents: int


class Shop(BaseModel):
    currency: str = "EUR"


class Receipt(BaseModel):
    cents: int
    currency: str


@step_handler("shop.charge")
async def charge(
    order: Annotated[Order, Input()], quote: Annotated[Quote, From("price")], settings: Shop, context: StepContext
) -> Receipt:
    return Receipt(cents=quote.cents * order.quantity + context.config.get("fee", 0), currency=settings.currency)


def test_a_handler_is_given_what_its_parameters_ask_for_and_its_value_is_as_it_is_stored():
    result = run_step(
        charge,
        {"sku": "tea", "quantity": 3},
        parents={"price": {"cents": 250}},
        settings=Shop(currency="GBP"),
        config={"fee": 20},
    )
    assert result == Succeeded({"cents": 770, "currency": "GBP"})


def test_input_may_be_a_model():
    result = run_step(charge, Order(sku="tea"), parents={"price": Quote(cents=250)}, settings=Shop())
    assert result == Succeeded({"cents": 250, "currency": "EUR"})


def test_input_that_does_not_fit_is_a_permanent_failure_that_names_the_field():
    result = run_step(charge, {"quantity": "many", "sku": "tea"}, parents={"price": {"cents": 1}}, settings=Shop())
    assert isinstance(result, Failed)
    assert (result.error_type, result.retryable) == ("validation_error", False)
    assert "quantity" in result.message


def test_a_missing_parent_is_a_permanent_failure_that_names_the_step():
    result = run_step(charge, {"sku": "tea"}, settings=Shop())
    assert isinstance(result, Failed)
    assert not result.retryable
    assert "price" in result.message


def test_what_a_handler_says_it_returns_is_checked():
    @step_handler("wrong")
    def wrong() -> Receipt:
        return {"cents": "no number"}  # type: ignore[return-value]

    result = run_step(wrong)
    assert isinstance(result, Failed)
    assert result.error_code == "RESULT_INVALID"
    assert "result.cents" in result.message


@pytest.mark.parametrize(
    ("error", "error_type", "retryable", "seconds"),
    [
        (RetryableError("later", retry_after=90), "retryable_error", True, 90),
        (PermanentError("never"), "permanent_error", False, None),
        (ConnectionError("reset"), "retryable_error", True, None),
        (ValueError("bad"), "permanent_error", False, None),
    ],
)
def test_what_it_raises_is_classified_as_a_worker_does(error, error_type, retryable, seconds):
    @step_handler("raises")
    def raises() -> None:
        raise error

    result = run_step(raises)
    assert isinstance(result, Failed)
    assert (result.error_type, result.retryable, result.retry_after_seconds) == (error_type, retryable, seconds)


def test_classifiers_and_middleware_take_part():
    async def around(context, call_next):
        result = await call_next()
        return Succeeded({"caught": result.retryable})

    @step_handler("raises")
    def raises() -> None:
        raise ValueError

    result = run_step(raises, classifiers=[Classifier(ValueError, True)], middleware=[Middleware("catch", around)])
    assert result == Succeeded({"caught": True})


def test_a_returned_failure_is_returned_as_it_is():
    failure = Failed("no stock", "out_of_stock", retryable=True, retry_after_seconds=60, metadata={"sku": "tea"})

    @step_handler("fails")
    def fails() -> Failed:
        return failure

    assert run_step(fails) == failure


def test_the_attempt_is_the_one_that_is_asked_for():
    @step_handler("attempts")
    def attempts(context: StepContext) -> list:
        return [context.attempt, context.max_attempts, context.is_last_retry()]

    assert run_step(attempts) == Succeeded([1, 3, False])
    assert run_step(attempts, attempt=2) == Succeeded([2, 3, False])
    assert run_step(attempts, attempt=7) == Succeeded([7, 7, True])
    assert run_step(attempts, attempt=1, max_attempts=1) == Succeeded([1, 1, True])


def test_checkpoints_and_batches_are_given_and_a_checkpoint_comes_back():
    @step_handler("import")
    def load(context: StepContext) -> object:
        assert context.batch is not None
        begin = context.checkpoint_cursor or context.batch.start_cursor
        if begin + 10 < context.batch.end_cursor:
            return Checkpoint(begin + 10, items_processed=10)
        return {"from": begin, "to": context.batch.end_cursor}

    batch = Cursor("001", 0, 15)
    first = run_step(load, batch=batch)
    assert first == Checkpoint(10, items_processed=10)
    assert run_step(load, batch=batch, checkpoint=first) == Succeeded({"from": 10, "to": 15})
    assert run_step(load, batch={"start_cursor": 5, "end_cursor": 9}) == Succeeded({"from": 5, "to": 9})


def test_a_checkpoint_passes_middleware_as_it_is():
    async def around(context, call_next):
        return await call_next()

    @step_handler("import")
    def load() -> Checkpoint:
        return Checkpoint(10, items_processed=10)

    assert run_step(load, middleware=[Middleware("m", around)]) == Checkpoint(10, items_processed=10)


def test_decisions_and_batches_are_what_their_step_keeps():
    @step_handler("decide")
    def decide() -> Decision:
        return Decision.route(["refund"], why="late")

    @step_handler("cut")
    def cut() -> BatchConfig:
        return BatchConfig(total_items=3, batch_size=2)

    assert run_step(decide) == Succeeded(
        {"decision_point_outcome": {"type": "create_steps", "step_names": ["refund"]}, "why": "late"}
    )
    outcome = run_step(cut).value["batch_processing_outcome"]
    assert [cursor["end_cursor"] for cursor in outcome["cursor_configs"]] == [2, 3]


def test_classes_their_instances_and_their_methods_are_handlers_too():
    class Greet(StepHandler):
        name = "greet"

        def call(self, context: StepContext) -> str:
            return f"hello {context.input['name']}"

        def shout(self, context: StepContext) -> str:
            return f"HELLO {context.input['name']}"

    assert run_step(Greet, {"name": "ada"}) == Succeeded("hello ada")
    assert run_step(Greet(), {"name": "ada"}) == Succeeded("hello ada")
    assert run_step(Greet, {"name": "ada"}, method="shout") == Succeeded("HELLO ada")


def test_a_sync_handler_runs_in_a_thread_as_in_a_worker():
    @step_handler("where")
    def where() -> bool:
        return threading.current_thread() is threading.main_thread()

    assert run_step(where) == Succeeded(False)


def test_a_handler_that_overruns_ends_as_a_timeout():
    @step_handler("hangs")
    async def hangs() -> None:
        await asyncio.Event().wait()

    result = run_step(hangs, timeout_seconds=0.01)
    assert isinstance(result, Failed)
    assert (result.error_type, result.retryable) == ("timeout", True)


def test_a_value_that_json_cannot_hold_is_a_failure():
    @dataclass
    class Odd:
        what: object

    @step_handler("odd")
    def odd() -> Odd:
        return Odd(object())

    result = run_step(odd)
    assert isinstance(result, Failed)
    assert result.error_code == "RESULT_NOT_JSON"


def test_a_handler_that_cannot_be_registered_is_told():
    def plain() -> None: ...

    with pytest.raises(BindError, match="is not decorated"):
        run_step(plain)


def test_a_handler_that_needs_the_database_is_told_where_there_is_one():
    @step_handler("writes")
    async def writes(context: StepContext) -> None:
        async with context.transaction() as connection:
            await connection.execute("select 1")

    with pytest.raises(NoDatabase, match="use run_task"):
        run_step(writes)


async def test_it_works_where_a_loop_is_running_and_on_that_loop():
    @step_handler("which")
    async def which() -> int:
        return id(asyncio.get_running_loop())

    here = id(asyncio.get_running_loop())
    assert run_step(which) != Succeeded(here)
    assert await run_step_async(which) == Succeeded(here)


def test_a_handler_for_decisions_decides_alone():
    class Route(DecisionHandler):
        def call(self, context):
            return self.decision_success(["a"])

    assert run_step(Route).value == {"decision_point_outcome": {"type": "create_steps", "step_names": ["a"]}}


def test_a_configuration_that_the_handler_refuses_is_told():
    class Picky(StepHandler):
        def config_schema(self):
            return {"required": ["region"]}

        def call(self, context):
            return context.get_config("region")

    assert run_step(Picky, config={"region": "eu"}).value == "eu"
    with pytest.raises(BindError, match="initialization: 'region' is a required property"):
        run_step(Picky)
