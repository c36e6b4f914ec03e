"""Throw-away distributions: what pip would leave behind, on a temporary path, so that discovery itself is tested."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tasker_host.config import Config, load
from tasker_host.handlers.bound import bind
from tasker_host.host import Host
from tasker_host.plugins import Roster, load_plugins
from tests.support import configured as on_database

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """`install("audit", source)` installs `acme-audit`, whose plugin `audit` is the module `acme_audit`.

    `templates` are YAML files by name beside the module, which is a package then; `requires` are its dependencies.
    """
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    modules = set(sys.modules)

    def install(
        name: str,
        source: str,
        *,
        dist: str | None = None,
        module: str | None = None,
        version: str = "1.2.3",
        requires: tuple[str, ...] = ("tasker-host>=0.1",),
        templates: dict[str, str] | None = None,
    ) -> None:
        dist = dist or f"acme-{name}"
        module = module or dist.replace("-", "_")
        package = site / module.replace(".", "/")
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").write_text(dedent(source), "utf-8")
        for file, text in (templates or {}).items():
            (package / file).write_text(dedent(text), "utf-8")
        info = site / f"{dist.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        needs = "".join(f"Requires-Dist: {need}\n" for need in requires)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n{needs}", "utf-8")
        (info / "entry_points.txt").write_text(f"[tasker_host.plugins]\n{name} = {module}\n", "utf-8")
        importlib.invalidate_caches()

    yield install
    for name in set(sys.modules) - modules:
        if name.startswith("acme"):
            del sys.modules[name]


@pytest.fixture
def configured(tmp_path: Path) -> Callable[[str], Config]:
    """The configuration whose plugins.toml is the given text; it lies at `plugins.toml`."""

    def configured(text: str = "") -> Config:
        file = tmp_path / "plugins.toml"
        file.write_text(dedent(text), "utf-8")
        return load(file, env="test", environ={})

    return configured


@pytest.fixture
def installed_host(dsn: str) -> Callable[..., Host]:
    """A host of everything installed; keywords override settings: `plugins__audit={"required": True}`."""

    def installed_host(**overrides: Any) -> Host:
        return Host(on_database(dsn, **{"plugins.examples.enabled": False, **overrides}))

    return installed_host


@pytest.fixture
def roster(configured: Callable[[str], Config]) -> Callable[[str], Roster]:
    """The roster of everything installed, under the given plugins.toml; other plugins of this environment left out."""

    def roster(text: str = "") -> Roster:
        found = load_plugins(configured(text), bind=bind)
        return Roster(tuple(plugin for plugin in found.plugins if plugin.name != "examples"))

    return roster
