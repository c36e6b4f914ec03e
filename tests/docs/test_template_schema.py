"""The JSON Schema for editors is in step with the models and the page, takes every template and refuses what is wrong.

`python -m tests.docs.test_template_schema` writes it anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

import tasker_host.templates
from tasker_host.domain import yaml
from tasker_host.domain.source import parse_template
from tasker_host.errors import TemplateError
from tasker_host.templates.editor import FILE, Descriptions, editor_schema, published
from tests.docs.pages import ROOT, code, everything, page
from tests.docs.test_templates import MODELS, OF_ENVIRONMENTS


def descriptions() -> Descriptions:
    """What the page says of each key."""
    found = {}
    for heading, model in MODELS.items():
        for row in page("templates").table(heading, "key"):
            found[model.__name__, code(row[0])[0]] = plain(row[3])
    tables = [rows for rows in page("templates").tables("Environments") if rows[0][0] == "key"]
    for rows, model in zip(tables, OF_ENVIRONMENTS, strict=True):
        for row in rows[1:]:
            found[model.__name__, code(row[0])[0]] = plain(row[3])
    return found


def plain(text: str) -> str:
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text).replace("`", "")


def written() -> str:
    return json.dumps(editor_schema(descriptions()), indent=2, ensure_ascii=False) + "\n"


def test_the_published_schema_is_the_one_of_the_models_and_the_page():
    assert published() == written(), "run: python -m tests.docs.test_template_schema"


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    Draft7Validator.check_schema(json.loads(published()))
    return Draft7Validator(json.loads(published()))


def templates() -> Iterator[tuple[str, str]]:
    for folder in ("plugins/tasker-examples/src/tasker_examples/templates", "tests/domain/data"):
        for file in sorted((ROOT / folder).glob("*.yaml")):
            yield file.name, file.read_text("utf-8")
    for one in everything():
        for block in one.blocks("yaml"):
            yield str(block), block.text


@pytest.mark.parametrize(("name", "text"), list(templates()))
def test_every_template_fits(validator, name, text):
    assert [error.message for error in validator.iter_errors(yaml.read(text, source=name).data)] == []


GOOD = """
name: t
namespace_name: n
version: 1.0.0
steps:
  - {name: a, handler: {callable: a}}
  - {name: b, depends_on: [a], step_type: standard, timeout_seconds: , handler: {callable: b}, retry: {limit: 2}}
"""


def test_other_names_of_keys_and_keys_without_a_value_fit(validator):
    parse_template(GOOD, source="t")
    assert validator.is_valid(yaml.read(GOOD, source="t").data)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("namespace_name: n", "namespace: n"),
        ("namespace_name: n", "namespace_name: Big"),
        ("name: t\n", "name: a task\n"),
        ("name: t\n", ""),
        ("version: 1.0.0", "version: 1.0"),
        ("version: 1.0.0", "version: 1.0.0\npriority: 101"),
        ("version: 1.0.0", "version: 1.0.0\nlifecycle: {max_duration_minutes: 1, max_duration_seconds: 60}"),
        ("version: 1.0.0", "version: 1.0.0\nunique_for: always"),
        ("version: 1.0.0", "version: 1.0.0\ndomain_events: [{name: placed}]"),
        ("limit: 2", "limit: 101"),
        ("limit: 2", "max_retries: 3"),
        ("limit: 2", "backoff: quadratic"),
        ("limit: 2", "limit: 2, max_attempts: 2"),
        ("handler: {callable: a}", "handler: a"),
        ("handler: {callable: a}", "handler: {callable: ''}"),
        ("handler: {callable: a}", "handler: {callable: a, initialization: []}"),
        ("handler: {callable: a}", "type: decision_point, handler: {callable: a}"),
        ("handler: {callable: a}", "handler: {callable: a}, publishes_events: [{name: a.b, delivery_mode: slow}]"),
        ("depends_on: [a]", "depends_on: a"),
        ("depends_on: [a]", "depends_on: [a], dependencies: [a]"),
        ("timeout_seconds: ,", "timeout_seconds: soon,"),
        ("timeout_seconds: ,", "timeout_seconds: 0,"),
    ],
)
def test_what_the_host_refuses_by_form_the_schema_refuses(validator, old, new):
    assert old in GOOD
    text = GOOD.replace(old, new)
    with pytest.raises(TemplateError):
        parse_template(text, source="t")
    assert not validator.is_valid(yaml.read(text, source="t").data)


if __name__ == "__main__":
    Path(tasker_host.templates.__path__[0], FILE).write_text(written(), "utf-8")
