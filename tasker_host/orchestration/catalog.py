"""The templates this host can submit and run: its registry's, and those other hosts registered in the database."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from tasker_host.db.database import Database
from tasker_host.db.sqlfiles import query
from tasker_host.domain.expansion import expand_nothing
from tasker_host.domain.graph import children, initial_steps, reads
from tasker_host.domain.json import loads
from tasker_host.domain.source import template_from_data
from tasker_host.domain.states import StepType
from tasker_host.domain.template import FailureStrategy, StepDefinition, TaskTemplate
from tasker_host.errors import TemplateNotFound, TemplateUnavailable
from tasker_host.registry.compose import Registry
from tasker_host.registry.plan import StepPlan


@dataclass(frozen=True, slots=True)
class Entry:
    """A template as the database knows it; `plans` is empty for the steps no handler here serves."""

    template_id: int
    template: TaskTemplate
    first_steps: int
    """Steps without parents."""


class Catalog:
    """Content-addressed: an entry never changes, so everything found once is kept."""

    def __init__(self, database: Database, registry: Registry) -> None:
        self._database = database
        self._registry = registry
        self._entries: dict[int, Entry] = {}
        self._plans: dict[int, dict[str, StepPlan]] = {}
        self._current: dict[tuple[str, str, str | None], Entry] = {}

    async def register(self) -> None:
        """Make every available template of this host known to the database."""
        # By namespace, name and version: two hosts that register the same templates at once cannot deadlock.
        templates = self._registry.available()
        rows = await self._database.fetch(
            query("templates_register"),
            [template.namespace_name for template in templates],
            [template.name for template in templates],
            [template.version for template in templates],
            [template.sha256() for template in templates],
            [template.canonical() for template in templates],
            [json.dumps(shape(template)) for template in templates],
        )
        for template, row in zip(templates, rows, strict=True):
            entry = self._keep(row[0], template)
            self._current[template.namespace_name, template.name, template.version] = entry

    def namespaces(self) -> list[str]:
        """Namespaces whose queues this host serves, in name order."""
        return sorted({entry.template.namespace_name for entry in self._entries.values()})

    def template_ids(self) -> list[int]:
        """Templates that this host has learnt of."""
        return list(self._entries)

    def template(self, template_id: int) -> TaskTemplate | None:
        entry = self._entries.get(template_id)
        return None if entry is None else entry.template

    # Plans of the worker ----------------------------------------------------------------------------------------------

    def known(self, template_id: int) -> dict[str, StepPlan] | None:
        return self._plans.get(template_id)

    async def load(self, template_ids: Iterable[int]) -> None:
        """Learn templates that another host, or another version of this one, registered."""
        for row in await self._database.fetch(query("templates_by_id"), list(template_ids)):
            self._learn(row["template_id"], row["content"])

    # Submission -------------------------------------------------------------------------------------------------------

    async def find(self, namespace: str, name: str, version: str | None) -> Entry:
        """The template a request means. Raises TemplateNotFound, TemplateUnavailable."""
        key = (namespace, name, version or self._registry.latest_version(namespace, name))
        entry = self._current.get(key)
        if entry is not None:
            return entry
        problems = self._registry.problems(namespace, name, version)
        if problems:
            raise TemplateUnavailable(f"template {namespace}/{name} is not available on this host", problems)
        rows = await self._database.fetch(query("template_by_name"), namespace, name, version)
        if not rows:
            raise TemplateNotFound(
                f"no template named '{namespace}/{name}'{f' of version {version}' if version else ''}"
                f"{self._registry.suggestion(namespace, name, version)}"
            )
        # Not cached by name: which content is current may change while this host runs.
        return self._learn(rows[0]["template_id"], rows[0]["content"])

    async def entry(self, template_id: int) -> Entry:
        """The template of a task that there is."""
        if template_id not in self._entries:
            await self.load([template_id])
        return self._entries[template_id]

    def _learn(self, template_id: int, content: str) -> Entry:
        known = self._entries.get(template_id)
        if known is not None:
            return known
        template, _ = template_from_data(loads(content), source=f"template {template_id} of the database")
        return self._keep(template_id, template)

    def _keep(self, template_id: int, template: TaskTemplate) -> Entry:
        entry = self._entries[template_id] = Entry(template_id, template, first_steps(template))
        self._plans[template_id] = self._registry.plans(template)
        return entry


def first_steps(template: TaskTemplate) -> int:
    """How many steps of a new task have no parents."""
    return sum(not template.step(name).dependencies for name in initial_steps(template))


def shape(template: TaskTemplate) -> list[dict[str, object]]:
    """The steps of `template`, those a task starts with first; edges and reads are positions, 1 for the first step.

    Steps that a task gets while it runs are not `initial` and have no edges here.
    """
    names = initial_steps(template)
    position = {name: index for index, name in enumerate(names, start=1)}
    below = children(template)
    read = reads(template)
    initial = [
        {
            "parents": [position[parent] for parent in template.step(name).dependencies],
            "children": [position[child] for child in below[name] if child in position],
            "reads": [position[step] for step in read[name]],
            "initial": True,
        }
        for name in names
    ]
    later = [step.name for step in template.steps if step.name not in position]
    return [
        {"position": index, **edges, **_rules(template, template.step(name))}
        for index, (name, edges) in enumerate(
            [*zip(names, initial, strict=True), *((name, _NO_EDGES) for name in later)], start=1
        )
    ]


_NO_EDGES: dict[str, object] = {"parents": [], "children": [], "reads": [], "initial": False}


def _rules(template: TaskTemplate, step: StepDefinition) -> dict[str, object]:
    """What the kernel enforces of a step; what is left out has no effect."""
    batch = step.batch_config if step.type is StepType.BATCH_WORKER else None
    rules: dict[str, object] = {
        "name": step.name,
        "handler": step.handler.callable,
        # 0 means: no retry. The first execution always takes place.
        "max_attempts": max(1, step.retry.max_attempts) if step.retry.retryable else 1,
    }
    if step.optional or (batch is not None and batch.failure_strategy is FailureStrategy.CONTINUE_ON_FAILURE):
        rules["if_failed"] = "forgive"
    elif batch is not None and batch.failure_strategy is FailureStrategy.FAIL_FAST:
        rules["if_failed"] = "stop_batch"
    if (
        step.optional
        and step.type in (StepType.DECISION, StepType.BATCHABLE)
        and (made := expand_nothing(template, step.name))
    ):
        # For what fails without a worker that could say so: its worker vanished.
        rules["forgiven"] = made.as_json()
    if batch is not None:
        rules["parallelism"] = batch.parallelism
    if step.priority is not None:
        rules["priority"] = step.priority
    if step.tags:
        rules["tags"] = list(step.tags)
    if step.concurrency_key is not None or template.concurrency_key is not None:
        rules["concurrency_limit"] = step.concurrency_limit or template.concurrency_limit or 1
    return rules
