"""What is measured: the shapes of the tasks, how many of them, and in which unit the answer is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol

Kind = Literal["throughput", "latency", "idle"]

RESULT = '{"n":1}'
"""What every step of the baselines returns; the product's handler returns the like."""

KERNEL_COMPLETED = """
select count(*) from tasker.tasks t where t.state = 'complete' and not exists (
    select from tasker.steps s where s.task_uuid = t.task_uuid and (s.state <> 'complete' or s.result is null))
"""
"""How many tasks the kernel has brought to their end, with a result for every step."""


@dataclass(frozen=True)
class Workload:
    """`parents` has one element per step: the positions (from 0) of the steps it waits for, which come before it.

    throughput: `tasks` are submitted at once, the answer is steps per second until all are complete.
    latency: `tasks` are run one after the other, the answer is milliseconds from submission to completion.
    idle: a host without work is looked at for `seconds`.
    """

    name: str
    kind: Kind
    unit: str
    parents: tuple[tuple[int, ...], ...] = ()
    tasks: int = 0
    seconds: float = 0

    @property
    def steps(self) -> int:
        """Of one task."""
        return len(self.parents)

    def children(self) -> list[list[int]]:
        """For each step the positions of those that wait for it."""
        return [[child for child, above in enumerate(self.parents) if step in above] for step in range(self.steps)]

    def sized(self, tasks: int | None, seconds: float | None) -> Workload:
        return replace(self, tasks=tasks or self.tasks, seconds=seconds or self.seconds)


class Runner(Protocol):
    """One variant on a database of its own."""

    async def run(self, tasks: int) -> None:
        """Submits this many tasks and returns when all of them are complete."""

    async def completed(self) -> int:
        """Tasks in the database with every one of their steps done."""


CHAIN1 = ((),)
CHAIN4 = ((), (0,), (1,), (2,))
DIAMOND = ((), (0,), (0,), (1, 2))
FAN100 = ((), *[(0,)] * 100, tuple(range(1, 101)))

WORKLOADS: Mapping[str, Workload] = {
    workload.name: workload
    for workload in (
        Workload("chain4", "throughput", "steps/s", CHAIN4, tasks=1000),
        Workload("single", "throughput", "tasks/s", CHAIN1, tasks=5000),
        Workload("diamond", "throughput", "steps/s", DIAMOND, tasks=1000),
        Workload("fan100", "throughput", "steps/s", FAN100, tasks=50),
        Workload("latency1", "latency", "ms", CHAIN1, tasks=200),
        Workload("latency4", "latency", "ms", CHAIN4, tasks=200),
        Workload("idle", "idle", "queries/s", CHAIN1, seconds=10),
    )
}
