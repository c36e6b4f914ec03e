"""A host in a process of its own, one of whose handlers keeps the interpreter for itself: no other thread runs then."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys

from tasker_host import StepContext, step_handler
from tests.support import chain, plugin, running_host

held = asyncio.Event()


@step_handler("hold")
async def hold(context: StepContext) -> int:
    print("holding", os.getpid(), flush=True)
    await asyncio.sleep(0)
    ctypes.PyDLL(None).sleep(int(context.input["seconds"]))
    held.set()
    return context.attempt


@step_handler("neighbour")
async def neighbour(context: StepContext) -> int:
    await held.wait()
    return context.attempt


TEMPLATES = [chain("holding", "hold"), chain("beside", "neighbour")]


async def main(dsn: str, max_blocked_seconds: float) -> None:
    made = plugin([hold, neighbour], TEMPLATES)
    async with running_host(dsn, made, worker__lease_seconds=1, worker__max_blocked_seconds=max_blocked_seconds):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
