"""What plugins are tested with: one step, a whole task, a task whose worker dies everywhere, a host.

Each name is loaded when it is first used: the pytest plugin, which is always there, costs those nothing who do not
use it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasker_host.lazy import lazy_names

if TYPE_CHECKING:
    from tasker_host.testing.certificate import CrashReport, NotIdempotent
    from tasker_host.testing.crash import crash_everywhere, crash_everywhere_async
    from tasker_host.testing.faults import check
    from tasker_host.testing.harness import TaskerHarness
    from tasker_host.testing.outcome import StepRun, TaskRun
    from tasker_host.testing.stage import StillRunning
    from tasker_host.testing.step import NoDatabase, run_step, run_step_async
    from tasker_host.testing.task import run_task, run_task_async

__all__ = [
    "CrashReport",
    "NoDatabase",
    "NotIdempotent",
    "StepRun",
    "StillRunning",
    "TaskRun",
    "TaskerHarness",
    "check",
    "crash_everywhere",
    "crash_everywhere_async",
    "run_step",
    "run_step_async",
    "run_task",
    "run_task_async",
]

_HOMES = {
    "certificate": ("CrashReport", "NotIdempotent"),
    "crash": ("crash_everywhere", "crash_everywhere_async"),
    "faults": ("check",),
    "harness": ("TaskerHarness",),
    "outcome": ("StepRun", "TaskRun"),
    "stage": ("StillRunning",),
    "step": ("NoDatabase", "run_step", "run_step_async"),
    "task": ("run_task", "run_task_async"),
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
