"""Relays and their events as people read them in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.text import Text

from tasker_host.cli.tables import console, table
from tasker_host.db.queries import Row

_STYLES = {"running": "green", "held": "yellow", "stopped": "red"}
_LONGEST_ERROR = 120


def print_relays(rows: Sequence[Row]) -> None:
    """Relays, each with its counts; below, why one is stopped and what went wrong last."""
    counts = ("WAITING", "DELIVERED", "RETRIED", "DEAD")
    listed = table("RELAY", "PLUGIN", "STATE", *counts, "LAST DELIVERED", "EVENTS", right=counts)
    for row in rows:
        listed.add_row(
            row["relay"],
            row["plugin"],
            Text(row["state"], style=_STYLES.get(row["state"], "")),
            str(row["waiting"]),
            str(row["delivered"]),
            str(row["retried"]),
            str(row["dead_kept"]) if row["dead_kept"] == row["dead"] else f"{row['dead_kept']} of {row['dead']}",
            _short(row["last_delivered_at"]),
            " ".join(row["events"]),
        )
    out = console()
    out.print(listed)
    for row in rows:
        if row["stopped_because"] is not None:
            out.print(Text(f"{row['relay']} is stopped since {_short(row['stopped_at'])}: {row['stopped_because']}"))
        elif row["hold_until"] is not None:
            out.print(Text(f"{row['relay']} waits until {_short(row['hold_until'])}: its target asked for it"))
        if row["last_error"] is not None:
            error = row["last_error"][:_LONGEST_ERROR]
            out.print(Text(f"{row['relay']} failed last at {_short(row['last_error_at'])}: {error}", style="dim"))


def print_event_counts(rows: Sequence[Row]) -> None:
    """Events by publisher, with their counts; below, what went wrong last."""
    counts = ("PUBLISHED", "DECLINED", "FAILED")
    listed = table("EVENT", "NAMESPACE", "PUBLISHER", *counts, "LAST", right=counts)
    for row in rows:
        failed = Text(str(row["failed"]), style="red" if row["failed"] else "")
        published, declined = str(row["published"]), str(row["declined"])
        names = (row["event_name"], row["namespace"], row["publisher"])
        listed.add_row(*names, published, declined, failed, _short(row["last_at"]))
    out = console()
    out.print(listed)
    for row in rows:
        if row["last_error"] is not None:
            error = row["last_error"][:_LONGEST_ERROR]
            out.print(Text(f"{row['event_name']} failed last at {_short(row['last_error_at'])}: {error}", style="dim"))


def print_dead_events(rows: Sequence[Row]) -> None:
    listed = table("EVENT", "NAME", "RELAY", "TASK", "DIED", "ATTEMPTS", "ERROR", right=("ATTEMPTS",))
    for row in rows:
        listed.add_row(
            str(row["event_id"]),
            str(row["event_name"]),
            row["target"],
            str(row["task_uuid"] or ""),
            _short(row["died_at"]),
            str(row["attempts"]),
            (row["error"] or "")[:_LONGEST_ERROR],
        )
    out = console()
    out.print(listed)
    out.print(f"{len(rows)} dead events; tasker event replay sends them again", style="dim")


def print_replayed(rows: Sequence[Row], *, dry_run: bool) -> None:
    listed = table("EVENT", "NAME", "FIRED", "FROM", "TO")
    for row in rows:
        fired = _short(row["fired_at"])
        listed.add_row(str(row["event_id"]), str(row["event_name"]), fired, row["source"], row["target"])
    out = console()
    if rows:
        out.print(listed)
    out.print(f"{len(rows)} events {'would be sent' if dry_run else 'sent'} again", style="dim")


def _short(moment: datetime | str | None) -> str:
    if moment is None:
        return ""
    when = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return when.astimezone().strftime("%Y-%m-%d %H:%M:%S")
