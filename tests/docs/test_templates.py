"""docs/templates.md has every key with its default, and its examples are templates."""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, get_args

import pytest
from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tasker_host.domain.backoff import BackoffPolicy, delay_seconds
from tasker_host.domain.source import _HINTS, parse_template
from tasker_host.domain.states import StepType
from tasker_host.domain.template import Backoff, TaskTemplate, parts
from tasker_host.handlers.workflow import StepOptions, TemplateOptions
from tasker_host.templates.findings import CODES
from tests.docs.pages import ROOT, code, everything, page

MODELS: dict[str, type[BaseModel]] = {
    "Template": TaskTemplate,
    "Step": parts.StepDefinition,
    "handler": parts.HandlerDefinition,
    "retry": parts.RetryPolicy,
    "publishes_events": parts.EventDeclaration,
    "batch_config": parts.BatchConfig,
    "metadata": parts.Metadata,
    "system_dependencies": parts.SystemDependencies,
    "domain_events": parts.EventDescription,
    "lifecycle": parts.Lifecycle,
}
OF_ENVIRONMENTS = (parts.Environment, parts.StepOverride)


def keys(model: type[BaseModel]) -> dict[str, FieldInfo | None]:
    """The keys that a file may have; None for those that are another name of a key."""
    found: dict[str, FieldInfo | None] = {}
    for name, field in model.model_fields.items():
        found[field.alias or name] = field
        if isinstance(field.validation_alias, AliasChoices):
            found |= {str(other): None for other in field.validation_alias.choices if other != name}
    return found


def default_of(field: FieldInfo) -> str:
    """The default as the page writes it."""
    value: Any = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "–"
    if value == parts.SystemDependencies():
        return "`{primary: default}`"
    empty = {parts.RetryPolicy(): "`{}`", (): "`[]`", True: "`true`", False: "`false`"}
    is_plain = isinstance(value, bool | tuple | parts.RetryPolicy)
    return empty[value] if is_plain else f"`{value.value if isinstance(value, Enum) else value}`"


def check(rows: list[list[str]], model: type[BaseModel]) -> None:
    said = {code(row[0])[0]: row[2] for row in rows}
    expected = {key: "" if field is None else default_of(field) for key, field in keys(model).items()}
    assert said == expected
    assert [row[0] for row in rows if not row[3]] == []


@pytest.mark.parametrize("heading", MODELS)
def test_every_key_is_there_with_its_default(heading):
    check(page("templates").table(heading, "key"), MODELS[heading])


def test_every_key_of_environments_is_there():
    tables = [rows for rows in page("templates").tables("Environments") if rows[0][0] == "key"]
    for rows, model in zip(tables, OF_ENVIRONMENTS, strict=True):
        check(rows[1:], model)


def enums(model: type[BaseModel]) -> dict[str, type[Enum]]:
    """The keys whose values have names, and these names; also of those that may be left out."""
    found = {}
    for key, field in keys(model).items():
        annotation = None if field is None else field.annotation
        for kind in (annotation, *get_args(annotation)):
            if isinstance(kind, type) and issubclass(kind, Enum):
                found[key] = kind
    return found


@pytest.mark.parametrize("heading", MODELS)
def test_every_value_that_a_key_may_have_is_there(heading):
    types = {code(row[0])[0]: code(row[1]) for row in page("templates").table(heading, "key")}
    for key, kind in enums(MODELS[heading]).items():
        assert types[key] == [member.value for member in kind], key


def test_every_step_type_is_explained():
    rows = page("templates").section("Step types").splitlines()
    assert {kind.value for kind in StepType} <= {line.split("`")[1] for line in rows if line.startswith("| `")}


def test_the_waits_in_the_table_are_those_that_happen():
    for row in page("templates").table("retry", "`backoff`"):
        policy = BackoffPolicy(Backoff(code(row[0])[0]), base_ms=1_000, max_ms=3_600_000, jitter=0)
        assert [float(wait) for wait in row[1].split(", ")] == [
            delay_seconds(attempt, policy, jitter=0.5) for attempt in (1, 2, 3, 4)
        ]


def test_the_common_mistakes_are_those_that_the_host_knows():
    rows = page("templates").table("Common mistakes", "written")
    said = {code(row[0])[0].partition(":")[0]: row[1].replace("`", "") for row in rows}
    assert said == {key: hint.replace("'", "") for key, hint in _HINTS.items() if key != "lifecycle"}


YAML = [block for one in everything() for block in one.blocks("yaml")]


@pytest.mark.parametrize("block", YAML, ids=str)
def test_every_yaml_example_is_a_template_without_doubts(block):
    template, warnings = parse_template(block.text, source=str(block))
    assert template.steps
    assert warnings == []


def test_the_example_of_environments_comes_to_what_the_page_says():
    [block] = [block for block in YAML if "name: nightly_report" in block.text]
    template, _ = parse_template(block.text, source=str(block))
    step = template.for_environment("test").step("collect")
    assert step.handler.initialization == {"rows": 10, "dry_run": False}
    assert (step.timeout_seconds, step.retry.max_attempts) == (5, 1)


def test_every_option_of_steps_in_code_is_there():
    rows = [row for rows in page("templates").tables("In Python") for row in rows if rows[0][0] == "option"][1:]
    assert {name for row in rows for name in code(row[0])} == set(StepOptions.__annotations__)
    methods = [code(row[0])[0] for row in page("templates").table("In Python", "method")]
    assert methods == [f"{name}(handler)" for name in ("step", "decision", "deferred", "batchable", "batch_worker")]


def test_the_keys_of_a_template_are_the_options_of_one_in_code():
    assert {*TemplateOptions.__annotations__, "name", "namespace_name", "version", "steps"} == set(
        TaskTemplate.model_fields
    )
    # `composition` and `batch_config` are not for people; the type is the method, dependencies come from the handlers.
    said_otherwise = {"type", "handler", "dependencies", "composition", "batch_config"}
    ours = {"after", "called", "initialization", "method", "resolver"}
    assert {*StepOptions.__annotations__} - ours == set(parts.StepDefinition.model_fields) - said_otherwise


def test_every_finding_is_explained_with_its_severity():
    rows = page("templates").table("Findings", "code")
    assert [(code(row[0])[0], row[1]) for row in rows] == [(name, severity.value) for name, severity in CODES.items()]
    assert [row[0] for row in rows if len(row[2]) < 20] == []


def test_every_change_is_explained():
    rooms = ROOT / "tasker_host" / "templates"
    source = (rooms / "diff.py").read_text() + (rooms / "schema_diff.py").read_text()
    made = set(re.findall(r'"([A-Z]+_[A-Z_]+)"', source)) | {"IDENTITY_STRATEGY_CHANGED"}
    assert {code(row[0])[0] for row in page("templates").table("Changes", "code")} == made
