"""The API described: OpenAPI, and a page that needs nothing from elsewhere to be read."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from http import HTTPStatus
from typing import Any

from litestar import Request
from litestar.exceptions import NotFoundException
from litestar.openapi import ResponseSpec
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.openapi.spec import (
    Example,
    OpenAPIMediaType,
    OpenAPIType,
    Operation,
    Parameter,
    Reference,
    RequestBody,
    Schema,
)
from pydantic import BaseModel

from tasker_host.api.bodies import QUERY_SCHEMA, REQUEST_SCHEMA, ProblemBody
from tasker_host.api.examples import REQUEST, problem_example
from tasker_host.api.problems import PROBLEM_JSON

_KEYWORDS = {
    "description": "description",
    "default": "default",
    "enum": "enum",
    "format": "format",
    "minimum": "minimum",
    "maximum": "maximum",
    "minLength": "min_length",
    "maxLength": "max_length",
    "maxItems": "max_items",
}

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24 }
h2 { font: 600 1.05rem ui-monospace, monospace; border-top: 1px solid #d0d7de; padding-top: 1rem }
.method { color: #0550ae } table { border-collapse: collapse } td, th { text-align: left; padding: .15rem 1rem .15rem 0;
vertical-align: top } code { font: .9em ui-monospace, monospace } @media (prefers-color-scheme: dark) {
body { background: #0d1117; color: #e6edf3 } .method { color: #79c0ff } h2 { border-color: #30363d } }
"""


@dataclass
class TaskRequestOperation(Operation):
    """An operation whose body is a task request, read exactly by our own JSON and not by the framework's."""

    def __post_init__(self) -> None:
        self.request_body = RequestBody(
            content={"application/json": OpenAPIMediaType(schema=_schema(REQUEST_SCHEMA), example=REQUEST)},
            required=True,
        )


@dataclass
class TaskListOperation(Operation):
    """An operation whose query is checked by a model of ours, which tells everything that is wrong with it at once."""

    def __post_init__(self) -> None:
        self.parameters = [_parameter(name, given) for name, given in QUERY_SCHEMA["properties"].items()]


def parameters_of(model: type[BaseModel]) -> list[Parameter | Reference]:
    """The query that a model of ours checks."""
    return [_parameter(name, given) for name, given in model.model_json_schema()["properties"].items()]


def request_body(model: type[BaseModel], example: dict[str, Any]) -> RequestBody:
    """The body that a model of ours checks."""
    schema = _schema(model.model_json_schema())
    return RequestBody(content={"application/json": OpenAPIMediaType(schema=schema, example=example)}, required=True)


def described(
    container: Any, example: Any, *, status: HTTPStatus = HTTPStatus.OK, description: str
) -> dict[int, ResponseSpec]:
    """An answer with its schema and an example."""
    examples = [Example(value=example)]
    return {int(status): ResponseSpec(container, description=description, generate_examples=False, examples=examples)}


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """Problem documents that may be answered."""
    return {
        status: ResponseSpec(
            ProblemBody,
            description=HTTPStatus(status).phrase,
            generate_examples=False,
            media_type=PROBLEM_JSON,
            examples=[Example(value=problem_example(status))],
        )
        for status in statuses
    }


async def only_its_own_pages(request: Request[Any, Any, Any]) -> None:
    """Of the pages of the description only those that exist; the framework's own 404 is no problem document."""
    if request.path_params:
        raise NotFoundException


def _parameter(name: str, given: dict[str, Any]) -> Parameter:
    # A query cannot say null: what may be null may be left out.
    (schema,) = (one for one in given.get("anyOf", [given]) if one.get("type") != "null")
    kept = {key: value for key, value in schema.items() if key != "description"}
    return Parameter(name, "query", _schema(kept), description=given["description"], required=False)


def _schema(given: dict[str, Any]) -> Schema:
    """The JSON schema as the framework's object."""
    if "$ref" in given:
        given = QUERY_SCHEMA["$defs"][given["$ref"].rpartition("/")[2]]
    kept: dict[str, Any] = {ours: given[key] for key, ours in _KEYWORDS.items() if key in given}
    if "type" in given:
        kept["type"] = OpenAPIType(given["type"])
    if "anyOf" in given:
        kept["any_of"] = [_schema(one) for one in given["anyOf"]]
    if "items" in given:
        kept["items"] = _schema(given["items"])
    if "properties" in given:
        kept["properties"] = {name: _schema(one) for name, one in given["properties"].items()}
        kept["required"] = given.get("required")
    return Schema(**kept)


class PlainPage(OpenAPIRenderPlugin):
    """Every operation on one page, without scripts."""

    def render(self, _: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        info = openapi_schema["info"]
        parts = [
            f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(info['title'])}</title>",
            f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style>",
            f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info.get('description', ''))}</p>",
            "<p>For programs: <a href='/api-docs/openapi.json'>openapi.json</a></p>",
        ]
        for path, operations in openapi_schema["paths"].items():
            for method, operation in operations.items():
                parts.append(_operation(path, method, operation))
        return "".join(parts).encode()


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    rows = [
        f"<tr><td><code>{escape(parameter['name'])}</code><td>{escape(parameter['in'])}"
        f"<td>{escape(parameter.get('description', ''))}"
        for parameter in operation.get("parameters", [])
    ]
    fields = [
        f"<tr><td><code>{escape(name)}</code><td>{escape(_kind(field))}<td>{escape(field.get('description', ''))}"
        for content in operation.get("requestBody", {}).get("content", {}).values()
        for name, field in content["schema"]["properties"].items()
    ]
    answers = [
        f"<tr><td><code>{escape(code)}</code><td>{escape(answer['description'])}"
        for code, answer in operation["responses"].items()
    ]
    parameters = f"<table><tr><th>parameter<th>in<th>{''.join(rows)}</table>" if rows else ""
    content = f"<table><tr><th>body<th>type<th>{''.join(fields)}</table>" if fields else ""
    paragraphs = "".join(f"<p>{escape(text)}" for text in operation.get("description", "").split("\n\n"))
    return (
        f"<h2><span class=method>{method.upper()}</span> {escape(path)}</h2><p><b>{escape(operation['summary'])}</b>"
        f"{paragraphs}{parameters}{content}<table><tr><th>answer<th>{''.join(answers)}</table>"
    )


def _kind(field: dict[str, Any]) -> str:
    """`string (uuid) or null`"""
    if "anyOf" in field:
        return " or ".join(_kind(one) for one in field["anyOf"])
    return f"{field['type']} ({field['format']})" if "format" in field else str(field.get("type", "any"))
