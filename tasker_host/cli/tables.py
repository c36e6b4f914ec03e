"""Tasks as people read them in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tasker_host.db.queries import Row
from tasker_host.domain.json import dumps

_STYLES = {
    "complete": "green",
    "resolved_manually": "green",
    "error": "red",
    "blocked_by_failures": "red",
    "cancelled": "yellow",
    "waiting_for_retry": "yellow",
}
_WIDE = 200
_LONGEST_VALUE = 100


def console(*, stderr: bool = False) -> Console:
    """For stdout, or stderr; not wrapped at 80 columns when it is read by a program."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, highlight=False, soft_wrap=True, width=None if stream.isatty() else _WIDE)


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    made = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return made


def state(name: str) -> Text:
    return Text(name, style=_STYLES.get(name, ""))


def print_tasks(rows: Sequence[Row], total: int) -> None:
    """A page of tasks, and how many there are in all."""
    listed = table("TASK", "TEMPLATE", "STATE", "STEPS", "CREATED", "TOOK", right=("STEPS", "TOOK"))
    for row in rows:
        listed.add_row(
            str(row["task_uuid"]),
            f"{row['namespace']}/{row['name']} {row['version']}",
            state(row["status"]),
            f"{row['completed_steps']}/{row['total_steps']}",
            _time(row["created_at"]),
            _took(row),
        )
    out = console()
    out.print(listed)
    out.print(f"{len(rows)} of {total} tasks", style="dim")


def print_task(row: Row) -> None:
    """A task with its steps."""
    out = console()
    out.print(Text.assemble((str(row["task_uuid"]), "bold"), "  ", state(row["status"])))
    out.print(
        f"{row['namespace']}/{row['name']} {row['version']}, created {_time(row['created_at'])}, took {_took(row)}"
    )
    if row["error"] is not None:
        out.print(Text(f"{row['error']['reason']}: {row['error']['message']}", style="red"))
    out.print(Text(f"context {_short(row['context'])}"))
    steps = table("STEP", "STATE", "ATTEMPTS", "MS", "RESULT", right=("ATTEMPTS", "MS"))
    for step in row["steps"]:
        steps.add_row(
            step["name"],
            state(step["current_state"]),
            f"{step['attempts']}/{step['max_attempts']}",
            "" if step["took_ms"] is None else f"{step['took_ms']:.1f}",
            Text(_outcome(step)),
        )
    out.print(steps)


def print_dead_letters(rows: Sequence[Row]) -> None:
    """A page of dead letters; those that are pending may have scores."""
    urgent = any("priority_score" in row for row in rows)
    listed = table("ENTRY", "TASK", "TEMPLATE", "REASON", "SINCE", "SCORE" if urgent else "STATUS", right=("SCORE",))
    for row in rows:
        listed.add_row(
            str(row["dlq_entry_uuid"]),
            str(row["task_uuid"]),
            f"{row['namespace']}/{row['task_name'] or '?'}",
            row["dlq_reason"],
            _time(row["dlq_timestamp"]),
            f"{row['priority_score']:.0f}" if urgent else row["resolution_status"],
        )
    console().print(listed)


def print_dead_letter(row: Row) -> None:
    """A dead letter with what its snapshot says of the steps."""
    out = console()
    out.print(Text.assemble((str(row["dlq_entry_uuid"]), "bold"), f"  {row['dlq_reason']}  {row['resolution_status']}"))
    out.print(
        f"task {row['task_uuid']} of {row['namespace']}/{row['task_name'] or '?'}, filed {_time(row['dlq_timestamp'])}"
        f" while {row['original_state']}, now {row['current_state'] or 'gone'}"
    )
    for name in ("resolution_notes", "resolved_by", "metadata"):
        if row[name] is not None:
            out.print(Text(f"{name}: {row[name] if isinstance(row[name], str) else _short(row[name])}"))
    steps = table("STEP", "STATE", "ATTEMPTS", "ERROR", right=("ATTEMPTS",))
    for step in row["task_snapshot"].get("steps", ()):
        error = step["error"]
        told = f"{error.get('error_type')}: {error.get('message')}" if isinstance(error, dict) else ""
        steps.add_row(step["name"], state(step["state"]), f"{step['attempts']}/{step['max_attempts']}", Text(told))
    out.print(steps)


def print_dead_letter_stats(rows: Sequence[Row]) -> None:
    """Dead letters counted by reason."""
    counted = table("REASON", "ALL", "PENDING", "RESOLVED", "FAILED", "CANCELLED", "MINUTES", right=("ALL", "PENDING"))
    for row in rows:
        took = row["avg_resolution_time_minutes"]
        counted.add_row(
            row["dlq_reason"],
            *(str(row[name]) for name in ("total_entries", "pending", "manually_resolved", "permanent_failures")),
            str(row["cancelled"]),
            "–" if took is None else f"{took:.0f}",
        )
    console().print(counted)


def _outcome(step: Row) -> str:
    error = step["error"]
    if error is not None and step["current_state"] != "complete":
        return f"{error.get('error_type')}: {error.get('message')}"
    return "" if step["result"] is None else _short(step["result"])


def _short(value: Any) -> str:
    text = dumps(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def _time(at: datetime | None) -> str:
    return "" if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _took(row: Row) -> str:
    ended = row["completed_at"]
    return "–" if ended is None else f"{(ended - row['created_at']).total_seconds() * 1000:.1f} ms"


def print_step(row: Row) -> None:
    """A step, with what is known of it."""
    out = console()
    out.print(Text.assemble((row["name"], "bold"), "  ", state(row["current_state"])))
    out.print(f"attempt {row['attempts']} of {row['max_attempts']}, since {_time(row['state_since'])}")
    for name in ("waits_for_limit", "next_retry_at", "worker", "checkpoint", "result", "error"):
        if row[name] is not None:
            value = (
                row[name]
                if isinstance(row[name], str)
                else _time(row[name])
                if name == "next_retry_at"
                else dumps(row[name])
            )
            out.print(f"{name.replace('_', ' ')}: {value}")


def print_history(rows: Sequence[Row]) -> None:
    """Moves of a task and its steps."""
    listed = table("AT", "STEP", "FROM", "TO", "ATTEMPT", "WHO", "WHY", right=("ATTEMPT",))
    for row in rows:
        listed.add_row(
            row["at"].astimezone().strftime("%H:%M:%S.%f")[:-3],
            row["step_name"] or "",
            row["from_state"] or "",
            state(row["to_state"]),
            "" if row["attempt"] is None else str(row["attempt"]),
            row["actor"] or row["worker"] or "",
            row["reason"] or (row["error"] or {}).get("message", ""),
        )
    console().print(listed)


def print_limits(rows: Sequence[Row]) -> None:
    """Limits, and how much they hold back."""
    listed = table(
        "KEY",
        "AT ONCE",
        "PER SECOND",
        "PAUSED",
        "RUNNING",
        "WAITING",
        right=("AT ONCE", "PER SECOND", "RUNNING", "WAITING"),
    )
    for row in rows:
        listed.add_row(
            row["key"],
            "" if row["max_running"] is None else str(row["max_running"]),
            "" if row["per_second"] is None else f"{row['per_second']:g}",
            "yes" if row["paused"] else "",
            str(row["running"]),
            str(row["waiting"]),
        )
    out = console()
    out.print(listed if rows else "no limits")


def print_workers(rows: Sequence[Row]) -> None:
    """The fleet."""
    listed = table("WORKER", "HOST", "PID", "STATE", "RUNNING", "TAGS", "NAMESPACES", "SINCE", right=("PID", "RUNNING"))
    for row in rows:
        listed.add_row(
            row["worker"],
            row["host"],
            str(row["pid"]),
            Text(row["state"], style="red" if row["state"] == "lost" else ""),
            f"{row['running']}/{row['slots']}",
            ", ".join(row["tags"]),
            ", ".join(row["namespaces"]),
            _time(row["since"]),
        )
    out = console()
    out.print(listed if rows else "no worker lives on this database: start one with `tasker run`")
    for row in rows:
        for step in row["unserved"]:
            out.print(f"{row['worker']} has no handler for step {step['step']} of {step['template']}", style="yellow")
