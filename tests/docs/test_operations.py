"""docs/operations.md names the states, tables, migrations and log events that there are."""

from __future__ import annotations

import re

import pytest

from tasker_host.db.database import Database
from tasker_host.domain.deadletter import DeadLetterReason
from tasker_host.domain.states import StepState, TaskState
from tests.docs.pages import ROOT, code, page


@pytest.mark.parametrize(("heading", "states"), [("States of a task", TaskState), ("States of a step", StepState)])
def test_every_state_is_there(heading, states):
    rows = page("operations").table(heading, "state")
    said = [name for row in rows for name in code(row[0])]
    assert sorted(said) == sorted(state.value for state in states)


async def test_every_table_of_the_schema_is_there(database: Database):
    rows = await database.fetch("select format('tasker.%s', tablename) from pg_tables where schemaname = 'tasker'")
    said = {code(row[0])[0] for row in page("operations").table("What is in the database", "table")}
    assert said == {row[0] for row in rows}


def test_every_reason_of_a_dead_letter_is_there():
    rows = page("operations").table("Dead letters", "reason")
    assert {code(row[0])[0] for row in rows} == {reason.value for reason in DeadLetterReason}


async def test_the_queries_of_the_page_run(database: Database):
    shell = "\n".join(block.text for block in page("operations").blocks("sh"))
    depths, states = re.findall(r'^psql "\$DATABASE_URL" -c "([^"]+)"$', shell, re.MULTILINE)
    await database.fetch("select tasker.namespace_create('payments')")
    assert [dict(row) for row in await database.fetch(depths)] == [{"name": "payments", "ready": 0, "waiting": 0}]
    assert await database.fetch(states) == []
    assert await database.fetchval("select to_regclass('pgmq.q_payments_queue') is not null")


def test_log_events_are_those_that_the_host_logs():
    sources = "\n".join(file.read_text() for file in sorted((ROOT / "tasker_host").rglob("*.py")))
    levels = {"exception": "error"}
    logged = {(event, levels.get(kind, kind)) for kind, event in re.findall(r'log\.(\w+)\(\s*"([^"]+)"', sources)}
    assert {(code(row[0])[0], row[1]) for row in page("operations").table("Logs", "event")} <= logged
    assert ("step failed", "info") in logged
