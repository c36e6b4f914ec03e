"""Workers are killed at random: there are exactly as many events as accepted results.

`TASKER_CRASH_TASKS=10000` makes it as large as that; the suite's own run is short.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.events.teller import TEMPLATE, tell
from tests.support import plugin, running_host, submit

ROOT = Path(__file__).parents[2]
TASKS = int(os.environ.get("TASKER_CRASH_TASKS", "150"))
WORKERS = 2
KILLS = max(3, TASKS // 250)
STEPS = 4

OUTCOMES = {"complete": "success", "waiting_for_retry": "retryable_failure", "error": "permanent_failure"}


async def worker(dsn: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        Path(__file__).with_name("teller.py"),
        dsn,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.timeout(max(120, TASKS / 5))
async def test_events_are_those_of_the_accepted_results_whoever_is_killed(dsn):
    workers = list(await asyncio.gather(*(worker(dsn) for _ in range(WORKERS))))
    starting: list[asyncio.Task[asyncio.subprocess.Process]] = []
    killed = 0
    try:
        async with running_host(dsn, plugin([tell], [TEMPLATE]), worker=False) as host:
            for start in range(0, TASKS, 500):
                numbers = range(start, min(TASKS, start + 500))
                await asyncio.gather(*(submit(host, "crash", {"n": number}) for number in numbers))
            done = 0
            while done < TASKS * STEPS:
                await asyncio.sleep(0.02)  # between two looks at how far they have come
                done = await host.database.fetchval("select count(*) from tasker.steps where state = 'complete'")
                workers += [task.result() for task in starting if task.done()]
                starting = [task for task in starting if not task.done()]
                if workers and killed < KILLS and done > TASKS * STEPS * killed / KILLS:
                    killed += 1
                    victim = workers.pop(random.randrange(len(workers)))
                    victim.kill()
                    await victim.wait()
                    starting.append(asyncio.create_task(worker(dsn)))
            accepted = await host.database.fetch(
                "select step_uuid, attempt, to_state from tasker.step_history"
                " where from_state = 'in_progress' and to_state = any ($1) and reason is null",
                list(OUTCOMES),
            )
            messages = await host.database.fetch("select message from pgmq.q_tests_domain_events")
            lost = await host.database.fetchval("select count(*) from tasker.step_history where reason = 'worker_lost'")
    finally:
        for process in [*workers, *await asyncio.gather(*starting)]:
            process.kill()
            await process.wait()
    events = [json.loads(row["message"]) for row in messages]
    told = Counter(
        (m["step_uuid"], m.get("attempt", 1), m.get("outcome", "success")) for m in (e["metadata"] for e in events)
    )
    assert killed == KILLS
    assert lost > 0  # else nobody was killed at work, and nothing was seen here
    assert told == Counter((str(row["step_uuid"]), row["attempt"], OUTCOMES[row["to_state"]]) for row in accepted)
    assert max(told.values()) == 1
    assert len(events) >= TASKS * STEPS
    assert len({event["event_id"] for event in events}) == len(events)
