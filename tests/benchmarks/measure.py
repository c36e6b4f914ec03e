"""The rounds: each variant in its turn, every time on a database of its own, and the medians of them."""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from bare import bare
from databases import describe, fresh_database, settle
from floor import floor
from idle import Idle, measure_idle
from product import product
from workloads import Runner, Workload

Variant = Callable[[str, Workload], AbstractAsyncContextManager[Runner]]

VARIANTS: dict[str, Variant] = {"product": product, "bare": bare, "floor": floor}

WARMUPS, WARMUP_TASKS = 4, 5
"""Run and not counted: the first calls on a connection compile functions and plan statements, and there are several."""

LEAST_PAUSE_SECONDS, MOST_PAUSE_SECONDS = 0.005, 0.025
"""Between two tasks of a latency workload: all is idle again, and nothing falls into step with a timer."""


async def measure(server_dsn: str, workload: Workload, rounds: int, *, serve: Sequence[str]) -> dict[str, Any]:
    """What one workload gave, as it is printed. `serve` is the command of an idle host."""
    conditions = await _conditions(server_dsn, workload, rounds)
    if workload.kind == "idle":
        return await _measure_idle(server_dsn, workload, rounds, conditions, serve)
    each: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
    for _ in range(rounds):
        for name, variant in VARIANTS.items():
            each[name].append(await _round(server_dsn, workload, name, variant))
    found = _report(workload, conditions, {name: _medians(each[name], "value") for name in VARIANTS})
    found["ratios"] = {f"product/{other}": round(found["product"] / found[other], 3) for other in ("bare", "floor")}
    if workload.kind == "latency":
        found["p99"] = {name: _medians(each[name], "p99") for name in VARIANTS}
        found["worst"] = {name: max(r["worst"] for r in each[name]) for name in VARIANTS}
        found["ratios"]["product p99/p50"] = round(found["p99"]["product"] / found["product"], 3)
    found["completed"] = {name: [int(r["completed"]) for r in each[name]] for name in VARIANTS}
    found["rounds"] = {name: [r["value"] for r in each[name]] for name in VARIANTS}
    return found


async def _round(server_dsn: str, workload: Workload, name: str, variant: Variant) -> dict[str, float]:
    async with fresh_database(server_dsn) as dsn, variant(dsn, workload) as runner:
        for _ in range(WARMUPS):
            await runner.run(WARMUP_TASKS)
        await settle(server_dsn)
        gc.collect()
        found = await (_throughput if workload.kind == "throughput" else _latency)(runner, workload)
        completed = await runner.completed() - WARMUPS * WARMUP_TASKS
        if completed != workload.tasks:
            raise RuntimeError(f"{name} completed {completed} of {workload.tasks} tasks of {workload.name}")
        return {**found, "completed": completed}


async def _throughput(runner: Runner, workload: Workload) -> dict[str, float]:
    started = time.perf_counter()
    await runner.run(workload.tasks)
    return {"value": round(workload.tasks * workload.steps / (time.perf_counter() - started), 1)}


async def _latency(runner: Runner, workload: Workload) -> dict[str, float]:
    took_ms = []
    for _ in range(workload.tasks):
        await asyncio.sleep(random.uniform(LEAST_PAUSE_SECONDS, MOST_PAUSE_SECONDS))
        started = time.perf_counter()
        await runner.run(1)
        took_ms.append((time.perf_counter() - started) * 1000)
    took_ms.sort()
    p99 = took_ms[min(len(took_ms) - 1, round(len(took_ms) * 0.99))]
    return {"value": round(statistics.median(took_ms), 3), "p99": round(p99, 3), "worst": round(took_ms[-1], 3)}


async def _measure_idle(
    server_dsn: str, workload: Workload, rounds: int, conditions: dict[str, Any], serve: Sequence[str]
) -> dict[str, Any]:
    each: list[Idle] = []
    for _ in range(rounds):
        async with fresh_database(server_dsn) as dsn:
            each.append(await measure_idle(server_dsn, dsn, workload.seconds, command=serve))
    queries = [round(idle.queries_per_second, 2) for idle in each]
    # The baselines have nothing to wait with: a loop without work ends.
    found = _report(workload, conditions, {"product": statistics.median(queries), "bare": None, "floor": None})
    memory = [idle.rss_mib for idle in each if idle.rss_mib is not None]
    found["rss_mib"] = round(statistics.median(memory), 1) if memory else None
    found["rounds"] = {"product": queries}
    return found


def _report(workload: Workload, conditions: dict[str, Any], medians: dict[str, float | None]) -> dict[str, Any]:
    return {"workload": workload.name, **medians, "unit": workload.unit, "conditions": conditions}


def _medians(rounds: Sequence[dict[str, float]], key: str) -> float:
    return statistics.median(found[key] for found in rounds)


async def _conditions(server_dsn: str, workload: Workload, rounds: int) -> dict[str, Any]:
    size: dict[str, Any] = {"seconds": workload.seconds}
    if workload.kind != "idle":
        size = {"tasks": workload.tasks, "steps_per_task": workload.steps, "warmup_tasks": WARMUPS * WARMUP_TASKS}
    return {
        **size,
        "rounds": rounds,
        "cpus": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "event_loop": type(asyncio.get_running_loop()).__module__,
        **await describe(server_dsn),
    }
