"""`tasker certify`: whether a task comes to the same end wherever a worker dies."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from tasker_host.cli.options import TaskerCommand, config_options, echo_json, exit_with, json_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasker_host.testing import CrashReport

EXPECTED = "complete"


@click.command("certify", cls=TaskerCommand)
@click.argument("template", metavar="TEMPLATE")
@click.option("--input", "source", default="{}", metavar="JSON|@FILE|-", help="The context: JSON, a file, or stdin.")
@click.option("--setup", multiple=True, metavar="SQL|@FILE", help="Run before, for what handlers need; more than once.")
@click.option(
    "--effects",
    multiple=True,
    metavar="SQL|TABLE",
    help="What is compared afterwards; more than once. [default: every table that --setup made]",
)
@click.option("--plugin", "modules", multiple=True, metavar="MODULE", help="A plugin that is not installed, too.")
@click.option("--expect", default=EXPECTED, show_default=True, metavar="STATE", help="Of the task, undisturbed.")
@click.option(
    "--dsn",
    metavar="URL",
    help="A server, whose role is a superuser, for the throw-away database. [default: an embedded one]",
)
@click.option(
    "--timeout",
    "timeout_seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Real time that one run may take.",
)
@config_options
@json_option
def certify(  # noqa: PLR0917 - one parameter an option
    template: str,
    source: str,
    setup: tuple[str, ...],
    effects: tuple[str, ...],
    modules: tuple[str, ...],
    expect: str,
    dsn: str | None,
    timeout_seconds: float,
    config_root: Path | None,
    env: str | None,
    as_json: bool,
) -> None:
    """Run a task once for every moment at which a worker can die, and prove that nothing is lost or done twice.

    TEMPLATE is NAMESPACE/NAME of an installed plugin, or a YAML file. The database is a throw-away one; the configured
    one is never touched.
    """
    from tasker_host.cli.running import quiet_logs, run_async
    from tasker_host.cli.task import read_json
    from tasker_host.errors import TaskerError
    from tasker_host.testing.crash import certified
    from tasker_host.testing.given import Given, named_plugins
    from tasker_host.testing.server import databases_at, embedded_databases
    from tasker_host.testing.stage import StillRunning

    context = read_json(source, option="--input", what="the context")
    known = Given(
        plugins=_imported(modules, named_plugins),
        settings={},
        config={},
        entry_points=True,
        root=config_root,
        env=env,
        environ=dict(os.environ),
    )
    quiet_logs(known.configuration(""))
    databases = embedded_databases() if dsn is None else databases_at(dsn)
    try:
        report = run_async(
            certified(
                known,
                template,
                context,
                {"source_system": "tasker-cli"},
                databases=databases,
                setup=[_sql(text) for text in setup] or None,
                effects=list(effects) or None,
                timeout_seconds=timeout_seconds,
                progress=_progress(),
            )
        )
    except StillRunning as error:
        raise TaskerError(str(error)) from None
    finally:
        databases.close()
    _tell(report, expect, as_json=as_json)


def _imported(modules: tuple[str, ...], named_plugins: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    from tasker_host.errors import PluginError, Problem

    # As an installed one is found where it is installed, one that is being written is found where it is written.
    sys.path.insert(0, os.getcwd())
    try:
        return named_plugins(modules)
    except Exception as error:  # plugin code: whatever its import raises
        told = f"{type(error).__name__}: {error}"
        raise PluginError("a plugin cannot be imported", [Problem("--plugin", told)]) from error


def _sql(text: str) -> str:
    from tasker_host.errors import InvalidRequest, Problem

    if not text.startswith("@"):
        return text
    path = Path(text.removeprefix("@"))
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidRequest("the setup cannot be read", [Problem(str(path), reason)]) from None


def _progress() -> Callable[[int, int], None]:
    if not sys.stderr.isatty():
        return lambda _done, _all: None

    def told(done: int, total: int) -> None:
        click.echo(f"\rdied at {done} of {total} moments{'' if done < total else chr(10)}", nl=False, err=True)

    return told


def _tell(report: CrashReport, expect: str, *, as_json: bool) -> None:
    is_expected = report.undisturbed.state == expect
    if as_json:
        echo_json({**report.as_json(), "expected_state": expect})
    else:
        click.echo("\n".join(report.lines()))
        if not is_expected:
            click.echo(f"\nExpected was {expect}, undisturbed:\n{report.undisturbed!r}")
    exit_with(report.is_proven and is_expected)
