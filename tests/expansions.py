"""Tasks that get steps while they run, without a host: on the kernel's calls, and in memory as they must come out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Self
from uuid import UUID

from asyncpg import Connection
from hypothesis import strategies as st

from tasker_host.db.kernel import NewTask, Outcome, steps_claim, steps_finish, tasks_submit
from tasker_host.domain.batches import Batches, Cursor
from tasker_host.domain.expansion import Expansion, expand_batches, expand_decision
from tasker_host.domain.graph import initial_steps
from tasker_host.domain.ids import WorkerId, uuid7
from tasker_host.domain.result import Decision
from tasker_host.domain.states import StepType
from tasker_host.domain.template import TaskTemplate
from tasker_host.orchestration.catalog import shape

KINDS = {
    "d": StepType.DECISION,
    "j": StepType.DEFERRED_CONVERGENCE,
    "b": StepType.BATCHABLE,
    "w": StepType.BATCH_WORKER,
    "": StepType.STANDARD,
}
WORKER = WorkerId("w")
LEASE = timedelta(hours=1)

Results = Mapping[str, Decision | Batches]


def template(text: str) -> TaskTemplate:
    """A line a step: `name kind < dependencies`."""
    steps = []
    for line in text.strip().splitlines():
        left, _, right = line.partition("<")
        name, _, kind = left.strip().partition(" ")
        steps.append(
            {
                "name": name,
                "type": KINDS[kind.strip()],
                "handler": {"callable": name},
                "dependencies": right.split(),
            }
        )
    return TaskTemplate.model_validate({"name": "t", "namespace_name": "tests", "version": "1.0.0", "steps": steps})


def cut(count: int) -> Batches:
    """So many batches of one item; none of them is one worker with nothing to do."""
    return Batches(tuple(Cursor(f"{number:03}", number - 1, number, 1) for number in range(1, count + 1)), count)


def expansion_of(template: TaskTemplate, step: str, results: Results) -> Expansion | None:
    """What the result of that step adds; None where the step is of a type that adds nothing."""
    result = results.get(step)
    match template.step(step).type:
        case StepType.DECISION:
            decision = result if isinstance(result, Decision) else Decision()
            return expand_decision(template, step, decision, max_steps=100, max_depth=50)
        case StepType.BATCHABLE:
            return expand_batches(template, step, result if isinstance(result, Batches) else Batches())
        case _:
            return None


@dataclass
class RealTask:
    """A task in PostgreSQL of which one worker holds every step that is ready, and ends them one at a time."""

    connection: Connection
    template: TaskTemplate
    results: Results
    task_uuid: UUID
    held: dict[str, Any] = field(default_factory=dict)
    finished: list[str] = field(default_factory=list)

    @classmethod
    async def start(cls, connection: Connection, template: TaskTemplate, results: Results) -> Self:
        template_id = await connection.fetchval(
            "select tasker.template_register($1, $2, $3, $4, $5, $6)",
            template.namespace_name,
            template.name,
            template.version,
            template.sha256(),
            template.canonical(),
            json.dumps(shape(template)),
        )
        uuid = uuid7()
        new = NewTask(uuid, template_id, "{}", 0, None, None, uuid, None, "me", "tests", "why", None)
        await tasks_submit(connection, [new], aging_interval=timedelta(seconds=300))
        task = cls(connection, template, results, uuid)
        await task.claim()
        return task

    async def claim(self) -> None:
        taken = await steps_claim(self.connection, WORKER, ["tests"], want=100, lease=LEASE, tags=None)
        self.hold(taken.steps)

    async def rerun(self, *names: str) -> set[str]:
        """These and all below them once more; the steps of the template that this is about."""
        before = dict(await self._states())
        refused = await self.connection.fetchval(
            "select refused from tasker.tasks_operate('rerun', $1, 'ada', 'why', $2)",
            [self.task_uuid],
            json.dumps({"from": names}),
        )
        assert refused is None
        still = {name for name, state in await self._states() if state == "complete"}
        await self.claim()
        return {name for name in before if name not in still}

    async def _states(self) -> list[tuple[str, str]]:
        rows = await self.connection.fetch(
            "select template_step, state from tasker.steps where task_uuid = $1", self.task_uuid
        )
        return [tuple(row) for row in rows]

    def hold(self, steps: Sequence[Any]) -> None:
        self.held |= {step.name: step for step in steps}

    def ready(self) -> list[str]:
        """In the order of the template."""
        order = [step.name for step in self.template.steps]
        return sorted(self.held, key=lambda name: (order.index(self.held[name].template_step), name))

    async def finish(self, name: str) -> None:
        step = self.held.pop(name)
        expansion = expansion_of(self.template, step.template_step, self.results)
        expand = None if not expansion else json.dumps(expansion.as_json())
        outcome = Outcome(step.task_uuid, step.step_uuid, step.attempt, "succeeded", "1", 1.0, None, None, expand)
        taken = await steps_finish(
            self.connection, WORKER, [outcome], ["tests"], want=100, lease=LEASE, look=True, tags=None
        )
        assert taken.superseded == []
        self.finished.append(name)
        self.hold(taken.steps)

    async def run(self, *first: str) -> list[str]:
        """The order in which steps ended: these first, then of what is ready the one furthest down in the template."""
        for name in first:
            await self.finish(name)
        while self.held:
            await self.finish(self.ready()[-1])
        return self.finished

    async def state(self) -> str:
        return await self.connection.fetchval("select state from tasker.tasks where task_uuid = $1", self.task_uuid)

    async def template_steps(self) -> dict[str, str]:
        """Per step the one of the template that it is made from."""
        rows = await self.connection.fetch(
            "select name, template_step from tasker.steps where task_uuid = $1", self.task_uuid
        )
        return dict(tuple(row) for row in rows)

    async def reads(self, name: str) -> list[str]:
        """The steps whose values the handler of that one is given."""
        rows = await self.connection.fetch(
            "select r.name from tasker.steps s join tasker.steps r on r.step_uuid = any (s.reads)"
            " where s.task_uuid = $1 and s.name = $2 order by r.name",
            self.task_uuid,
            name,
        )
        return [row[0] for row in rows]


@dataclass
class Step:
    template_step: str
    parents: set[str]
    made_by: str | None = None
    is_done: bool = False
    said: Expansion | None = None
    """What it made, of a decider that is done."""


@dataclass
class ModelTask:
    """The same in memory: an expansion applied as `45_expand.sql` must apply it."""

    template: TaskTemplate
    results: Results
    steps: dict[str, Step] = field(default_factory=dict)
    finished: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in initial_steps(self.template):
            self.steps[name] = Step(name, set(self.template.step(name).dependencies))

    def ready(self) -> list[str]:
        return [
            name
            for name, step in self.steps.items()
            if not step.is_done and all(self.steps[parent].is_done for parent in step.parents)
        ]

    def finish(self, name: str) -> None:
        step = self.steps[name]
        assert not step.is_done
        expansion = expansion_of(self.template, step.template_step, self.results)
        if expansion:
            self.apply(expansion, name)
            step.said = expansion
        step.is_done = True
        self.finished.append(name)

    def apply(self, expansion: Expansion, by: str, *, nothing_starts: bool = False) -> None:
        before = set(self.steps)
        there = {step.template_step for step in self.steps.values()}
        wanted = []
        for new in expansion.steps:
            if all(one in there for one in new.if_all) and (not new.if_any or any(one in there for one in new.if_any)):
                there.add(new.name)
                wanted.append(new)
        for new in wanted:
            for name in [one.name for one in new.instances] or [new.name]:
                self.steps.setdefault(name, Step(new.name, set(), by))
        for new in wanted:
            for name in self.named(new.name):
                if name not in before:
                    firsts = (next(filter(None, map(self.named, group)), []) for group in new.parents)
                    self.steps[name].parents = {parent for first in firsts for parent in first} or {by}
        for link in expansion.links:
            found = {one for parent in link.parents for one in self.named(parent) if one not in before}
            for name in self.named(link.name):
                if name in before and found:
                    # Whoever waits for something that is made must not have started without it.
                    assert nothing_starts or name not in self.ready()
                    assert not self.steps[name].is_done
                    self.steps[name].parents |= found

    def rerun(self, name: str, results: Results) -> None:
        """It and all below it once more, and then `results` are what is said."""
        again = self.below([name]) | {name}
        makers = {str(step.made_by) for step in self.steps.values() if step.made_by} & again
        gone = {one for one in self.below(makers) if self.steps[one].made_by}
        self.steps = {one: step for one, step in self.steps.items() if one not in gone}
        for one in again - gone:
            self.steps[one].is_done, self.steps[one].said = False, None
        last = {one: position for position, one in enumerate(self.finished)}
        for one in sorted(last, key=last.__getitem__):
            if one in self.steps and (said := self.steps[one].said):
                self.apply(said, one, nothing_starts=True)
        assert all(parent in self.steps for step in self.steps.values() for parent in step.parents)
        self.results = results

    def below(self, names: Iterable[str]) -> set[str]:
        found: set[str] = set()
        level = set(names)
        while level := {n for n, step in self.steps.items() if step.parents & level or step.made_by in level} - found:
            found |= level
        return found

    def named(self, name: str) -> list[str]:
        """What is made from that step of the template."""
        return [one for one, step in self.steps.items() if step.template_step == name]


@st.composite
def cases(draw: st.DrawFn, *, most_steps: int = 9) -> tuple[TaskTemplate, dict[str, Decision | Batches]]:
    """A template with decisions, batches and joins wherever they may stand, and what its deciders say."""
    steps: list[dict[str, Any]] = []
    names: list[str] = []

    def add(kind: StepType, dependencies: list[str]) -> None:
        name = f"s{len(steps)}_{kind.value[:3] if kind is not StepType.BATCH_WORKER else 'wrk'}"
        steps.append({"name": name, "type": kind, "handler": {"callable": "x"}, "dependencies": dependencies})
        names.append(name)

    add(StepType.STANDARD, [])
    for _ in range(draw(st.integers(2, most_steps))):
        kind = draw(st.sampled_from([kind for kind in StepType if kind is not StepType.BATCH_WORKER]))
        add(kind, draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)))
        if kind is StepType.BATCHABLE:
            add(StepType.BATCH_WORKER, [names[-1], *draw(st.lists(st.sampled_from(names[:-1]), max_size=1))])
    template = TaskTemplate.model_validate(
        {"name": "t", "namespace_name": "tests", "version": "1.0.0", "steps": steps},
    )
    return template, draw(answers(template))


@st.composite
def answers(draw: st.DrawFn, template: TaskTemplate) -> dict[str, Decision | Batches]:
    """What its deciders may say."""
    results: dict[str, Decision | Batches] = {}
    for step in template.steps:
        if step.type is StepType.DECISION:
            choices = template.flow.choices(step.name)
            results[step.name] = Decision(
                tuple(draw(st.lists(st.sampled_from(choices), unique=True)) if choices else ())
            )
        elif step.type is StepType.BATCHABLE:
            workers = [
                one.name
                for one in template.steps
                if one.type is StepType.BATCH_WORKER and step.name in one.dependencies
            ]
            results[step.name] = replace(cut(draw(st.integers(0, 2))), worker_template=draw(st.sampled_from(workers)))
    return results


def told(template: TaskTemplate, results: Results) -> str:
    """A case, to be read where a test fails."""
    lines = []
    for step in template.steps:
        said = results.get(step.name)
        what = (
            said.step_names
            if isinstance(said, Decision)
            else f"{said.worker_template}×{len(said.cursors)}"
            if said
            else ""
        )
        lines.append(f"{step.name} < {' '.join(step.dependencies)}   {what}")
    return "\n".join(lines)


def expected(template: TaskTemplate, results: Results) -> set[str]:
    """The steps of the template that are made in the end, said as a rule without time."""
    type_of = {step.name: step.type for step in template.steps}
    there: set[str] = set()
    while True:
        before = set(there)
        said = [results[name] for name in there if name in results]
        chosen = {name for one in said if isinstance(one, Decision) for name in one.step_names}
        chosen |= {str(one.worker_template) for one in said if isinstance(one, Batches)}
        for step in template.steps:
            made = [dep in there for dep in step.dependencies]
            decided = [type_of[dep] is StepType.DECISION for dep in step.dependencies]
            if step.name in chosen:
                is_made = True
            elif step.type is StepType.BATCH_WORKER:
                is_made = False
            elif step.type is StepType.DEFERRED_CONVERGENCE:
                is_made = step.name in initial_steps(template) or any(
                    is_there for is_there, by_decision in zip(made, decided, strict=True) if not by_decision
                )
            else:
                is_made = all(made) and not any(decided)
            if is_made:
                there.add(step.name)
        if there == before:
            return there


def started_early(template: TaskTemplate, template_steps: Mapping[str, str], finished: Sequence[str]) -> list[str]:
    """Steps that ended before one that they depend on and that was made, then or later."""
    position = {name: index for index, name in enumerate(finished)}
    return [
        f"{name} before {other}"
        for name, of in template_steps.items()
        for other, parent in template_steps.items()
        if parent in template.step(of).dependencies and position[other] > position[name]
    ]
