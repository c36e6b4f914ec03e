"""Business keys: which steps of different tasks share one limit, said by an expression over the task's context."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tasker_host.domain.limits import MOST_KEY_BYTES
from tasker_host.domain.template import TaskTemplate
from tasker_host.domain.text import NO_NUL
from tasker_host.errors import Problem

_FIELD = re.compile(r"\{\{?\s*([A-Za-z_][\w-]*(?:\.[\w-]+)*)\s*\}?\}")

ALL_STEPS_KEY = "*"
"""In the keys of a task: the one of every step."""


def concurrency_keys(template: TaskTemplate, context: Mapping[str, Any]) -> tuple[dict[str, str], list[Problem]]:
    """The keys of a task: `*` for every step, and by name for steps that have one of their own; and what is missing.

    Keys are of a namespace: templates of the same one that come to the same text share a limit.
    """
    keys: dict[str, str] = {}
    problems: list[Problem] = []
    said = [(ALL_STEPS_KEY, template.concurrency_key), *((step.name, step.concurrency_key) for step in template.steps)]
    for name, expression in said:
        if expression is not None:
            key = f"key:{template.namespace_name}:{_evaluated(expression, context, problems)}"
            if (size := len(key.encode())) > MOST_KEY_BYTES and not problems:
                fault = f"gives a concurrency_key of {size:,} bytes, more than the {MOST_KEY_BYTES:,} allowed"
                problems.append(Problem("context", f"{fault}: {expression!r}"))
            keys[name] = key
    return keys, problems


def _evaluated(expression: str, context: Mapping[str, Any], problems: list[Problem]) -> str:
    def value(match: re.Match[str]) -> str:
        path = match[1].split(".")
        if path[0] == "context" and "context" not in context:
            path = path[1:]
        found: Any = context
        for part in path:
            found = found.get(part) if isinstance(found, Mapping) else None
        if found is None or isinstance(found, Mapping | list):
            wrong = "must be text or a number"
        elif isinstance(found, str) and "\x00" in found:
            wrong = NO_NUL
        else:
            return str(found).lower() if isinstance(found, bool) else str(found)
        problem = Problem(".".join(["context", *path]), f"{wrong}: concurrency_key is {expression!r}")
        if problem not in problems:
            problems.append(problem)
        return ""

    return _FIELD.sub(value, expression)
