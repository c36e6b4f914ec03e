"""A plugin package for a template, as files."""

from __future__ import annotations

from dataclasses import dataclass

from tasker_host.domain.template import TaskTemplate
from tasker_host.templates.models import Models, models_of
from tasker_host.templates.names import base_name
from tasker_host.templates.stubs import Stubs


@dataclass(frozen=True, slots=True)
class Package:
    """The files of a plugin package for a template, by their path in it."""

    name: str
    files: dict[str, str]


def models_text(template: TaskTemplate) -> str:
    """The module of the models of a template's input and values."""
    models = Models()
    models_of(template, models)
    return models.text(f"What tasks and steps of {template.label} have, as its schemas say.")


def package(template: TaskTemplate, name: str) -> Package:
    """A package called `name` that the host takes as a plugin: models, handlers and the template."""
    models = Models()
    given, values = models_of(template, models)
    return Package(
        name,
        {
            "__init__.py": "",
            "models.py": models.text(f"What tasks and steps of {template.label} have, as its schemas say."),
            "handlers.py": Stubs(name, template, given, values, models).text(),
            "plugin.py": _PLUGIN.format(name=name, label=template.label),
            f"templates/{base_name(template.name)}.yaml": template.to_yaml(),
        },
    )


_PLUGIN = '''"""What this package gives to the host."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from tasker_host import hookimpl

from {name}.handlers import HANDLERS


@hookimpl
def tasker_handlers() -> Iterable[Any]:
    return HANDLERS


@hookimpl
def tasker_templates() -> Iterable[Traversable]:
    return [files("{name}") / "templates"]
'''
