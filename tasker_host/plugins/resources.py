"""Templates in YAML files, of packages or of the user's own folders."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources.abc import Traversable

from tasker_host.domain.source import parse_template
from tasker_host.domain.template import TaskTemplate
from tasker_host.errors import Problem, TemplateError
from tasker_host.plugins.fault import short_path

_YAML = (".yaml", ".yml")


def template_files(item: Traversable) -> Iterator[Traversable]:
    """The resource, or the YAML files in it and below, by name."""
    if item.is_file():
        yield item
    elif item.is_dir():
        for child in sorted(item.iterdir(), key=lambda child: child.name):
            if child.is_dir() or child.name.endswith(_YAML):
                yield from template_files(child)


def read_template(file: Traversable) -> tuple[TaskTemplate, list[Problem]]:
    source = short_path(str(file))
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        problem = Problem(source, f"is not UTF-8: byte {error.object[error.start]:#04x} at {error.start}")
        raise TemplateError(f"{source} cannot be read", [problem]) from None
    return parse_template(text, source=source)
