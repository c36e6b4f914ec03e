"""`tasker dlq`, `tasker task export` and `tasker db retain`, on a database of the test's own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from tasker_host import Failed, step_handler
from tests.cli.conftest import Tasker
from tests.support import chain, plugin, run_to_end, running_host, submit


@step_handler("fails")
async def fails() -> Failed:
    return Failed("no", "handler_error", retryable=True)


@step_handler("works")
async def works() -> str:
    return "line one\nline two"


@pytest.fixture
def on(tasker: Tasker, dsn: str) -> Tasker:
    """`tasker` on the test's database."""

    def run(*arguments: str, **more: str):
        return tasker(*arguments, DATABASE_URL=dsn, **more)

    return run


@pytest.fixture
async def tasks(dsn) -> tuple[str, str]:
    """A task that failed for good and is filed, and one that is complete."""
    made = plugin([fails, works], [chain("failing", "fails", max_attempts=1), chain("good", "works")])
    async with running_host(dsn, made) as host:
        bad = await run_to_end(host, "failing")
        good = await run_to_end(host, "good")
        await host.sweeper.sweep()
    return str(bad["task_uuid"]), str(good["task_uuid"])


def test_a_dead_letter_is_listed_shown_closed_and_counted(tasks, on):
    bad, _ = tasks
    (listed,) = on("dlq", "list", "--json").json
    assert (listed["task_uuid"], listed["dlq_reason"], listed["task_name"]) == (bad, "max_retries_exceeded", "failing")
    entry = listed["dlq_entry_uuid"]
    assert on("dlq", "show", entry, "--json").json == listed
    shown = on("dlq", "show", bad)
    assert "max_retries_exceeded  pending" in shown.out
    assert "handler_error: no" in shown.out
    (urgent,) = on("dlq", "list", "--urgent", "--json").json
    assert 500 <= urgent["priority_score"] < 501
    closed = on(
        "dlq", "update", entry, "--status", "ManuallyResolved", "--notes", "reset", "--by", "ann", "--json"
    ).json
    assert (closed["resolution_status"], closed["resolution_notes"], closed["resolved_by"]) == (
        "manually_resolved", "reset", "ann",
    )  # fmt: skip
    again = on("dlq", "update", entry, "--status", "cancelled")
    assert (again.code, "is manually_resolved already" in again.err) == (2, True)
    assert on("dlq", "list", "--status", "pending", "--json").json == []
    (stats,) = on("dlq", "stats", "--json").json
    assert (stats["total_entries"], stats["manually_resolved"]) == (1, 1)
    assert "max_retries_exceeded" in on("dlq", "stats").out


def test_an_investigation_is_opened_by_hand(tasks, on):
    _, good = tasks
    entry = on("dlq", "add", good, "--notes", "odd").out.strip()
    assert on("dlq", "show", entry, "--json").json["resolution_notes"] == "odd"
    twice = on("dlq", "add", good, "--json")
    assert (twice.code, twice.json["error"]["code"]) == (2, "DEAD_LETTER_EXISTS")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("list", "--status", "done"), "must be one of pending"),
        (("list", "--reason", "staleness"), "did you mean 'staleness_timeout'"),
        (("list", "--urgent", "--status", "pending"), "leave out --status"),
        (("show", str(uuid4())), "no dead letter of task"),
        (("update", str(uuid4())), "nothing to change"),
        (("update", str(uuid4()), "--notes", "x"), "no dead letter"),
        (("update", str(uuid4()), "--metadata", "[1]"), "must be a JSON object"),
        (("update", str(uuid4()), "--metadata", "{"), "not JSON"),
        (("add", str(uuid4())), "no task"),
    ],
)
def test_what_is_wrong_is_told(on, arguments, told):
    ran = on("dlq", *arguments)
    assert ran.code == 2
    assert told in ran.err


def test_tasks_are_exported_a_line_each(tasks, on, tmp_path):
    lines = on("task", "export").out.splitlines()
    found = [json.loads(line) for line in lines]
    assert [document["task"]["task_uuid"] for document in found] == sorted(tasks)
    good = next(document for document in found if document["task"]["name"] == "good")
    assert [step["result"] for step in good["steps"]] == ["line one\nline two"]
    assert [event["to_state"] for event in good["task_history"]] == ["steps_in_process", "complete"]
    assert len(good["step_history"]) == 2
    bad = next(document for document in found if document["task"]["name"] == "failing")
    assert [entry["dlq_reason"] for entry in bad["dead_letters"]] == ["max_retries_exceeded"]
    written = on("task", "export", "--before", "2100-01-01T00:00:00Z", "--output", "tasks.jsonl")
    assert (written.code, written.out) == (0, "")
    (line,) = (tmp_path / "tasks.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["task"]["name"] == "good"
    assert on("task", "export", "--namespace", "others").out == ""
    assert on("task", "export", "--before", "2000-01-01T00:00:00Z").out == ""
    for wrong in ("tomorrow", "2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        assert on("task", "export", "--before", wrong).code == 2
    assert on("task", "export", "--output", "nowhere/tasks.jsonl").code == 2
    assert not (tmp_path / "nowhere").exists()


def test_what_is_no_file_is_written_to_and_stays_what_it_is(tasks, on, tmp_path):
    pipe, link = tmp_path / "pipe", tmp_path / "link.jsonl"
    os.mkfifo(pipe)
    link.symlink_to("linked.jsonl")
    with ThreadPoolExecutor() as threads:
        read = threads.submit(pipe.read_text, "utf-8")
        assert on("task", "export", "--output", str(pipe)).code == 0
        assert len(read.result().splitlines()) == 2
    assert pipe.is_fifo()
    assert on("task", "export", "--output", str(link)).code == 0
    assert link.is_symlink()
    assert len((tmp_path / "linked.jsonl").read_text("utf-8").splitlines()) == 2


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="a device without room is Linux's")
def test_a_disk_that_is_full_is_told(tasks, on, tmp_path):
    (tmp_path / "full").symlink_to("/dev/full")
    told = on("task", "export", "--output", "full")
    assert (told.code, told.err) == (2, "error: the file cannot be written\n  full: No space left on device\n")
    assert Path("/dev/full").is_char_device()


def test_retention_can_be_tried_and_done_by_hand(tasks, on):
    bad, good = tasks
    settings = {"TASKER__RETENTION__MAX_AGE_DAYS": "0.0000001", "TASKER__RETENTION__ACTION": "archive"}
    assert "nothing to do" in on("db", "retain", "--dry-run").err
    tried = on("db", "retain", "--dry-run", **settings)
    assert (tried.code, tried.out) == (0, "tests: 1 tasks would be archived\n")
    assert len(on("task", "export").out.splitlines()) == 2
    assert on("db", "retain", "--json", **settings).json == {"dry_run": False, "tasks": {"tests": 1}}
    (line,) = on("task", "export").out.splitlines()
    assert json.loads(line)["task"]["task_uuid"] == bad
    (line,) = on("task", "export", "--archived").out.splitlines()
    assert json.loads(line)["task"]["task_uuid"] == good
    assert on("task", "export", "--archived", "--namespace", "others").out == ""


async def test_a_task_that_ended_as_a_whole_says_why(dsn, environment, tmp_path):
    async with running_host(dsn, plugin([works], [chain("good", "works")]), worker=False) as host:
        task = await submit(host, "good")
        await host.database.fetch(
            "select tasker.tasks_stop(array[$1::uuid], 'error', 'sweep', 'max_duration', true)", task
        )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tasker_host", "task", "show", str(task)),
        stdout=asyncio.subprocess.PIPE,
        cwd=tmp_path,
        env={**environment, "DATABASE_URL": dsn},
    )
    out, _ = await process.communicate()
    assert "max_duration: the task ran longer than its template allows" in out.decode()
