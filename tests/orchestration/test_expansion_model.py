"""Random templates on the kernel: each step runs after all it needs, none is lost, and the task ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import asyncpg
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tasker_host.domain.template import TaskTemplate
from tests.expansions import RealTask, Results, answers, cases, expected, started_early, told


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_in_which_steps_finish_changes_nothing(dsn, case, random):
    asyncio.run(_check(dsn, case, random, again=False))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases(), st.randoms(use_true_random=False))
def test_the_same_holds_when_any_step_is_run_again(dsn, case, random):
    asyncio.run(_check(dsn, case, random, again=True))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases(), st.data(), st.randoms(use_true_random=False))
def test_a_task_run_again_and_decided_otherwise_has_what_those_who_decide_now_want(dsn, case, data, random):
    asyncio.run(_check(dsn, case, random, again=True, otherwise=lambda template: data.draw(answers(template))))


async def _check(
    dsn: str, case: Any, random: Random, *, again: bool, otherwise: Callable[[TaskTemplate], Results] | None = None
) -> None:
    template, results = case
    note(told(template, results))
    connection = await asyncpg.connect(dsn)
    try:
        task = await RealTask.start(connection, template, results)
        await _to_the_end(task, random)
        if again:
            name = random.choice(task.finished)
            run_again = await task.rerun(name)
            if otherwise is not None:
                said = set((await task.template_steps()).values()) - run_again
                others = otherwise(template)
                task.results = {one: results[one] if one in said else others[one] for one in results}
            note(f"again {name}\n{told(template, task.results)}")
            await _to_the_end(task, random)
        made = await task.template_steps()
        assert set(task.finished) >= set(made)
        assert again or len(task.finished) == len(made)
        assert set(made.values()) == expected(template, task.results)
        finished = [name for name in task.finished if name in made]
        assert started_early(template, made, finished) == []
        assert await task.state() == "complete"
        for name, of in made.items():
            needed = [other for other, parent in made.items() if parent in template.step(of).dependencies]
            assert set(await task.reads(name)) >= set(needed), name
    finally:
        await connection.close()


async def _to_the_end(task: RealTask, random: Random) -> None:
    while task.held:
        await task.finish(random.choice(task.ready()))
    note(f"finished {task.finished}")
