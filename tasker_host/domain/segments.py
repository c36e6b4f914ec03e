"""A template cut at its decisions: what a task begins with, and what each decision may bring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tasker_host.domain.graph import initial_steps, parents, topological_order
from tasker_host.domain.states import StepType
from tasker_host.domain.template import TaskTemplate


@dataclass(frozen=True, slots=True)
class Segment:
    """`entry` is the decision that opens it (None for the first), `exits` are the decisions at which it ends.

    `steps` are in the order of declaration; a decision belongs to the segment it ends.
    """

    kind: Literal["initial", "intermediate", "terminal"]
    entry: str | None
    exits: tuple[str, ...]
    steps: tuple[str, ...]


def segments(template: TaskTemplate) -> list[Segment]:
    """The segments in the order in which they can be reached; one when nothing is decided."""
    above = parents(template)
    order = topological_order(above)
    decisions = {step.name for step in template.steps if step.type is StepType.DECISION}
    entry: dict[str, str | None] = {}
    for name in order:
        # The decision that a step comes after; of several the one that is reached last.
        after = [parent if parent in decisions else entry[parent] for parent in above[name]]
        real = [decision for decision in after if decision is not None]
        entry[name] = max(real, key=order.index) if real else None
    found = []
    first = set(initial_steps(template))
    last = {name for name in decisions if entry[name] is not None}
    for opened in [None, *(name for name in order if name in decisions)]:
        steps = tuple(name for name in above if entry[name] == opened)
        # A nested decision ends the segment before it; it is told by the exits.
        own = tuple(name for name in steps if name not in last and (opened is not None or name in first))
        exits = tuple(name for name in steps if name in decisions)
        kind: Literal["initial", "intermediate", "terminal"] = (
            "initial" if opened is None else "intermediate" if exits else "terminal"
        )
        found.append(Segment(kind, opened, exits, own))
    return found
