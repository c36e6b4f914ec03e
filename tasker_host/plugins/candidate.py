"""Installed distributions that say they have a plugin. Nothing of them is imported here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any

import importlib_metadata
from importlib_metadata import EntryPoint, PackageNotFoundError
from packaging.markers import UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from tasker_host.plugins.fault import Fault, Stage

GROUP = "tasker_host.plugins"
HOST = "tasker-host"
GIVEN = "given by the program"
"""In place of a distribution."""

_Distribution = Any  # what importlib_metadata calls its type differs between its releases


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plugin that may be loaded; `fault` says why it cannot be, as far as is known without importing it."""

    name: str
    module: str
    dist: str
    version: str
    load: Callable[[], object] = field(repr=False, compare=False)
    requires: tuple[str, ...] = ()
    fault: Fault | None = None


def given(modules: Mapping[str, ModuleType]) -> Iterator[Candidate]:
    """Modules that are at hand already."""
    for name, module in modules.items():
        yield Candidate(name, module.__name__, GIVEN, "", partial(_same, module))


def _same(module: ModuleType) -> ModuleType:
    return module


def installed() -> Iterator[Candidate]:
    """The entry points of the group, of one distribution after the other: a broken one hides no other."""
    seen = set()
    for found in importlib_metadata.distributions():
        if GROUP not in _text(found):
            continue
        name = _name(found)
        if name in seen:
            continue  # the same distribution further along sys.path
        seen.add(name)
        # What is imported is the distribution found first, also when only a later one of that name has entry points.
        dist = _first(name) or found
        yield from _candidates(dist, name)


def _candidates(dist: _Distribution, name: str) -> Iterator[Candidate]:
    try:
        points = [point for point in dist.entry_points if point.group == GROUP]
    except Exception as error:  # somebody else's file, read by somebody else's code
        message = f"entry_points.txt of {name} cannot be read: {type(error).__name__}: {error}"
        fault = Fault(Stage.DISCOVERY, message, hint=f"reinstall {name}")
        yield Candidate(name, "", name, _version(dist), _nothing, fault=fault)
        return
    requires = tuple(_requires(dist))
    for point in points:
        yield Candidate(point.name, point.value, name, _version(dist), partial(_load, point), requires)


def _load(point: EntryPoint) -> object:
    return point.load()


def _nothing() -> object:
    return None


def _text(dist: _Distribution) -> str:
    try:
        return dist.read_text("entry_points.txt") or ""
    except (OSError, UnicodeDecodeError):
        return ""


def _name(dist: _Distribution) -> str:
    try:
        name = dist.metadata["Name"]
    except (OSError, KeyError):
        name = None
    return name or f"a distribution without METADATA in {dist.locate_file('')}"


def _version(dist: _Distribution) -> str:
    try:
        return dist.metadata["Version"] or ""
    except (OSError, KeyError):
        return ""


def _requires(dist: _Distribution) -> list[str]:
    try:
        return dist.requires or []
    except (OSError, KeyError):
        return []


def _first(name: str) -> _Distribution | None:
    try:
        return importlib_metadata.distribution(name)
    except (PackageNotFoundError, ValueError):
        return None


# Versions -------------------------------------------------------------------------------------------------------------


def host_version() -> str:
    """Version of the installed tasker-host; empty when it runs from a source tree."""
    dist = _first(HOST)
    return "" if dist is None else _version(dist)


def version_fault(candidate: Candidate, version: str) -> Fault | None:
    """Why the plugin says that it does not work with this version of the host."""
    for text in candidate.requires if version else ():
        try:
            requirement = Requirement(text)
            if canonicalize_name(requirement.name) != HOST:
                continue
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if not applies or requirement.specifier.contains(version, prereleases=True):
                continue
        except (InvalidRequirement, InvalidVersion, UndefinedEnvironmentName):
            continue  # pip could not make sense of it either
        return Fault(
            Stage.VERSION,
            f"{candidate.dist} {candidate.version} needs {HOST}{requirement.specifier}, and this is {version}",
            hint=f"install another version of {candidate.dist}, or of {HOST}",
        )
    return None
