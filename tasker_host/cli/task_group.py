"""`tasker task` with all its commands."""

from __future__ import annotations

from tasker_host.cli.task import task
from tasker_host.cli.task_actions import ACTIONS

for _action in ACTIONS:
    task.add_command(_action)

__all__ = ["task"]
