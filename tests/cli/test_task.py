"""`tasker task`, on a database of the test's own."""

from __future__ import annotations

import asyncio
import sys
from uuid import UUID, uuid4

import pytest
from tasker_examples import plugin as examples

from tests.cli.conftest import Tasker
from tests.support import running_host

SEQUENCE = "examples_linear/mathematical_sequence"


@pytest.fixture
def on(tasker: Tasker, dsn: str) -> Tasker:
    """`tasker` on the test's database."""

    def run(*arguments: str, **more: str):
        return tasker(*arguments, DATABASE_URL=dsn, **more)

    return run


def tasks(on: Tasker) -> list[dict]:
    return on("task", "list", "--json").json["tasks"]


def test_a_submitted_task_is_there_before_any_host_runs(on):
    submitted = on("task", "submit", SEQUENCE, "--input", '{"even_number": 6}', "--tag", "a", "--tag", "b")
    assert (submitted.code, submitted.err) == (0, "")
    shown = on("task", "show", submitted.out.strip(), "--json")
    assert shown.code == 0
    assert shown.json["status"] == "steps_in_process"
    assert shown.json["context"] == {"even_number": 6}
    assert shown.json["tags"] == ["a", "b"]
    assert shown.json["source_system"] == "tasker-cli"
    assert [step["current_state"] for step in shown.json["steps"]] == ["enqueued", "pending", "pending", "pending"]


def test_the_input_comes_from_a_file_or_stdin(on, tmp_path):
    (tmp_path / "order.json").write_text('{"even_number": 8}', "utf-8")
    for source, text in (("@order.json", None), ("-", '{"even_number": 10}')):
        assert on("task", "submit", SEQUENCE, "--input", source, **({"text": text} if text else {})).code == 0
    contexts = [on("task", "show", task["task_uuid"], "--json").json["context"] for task in tasks(on)]
    assert contexts == [{"even_number": 10}, {"even_number": 8}]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((SEQUENCE, "--input", "{"), "--input: not JSON: EOF while parsing an object at line 1 column 1"),
        ((SEQUENCE, "--input", "@nowhere.json"), "nowhere.json: No such file or directory"),
        ((SEQUENCE, "--input", "[1]"), "context: must be an object (got a list)"),
        ((SEQUENCE, "--input", '{"n": NaN}'), "--input: not JSON"),
        (("examples_linear/mathematical_sequenze",), "did you mean 'examples_linear/mathematical_sequence'?"),
        (("nowhere/nothing",), "no template named 'nowhere/nothing'"),
        ((SEQUENCE, "--version", "9.9.9", "--input", '{"even_number": 6}'), "of version 9.9.9; there is 1.0.0"),
        ((SEQUENCE, "--start-at", "tomorrow"), "start_at"),
        ((SEQUENCE, "--correlation-id", "x"), "correlation_id"),
        ((SEQUENCE, "--priority", "101"), "priority"),
        ((SEQUENCE, "--input", '{"even_number": "six"}'), "context.even_number: 'six' is not of type 'integer'"),
    ],
)
def test_a_wrong_request_says_what_and_where_and_writes_nothing(on, arguments, told):
    ran = on("task", "submit", *arguments)
    assert ran.code == 2
    assert told in ran.err
    assert ran.out == ""
    assert tasks(on) == []


def test_with_json_an_error_is_json_too(on):
    ran = on("task", "submit", SEQUENCE, "--input", '{"even_number": "six"}', "--json")
    assert ran.code == 2
    assert ran.json["error"]["code"] == "REQUEST_INVALID"
    assert ran.json["error"]["problems"] == [
        {"where": "context.even_number", "message": "'six' is not of type 'integer'"}
    ]


def test_the_same_identity_twice_is_refused(on):
    arguments = ("task", "submit", SEQUENCE, "--input", '{"even_number": 6}')
    assert on(*arguments).code == 0
    second = on(*arguments)
    assert second.code == 2
    assert "already exists" in second.err
    assert len(tasks(on)) == 1
    assert on(*arguments, "--idempotency-key", "another").code == 0


def test_an_unknown_task_is_told_and_a_malformed_uuid_is_wrong_usage(on):
    task = uuid4()
    shown = on("task", "show", str(task))
    assert (shown.code, shown.err.split(";")[0]) == (2, f"error: no task {task} in this database")
    assert on("task", "show", "x").code == 2


def test_a_list_is_filtered_paged_and_newest_first(on):
    made = [
        on("task", "submit", SEQUENCE, "--input", f'{{"even_number": {number}}}', "--initiator", who).out.strip()
        for number, who in ((2, "ann"), (4, "bob"), (6, "ann"))
    ]
    assert [task["task_uuid"] for task in tasks(on)] == made[::-1]
    anns = on("task", "list", "--initiator", "ann", "--limit", "1", "--offset", "1", "--json").json
    assert ([task["task_uuid"] for task in anns["tasks"]], anns["total"]) == ([made[0]], 2)
    assert on("task", "list", "--state", "complete", "--json").json["total"] == 0
    wrong = on("task", "list", "--state", "completed")
    assert (wrong.code, "did you mean 'complete'?" in wrong.err) == (2, True)
    table = on("task", "list").out.splitlines()
    assert table[0].split() == ["TASK", "TEMPLATE", "STATE", "STEPS", "CREATED", "TOOK"]
    assert made[2] in table[1]
    assert table[-1] == "3 of 3 tasks"


async def submitted_and_watched(environment, cwd, dsn, *arguments) -> tuple[int, bytes]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tasker_host", "task", "submit", *arguments, "--watch", "--json"),
        stdout=asyncio.subprocess.PIPE,
        cwd=cwd,
        env={**environment, "DATABASE_URL": dsn},
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out


async def test_watch_waits_for_the_end_and_tells_by_its_exit_code(environment, tmp_path, dsn):
    async with running_host(dsn, examples):
        good = await submitted_and_watched(environment, tmp_path, dsn, SEQUENCE, "--input", '{"even_number": 6}')
        odd = await submitted_and_watched(environment, tmp_path, dsn, SEQUENCE, "--input", '{"even_number": 7}')
    assert good[0] == 0
    assert b'"result": 2821109907456' in good[1]
    assert odd[0] == 1
    assert b'"status": "blocked_by_failures"' in odd[1]


def test_watch_gives_up_at_its_timeout_and_says_that_no_worker_is_there(on):
    task = on("task", "submit", SEQUENCE, "--input", '{"even_number": 6}').out.strip()
    watched = on("task", "watch", str(UUID(task)), "--timeout", "0")
    assert watched.code == 1
    assert "no worker is connected to this database: start one with `tasker run`" in watched.err
    assert "steps_in_process" in watched.out
