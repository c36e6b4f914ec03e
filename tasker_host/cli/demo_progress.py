"""The demo while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tasker_host.cli.tables import console

if TYPE_CHECKING:
    from tasker_host.host import Host


@contextmanager
def progress(host: Host, tasks: int) -> Iterator[Callable[[int], None]]:
    """Inside, the returned function shows how far it is, given how many tasks are still under way."""
    out = console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("tasks"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[steps]}"),
        console=out,
    )
    line = bar.add_task("running", total=tasks, steps="")

    def show(under_way: int) -> None:
        counts = host.worker.counts if host.worker is not None else None
        steps = f"{counts.succeeded} steps done, {counts.retried} to be retried" if counts is not None else ""
        bar.update(line, completed=tasks - under_way, steps=steps)

    with bar:
        yield show
