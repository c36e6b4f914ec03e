"""The order of steps. Pure functions over a template, or over a mapping of step names to the names of their parents."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tasker_host.domain.states import StepType
from tasker_host.domain.suggest import did_you_mean

MOST_READS = 64
"""A handler is given the values of all its ancestors when there are at most so many, else those of its parents."""

MOST_CYCLES = 20


class Step(Protocol):
    """What the graph needs to know of a step."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> StepType: ...
    @property
    def dependencies(self) -> Sequence[str]: ...


class HasSteps(Protocol):
    @property
    def steps(self) -> Sequence[Step]: ...


Graph = HasSteps | Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class GraphProblem:
    """What is wrong with the step at position `step`, because of its dependency at position `dependency` if not None.

    With `warning`, tasks can run all the same. The codes are those of `templates.findings`.
    """

    step: int
    dependency: int | None
    message: str
    code: str
    warning: bool = False


def parents(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Each step's parents, in the order of declaration."""
    if isinstance(graph, Mapping):
        return {name: tuple(names) for name, names in graph.items()}
    return {step.name: tuple(step.dependencies) for step in graph.steps}


def children(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Each step's children, in the order of declaration."""
    below: dict[str, list[str]] = {name: [] for name in parents(graph)}
    for name, above in parents(graph).items():
        for parent in above:
            below[parent].append(name)
    return {name: tuple(names) for name, names in below.items()}


def topological_order(graph: Graph) -> list[str]:
    """Parents before children; among the possible orders the one nearest to the order of declaration.

    Raises ValueError when there is a cycle.
    """
    above = parents(graph)
    below = children(above)
    position = {name: index for index, name in enumerate(above)}
    waits_on = {name: len(set(names)) for name, names in above.items()}
    ready = [position[name] for name, count in waits_on.items() if count == 0]
    names = list(above)
    order = []
    while ready:
        name = names[heapq.heappop(ready)]
        order.append(name)
        for child in dict.fromkeys(below[name]):
            waits_on[child] -= 1
            if waits_on[child] == 0:
                heapq.heappush(ready, position[child])
    if len(order) < len(names):
        raise ValueError("; ".join(_shown(cycle) for cycle in cycles(above)))
    return order


def steps_by_level(graph: Graph) -> list[list[str]]:
    """Step names by the longest way from a root: [["validate"], ["charge", "reserve"], ["ship"]]."""
    above = parents(graph)
    level: dict[str, int] = {}
    for name in topological_order(above):
        level[name] = 1 + max((level[parent] for parent in above[name]), default=-1)
    rows: list[list[str]] = [[] for _ in range(1 + max(level.values(), default=-1))]
    for name in above:
        rows[level[name]].append(name)
    return rows


def ancestors(graph: Graph) -> dict[str, tuple[str, ...]]:
    """For each step all steps that come before it, parents before children."""
    order = topological_order(graph)
    masks = _ancestor_masks(parents(graph), order)
    return {name: _names(masks[name], order) for name in parents(graph)}


def reads(graph: Graph) -> dict[str, tuple[str, ...]]:
    """For each step the steps whose values its handler is given: all ancestors up to 64, else the direct parents."""
    order = topological_order(graph)
    above = parents(graph)
    masks = _ancestor_masks(above, order)
    return {
        name: _names(masks[name], order) if masks[name].bit_count() <= MOST_READS else tuple(dict.fromkeys(direct))
        for name, direct in above.items()
    }


def reads_within(above: Mapping[str, Sequence[str]], order: Sequence[str]) -> dict[str, tuple[str, ...] | None]:
    """For each step all that come before it, parents before children; None where these are more than 64."""
    masks = _ancestor_masks(above, order)
    return {name: _names(masks[name], order) if masks[name].bit_count() <= MOST_READS else None for name in above}


def initial_steps(template: HasSteps) -> list[str]:
    """The steps a task starts with, in the order of declaration; the others are made while it runs.

    Left out are what is below a decision, batch workers, and what is below them.
    """
    above = parents(template)
    type_of = {step.name: step.type for step in template.steps}
    initial: dict[str, bool] = {}
    for name in topological_order(above):
        initial[name] = type_of[name] is not StepType.BATCH_WORKER and all(
            initial[parent] and type_of[parent] is not StepType.DECISION for parent in above[name]
        )
    return [name for name in above if initial[name]]


def cycles(graph: Graph) -> list[list[str]]:
    """Ways that lead back to where they start, as ["a", "b", "a"]; none when the steps can be put in order.

    Each is listed once, from its step declared first. A step that depends on itself is ["a", "a"]. Where cycles share
    steps, enough of them are listed that each step on a cycle of its own is seen, 20 at most.
    """
    above = parents(graph)
    below = {name: dict.fromkeys(names) for name, names in _known_children(above).items()}
    position = {name: index for index, name in enumerate(above)}
    found: dict[tuple[str, ...], None] = {}
    done: set[str] = set()
    for root in above:
        if root in done:
            continue
        # Depth first without recursion: a chain of ten thousand steps is legal.
        path: dict[str, Iterator[str]] = {root: iter(below[root])}
        while path:
            name, remaining = next(reversed(path.items()))
            child = next(remaining, None)
            if child is None:
                done.add(name)
                del path[name]
            elif child in path:
                way = list(path)
                found[_rotated(way[way.index(child) :], position)] = None
                if len(found) == MOST_CYCLES:
                    return [[*cycle, cycle[0]] for cycle in found]
            elif child not in done:
                path[child] = iter(below[child])
    return [[*cycle, cycle[0]] for cycle in found]


def find_problems(steps: Sequence[Step]) -> list[GraphProblem]:
    """Everything that is wrong with the order of `steps`, in the order of declaration."""
    return sorted(_problems(steps), key=lambda p: (p.step, -1 if p.dependency is None else p.dependency))


def _problems(steps: Sequence[Step]) -> Iterator[GraphProblem]:
    position: dict[str, int] = {}
    for index, step in enumerate(steps):
        if step.name in position:
            yield GraphProblem(
                index, None, f"step '{step.name}': a step of this name is already there", "DUPLICATE_STEP"
            )
        position.setdefault(step.name, index)
    for index, step in enumerate(steps):
        for place, parent in enumerate(step.dependencies):
            if parent == step.name:
                yield GraphProblem(index, place, f"step '{step.name}': depends on itself", "SELF_DEPENDENCY")
            elif parent not in position:
                hint = did_you_mean(parent, (name for name in position if name != step.name))
                message = f"step '{step.name}': depends on unknown step '{parent}'{hint}"
                yield GraphProblem(index, place, message, "MISSING_DEPENDENCY")
    above = {step.name: step.dependencies for step in reversed(steps)}
    above = {name: above[name] for name in position}
    for cycle in cycles(above):
        if len(cycle) > 2:
            first = steps[position[cycle[0]]]
            place = list(first.dependencies).index(cycle[-2])
            yield GraphProblem(position[cycle[0]], place, f"cycle {_shown(cycle)}", "CYCLE")
    yield from _type_problems(steps, position)
    yield from _warnings(steps)


def _type_problems(steps: Sequence[Step], position: Mapping[str, int]) -> Iterator[GraphProblem]:
    """Steps of a type that cannot do its work where it stands."""
    type_of = {name: steps[index].type for name, index in position.items()}
    fanned_out = {
        parent for step in steps if step.type is StepType.BATCH_WORKER for parent in step.dependencies
    }  # fmt: skip
    for index, step in enumerate(steps):
        match step.type:
            case StepType.DECISION if not step.dependencies:
                message, code = "a decision needs at least one dependency: what it decides on", "DECISION_ON_NOTHING"
            case StepType.BATCHABLE if step.name not in fanned_out:
                message, code = "a batchable step needs a batch_worker that depends on it", "BATCH_WITHOUT_WORKER"
            case StepType.BATCH_WORKER if not any(
                type_of.get(name) is StepType.BATCHABLE for name in step.dependencies
            ):
                message = "a batch_worker needs a batchable step among its dependencies"
                code = "WORKER_WITHOUT_BATCH"
            case StepType.DEFERRED_CONVERGENCE if not step.dependencies:
                message = "a deferred_convergence needs dependencies: what it brings together"
                code = "JOIN_OF_NOTHING"
            case _:
                continue
        yield GraphProblem(index, None, f"step '{step.name}': {message}", code)


def _warnings(steps: Sequence[Step]) -> Iterator[GraphProblem]:
    leaned_on = Counter(parent for step in steps for parent in step.dependencies)
    for index, step in enumerate(steps):
        if step.type is StepType.DECISION and not leaned_on[step.name]:
            message = "a decision that no step depends on has nothing to choose from"
            yield GraphProblem(index, None, f"step '{step.name}': {message}", "DECISION_WITHOUT_STEPS", warning=True)
        if leaned_on and not step.dependencies and not leaned_on[step.name]:
            message = "stands alone: it depends on no step, and none depends on it"
            yield GraphProblem(index, None, f"step '{step.name}': {message}", "ORPHAN_STEP", warning=True)
        for parent, count in Counter(step.dependencies).items():
            if count > 1:
                message = f"names its dependency '{parent}' {count} times"
                yield GraphProblem(index, None, f"step '{step.name}': {message}", "REPEATED_DEPENDENCY", warning=True)


def _known_children(above: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    below: dict[str, list[str]] = {name: [] for name in above}
    for name, names in above.items():
        for parent in names:
            if parent in below:
                below[parent].append(name)
    return below


def _ancestor_masks(above: Mapping[str, Sequence[str]], order: Sequence[str]) -> dict[str, int]:
    """Per step its ancestors, as the bits of their positions in `order`."""
    position = {name: index for index, name in enumerate(order)}
    masks: dict[str, int] = {}
    for name in order:
        mask = 0
        for parent in above[name]:
            mask |= masks[parent] | 1 << position[parent]
        masks[name] = mask
    return masks


def _names(mask: int, order: Sequence[str]) -> tuple[str, ...]:
    return tuple(order[index] for index, bit in enumerate(reversed(f"{mask:b}")) if bit == "1")


def _rotated(cycle: list[str], position: Mapping[str, int]) -> tuple[str, ...]:
    start = min(range(len(cycle)), key=lambda index: position[cycle[index]])
    return tuple(cycle[start:] + cycle[:start])


def _shown(cycle: Sequence[str]) -> str:
    return " → ".join(cycle)
