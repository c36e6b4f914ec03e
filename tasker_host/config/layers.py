"""Layers of values: each from files or variables that may not contradict each other, the higher ones over the lower."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tasker_host.config.origins import Origin, label, nearest
from tasker_host.domain.faults import Path
from tasker_host.errors import Problem


@dataclass(frozen=True, slots=True)
class Layer:
    """Values as nested tables, and the origin of each table, key and array element by its path."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[Path, Origin] = field(default_factory=dict)


def combine(parts: Iterable[Layer], problems: list[Problem]) -> Layer:
    """One layer of equal parts. A key that two of them set is a problem; the first keeps it."""
    whole = Layer()
    for part in parts:
        repeated = set(_repeated(whole.values, part.values, ()))
        problems += [
            Problem(
                str(nearest(part.origins, path) or ""),
                f"{label(path)}: is set here and at {nearest(whole.origins, path)}; keep one of them",
            )
            for path in sorted(repeated, key=str)
        ]
        whole = overlay(part, whole)
    return whole


def overlay(below: Layer, above: Layer) -> Layer:
    """Tables merge at every depth; anything else in `above` takes the place of what is below."""
    origins = dict(below.origins)
    values = _merged(below.values, above.values, (), origins)
    return Layer(values, origins | above.origins)


def _merged(below: dict[str, Any], above: dict[str, Any], path: Path, origins: dict[Path, Origin]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        here = (*path, key)
        old = below.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            result[key] = _merged(old, value, here, origins)
            continue
        if isinstance(old, dict | list):
            for inner in [inner for inner in origins if inner[: len(here)] == here]:
                del origins[inner]
        result[key] = value
    return result


def _repeated(first: dict[str, Any], second: dict[str, Any], path: Path) -> Iterable[Path]:
    for key in first.keys() & second.keys():
        if isinstance(first[key], dict) and isinstance(second[key], dict):
            yield from _repeated(first[key], second[key], (*path, key))
        else:
            yield (*path, key)
