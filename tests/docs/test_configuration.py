"""docs/configuration.md says of every key what is true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasker_host.config import load
from tasker_host.config.settings import PluginSettings
from tests.docs.pages import code, everything, page

SECTIONS = ("database", "worker", "sweep", "retention", "web", "plugins", "limits", "events", "telemetry", "templates")
PLACEHOLDERS = {"GATEWAY_URL": "https://gateway.example", "GATEWAY_KEY": "k", "DATABASE_URL": ""}


def defaults(root: Path, environment: str) -> dict[str, Any]:
    (root / "environments" / environment).mkdir(parents=True, exist_ok=True)
    return {entry.key: entry.value for entry in load(root, env=environment, environ={}).describe()}


def documented() -> dict[str, Any]:
    """Key → default, as the page says."""
    rows = [row for section in SECTIONS for row in page("configuration").table(section, "key")]
    return {code(row[0])[0]: json.loads(code(row[1])[0]) for row in rows}


def test_every_key_has_a_row_with_its_default_and_no_other_key_has_one(tmp_path):
    of_plugins = {f"plugins.<name>.{key}" for key in PluginSettings.model_fields}
    said = documented()
    assert {key: value for key, value in said.items() if key not in of_plugins} == defaults(tmp_path, "bare")
    assert {key for key in said if key in of_plugins} == of_plugins
    assert [said[f"plugins.<name>.{key}"] for key in ("enabled", "required", "settings")] == [True, False, {}]


def test_every_key_has_a_meaning():
    rows = [row for section in SECTIONS for row in page("configuration").table(section, "key")]
    assert [row[0] for row in rows if len(row[2]) < 15] == []


@pytest.mark.parametrize("environment", ["development", "production", "test"])
def test_what_ships_for_an_environment_is_listed(environment, tmp_path):
    base = defaults(tmp_path, "bare")
    changed = {key: value for key, value in defaults(tmp_path, environment).items() if base[key] != value}
    rows = page("configuration").table("Environments", "environment")
    said = {code(row[1])[0]: json.loads(code(row[2])[0]) for row in rows if code(row[0]) == [environment]}
    assert said == changed


@pytest.mark.parametrize(
    "block", [block for one in everything() for block in one.blocks("toml") if not block.file], ids=str
)
def test_every_toml_example_is_a_configuration(block, tmp_path):
    file = tmp_path / "tasker.toml"
    file.write_text(block.text)
    assert load(file, environ=PLACEHOLDERS).root == file
