"""Every value is shown with its origin, and no secret is."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from tasker_host.config import load
from tasker_host.config.origins import dotted, label
from tasker_host.config.secrets import without_passwords
from tasker_host.errors import ConfigError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def described(text: str, models: dict[str, type[BaseModel]] | None = None, **environ: str) -> dict[str, str]:
    Path("tasker.toml").write_text(text, encoding="utf-8")
    entries = load(Path("tasker.toml"), environ=environ).describe(models)
    return {entry.key: f"{entry.value!r} {entry.origin}" for entry in entries}


def test_sections_come_in_one_order_and_each_value_with_its_origin():
    shown = described('[worker]\nnamespaces = ["a", "b"]\n[plugins.p]\nrequired = true', TASKER__WEB__PORT="1")
    sections = list(dict.fromkeys(key.split(".")[0] for key in shown))
    assert sections == [
        "database", "worker", "sweep", "retention", "web", "plugins", "limits", "events", "telemetry", "templates",
    ]  # fmt: skip
    assert shown["worker.namespaces"] == "['a', 'b'] tasker.toml:2"
    assert shown["plugins.p.required"] == "True tasker.toml:4"
    assert shown["web.port"] == "1 variable TASKER__WEB__PORT"
    assert shown["worker.slots"] == "200 shipped base/worker.toml:9"


def test_only_the_password_of_a_database_url_is_masked():
    shown = described("", DATABASE_URL="postgresql://ann:s3cr/et@h:5/d?sslmode=require&password=s3cret")
    assert shown["database.url"] == (
        "'postgresql://ann:•••@h:5/d?sslmode=require&password=•••' shipped base/database.toml:6 (DATABASE_URL)"
    )


PAYMENTS = """
[plugins.token-bucket.settings]
rate = 5
gateway_password = "x"
API-KEY = 12345
empty_token = ""
pin = "1234"
proxy = "http://me:x@proxy"
names = ["a", "b"]
[plugins.token-bucket.settings.secrets]
first = "x"
[[plugins.token-bucket.settings.accounts]]
pin = "5"
"""


class Account(BaseModel):
    pin: SecretStr


class Settings(BaseModel):
    pin: SecretStr | None = None
    accounts: list[Account] = []


def test_secrets_of_plugins_are_known_by_their_names():
    shown = described(PAYMENTS)
    values = {key.split("settings.")[1]: text.rsplit(" ", 1)[0] for key, text in shown.items() if "settings." in key}
    assert values == {
        "rate": "5",
        "gateway_password": "'•••'",
        "API-KEY": "'•••'",
        "empty_token": "''",
        "pin": "'1234'",
        "proxy": "'http://me:•••@proxy'",
        "names": "['a', 'b']",
        "secrets.first": "'•••'",
        "accounts": "[{'pin': '5'}]",
    }


def test_secrets_of_plugins_are_known_by_their_types():
    shown = described(PAYMENTS, {"token-bucket": Settings})
    assert shown["plugins.token-bucket.settings.pin"] == "'•••' tasker.toml:7"
    assert shown["plugins.token-bucket.settings.accounts"] == "[{'pin': '•••'}] tasker.toml:12"
    assert shown["plugins.token-bucket.settings.rate"] == "5 tasker.toml:3"


def test_secrets_inside_an_array_of_tables_are_masked_by_their_names():
    shown = described('[[plugins.p.settings.hosts]]\nname = "h"\ntoken = "x"')
    assert shown["plugins.p.settings.hosts"] == "[{'name': 'h', 'token': '•••'}] tasker.toml:1"


def test_a_secret_is_in_no_error():
    with pytest.raises(ConfigError) as caught:
        described('[plugins.p]\npassword = "hunter2"\n[database]\nurl = "mysql://a:hunter2@h"\nlisten_url = 5')
    assert "hunter2" not in str(caught.value)
    assert len(caught.value.problems) == 3


def test_a_long_secret_is_not_cut_so_that_a_part_of_it_shows():
    with pytest.raises(ConfigError) as caught:
        described(f'[database]\nurl = "mysql://a:{"hunter2" * 20}@h"')
    assert [str(problem) for problem in caught.value.problems] == [
        "tasker.toml:2: [database] url: must begin with postgresql:// or postgres:// (got 'mysql://a:•••@h')"
    ]


def test_a_secret_is_in_no_representation():
    Path("tasker.toml").write_text('[plugins.p.settings]\npassword = "hunter2"', encoding="utf-8")
    config = load(Path("tasker.toml"), environ={"DATABASE_URL": "postgresql://a:hunter2@h/d"})
    assert "hunter2" not in repr(config)
    assert config.settings.database.url == "postgresql://a:hunter2@h/d"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql:///d?host=/run/postgresql", "postgresql:///d?host=/run/postgresql"),
        ("postgresql://ann@h/d", "postgresql://ann@h/d"),
        ("postgresql://h:5432/d", "postgresql://h:5432/d"),
        ("postgresql://:pw@/d", "postgresql://:•••@/d"),
        ("postgresql://a:p@w@h/d", "postgresql://a:•••@h/d"),
        ("https://h/x?access_token=abc&page=2", "https://h/x?access_token=•••&page=2"),
        ("postgresql://a:p?w#@h/d", "postgresql://a:•••@h/d"),
        ("postgresql://a:pw@h/d?mail=b@c", "postgresql://a:•••@h/d?mail=b@c"),
        ("mail me: ann@h", "mail me: ann@h"),
    ],
)
def test_passwords_in_urls(text, expected):
    assert without_passwords(text) == expected


@pytest.mark.parametrize(
    ("path", "as_key", "as_label"),
    [
        (("worker",), "worker", "[worker]"),
        (("worker", "slots"), "worker.slots", "[worker] slots"),
        (("worker", "retry", "base_ms"), "worker.retry.base_ms", "[worker.retry] base_ms"),
        (("worker", "namespaces", 1), "worker.namespaces[1]", "[worker] namespaces[1]"),
        (("plugins", "a.b", 'q"', "x"), 'plugins."a.b"."q\\"".x', '[plugins."a.b"."q\\""] x'),
        (("plugins", "p", "settings", "hosts", 0, "url"), "plugins.p.settings.hosts[0].url",
         "[plugins.p.settings] hosts[0].url"),
    ],
)  # fmt: skip
def test_paths_are_written_as_in_toml(path, as_key, as_label):
    assert (dotted(path), label(path)) == (as_key, as_label)
