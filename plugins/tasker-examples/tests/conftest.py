from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from importlib.resources.abc import Traversable
from typing import Any
from uuid import UUID

import pytest
from tasker_host import StepContext, Succeeded, Workflow
from tasker_host.domain.graph import steps_by_level
from tasker_host.domain.json import dumps, loads
from tasker_host.domain.source import parse_template
from tasker_host.domain.template import TaskTemplate
from tasker_host.handlers.bound import BoundHandler, bind

from tasker_examples import plugin
from tasker_examples.settings import ExamplesSettings

TASK = UUID("019aa2c5-8980-7000-8000-0000000000ff")

Handlers = Mapping[str, BoundHandler]
Templates = Mapping[str, TaskTemplate]
Run = Callable[..., Awaitable[dict[str, Succeeded]]]


@pytest.fixture(scope="session")
def handlers() -> Handlers:
    """What the plugin gives, by name, as the host binds it."""
    settings = ExamplesSettings()
    bound = [
        handler for given in plugin.tasker_handlers() for handler in bind(given, plugin="examples", settings=settings)
    ]
    assert len({handler.name for handler in bound}) == len(bound)
    return {handler.name: handler for handler in bound}


@pytest.fixture(scope="session")
def templates() -> Templates:
    """The plugin's templates, by `namespace/name`; parsed without a warning."""
    found: dict[str, TaskTemplate] = {}
    for given in plugin.tasker_templates():
        texts = [(given.key, given.build().to_yaml())] if isinstance(given, Workflow) else _files(given)
        for name, text in texts:
            template, warnings = parse_template(text, source=name)
            assert warnings == []
            assert template.key not in found
            found[template.key] = template
    return found


def _files(folder: Traversable) -> list[tuple[str, str]]:
    return [(file.name, file.read_text(encoding="utf-8")) for file in folder.iterdir()]


@pytest.fixture
def run(handlers: Handlers, templates: Templates) -> Run:
    """Runs the steps of a template one after the other, as a worker would, and raises what a handler raises.

    Each handler is given the values of all earlier steps above it, after a journey through JSON.
    """

    async def steps(key: str, context: Mapping[str, Any], *, attempt: int = 1) -> dict[str, Succeeded]:
        template = templates[key]
        results: dict[str, Succeeded] = {}
        for name in (name for level in steps_by_level(template) for name in level):
            step = template.step(name)
            result = handlers[step.handler.callable].call(
                context_of(
                    template,
                    name,
                    input=context,
                    attempt=attempt,
                    dependencies={above: loads(dumps(results[above].value)) for above in ancestors(template, name)},
                )
            )
            if isinstance(result, Awaitable):
                result = await result
            results[name] = result if isinstance(result, Succeeded) else Succeeded(result)
        return results

    return steps


@pytest.fixture
def context_for(templates: Templates) -> Callable[..., StepContext]:
    """The context of one step; its other fields by name."""

    def context(key: str, step: str, **fields: Any) -> StepContext:
        return context_of(templates[key], step, **fields)

    return context


def context_of(template: TaskTemplate, name: str, **fields: Any) -> StepContext:
    step = template.step(name)
    number = [each.name for each in template.steps].index(name)
    return StepContext(
        task_uuid=TASK,
        step_uuid=UUID(int=TASK.int + 1 + number),
        correlation_id=TASK,
        namespace=template.namespace_name,
        template_name=template.name,
        template_version=template.version,
        step_name=name,
        handler_name=step.handler.callable,
        config=step.handler.initialization,
        **fields,
    )


def ancestors(template: TaskTemplate, name: str) -> set[str]:
    def above(step: str) -> Iterator[str]:
        for parent in template.step(step).dependencies:
            yield parent
            yield from above(parent)

    return set(above(name))
