"""A host in a process of its own whose only relay takes its time, and says what it begins and ends to deliver."""

from __future__ import annotations

import asyncio
import os
import sys

from tasker_host import DomainEvent, Relay
from tests.support import logs_on_stderr, plugin, running_host


async def deliver(event: DomainEvent) -> None:
    print("begin", event.event_id, os.getpid(), flush=True)
    await asyncio.sleep(0.005)
    print("end", event.event_id, os.getpid(), flush=True)


async def main(dsn: str, ordered_by: str) -> None:
    relay = Relay("slow", ["a.*"], deliver, concurrency=4, ordered_by=ordered_by or None)
    options = {"events__relays__lease_seconds": 2, "events__relays__poll_interval_seconds": 0.2}
    async with running_host(dsn, plugin([], tasker_relays=lambda: [relay]), **options):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    logs_on_stderr()
    asyncio.run(main(sys.argv[1], sys.argv[2]))
