"""Steps that a task gets while it runs, on the kernel: whoever decides first, no step runs before what it needs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from tasker_host.domain.result import Decision
from tests.expansions import RealTask, cut, template


@pytest.fixture
async def connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


TWO_BATCHES = template("""
    root
    a b < root
    wa w < a
    b b < root
    wb w < b
    report < wa wb
""")


@pytest.mark.parametrize("order", [("root", "a", "b"), ("root", "b", "a"), ("root", "a", "wa_001", "wa_002", "b")])
async def test_a_step_below_the_workers_of_two_batches_waits_for_all_of_them(connection, order):
    task = await RealTask.start(connection, TWO_BATCHES, {"a": cut(2), "b": cut(1)})
    finished = await task.run(*order)
    assert sorted(finished[:-1]) == ["a", "b", "root", "wa_001", "wa_002", "wb_001"]
    assert finished[-1] == "report"
    assert await task.state() == "complete"


BRANCH_OF_A_BATCH = template("""
    root
    pick d < root
    plan b < root
    shard w < plan
    branch < pick shard
""")


@pytest.mark.parametrize("order", [("root", "pick", "plan"), ("root", "plan", "pick"), ("root", "plan", "shard_001")])
async def test_a_chosen_step_that_also_lists_a_batch_worker_waits_for_the_workers(connection, order):
    task = await RealTask.start(connection, BRANCH_OF_A_BATCH, {"pick": Decision(("branch",)), "plan": cut(2)})
    finished = await task.run(*order)
    assert sorted(finished[:-1]) == ["pick", "plan", "root", "shard_001", "shard_002"]
    assert finished[-1] == "branch"
    assert await task.state() == "complete"


BRANCH_OF_TWO = template("""
    root
    d1 d < root
    d2 d < root
    a < d2
    s < d1 a
""")


@pytest.mark.parametrize("order", [("root", "d1", "d2"), ("root", "d2", "d1"), ("root", "d2", "a")])
async def test_a_chosen_step_waits_for_the_branch_of_another_decision(connection, order):
    task = await RealTask.start(connection, BRANCH_OF_TWO, {"d1": Decision(("s",)), "d2": Decision(("a",))})
    finished = await task.run(*order)
    assert sorted(finished[:-1]) == ["a", "d1", "d2", "root"]
    assert finished[-1] == "s"


JOIN_OF_WHAT_IS_THERE = template("""
    root
    audit < root
    pick d < root
    lead < pick
    wrap_up j < audit lead
    tell < wrap_up
""")


@pytest.mark.parametrize("order", [("root", "audit", "pick"), ("root", "pick", "audit")])
@pytest.mark.parametrize(("chosen", "made"), [((), []), (("lead",), ["lead"])])
async def test_a_join_of_something_that_is_there_anyway_runs_whatever_is_decided(connection, order, chosen, made):
    task = await RealTask.start(connection, JOIN_OF_WHAT_IS_THERE, {"pick": Decision(chosen)})
    finished = await task.run(*order)
    assert finished[3:] == [*made, "wrap_up", "tell"]
    assert await task.state() == "complete"


WORKER_OF_TWO = template("""
    a b
    b b
    work w < a b
    report < work
""")


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
async def test_a_worker_that_two_analyzers_ask_for_runs_for_each_batch_of_both(connection, order):
    task = await RealTask.start(connection, WORKER_OF_TWO, {"a": cut(2), "b": cut(1)})
    finished = await task.run(*order)
    assert sorted(finished[2:-1]) == ["work_a_001", "work_a_002", "work_b_001"]
    assert finished[-1] == "report"
    assert await task.reads("report") == ["a", "b", "work_a_001", "work_a_002", "work_b_001"]


BRANCHES_OF_TWO = template("""
    root
    d1 d < root
    d2 d < root
    a < d1
    b < d2
    both < a b
    any j < a b
""")


@pytest.mark.parametrize("order", [("root", "d1", "d2"), ("root", "d2", "d1"), ("root", "d1", "a", "d2")])
@pytest.mark.parametrize("again", ["d1", "d2"])
async def test_what_two_decisions_made_waits_for_both_again_when_one_is_run_again(connection, order, again):
    task = await RealTask.start(connection, BRANCHES_OF_TWO, {"d1": Decision(("a",)), "d2": Decision(("b",))})
    assert set((await task.run(*order))[-2:]) == {"both", "any"}
    task.finished.clear()
    await task.rerun(again)
    finished = await task.run()
    assert finished == [again, {"d1": "a", "d2": "b"}[again], "any", "both"]
    assert await task.state() == "complete"


async def test_what_needs_both_decisions_goes_with_the_one_that_decides_otherwise(connection):
    task = await RealTask.start(connection, BRANCHES_OF_TWO, {"d1": Decision(("a",)), "d2": Decision(("b",))})
    await task.run("root", "d1", "d2")
    await task.rerun("d1")
    task.results = {**task.results, "d1": Decision()}
    await task.run()
    assert set(await task.template_steps()) == {"root", "d1", "d2", "b", "any"}
    assert await task.state() == "complete"
    await task.rerun("d1")
    task.results = {**task.results, "d1": Decision(("a",))}
    await task.run()
    assert set(await task.template_steps()) == {"root", "d1", "d2", "a", "b", "both", "any"}
    assert await task.state() == "complete"


CHOSEN_TWICE = template("""
    root
    d1 d < root
    d2 d < root
    x < d1 d2
    y < d1
    last < x
""")


@pytest.mark.parametrize("order", [("d1", "d2"), ("d2", "d1")])
@pytest.mark.parametrize(("first", "second"), [("d1", "d2"), ("d2", "d1")])
async def test_what_two_decisions_chose_stays_until_neither_wants_it(connection, order, first, second):
    both = {"d1": Decision(("x",)), "d2": Decision(("x",))}
    task = await RealTask.start(connection, CHOSEN_TWICE, both)
    await task.run("root", *order)
    await task.rerun(first)
    task.finished.clear()
    task.results = {**both, first: Decision()}
    assert await task.run() == [first, "x", "last"]
    await task.rerun(second)
    task.finished.clear()
    task.results = {first: Decision(), second: Decision()}
    assert await task.run() == [second]
    assert set(await task.template_steps()) == {"root", "d1", "d2"}
    assert await task.state() == "complete"


async def test_a_step_that_is_made_again_is_the_same_and_another_one_is_not(connection):
    task = await RealTask.start(connection, CHOSEN_TWICE, {"d1": Decision(("x",)), "d2": Decision()})
    await task.run()
    uuids = "select name, step_uuid from tasker.steps where task_uuid = $1"
    seen = []
    for choice in ("x", "y", "x"):
        await task.rerun("d1")
        task.results = {"d1": Decision((choice,)), "d2": Decision()}
        await task.run()
        seen.append({row["name"]: row["step_uuid"] for row in await connection.fetch(uuids, task.task_uuid)})
    assert seen[0] == seen[2]
    assert seen[0].keys() == {"root", "d1", "d2", "x", "last"}
    assert seen[1].keys() == {"root", "d1", "d2", "y"}
    assert seen[1]["y"] not in seen[0].values()


WIDE = template("""
    plan b
    work w < plan
    report < work
    last < report
""")


@pytest.mark.parametrize(("count", "read"), [(62, 63), (64, 64)])
async def test_a_step_reads_all_that_is_above_it_up_to_64_values_else_those_of_its_parents(connection, count, read):
    task = await RealTask.start(connection, WIDE, {"plan": cut(count)})
    await task.run()
    assert len(await task.reads("report")) == read
    assert await task.reads("last") == (["report"] if count > 62 else sorted(["plan", "report", *_workers(count)]))


def _workers(count: int) -> list[str]:
    return [f"work_{number:03}" for number in range(1, count + 1)]
