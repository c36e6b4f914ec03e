"""`tasker plugin doctor`: what is wrong with the host, part by part."""

from __future__ import annotations

import asyncio
import json
from textwrap import dedent

import asyncpg
import pytest

from tests.support import command


@pytest.fixture
def doctor(dsn, tmp_path, monkeypatch):
    """`doctor(toml)`: exit code, verdict and text by part, whole output. The database is a migrated one."""
    monkeypatch.setenv("TASKER_ENV", "test")

    def doctor(toml="", *, url=dsn):
        monkeypatch.setenv("DATABASE_URL", url)
        file = tmp_path / "host.toml"
        file.write_text("[plugins.examples]\nenabled = false\n" + dedent(toml))
        arguments = ["plugin", "doctor", "--config", str(file)]
        told = command(*arguments)
        data = command(*arguments, "--json")
        assert told.exit_code == data.exit_code
        assert len(told.stdout.splitlines()) <= 24
        parts = {part["name"]: part for part in json.loads(data.stdout)["checks"]}
        return told.exit_code, {name: part["verdict"] for name, part in parts.items()}, parts, told.stdout

    return doctor


GOOD = """
    from importlib.resources import files
    from tasker_host import *

    @step_handler("good.work")
    def work():
        return 1

    @hookimpl
    def tasker_handlers():
        return [work]

    @hookimpl
    def tasker_templates():
        return [files(__name__)]
"""
TEMPLATE = """
    name: work
    namespace_name: good
    version: 1.0.0
    steps:
      - {name: work, handler: {callable: good.work}}
"""


def test_a_host_that_would_start_is_fine_in_every_part(install, doctor):
    install("good", GOOD, templates={"work.yaml": TEMPLATE})
    code, verdicts, parts, told = doctor()
    assert code == 0
    assert verdicts == dict.fromkeys(
        ["configuration", "plugins", "templates", "database", "migrations", "workers"], "ok"
    )
    assert parts["plugins"]["message"] == "1 active, 1 disabled"
    assert parts["templates"]["message"] == "1 template"
    assert parts["workers"]["message"] == "none is at work: tasker run"
    assert told.splitlines()[0].startswith("ok  configuration environment test, files of ")


def test_a_broken_plugin_is_wrong_and_a_required_one_stops_the_host_and_all_are_told(install, doctor):
    install("good", GOOD, templates={"work.yaml": TEMPLATE})
    install("one", "raise RuntimeError('first')")
    install("two", "raise RuntimeError('second')")
    code, verdicts, parts, _ = doctor()
    assert (code, verdicts["plugins"]) == (1, "wrong")
    code, verdicts, parts, told = doctor("[plugins.two]\nrequired = true\n[plugins.gone]\nrequired = true\n")
    assert (code, verdicts["plugins"]) == (3, "cannot start")
    assert [problem.split(":")[0] for problem in parts["plugins"]["problems"]] == [
        "gone (required, missing)",
        "two (required, failed)",
        "one (failed)",
    ]
    assert "RuntimeError: second (acme_two/__init__.py:1)" in told
    assert verdicts["database"] == "ok"


def test_a_template_without_its_handler_is_told_with_the_step(install, doctor):
    install("good", GOOD, templates={"work.yaml": TEMPLATE.replace("good.work}", "good.wrok}")})
    code, verdicts, parts, _ = doctor()
    assert (code, verdicts["templates"]) == (1, "wrong")
    assert parts["templates"]["message"] == "1 template, 1 of them not available"
    assert parts["templates"]["problems"] == [
        "template good/work 1.0.0, step 'work': no handler named 'good.wrok';"
        " did you mean 'good.work' from plugin 'good'?"
    ]


def test_templates_that_are_configured_and_not_there_stop_the_host(doctor):
    code, verdicts, parts, _ = doctor('[templates]\npaths = ["nowhere"]')
    assert (code, verdicts["templates"]) == (3, "cannot start")
    assert "nowhere does not exist" in parts["templates"]["problems"][0]


def test_a_wrong_configuration_is_told_and_the_rest_is_not_looked_at(doctor):
    code, verdicts, parts, told = doctor("[worker]\nslts = 5\n[web]\nport = 'high'\n")
    assert code == 3
    assert verdicts == {
        "configuration": "cannot start",
        "plugins": "not looked at",
        "templates": "not looked at",
        "database": "not looked at",
    }
    assert len(parts["configuration"]["problems"]) == 2
    assert "did you mean 'slots'?" in told


def test_a_database_that_is_not_there_is_told_without_its_password(doctor):
    code, verdicts, _, told = doctor(url="postgresql://me:secret@127.0.0.1:1/none")
    assert (code, verdicts["database"]) == (3, "cannot start")
    assert "cannot be reached" in told
    assert "is DATABASE_URL right?" in told
    assert "secret" not in told


def test_pending_migrations_stop_a_host_that_may_not_apply_them(doctor, new_database):
    empty = new_database(empty=True)
    code, verdicts, parts, _ = doctor('[database]\nauto_migrate = "never"', url=empty)
    assert (code, verdicts["database"], verdicts["migrations"]) == (3, "ok", "cannot start")
    assert parts["migrations"]["problems"] == ['tasker db migrate, or database.auto_migrate = "always"']
    code, verdicts, parts, _ = doctor('[database]\nauto_migrate = "always"', url=empty)
    assert verdicts["migrations"] == "ok"
    assert "the next start applies them" in parts["migrations"]["message"]


def test_the_embedded_database_is_looked_for_and_not_started(doctor, tmp_path):
    folder = tmp_path / "data"
    _, verdicts, parts, _ = doctor(f'[database]\ndata_dir = "{folder}"', url="")
    assert verdicts["database"] == "ok"
    assert parts["database"]["message"].endswith(f"in {folder}, which the first start makes")
    assert not folder.exists()
    code, verdicts, parts, _ = doctor("[database]\nembedded = false", url="")
    assert (code, verdicts["database"]) == (3, "cannot start")


def test_workers_at_work_and_lost_ones_are_told(install, doctor, dsn):
    install("good", GOOD, templates={"work.yaml": TEMPLATE})
    beat = "select tasker.worker_beat($1, $1, 's', 1, now(), '1 s', '0', 'running', 1, 0, 0, '{}', '{}', '[]'::json)"

    async def beats() -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute(beat, "shop-1")
        await connection.execute(beat, "shop-2")
        await connection.execute("update tasker.workers set seen_at = now() - interval '5 s' where worker = 'shop-2'")
        await connection.close()

    asyncio.run(beats())
    code, verdicts, parts, _ = doctor()
    assert (code, verdicts["workers"]) == (1, "wrong")
    assert parts["workers"]["message"] == "1 host at work"
    assert parts["workers"]["problems"] == ["shop-2 has not been heard of for a while"]
