"""From the result of a decision or of a batch analyzer to the steps that it makes. Pure; the kernel writes them."""

from __future__ import annotations

from typing import Any

from tasker_host.domain.batches import Batches, Cursor
from tasker_host.domain.making import Expansion, Instance, Maker
from tasker_host.domain.result import Decision
from tasker_host.domain.states import StepType
from tasker_host.domain.suggest import did_you_mean
from tasker_host.domain.template import StepDefinition, TaskTemplate

__all__ = ["Expansion", "ExpansionError", "expand_batches", "expand_decision", "expand_nothing"]

NO_BATCHES_ID = "000"
"""Batch of the one worker that has nothing to do."""

_MOST_NAME = 255


class ExpansionError(ValueError):
    """A decision or an analyzer asked for what the template does not allow: its step fails for good."""


def expand_decision(
    template: TaskTemplate, step_name: str, decision: Decision, *, max_steps: int, max_depth: int
) -> Expansion:
    """The steps that `decision` of the step `step_name` adds, and all below them that can then run.

    Raises ExpansionError.
    """
    flow = template.flow
    chosen = tuple(dict.fromkeys(decision.step_names))
    allowed = flow.choices(step_name)
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
    if (depth := flow.depth(step_name)) > max_depth:
        raise ExpansionError(
            f"decision '{step_name}' is number {depth} of decisions in a row; the limit is {max_depth}"
            " (limits.decision_depth_max)"
        )
    return Maker(flow, step_name, chosen).expansion()


def expand_batches(template: TaskTemplate, step_name: str, batches: Batches) -> Expansion:
    """The workers that the analyzer `step_name` asks for, and what follows them. Raises ExpansionError."""
    worker = _worker_of(template, step_name, batches)
    config = worker.batch_config
    cursors = batches.cursors or (Cursor(NO_BATCHES_ID, 0, 0, 0),)
    names = _names(template, step_name, worker, cursors)
    metadata = {
        "cursor_field": config.cursor_field if config else "id",
        "failure_strategy": config.failure_strategy.value if config else "continue_on_failure",
        "total_batches": len(batches.cursors),
        "total_items": batches.total_items,
        **batches.metadata,
    }
    instances = tuple(
        Instance(
            name,
            {
                "cursor": cursor.as_json(),
                "batch_metadata": {**metadata, "batch_id": cursor.batch_id, "batch_index": index},
                "is_no_op": not batches.cursors,
            },
        )
        for index, (name, cursor) in enumerate(zip(names, cursors, strict=True))
    )
    return Maker(template.flow, step_name, {worker.name}, {worker.name: instances}).expansion()


def expand_nothing(template: TaskTemplate, step_name: str) -> Expansion:
    """What a decision or an analyzer adds that is over without having said anything: only the joins that run anyhow."""
    return Maker(template.flow, step_name, ()).expansion()


def _names(template: TaskTemplate, step_name: str, worker: StepDefinition, cursors: tuple[Cursor, ...]) -> list[str]:
    """Of the workers: {worker}_{batch_id}, or {worker}_{analyzer}_{batch_id} where other analyzers make it too."""
    analyzers = [
        name
        for name in worker.dependencies
        if template.step(name).type is StepType.BATCHABLE and _configured(template, name) in (None, worker.name)
    ]
    stem = worker.name if len(analyzers) <= 1 else f"{worker.name}_{step_name}"
    names = [f"{stem}_{cursor.batch_id}" for cursor in cursors]
    seen: set[str] = set()
    for name, cursor in zip(names, cursors, strict=True):
        if name in seen:
            raise ExpansionError(f"analyzer '{step_name}' gave two batches the batch_id {cursor.batch_id!r}")
        seen.add(name)
        if name in template.flow.type_of:
            raise ExpansionError(
                f"analyzer '{step_name}' cannot make a step {name!r}: the template has one of that name;"
                f" change batch_id {cursor.batch_id!r}"
            )
        if len(name) > _MOST_NAME or not name.isprintable():
            raise ExpansionError(
                f"analyzer '{step_name}' cannot make a step {name[:80]!r}: a name is {_MOST_NAME} printable characters"
                f" at most (its batch_id has {len(cursor.batch_id)})"
            )
    return names


def _configured(template: TaskTemplate, step_name: str) -> Any:
    """The worker that the template gives the analyzer; None when it leaves that open."""
    step = template.step(step_name)
    named = step.handler.initialization.get("worker_template_name")
    return step.batch_config.worker_template if named is None and step.batch_config is not None else named


def _worker_of(template: TaskTemplate, step_name: str, batches: Batches) -> StepDefinition:
    """The batch worker of an analyzer: the one named, else configured, else the only one below it."""
    below = [
        step.name for step in template.steps if step.type is StepType.BATCH_WORKER and step_name in step.dependencies
    ]
    name = batches.worker_template or _configured(template, step_name) or (below[0] if len(below) == 1 else None)
    if name in below:
        return template.step(name)
    found = f"names {name!r} as its worker" if name else "names no worker"
    hint = did_you_mean(name, below) if name else ""
    raise ExpansionError(
        f"analyzer '{step_name}' {found}{hint}; batch_worker steps that depend on it: {', '.join(below) or 'none'}"
    )
