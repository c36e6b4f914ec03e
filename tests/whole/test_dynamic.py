"""Decisions, batches and checkpoints in a whole host."""

from __future__ import annotations

from typing import Annotated

import pytest

from tasker_host import (
    BatchConfig,
    BatchWorkerContext,
    Checkpoint,
    Decision,
    Input,
    PermanentError,
    StepContext,
    batch_analyzer,
    batch_worker,
    decision_handler,
    step_handler,
)
from tasker_host.errors import IllegalMove, InvalidRequest
from tests.support import chain, ended, plugin, results, run_to_end, running_host

TWO_DECISIONS = """
name: t
namespace_name: tests
version: 1.0.0
steps:
  - {name: start, handler: {callable: nothing}}
  - {name: first, type: decision, handler: {callable: first}, dependencies: [start]}
  - {name: second, type: decision, handler: {callable: second}, dependencies: [start]}
  - {name: a, handler: {callable: nothing}, dependencies: [first]}
  - {name: b, handler: {callable: nothing}, dependencies: [second]}
  - {name: both, handler: {callable: nothing}, dependencies: [a, b]}
  - {name: join, type: deferred_convergence, handler: {callable: names}, dependencies: [first, a, second, b]}
  - {name: last, handler: {callable: nothing}, dependencies: [join]}
"""

BATCH = """
name: t
namespace_name: tests
version: 1.0.0
steps:
  - {{name: plan, type: batchable, handler: {{callable: plan}}}}
  - name: work
    type: batch_worker
    handler: {{callable: work}}
    dependencies: [plan]
    retry: {{max_attempts: 1}}
    batch_config: {{batch_size: 10, parallelism: {parallelism}, cursor_field: id, worker_template: work,
                   failure_strategy: {strategy}}}
  - {{name: join, type: deferred_convergence, handler: {{callable: join}}, dependencies: [work]}}
  - {{name: after, handler: {{callable: nothing}}, dependencies: [join]}}
"""


@step_handler("nothing")
async def nothing() -> None:
    return None


@step_handler("names")
async def names(context: StepContext) -> list[str]:
    return sorted(context.dependencies)


@decision_handler("first")
async def first(one: Annotated[list[str], Input("first")]) -> Decision:
    return Decision.route(one, why="asked for") if one else Decision.skip("nothing asked for")


@decision_handler("second")
async def second(two: Annotated[list[str], Input("second")]) -> Decision:
    return Decision.route(two) if two else Decision.skip("nothing asked for")


@batch_analyzer("plan")
async def plan(total: Annotated[int, Input("total")]) -> BatchConfig:
    return BatchConfig(total, 10)


@step_handler("join")
async def join(context: StepContext) -> int:
    return sum(value for value in context.get_all_dependency_results("work_") if isinstance(value, int))


DECIDERS = plugin([nothing, names, first, second], [TWO_DECISIONS])


@pytest.mark.parametrize(
    ("chosen", "made"),
    [
        ((["a"], ["b"]), {"start", "first", "second", "a", "b", "both", "join", "last"}),
        ((["a"], []), {"start", "first", "second", "a", "join", "last"}),
        (([], ["b"]), {"start", "first", "second", "b", "join", "last"}),
        (([], []), {"start", "first", "second"}),
    ],
)
async def test_what_two_decisions_make_between_them(dsn, chosen, made):
    async with running_host(dsn, DECIDERS) as host:
        row = await run_to_end(host, "t", {"first": chosen[0], "second": chosen[1]})
    assert row["status"] == "complete"
    assert {step["name"] for step in row["steps"]} == made
    branches = made & {"a", "b"}
    assert results(row).get("join") == (sorted({"start", "first", "second"} | branches) if branches else None)


async def test_the_value_of_a_decision_says_what_it_chose_and_why(dsn):
    async with running_host(dsn, DECIDERS) as host:
        row = await run_to_end(host, "t", {"first": ["a"], "second": []})
    assert results(row)["first"] == {
        "decision_point_outcome": {"type": "create_steps", "step_names": ["a"]},
        "why": "asked for",
    }
    assert results(row)["second"] == {"decision_point_outcome": {"type": "no_branches"}, "reason": "nothing asked for"}


async def test_a_decision_that_names_a_wrong_step_fails_and_says_what_it_may_name(dsn):
    async with running_host(dsn, DECIDERS) as host:
        row = await run_to_end(host, "t", {"first": ["aa"], "second": ["b"]})
    assert row["status"] == "blocked_by_failures"
    (step,) = [step for step in row["steps"] if step["name"] == "first"]
    assert (step["current_state"], step["attempts"]) == ("error", 1)
    assert step["error"]["message"] == (
        "decision 'first' chose 'aa', which it cannot; did you mean 'a'?; it can choose a, both, join, last"
    )


BY_HAND = """
name: t
namespace_name: tests
version: 1.0.0
steps:
  - {{name: start, handler: {{callable: nothing}}}}
  - {{name: route, type: decision, optional: {optional}, handler: {{callable: fails}}, dependencies: [start]}}
  - {{name: a, handler: {{callable: nothing}}, dependencies: [route]}}
  - {{name: b, handler: {{callable: nothing}}, dependencies: [route]}}
  - {{name: join, type: deferred_convergence, handler: {{callable: names}}, dependencies: [start, a, b]}}
  - {{name: branches, type: deferred_convergence, handler: {{callable: names}}, dependencies: [a, b]}}
"""


@batch_worker("work")
async def work_of_any(batch_context: BatchWorkerContext) -> object:
    return batch_context.start_cursor


@decision_handler("fails")
async def fails() -> Decision:
    raise PermanentError("cannot decide")


def uuid_of(row, name):
    return next(step["step_uuid"] for step in row["steps"] if step["name"] == name)


async def test_a_decision_that_is_completed_by_hand_makes_what_its_value_chooses(dsn):
    by_hand = plugin([nothing, names, fails], [BY_HAND.format(optional="false")])
    async with running_host(dsn, by_hand) as host:
        row = await run_to_end(host, "t")
        route = uuid_of(row, "route")
        with pytest.raises(InvalidRequest) as refused:
            await host.operations.complete_step(route, Decision.route(["c"]).as_value(), reason="by hand")
        assert "chose 'c', which it cannot; it can choose a, b, join, branches" in str(refused.value.problems[0])
        await host.operations.complete_step(route, Decision.route(["b"]).as_value(), reason="by hand")
        (row,) = await ended(host, row["task_uuid"])
        assert results(row).keys() == {"start", "route", "b", "join", "branches"}
        assert results(row)["join"] == ["b", "route", "start"]
        await host.operations.rerun(row["task_uuid"], from_steps=["b"], reason="for the next")
        with pytest.raises(IllegalMove, match="what it chose is made: run the task again from it to choose anew"):
            await host.operations.complete_step(route, Decision.route(["a"]).as_value(), reason="by hand")


async def test_an_analyzer_that_is_completed_by_hand_makes_its_batches(dsn):
    batch = plugin([nothing, plan, work_of_any, join], [BATCH.format(parallelism=5, strategy="isolate")])
    async with running_host(dsn, batch) as host:
        row = await run_to_end(host, "t", {"total": "many"})
        cursors = [{"batch_id": "x", "start_cursor": {"after": 1}}, {"batch_id": "y"}]
        cut = {"batch_processing_outcome": {"type": "create_batches", "cursor_configs": cursors}}
        await host.operations.complete_step(uuid_of(row, "plan"), cut, reason="by hand")
        (row,) = await ended(host, row["task_uuid"])
    assert results(row) == {"plan": cut, "work_x": {"after": 1}, "work_y": None, "join": 0, "after": None}


@pytest.mark.parametrize("optional", ["true", "false"])
async def test_a_decision_that_says_nothing_does_not_leave_out_what_runs_in_any_case(dsn, optional):
    by_hand = plugin([nothing, names, fails], [BY_HAND.format(optional=optional)])
    async with running_host(dsn, by_hand) as host:
        row = await run_to_end(host, "t")
        if optional == "false":
            await host.operations.resolve_step(uuid_of(row, "route"), reason="by hand")
            (row,) = await ended(host, row["task_uuid"])
    assert row["status"] == "complete"
    assert results(row) == {"start": None, "join": ["route", "start"]}


@pytest.mark.parametrize(("total", "workers"), [(0, 1), (1, 1), (10, 1), (11, 2), (95, 10)])
async def test_every_item_of_a_batch_is_worked_on_once(dsn, total, workers):
    @batch_worker("work")
    async def work(batch: BatchWorkerContext) -> int:
        assert (batch.total_batches, batch.is_no_op) == (0 if total == 0 else workers, total == 0)
        return batch.end_cursor - batch.start_cursor

    made = plugin([plan, work, join, nothing], [BATCH.format(parallelism=3, strategy="continue_on_failure")])
    async with running_host(dsn, made) as host:
        row = await run_to_end(host, "t", {"total": total})
    assert row["status"] == "complete"
    assert results(row)["join"] == total
    assert len([step for step in row["steps"] if step["name"].startswith("work_")]) == workers


async def test_no_more_workers_of_a_batch_run_than_its_parallelism(dsn):
    running: set[str] = set()
    most = 0

    @batch_worker("work")
    def work(batch: BatchWorkerContext) -> int:
        nonlocal most
        running.add(batch.batch_id)
        most = max(most, len(running))
        result = sum(range(20_000))
        running.discard(batch.batch_id)
        return 1 if result else 0

    made = plugin([plan, work, join, nothing], [BATCH.format(parallelism=2, strategy="continue_on_failure")])
    async with running_host(dsn, made) as host:
        row = await run_to_end(host, "t", {"total": 300})
    assert results(row)["join"] == 30
    assert most <= 2


@pytest.mark.parametrize(
    ("strategy", "ends", "joined"),
    [
        ("continue_on_failure", "complete", 4),
        ("isolate", "blocked_by_failures", None),
        ("fail_fast", "blocked_by_failures", None),
    ],
)
async def test_what_a_failed_worker_means_for_its_batch(dsn, strategy, ends, joined):
    @batch_worker("work")
    async def work(batch: BatchWorkerContext) -> int:
        if batch.batch_id == "001":
            raise PermanentError("broken")
        return 1

    made = plugin([plan, work, join, nothing], [BATCH.format(parallelism=1, strategy=strategy)])
    async with running_host(dsn, made) as host:
        row = await run_to_end(host, "t", {"total": 50})
    state = {step["name"]: step["current_state"] for step in row["steps"]}
    assert (row["status"], results(row).get("join")) == (ends, joined)
    assert state["work_001"] == "error"
    others = {state[f"work_00{number}"] for number in range(2, 6)}
    assert others == {"cancelled" if strategy == "fail_fast" else "complete"}


async def test_a_handler_goes_on_from_its_checkpoints_and_a_retry_from_the_last_one(dsn):
    seen = []

    @step_handler("long")
    async def long(context: StepContext) -> Checkpoint | dict[str, int]:
        done = context.checkpoint_cursor or 0
        seen.append((context.attempt, done))
        if done == 40 and context.attempt == 1:
            raise RuntimeError("in the middle")
        if done < 100:
            return Checkpoint(done + 20, done + 20, {"sum": done})
        return {"items": context.checkpoint_items_processed, "sum": context.accumulated_results["sum"]}

    text = chain("t", "long", backoff="none")
    async with running_host(dsn, plugin([long], [text])) as host:
        row = await run_to_end(host, "t")
    assert results(row) == {"long": {"items": 100, "sum": 80}}
    assert seen == [(1, 0), (1, 20), (1, 40), (2, 40), (2, 60), (2, 80), (2, 100)]
    assert row["steps"][0]["attempts"] == 2
