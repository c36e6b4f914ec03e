"""`tasker template` and `tasker generate`, as a user runs them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

GOOD = """\
name: charge
namespace_name: payments
version: 1.0.0
input_schema: {type: object}
steps:
  - {name: start, handler: {callable: examples.squares.start}, result_schema: {type: integer}}
"""
WARNED = GOOD.replace("squares.start}", "squares.start}, retry: {limit: 2}")
WRONG = GOOD.replace("squares.start", "squares.strat").replace("payments", "Payments")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, text in {"good": GOOD, "warned": WARNED, "wrong": WRONG}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def test_list_tells_what_there_is_and_from_whom(tasker):
    listed = tasker("template", "list", "--namespace", "examples_orders", "--json")
    assert listed.code == 0
    assert listed.json["templates"] == [
        {
            "namespace": "examples_orders",
            "name": "business_workflow",
            "version": "1.0.0",
            "description": "Validate an order, reserve its stock, charge for it and ship it",
            "steps": 4,
            "from": "plugin examples",
            "problems": [],
        }
    ]
    assert "examples_orders/business_workflow" in tasker("template", "list").out


def test_list_tells_why_a_template_is_not_available(tasker, files):
    (files / "wrong.yaml").write_text(GOOD.replace("squares.start", "squares.strat"))
    settings = {"TASKER__TEMPLATES__PATHS": json.dumps([str(files / "wrong.yaml")])}
    listed = tasker("template", "list", "--namespace", "payments", **settings)
    assert "not available" in listed.out
    assert "did you mean 'examples.squares.start' from plugin 'examples'?" in listed.out


def test_show_is_for_people_programs_and_files(tasker, files):
    shown = tasker("template", "show", "examples_orders/business_workflow")
    assert "reserve_inventory" in shown.out
    details = tasker("template", "show", "examples_orders/business_workflow@1.0.0", "--json").json
    assert details["execution_order"] == ["validate_order", "reserve_inventory", "process_payment", "ship_order"]
    assert details["leaf_steps"] == ["ship_order"]
    assert details["steps"][0]["consumed_by"] == ["reserve_inventory", "process_payment", "ship_order"]
    written = tasker("template", "show", "good.yaml", "--yaml")
    (files / "again.yaml").write_text(written.out)
    assert tasker("template", "diff", "good.yaml", "again.yaml").code == 0


def test_check_ends_with_0_1_or_2(tasker, files):
    good = tasker("template", "check", "good.yaml")
    assert (good.code, good.out) == (0, "")
    assert good.err == "1 template checked: 0 errors, 0 warnings, 0 info\n"
    warned = tasker("template", "check", "warned.yaml")
    assert (warned.code, warned.out.count("warning RETRY_OTHER_NAME")) == (0, 1)
    assert tasker("template", "check", "warned.yaml", "--strict").code == 1
    wrong = tasker("template", "check", "wrong.yaml")
    assert wrong.code == 1
    assert wrong.out.startswith("wrong.yaml:2: error INVALID_VALUE: namespace_name: must be 1 to 29 of a-z, 0-9 and _")
    missing = tasker("template", "check", "absent.yaml")
    assert (missing.code, missing.out) == (2, "")
    assert "no file 'absent.yaml'" in missing.err


def test_check_knows_handlers_unless_it_is_told_not_to(tasker, files):
    text = GOOD.replace("squares.start", "squares.strat")
    found = tasker("template", "check", "-", text=text, TASKER_ENV="development").out
    assert "-:6: error UNKNOWN_HANDLER: step 'start': no handler named 'examples.squares.strat'; did you mean" in found
    assert tasker("template", "check", "-", "--alone", text=text).code == 0


def test_check_takes_folders_and_names_and_answers_in_json(tasker, files):
    checked = tasker("template", "check", ".", "examples_orders/business_workflow", "--json")
    assert checked.code == 1
    assert (checked.json["ok"], checked.json["errors"], checked.json["warnings"]) == (False, 1, 1)
    assert {finding["code"] for finding in checked.json["findings"]} >= {"INVALID_VALUE", "RETRY_OTHER_NAME"}
    [error] = [finding for finding in checked.json["findings"] if finding["severity"] == "error"]
    assert error["where"] == "wrong.yaml:2"
    assert tasker("template", "check", "--strict").code == 0  # all that plugins give


def test_a_name_that_is_nearly_one_is_suggested(tasker):
    near = tasker("template", "show", "examples_orders/busines_workflow")
    assert near.code == 2
    assert "did you mean 'examples_orders/business_workflow'?" in near.err
    version = tasker("template", "show", "examples_orders/business_workflow@9.0.0")
    assert "there is 1.0.0" in version.err


def test_graph_draws_in_three_ways_and_into_files(tasker, files):
    assert "reserve_inventory  ← validate_order" in tasker("template", "graph", "examples_orders/business_workflow").out
    assert tasker("template", "graph", "good.yaml", "--format", "mermaid").out == 'graph TD\n  s0["start"]\n'
    drawn = tasker("template", "graph", "good.yaml", "--format", "svg", "--output", "good.svg")
    assert (drawn.code, drawn.out) == (0, "")
    assert (files / "good.svg").read_text().startswith("<svg ")
    away = tasker("template", "graph", "good.yaml", "--output", "nowhere/good.txt")
    assert away.code == 2
    assert "nowhere/good.txt cannot be written" in away.err


def test_diff_tells_what_breaks(tasker, files):
    (files / "after.yaml").write_text(GOOD.replace("type: integer", "type: string").replace("1.0.0", "2.0.0"))
    found = tasker("template", "diff", "good.yaml", "after.yaml", "--json")
    assert found.code == 1
    assert [(change["code"], change["breaking"]) for change in found.json["changes"]] == [
        ("VERSION_CHANGED", False),
        ("TYPE_CHANGED", True),
    ]
    assert found.json["running_tasks"] == ["they keep the content they were made from, to their end"]
    told = tasker("template", "diff", "good.yaml", "after.yaml")
    assert "  ! TYPE_CHANGED  result_schema: the value: integer is now string" in told.out
    assert tasker("template", "diff", "good.yaml", "wrong.yaml").code == 3


def test_schema_is_json(tasker):
    assert json.loads(tasker("template", "schema").out)["title"] == "tasker-host task template"


def test_generated_handlers_are_picked_up_and_nothing_is_overwritten(tasker, files, environment):
    made = tasker("generate", "handlers", "good.yaml", "--output", "shop")
    assert made.code == 0
    assert made.out.splitlines() == [
        "shop/__init__.py",
        "shop/models.py",
        "shop/handlers.py",
        "shop/plugin.py",
        "shop/templates/charge.yaml",
    ]
    path = os.pathsep.join([str(files), environment["PYTHONPATH"]])
    checked = tasker("plugin", "check", "shop.plugin", PYTHONPATH=path)
    assert (checked.code, checked.out.splitlines()[1]) == (0, "shop: 1 handler, 1 template")
    (files / "shop/handlers.py").write_text("# mine\n")
    again = tasker("generate", "handlers", "good.yaml", "--output", "shop")
    assert again.code == 2
    assert "shop/handlers.py" in again.err
    assert (files / "shop/handlers.py").read_text() == "# mine\n"
    assert (
        tasker("generate", "handlers", "good.yaml", "--output", "shop", "--force", "--json").json["package"] == "shop"
    )
    assert (files / "shop/handlers.py").read_text() != "# mine\n"
    assert tasker("generate", "handlers", "good.yaml", "--output", "my-shop").code == 2


def test_generated_models_go_to_stdout_or_a_file_that_is_not_there(tasker, files):
    printed = tasker("generate", "models", "good.yaml")
    assert "StartResult: TypeAlias = int" in printed.out
    assert tasker("generate", "models", "good.yaml", "--output", "models.py").code == 0
    assert (files / "models.py").read_text() == printed.out
    assert tasker("generate", "models", "good.yaml", "--output", "models.py").code == 2
    assert tasker("generate", "models", "good.yaml", "--output", "models.py", "--force").code == 0
