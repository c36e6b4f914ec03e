"""The TOML that ships is the one home of defaults: it has every setting, and nothing else."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tasker_host.config import ENVIRONMENTS, load
from tasker_host.config.files import shipped_root, toml_files
from tasker_host.config.settings import PluginSettings, Settings

BASE = toml_files(shipped_root() / "base")


BY_NAME = ("plugins.named", "retention.namespaces")
"""Sections that users name."""


def fields(model: type[BaseModel], *path: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from fields(kind, *path, name)
        else:
            yield ".".join((*path, name)), field


def keys(table: dict[str, Any], *path: str) -> Iterator[str]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from keys(value, *path, name)
        else:
            yield ".".join((*path, name))


def test_every_setting_has_its_default_in_the_toml_and_the_toml_has_no_other_key():
    in_toml = [key for file in BASE for key in keys(tomllib.loads(file.read_text(encoding="utf-8")))]
    in_models = [path for path, _ in fields(Settings) if path not in BY_NAME]
    assert sorted(in_toml) == sorted(in_models)


def test_no_setting_has_a_second_default_in_python():
    assert [path for path, field in fields(Settings) if not field.is_required()] == []


def test_every_setting_says_what_it_means():
    every = [*fields(Settings), *fields(PluginSettings)]
    assert [path for path, field in every if not (field.description or "").endswith((".", ")"))] == []


def test_each_section_is_in_the_file_of_its_name():
    sections = {file.stem: list(tomllib.loads(file.read_text(encoding="utf-8"))) for file in BASE}
    assert sections == {name: [name] for name in Settings.model_fields}


@pytest.mark.parametrize("file", BASE, ids=lambda file: file.stem)
def test_every_default_stands_below_a_comment(file):
    lines = file.read_text(encoding="utf-8").splitlines()
    assigned = [(above, line) for above, line in pairwise(lines) if "=" in line and not line.startswith("#")]
    assert assigned
    assert [line for above, line in assigned if not above.startswith("#")] == []


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_each_environment_that_ships_is_valid(environment, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load(env=environment, environ={})
    overlaid = [file for file in config.files if environment in file.parts]
    assert overlaid
    assert {origin.source for origin in config.origins.values()} >= {
        f"shipped environments/{environment}/{file.name}" for file in overlaid
    }


def test_production_never_falls_back_to_a_database_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load(env="production", environ={}).settings.database.embedded is False
