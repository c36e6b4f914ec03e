"""`python tests/benchmarks/run.py chain4`: the product beside a bare loop over its kernel, and beside the floor."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).resolve().parents[2]))  # what is measured is this checkout

from databases import server
from idle import serve
from measure import VARIANTS, measure
from workloads import WORKLOADS, Workload

from tasker_host.runtime.logs import configure_logs

SERVE = "serve-idle"


def main(arguments: list[str]) -> None:
    configure_logs("warning", "console")
    if arguments[:1] == [SERVE]:
        _run(serve(arguments[1]))
        return
    options = _options().parse_args(arguments)
    names = list(WORKLOADS) if options.workload == "all" else [options.workload]
    with server(options.url) as dsn:
        for name in names:
            workload = WORKLOADS[name].sized(options.tasks, options.seconds)
            found = _run(measure(dsn, workload, options.rounds, serve=[sys.executable, __file__, SERVE]))
            print(json.dumps(found) if options.json else _table(workload, found), flush=True)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=[*WORKLOADS, "all"])
    parser.add_argument("--json", action="store_true", help="one JSON line per workload")
    parser.add_argument("--rounds", type=_positive, default=3, help="of each variant; the median counts (default 3)")
    parser.add_argument("--tasks", type=_positive, help="instead of the workload's own number")
    parser.add_argument("--seconds", type=_positive, help="how long the idle host is looked at (default 10)")
    parser.add_argument(
        "--url", help="a PostgreSQL server whose role may create databases, instead of the embedded one"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1 (got {number})")
    return number


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    if sys.platform == "win32":
        return asyncio.run(work)
    import uvloop

    return uvloop.run(work)


def _table(workload: Workload, found: dict[str, Any]) -> str:
    lines = [f"{workload.name} ({found['unit']}, median of {found['conditions']['rounds']})"]
    for name in VARIANTS:
        if found[name] is None:
            continue
        line = f"  {name:<8} {found[name]:>10,.2f}"
        if "p99" in found:
            line += f"   p99 {found['p99'][name]:.2f}   worst {found['worst'][name]:.2f}"
        lines.append(line + f"   rounds {', '.join(f'{value:,.2f}' for value in found['rounds'][name])}")
    lines += [f"  {name} {value:.2f}" for name, value in found.get("ratios", {}).items()]
    if found.get("rss_mib") is not None:
        lines.append(f"  memory {found['rss_mib']:.1f} MiB")
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
