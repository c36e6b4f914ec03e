"""Which steps a task gets while it runs: what a decision chooses, the workers of a batch, and what can follow these.

Pure: from the template and the outcome alone. Which of the other steps exist only the database knows, so what hangs on
that is said as a condition, and judged where the steps are made (`db/sql/functions/45_expand.sql`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasker_host.domain.batches import Batches, Cursor
from tasker_host.domain.graph import MOST_READS, ancestors, parents, topological_order
from tasker_host.domain.result import Decision
from tasker_host.domain.states import StepType
from tasker_host.domain.suggest import did_you_mean
from tasker_host.domain.template import StepDefinition, TaskTemplate

NO_BATCHES_ID = "000"
"""Batch of the one worker that has nothing to do."""


class ExpansionError(ValueError):
    """A decision or an analyzer asked for what the template does not allow: its step fails for good."""


@dataclass(frozen=True, slots=True)
class NewStep:
    """A step to be added.

    `parents` has an element per dependency: names of which the first that exists is the parent; a further one counts
    only while it has not ended (a decision or an analyzer that may yet make the first). The step is made only when all
    of `if_all` and, unless it is empty, any of `if_any` exist by then. `reads` None: the values of its parents.
    """

    name: str
    template_step: str
    parents: tuple[tuple[str, ...], ...]
    reads: tuple[str, ...] | None
    inputs: Mapping[str, Any] | None = None
    if_all: tuple[str, ...] = ()
    if_any: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "template_step": self.template_step,
            "parents": self.parents,
            "reads": self.reads,
            "inputs": self.inputs,
            **({"if_all": self.if_all} if self.if_all else {}),
            **({"if_any": self.if_any} if self.if_any else {}),
        }


def expand_decision(
    template: TaskTemplate, step_name: str, decision: Decision, *, max_steps: int, max_depth: int
) -> list[NewStep]:
    """The steps that `decision` of the step `step_name` adds. Raises ExpansionError."""
    shape = _Shape.of(template)
    chosen = tuple(dict.fromkeys(decision.step_names))
    allowed = shape.choices(step_name)
    for name in chosen:
        if name not in allowed:
            raise ExpansionError(
                f"decision '{step_name}' chose {name!r}, which it cannot{did_you_mean(name, allowed)};"
                f" it can choose {', '.join(allowed) or 'nothing: no step depends on it'}"
            )
    if len(chosen) > max_steps:
        raise ExpansionError(
            f"decision '{step_name}' chose {len(chosen)} steps; the limit is {max_steps} (limits.decision_steps_max)"
        )
    if (depth := shape.depth(step_name)) > max_depth:
        raise ExpansionError(
            f"decision '{step_name}' is the {depth}th decision in a row; the limit is {max_depth}"
            " (limits.decision_depth_max)"
        )
    made = [
        NewStep(name, name, shape.parents_of(name, last=step_name), shape.reads_of(name))
        for name in sorted(chosen, key=shape.order.index)
    ]
    return made + [step for step in _followers(shape, step_name, {}) if step.name not in chosen]


def expand_batches(template: TaskTemplate, step_name: str, batches: Batches) -> list[NewStep]:
    """The workers that the analyzer `step_name` asks for, and what follows them. Raises ExpansionError."""
    shape = _Shape.of(template)
    worker = _worker_of(shape, step_name, batches)
    config = worker.batch_config
    cursors = batches.cursors or (Cursor(NO_BATCHES_ID, 0, 0, 0),)
    names = [f"{worker.name}_{cursor.batch_id}" for cursor in cursors]
    if len(set(names)) < len(names):
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise ExpansionError(f"analyzer '{step_name}' gave two batches the batch_id of {twice!r}")
    for name in names:
        if len(name) > 255 or name in shape.above:
            raise ExpansionError(f"analyzer '{step_name}' cannot make a step {name!r}: its name is too long or taken")
    above = shape.parents_of(worker.name, last=step_name)
    read = shape.reads_of(worker.name)
    metadata = {
        "cursor_field": config.cursor_field if config else "id",
        "failure_strategy": config.failure_strategy.value if config else "continue_on_failure",
        "total_batches": len(batches.cursors),
        "total_items": batches.total_items,
        **batches.metadata,
    }
    made = [
        NewStep(
            name,
            worker.name,
            above,
            read,
            {
                "cursor": cursor.as_json(),
                "batch_metadata": {**metadata, "batch_id": cursor.batch_id, "batch_index": index},
                "is_no_op": not batches.cursors,
            },
        )
        for index, (name, cursor) in enumerate(zip(names, cursors, strict=True))
    ]
    return made + _followers(shape, step_name, {worker.name: tuple(names)})


def _worker_of(shape: _Shape, step_name: str, batches: Batches) -> StepDefinition:
    """The batch worker of an analyzer: the one named, else configured, else the only one below it."""
    below = [
        step.name
        for step in shape.template.steps
        if step.type is StepType.BATCH_WORKER and step_name in step.dependencies
    ]
    configured = shape.template.step(step_name).handler.initialization.get("worker_template_name")
    name = batches.worker_template or configured or (below[0] if len(below) == 1 else None)
    if name in below:
        return shape.template.step(name)
    found = f"names {name!r} as its worker" if name else "names no worker"
    hint = did_you_mean(name, below) if name else ""
    raise ExpansionError(
        f"analyzer '{step_name}' {found}{hint}; batch_worker steps that depend on it: {', '.join(below) or 'none'}"
    )


def _followers(shape: _Shape, step_name: str, instances: Mapping[str, tuple[str, ...]]) -> list[NewStep]:
    """Steps below a decision or an analyzer that can be made once what they depend on is there, in order."""
    made = []
    below = {step_name}
    for name in shape.order:
        if below.isdisjoint(shape.above[name]):
            continue
        below.add(name)
        step = shape.template.step(name)
        needed = [dep for dep in shape.above[name] if dep not in instances]
        real = tuple(dep for dep in needed if shape.type_of(dep) is not StepType.DECISION)
        is_join = step.type is StepType.DEFERRED_CONVERGENCE
        has_instances = len(needed) < len(shape.above[name])
        if step.type is StepType.BATCH_WORKER or (not is_join and len(real) < len(needed)):
            continue  # made by its analyzer; a choice of its decision
        made.append(
            NewStep(
                name,
                name,
                shape.parents_of(name, instances=instances, decided=step_name),
                shape.reads_of(name, instances),
                if_all=() if is_join else real,
                if_any=real if is_join and not has_instances else (),
            )
        )
    return made


@dataclass(slots=True)
class _Shape:
    """A template's graph, and what of it is made by whom while a task runs."""

    template: TaskTemplate
    order: list[str]
    above: Mapping[str, tuple[str, ...]]
    _ancestors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, template: TaskTemplate) -> _Shape:
        return cls(template, topological_order(template), parents(template), ancestors(template))

    def type_of(self, name: str) -> StepType:
        return self.template.step(name).type

    def choices(self, decision: str) -> list[str]:
        """What `decision` may name: the steps below it, up to the next decision or batch."""
        reached = {decision}
        found = []
        for name in self.order:
            if reached.isdisjoint(self.above[name]) or self.type_of(name) is StepType.BATCH_WORKER:
                continue
            found.append(name)
            if self.type_of(name) is not StepType.DECISION:
                reached.add(name)
        return found

    def depth(self, decision: str) -> int:
        """How many decisions come one after the other, up to this one."""
        depth: dict[str, int] = {}
        for name in self.order:
            depth[name] = max((depth[above] for above in self.above[name]), default=0)
            depth[name] += self.type_of(name) is StepType.DECISION
        return depth[decision]

    def makers(self, name: str) -> tuple[str, ...]:
        """Decisions and analyzers that may make `name`, the nearest first, then those that may make these."""
        found: dict[str, None] = {}
        level = [name]
        while level:
            nearest = list(dict.fromkeys(maker for one in level for maker in self._nearest_makers(one)))
            level = [maker for maker in nearest if maker not in found]
            found.update(dict.fromkeys(level))
        return tuple(found)

    def _nearest_makers(self, name: str) -> list[str]:
        found = []
        seen = {name}
        waiting = [name]
        while waiting:
            one = waiting.pop(0)
            for above in self.above[one]:
                is_maker = self.type_of(above) is StepType.DECISION or (
                    self.type_of(above) is StepType.BATCHABLE and self.type_of(one) is StepType.BATCH_WORKER
                )
                if is_maker:
                    found.append(above)
                elif above not in seen:
                    seen.add(above)
                    waiting.append(above)
        return found

    def parents_of(
        self,
        name: str,
        *,
        last: str | None = None,
        instances: Mapping[str, Sequence[str]] | None = None,
        decided: str | None = None,
    ) -> tuple[tuple[str, ...], ...]:
        """For each dependency the names of which the first that exists is the parent; `last` is tried in the end.

        `decided` makes nothing more: what it has not made is not waited for.
        """
        wanted: dict[tuple[str, ...], None] = {}
        for above in self.above[name]:
            if instances and above in instances:
                wanted.update(dict.fromkeys((instance,) for instance in instances[above]))
            else:
                tail = () if last is None else (last,)
                makers = [maker for maker in self.makers(above) if maker != decided]
                wanted[tuple(dict.fromkeys((above, *makers, *tail)))] = None
        return tuple(wanted)

    def reads_of(self, name: str, instances: Mapping[str, Iterable[str]] | None = None) -> tuple[str, ...] | None:
        names: list[str] = []
        for above in self._ancestors[name]:
            names.extend((instances or {}).get(above, (above,)))
            if len(names) > MOST_READS:
                return None
        return tuple(names)
