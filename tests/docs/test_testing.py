"""docs/testing.md names everything that tasker_host.testing gives, with all its arguments."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from tasker_host import testing
from tasker_host.testing import pytest_plugin
from tests.docs.pages import code, page

SELF = {"self", "handler", "template", "context", "request", "options"}


@pytest.mark.parametrize("name", testing.__all__)
def test_every_public_name_of_the_kit_is_documented(name):
    assert [span for span in page("testing").spans() if span == name or span.startswith((f"{name}(", f"{name}."))], name


@pytest.mark.parametrize(
    ("function", "section"), [(testing.run_step_async, "One step"), (testing.run_task_async, "A whole task")]
)
def test_every_argument_is_documented(function, section):
    said = {word for row in page("testing").table(section, "argument") for word in code(row[0])}
    assert set(inspect.signature(function).parameters) - {"request"} == said - {"others"}


def test_everything_of_a_run_is_documented():
    said = {word for row in page("testing").table("A whole task", "of a `TaskRun`") for word in code(row[0])}
    fields = {field.name for field in dataclasses.fields(testing.TaskRun)}
    assert said == fields | {name for name, value in vars(testing.TaskRun).items() if isinstance(value, property)}


def test_everything_of_a_harness_is_documented():
    rows = page("testing").table("A host", "of a `TaskerHarness`")
    said = {word.partition("(")[0] for row in rows for word in code(row[0])}
    assert said == {name for name in vars(testing.TaskerHarness) if not name.startswith("_")}


def test_every_fixture_is_documented():
    said = {word for row in page("testing").table("Fixtures", "fixture") for word in code(row[0])}
    assert said == {name for name in vars(pytest_plugin) if name.startswith("tasker_") and name != "tasker_host_"}
