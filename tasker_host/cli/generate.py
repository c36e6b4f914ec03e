"""`tasker generate`: code from templates."""

from __future__ import annotations

import keyword
from pathlib import Path

import rich_click as click

from tasker_host.cli.options import TaskerGroup, config_options, echo_json, give, json_option
from tasker_host.cli.template_found import Templates
from tasker_host.errors import InvalidRequest


@click.group("generate", cls=TaskerGroup)
def generate() -> None:
    """Make code from a template: a file, or a name that a plugin gives."""


@generate.command("models")
@click.argument("target")
@click.option("--output", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file.")
@click.option("--force", is_flag=True, help="Also when the file is there already.")
@config_options
@json_option
def models(
    target: str, *, output: Path | None, force: bool, config_root: Path | None, env: str | None, as_json: bool
) -> None:
    """Print pydantic models of a template's input and of its steps' values, from its schemas."""
    from tasker_host.templates.package import models_text

    text = models_text(Templates(config_root, env).one(target))
    if output is not None and output.exists() and not force:
        raise InvalidRequest(f"{output} is there already; --force replaces it")
    if as_json:
        echo_json({"models": text} if output is None else {"files": [str(output)]})
    if output is not None or not as_json:
        give(text, output)


@generate.command("handlers")
@click.argument("target")
@click.option(
    "--output",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the package to write; its name is the package's. [default: the template's name]",
)
@click.option("--force", is_flag=True, help="Also where files are there already; they are replaced.")
@config_options
@json_option
def handlers(
    target: str, *, output: Path | None, force: bool, config_root: Path | None, env: str | None, as_json: bool
) -> None:
    """Write a plugin package with models, a handler for each step, and the template.

    The handlers run as they are: each returns the smallest value that fits. Nothing is overwritten without --force.
    """
    from tasker_host.templates.names import base_name, variable_name
    from tasker_host.templates.package import package

    template = Templates(config_root, env).one(target)
    folder = output or Path(variable_name(base_name(template.name)).lower())
    name = folder.absolute().name
    if not name.isidentifier() or keyword.iskeyword(name):
        raise InvalidRequest(f"'{name}' cannot be the name of a package; name a folder of letters, digits and _")
    files = {folder / path: text for path, text in package(template, name).files.items()}
    there = [str(path) for path in files if path.exists()]
    if there and not force:
        raise InvalidRequest(f"there already: {', '.join(there)}; --force replaces them")
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    except OSError as error:
        raise InvalidRequest(f"{error.filename} cannot be written: {error.strerror}") from None
    if as_json:
        echo_json({"package": name, "files": [str(path) for path in files]})
        return
    for path in files:
        click.echo(str(path))
    click.echo(f"check it: tasker plugin check {name}.plugin", err=True)
