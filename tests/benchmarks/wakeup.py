"""How soon a sleeping worker begins: `python tests/benchmarks/wakeup.py`.

A task is submitted by one host and run by another, which has nothing to do before; the next one follows when it is
finished. A wake-up that is lost is found by the poll, whose interval is made long here so that it shows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).resolve().parents[2]))  # what is measured is this checkout

from databases import describe, fresh_database, server
from plugin import plugin
from product import Product
from workloads import CHAIN1, Workload

from tasker_host.config import load
from tasker_host.host import Host
from tasker_host.runtime.garbage import spare_what_is_loaded
from tasker_host.runtime.logs import configure_logs

WORK = Workload("wakeup", "latency", "ms", CHAIN1)
POLL_SECONDS = 5.0


async def measure(server_dsn: str, cycles: int, *, apart: bool) -> dict[str, Any]:
    """`apart`: the host that submits runs no steps, so that every task needs a doorbell."""
    async with fresh_database(server_dsn) as dsn:
        settings = {"database.url": dsn, "database.auto_migrate": "always", "web.enabled": False}
        config = load(env="production", environ={}, overrides=settings | {"worker.poll_interval_seconds": POLL_SECONDS})
        made = {"bench": plugin(WORK)}
        async with Host(config, plugins=made, entry_points=False) as worker:
            spare_what_is_loaded()  # as `tasker run` does
            if not apart:
                took = await _cycles(Product(worker, WORK), cycles)
            else:
                async with Host(config, plugins=made, entry_points=False, worker=False) as other:
                    took = await _cycles(Product(other, WORK), cycles)
    took.sort()

    def at(share: float) -> float:
        return round(took[min(len(took) - 1, int(len(took) * share))], 3)

    return {
        "benchmark": "wakeup",
        "apart": apart,
        "cycles": cycles,
        "unit": "ms",
        "p50": round(statistics.median(took), 3),
        "p99": at(0.99),
        "p99.9": at(0.999),
        "worst": round(took[-1], 3),
        "over_half_the_poll": sum(one > POLL_SECONDS * 500 for one in took),
        "conditions": {"poll_interval_seconds": POLL_SECONDS, **await describe(server_dsn)},
    }


async def _cycles(product: Product, cycles: int) -> list[float]:
    await product.run(20)
    took = []
    for _ in range(cycles):
        await asyncio.sleep(random.uniform(0.0, 0.005))
        started = time.perf_counter()
        await product.run(1)
        took.append((time.perf_counter() - started) * 1000)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=10_000)
    parser.add_argument(
        "--url", help="a PostgreSQL server whose role may create databases, instead of the embedded one"
    )
    options = parser.parse_args()
    configure_logs("warning", "console")
    with server(options.url) as dsn:
        for apart in (False, True):
            print(json.dumps(_run(measure(dsn, options.cycles, apart=apart))), flush=True)


def _run(work: Any) -> Any:
    if sys.platform == "win32":
        return asyncio.run(work)
    import uvloop

    return uvloop.run(work)


if __name__ == "__main__":
    main()
