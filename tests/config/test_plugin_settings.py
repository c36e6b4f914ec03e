"""A plugin's settings become its own model; what is wrong is told with the line of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from tasker_host.config import Config, load
from tasker_host.errors import ConfigError


class Retry(BaseModel):
    seconds: float = 1.0


class Payments(BaseModel):
    gateway_url: str = "http://localhost"
    timeout_seconds: int = 5
    pin: str = ""
    api_key: SecretStr = SecretStr("")
    methods: list[str] = []
    retry: Retry = Retry()
    is_live: bool = Field(default=False, alias="live")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def config(text: str = "", **environ: str) -> Config:
    Path("tasker.toml").write_text(f"[plugins.payments.settings]\n{text}", encoding="utf-8")
    return load(Path("tasker.toml"), environ=environ)


def problems(config: Config, model: type[BaseModel] = Payments) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.plugin_settings("payments", model)
    assert caught.value.summary == "settings of plugin 'payments' are not valid"
    return [str(problem) for problem in caught.value.problems]


def test_settings_are_read_and_what_is_not_set_has_the_models_default():
    settings = config("timeout_seconds = 9\nretry = {seconds = 2}\nlive = true").plugin_settings("payments", Payments)
    assert (settings.timeout_seconds, settings.retry.seconds, settings.is_live) == (9, 2.0, True)
    assert settings.gateway_url == "http://localhost"


def test_a_plugin_without_a_section_has_its_defaults():
    assert config().plugin_settings("other", Payments) == Payments()


def test_text_is_read_by_the_type_of_its_field():
    settings = config(
        'timeout_seconds = "${T}"\npin = "${P}"\nmethods = ["${P}"]',
        T="7",
        P="0123",
        TASKER__PLUGINS__PAYMENTS__SETTINGS__RETRY__SECONDS="1.5",
        TASKER__PLUGINS__PAYMENTS__SETTINGS__GATEWAY_URL="8080",
        TASKER__PLUGINS__PAYMENTS__SETTINGS__API_KEY="42",
        TASKER__PLUGINS__PAYMENTS__SETTINGS__LIVE="yes",
    ).plugin_settings("payments", Payments)
    assert (settings.timeout_seconds, settings.pin, settings.methods) == (7, "0123", ["0123"])
    assert (settings.retry.seconds, settings.gateway_url, settings.is_live) == (1.5, "8080", True)
    assert settings.api_key.get_secret_value() == "42"


def test_a_list_may_come_from_a_variable():
    settings = config(TASKER__PLUGINS__PAYMENTS__SETTINGS__METHODS='["card", "cash"]')
    assert settings.plugin_settings("payments", Payments).methods == ["card", "cash"]


def test_every_mistake_has_its_place():
    found = problems(
        config(
            'timeout_seconds = "soon"\ntimeout_second = 5\napi_key = ["hunter2"]\n[plugins.payments.settings.retry]\n'
            'seconds = "${S:-long}"',
            TASKER__PLUGINS__PAYMENTS__SETTINGS__LIVE="perhaps",
        )
    )
    assert found == [
        "tasker.toml:3: [plugins.payments.settings] timeout_second: unknown key; did you mean 'timeout_seconds'?",
        "tasker.toml:2: [plugins.payments.settings] timeout_seconds: must be a whole number (got 'soon')",
        "tasker.toml:4: [plugins.payments.settings] api_key: must be text (got •••)",
        "tasker.toml:6: [plugins.payments.settings.retry] seconds: must be a number (got 'long')",
        "variable TASKER__PLUGINS__PAYMENTS__SETTINGS__LIVE: [plugins.payments.settings] live: "
        "must be true or false (got 'perhaps')",
    ]


class Needs(BaseModel):
    account: str


def test_what_is_required_and_not_set_is_told_at_the_table():
    assert problems(config(), Needs) == ["tasker.toml:1: [plugins.payments.settings] account: is required"]


class Either(BaseModel):
    size: int | bool = 0
    retry: Retry | Needs | None = None


def test_a_value_that_fits_no_member_of_a_union_is_named_as_it_is_written():
    assert problems(config('size = "big"\n[plugins.payments.settings.retry]\nseconds = "x"'), Either) == [
        "tasker.toml:2: [plugins.payments.settings] size: must be a whole number (got 'big')",
        "tasker.toml:2: [plugins.payments.settings] size: must be true or false (got 'big')",
        "tasker.toml:3: [plugins.payments.settings.retry] account: is required",
        "tasker.toml:4: [plugins.payments.settings.retry] seconds: must be a number (got 'x')",
    ]


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class Careless(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Nothing(BaseModel):
    pass


@pytest.mark.parametrize(("model", "expected"), [(Open, {"x": 1}), (Careless, {})])
def test_a_model_may_take_unknown_keys(model: type[BaseModel], expected: dict[str, Any]):
    assert config("x = 1").plugin_settings("payments", model).model_dump() == expected


def test_a_model_that_does_not_say_takes_none():
    assert problems(config("x = 1"), Nothing) == [
        "tasker.toml:2: [plugins.payments.settings] x: unknown key; known here: nothing"
    ]
