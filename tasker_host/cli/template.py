"""`tasker template`: templates as files and as what plugins give."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from tasker_host.cli.options import (
    TaskerGroup,
    config_options,
    echo_json,
    exit_with,
    give,
    json_option,
    output_option,
)
from tasker_host.cli.template_found import Templates, sources

if TYPE_CHECKING:
    from tasker_host.domain.template import StepDefinition, TaskTemplate
    from tasker_host.registry.compose import Registry
    from tasker_host.templates.diff import Diff
    from tasker_host.templates.findings import Report


@click.group("template", cls=TaskerGroup)
def template() -> None:
    """List, show, check, draw and compare templates."""


@template.command("list")
@click.option("--namespace", metavar="NAME", help="Only those of this namespace.")
@config_options
@json_option
def list_(namespace: str | None, config_root: Path | None, env: str | None, as_json: bool) -> None:
    """List the templates that plugins give and that are configured, and why some are not available."""
    templates = Templates(config_root, env)
    owners = {found.parsed().label: found.origin for found in templates.all() if found.template is not None}
    found = [one for one in templates.registry.templates() if namespace in (None, one.namespace_name)]
    rows: list[dict[str, Any]] = [
        {
            "namespace": one.namespace_name,
            "name": one.name,
            "version": one.version,
            "description": one.description,
            "steps": len(one.steps),
            "from": owners.get(one.label, "templates.paths"),
            "problems": _problems(templates.registry, one),
        }
        for one in found
    ]
    if as_json:
        echo_json({"templates": rows})
        return
    from tasker_host.cli.tables import console, table

    listed = table("TEMPLATE", "VERSION", "STEPS", "STATUS", "FROM", right=("STEPS",))
    for row in rows:
        status = "not available" if row["problems"] else "available"
        name = f"{row['namespace']}/{row['name']}"
        listed.add_row(name, str(row["version"]), str(row["steps"]), status, str(row["from"]))
        for problem in row["problems"]:
            listed.add_row(f"  {problem['message']}")
    if rows:
        console().print(listed)
    else:
        click.echo("no templates: install a plugin such as tasker-examples, or name files in templates.paths", err=True)


@template.command("show")
@click.argument("target")
@click.option("--yaml", "as_yaml", is_flag=True, help="As a YAML file, without what is left at its default.")
@config_options
@json_option
def show(target: str, as_yaml: bool, config_root: Path | None, env: str | None, as_json: bool) -> None:
    """Show a template: its steps in order, who runs them, and what their values have."""
    templates = Templates(config_root, env)
    found = templates.one(target)
    if as_yaml:
        give(found.to_yaml(), None)
    elif as_json:
        echo_json(_details(found))
    else:
        _print(found)


@template.command("check")
@click.argument("targets", nargs=-1, metavar="[TARGETS...]")
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option("--alone", is_flag=True, help="Without plugins: say nothing of handlers and what they read.")
@config_options
@json_option
def check(
    targets: tuple[str, ...], *, strict: bool, alone: bool, config_root: Path | None, env: str | None, as_json: bool
) -> None:
    """Tell everything that is wrong or doubtful in templates: files, folders, names, or - for stdin. None: all.

    Ends with 1 when there is an error; with --strict, when there is a warning.
    """
    templates = Templates(config_root, env)
    known = None if alone else templates.known
    reports = [source.report(known) for source in sources(templates, targets)]
    passed = all(report.passes(strict=strict) for report in reports)
    if as_json:
        echo_json(_reported(reports, passed=passed))
    else:
        _print_reports(reports)
    exit_with(passed)


@template.command("graph")
@click.argument("target")
@click.option("--format", "form", type=click.Choice(["text", "mermaid", "svg"]), default="text", help="[default: text]")
@output_option
@config_options
@json_option
def graph(
    target: str, *, form: str, output: Path | None, config_root: Path | None, env: str | None, as_json: bool
) -> None:
    """Draw the steps of a template: as text, for Mermaid, or as an SVG picture."""
    from tasker_host.templates import drawing

    found = Templates(config_root, env).one(target)
    drawn = {"text": drawing.text, "mermaid": drawing.mermaid, "svg": drawing.svg}[form](found)
    if as_json:
        echo_json({"template": found.label, "format": form, "graph": drawn})
    else:
        give(drawn, output)


@template.command("diff")
@click.argument("before")
@click.argument("after")
@config_options
@json_option
def diff(before: str, after: str, config_root: Path | None, env: str | None, as_json: bool) -> None:
    """Tell what is different between two templates, and what that means for running and for new tasks.

    Ends with 1 when a change is breaking: who submits, handles or listens must do something.
    """
    from tasker_host.templates.diff import diff as difference

    templates = Templates(config_root, env)
    found = difference(templates.one(before), templates.one(after))
    if as_json:
        echo_json(
            {
                "before": found.before.label,
                "after": found.after.label,
                "breaking": found.is_breaking,
                "changes": [change.as_json() for change in found.changes],
                "running_tasks": found.running_tasks(),
                "new_tasks": found.new_tasks(),
            }
        )
    else:
        _print_diff(found)
    exit_with(not found.is_breaking)


@template.command("schema")
@output_option
@config_options
@json_option
def schema(output: Path | None, **_: object) -> None:
    """Print the JSON Schema of template files, for editors."""
    from tasker_host.templates.editor import published

    give(published(), output)


# Shown ----------------------------------------------------------------------------------------------------------------


def _problems(registry: Registry, one: TaskTemplate) -> list[dict[str, str]]:
    found = registry.problems(one.namespace_name, one.name, one.version)
    return [{"where": problem.where, "message": problem.message} for problem in found]


def _details(found: TaskTemplate) -> dict[str, Any]:
    from tasker_host.domain.graph import children, initial_steps, topological_order

    below = children(found)
    return {
        "namespace": found.namespace_name,
        "name": found.name,
        "version": found.version,
        "description": found.description,
        "sha256": found.sha256(),
        "step_count": len(found.steps),
        "has_input_schema": found.input_schema is not None,
        "input_schema": found.input_schema,
        "execution_order": topological_order(found),
        "root_steps": [step.name for step in found.steps if not step.dependencies],
        "leaf_steps": [step.name for step in found.steps if not below[step.name]],
        "initial_steps": initial_steps(found),
        "steps": [
            {
                **step.model_dump(mode="json", by_alias=True),
                "fields": _fields(step),
                "consumed_by": list(below[step.name]),
            }
            for step in found.steps
        ],
    }


def _fields(step: StepDefinition) -> list[dict[str, Any]]:
    from tasker_host.templates.shapes import Shape

    shape = Shape(step.result_schema or {}).without_null()
    return [
        {
            "name": name,
            "type": inner.told(),
            "required": name in shape.required,
            "description": inner.schema.get("description"),
        }
        for name, inner in shape.properties.items()
    ]


def _print(found: TaskTemplate) -> None:
    from rich.text import Text

    from tasker_host.cli.tables import console, table
    from tasker_host.domain.graph import topological_order

    out = console()
    out.print(Text(found.label, style="bold"))
    if found.description:
        out.print(Text(found.description))
    steps = table("STEP", "TYPE", "HANDLER", "AFTER", "ATTEMPTS", "VALUE", right=("ATTEMPTS",))
    for name in topological_order(found):
        step = found.step(name)
        asked = step.handler
        fields = ", ".join(f"{field['name']}{'' if field['required'] else '?'}" for field in _fields(step))
        steps.add_row(
            Text(name),
            step.type.value,
            Text(f"{asked.callable}.{asked.method}" if asked.method else asked.callable),
            Text(", ".join(step.dependencies)),
            str(step.retry.max_attempts if step.retry.retryable else 1),
            Text(fields),
        )
    out.print(steps)


def _reported(reports: list[Report], *, passed: bool) -> dict[str, Any]:
    from tasker_host.templates.findings import Severity

    return {
        "ok": passed,
        "errors": sum(report.count(Severity.ERROR) for report in reports),
        "warnings": sum(report.count(Severity.WARNING) for report in reports),
        "findings": [
            {"template": report.template, **finding.as_json()} for report in reports for finding in report.findings
        ],
    }


def _print_reports(reports: list[Report]) -> None:
    from tasker_host.templates.findings import Severity

    for report in reports:
        for finding in report.findings:
            click.echo(str(finding))
    counted = [(severity, sum(report.count(severity) for report in reports)) for severity in Severity]
    told = ", ".join(
        f"{count} {severity}{'s' if count != 1 and severity != 'info' else ''}" for severity, count in counted
    )
    click.echo(f"{len(reports)} template{'' if len(reports) == 1 else 's'} checked: {told}", err=True)


def _print_diff(found: Diff) -> None:
    if not found.changes:
        click.echo(f"{found.before.label} and {found.after.label} say the same")
        return
    step = None
    for change in found.changes:
        if change.step != step:
            step = change.step
            click.echo(f"step {step}:" if step else found.after.label)
        click.echo(f"  {'! ' if change.breaking else '  '}{change.code}  {change.message}")
    for title, lines in (("running tasks", found.running_tasks()), ("new tasks", found.new_tasks())):
        click.echo(f"{title}:")
        for line in lines:
            click.echo(f"    {line}")
    if found.is_breaking:
        click.echo("! marks changes that are breaking", err=True)
