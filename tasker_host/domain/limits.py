"""Limits that operators set: which keys there are, and which numbers they may have."""

from __future__ import annotations

from tasker_host.domain.template.template import NAMESPACE
from tasker_host.domain.text import NO_NUL
from tasker_host.errors import Problem

MOST_KEY_BYTES = 1000
"""Of a key, in UTF-8: PostgreSQL keeps them in an index, whose rows have a third of a page at most."""

MOST_RUNNING = 1_000_000
MOST_BURST = 1_000_000
LEAST_PER_SECOND = 1e-6
"""A start in twelve days: what is slower is a pause. Times that far apart must still be times."""
MOST_PER_SECOND = 1e6


def key_problems(key: str) -> list[Problem]:
    """Why operators cannot limit `key`."""
    kind, _, name = key.partition(":")
    namespace, has_value, _ = name.partition(":")
    if kind not in ("namespace", "handler", "key") or not name or (kind == "key" and not has_value):
        return [Problem("key", f"must be namespace:NAME, handler:CALLABLE or key:NAMESPACE:VALUE (got {key[:80]!r})")]
    if "\x00" in key:
        return [Problem("key", NO_NUL)]
    if kind != "handler" and not NAMESPACE.fullmatch(name if kind == "namespace" else namespace):
        return [Problem("key", f"must name a namespace, of 1 to 29 of a-z, 0-9 and _ (got {key[:80]!r})")]
    if (size := len(key.encode(errors="replace"))) > MOST_KEY_BYTES:
        return [Problem("key", f"must have at most {MOST_KEY_BYTES:,} bytes (has {size:,})")]
    return []


def limit_problems(max_running: int | None, per_second: float | None, burst: int | None) -> list[Problem]:
    """Why a limit cannot have these numbers; None is what is not limited."""
    problems = []
    if max_running is not None and not 0 <= max_running <= MOST_RUNNING:
        problems.append(Problem("max_running", f"must be from 0 to {MOST_RUNNING:,} (got {max_running})"))
    if per_second is not None and not LEAST_PER_SECOND <= per_second <= MOST_PER_SECOND:
        message = (
            f"must be from {LEAST_PER_SECOND:f} to {MOST_PER_SECOND:,.0f} (got {per_second}); to start nothing, pause"
        )
        problems.append(Problem("per_second", message))
    if burst is not None and not 1 <= burst <= MOST_BURST:
        problems.append(Problem("burst", f"must be from 1 to {MOST_BURST:,} (got {burst})"))
    elif burst is not None and per_second is None:
        problems.append(Problem("burst", "goes with per_second, which is not given"))
    return problems
