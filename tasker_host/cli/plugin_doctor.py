"""`tasker plugin doctor`: why something is not there, or what is wrong with the host, on one screen."""

from __future__ import annotations

from pathlib import Path

import rich_click as click
from click.exceptions import Exit

from tasker_host.cli.options import (
    CANNOT_START,
    WORK_FAILED,
    TaskerCommand,
    config_options,
    echo_json,
    json_option,
)


@click.command("doctor", cls=TaskerCommand)
@click.argument("name", required=False)
@config_options
@json_option
def doctor(name: str | None, config_root: Path | None, env: str | None, as_json: bool) -> None:
    """Explain why a handler, publisher, template or plugin is not available; without NAME, what is wrong with the host.

    NAME is what a template writes (`payments.charge_card`), a template (`payments/charge_order`), a plugin or its
    package. Exit code 1 when it is not available or something is wrong, 3 when the host cannot start.
    """
    code = _host(config_root, env, as_json=as_json) if name is None else _one(name, config_root, env, as_json=as_json)
    if code:
        raise Exit(code)


def _host(config_root: Path | None, env: str | None, *, as_json: bool) -> int:
    from tasker_host.cli.doctor_host import examined
    from tasker_host.cli.running import run_async

    found = run_async(examined(config_root, env))
    if as_json:
        echo_json({"ok": all(each.verdict == "ok" for each in found), "checks": [each.as_json() for each in found]})
    else:
        for each in found:
            click.echo(str(each))
    verdicts = {each.verdict for each in found}
    return CANNOT_START if "cannot start" in verdicts else WORK_FAILED if "wrong" in verdicts else 0


def _one(name: str, config_root: Path | None, env: str | None, *, as_json: bool) -> int:
    from tasker_host.cli.doctor_name import explained
    from tasker_host.cli.plugin_load import loaded

    config, roster = loaded(config_root, env)
    found = explained(name, config, roster)
    if as_json:
        echo_json(found.as_json())
    else:
        click.echo(str(found))
    return 0 if found.available else WORK_FAILED
