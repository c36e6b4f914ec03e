"""From the contributions of plugins to one registry: which templates there are, and who runs their steps."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import structlog

from tasker_host.domain.backoff import BackoffPolicy, effective
from tasker_host.domain.batches import batches_of, kept_value
from tasker_host.domain.expansion import Expansion, expand_batches, expand_decision, expand_nothing
from tasker_host.domain.graph import reads
from tasker_host.domain.json import dumps
from tasker_host.domain.result import decision_of
from tasker_host.domain.schema import InvalidSchema, SchemaCheck, schema_check
from tasker_host.domain.states import StepType
from tasker_host.domain.suggest import did_you_mean
from tasker_host.domain.template import StepDefinition, TaskTemplate
from tasker_host.errors import Problem
from tasker_host.handlers.resolve import HandlerNames, PluginResolver
from tasker_host.handlers.returns import result_check
from tasker_host.hooks.bound import BindError, BoundHandler
from tasker_host.hooks.publisher import BoundPublisher
from tasker_host.hooks.records import Classifier, Executor, Middleware, Subscriber
from tasker_host.registry.events import UnknownPublisher, event_plans, event_problems, plain_events
from tasker_host.registry.misfits import misfits, unread
from tasker_host.registry.plan import Expand, StepPlan

log = structlog.get_logger("tasker.registry")


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a step gets that its template does not say."""

    backoff: BackoffPolicy
    timeout_seconds: float
    decision_steps_max: int = 100
    decision_depth_max: int = 20
    batch_workers_max: int = 100_000


class Registry:
    """Frozen once made. A template whose steps name what nobody gives is kept, with its problems, but not available."""

    def __init__(
        self,
        handlers: Iterable[BoundHandler],
        templates: Iterable[TaskTemplate],
        defaults: Defaults,
        *,
        resolvers: Iterable[PluginResolver] = (),
        handler_packages: Iterable[str] = (),
        middleware: Sequence[Middleware] = (),
        classifiers: Sequence[Classifier] = (),
        executors: Iterable[Executor] = (),
        publishers: Iterable[BoundPublisher] = (),
        subscribers: Sequence[Subscriber] = (),
    ) -> None:
        self.handlers = HandlerNames(handlers, resolvers, handler_packages)
        self.publishers = {publisher.name: publisher for publisher in publishers}
        self.subscribers = tuple(subscribers)
        self.middleware = tuple(middleware)
        self.classifiers = tuple(classifiers)
        self.executors = {executor.name: executor for executor in executors}
        self._defaults = defaults
        self._templates = {(t.namespace_name, t.name, t.version): t for t in templates}
        self._latest: dict[tuple[str, str], str] = {}
        for namespace, name, version in sorted(self._templates, key=lambda key: _ordered(key[2])):
            self._latest[namespace, name] = version
        self._problems = {key: self._found_in(template) for key, template in self._templates.items()}

    async def close(self) -> None:
        """Closes what handlers hold open; none of them runs any more."""
        for close in dict.fromkeys(handler.close for handler in self.handlers if handler.close is not None):
            try:
                left = close()
                if inspect.isawaitable(left):
                    await left
            except Exception as error:
                log.warning(
                    "a handler could not be closed", handler=getattr(close, "__qualname__", ""), error=str(error)
                )

    def templates(self) -> list[TaskTemplate]:
        """All of them, available or not, by namespace, name and version."""
        return [self._templates[key] for key in sorted(self._templates)]

    def available(self) -> list[TaskTemplate]:
        """Templates of whose steps each has a handler."""
        return [self._templates[key] for key in sorted(self._templates) if not self._problems[key]]

    def problems(self, namespace: str, name: str, version: str | None) -> tuple[Problem, ...]:
        """Why a template is not available; empty when it is, or when there is none."""
        key = (namespace, name, version or self.latest_version(namespace, name) or "")
        return self._problems.get(key, ())

    def problems_of(self, template: TaskTemplate) -> tuple[Problem, ...]:
        """Why this one of `templates()` is not available; empty when it is."""
        return self._problems[template.namespace_name, template.name, template.version]

    def latest_version(self, namespace: str, name: str) -> str | None:
        """The highest version of a template; None when there is none of that name."""
        return self._latest.get((namespace, name))

    def suggestion(self, namespace: str, name: str, version: str | None) -> str:
        """What the caller may have meant, as the end of a sentence; empty when nothing is close."""
        versions = sorted((key[2] for key in self._templates if key[:2] == (namespace, name)), key=_ordered)
        if versions and version is not None:
            return f"; there is {', '.join(versions)}"
        return did_you_mean(f"{namespace}/{name}", sorted({f"{key[0]}/{key[1]}" for key in self._templates}))

    def plans(self, template: TaskTemplate) -> dict[str, StepPlan]:
        """How to run the steps of `template`; those that no handler here serves are left out."""
        plans = {}
        for step in template.steps:
            try:
                handler = self.handler_of(step)
                check_result = _result_check(step)
                events = event_plans(template, step, self.publishers)
            except (BindError, InvalidSchema, UnknownPublisher):
                continue
            check_returned = result_check(handler.returns)
            expand = self._expander(template, step, handler)
            plans[step.name] = StepPlan(
                template=template,
                definition=step,
                handler=handler,
                call=handler.call,
                config=step.handler.initialization,
                backoff=effective(step.retry, self._defaults.backoff),
                retryable=step.retry.retryable,
                timeout_seconds=step.timeout_seconds or self._defaults.timeout_seconds,
                lease=None if step.lease_seconds is None else timedelta(seconds=step.lease_seconds),
                executor=self.executors.get(handler.runs_in),
                is_plain=check_result is None and expand is None and check_returned is None,
                check_returned=check_returned,
                check_result=check_result,
                expand=expand,
                forgiven=_forgiven(template, step) if expand is not None else None,
                events=events,
                plain_events=plain_events(events),
                asks_publishers=any(event.publisher is not None for event in events),
            )
        return plans

    def handler_of(self, step: StepDefinition) -> BoundHandler:
        """Who runs the step. Raises BindError with everything for which nobody can."""
        handler = self.handlers.find(step.handler)
        if problems := misfits(step, handler, self.executors):
            raise BindError(problems)
        return handler

    def _expander(self, template: TaskTemplate, step: StepDefinition, handler: BoundHandler) -> Expand | None:
        if step.type is StepType.DECISION:

            def decide(result: Any) -> tuple[Any, Expansion]:
                decision = decision_of(result)
                made = expand_decision(
                    template,
                    step.name,
                    decision,
                    max_steps=self._defaults.decision_steps_max,
                    max_depth=self._defaults.decision_depth_max,
                )
                return (decision.as_value() if result is decision else result), made

            return decide
        if step.type is StepType.BATCHABLE:

            def analyze(result: Any) -> tuple[Any, Expansion]:
                batches = batches_of(result, most=self._defaults.batch_workers_max)
                if batches.worker_template is None and handler.worker_template is not None:
                    batches = replace(batches, worker_template=handler.worker_template)
                made = expand_batches(template, step.name, batches)
                # A result_schema describes the whole value.
                return (result if step.result_schema and type(result) is dict else kept_value(result, batches)), made

            return analyze
        return None

    def _found_in(self, template: TaskTemplate) -> tuple[Problem, ...]:
        problems = []
        above = reads(template)
        for step in template.steps:
            where = f"template {template.label}, step '{step.name}'"
            try:
                problems += [Problem(where, text) for text in unread(template, step, self.handler_of(step), above)]
            except BindError as error:
                problems += [Problem(where, problem) for problem in error.problems]
            try:
                _result_check(step)
            except InvalidSchema as error:
                problems.append(Problem(where, f"result_schema is itself not valid: {error}"))
            problems += [Problem(where, problem) for problem in event_problems(template, step, self.publishers)]
        return tuple(problems)


def _ordered(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else -1 for part in version.split("."))


def _forgiven(template: TaskTemplate, step: StepDefinition) -> str | None:
    made = expand_nothing(template, step.name) if step.optional else None
    return dumps(made.as_json()) if made else None


def _result_check(step: StepDefinition) -> SchemaCheck | None:
    return None if step.result_schema is None else schema_check(step.result_schema, subject="result")
