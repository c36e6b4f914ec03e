"""Reading the configuration: files and variables, layer over layer."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tasker_host.config.check import checked
from tasker_host.config.config import Config
from tasker_host.config.files import UnreadableError, read_file, shipped_root, toml_files
from tasker_host.config.layers import Layer, combine, overlay
from tasker_host.config.origins import Origin, dotted
from tasker_host.config.resolve import Resolver
from tasker_host.config.settings import Settings
from tasker_host.config.variables import read_variables
from tasker_host.domain.faults import Path as KeyPath
from tasker_host.domain.suggest import did_you_mean
from tasker_host.errors import ConfigError, Problem

ENVIRONMENTS = ("development", "test", "production")

_ENVIRONMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def load(
    root: Path | None = None,
    *,
    env: str | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """The configuration, from the lowest layer to the highest:

    the files that ship (`base`, then `environments/<env>`), the user's (in the same order, or one file),
    `TASKER__SECTION__KEY` variables, `overrides` (nested, or by dotted key: `{"worker.slots": 5}`;
    None overrides nothing).

    `root` is a directory or a file; without it, the variable TASKER_CONFIG, else `./config` when it looks like one.
    `env` goes before TASKER_ENV; without both it is `development`. `environ` is the process's own by default.
    Raises ConfigError that lists every problem found.
    """
    environ = os.environ if environ is None else environ
    shipped = shipped_root()
    root, named_by = _root(root, environ, shipped)
    _check_root(root, named_by)
    environment = _environment(env, environ, [shipped, root])

    files: list[Path] = []
    problems: list[Problem] = []
    whole = Layer()
    for layer in _file_layers(shipped, root, environment, files, problems):
        whole = overlay(whole, layer)
    whole = overlay(whole, read_variables(environ, whole.values, problems))
    whole = overlay(whole, _override(overrides or {}))

    resolver = Resolver(environ, problems)
    whole = resolver.resolve(whole)
    settings = checked(Settings, whole.values, whole.origins, problems, known_wrong=resolver.unresolved)
    if settings is None or problems:
        raise ConfigError(f"the configuration is not valid (environment {environment})", problems)
    return Config(
        settings=settings,
        environment=environment,
        root=root,
        files=tuple(files),
        origins={dotted(path): origin for path, origin in whole.origins.items()},
        _values=whole.values,
        _places=whole.origins,
        _texts=resolver.texts,
    )


# What to read ---------------------------------------------------------------------------------------------------------


def _root(root: Path | None, environ: Mapping[str, str], shipped: Path) -> tuple[Path | None, str]:
    """The user's directory or file, and who named it."""
    if root is not None:
        return Path(root), "--config"
    if named := environ.get("TASKER_CONFIG"):
        return Path(named), "variable TASKER_CONFIG"
    here = Path("config")
    is_ours = here.exists() and shipped.exists() and here.samefile(shipped)
    return (here, "") if _looks_like_one(here) and not is_ours else (None, "")


def _looks_like_one(folder: Path) -> bool:
    return (folder / "base").is_dir() or (folder / "environments").is_dir()


def _check_root(root: Path | None, named_by: str) -> None:
    if root is None or root.is_file() or _looks_like_one(root):
        return
    what = "has neither base/ nor environments/" if root.is_dir() else "does not exist"
    message = f"{root} {what}; name a directory that has base/ or environments/, or one TOML file"
    raise ConfigError("there is no configuration where it should be", [Problem(named_by, message)])


def _environment(env: str | None, environ: Mapping[str, str], roots: list[Path | None]) -> str:
    name = env or environ.get("TASKER_ENV") or ENVIRONMENTS[0]
    known = {*ENVIRONMENTS}
    for root in roots:
        if root is not None and (folders := root / "environments").is_dir():
            known |= {folder.name for folder in folders.iterdir() if folder.is_dir()}
    if name not in known or not _ENVIRONMENT.fullmatch(name):
        where = "--env" if env else "variable TASKER_ENV"
        longer = [full for full in sorted(known) if full.startswith(name.lower())]
        hint = f"; did you mean '{longer[0]}'?" if longer else did_you_mean(name, known)
        hint = hint or f"; there are {', '.join(sorted(known))}"
        message = f"no environment {name!r}{hint}"
        raise ConfigError("the environment is not known", [Problem(where, message)])
    return name


def _file_layers(
    shipped: Path, root: Path | None, environment: str, files: list[Path], problems: list[Problem]
) -> Iterator[Layer]:
    for base in (shipped, root):
        if base is not None and base.is_file():
            files.append(base)
            yield combine(_read([(base, str(base))], problems), problems)
        elif base is not None:
            for folder in (base / "base", base / "environments" / environment):
                found = _listed(folder, problems)
                files += found
                names = [(file, _name(file, shipped)) for file in found]
                yield combine(_read(names, problems), problems)


def _listed(folder: Path, problems: list[Problem]) -> list[Path]:
    try:
        return toml_files(folder)
    except OSError as error:
        problems.append(Problem(str(folder), f"cannot be read: {error.strerror or error}"))
        return []


def _read(files: list[tuple[Path, str]], problems: list[Problem]) -> Iterator[Layer]:
    for file, name in files:
        try:
            yield read_file(file, name)
        except UnreadableError as unreadable:
            problems.append(unreadable.problem)


def _name(file: Path, shipped: Path) -> str:
    return f"shipped {file.relative_to(shipped).as_posix()}" if file.is_relative_to(shipped) else str(file)


# Overrides ------------------------------------------------------------------------------------------------------------


def _override(overrides: Mapping[str, Any]) -> Layer:
    whole = Layer()
    for key, value in overrides.items():
        if value is None:
            continue
        path = tuple(key.split("."))
        values: Any = _tables(value)
        for name in reversed(path):
            values = {name: values}
        origins: dict[KeyPath, Origin] = {}
        _note(values, (), origins)
        whole = overlay(whole, Layer(values, origins))
    return whole


def _tables(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _tables(item) for key, item in value.items() if item is not None}
    return value


def _note(values: Any, path: KeyPath, origins: dict[KeyPath, Origin]) -> None:
    if path:
        origins[path] = Origin("override")
    if isinstance(values, dict):
        for key, item in values.items():
            _note(item, (*path, key), origins)
