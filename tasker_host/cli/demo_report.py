"""The demo when it is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from tasker_host.cli.tables import console, table

if TYPE_CHECKING:
    from tasker_host.cli.demo import Happened


def print_report(happened: Happened, further: Sequence[str]) -> None:
    """Per template, the failures with their reasons, speed, and where to look further."""
    from tasker_host.cli.demo import what_of

    out = console()
    out.print()
    per_template = table(
        "TEMPLATE", "COUNT", "OK", "FAILED", "REFUSED", "P50 MS", "P99 MS",
        right=("COUNT", "OK", "FAILED", "REFUSED", "P50 MS", "P99 MS"),
    )  # fmt: skip
    for summary in happened.templates:
        per_template.add_row(
            summary.template,
            str(summary.count),
            Text(str(summary.ok), style="green"),
            Text(str(summary.failed), style="red" if summary.failed else "dim"),
            Text(str(summary.refused), style="yellow" if summary.refused else "dim"),
            _ms(summary.p50_ms),
            _ms(summary.p99_ms),
        )
    out.print(per_template)
    if happened.failed:
        out.print("\nFailed, and why:", style="bold")
        failures = table("TASK", "WHAT", "STEP", "REASON")
        for row in happened.failed:
            error = row["error"] or {}
            code = error.get("error_code") or error.get("error_type") or ""
            failures.add_row(
                str(row["task_uuid"]),
                what_of(row["context"]),
                row["failed_step"],
                f"{code}: {error.get('message', '')}",
            )
        out.print(failures)
    if happened.refused:
        out.print("\nRefused when submitted, nothing was written:", style="bold")
        refusals = table("WHAT", "REASON")
        for what, reason in happened.refused:
            refusals.add_row(what, Text(reason))
        out.print(refusals)
    _print_totals(happened)
    if further:
        out.print("\nLook further:", style="bold")
        for command in further:
            out.print(f"  {command}")


def _print_totals(happened: Happened) -> None:
    out = console()
    totals: Counter[str] = Counter()
    for summary in happened.templates:
        totals.update(ok=summary.ok, failed=summary.failed, refused=summary.refused)
    out.print(
        f"\n{totals['ok']} tasks complete, {totals['failed']} failed, {totals['refused']} refused;"
        f" {happened.steps} steps and {happened.retries} retries in {happened.seconds:.1f} s:"
        f" {happened.steps_per_second:,.0f} steps/s, each of them durable in {happened.database}"
    )
    if happened.unfinished:
        out.print(f"{happened.unfinished} tasks did not come to their end in time", style="red")


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}"
