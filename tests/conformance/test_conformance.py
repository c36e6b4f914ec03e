"""Every case of the shared conformance data, through one adapter over the real kernel (`README.md`)."""

from __future__ import annotations

from collections.abc import Mapping
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
