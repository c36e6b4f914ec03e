"""The Python examples run, their handlers bind, and every public name is explained."""

from __future__ import annotations

import importlib
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy
import pytest
from pydantic import BaseModel

import tasker_host
from tasker_host import Failed, Handler, Host, StepContext, StepHandler, Succeeded
from tasker_host.config import load
from tasker_host.handlers.bound import bind
from tasker_host.handlers.declare import declaration
from tasker_host.hooks import specs
from tasker_host.plugins import load_plugins
from tasker_host.plugins.fault import Stage
from tasker_host.plugins.roster import Status
from tests.docs.pages import Page, code, everything, page


@pytest.fixture
def module() -> Iterator[ModuleType]:
    made = ModuleType("an_example_of_the_documentation")
    sys.modules[made.__name__] = made  # as pydantic looks up the names in annotations
    yield made
    del sys.modules[made.__name__]


def run(of: Page, module: ModuleType) -> list[Any]:
    """Runs the examples of a page, each after the ones before it; what they define."""
    for block in of.blocks("python"):
        if not block.file:
            exec(compile(block.text, str(block), "exec"), vars(module))
    return [value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__]


def handlers(defined: list[Any]) -> list[Any]:
    classes = [given for given in defined if isinstance(given, type) and issubclass(given, StepHandler)]
    return [*classes, *(given for given in defined if isinstance(given, Handler) or declaration(given).names)]


def settings(defined: list[Any]) -> BaseModel | None:
    models = [given for given in defined if isinstance(given, type) and given.__name__.endswith("Settings")]
    return models[0]() if models else None


@pytest.mark.parametrize("one", [one for one in everything() if one.blocks("python")], ids=lambda one: one.name)
def test_every_example_runs_and_its_handlers_bind(one, module):
    defined = run(one, module)
    for given in [*handlers(defined), *(value for value in vars(module).values() if isinstance(value, Handler))]:
        assert bind(given, plugin="payments", settings=settings(defined))


@pytest.fixture
def examples(module) -> ModuleType:
    run(page("handlers"), module)
    return module


def test_the_handlers_of_the_page_are_these(examples):
    defined = run(page("handlers"), examples)
    names = [bound.name for given in handlers(defined) for bound in bind(given, plugin="p", settings=settings(defined))]
    assert sorted([*names, examples.ROUND.name]) == [
        "approvals.route",
        "approvals.route_large",
        "imports.analyze",
        "imports.analyze_file",
        "imports.join",
        "imports.rows",
        "imports.totals",
        "imports.work",
        "index.rows",
        "ledger.book",
        "payments.audit",
        "payments.capture",
        "payments.charge_card",
        "payments.price_order",
        "payments.refund",
        "payments.round",
        "payments.send_receipt",
        "payments.settle",
        "shipping.book",
        "shipping.stock",
        "shipping.track",
    ]


def test_a_function_can_be_called_directly_as_the_page_says(examples):
    assert examples.price_order([examples.Item(sku="a", quantity=2, cents=50)]).total_cents == 100


async def test_results_of_the_page_are_results(examples):
    assert await examples.settle(examples.Quote(total_cents=0)) == Failed(
        "nothing to settle", error_type="permanent_error", retryable=False, error_code="EMPTY_ORDER"
    )
    assert await examples.settle(examples.Quote(total_cents=7)) == Succeeded(7, {"settled_in": "EUR"})


async def test_the_middleware_of_the_page_adds_the_time(examples):
    async def inner() -> Succeeded:
        return Succeeded(5, {"a": 1})

    result = await examples.TIMED.around(None, inner)
    assert result.value == 5
    assert set(result.metadata) == {"a", "seconds"}


# The package of plugins.md -------------------------------------------------------------------------------------------


def packaged(of: Page, folder: Path) -> None:
    """Writes the files that examples of the page name in their first line."""
    for block in of.blocks("python", "toml", "yaml"):
        if block.file:
            file = folder / block.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text)


def test_the_package_of_the_page_loads_without_faults(tmp_path, monkeypatch):
    packaged(page("plugins"), tmp_path)
    (tmp_path / "src/tasker_payments/__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    try:
        module = importlib.import_module("tasker_payments.plugin")
        config = load(environ={}, env="test")
        roster = load_plugins(config, bind=bind, extra={"payments": module}, entry_points=False)
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "tasker_payments"]:
            del sys.modules[name]
    found = roster.plugin("payments")
    assert found is not None
    assert found.faults == ()
    assert found.contribution is not None
    assert found.contribution.gives() == {
        "handlers": 2,
        "templates": 1,
        "middleware": 1,
        "classifiers": 1,
        "commands": 1,
    }


def test_entry_points_name_modules_that_are_shown():
    for one in everything():
        for block in one.blocks("toml"):
            if not block.file:
                continue
            folder = block.file.removesuffix("pyproject.toml")
            [(_, module)] = tomllib.loads(block.text)["project"]["entry-points"]["tasker_host.plugins"].items()
            assert f"{folder}src/{module.replace('.', '/')}.py" in [shown.file for shown in one.blocks("python")]


def test_the_host_of_the_page_is_made_with_that_plugin_only(module):
    run(page("plugins"), module)
    assert isinstance(module.host_with(ModuleType("empty")), Host)


# Names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", tasker_host.__all__)
def test_every_public_name_is_documented(name):
    spans = set().union(*(page(one).spans() for one in ("handlers", "plugins", "clients", "templates")))
    assert [span for span in spans if span == name or span.startswith((f"{name}(", f"{name}."))], name


def hooks() -> dict[str, tuple[str, ...]]:
    manager = pluggy.PluginManager(specs.PROJECT)
    manager.add_hookspecs(specs)
    return {name: tuple(caller.spec.argnames) for name, caller in vars(manager.hook).items()}


@pytest.mark.parametrize("name", hooks())
def test_every_hook_is_documented_with_its_arguments(name):
    section = page("plugins").section(name)
    assert f"{name}({', '.join(hooks()[name])})" in code(section)
    for word in ("- **Called**", "- **Return**", "- **If it raises**", "- **Since**"):
        assert word in section


def test_no_hook_is_documented_that_there_is_not():
    assert {heading for heading in page("plugins").headings() if heading.startswith("tasker_")} == set(hooks())


def test_every_stage_and_status_of_a_plugin_is_documented():
    assert [code(row[0])[0] for row in page("plugins").table("Faults", "stage")] == [stage.value for stage in Stage]
    assert [code(row[0])[0] for row in page("plugins").table("Faults", "status")] == [one.value for one in Status]


def test_everything_of_the_context_is_documented():
    said = {span.partition("(")[0] for span in code(page("handlers").section("StepContext"))}
    public = {name for name in dir(StepContext) if not name.startswith("_")}
    assert public - said == set()


def test_every_option_of_step_handler_is_documented():
    rows = page("handlers").table("Function style", "argument")
    assert [code(row[0])[0] for row in rows] == ["name", "version", "retry_on", "runs_in", "aliases"]
