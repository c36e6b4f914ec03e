"""`tasker demo`, on a data directory of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest


def test_the_demo_runs_the_day_and_shows_what_happened(tasker):
    ran = tasker("demo", "--throw-away", "--json")
    assert ran.code == 0
    happened = ran.json
    by_name = {summary["template"]: summary for summary in happened["templates"]}
    orders = by_name.pop("examples_orders/business_workflow")
    assert (orders["count"], orders["ok"], orders["failed"], orders["refused"]) == (228, 210, 10, 8)
    assert orders["p50_ms"] <= orders["p99_ms"]
    assert {(summary["count"], summary["ok"]) for summary in by_name.values()} == {(1, 1)}
    assert len(by_name) == 12
    assert len(happened["failed"]) == 10
    assert all(failed["error"]["message"] for failed in happened["failed"])
    assert happened["unfinished"] == 0
    assert happened["retries"] >= 15


def test_the_demo_can_be_run_again_and_leaves_its_tasks_to_look_at(tasker):
    for _ in range(2):
        ran = tasker("demo")
        assert ran.code == 0
    command = next(line.split() for line in ran.out.splitlines() if "tasker task show" in line)
    shown = tasker(*command[1:])
    assert shown.code == 0
    assert "blocked_by_failures" in shown.out
    assert tasker("task", "list", "--json").json["total"] == 2 * 232


def test_without_the_examples_the_demo_says_what_to_install(tasker, tmp_path):
    (tmp_path / "plugins.toml").write_text("[plugins.examples]\nenabled = false\n")
    ran = tasker("demo", "--throw-away", "--config", "plugins.toml")
    assert ran.code == 3
    assert "is plugin 'examples' on?" in ran.err


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
async def test_an_interrupted_demo_leaves_nothing_running(environment, tmp_path, data_home):
    slow = {"TASKER__PLUGINS__EXAMPLES__SETTINGS__GATEWAY_LATENCY_MS": "60000"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tasker_host", "demo"),
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=tmp_path,
        env={**environment, **slow},
        start_new_session=True,
    )
    assert process.stderr is not None
    assert b"requests on embedded PostgreSQL" in await process.stderr.readline()
    (pid_file,) = data_home.glob("**/postmaster.pid")
    server = int(pid_file.read_text().splitlines()[0])
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in err
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)
