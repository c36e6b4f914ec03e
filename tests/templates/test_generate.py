"""Code from templates: it imports, type-checks, is taken by the host and runs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasker_host.domain.json import dumps, loads
from tasker_host.domain.schema import schema_check
from tasker_host.domain.source import parse_template
from tasker_host.templates.package import models_text, package
from tasker_host.templates.samples import NoSampleError, sample
from tests.support import ended, running_host, submit

TEXT = """
name: approve_order_py
namespace_name: tests
version: 1.0.0
input_schema:
  type: object
  required: [order-id, amount, placed_at]
  additionalProperties: false
  properties:
    order-id: {type: string, pattern: "^ord_[a-z0-9]+$", description: 'The "shop''s" own'}
    amount: {type: number, exclusiveMinimum: 0}
    placed_at: {type: string, format: date-time}
    class: {type: [string, "null"]}
    lines: {type: array, minItems: 1, items: {$ref: "#/$defs/Line"}}
    model_name: {type: string, default: "a \\\\ b"}
    tags: {type: object, additionalProperties: {type: integer}}
  $defs:
    Line:
      type: object
      required: [sku]
      properties: {sku: {type: string}, parts: {type: array, items: {$ref: "#/$defs/Line"}}}
steps:
  - name: validate
    description: Look at the order
    handler: {callable: orders.validate}
    result_schema:
      type: object
      required: [ok, kind, "unit-price"]
      properties:
        ok: {const: true}
        kind: {enum: [a, b]}
        note: {type: string}
        unit-price: {type: number}
        at: {type: string, format: date-time}
  - {name: route, type: decision, handler: {callable: orders.route}, dependencies: [validate]}
  - {name: auto_approve, handler: {callable: orders.auto}, dependencies: [route], result_schema: {type: string}}
  - name: ask_manager
    handler: {callable: orders.ask}
    dependencies: [route]
    result_schema: {type: array, items: {type: integer}, minItems: 2}
  - name: finish
    type: deferred_convergence
    handler: {callable: orders.finish}
    dependencies: [auto_approve, ask_manager]
  - {name: analyze, type: batchable, handler: {callable: orders.analyze}, dependencies: [validate]}
  - name: work
    type: batch_worker
    handler: {callable: orders.work}
    dependencies: [analyze]
    batch_config:
      {batch_size: 10, parallelism: 2, cursor_field: id, worker_template: work, failure_strategy: isolate}
    result_schema: {type: object, required: [n], properties: {n: {type: integer, minimum: 3}}}
  - name: join
    type: deferred_convergence
    handler: {callable: orders.join}
    dependencies: [work]
    result_schema: {type: integer, minimum: 5, multipleOf: 2}
  - {name: m1, handler: {callable: orders.Multi, method: validate}, dependencies: [validate]}
  - {name: m2, handler: {callable: orders.Multi}, dependencies: [m1], result_schema: {type: boolean}}
  - {name: s1, handler: {callable: orders.shared}, dependencies: [validate]}
  - {name: s2, handler: {callable: orders.shared}, dependencies: [s1], result_schema: {enum: [x, y]}}
"""

ORDER = {"order-id": "ord_1", "amount": 2.5, "placed_at": "2026-01-01T00:00:00Z", "lines": [{"sku": "a"}]}


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The generated package, importable as `generated_orders`."""
    template, _ = parse_template(TEXT, source="t")
    for path, text in package(template, "generated_orders").files.items():
        file = tmp_path / "generated_orders" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "generated_orders"
    for name in [name for name in sys.modules if name.partition(".")[0] == "generated_orders"]:
        del sys.modules[name]


async def test_the_generated_package_runs_a_task_to_its_end(written, dsn):
    plugin = importlib.import_module("generated_orders.plugin")
    async with running_host(dsn, plugin) as host:
        assert [found.label for found in host.registry.available()] == ["tests/approve_order_py 1.0.0"]
        [task] = await ended(host, await submit(host, "approve_order_py", ORDER))
    assert task["status"] == "complete", [(step["name"], step["error"]) for step in task["steps"] if step["error"]]
    values = {step["name"]: step["result"] for step in task["steps"]}
    assert values["validate"] == {"ok": True, "kind": "a", "unit-price": 0.0}
    assert values["ask_manager"] == [0, 0]
    assert values["work_001"] == {"n": 3}
    assert values["join"] == 6
    assert values["s2"] == "x"


def test_the_generated_package_type_checks(written):
    api = pytest.importorskip("mypy.api")
    out, err, code = api.run(["--strict", "--config-file=", "--cache-dir", str(written.parent / "cache"), str(written)])
    assert (code, err) == (0, ""), out


def test_models_have_the_shapes_of_the_schemas(written):
    models: Any = importlib.import_module("generated_orders.models")
    order = models.ApproveOrderInput.model_validate({**ORDER, "class": None})
    assert (order.order_id, order.amount, order.placed_at.year) == ("ord_1", 2.5, 2026)
    assert order.model_name_ == "a \\ b"
    assert order.lines[0].parts is None
    # Under their own names, without what was not given, with what was given as null.
    assert loads(dumps(order)) == {**ORDER, "class": None, "model_name": "a \\ b"}
    for wrong in ({"amount": 0}, {"order-id": "x"}, {"placed_at": "today"}, {"more": 1}, {"tags": {"a": "b"}}):
        with pytest.raises(ValueError, match=next(iter(wrong)).partition("-")[0]):
            models.ApproveOrderInput.model_validate({**ORDER, **wrong})


def test_the_same_template_gives_the_same_code():
    template, _ = parse_template(TEXT, source="t")
    assert package(template, "p").files == package(template, "p").files
    assert models_text(template) == package(template, "p").files["models.py"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "minLength": 3},
        {"type": "string", "pattern": "^pay_[a-zA-Z0-9_]+$"},
        {"type": "string", "format": "email", "pattern": "^[^@\\s]+@[^@\\s]+$"},
        {"type": "integer", "exclusiveMinimum": 4, "multipleOf": 3},
        {"type": "integer", "maximum": -2},
        {"type": "number", "exclusiveMaximum": 0},
        {"type": ["null", "string"]},
        {"enum": [3, 4]},
        {"anyOf": [{"type": "null"}, {"type": "object", "required": ["a"], "properties": {"a": {"const": 1}}}]},
        {"type": "array", "minItems": 2, "items": {"type": "boolean"}},
        {"type": "object", "required": ["said_nowhere"]},
        {"default": 7},
    ],
)
def test_samples_fit_their_schemas(schema):
    assert schema_check(schema, subject="value")(sample(schema)) == []


def test_where_no_sample_is_found_the_handler_says_so_and_names_its_step():
    with pytest.raises(NoSampleError):
        sample({"type": "string", "pattern": "^(?=.*[a-z]{7})(?=.*[0-9]{7}).*$"})
    text = TEXT.replace("{type: string}}\n  - name: ask", "{type: string, pattern: '^(a{9}|b{9})$'}}\n  - name: ask")
    template, _ = parse_template(text, source="t")
    handlers = package(template, "p").files["handlers.py"]
    assert 'raise NotImplementedError(\n        "step auto_approve needs a value of its own' in handlers
