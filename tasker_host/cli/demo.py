"""`tasker demo`: a day of orders and one task of each shape, run by a real host on the embedded database."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import rich_click as click

from tasker_host.cli.options import TaskerCommand, config_options, echo_json, exit_with, json_option

if TYPE_CHECKING:
    from tasker_host.config import Config
    from tasker_host.db.queries import Row
    from tasker_host.domain.request import TaskRequest
    from tasker_host.host import Host

_ORDERS = ("examples_orders", "business_workflow")
_MOST_SECONDS = 120.0


@click.command("demo", cls=TaskerCommand)
@click.option("--throw-away", is_flag=True, help="On a data directory of its own that is removed at the end.")
@config_options
@json_option
def demo(throw_away: bool, config_root: Path | None, env: str | None, as_json: bool) -> None:
    """Run a day of orders and one task of each shape, and show what happened.

    Uses the embedded database, also when DATABASE_URL is set. Needs the package tasker-examples.
    """
    from tasker_host.cli.running import quiet_logs, run_async
    from tasker_host.config import load
    from tasker_host.db.embedded import temporary_data_dir

    with ExitStack() as stack:
        overrides: dict[str, Any] = {"database.url": "", "database.embedded": True}
        if throw_away:
            overrides["database.data_dir"] = str(stack.enter_context(temporary_data_dir()))
        config = load(config_root, env=env, overrides=overrides)
        quiet_logs(config)
        happened = run_async(_run(config))
        further = [] if throw_away else _further(happened)
        if as_json:
            echo_json(happened.as_json() | {"look_further": further})
        else:
            from tasker_host.cli.demo_report import print_report

            print_report(happened, further)
    exit_with(happened.as_expected)


@dataclass(slots=True)
class TemplateSummary:
    """Tasks of one template; `p50_ms` and `p99_ms` are from creation to the end, of those that completed."""

    template: str
    count: int = 0
    ok: int = 0
    failed: int = 0
    refused: int = 0
    took_ms: list[float] = field(default_factory=list)

    @property
    def p50_ms(self) -> float | None:
        return percentile(self.took_ms, 50)

    @property
    def p99_ms(self) -> float | None:
        return percentile(self.took_ms, 99)


@dataclass(slots=True)
class Happened:
    """The whole run. `failed` are tasks that ended in failure; `refused` are requests that never became tasks."""

    database: str
    seconds: float
    steps: int
    retries: int
    templates: list[TemplateSummary]
    failed: list[Row]
    refused: list[tuple[str, str]]
    unfinished: int

    @property
    def as_expected(self) -> bool:
        """Every task came to its end. That some orders fail is part of the day."""
        return self.unfinished == 0

    @property
    def steps_per_second(self) -> float:
        return self.steps / self.seconds

    def as_json(self) -> dict[str, Any]:
        return {
            "database": self.database,
            "seconds": round(self.seconds, 3),
            "steps": self.steps,
            "steps_per_second": round(self.steps_per_second, 1),
            "retries": self.retries,
            "unfinished": self.unfinished,
            "templates": [
                {
                    "template": summary.template,
                    "count": summary.count,
                    "ok": summary.ok,
                    "failed": summary.failed,
                    "refused": summary.refused,
                    "p50_ms": summary.p50_ms,
                    "p99_ms": summary.p99_ms,
                }
                for summary in self.templates
            ],
            "failed": [
                {
                    "task_uuid": str(row["task_uuid"]),
                    "template": _label(row),
                    "what": what_of(row["context"]),
                    "state": row["state"],
                    "step": row["failed_step"],
                    "error": row["error"],
                }
                for row in self.failed
            ],
            "refused": [{"what": what, "reason": reason} for what, reason in self.refused],
        }


def percentile(values: Sequence[float], percent: int) -> float | None:
    """The smallest value that is at least as large as `percent` of them; None of none."""
    if not values:
        return None
    return round(sorted(values)[math.ceil(len(values) * percent / 100) - 1], 3)


def what_of(context: Any) -> str:
    """An order's number, or the number that a shape was given, to tell tasks apart."""
    for key in ("order_ref", "order_id", "even_number"):
        if isinstance(context, dict) and key in context:
            return f"{key} {context[key]}" if key == "even_number" else str(context[key])
    return ""


async def _run(config: Config) -> Happened:
    from tasker_host.cli.demo_progress import progress
    from tasker_host.host import Host

    requests = _requests()
    async with Host(config) as host:
        try:
            _check_templates(host, requests)
            click.echo(f"{len(requests)} requests on {host.opened}", err=True)
            started = time.perf_counter()
            answers = await host.submissions.submit_many(requests)
            tasks = [answer for answer in answers if isinstance(answer, UUID)]
            with progress(host, len(tasks)) as show:
                waiting = asyncio.create_task(host.watch.settled(tasks, timeout_seconds=_MOST_SECONDS))
                while not waiting.done():
                    show(host.watch.waiting)
                    await asyncio.wait([waiting], timeout=0.1)
                show(host.watch.waiting)
            if not isinstance(waiting.exception(), TimeoutError | None):
                await waiting
            seconds = time.perf_counter() - started
            return await _happened(host, requests, answers, seconds)
        except asyncio.CancelledError:
            host.stop_claiming(grace_seconds=0)
            raise


def _requests() -> list[TaskRequest]:
    """Orders, and one request of each other template. A key of this run's own: the demo can be run again and again."""
    from importlib import import_module

    from tasker_host.domain.request import request_from_data
    from tasker_host.errors import PluginError

    try:
        data = import_module("tasker_examples.data")
    except ModuleNotFoundError:
        raise PluginError(
            "the demo needs the package tasker-examples, which is not installed: pip install ./plugins/tasker-examples"
        ) from None
    run = f"demo-{os.urandom(4).hex()}"
    namespace, name = _ORDERS
    orders = [{"namespace": namespace, "name": name, "context": order} for order in data.orders()]
    return [
        request_from_data(
            {**given, "idempotency_key": f"{run}-{number}", "initiator": run, "source_system": "tasker-demo"}
        )
        for number, given in enumerate([*orders, *data.numbers()])
    ]


def _check_templates(host: Host, requests: Sequence[TaskRequest]) -> None:
    from tasker_host.errors import PluginError, Problem

    there = {(template.namespace_name, template.name) for template in host.registry.available()}
    missing = sorted({(r.namespace, r.name) for r in requests} - there)
    if missing:
        faults = [
            Problem(f"plugin '{plugin.name}'", f"{plugin.status}: {fault}")
            for plugin in host.roster.faulty()
            for fault in plugin.faults
        ]
        names = ", ".join(f"{namespace}/{name}" for namespace, name in missing)
        raise PluginError(
            f"the demo needs templates that no plugin gives here: {names}; is plugin 'examples' on?", faults
        )


async def _happened(host: Host, requests: Sequence[TaskRequest], answers: Sequence[Any], seconds: float) -> Happened:
    from tasker_host.db.queries import tasks_outcomes

    summaries: dict[str, TemplateSummary] = defaultdict(lambda: TemplateSummary(""))
    refused = []
    for request, answer in zip(requests, answers, strict=True):
        summary = summaries[f"{request.namespace}/{request.name}"]
        summary.count += 1
        if not isinstance(answer, UUID):
            summary.refused += 1
            problems = "; ".join(str(problem) for problem in answer.problems) or str(answer)
            refused.append((what_of(request.context), problems))
    rows = await tasks_outcomes(host.database, [answer for answer in answers if isinstance(answer, UUID)])
    for row in rows:
        summary = summaries[_label(row)]
        if row["state"] == "complete":
            summary.ok += 1
            summary.took_ms.append(row["took_ms"])
        else:
            summary.failed += 1
    for label, summary in summaries.items():
        summary.template = label
    steps = sum(row["steps_done"] for row in rows)
    executions = sum(row["attempts"] for row in rows)
    failed = [row for row in rows if row["failed_step"] is not None]
    return Happened(
        database=str(host.opened),
        seconds=seconds,
        steps=steps,
        retries=executions - steps - len(failed),
        templates=[summaries[label] for label in sorted(summaries)],
        failed=sorted(failed, key=lambda row: row["task_uuid"]),
        refused=refused,
        unfinished=sum(row["state"] not in ("complete", "error", "blocked_by_failures") for row in rows),
    )


def _label(row: Row) -> str:
    return f"{row['namespace']}/{row['name']}"


def _further(happened: Happened) -> list[str]:
    # The demo ran on the embedded database; where another one is configured, these commands must be led to it too.
    prefix = "DATABASE_URL= " if os.environ.get("DATABASE_URL") else ""
    commands = ["tasker task list", "tasker task list --state error --state blocked_by_failures"]
    if happened.failed:
        commands.append(f"tasker task show {happened.failed[0]['task_uuid']}")
    return [prefix + command for command in [*commands, "tasker plugin show examples", "tasker run"]]
