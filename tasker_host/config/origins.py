"""Where a value of the configuration was set, and how a place is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tasker_host.domain.faults import Path, path_text

_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Origin:
    """A line of a file, a variable, or an override given by the program.

    `line` is None where there are no lines; `through` names the variables that were put into the value.
    """

    source: str
    line: int | None = None
    through: tuple[str, ...] = ()

    @property
    def in_file(self) -> bool:
        return self.line is not None

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        return f"{place} ({', '.join(self.through)})" if self.through else place


def nearest(origins: Mapping[Path, Origin], path: Path) -> Origin | None:
    """Origin of `path`, else of the closest table or array around it."""
    for length in range(len(path), 0, -1):
        if (origin := origins.get(path[:length])) is not None:
            return origin
    return None


def dotted(path: Path) -> str:
    """The path as TOML writes a key: `worker.retry.base_ms`, `plugins."a.b".enabled`, `worker.tags[1]`."""
    return path_text(tuple(part if isinstance(part, int) else _key(part) for part in path))


def label(path: Path) -> str:
    """The path as a reader looks for it in a file: `[worker.retry] base_ms`, `[worker] tags[1]`, `[worker]`."""
    names = next((index for index, part in enumerate(path) if isinstance(part, int)), len(path))
    if names < 2:
        return f"[{dotted(path[:names])}]" + path_text(path[names:])
    return f"[{dotted(path[: names - 1])}] {dotted(path[names - 1 :])}"


def _key(part: str) -> str:
    return part if _BARE.fullmatch(part) else '"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"'
