"""What the product runs: a plugin as a user would write it, with a template for each workload and one small handler."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from workloads import Workload

from tasker_host import TaskTemplate, hookimpl, inputs, step_handler

NAMESPACE = "bench"


@step_handler("bench.count")
@inputs("n")
async def count(n: int) -> dict[str, int]:
    return {"n": n}


def template(workload: Workload, **rules: Any) -> TaskTemplate:
    return TaskTemplate.model_validate(
        {
            "namespace_name": NAMESPACE,
            "name": workload.name,
            "version": "1.0.0",
            **rules,
            "steps": [
                {
                    "name": f"s{step}",
                    "handler": {"callable": "bench.count"},
                    "dependencies": [f"s{parent}" for parent in parents],
                }
                for step, parents in enumerate(workload.parents)
            ],
        }
    )


def plugin(workload: Workload, **rules: Any) -> ModuleType:
    """A module of hookimpls; `rules` are further keys of the template."""
    module = ModuleType("bench")

    @hookimpl
    def tasker_handlers() -> list[object]:
        return [count]

    @hookimpl
    def tasker_templates() -> list[TaskTemplate]:
        return [template(workload, **rules)]

    module.tasker_handlers = tasker_handlers  # type: ignore[attr-defined]
    module.tasker_templates = tasker_templates  # type: ignore[attr-defined]
    return module
