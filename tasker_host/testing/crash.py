"""`crash_everywhere`: whether a task comes to the same end wherever a worker dies on the way."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from tasker_host.domain.json import loads
from tasker_host.domain.template import TaskTemplate
from tasker_host.testing.certificate import WORKER_LOST, CrashReport, Finding, NotIdempotent
from tasker_host.testing.compare import STATE, VALUE, Comparison, Difference, Traces
from tasker_host.testing.effects import Effects
from tasker_host.testing.given import Given, Plugins, Settings, Template, given
from tasker_host.testing.moments import Moment
from tasker_host.testing.outcome import TaskRun, run_of
from tasker_host.testing.own_loop import in_own_loop
from tasker_host.testing.server import Databases, embedded_databases, remember
from tasker_host.testing.stage import Stage, StillRunning, staged
from tasker_host.testing.task import TIMEOUT_SECONDS, left_behind, with_template
from tasker_host.testing.times import Windows

MORE_UNDISTURBED = 3
"""Runs without a death, beside the first two, before a handler is blamed."""

_ONE_BY_ONE: Mapping[str, Any] = {"worker.slots": 1, "worker.thread_slots": 1, "worker.process_slots": 1}
"""Steps run one after the other, so that every run comes by the same moments."""


def crash_everywhere(template: Template, context: Any = None, **options: Any) -> CrashReport:
    """Proves that a task of `template` comes to the same end wherever a worker dies. Raises NotIdempotent otherwise.

    See `crash_everywhere_async`, which takes the same arguments. May be called with or without a running event loop.
    """
    return in_own_loop(lambda: crash_everywhere_async(template, context, **options))


async def crash_everywhere_async(
    template: Template,
    context: Any = None,
    *,
    plugins: Plugins = (),
    handlers: Iterable[Any] = (),
    settings: Settings | None = None,
    config: Mapping[str, Any] | None = None,
    setup: Any = None,
    effects: Effects = None,
    reset: Callable[[], Any] | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    **request: Any,
) -> CrashReport:
    """As `crash_everywhere`, on the loop of the caller.

    The task runs once undisturbed, and once for every moment at which a worker can die: before and after every handler
    and every commit (claim, checkpoint, result). Each time another worker, with handlers made anew, goes on when the
    lease has ended, for which the clock is moved. State, values and errors of the steps, durable events, other tasks
    and `effects` must then be as undisturbed; without `effects`, every table that `setup` made. `reset` is called
    before each run, for effects elsewhere. The other arguments are those of `run_task`; `timeout_seconds` is for each
    run.

    Returns the report when all are the same, else raises NotIdempotent with it.
    """
    known = given(plugins, handlers, [], settings, config)
    report = await certified(
        known,
        template,
        context,
        request,
        databases=embedded_databases(),
        setup=setup,
        effects=effects,
        reset=reset,
        timeout_seconds=timeout_seconds,
    )
    if not report.is_proven:
        raise NotIdempotent(report)
    return report


async def certified(
    known: Given,
    template: Template,
    context: Any,
    request: Mapping[str, Any],
    *,
    databases: Databases,
    setup: Any = None,
    effects: Effects = None,
    reset: Callable[[], Any] | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> CrashReport:
    """The report, whatever it says; `progress` is told how many runs are done, of how many."""
    known = replace(with_template(template, known), config={**known.config, **_ONE_BY_ONE})
    async with staged(known, databases, setup=setup) as stage:
        runs = _Runs(stage, template, context, request, effects, reset, timeout_seconds)
        return await runs.everywhere(progress)


@dataclass(slots=True)
class _Suspicion:
    """What was different after a death at `moment`, each time that it was tried."""

    moment: Moment
    wheres: set[str] | None = None
    left: Traces | None = None
    stuck: Difference | None = None

    def saw(self, left: Traces, comparison: Comparison) -> None:
        now = {difference.where for difference in comparison.differences(left)}
        self.wheres = now if self.wheres is None else self.wheres & now
        self.left = left

    def differences(self, comparison: Comparison) -> list[Difference]:
        """Those that came every time."""
        found = comparison.differences(self.left) if self.left is not None else []
        stuck = [self.stuck] if self.stuck is not None else []
        return stuck or [difference for difference in found if difference.where in (self.wheres or ())]


@dataclass(slots=True)
class _Runs:
    stage: Stage
    template: Template
    context: Any
    request: Mapping[str, Any]
    effects: Effects
    reset: Callable[[], Any] | None
    timeout_seconds: float

    async def everywhere(self, progress: Callable[[int, int], None]) -> CrashReport:
        begun = time.monotonic()
        await self.stage.host.quiet.wait()
        await remember(self.stage.dsn)
        moments, undisturbed, traces = await self._once(None)
        definition = self._definition(undisturbed.template)
        _, _, again = await self._once(None)
        comparison = Comparison(traces, again)
        suspicions: list[_Suspicion] = []
        missed: list[Moment] = []
        # Two runs that do not come to the same have nothing that a third one could be compared with.
        tried = [] if comparison.unsteady else moments
        for done, moment in enumerate(tried, start=1):
            suspicion = _Suspicion(moment)
            if not await self._dies(suspicion, comparison):
                missed.append(moment)
            elif suspicion.wheres and await self._dies(suspicion, comparison) and suspicion.wheres:
                # What comes again may still differ by itself: as much is known after some more undisturbed runs.
                if len(suspicions) < MORE_UNDISTURBED:
                    _, _, again = await self._once(None)
                    comparison.learn(again)
                suspicions.append(suspicion)
            progress(done, len(tried))
        findings = [
            _finding(definition, suspicion.moment, differences)
            for suspicion in suspicions
            if (differences := suspicion.differences(comparison))
        ]
        return CrashReport(
            template=undisturbed.template,
            undisturbed=undisturbed,
            moments=tried,
            findings=findings,
            missed=missed,
            unsteady=comparison.unsteady,
            volatile=comparison.volatile,
            compared=[name.removeprefix("effects · ") for name in traces.rows if name.startswith("effects")],
            handlers=list(dict.fromkeys(_handler(definition, step) for step in undisturbed.steps)),
            took_seconds=time.monotonic() - begun,
        )

    async def _dies(self, suspicion: _Suspicion, comparison: Comparison) -> bool:
        """A run with that death, whose differences are kept if they were there before. Whether it came to the death."""
        lives = self.stage.host.lives
        try:
            _, _, left = await self._once(suspicion.moment)
            suspicion.saw(left, comparison)
        except StillRunning as error:
            suspicion.stuck = Difference("the task", "comes to rest", str(error))
            suspicion.wheres = {suspicion.stuck.where}
        return self.stage.host.lives >= lives + 2

    def _definition(self, label: str) -> TaskTemplate:
        return next(found for found in self.stage.templates() if found.label == label)

    async def _once(self, fatal: Moment | None) -> tuple[list[Moment], TaskRun, Traces]:
        """One run from the same beginning; its moments, its end and what it left."""
        stage, host = self.stage, self.stage.host
        began, moved = datetime.now(UTC), stage.moved
        await host.reborn()
        await host.quiet.wait()
        await host.database.fetchval("select tasker_kit.restore()")
        if self.reset is not None:
            made = self.reset()
            if inspect.isawaitable(made):
                await made
        host.moments.watch(fatal)
        try:
            task = await stage.submit(self.template, self.context, self.request)
            await stage.rest([task], timeout_seconds=self.timeout_seconds, others=True)
        finally:
            moments = host.moments.stop()
        left = await left_behind(stage, self.effects, all_tables=True)
        run = await run_of(host.database, task, left, host.published)
        others = await host.database.fetch(
            "select m.namespace, m.name, m.version, t.state, t.context::text as context from tasker.tasks t"
            " join tasker.templates m on m.template_id = t.template_id where t.task_uuid <> $1",
            task,
        )
        sent = await host.database.fetch(
            "select event::text from tasker_kit.events() e (event) where event -> 'metadata' ->> 'task_uuid' = $1",
            str(task),
        )
        events = [_event_row(loads(row["event"])) for row in sent]
        ended = datetime.now(UTC)
        windows = Windows((began, ended), (began + moved, ended + stage.moved))
        more = {"other tasks": [dict(row) for row in others], "durable events": events}
        return moments, run, _traces(run, more, windows)


def _event_row(event: Mapping[str, Any]) -> dict[str, Any]:
    """What an event says; not when, in which attempt, and under which id."""
    payload, metadata = event["payload"], event["metadata"]
    is_object = isinstance(payload, dict)
    said = {f"payload.{key}": value for key, value in payload.items()} if is_object else {"payload": payload}
    return {"event": event["event_name"], "step": metadata.get("step_name"), "outcome": metadata.get("outcome"), **said}


def _traces(run: TaskRun, more: Mapping[str, Any], windows: Windows) -> Traces:
    facts: dict[str, Any] = {f"the task{STATE}": run.state}
    for name, step in run.steps.items():
        facts[f"step {name}{STATE}"] = step.state
        if step.state == "complete":
            facts[f"step {name}{VALUE}"] = step.value
        elif step.error is not None:
            # Which worker was lost is another one every time.
            lost = step.error.get("error_type") == WORKER_LOST
            facts[f"step {name} · error"] = WORKER_LOST if lost else f"{step.error.get('message')}"
    rows = {f"effects · {name}": found for name, found in run.effects.items()}
    return Traces(windows.without_times(facts), windows.without_times({**rows, **more}))


def _finding(definition: TaskTemplate, moment: Moment, differences: Sequence[Difference]) -> Finding:
    # What was lost with the worker ran twice; where nothing was, the first step that differs, or that it died at.
    differing = next((d.where.split(" · ")[0][5:] for d in differences if d.where.startswith("step ")), "")
    step = moment.interrupts or differing or moment.step
    return Finding(moment, step, _handler(definition, step), tuple(differences))


def _handler(definition: TaskTemplate, step: str) -> str:
    """The name in `handler.callable`; a batch's workers are named after their step, with a number."""
    try:
        return definition.step(step).handler.callable
    except KeyError:
        found = [each for each in definition.steps if step.startswith(each.name)]
        return max(found, key=lambda each: len(each.name)).handler.callable if found else step
