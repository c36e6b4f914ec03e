"""A host in a process of its own, whose only handler says that it runs and never returns."""

from __future__ import annotations

import asyncio
import sys

from tasker_host import step_handler
from tests.support import chain, logs_on_stderr, plugin, running_host


@step_handler("work")
async def work() -> None:
    print("running", flush=True)
    await asyncio.Event().wait()


async def main(dsn: str) -> None:
    async with running_host(dsn, plugin([work], [chain("one", "work")]), worker__lease_seconds=1):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    logs_on_stderr()
    asyncio.run(main(sys.argv[1]))
