"""A decision or an analyzer that an operator ends: what it makes."""

from __future__ import annotations

from typing import Any

from tasker_host.domain.batches import batches_of, kept_value
from tasker_host.domain.expansion import Expansion, expand_batches, expand_decision, expand_nothing
from tasker_host.domain.json import dumps, loads
from tasker_host.domain.result import decision_of
from tasker_host.domain.source import template_from_data
from tasker_host.domain.states import StepType
from tasker_host.domain.template import TaskTemplate
from tasker_host.errors import InvalidRequest, Problem

_DECIDES = (StepType.DECISION, StepType.BATCHABLE)

_MOST_STEPS = 10_000
_MOST_WORKERS = 1_000_000
"""The most that any host may be configured to allow: what they do allow their handlers does not bind a hand."""


def by_hand(step_name: str, content: str, value: str | None) -> tuple[str | None, str | None]:
    """What the step `step_name` of the template adds when it ends with `value`, and the value that is kept.

    All of it JSON text; without a value it says nothing. None is what a step adds that is neither of the two. Raises
    InvalidRequest when nothing can be made of the value.
    """
    given = loads(content)
    if not any(step["name"] == step_name and step.get("type") in _DECIDES for step in given["steps"]):
        return None, value
    template, _ = template_from_data(given, source="the template of the task")
    if value is None:
        return dumps(expand_nothing(template, step_name).as_json()), None
    try:
        made, kept = _made(template, step_name, loads(value))
    except ValueError as error:
        raise InvalidRequest(f"step '{step_name}' cannot be completed so", [Problem("value", str(error))]) from None
    return dumps(made.as_json()), dumps(kept)


def _made(template: TaskTemplate, step_name: str, value: Any) -> tuple[Expansion, Any]:
    if template.step(step_name).type is StepType.DECISION:
        decision = decision_of(value)
        return expand_decision(template, step_name, decision, max_steps=_MOST_STEPS, max_depth=_MOST_STEPS), value
    batches = batches_of(value, most=_MOST_WORKERS)
    return expand_batches(template, step_name, batches), kept_value(value, batches)
