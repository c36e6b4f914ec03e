"""Handlers that are wrong on purpose are found and named; right ones pass."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime

import asyncpg
import pytest

from tasker_host import (
    BatchConfig,
    Checkpoint,
    Decision,
    RetryableError,
    StepContext,
    StepHandler,
    hookimpl,
    step_handler,
)
from tasker_host.errors import PluginError
from tasker_host.testing import NotIdempotent, crash_everywhere
from tests.support import chain, plugin

LEDGER = "create table ledger (id serial primary key, what text, at timestamptz not null default now())"


async def write(statement: str, *arguments: object) -> None:
    """In a transaction of its own, which is not that of the step."""
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    try:
        await connection.execute(statement, *arguments)
    finally:
        await connection.close()


@step_handler("price")
def price() -> dict:
    return {"cents": 1250}


@step_handler("book")
async def book(context: StepContext) -> dict:
    async with context.transaction() as connection:
        await connection.execute("insert into ledger (what) values ('booked')")
    return {"booked": True}


@step_handler("append")
async def append() -> None:
    await write("insert into ledger (what) values ('appended')")


@step_handler("upsert")
async def upsert(context: StepContext) -> None:
    await write("insert into once values ($1, 'done') on conflict do nothing", str(context.step_uuid))


def test_writes_in_the_transaction_of_the_step_are_proven():
    report = crash_everywhere(chain("shop", "price", "book"), handlers=[price, book], setup=LEDGER)
    assert report.is_proven
    assert report.undisturbed.effects["ledger"][0]["what"] == "booked"
    assert report.compared == ["ledger"]
    assert report.volatile == []


def test_every_handler_and_every_commit_is_died_at_before_and_after():
    report = crash_everywhere(chain("shop", "price", "book"), handlers=[price, book], setup=LEDGER)
    assert [(m.when, m.what, m.step) for m in report.moments] == [
        ("before", "claim", "price"),
        ("after", "claim", "price"),
        ("before", "handler", "price"),
        ("after", "handler", "price"),
        ("before", "finish", "price"),
        ("after", "finish", "price"),
        ("before", "handler", "book"),
        ("after", "handler", "book"),
        ("before", "commit", "book"),
        ("after", "commit", "book"),
    ]


def test_an_effect_before_the_crash_is_found_and_its_handler_named():
    with pytest.raises(NotIdempotent, match="append is not idempotent") as caught:
        crash_everywhere(chain("shop", "price", "append", "book"), handlers=[price, append, book], setup=LEDGER)
    report = caught.value.report
    assert report.not_idempotent == ["append"]
    assert {(finding.moment.when, finding.moment.what) for finding in report.findings} == {
        ("after", "handler"),
        ("before", "finish"),
    }
    (difference,) = report.findings[0].differences
    assert str(difference) == 'effects · ledger: 3 rows (+ {"what":"appended"}); undisturbed: 2 rows'


def test_a_counter_that_counts_twice_is_found_and_named():
    @step_handler("count")
    async def count() -> None:
        await write("update counter set value = value + 1")

    with pytest.raises(NotIdempotent) as caught:
        crash_everywhere(
            chain("counts", "price", "count"),
            handlers=[price, count],
            setup="create table counter (value int); insert into counter values (41)",
        )
    assert caught.value.report.not_idempotent == ["count"]
    assert '+ {"value":43}' in str(caught.value)
    assert '- {"value":42}' in str(caught.value)


def test_a_key_made_of_the_step_makes_an_effect_idempotent():
    report = crash_everywhere(
        chain("once", "upsert"), handlers=[upsert], setup="create table once (key text primary key, what text)"
    )
    assert report.is_proven


def test_a_handler_whose_value_depends_on_how_often_it_ran_is_found():
    with pytest.raises(NotIdempotent) as caught:
        crash_everywhere(
            chain("t", "price", "number"),
            handlers=[price, number_of_runs()],
            setup="create table runs (n int)",
            effects=lambda: None,
        )
    report = caught.value.report
    assert report.not_idempotent == ["number"]
    assert any(d.where == "step number · value" for f in report.findings for d in f.differences)


def number_of_runs() -> Callable[..., object]:
    @step_handler("number")
    async def number() -> int:
        connection = await asyncpg.connect(os.environ["DATABASE_URL"])
        await connection.execute("insert into runs values (1)")
        count: int = await connection.fetchval("select count(*) from runs")
        await connection.close()
        return count

    return number


def test_durable_events_are_compared_too():
    template = chain("t", "number") + "\n    publishes_events: [{name: runs.counted}]"
    with pytest.raises(NotIdempotent) as caught:
        crash_everywhere(template, handlers=[number_of_runs()], setup="create table runs (n int)", effects=lambda: None)
    told = {d.where: str(d) for finding in caught.value.report.findings for d in finding.differences}
    assert '"payload":2' in told["durable events"]
    assert '"payload":1' in told["durable events"]
    assert [event.payload for event in caught.value.report.undisturbed.events] == [1]


def test_events_of_a_right_handler_are_the_same_whoever_dies():
    template = chain("t", "price", "book") + "\n    publishes_events: [{name: order.booked, delivery_mode: broadcast}]"
    report = crash_everywhere(template, handlers=[price, book], setup=LEDGER)
    assert report.is_proven
    assert [event.payload for event in report.undisturbed.events] == [{"booked": True}]


def test_what_differs_by_itself_is_not_blamed_on_a_death():
    runs: list[int] = []

    @step_handler("measures")
    def measures() -> dict:
        # Times to the second, and a number that is mostly the same: two runs do not tell that it varies.
        runs.append(1)
        now = datetime.now(UTC)
        return {"at": now.isoformat(timespec="seconds"), "seconds": int(now.timestamp()), "odd": len(runs) // 5}

    report = crash_everywhere(chain("t", "measures", "price"), handlers=[measures, price])
    assert report.is_proven
    assert report.volatile == ["step measures · value.odd"]


def test_tasks_that_a_handler_makes_are_compared_too():
    @step_handler("spawn")
    async def spawn() -> None:
        await write("select tasker.task_submit('tests', 'child', json_build_object('any', random()))")

    with pytest.raises(NotIdempotent) as caught:
        crash_everywhere(
            chain("parent", "spawn"), plugins={"p": plugin([price], [chain("child", "price")])}, handlers=[spawn]
        )
    assert caught.value.report.not_idempotent == ["spawn"]
    assert any(d.where == "other tasks" for f in caught.value.report.findings for d in f.differences)


def test_memory_of_a_handler_is_lost_with_its_worker():
    class Remembers(StepHandler):
        name = "remembers"

        def __init__(self) -> None:
            self.done = False

        async def call(self, context: StepContext) -> None:
            if not self.done:
                await write("insert into ledger (what) values ('once, it thinks')")
            self.done = True

    with pytest.raises(NotIdempotent) as caught:
        crash_everywhere(chain("memory", "remembers"), handlers=[Remembers], setup=LEDGER)
    assert caught.value.report.not_idempotent == ["remembers"]


def test_a_plugin_that_cannot_be_loaded_again_is_told():
    module = plugin([price], [chain("t", "price")])
    times: list[int] = []

    @hookimpl
    def tasker_handlers() -> list[object]:
        times.append(1)
        if len(times) > 2:
            raise RuntimeError("only twice")
        return [price]

    module.tasker_handlers = tasker_handlers
    with pytest.raises(PluginError, match="only twice"):
        crash_everywhere("tests/t", plugins={"p": module}, timeout_seconds=20)


def test_effects_outside_of_the_database_are_seen_by_a_probe():
    sent: list[str] = []

    @step_handler("send")
    def send() -> None:
        sent.append("mail")

    with pytest.raises(NotIdempotent) as caught:
        crash_everywhere(chain("mails", "send"), handlers=[send], effects=lambda: list(sent), reset=sent.clear)
    assert caught.value.report.not_idempotent == ["send"]


def test_checkpoints_are_commits_too():
    @step_handler("load")
    async def load(context: StepContext) -> object:
        begin = context.checkpoint_cursor or 0
        if begin == 2:
            return {"loaded": begin}
        return Checkpoint(begin + 1)

    report = crash_everywhere(chain("loads", "load"), handlers=[load])
    checkpoints = [m for m in report.moments if m.what == "checkpoint"]
    assert [(m.when, m.number) for m in checkpoints] == [("before", 1), ("after", 1), ("before", 2), ("after", 2)]


def test_an_effect_between_two_checkpoints_is_found():
    @step_handler("load")
    async def load(context: StepContext) -> object:
        if context.checkpoint_cursor:
            return None
        await write("insert into ledger (what) values ('row')")
        return Checkpoint(1)

    with pytest.raises(NotIdempotent) as caught:
        crash_everywhere(chain("loads", "load"), handlers=[load], setup=LEDGER)
    assert {(f.moment.when, f.moment.what, f.moment.number) for f in caught.value.report.findings} == {
        ("after", "handler", 1),
        ("before", "checkpoint", 1),
    }


def test_retries_decisions_and_batches_come_to_the_same():
    @step_handler("flaky")
    async def flaky(context: StepContext) -> str:
        async with context.transaction() as connection:
            if not await connection.fetchval("select count(*) from tries"):
                await write("insert into tries values (1)")
                raise RetryableError("try again", retry_after=3600)
        return "second time lucky"

    @step_handler("route")
    def route() -> Decision:
        return Decision.route(["cut"])

    @step_handler("cut")
    def cut() -> BatchConfig:
        return BatchConfig(total_items=4, batch_size=2)

    @step_handler("work")
    async def work(context: StepContext) -> int:
        async with context.transaction() as connection:
            await connection.execute("insert into ledger (what) values ($1)", context.step_name)
        return 2

    template = """
        name: dynamic
        namespace_name: tests
        version: 1.0.0
        steps:
          - {name: flaky, handler: {callable: flaky}, retry: {max_attempts: 5}}
          - {name: route, type: decision, handler: {callable: route}, dependencies: [flaky]}
          - {name: cut, type: batchable, handler: {callable: cut}, dependencies: [route]}
          - name: work
            type: batch_worker
            handler: {callable: work}
            dependencies: [cut]
            batch_config: {batch_size: 2, parallelism: 2, cursor_field: id, worker_template: work,
                           failure_strategy: fail_fast}
    """
    report = crash_everywhere(
        template,
        handlers=[flaky, route, cut, work],
        setup=f"{LEDGER}; create table tries (n int)",
        effects=["ledger"],
    )
    assert {moment.step for moment in report.moments} == {"flaky", "route", "cut", "work_001", "work_002"}
    assert [row["what"] for row in report.undisturbed.effects["ledger"]] == ["work_001", "work_002"]


def test_a_step_without_another_attempt_is_told_to_need_one():
    with pytest.raises(NotIdempotent, match="It had no attempt left") as caught:
        crash_everywhere(chain("once", "price", max_attempts=1), handlers=[price])
    assert caught.value.report.not_idempotent == []
    assert caught.value.report.no_attempt_left == ["price"]


def test_a_task_that_ends_otherwise_every_time_proves_nothing():
    seen: list[int] = []

    @step_handler("odd")
    async def odd() -> None:
        seen.append(1)
        if len(seen) % 2:
            await write("insert into ledger (what) values ('odd')")

    with pytest.raises(NotIdempotent, match="Without any death, two runs differ in effects · ledger") as caught:
        crash_everywhere(chain("odd", "odd"), handlers=[odd], setup=LEDGER)
    assert caught.value.report.findings == []


def test_what_setup_wrote_is_there_in_every_run():
    @step_handler("pay")
    async def pay(context: StepContext) -> int:
        async with context.transaction() as connection:
            return await connection.fetchval(
                "update account set cents = cents - 10 where owner = 'ada' returning cents"
            )

    report = crash_everywhere(
        chain("pays", "pay"),
        handlers=[pay],
        setup=[
            "create table account"
            " (owner text primary key, cents int, whole int generated always as (cents / 100) stored)",
            "insert into account values ('ada', 1000), ('bob', 0)",
            "create table entry (owner text references account, n int)",
            "insert into entry values ('ada', 1)",
        ],
    )
    assert report.undisturbed.values == {"pay": 990}
    assert report.undisturbed.effects["account"][0] == {"owner": "ada", "cents": 990, "whole": 9}
