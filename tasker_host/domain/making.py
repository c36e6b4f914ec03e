"""The steps that one result makes, described so that the database can write them.

What is there already in the task is not known here, and two deciders may report at the same time. So a step is
described by conditions that the database answers while it holds the task (`db/sql/functions/45_expand.sql`): which of
several names is its parent, and which names must be there for it to be made at all.

All names are those of the template; that of a batch_worker step stands for all its instances.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tasker_host.domain.flow import Flow
from tasker_host.domain.states import StepType


@dataclass(frozen=True, slots=True)
class Instance:
    """A batch worker: a step of its own name, with what its handler is given."""

    name: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NewStep:
    """A step to be made, unless the task has it.

    Of each element of `parents` the first name that is there, or is made now, is the parent: a further one stands for
    what it may still make. No name there: no parent. `reads` are the names whose values the handler is given; None:
    its parents'.

    It is made only if all of `if_all` and, unless it is empty, any of `if_any` are there, or are made now.
    """

    name: str
    parents: tuple[tuple[str, ...], ...]
    reads: tuple[str, ...] | None
    if_all: tuple[str, ...] = ()
    if_any: tuple[str, ...] = ()
    instances: tuple[Instance, ...] = ()
    """What is made of a batch_worker step; of another one it is the step itself."""

    def as_json(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"name": self.name, "parents": self.parents, "reads": self.reads}
        if self.if_all:
            shown["if_all"] = self.if_all
        if self.if_any:
            shown["if_any"] = self.if_any
        if self.instances:
            shown["instances"] = [{"name": one.name, "inputs": one.inputs} for one in self.instances]
        return shown


@dataclass(frozen=True, slots=True)
class Link:
    """A step that may be there already and has not started: it waits for those of `parents` that are made now too."""

    name: str
    parents: tuple[str, ...]
    reads: tuple[str, ...] | None

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "parents": self.parents, "reads": self.reads}


@dataclass(frozen=True, slots=True)
class Expansion:
    """New steps, parents before children, and what waits for them; false when there is nothing to add."""

    steps: tuple[NewStep, ...] = ()
    links: tuple[Link, ...] = ()
    is_shared: bool = False
    """Others have a say in these steps: when one of those is run again, what is below it is made anew from this."""

    def __bool__(self) -> bool:
        return bool(self.steps)

    def as_json(self) -> dict[str, Any]:
        shown = {"steps": [step.as_json() for step in self.steps], "links": [link.as_json() for link in self.links]}
        return {**shown, "is_shared": True} if self.is_shared else shown


class _There(Enum):
    """Whether a step is there once this expansion is written; what is not said can never be there."""

    CERTAIN = 1
    POSSIBLE = 2


class Maker:
    """What one result of `decider` makes, when it chose the steps `chosen` of the template."""

    def __init__(
        self,
        flow: Flow,
        decider: str,
        chosen: Iterable[str],
        instances: Mapping[str, tuple[Instance, ...]] | None = None,
    ) -> None:
        self._flow = flow
        self._decider = decider
        self._chosen = frozenset(chosen)
        self._instances = instances or {}
        self._only_after = flow.only_after(decider)
        self._made: dict[str, _There] = {}
        for name in flow.made_by(decider):
            there = self._makes(name)
            if there is not None:
                self._made[name] = there
        self._never: set[str] = set()
        for name in flow.order:
            if name in self._only_after and name not in self._made and not self._open_above(name):
                self._never.add(name)

    def expansion(self) -> Expansion:
        if not self._made:
            return Expansion()
        steps = tuple(self._new(name, there) for name, there in self._made.items())
        return Expansion(steps, tuple(self._links()), self._flow.shares(self._decider))

    def _new(self, name: str, there: _There) -> NewStep:
        flow = self._flow
        if_all: tuple[str, ...] = ()
        if_any: tuple[str, ...] = ()
        if there is _There.POSSIBLE and flow.type_of[name] is StepType.DEFERRED_CONVERGENCE:
            if_any = tuple(self._joined(name))
        elif there is _There.POSSIBLE:
            if_all = tuple(p for p in dict.fromkeys(flow.parents[name]) if self._presence(p) is not _There.CERTAIN)
        parents = tuple(self._parents(name))
        return NewStep(name, parents, flow.reads[name], if_all, if_any, self._instances.get(name, ()))

    # What is made -----------------------------------------------------------------------------------------------------

    def _makes(self, name: str) -> _There | None:
        flow = self._flow
        if name in self._chosen:
            return _There.CERTAIN
        if flow.type_of[name] is StepType.BATCH_WORKER:
            return None
        if flow.type_of[name] is StepType.DEFERRED_CONVERGENCE:
            # What another decider made, it made the step together with: only what is made here counts, and what was
            # there from the start.
            found = [_There.CERTAIN if p in flow.initial else self._made.get(p) for p in self._joined(name)]
            return _There.CERTAIN if _There.CERTAIN in found else next(filter(None, found), None)
        parents = flow.parents[name]
        if any(flow.type_of[parent] is StepType.DECISION for parent in parents):
            return None  # a branch, and not chosen
        if not any(parent in self._made for parent in parents):
            return None
        needed = {self._presence(parent) for parent in parents}
        return None if None in needed else _There.POSSIBLE if _There.POSSIBLE in needed else _There.CERTAIN

    def _joined(self, name: str) -> Iterator[str]:
        """What a join brings together: a decision decides about it, that is not one of these."""
        return (p for p in dict.fromkeys(self._flow.parents[name]) if self._flow.type_of[p] is not StepType.DECISION)

    def _presence(self, name: str) -> _There | None:
        if name in self._flow.initial or name == self._decider:
            return _There.CERTAIN
        ours = self._made.get(name)
        return ours if ours is _There.CERTAIN or name in self._only_after else _There.POSSIBLE

    # What it waits for ------------------------------------------------------------------------------------------------

    def _parents(self, name: str) -> Iterator[tuple[str, ...]]:
        groups: dict[tuple[str, ...], None] = {}
        uncertain = False
        for parent in self._flow.parents[name]:
            if self._presence(parent) is _There.CERTAIN:
                groups[parent,] = None
            else:
                uncertain = True
                groups |= dict.fromkeys(self._candidates(parent))
        if name in self._chosen and (uncertain or not groups):
            # A step chosen without all that it depends on comes at least after the one who chose it.
            groups[self._decider,] = None
        return iter(groups)

    def _candidates(self, name: str) -> Iterator[tuple[str, ...]]:
        """The step, else those that may still make it; none when it is not there and never will be."""
        deciders = self._open_deciders(name)
        if not deciders:
            if name not in self._never:
                yield (name,)
        elif all(len(self._open_above(one)) <= 1 for one in (name, *deciders)):
            yield (name, *deciders)
        else:
            # Several ways lead to it, and each of them must have ended.
            yield from ((name, one) for one in deciders)

    def _open_above(self, name: str) -> list[str]:
        """Deciders that may still make the step: not this one, and none that can no more be made."""
        return [one for one in self._flow.hangs_on[name] if one != self._decider and one not in self._never]

    def _open_deciders(self, name: str) -> list[str]:
        """The same, and those that may still make them; nearest first."""
        found: dict[str, None] = {}
        level = self._open_above(name)
        while level:
            found |= dict.fromkeys(level)
            # One that is certainly there needs nobody to make it.
            unsure = [one for one in level if self._presence(one) is not _There.CERTAIN]
            level = [above for one in unsure for above in self._open_above(one) if above not in found]
        return list(found)

    def _links(self) -> Iterator[Link]:
        """Steps that another decider may have made before, with what is made now of what they wait for."""
        flow = self._flow
        for name in flow.order:
            if name in flow.initial or name in self._only_after or name == self._decider:
                continue
            found: dict[str, None] = {}
            for parent in flow.parents[name]:
                if parent in self._made:
                    found[parent] = None
                if self._presence(parent) is not _There.CERTAIN:
                    found |= dict.fromkeys(one for one in self._open_deciders(parent) if one in self._made)
            if found:
                yield Link(name, tuple(found), flow.reads[name])
