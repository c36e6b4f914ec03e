"""A host in a process of its own; its handler runs in another one, starts a program there and keeps the interpreter."""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import sys

from tasker_host import step_handler
from tests.support import chain, plugin, running_host, submit


@step_handler("keep", runs_in="process")
def keep() -> None:
    program = subprocess.Popen(["sleep", "1000"])
    sys.stderr.write(f"pids {os.getpid()} {program.pid}\n")
    sys.stderr.flush()
    ctypes.PyDLL(None).sleep(1000)


async def main(dsn: str) -> None:
    async with running_host(dsn, plugin([keep], [chain("one", "keep")])) as host:
        await submit(host, "one")
        await asyncio.Event().wait()


if __name__ == "__main__":
    # By the name under which the process of the handler can find it.
    from tests.worker import parent

    asyncio.run(parent.main(sys.argv[1]))
