"""Which steps of a template are made while a task runs, and by whose result. Pure facts about a template.

A *decider* is a step whose result makes steps: a decision, or a batchable step, whose batch workers come with it. A
step *hangs on* the deciders above it that no other decider of its own stands in front of: only their results can make
it. Steps that hang on none are there from the start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from tasker_host.domain.graph import HasSteps, initial_steps, parents, reads_within, topological_order
from tasker_host.domain.states import StepType


class Flow:
    """Made once for a template and kept with it; asking costs little."""

    def __init__(self, template: HasSteps) -> None:
        self.type_of: Mapping[str, StepType] = {step.name: step.type for step in template.steps}
        self.parents = parents(template)
        self.order = tuple(topological_order(self.parents))
        """Parents before children."""
        self.initial = frozenset(initial_steps(template))
        self._only_after: dict[str, frozenset[str]] = {}
        self._shares: dict[str, bool] = {}

    @cached_property
    def reads(self) -> Mapping[str, tuple[str, ...] | None]:
        """Per step all steps before it, parents before children; None where they are more than a handler is given."""
        return reads_within(self.parents, self.order)

    @cached_property
    def hangs_on(self) -> Mapping[str, tuple[str, ...]]:
        """Per step the deciders whose results can make it, nearest to the order of declaration first."""
        found: dict[str, tuple[str, ...]] = {}
        for name in self.order:
            deciders = {} if name in self.initial else dict.fromkeys(self._deciders(name, found))
            if self.type_of[name] is StepType.DEFERRED_CONVERGENCE and self._has_certain_parent(name):
                # It runs in any case, so also when the decider next to it is not made itself: as soon as one above says
                # anything.
                for decider in self._above(list(deciders), found):
                    deciders[decider] = None
            found[name] = tuple(deciders)
        return found

    def _has_certain_parent(self, name: str) -> bool:
        """Whether something that it brings together is there from the start."""
        return any(p in self.initial and self.type_of[p] is not StepType.DECISION for p in self.parents[name])

    @staticmethod
    def _above(deciders: list[str], found: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
        for decider in deciders:
            for above in found[decider]:
                if above not in deciders:
                    deciders.append(above)
                    yield above

    def _deciders(self, name: str, found: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
        for parent in self.parents[name]:
            if self.type_of[name] is StepType.BATCH_WORKER:
                if self.type_of[parent] is StepType.BATCHABLE:
                    yield parent
            elif self.type_of[parent] is StepType.DECISION:
                yield parent
            else:
                yield from found[parent]

    def made_by(self, decider: str) -> list[str]:
        """Steps that the decider's result can make, parents before children."""
        return [name for name in self.order if decider in self.hangs_on[name]]

    def choices(self, decision: str) -> list[str]:
        """What the decision may name: the steps below it, up to the next decision or batch."""
        return [name for name in self.made_by(decision) if self.type_of[name] is not StepType.BATCH_WORKER]

    def only_after(self, decider: str) -> frozenset[str]:
        """Steps that cannot be there before the decider has decided: all ways to make them lead through it."""
        known = self._only_after.get(decider)
        if known is None:
            found = {decider}
            for name in self.order:
                if name not in self.initial and found.issuperset(self.hangs_on[name]):
                    found.add(name)
            known = self._only_after[decider] = frozenset(found - {decider})
        return known

    def shares(self, decider: str) -> bool:
        """Whether other deciders have a say in what it makes: some of it is below them on a way around it."""
        known = self._shares.get(decider)
        if known is None:
            known = self._shares[decider] = any(self._has_other_above(name, decider) for name in self.made_by(decider))
        return known

    def _has_other_above(self, name: str, decider: str) -> bool:
        found, left = {decider}, [name]
        while left:
            for parent in self.parents[left.pop()]:
                if parent not in found:
                    if self.type_of[parent] in (StepType.DECISION, StepType.BATCHABLE):
                        return True
                    found.add(parent)
                    left.append(parent)
        return False

    def depth(self, decision: str) -> int:
        """Decisions one above the other up to this one, itself included."""
        return self._depths[decision]

    @cached_property
    def _depths(self) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for name in self.order:
            above = max((found[parent] for parent in self.parents[name]), default=0)
            found[name] = above + (self.type_of[name] is StepType.DECISION)
        return found
