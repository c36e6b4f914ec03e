"""A whole task on a real database, in which waiting takes no time."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from pydantic import BaseModel

from tasker_host import BatchConfig, Decision, PermanentError, RetryableError, StepContext, step_handler
from tasker_host.errors import PluginError, RequestError, TemplateError, TemplateUnavailable
from tasker_host.testing import StillRunning, run_task, run_task_async
from tests.support import chain, plugin


@step_handler("first")
def first(context: StepContext) -> dict:
    return {"doubled": context.input["number"] * 2}


@step_handler("second")
async def second(context: StepContext) -> int:
    return context.get_dependency_field("first", "doubled") + 1


TWO = chain("two", "first", "second")


def test_a_task_runs_to_its_end_and_tells_values_states_and_attempts():
    run = run_task(TWO, {"number": 20}, handlers=[first, second])
    assert run.is_complete
    assert run.values == {"first": {"doubled": 40}, "second": 41}
    assert run.states == {"first": "complete", "second": "complete"}
    assert run.attempts == {"first": 1, "second": 1}
    assert run.errors == {}
    assert run.template == "tests/two 1.0.0"


def test_an_hour_of_backoff_takes_no_time_and_is_seen_in_what_the_task_took():
    @step_handler("patient")
    def patient(context: StepContext) -> int:
        if context.attempt < 3:
            raise RetryableError("not yet", retry_after=3600)
        return context.attempt

    began = time.monotonic()
    run = run_task(chain("t", "patient", max_attempts=5), handlers=[patient])
    assert time.monotonic() - began < 30
    assert run.values == {"patient": 3}
    assert run.attempts == {"patient": 3}
    assert timedelta(hours=2) <= run.took < timedelta(hours=2, minutes=1)


def test_a_start_that_is_a_week_away_comes_at_once():
    run = run_task(TWO, {"number": 1}, handlers=[first, second], start_at=datetime.now(UTC) + timedelta(days=7))
    assert run.is_complete
    assert timedelta(days=6, hours=23) < run.took < timedelta(days=7, minutes=1)


def test_a_deadline_comes_too():
    @step_handler("never")
    def never() -> None:
        raise RetryableError("still not", retry_after=600)

    late = chain("late", "never", max_attempts=100).replace("steps:", "lifecycle: {max_duration_minutes: 60}\nsteps:")
    run = run_task(late, handlers=[never])
    assert run.state == "error"
    assert timedelta(minutes=60) <= run.took < timedelta(minutes=62)
    assert run.attempts["never"] == 6  # after 0, 10, 20, 30, 40 and 50 minutes


def test_a_failure_is_told_with_its_step_and_shown_by_pytest():
    @step_handler("first")
    def fails() -> None:
        raise PermanentError("no stock of tea", error_code="OUT_OF_STOCK")

    run = run_task(TWO, handlers=[fails, second])
    assert run.state == "blocked_by_failures"
    assert run.states == {"first": "error", "second": "pending"}
    assert run.errors["first"]["message"] == "no stock of tea"
    assert run.errors["first"]["error_code"] == "OUT_OF_STOCK"
    assert "first: error, permanent_error: no stock of tea" in repr(run)


def test_decisions_and_batches_make_their_steps():
    @step_handler("route")
    def route(context: StepContext) -> Decision:
        return Decision.route(["cut"]) if context.input["go"] else Decision.skip("not asked for")

    @step_handler("cut")
    def cut() -> BatchConfig:
        return BatchConfig(total_items=25, batch_size=10)

    @step_handler("work")
    def work(context: StepContext) -> int:
        assert context.batch is not None
        return context.batch.end_cursor - context.batch.start_cursor

    @step_handler("total")
    def total(context: StepContext) -> int:
        return sum(context.get_all_dependency_results("work"))

    template = """
        name: dynamic
        namespace_name: tests
        version: 1.0.0
        steps:
          - name: first
            handler: {callable: first}
          - name: route
            type: decision
            handler: {callable: route}
            dependencies: [first]
          - name: cut
            type: batchable
            handler: {callable: cut}
            dependencies: [route]
          - name: work
            type: batch_worker
            handler: {callable: work}
            dependencies: [cut]
            batch_config: {batch_size: 10, parallelism: 3, cursor_field: id, worker_template: work,
                           failure_strategy: fail_fast}
          - name: total
            type: deferred_convergence
            handler: {callable: total}
            dependencies: [work]
    """
    run = run_task(template, {"go": True, "number": 1}, handlers=[first, route, cut, work, total])
    assert run.is_complete, run
    assert run.values["total"] == 25
    assert [run.values[f"work_{number:03}"] for number in (1, 2, 3)] == [10, 10, 5]
    assert list(run_task(template, {"go": False, "number": 1}, handlers=[first, route, cut, work, total]).states) == [
        "first",
        "route",
    ]


def test_handlers_find_the_database_of_the_run_and_effects_are_read_from_it():
    @step_handler("by_context")
    async def by_context(context: StepContext) -> None:
        async with context.transaction() as connection:
            await connection.execute("insert into seen values ('context')")

    @step_handler("by_environment")
    async def by_environment() -> None:
        connection = await asyncpg.connect(os.environ["DATABASE_URL"])
        await connection.execute("insert into seen values ('environment')")
        await connection.close()

    before = os.environ.get("DATABASE_URL")
    run = run_task(
        chain("writes", "by_context", "by_environment"),
        handlers=[by_context, by_environment],
        setup="create table seen (id serial, how text); insert into seen (how) values ('setup')".replace(
            "id serial, ", ""
        ),
        effects=["seen", "select count(*) as rows from seen"],
    )
    assert run.effects["seen"] == [{"how": "context"}, {"how": "environment"}, {"how": "setup"}]
    assert run.effects["select count(*) as rows from seen"] == [{"rows": 3}]
    assert os.environ.get("DATABASE_URL") == before


class Shop(BaseModel):
    currency: str = "EUR"


@step_handler("price")
def price(settings: Shop) -> str:
    return f"1 {settings.currency}"


def test_settings_are_given_to_handlers_as_a_model_and_to_a_plugin_as_in_toml():
    one = chain("one", "price")
    assert run_task(one, handlers=[price], settings=Shop(currency="GBP")).values == {"price": "1 GBP"}
    module = plugin([price], [one], tasker_settings=lambda: Shop)
    assert run_task("one", plugins={"shop": module}, settings={"currency": "SEK"}).values == {"price": "1 SEK"}
    run = run_task("tests/one", plugins={"shop": module}, settings={"shop": {"currency": "${MONEY:-NOK}"}})
    assert run.values == {"price": "1 NOK"}


def test_two_plugins_of_one_package_are_both_there():
    modules = [plugin([price], tasker_settings=lambda: Shop), plugin([first, second], [TWO])]
    assert run_task("tests/two", {"number": 2}, plugins=modules).values["second"] == 5


def test_history_has_every_move_in_order():
    run = run_task(TWO, {"number": 1}, handlers=[first, second])
    moves = [(entry["step_name"], entry["to_state"]) for entry in run.history if entry["step_name"] == "second"]
    assert moves[-2:] == [("second", "in_progress"), ("second", "complete")]
    assert [entry["at"] for entry in run.history] == sorted(entry["at"] for entry in run.history)


def test_a_template_of_a_plugin_may_be_given_too_but_not_another_of_its_version():
    module = plugin([first, second], [TWO])
    assert run_task(TWO, {"number": 1}, plugins={"p": module}).is_complete
    with pytest.raises(ValueError, match="gives another template tests/two"):
        run_task(TWO.replace("handler: {callable: second}", "handler: {callable: first}"), plugins={"p": module})


@pytest.mark.parametrize(
    ("template", "error", "told"),
    [
        ("tests/tow", RequestError, "did you mean 'tests/two'"),
        ("name: x\nversion: 1.0.0\n", TemplateError, "namespace_name"),
        ("missing.yaml", TemplateError, "missing.yaml"),
        (chain("lost", "frist"), TemplateError, "did you mean 'first'"),
    ],
)
def test_what_is_not_right_is_told_as_the_host_tells_it(template, error, told):
    known = {"plugins": {"p": plugin([first, second], [TWO])}} if template == "tests/tow" else {"handlers": [first]}
    with pytest.raises(error, match=told):
        run_task(template, **known)


def test_a_plugin_that_gives_nothing_is_an_error_in_a_test():
    with pytest.raises(PluginError, match="not decorated"):
        run_task(TWO, plugins={"broken": plugin([lambda: None], [TWO])})


def test_one_template_that_is_not_available_beside_others_is_told():
    module = plugin([first], [TWO, chain("one", "first")])
    with pytest.raises(TemplateUnavailable, match="no handler named 'second'"):
        run_task("tests/two", {"number": 1}, plugins={"p": module})


def test_a_handler_that_hangs_is_told_with_where_the_task_stands():
    import asyncio

    @step_handler("first")
    async def hangs() -> None:
        await asyncio.Event().wait()

    with pytest.raises(StillRunning, match="first in_progress"):
        run_task(TWO, handlers=[hangs, second], timeout_seconds=1)


async def test_it_works_where_a_loop_is_running_and_on_that_loop():
    import asyncio

    @step_handler("first")
    async def which() -> int:
        return id(asyncio.get_running_loop())

    one = chain("one", "first")
    here = id(asyncio.get_running_loop())
    assert run_task(one, handlers=[which]).values != {"first": here}
    assert (await run_task_async(one, handlers=[which])).values == {"first": here}
