"""Kinds of cases that run tasks on the kernel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tasker_host.db.operate import steps_operate, tasks_operate
from tasker_host.db.sqlfiles import query
from tasker_host.domain.deadletter import DeadLetterReason, Resolution
from tasker_host.domain.graph import steps_by_level
from tasker_host.domain.json import dumps, loads
from tasker_host.domain.moves import (
    is_legal_step_path,
    is_legal_task_path,
)
from tasker_host.domain.readiness import StepFacts, progress
from tasker_host.domain.states import STEP_SATISFIED, StepState, TaskState
from tests.conformance.compare import compare
from tests.conformance.engine import START, Runner, template_of

Case = Mapping[str, Any]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def run(case: Case, data: Mapping[str, Any], connection: asyncpg.Connection) -> None:
    """A task run to its end. Differences are those of README.md: a refused decision or batch fails its step."""
    config = case.get("config") or {}
    runner = Runner(
        connection,
        template_of(data),
        case.get("script") or {},
        cap_seconds=config.get("cap", config.get("max_backoff_seconds", 60)),
        # "backoff base 1" of the suite waits 2 s first: our base is the first wait itself.
        base_seconds=2 * config.get("base", 1),
    )
    task = await runner.create(case.get("context") or {})
    if "at_creation" in case:
        assert (await _read(connection, task, runner))["total_steps"] == case["at_creation"]["total_steps"]
    await runner.until_idle()
    found = await _read(connection, task, runner)
    found["retry_waits_seconds"] = runner.waits
    found["elapsed_virtual_seconds"] = (runner.now - START).total_seconds()
    expected = dict(case["expect"])
    expected.pop("notes", None)
    loose = case.get("loose") or {}
    if refused := _refused(case["expect"].get("notes", [])):
        _assert_refused(found, refused)
    elif case["id"].endswith("-empty-bare") or _is_empty_and_bare(case, data):
        _assert_placeholder(found)
    else:
        compare(found, expected)
        for name, step in loose.items():
            if isinstance(step, Mapping):
                compare(found["steps"][name], step, where=name)
        if "task_states" in loose:
            assert found["task_state"] in loose["task_states"]
    assert all(ended for _, _, ended in runner.ran), f"a step began before its parents had ended: {runner.ran}"
    twice = {key: n for key, n in Counter((name, attempt) for name, attempt, _ in runner.ran).items() if n > 1}
    assert twice == {}
    await _assert_invariants(connection, task)


def _refused(notes: Sequence[Sequence[str]]) -> list[str]:
    """Steps that asked for what the template does not allow: there it is logged, here they fail for good."""
    return [
        step
        for step, note in notes
        if note in ("invalid_descendant", "not_batch_worker", "invalid_worker", "too_many_steps")
    ]


def _assert_refused(found: Mapping[str, Any], steps: Sequence[str]) -> None:
    for name in steps:
        step = found["steps"][name]
        assert (step["state"], step["attempts"]) == ("error", 1)
        assert step["error"]["retryable"] is False
        assert step["error"]["error_code"] == "EXPANSION_REFUSED"
    assert found["task_state"] == "blocked_by_failures"


def _is_empty_and_bare(case: Case, data: Mapping[str, Any]) -> bool:
    """No batches, and the analyzer names no worker: there nothing is made, here the only batch_worker below it."""
    asked = {
        name for name, actions in (case.get("script") or {}).items() if actions and actions[0]["do"] == "no_batches"
    }
    return (
        any(
            step["name"] in asked and "worker_template_name" not in (step["handler"].get("initialization") or {})
            for step in data["steps"]
        )
        and case["expect"].get("total_steps") == 1
    )


def _assert_placeholder(found: Mapping[str, Any]) -> None:
    assert found["task_state"] == "complete"
    assert [name for name in found["steps"] if name.endswith("_000")] != []
    assert {step["state"] for step in found["steps"].values()} == {"complete"}


async def lifecycle(case: Case, data: Mapping[str, Any], connection: asyncpg.Connection) -> None:
    """Steps driven one by one. "fail" leaves a step in error there also while attempts remain; here it then waits."""
    runner = Runner(connection, template_of(data))
    task = await runner.create(case.get("context") or {})
    for operation in case["ops"]:
        await _operate(operation, runner, task)
    await _assert_invariants(connection, task)


async def _operate(operation: Case, runner: Runner, task: UUID) -> None:
    name = operation.get("step")
    match operation["op"]:
        case "complete":
            await _drive(runner, name, {"do": "ok", "result": operation.get("result", {})})
        case "fail":
            for _ in range(operation.get("times", 1)):
                await _drive(runner, name, {"do": "fail", "retryable": operation.get("retryable", True)})
        case "retry_later":
            await _drive(runner, name, {"do": "fail", "retry_after": operation.get("seconds", 60)})
        case "claim":
            await runner.claim(name)
        case "enqueue":
            runner.enqueued.add(name)  # which it is since the commit that made it ready: it is only called so now
            assert (await _step(runner, task, name))["state"] == "enqueued"
        case "cancel":
            (done,) = await tasks_operate(_Direct(runner.connection), "cancel", [task], actor="case", reason="case")
            assert done.refused is None
        case "resolve_manually" | "complete_manually" | "reset_for_retry" as action:
            value = dumps(operation.get("result", {})) if action == "complete_manually" else None
            uuid = (await _step(runner, task, name))["uuid"]
            (done,) = await steps_operate(
                _Direct(runner.connection), action, [uuid], actor="case", reason="case", value=value
            )
            assert done.refused is None, done
        case "expect_context":
            found = await _read(runner.connection, task, runner)
            compare(found, {k: v for k, v in operation.items() if k != "op"})
        case "expect_ready_count":
            found = await _read(runner.connection, task, runner)
            assert found["ready_steps"] == operation["n"]
        case "expect_step_count":
            assert (await _read(runner.connection, task, runner))["total_steps"] == operation["n"]
        case "expect_state_count":
            found = await _read(runner.connection, task, runner)
            states = [step["state"] for step in found["steps"].values()]
            assert states.count(operation["state"]) == operation["n"]
        case "expect_every_step":
            found = await _read(runner.connection, task, runner)
            for step in found["steps"].values():
                compare(step, {k: v for k, v in operation.items() if k != "op"})
        case "expect_step":
            expected = {k: v for k, v in operation.items() if k not in ("op", "step")}
            found = dict(await _step(runner, task, name))
            may_retry = expected.get("retry_eligible", True)
            if expected.get("state") == "error" and may_retry and found["state"] == "waiting_for_retry":
                found["state"] = "error"
            compare(found, expected, where=name)
        case other:
            pytest.fail(f"no operation {other!r} is known; see tests/conformance/README.md")


async def _drive(runner: Runner, name: str, action: Mapping[str, Any]) -> None:
    held = await runner.claim(name)
    runner.script = {name: [action]}
    await runner.finish(await runner.execute(held))


async def _step(runner: Runner, task: UUID, name: str) -> Mapping[str, Any]:
    return (await _read(runner.connection, task, runner))["steps"][name]


async def manual(case: Case, data: Mapping[str, Any], connection: asyncpg.Connection) -> None:
    for row in case["rows"]:
        runner = Runner(connection, template_of(data))
        task = await runner.create({"row": row["action"]})
        first, child = runner.template.steps[0].name, runner.template.steps[1].name
        await _drive(runner, first, {"do": "fail", "retryable": False})
        assert (await _read(connection, task, runner))["task_state"] == "blocked_by_failures"
        await _operate({"op": row["action"], "step": first, "result": row.get("result")}, runner, task)
        found = await _read(connection, task, runner)
        # What is ready is queued in the same commit.
        assert found["steps"][first]["state"] in (
            row["step_state"],
            "enqueued" if row["step_state"] == "pending" else "",
        )
        assert (found["steps"][first]["state"] in STEP_SATISFIED) is row["processed"]
        assert found["steps"][child]["ready_for_execution"] is row["child_ready"]
        assert found["task_state"] == "steps_in_process"
        if "attempts" in row:
            assert found["steps"][first]["attempts"] == row["attempts"]
        if row["child_ready"]:
            held = await runner.claim(child)
            values = loads(held.values or "{}")
            assert values.get(first) == (row["result"] if row["result_visible_to_children"] else None)


class _Direct:
    """The kernel's operator calls on the case's own connection, where its clock is."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        return await self._connection.fetch(sql, *arguments)


async def _read(connection: asyncpg.Connection, task: UUID, runner: Runner) -> dict[str, Any]:
    row = await connection.fetchrow("select * from tasker.tasks where task_uuid = $1", task)
    rows = await connection.fetch(
        "select s.*, array(select p.name from tasker.steps p where p.step_uuid = any (s.parents)) as above,"
        " (select count(*) from tasker.steps p where p.step_uuid = any (s.parents)"
        "  and tasker.is_satisfied(p.state, p.if_failed)) as satisfied"
        " from tasker.steps s where s.task_uuid = $1 order by s.position",
        task,
    )
    steps: dict[str, Any] = {}
    facts = []
    for step in rows:
        definition = runner.template.step(step["template_step"])
        # What is ready is queued in the commit that makes it so: queued is what others call pending and ready.
        said_so = step["name"] in runner.enqueued
        state = StepState.PENDING if step["state"] == "enqueued" and not said_so else StepState(step["state"])
        fact = StepFacts(
            state,
            total_parents=len(step["above"]),
            completed_parents=step["satisfied"],
            attempts=step["attempts"],
            max_attempts=definition.retry.max_attempts,
            retryable=definition.retry.retryable,
            next_retry_at=step["retry_at"],
            forgiven=step["if_failed"] == "forgive",
        )
        facts.append(fact)
        steps[step["name"]] = {
            "uuid": step["step_uuid"],
            "state": step["state"],
            "attempts": step["attempts"],
            "max_attempts": definition.retry.max_attempts,
            "result": loads(step["result"]) if step["result"] is not None else None,
            "error": loads(step["error"]) if step["error"] is not None else None,
            "total_parents": fact.total_parents,
            "completed_parents": fact.completed_parents,
            "dependencies_satisfied": fact.dependencies_satisfied,
            "retry_eligible": fact.retry_eligible,
            "ready_for_execution": fact.is_ready(runner.now),
            "has_next_retry_at": step["retry_at"] is not None,
            "processed": step["state"] in ("complete", "cancelled", "resolved_manually"),
            "in_process": step["state"] == "in_progress",
            "checkpoint_cursors": runner.checkpoints.get(step["name"], []),
        }
        if step["state"] == "enqueued":
            steps[step["name"]]["state"] = "enqueued" if runner.ran or said_so else "pending"
    whole = progress(facts, runner.now)
    above = {step["name"]: step["above"] for step in rows}
    return {
        "task_state": row["state"],
        "execution_status": whole.status.value,
        "recommended_action": whole.recommended_action,
        "health_status": whole.health_status,
        "completion_percentage": whole.completion_percentage,
        "total_steps": row["steps_total"],
        "completed_steps": row["steps_done"],
        "failed_steps": row["steps_failed"],
        "ready_steps": whole.ready_steps,
        "steps": steps,
        "edges": sorted([parent, child] for child, names in above.items() for parent in names),
        "levels": {name: level for level, names in enumerate(steps_by_level(above)) for name in names},
    }


async def _assert_invariants(connection: asyncpg.Connection, task: UUID) -> None:
    """Every committed move is a path of the tables, and the counters are those of a recount."""
    for move in await connection.fetch("select * from tasker.task_history where task_uuid = $1", task):
        if move["from_state"] is not None:
            assert is_legal_task_path(TaskState(move["from_state"]), TaskState(move["to_state"])), dict(move)
    for move in await connection.fetch("select * from tasker.step_history where task_uuid = $1", task):
        assert is_legal_step_path(StepState(move["from_state"]), StepState(move["to_state"])), dict(move)
    row = await connection.fetchrow("select * from tasker.tasks where task_uuid = $1", task)
    states = Counter(
        record["state"]
        for record in await connection.fetch("select state from tasker.steps where task_uuid = $1", task)
    )
    assert row["steps_total"] == states.total()
    assert row["steps_done"] == states["complete"] + states["resolved_manually"]
    assert row["steps_failed"] + row["steps_forgiven"] == states["error"]
    assert row["steps_retrying"] == states["waiting_for_retry"]
    assert row["steps_active"] == states["enqueued"] + states["in_progress"]


async def staleness(case: Case, data: Mapping[str, Any], connection: asyncpg.Connection) -> None:
    for state, minutes in case["thresholds"].items():
        name = "blocked_by_failures" if state == "other" else state
        assert await connection.fetchval("select tasker.staleness_minutes($1, '{}', '{}')", name) == minutes, state
    for row in case["rows"]:
        minutes = await connection.fetchval(
            "select tasker.staleness_minutes($1, $2, '{}')", row["state"], dumps(row.get("template") or {})
        )
        assert (row["minutes"] >= minutes) is row["stale"], row
    for row in case.get("health", ()):
        limits = {"max_waiting_for_dependencies_minutes": row["threshold"]}
        runner, task = await _stuck(connection, {**data, "lifecycle": limits}, row)
        await runner.clock(runner.now + timedelta(minutes=row["minutes"]))
        await _walk(connection)
        (found,) = [r for r in await connection.fetch(query("tasks_staleness"), "{}", 100) if r["task_uuid"] == task]
        assert found["health_status"] == row["health"], row
        await connection.execute("delete from tasker.watches where task_uuid = $1", task)
    runner, task = await _stuck(connection, data, {})
    await runner.clock(runner.now + timedelta(minutes=case["thresholds"].get("waiting_for_dependencies", 60)))
    if "dry_run" in case:
        (found,) = await _sweep(connection, dry_run=True)
        assert found["action_taken"] == case["dry_run"]["action"]
        assert await connection.fetchval("select count(*) from tasker.dead_letters") == case["dry_run"]["rows_written"]
        state = await connection.fetchval("select state from tasker.tasks where task_uuid = $1", task)
        assert (state == "waiting_for_dependencies") is case["dry_run"]["state_unchanged"]
    if "real" in case:
        (found,) = await _sweep(connection, dry_run=False)
        assert found["action_taken"] == case["real"]["action"]
        state = await connection.fetchval("select state from tasker.tasks where task_uuid = $1", task)
        assert state == case["real"]["task_state"]
        assert len(await _sweep(connection, dry_run=False)) == case["real"]["second_sweep"]


async def dlq(case: Case, data: Mapping[str, Any], connection: asyncpg.Connection) -> None:
    for reason, weight in case["weights"].items():
        assert DeadLetterReason(reason) == reason
        assert await connection.fetchval("select tasker.dead_letter_score($1, 7)", reason) == weight + 7, reason
    assert [resolution.value for resolution in Resolution] == case["resolutions"]
    runner = Runner(connection, template_of(data))
    task = await runner.create({})
    for expected in (1, 0):  # one pending entry of a task; the second is refused
        filed = await connection.fetch(
            "select * from tasker.dead_letters_file(array[$1::uuid], $2, null)", task, ["manual_dlq"]
        )
        assert len(filed) == expected


async def _stuck(
    connection: asyncpg.Connection, data: Mapping[str, Any], context: Mapping[str, Any]
) -> tuple[Runner, UUID]:
    """A task whose counts were damaged: its second step waits for a parent that is complete."""
    runner = Runner(connection, template_of(data), now=datetime.now(UTC) + timedelta(days=1))
    task = await runner.create(context)
    first, second = (step.name for step in runner.template.steps[:2])
    await connection.execute("update tasker.steps set waits_on = 9 where task_uuid = $1 and name = $2", task, second)
    await _drive(runner, first, {"do": "ok"})
    assert (await _read(connection, task, runner))["task_state"] == "waiting_for_dependencies"
    return runner, task


async def _walk(connection: asyncpg.Connection) -> None:
    await connection.fetchval("select tasker.tasks_walk('near', '0', 1000)")


async def _sweep(connection: asyncpg.Connection, *, dry_run: bool) -> list[asyncpg.Record]:
    await _walk(connection)
    return await connection.fetch("select * from tasker.tasks_sweep($1, 100, '{}', true)", dry_run)


RUNS = {"run": run, "lifecycle": lifecycle, "manual": manual, "staleness": staleness, "dlq": dlq}
