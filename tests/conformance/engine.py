"""Runs a task to its end on the kernel, with scripted handlers and a clock of its own.

What decides is the product's: its parser, registry, submission, kernel calls, and what becomes of a handler's return
or raise (`worker.execute`). Only the loop is ours: on one connection, one step after the other, moving the clock when
nothing can run before.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from tasker_host.db.kernel import (
    Checkpointed,
    Claimed,
    NewTask,
    Outcome,
    steps_checkpoint,
    steps_claim,
    steps_finish,
    tasks_submit,
)
from tasker_host.domain.backoff import BackoffPolicy
from tasker_host.domain.batches import Batches, Cursor, batch_id, cursor_ranges
from tasker_host.domain.context import StepContext
from tasker_host.domain.ids import WorkerId, uuid7
from tasker_host.domain.result import Checkpoint, Decision, Failed, Succeeded
from tasker_host.domain.source import template_from_data
from tasker_host.domain.template import Backoff, TaskTemplate
from tasker_host.handlers.bound import bind
from tasker_host.handlers.step import StepHandler
from tasker_host.orchestration.catalog import shape
from tasker_host.registry.compose import Defaults, Registry
from tasker_host.registry.plan import StepPlan
from tasker_host.worker.execute import context_of, outcome_of, outcome_of_error, released

LEASE = timedelta(seconds=3600)
AGING = timedelta(seconds=300)
WORKER = WorkerId("conformance")
START = datetime(2026, 1, 1, tzinfo=UTC)


class UnknownAction(AssertionError):
    """The case wants what this adapter does not know."""


def template_of(data: Mapping[str, Any], *, namespace: str | None = None) -> TaskTemplate:
    """Parsed as the product does; what the format has only for others' loaders is left out (`README.md`)."""
    given = dict(data)
    if namespace is not None:
        given["namespace_name"] = namespace
    found, _ = template_from_data(given, source="fixture")
    return found


@dataclass
class Runner:
    """One task of one template. `script` maps a step, or its template's name, to its actions."""

    connection: asyncpg.Connection
    template: TaskTemplate
    script: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    cap_seconds: float = 60
    base_seconds: float = 2
    now: datetime = START
    task: UUID | None = None
    waits: list[list[Any]] = field(default_factory=list)
    ran: list[tuple[str, int, bool]] = field(default_factory=list)
    checkpoints: dict[str, list[Any]] = field(default_factory=dict)
    held: dict[str, Claimed] = field(default_factory=dict)
    enqueued: set[str] = field(default_factory=set)
    _invocations: dict[str, int] = field(default_factory=dict)
    _plans: dict[str, StepPlan] = field(default_factory=dict)

    async def create(self, context: Mapping[str, Any]) -> UUID:
        """Registers the template with a scripted handler for each step, and submits a task of it."""
        registry = Registry(
            [found for made in _handlers(self.template) for found in bind(made, plugin="conformance", settings=None)],
            [self.template],
            Defaults(
                BackoffPolicy(Backoff.EXPONENTIAL, int(self.base_seconds * 1000), int(self.cap_seconds * 1000), 0), 30
            ),
        )
        self._plans = registry.plans(self.template)
        await self.clock(self.now)
        template_id = await self.connection.fetchval(
            "select tasker.template_register($1, $2, $3, $4, $5, $6)",
            self.template.namespace_name,
            self.template.name,
            self.template.version,
            self.template.sha256(),
            self.template.canonical(),
            json.dumps(shape(self.template)),
        )
        task = uuid7()
        new = NewTask(
            task, template_id, orjson.dumps(context).decode(), 0, None, None, task, None, "case", "tests", "run", None
        )
        await tasks_submit(self.connection, [new], aging_interval=AGING)
        self.task = task
        return task

    async def clock(self, now: datetime) -> None:
        self.now = now
        await self.connection.execute("select set_config('tasker.now', $1, false)", now.isoformat())

    async def until_idle(self) -> None:
        """Runs everything there is to run, moving the clock to whatever comes due next."""
        while True:
            taken = await steps_claim(self.connection, WORKER, [self.template.namespace_name], want=100, lease=LEASE)
            for step in taken.steps:
                await self._run(step)
            if taken.steps:
                continue
            if taken.next_due_seconds is None:
                return
            await self.clock(self.now + timedelta(seconds=taken.next_due_seconds))

    async def _run(self, step: Claimed) -> None:
        while True:
            outcome = await self.execute(step)
            if outcome.kind != "checkpointed":
                break
            value = outcome.value or "null"
            saved = [Checkpointed(step.namespace, step.step_uuid, step.attempt, step.msg_id, value)]
            assert await steps_checkpoint(self.connection, WORKER, saved, lease=LEASE) == {step.step_uuid}
            self.checkpoints.setdefault(step.name, []).append(json.loads(value)["cursor"])
            step = step._replace(checkpoint=value)
        if outcome.retry_after is not None:
            self.waits.append([step.name, step.attempt, outcome.retry_after.total_seconds()])
        await self.finish(outcome)

    async def finish(self, *outcomes: Outcome) -> None:
        taken = await steps_finish(self.connection, WORKER, outcomes, [], want=0, lease=LEASE)
        assert taken.superseded == []
        ended = {outcome.step_uuid for outcome in outcomes}
        self.held = {name: step for name, step in self.held.items() if step.step_uuid not in ended}

    async def execute(self, step: Claimed) -> Outcome:
        """What becomes of one execution, by the script."""
        plan = self._plans[step.template_step]
        states = await self.connection.fetch(
            "select p.state from tasker.steps s join tasker.steps p on p.step_uuid = any (s.parents)"
            " where s.step_uuid = $1",
            step.step_uuid,
        )
        all_ended = all(row["state"] in ("complete", "resolved_manually", "error") for row in states)
        if not self.checkpoints.get(step.name) or step.attempt not in [a for n, a, _ in self.ran if n == step.name]:
            self.ran.append((step.name, step.attempt, all_ended))
        try:
            result = self._act(context_of(step, plan), step.template_step)
            return outcome_of(step, plan, result, 1.0, result_max_bytes=1 << 20)
        except UnknownAction:
            raise
        except Exception as error:
            return outcome_of_error(step, plan, error, 1.0, ())

    async def claim(self, name: str) -> Claimed:
        """The step of that name, running, since now or since an earlier claim; what else was ready is given back."""
        if name in self.held:
            return self.held[name]
        while True:
            taken = await steps_claim(self.connection, WORKER, [self.template.namespace_name], want=100, lease=LEASE)
            others = [released(step) for step in taken.steps if step.name != name]
            if others:
                await self.finish(*others)
            for step in taken.steps:
                if step.name == name:
                    self.held[name] = step
                    return step
            assert taken.next_due_seconds is not None, f"step {name} is neither ready nor due"
            await self.clock(self.now + timedelta(seconds=taken.next_due_seconds))

    # Scripts ----------------------------------------------------------------------------------------------------------

    def _act(self, context: StepContext, template_step: str) -> Any:  # noqa: PLR0911 - one return an action
        actions = self.script.get(context.step_name) or self.script.get(template_step) or [{"do": "ok"}]
        count = self._invocations.get(context.step_name, 0)
        self._invocations[context.step_name] = count + 1
        action = actions[min(count, len(actions) - 1)]
        evaluate = _Formula(context)
        match action["do"]:
            case "ok" if "formula" in action:
                formula = action["formula"]
                if isinstance(formula, str):
                    return Succeeded(evaluate(formula))
                return Succeeded({key: evaluate(text) for key, text in formula.items()})
            case "ok":
                return Succeeded(action.get("result", {}))
            case "fail":
                after = action.get("retry_after")
                return Failed(
                    action.get("message", "scripted"),
                    retryable=action.get("retryable", True),
                    retry_after_seconds=None if after is None else min(float(after), self.cap_seconds),
                )
            case "decide":
                steps = action["steps"]
                return Decision.route(evaluate(steps) if isinstance(steps, str) else steps)
            case "no_branches":
                return Decision()
            case "batches":
                return self._batches(action, evaluate)
            case "no_batches":
                return Batches()
            case "checkpoint":
                return Checkpoint(action["cursor"], action.get("items", 0), action.get("accumulated"))
            case other:
                raise UnknownAction(f"no scripted action {other!r}; see tests/conformance/README.md")

    @staticmethod
    def _batches(action: Mapping[str, Any], evaluate: Callable[[str], Any]) -> Batches:
        worker = action.get("worker")
        if "cursor_configs" in action:
            cursors = [
                Cursor(str(c["batch_id"]), c.get("start_cursor"), c.get("end_cursor"), c.get("batch_size"))
                for c in action["cursor_configs"]
            ]
            total = action.get("total_items", sum(cursor.batch_size or 0 for cursor in cursors))
            return Batches(tuple(cursors), total, worker)
        numbers = {
            key: evaluate(v) if isinstance(v, str) else v
            for key, v in action.items()
            if key in ("total", "size", "cap")
        }
        ranges = cursor_ranges(numbers["total"], numbers["size"], max_batches=numbers.get("cap"))
        cursors = [Cursor(batch_id(n), start, end, end - start) for n, (start, end) in enumerate(ranges, start=1)]
        return Batches(tuple(cursors), numbers["total"], worker)


def _handlers(template: TaskTemplate) -> list[type[StepHandler]]:
    """A handler class for each `handler.callable`, with the methods that steps name; what they do is the script's."""

    def scripted(self: StepHandler, context: StepContext) -> Any:
        raise AssertionError("run by the script")

    methods: dict[str, set[str]] = {}
    for step in template.steps:
        methods.setdefault(step.handler.callable, {"call"}).add(step.handler.method or "call")
    return [
        type("Scripted", (StepHandler,), {"handler_name": name, **dict.fromkeys(names, scripted)})
        for name, names in methods.items()
    ]


_FUNCTIONS: tuple[Callable[..., Any], ...] = (
    *(abs, all, any, bool, dict, divmod, enumerate, filter, float, int, isinstance, len, list, map, max, min, pow),
    *(range, reversed, round, set, sorted, str, sum, tuple, zip),
)
"""Of Python's own, what a formula may call."""


class _Formula:
    """A small Python expression over a step's context: input, dep, init, cursor, checkpoint, workers(prefix, key)."""

    def __init__(self, context: StepContext) -> None:
        self._names = {
            "input": _open(context.input),
            "dep": _open(context.dependencies),
            "init": _open(context.config),
            "cursor": _open(context.step_inputs.get("cursor")),
            "checkpoint": _open(context.checkpoint),
            "attempt": context.attempt,
            "workers": lambda prefix, key: [
                value[key] for name, value in sorted(context.dependencies.items()) if name.startswith(prefix)
            ],
            **{function.__name__: function for function in _FUNCTIONS},
        }

    def __call__(self, text: str) -> Any:
        tree = ast.parse(text, mode="eval")
        if any(isinstance(node, ast.Attribute) and node.attr.startswith("_") for node in ast.walk(tree)):
            raise UnknownAction(f"not a formula: {text!r}")
        # As globals: what a comprehension computes sees no locals.
        value = eval(compile(tree, "<formula>", "eval"), {"__builtins__": {}, **self._names})
        return _plain(value)


class _Open(dict[str, Any]):
    """A mapping whose keys are attributes too, before its methods: `input.items` is what the context has there."""

    def __getattribute__(self, key: str) -> Any:
        return self[key] if key in self else super().__getattribute__(key)


def _open(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _Open({key: _open(item) for key, item in value.items()})
    if isinstance(value, list):
        return [_open(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    return value
