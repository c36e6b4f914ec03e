"""Packages that were meant to be plugins, and are not yet."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import importlib_metadata
from importlib_metadata import PackageNotFoundError

from tasker_host.plugins.candidate import GROUP


def unfinished(name: str) -> Iterator[tuple[str, str]]:
    """What a package called after `name` lacks to be a plugin, and what to do about it; nothing without such one."""
    plain = name.replace("-", "_")
    for dist in dict.fromkeys((f"tasker-{name}", name)):
        try:
            found = importlib_metadata.distribution(dist)
        except (PackageNotFoundError, ValueError):
            continue
        if not [point for point in found.entry_points if point.group == GROUP]:
            yield (
                f"{dist} {found.version} is installed, but has no entry point in the group {GROUP}",
                f'add [project.entry-points."{GROUP}"] to its pyproject.toml, and install it again: editable installs'
                " do not notice it",
            )
        return
    for package in (f"tasker_{plain}", plain):
        try:
            spec = find_spec(package)
        except (ImportError, ValueError):
            continue
        if spec is not None and package.startswith("tasker_"):
            yield f"the package {package} can be imported, but is not installed", "pip install it: pip install -e ."
            return
