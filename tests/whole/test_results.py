"""What handlers return is checked: by the step's result_schema, and by the model that they say they return."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from tasker_host import step_handler
from tasker_host.errors import TemplateError
from tests.support import chain, plugin, results, run_to_end, running_host, template

SCHEMA = """
name: t
namespace_name: tests
version: 1.0.0
steps:
  - name: s
    handler: {callable: gives}
    result_schema:
      type: object
      required: [total]
      properties: {total: {type: integer}, lines: {type: array, items: {type: number}}}
"""


class Quote(BaseModel):
    total: int
    currency: str = "EUR"


@step_handler("gives")
async def gives(context):
    return context.input["value"]


@step_handler("quotes")
async def quotes(context) -> Quote:
    return context.input["value"]


async def end(dsn, text, value):
    async with running_host(dsn, plugin([gives, quotes], [text])) as host:
        return await run_to_end(host, "t", {"value": value})


async def test_a_value_that_fits_its_schema_is_kept_as_it_is(dsn):
    row = await end(dsn, SCHEMA, {"total": 3, "lines": [1, 2.5], "more": None})
    assert results(row) == {"s": {"total": 3, "lines": [1, 2.5], "more": None}}


async def test_a_value_that_does_not_fit_fails_the_step_for_good_with_every_path(dsn):
    row = await end(dsn, SCHEMA, {"total": "3", "lines": [1, "x"]})
    (step,) = row["steps"]
    assert (row["status"], step["attempts"]) == ("blocked_by_failures", 1)
    assert step["error"] == {
        "error_type": "validation_error",
        "error_code": "RESULT_INVALID",
        "retryable": False,
        "will_retry": False,
        "message": "handler 'gives' returned what does not fit: result.lines[1]: 'x' is not of type 'number';"
        " result.total: '3' is not of type 'integer'",
    }


async def test_a_value_must_fit_the_model_that_the_handler_says_it_returns(dsn):
    text = chain("t", "quotes")
    row = await end(dsn, text, {"total": 3})
    assert results(row) == {"quotes": {"total": 3}}


async def test_a_value_that_does_not_fit_the_model_names_the_field(dsn):
    row = await end(dsn, chain("t", "quotes"), {"total": "many"})
    (step,) = row["steps"]
    assert (step["attempts"], step["error"]["error_code"]) == (1, "RESULT_INVALID")
    assert "result.total: " in step["error"]["message"]


def test_a_schema_that_refers_elsewhere_is_refused_and_nothing_is_fetched():
    text = SCHEMA.replace("type: object", '$ref: "http://127.0.0.1:9/none.json"')
    with pytest.raises(TemplateError, match="leads to no schema within this one; nothing else is looked up"):
        template(text)
