"""`tasker certify` as a user runs it."""

from __future__ import annotations

from tests.cli.conftest import Tasker

SHOP = """
import os
import asyncpg
from tasker_host import StepContext, hookimpl, step_handler

@step_handler("shop.book")
async def book(context: StepContext) -> str:
    async with context.transaction() as connection:
        await connection.execute("insert into ledger (what) values ('booked')")
    return "booked"

@step_handler("shop.count")
async def count() -> None:
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    await connection.execute("insert into ledger (what) values ('counted')")
    await connection.close()

@hookimpl
def tasker_handlers():
    return [book, count]
"""
ORDER = """
name: order
namespace_name: shop
version: 1.0.0
steps:
  - {name: book, handler: {callable: shop.book}}
  - {name: tell, handler: {callable: shop.HANDLER}, dependencies: [book]}
"""
LEDGER = "create table ledger (id serial, what text)"


def test_a_template_that_bears_every_death_is_proven(tasker: Tasker, tmp_path, installed):
    path = installed("shop", SHOP)
    (tmp_path / "order.yaml").write_text(ORDER.replace("HANDLER", "book"))
    (tmp_path / "ledger.sql").write_text(LEDGER)
    ran = tasker("certify", "order.yaml", "--setup", "@ledger.sql", PYTHONPATH=path)
    assert ran.code == 0, ran.err
    assert "shop/order 1.0.0: proven. A worker died at 12 moments of a task of 2 steps" in ran.out
    assert "Compared: the outcome, events, ledger." in ran.out


def test_a_handler_that_is_not_idempotent_is_named_and_the_configured_database_is_not_touched(
    tasker: Tasker, tmp_path, installed
):
    path = installed("shop", SHOP)
    (tmp_path / "order.yaml").write_text(ORDER.replace("HANDLER", "count"))
    ran = tasker(
        *("certify", "order.yaml", "--setup", LEDGER, "--effects", "select what from ledger", "--json"),
        PYTHONPATH=path,
        DATABASE_URL="postgresql://nobody@127.0.0.1:9/production",
    )
    assert ran.code == 1, ran.err
    assert ran.json["proven"] is False
    assert ran.json["not_idempotent"] == ["shop.count"]
    assert ran.json["compared"] == ["select what from ledger"]
    assert {(finding["when"], finding["what"], finding["at_step"]) for finding in ran.json["findings"]} == {
        ("after", "handler", "tell"),
        ("before", "finish", "tell"),
    }


def test_a_task_that_does_not_come_to_the_expected_state_fails_unless_that_is_expected(tasker: Tasker):
    line = ("certify", "examples_linear/mathematical_sequence", "--input", '{"even_number": 7}')
    ran = tasker(*line)
    assert ran.code == 1
    assert "Expected was complete" in ran.out
    assert tasker(*line, "--expect", "blocked_by_failures").code == 0


def test_wrong_usage_is_told(tasker: Tasker):
    ran = tasker("certify", "examples_linear/mathematical_sequenze")
    assert ran.code == 2
    assert "did you mean 'examples_linear/mathematical_sequence'" in ran.err
    line = ("certify", "examples_linear/mathematical_sequence")
    assert tasker(*line, "--input", "{").code == 2
    ran = tasker(*line, "--setup", "creat table ledger")
    assert ran.code == 2
    assert "setup" in ran.err
    assert 'syntax error at or near "creat"' in ran.err
    ran = tasker(*line, "--input", '{"even_number": 6}', "--effects", "select * from nowhere")
    assert ran.code == 2
    assert "nowhere" in ran.err


def test_what_keeps_it_from_starting_is_told(tasker: Tasker):
    ran = tasker("certify", "x/y", "--dsn", "postgresql://nobody@127.0.0.1:9/none")
    assert ran.code == 3
    assert "127.0.0.1:9" in ran.err
    ran = tasker("certify", "x/y", "--plugin", "not_there")
    assert ran.code == 3
    assert "No module named 'not_there'" in ran.err
