"""`tasker template`: templates as files and as what plugins give."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from tasker_host.cli.options import TaskerGroup, config_options, give, json_option, output_option


@click.group("template", cls=TaskerGroup)
def template() -> None:
    """List, show, check, draw and compare templates."""


@template.command("schema")
@output_option
@config_options
@json_option
def schema(output: Path | None, **_: object) -> None:
    """Print the JSON Schema of template files, for editors."""
    from tasker_host.templates.editor import published

    give(published(), output)
