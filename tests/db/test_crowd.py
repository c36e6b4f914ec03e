"""Many workers at once on connections of their own: every step is accepted once, and every task comes to its end."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import timedelta
from uuid import UUID

import pytest

from tasker_host.db.kernel import Claimed, Outcome, steps_claim, steps_finish, steps_renew
from tasker_host.domain.ids import WorkerId
from tests.db.conftest import Kernel, done, failed, released
from tests.db.test_invariants import hold

SOON = timedelta(milliseconds=20)
"""A lease and a backoff short enough to run out while others work."""

SHAPES: list[dict[str, list[str]]] = [
    {"only": []},
    {"a": [], "b": ["a"], "c": ["b"]},
    {"top": [], "left": ["top"], "right": ["top"], "end": ["left", "right"]},
    {f"s{n}": [] for n in range(6)} | {"end": [f"s{n}" for n in range(6)]},
]


class Crew:
    """Workers that do what chance says until nothing is left; counts what was accepted."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.accepted: Counter[UUID] = Counter()

    def outcome(self, step: Claimed) -> Outcome | None:
        what = self.chance.choice(["succeed"] * 12 + ["retry", "retry", "release", "release later", "vanish"])
        match what:
            case "vanish":
                return None
            case "retry" if step.attempt < step.max_attempts:
                return failed(step, retry_after=SOON)
            case "release":
                return released(step)
            case "release later":
                return released(step, after=SOON)
            case _:
                return done(step)

    async def work(self, kernel: Kernel, name: str, namespaces: list[str]) -> None:
        worker, connection = WorkerId(name), kernel.connection
        steps: list[Claimed] = []
        while True:
            want = self.chance.randint(1, 8)
            outcomes = [outcome for outcome in map(self.outcome, steps) if outcome is not None]
            if steps and self.chance.random() < 0.2:
                await steps_renew(connection, worker, steps, lease=SOON)
            if outcomes:
                outcomes += self.chance.sample(outcomes, 1)  # told twice
                self.chance.shuffle(outcomes)
                taken = await steps_finish(connection, worker, outcomes, namespaces, want=want, lease=SOON)
                late = Counter(taken.superseded)
                told = Counter(outcome.step_uuid for outcome in outcomes)
                kinds = {outcome.step_uuid: outcome.kind for outcome in outcomes}
                for step, times in told.items():
                    assert times - late[step] in (0, 1)
                    if kinds[step] == "succeeded":
                        self.accepted[step] += times - late[step]
            else:
                taken = await steps_claim(connection, worker, namespaces, want=want, lease=SOON)
            steps = taken.steps
            if not steps and taken.next_due_seconds is None and await self._settled(connection):
                return

    async def _settled(self, connection) -> bool:
        return await connection.fetchval(
            "select not exists (select from tasker.tasks where state not in ('complete', 'blocked_by_failures'))"
        )


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_crowd_of_workers_brings_every_task_to_its_end(kernel, new_kernel, seed):
    crew = Crew(seed)
    for namespace in ("tests", "others"):
        for shape in SHAPES:
            await kernel.submit(await kernel.template(shape, namespace=namespace, max_attempts=8), 10)
    workers = [await new_kernel() for _ in range(4)]
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for number, worker in enumerate(workers):
            group.create_task(crew.work(worker, f"w{number}", ["tests", "others"][:: -1 if number % 2 else 1]))
    complete = await kernel.connection.fetch("select step_uuid from tasker.steps where state = 'complete'")
    assert {row[0] for row in complete} == {step for step, times in crew.accepted.items() if times}
    assert set(crew.accepted.values()) <= {0, 1}
    assert await kernel.messages("tests") + await kernel.messages("others") == 0
    await hold(kernel)
