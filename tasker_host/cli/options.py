"""What the commands share: options, and how an error reaches whoever called."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import rich_click as click
from click.exceptions import Exit

from tasker_host.errors import (
    AddressUnavailable,
    ConfigError,
    DatabaseError,
    PluginError,
    ProblemsError,
    RequestError,
    TaskerError,
    TemplateError,
)

DONE = 0
WORK_FAILED = 1
WRONG_USAGE = 2
CANNOT_START = 3
INTERRUPTED = 130

_EXIT_CODES: dict[type[TaskerError], int] = {
    ConfigError: CANNOT_START,
    PluginError: CANNOT_START,
    TemplateError: CANNOT_START,
    DatabaseError: CANNOT_START,
    AddressUnavailable: CANNOT_START,
    RequestError: WRONG_USAGE,
}

Callback = TypeVar("Callback", bound=Callable[..., Any])


# Options --------------------------------------------------------------------------------------------------------------


def config_options(command: Callback) -> Callback:
    """`--config` and `--env`, given to the command as `config_root: Path | None` and `env: str | None`.

    What is not given here is taken from the attributes of the same names of the context's object.
    """
    command = click.option(
        "--env",
        metavar="NAME",
        callback=_or_from_context,
        help="Environment: development, test, production or one of yours. [default: $TASKER_ENV, else development]",
    )(command)
    return click.option(
        "--config",
        "config_root",
        metavar="PATH",
        type=click.Path(path_type=Path),
        callback=_or_from_context,
        help="Directory with base/ and environments/, or one TOML file. [default: $TASKER_CONFIG, else ./config]",
    )(command)


def json_option(command: Callback) -> Callback:
    """`--json`, given to the command as `as_json: bool`; also taken from `json` of the context's object."""
    return click.option(
        "--json", "as_json", is_flag=True, callback=_json_or_from_context, help="Print JSON, errors too."
    )(command)


def _or_from_context(context: click.Context, option: click.Parameter, value: Any) -> Any:
    return value if value is not None else getattr(context.obj, option.name or "", None)


def _json_or_from_context(context: click.Context, _: click.Parameter, value: bool) -> bool:
    return value or bool(getattr(context.obj, "json", False))


# Output ---------------------------------------------------------------------------------------------------------------


def echo_json(value: Any) -> None:
    """Data for programs, on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def output_option(command: Callback) -> Callback:
    """`--output`, given to the command as `output: Path | None`, for `give`."""
    return click.option(
        "--output", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file."
    )(command)


def give(text: str, output: Path | None) -> None:
    """A text that is the command's answer: to stdout, or to a file. Raises click's UsageError when it cannot be."""
    if output is None:
        click.echo(text, nl=not text.endswith("\n"))
        return
    try:
        output.write_text(text, "utf-8")
    except OSError as error:
        raise click.UsageError(f"{output} cannot be written: {error.strerror}") from None
    click.echo(f"written to {output}", err=True)


def exit_with(succeeded: bool) -> NoReturn:
    """Ends the command: 0 when the work succeeded, else 1."""
    raise Exit(DONE if succeeded else WORK_FAILED)


# Errors ---------------------------------------------------------------------------------------------------------------


class TaskerCommand(click.RichCommand):
    """A command whose TaskerError becomes a message and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TaskerError as error:
            _fail(ctx, error)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


class TaskerGroup(click.RichGroup):
    """A group of such commands; it does the same for commands of any other class that were added to it."""

    command_class = TaskerCommand
    group_class = type

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TaskerError as error:
            _fail(ctx, error)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


def exit_code(error: TaskerError) -> int:
    """3 when the host cannot start or be reached, 2 for a request that is not right, else 1."""
    return next((code for kind, code in _EXIT_CODES.items() if isinstance(error, kind)), WORK_FAILED)


def error_as_json(error: TaskerError) -> dict[str, Any]:
    message = error.summary if isinstance(error, ProblemsError) else str(error)
    found = error.problems if isinstance(error, ProblemsError) else ()
    problems = [{"where": problem.where, "message": problem.message} for problem in found]
    return {"error": {"code": error.code, "message": message, "problems": problems}}


def _fail(context: click.Context, error: TaskerError) -> NoReturn:
    if context.params.get("as_json") or getattr(context.obj, "json", False):
        echo_json(error_as_json(error))
    else:
        click.echo(f"error: {error}", err=True)
    context.exit(exit_code(error))
