"""Whatever happens, the counters say what the steps say, and every task comes to its end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasker_host.db.kernel import Claimed
from tasker_host.domain.moves import is_legal_step_path, is_legal_task_path
from tasker_host.domain.states import TASK_SETTLED, StepState, TaskState
from tests.db.conftest import LEASE, Kernel, done, failed, released

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WORKERS = ("a", "b", "c")


@st.composite
def dags(draw: Any) -> dict[str, list[str]]:
    """Up to seven steps, each with some of the earlier ones as parents."""
    names = [f"s{index}" for index in range(draw(st.integers(1, 7)))]
    return {
        name: draw(st.lists(st.sampled_from(names[:index]), unique=True)) if index else []
        for index, name in enumerate(names)
    }


BY_WORKERS = ["succeed", "succeed", "fail", "retry", "release", "vanish"]
BY_OPERATORS = [
    "cancel", "interrupt", "pause", "resume", "rerun", "rerun_from", "resolve_task", "reset", "resolve", "complete",
    "limit_0", "limit_1", "limit_3", "limit_3", "no_limit",
]  # fmt: skip
happenings = st.lists(
    st.tuples(st.sampled_from(WORKERS), st.sampled_from(BY_WORKERS * 3 + BY_OPERATORS), st.integers(0, 20)),
    max_size=60,
)


@given(
    dag=dags(),
    happens=happenings,
    tasks=st.integers(1, 3),
    on_failure=st.sampled_from(["block", "fail"]),
    optional=st.sets(st.integers(0, 6)),
)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_counters_messages_and_history_hold_whatever_happens(  # noqa: PLR0917 - what is drawn
    dsn, dag, happens, tasks, on_failure, optional
):
    rules = {name: {"if_failed": "forgive"} for index, name in enumerate(dag) if index in optional}
    asyncio.run(_check(dsn, dag, happens, tasks, on_failure, rules))


async def _check(  # noqa: PLR0917 - what is drawn
    dsn: str,
    dag: dict[str, list[str]],
    happens: list[tuple[str, str, int]],
    tasks: int,
    on_failure: str,
    rules: dict[str, Any],
) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            "truncate tasker.tasks, tasker.steps, tasker.task_history, tasker.step_history, tasker.limits,"
            " tasker.parked"
        )
        if await connection.fetchval("select to_regclass('pgmq.q_tests_queue') is not null"):
            await connection.execute("delete from pgmq.q_tests_queue")
        await connection.execute(
            "delete from tasker.template_rules; delete from tasker.template_steps; delete from tasker.templates"
        )
        kernel = Kernel(connection)
        await kernel.clock(NOW)
        template = await kernel.template(dag, max_attempts=2, on_failure=on_failure, steps=rules)
        made, _ = await kernel.submit(template, tasks)
        clock = NOW
        held: dict[str, list[Claimed]] = {worker: [] for worker in WORKERS}
        for worker, what, which in happens:
            clock += timedelta(microseconds=1)  # no two calls come at the same instant
            await kernel.clock(clock)
            if what in BY_OPERATORS:
                await _operate(kernel, what, made[which % len(made)], f"s{which % len(dag)}")
                await hold(kernel)
                continue
            if not held[worker]:
                held[worker] = (await kernel.claim(worker, 2)).steps
            if held[worker]:
                step = held[worker].pop()
                if what == "vanish":
                    clock += LEASE
                    await kernel.clock(clock)
                else:
                    outcome = {
                        "succeed": done(step),
                        "fail": failed(step),
                        "retry": failed(step, retry_after=timedelta(seconds=1)),
                        "release": released(step),
                    }[what]
                    held[worker] += (await kernel.finish(outcome, worker=worker, want=1)).steps
            await hold(kernel)
        clock += timedelta(microseconds=1)
        await kernel.clock(clock)
        await kernel.limit("namespace:tests")
        for task in made:
            await kernel.operate("resume", task)
        await _to_the_end(kernel, clock)
        for task in made:
            assert TaskState(await kernel.state(task)) in TASK_SETTLED
        assert await kernel.messages() == 0
        await hold(kernel)
    finally:
        await connection.close()


async def _operate(kernel: Kernel, what: str, task: UUID, step: str) -> None:
    match what:
        case "interrupt":
            await kernel.operate("cancel", task, running="interrupt")
        case "rerun_from":
            await kernel.operate("rerun", task, **{"from": [step]})
        case "resolve_task":
            await kernel.operate("resolve_manually", task)
        case "reset":
            await kernel.repair("reset_for_retry", await kernel.step(task, step))
        case "resolve" | "complete":
            await kernel.repair(f"{what}_manually", await kernel.step(task, step), value=1)
        case "limit_0" | "limit_1" | "limit_3":
            await kernel.limit("namespace:tests", int(what[-1]))
        case "no_limit":
            await kernel.limit("namespace:tests")
        case action:
            await kernel.operate(action, task)


async def _to_the_end(kernel: Kernel, clock: datetime) -> None:
    """Everybody else is gone; one worker finishes what comes due."""
    while await kernel.messages():
        clock += LEASE
        await kernel.clock(clock)
        steps = (await kernel.claim("last")).steps
        while steps:
            clock += timedelta(microseconds=1)
            await kernel.clock(clock)
            steps = (await kernel.finish(*map(done, steps), worker="last", want=100)).steps
            await hold(kernel)


async def hold(kernel: Kernel) -> None:
    connection = kernel.connection
    wrong = await connection.fetch(
        """
        select t.task_uuid, t.state, t.steps_total, t.steps_done, t.steps_forgiven, t.steps_active, t.steps_retrying,
               t.steps_failed, s.*
        from tasker.tasks t join (
            select task_uuid, count(*) as total,
                   count(*) filter (where state in ('complete', 'resolved_manually')) as done,
                   count(*) filter (where state = 'error' and if_failed = 'forgive') as forgiven,
                   count(*) filter (where state in ('enqueued', 'in_progress', 'enqueued_for_orchestration',
                                                    'enqueued_as_error_for_orchestration')) as active,
                   count(*) filter (where state = 'waiting_for_retry') as retrying,
                   count(*) filter (where state = 'error' and if_failed is distinct from 'forgive') as failed
            from tasker.steps group by task_uuid) s using (task_uuid)
        where (t.steps_total, t.steps_done, t.steps_forgiven, t.steps_active, t.steps_retrying, t.steps_failed)
              <> (s.total, s.done, s.forgiven, s.active, s.retrying, s.failed)
           or t.state <> tasker.task_state(t.state, t.on_failure, t.steps_total, t.steps_done + t.steps_forgiven,
                                           t.steps_active, t.steps_retrying, t.steps_failed)
        """
    )
    assert wrong == []
    wrong = await connection.fetch(
        """
        select s.name, s.state, s.waits_on, t.state as task from tasker.steps s join tasker.tasks t using (task_uuid)
        where s.state = 'pending' and s.waits_on <> (
                  select count(*) from tasker.steps p
                  where p.step_uuid = any (s.parents) and not tasker.is_satisfied(p.state, p.if_failed))
           or s.state = 'pending' and s.waits_on = 0 and t.state <> 'paused'
           or s.state in ('enqueued', 'waiting_for_retry')
              and t.state in ('complete', 'error', 'cancelled', 'resolved_manually')
        """
    )
    assert wrong == []
    limits = await connection.fetch(
        "select l.key, l.running, (select count(*) from tasker.steps where state = 'in_progress') as really"
        " from tasker.limits l where l.running <> (select count(*) from tasker.steps where state = 'in_progress')"
    )
    assert limits == []
    lost = await connection.fetch(
        "select p.key from tasker.parked p left join tasker.steps s on s.step_uuid = p.step_uuid"
        " where s.state is distinct from 'enqueued'"
        # Room is free only while somebody else who came back for it is about to be taken.
        " or p.key not in (select key from tasker.limits where paused or max_running <= running + ("
        "     select count(*) from tasker.steps o join tasker.tasks t using (task_uuid) where o.state = 'enqueued'"
        "     and t.state <> 'paused' and o.step_uuid not in (select step_uuid from tasker.parked)))"
    )
    assert lost == []
    # Exactly the steps that are queued, leased or waiting have a message, each one.
    queued = await connection.fetch(
        "select step_uuid::text, msg_id from tasker.steps"
        " where state in ('enqueued', 'in_progress', 'waiting_for_retry')"
    )
    messages = await connection.fetch("select message ->> 'step_uuid', msg_id from pgmq.q_tests_queue")
    assert sorted(map(tuple, queued)) == sorted(map(tuple, messages))
    steps = await connection.fetch("select step_uuid, parents = '{}' as is_root, state, worker from tasker.steps")
    moves = await connection.fetch("select step_uuid, from_state, to_state from tasker.step_history")
    for move in moves:
        assert is_legal_step_path(StepState(move["from_state"]), StepState(move["to_state"])), move
    first = {step["step_uuid"]: "enqueued" if step["is_root"] else "pending" for step in steps}
    assert _reached(first, moves) == {step["step_uuid"]: step["state"] for step in steps}
    assert {step["state"] for step in steps if step["worker"] is not None} <= {"in_progress", "waiting_for_retry"}
    tasks = await connection.fetch("select task_uuid, state, completed_at is not null as is_complete from tasker.tasks")
    moves = await connection.fetch("select task_uuid, from_state, to_state from tasker.task_history")
    for move in moves:
        before, after = move["from_state"], move["to_state"]
        assert before is None or is_legal_task_path(TaskState(before), TaskState(after)), move
    assert _reached(dict.fromkeys([task["task_uuid"] for task in tasks]), moves) == {
        task["task_uuid"]: task["state"] for task in tasks
    }
    over = ("complete", "error", "cancelled", "resolved_manually")
    assert [task["state"] in over for task in tasks] == [task["is_complete"] for task in tasks]


def _reached(first: Mapping[UUID, str | None], moves: list[Any]) -> dict[UUID, str | None]:
    """Where the moves lead from the first states: each state is left as often as it is entered, but for the last one.

    Their order is not looked at: a call that waited for another one tells the time at which it came.
    """
    entered = {each: Counter([state]) for each, state in first.items()}
    for each, before, after in moves:
        entered[each][before] -= 1
        entered[each][after] += 1
    assert {tuple(sorted(set(counts.values()))) for counts in entered.values()} <= {(1,), (0, 1)}
    return {each: next(iter(+counts)) for each, counts in entered.items()}
