"""A host without work, in a process of its own: what it asks of the database and how much memory it takes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from product import product
from workloads import WORKLOADS

READY = "ready"

FLUSH_SECONDS = 2.0
"""A server process tells its counters to the others once a second at most, and while it is not busy."""


@dataclass(frozen=True)
class Idle:
    """`rss_mib` is None where the system does not tell it."""

    queries_per_second: float
    rss_mib: float | None


async def measure_idle(server_dsn: str, dsn: str, seconds: float, *, command: Sequence[str]) -> Idle:
    """`command` with a DSN behind it runs `serve`."""
    child = await asyncio.create_subprocess_exec(
        *command, dsn, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    # From another database: what this connection asks is not counted.
    connection = await asyncpg.connect(server_dsn)
    try:
        line = await child.stdout.readline()
        if line.decode().strip() != READY:
            raise RuntimeError(f"the idle host did not start (it said {line!r})")
        await asyncio.sleep(FLUSH_SECONDS)
        loop = asyncio.get_running_loop()
        before, since = await _transactions(connection, dsn), loop.time()
        await asyncio.sleep(seconds)
        after, until = await _transactions(connection, dsn), loop.time()
        return Idle((after - before) / (until - since), _rss_mib(child.pid))
    finally:
        await connection.close()
        child.stdin.close()
        await child.wait()


async def _transactions(connection: asyncpg.Connection, dsn: str) -> int:
    # Every query of a host without work is a transaction of its own.
    name = dsn.partition("?")[0].rpartition("/")[2]
    counted = "select xact_commit + xact_rollback from pg_stat_database where datname = $1"
    return int(await connection.fetchval(counted, name))


def _rss_mib(pid: int) -> float | None:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return None
    (kib,) = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmRSS:")]
    return int(kib) / 1024


async def serve(dsn: str) -> None:
    """The child's part: a host on the empty database `dsn`, until the input ends."""
    async with product(dsn, WORKLOADS["idle"]):
        print(READY, flush=True)
        await asyncio.to_thread(sys.stdin.read)
