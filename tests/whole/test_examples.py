"""What of the examples needs more than one task by itself: housekeeping."""

from __future__ import annotations

import asyncio

from tasker_examples import plugin as examples

from tasker_host.db.sweep import Thresholds
from tasker_host.domain.request import request_from_data
from tasker_host.orchestration.sweep import SweepOptions
from tests.orchestration.test_sweep import entries, sweep
from tests.support import running_host


async def test_a_task_whose_retry_is_due_and_not_taken_up_becomes_a_dead_letter(dsn):
    request = request_from_data({"namespace": "examples_failures", "name": "dlq_staleness_test", "context": {}})
    async with running_host(dsn, examples) as host:
        task = await host.submissions.submit(request)
        async with asyncio.timeout(20):
            while await host.database.fetchval("select state from tasker.tasks") != "waiting_for_retry":
                await asyncio.sleep(0.02)
        options = SweepOptions(thresholds=Thresholds(dead_letters=True))
        assert (await sweep(dsn, options, minutes=40)).counts.stale == 0
        swept = await sweep(dsn, options, minutes=62)
        assert (swept.counts.stale, swept.counts.dead_letters) == (1, 1)
        [entry] = await entries(host.database)
        assert (entry["task_uuid"], entry["dlq_reason"]) == (task, "staleness_timeout")
