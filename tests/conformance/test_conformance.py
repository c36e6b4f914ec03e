"""Every case of the shared conformance data, through one adapter over the real kernel (`README.md`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.conformance.runs import RUNS
from tests.conformance.tables import TABLES

Case = Mapping[str, Any]


async def test_case(
    case: Case, templates: dict[str, Any], not_applicable: dict[str, Any], connection: asyncpg.Connection
):
    kind = case["kind"]
    if kind in not_applicable["kinds"]:
        pytest.skip(not_applicable["kinds"][kind])
    for operation in case.get("ops", ()):
        if operation["op"] in not_applicable["operations"]:
            pytest.skip(not_applicable["operations"][operation["op"]])
    if kind in RUNS:
        await RUNS[kind](case, _template(case, templates), connection)
    elif kind in TABLES:
        TABLES[kind](case, templates)
    else:
        pytest.fail(f"no kind {kind!r} is known; see tests/conformance/README.md")


def _template(case: Case, templates: Mapping[str, Any]) -> Mapping[str, Any]:
    return case.get("inline_template") or templates[case.get("template") or "chain4"]


OTHER = json.loads((Path(__file__).parent / "adapter.json").read_text("utf-8"))


@pytest.mark.parametrize("other", OTHER["cases"], ids=lambda case: case["id"])
async def test_a_case_of_another_file(other: Case, ours: dict[str, Any], connection: asyncpg.Connection):
    """What ours does not use of the format."""
    known = {**ours, **OTHER["templates"]}
    if other["kind"] in RUNS:
        await RUNS[other["kind"]](other, _template(other, known), connection)
    else:
        TABLES[other["kind"]](other, known)
