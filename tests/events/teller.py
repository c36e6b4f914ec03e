"""A host in a process of its own whose steps publish a durable event whatever they come to; made to be killed."""

from __future__ import annotations

import asyncio
import json
import random
import sys

from tasker_host import RetryableError, StepContext, step_handler
from tests.support import logs_on_stderr, plugin, running_host

EVENT = {"name": "crash.told", "condition": "always"}
TEMPLATE = json.dumps(
    {
        "name": "crash",
        "namespace_name": "tests",
        "version": "1.0.0",
        "steps": [
            {
                "name": name,
                "handler": {"callable": "tell"},
                "dependencies": below,
                "retry": {"max_attempts": 100, "backoff_base_ms": 0},
                "publishes_events": [EVENT],
            }
            for name, below in (("first", []), ("left", ["first"]), ("right", ["first"]), ("last", ["left", "right"]))
        ],
    }
)


@step_handler("tell")
async def tell(context: StepContext) -> int:
    await asyncio.sleep(random.random() * 0.01)
    if random.random() < 0.1:
        raise RetryableError("not this time", retry_after=0)
    return context.attempt


async def main(dsn: str) -> None:
    async with running_host(dsn, plugin([tell], [TEMPLATE]), worker__lease_seconds=1, worker__slots=20):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    logs_on_stderr()
    asyncio.run(main(sys.argv[1]))
