"""`TASKER__SECTION__KEY` variables as a layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tasker_host.config.layers import Layer, combine
from tasker_host.config.origins import Origin
from tasker_host.config.substitute import is_text
from tasker_host.domain.faults import Path
from tasker_host.errors import Problem

PREFIX = "TASKER__"


class Text(str):
    """What a variable says: text that has no type of its own yet."""

    __slots__ = ()


def read_variables(environ: Mapping[str, str], below: Mapping[str, Any], problems: list[Problem]) -> Layer:
    """The variables that begin with TASKER__, in any case; `__` goes one table deeper.

    Names of tables and keys are those of `below` where they differ only in case or in `-` and `_`, which a shell's
    variable cannot have; otherwise lower case.
    """
    return combine(_parts(environ, below, problems), problems)


def _parts(environ: Mapping[str, str], below: Mapping[str, Any], problems: list[Problem]) -> Iterator[Layer]:
    for variable, value in sorted(environ.items()):
        if not variable.upper().startswith(PREFIX):
            continue
        origin = Origin(f"variable {variable}")
        names = variable[len(PREFIX) :].split("__")
        if not all(names):
            problems.append(Problem(str(origin), "has no name between two '__'; write TASKER__SECTION__KEY"))
        elif not is_text(value):
            problems.append(Problem(str(origin), "is not UTF-8"))
        else:
            yield _part(_path(names, below), Text(value), origin)


def _path(names: list[str], below: Any) -> tuple[str, ...]:
    path: tuple[str, ...] = ()
    for name in names:
        known = below if isinstance(below, Mapping) else {}
        key = next((key for key in known if _plain(key) == _plain(name)), name.lower())
        path = (*path, key)
        below = known.get(key)
    return path


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def _part(path: tuple[str, ...], value: Text, origin: Origin) -> Layer:
    values: dict[str, Any] = {path[-1]: value}
    for name in reversed(path[:-1]):
        values = {name: values}
    origins: dict[Path, Origin] = {path[:length]: origin for length in range(1, len(path) + 1)}
    return Layer(values, origins)
