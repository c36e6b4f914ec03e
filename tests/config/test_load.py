"""Layers of TOML and variables become settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tasker_host.config import Config, load
from tasker_host.errors import ConfigError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory; `write` puts a file into it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: str, text: str) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def problems(*, environ: dict[str, str] | None = None, **arguments: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(environ=environ or {}, **arguments)
    return [str(problem) for problem in caught.value.problems]


def origin(config: Config, path: str) -> str:
    return str(config.origins[path])


# Layers ---------------------------------------------------------------------------------------------------------------


def test_without_any_file_there_are_the_defaults_that_ship(folder):
    config = load(environ={})
    assert config.environment == "development"
    assert config.root is None
    assert config.settings.worker.slots == 200
    assert config.settings.worker.mode == "hybrid"
    assert config.settings.worker.namespaces == ()
    assert config.settings.worker.retry.backoff == "exponential"
    assert config.settings.database.url == ""
    assert config.settings.plugins.autoload is True
    assert config.settings.plugins.named == {}
    assert origin(config, "worker.slots") == "shipped base/worker.toml:9"


def test_each_layer_goes_over_the_one_below(folder):
    write(
        "config/base/worker.toml", "[worker]\nslots = 2\nthread_slots = 2\nmax_claim = 2\nlease_seconds = 2\nid = 'u'"
    )
    write("config/environments/test/worker.toml", "[worker]\nthread_slots = 3\nmax_claim = 3\nlease_seconds = 3")
    config = load(
        env="test",
        environ={"TASKER__WORKER__MAX_CLAIM": "4", "TASKER__WORKER__LEASE_SECONDS": "4"},
        overrides={"worker.lease_seconds": 5},
    )
    worker = config.settings.worker
    # The test environment that ships says 16 slots and 5 seconds of grace, its base 300 seconds for a handler.
    assert (worker.handler_timeout_seconds, worker.shutdown_grace_seconds) == (300, 5)
    assert (worker.slots, worker.thread_slots, worker.max_claim, worker.lease_seconds) == (2, 3, 4, 5)
    assert [origin(config, f"worker.{key}") for key in ("slots", "thread_slots", "max_claim", "lease_seconds")] == [
        "config/base/worker.toml:2",
        "config/environments/test/worker.toml:2",
        "variable TASKER__WORKER__MAX_CLAIM",
        "override",
    ]
    assert origin(config, "worker.handler_timeout_seconds") == "shipped base/worker.toml:36"
    assert origin(config, "worker.shutdown_grace_seconds") == "shipped environments/test/host.toml:9"


def test_tables_merge_and_arrays_are_replaced(folder):
    write("config/base/worker.toml", '[worker]\nnamespaces = ["a", "b"]\n[worker.retry]\nbase_ms = 5')
    write("config/environments/development/worker.toml", '[worker]\nnamespaces = ["c"]\n[worker.retry]\nmax_ms = 6')
    config = load(environ={})
    assert config.settings.worker.namespaces == ("c",)
    assert (config.settings.worker.retry.base_ms, config.settings.worker.retry.max_ms) == (5, 6)
    assert str(config.origin("worker", "namespaces", 0)) == "config/environments/development/worker.toml:2"
    assert "worker.namespaces[1]" not in config.origins


def test_any_file_may_hold_any_section(folder):
    write("config/base/a.toml", "[worker]\nslots = 7\n[web]\nport = 1")
    write("config/base/b.toml", "[worker]\nmax_claim = 8")
    settings = load(environ={}).settings
    assert (settings.worker.slots, settings.worker.max_claim, settings.web.port) == (7, 8, 1)


def test_a_key_in_two_files_of_one_layer_names_both(folder):
    write("config/base/a.toml", "[worker]\nslots = 7")
    write("config/base/b.toml", "\n[worker]\nmax_claim = 8\nslots = 7")
    assert problems() == [
        "config/base/b.toml:4: [worker] slots: is set here and at config/base/a.toml:2; keep one of them"
    ]


def test_other_files_and_editors_leavings_are_not_read(folder):
    write("config/base/README.md", "not TOML")
    write("config/base/.#worker.toml", "not TOML")
    write("config/base/worker.toml.orig", "not TOML")
    assert [file for file in load(environ={}).files if not file.is_absolute()] == []


# Roots and environments -----------------------------------------------------------------------------------------------


def test_a_named_root_goes_before_the_variable_and_the_variable_before_the_working_directory(folder):
    for number, place in enumerate(["named", "variable", "config"], 1):
        write(f"{place}/base/web.toml", f"[web]\nport = {number}")
    environ = {"TASKER_CONFIG": "variable"}
    assert load(Path("named"), environ=environ).settings.web.port == 1
    assert load(environ=environ).settings.web.port == 2
    assert load(environ={}).settings.web.port == 3


def test_one_file_may_stand_for_the_whole_root(folder):
    file = write("tasker.toml", "[web]\nport = 9\n[worker]\nslots = 3")
    config = load(file, environ={})
    assert (config.settings.web.port, config.settings.worker.slots, config.root) == (9, 3, Path("tasker.toml"))
    assert origin(config, "web.port") == "tasker.toml:2"


def test_a_folder_called_config_with_something_else_in_it_is_left_alone(folder):
    write("config/nginx.toml", "not TOML")
    assert load(environ={}).root is None


def test_the_files_that_ship_are_not_read_twice(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    config = load(environ={})
    assert config.root is None
    assert len(config.files) == len(set(config.files))


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        (
            {"root": Path("nowhere")},
            {},
            "--config: nowhere does not exist; name a directory that has base/ or environments/, or one TOML file",
        ),
        (
            {},
            {"TASKER_CONFIG": "."},
            "variable TASKER_CONFIG: . has neither base/ nor environments/; "
            "name a directory that has base/ or environments/, or one TOML file",
        ),
        ({"env": "prod"}, {}, "--env: no environment 'prod'; did you mean 'production'?"),
        ({}, {"TASKER_ENV": "tests"}, "variable TASKER_ENV: no environment 'tests'; did you mean 'test'?"),
        (
            {},
            {"TASKER_ENV": "../x"},
            "variable TASKER_ENV: no environment '../x'; there are development, production, test",
        ),
    ],
)
def test_a_root_or_environment_that_is_not_there(folder, arguments, environ, expected):
    assert problems(environ=environ, **arguments) == [expected]


def test_an_environment_of_ones_own_needs_only_a_folder(folder):
    write("config/environments/staging/web.toml", "[web]\nport = 4")
    config = load(environ={"TASKER_ENV": "staging"})
    assert (config.environment, config.settings.web.port) == ("staging", 4)


# Variables ------------------------------------------------------------------------------------------------------------


def test_variables_are_read_by_the_type_of_their_field(folder):
    settings = load(
        environ={
            "TASKER__WORKER__ID": "7",
            "TASKER__WORKER__SLOTS": "7",
            "TASKER__WORKER__POLL_INTERVAL_SECONDS": "0.5",
            "TASKER__WORKER__NAMESPACES": '["a", "1"]',
            "TASKER__WEB__ENABLED": "false",
            "TASKER__WORKER__RETRY__BACKOFF": "linear",
            "tasker__web__Port": "0",
            "TASKER__TELEMETRY__LOG_LEVEL": "DEBUG",
        }
    ).settings
    assert (settings.worker.id, settings.worker.slots, settings.worker.namespaces) == ("7", 7, ("a", "1"))
    assert (settings.worker.poll_interval_seconds, settings.worker.retry.backoff) == (0.5, "linear")
    assert (settings.web.enabled, settings.web.port, settings.telemetry.log_level) == (False, 0, "debug")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("TASKER__WORKER__SLOTS", "many", "[worker] slots: must be a whole number (got 'many')"),
        ("TASKER__WORKER__SLOTS", "", "[worker] slots: must be a whole number (got '')"),
        ("TASKER__WORKER__SLOTS", "0", "[worker] slots: must be greater than or equal to 1 (got 0)"),
        ("TASKER__WORKER__SLOTS", "1\nid = 'x'", "[worker] slots: must be a whole number (got \"1\\nid = 'x'\")"),
        ("TASKER__WORKER__NAMESPACES", "a", "[worker] namespaces: must be a list (got 'a')"),
        ("TASKER__WORKER__SLOT", "5", "[worker] slot: unknown key; did you mean 'slots'?"),
        ("TASKER__WROKER__SLOTS", "5", "[wroker]: unknown section; did you mean 'worker'?"),
        ("TASKER__WORKER", "5", "[worker]: must be a table (got 5)"),
        ("TASKER__WORKER____SLOTS", "5", "has no name between two '__'; write TASKER__SECTION__KEY"),
        ("TASKER__", "5", "has no name between two '__'; write TASKER__SECTION__KEY"),
        ("TASKER__WORKER__ID", "\udcff", "is not UTF-8"),
    ],
)
def test_a_wrong_variable_is_named(folder, variable, value, message):
    assert problems(environ={variable: value}) == [f"variable {variable}: {message}"]


def test_two_variables_may_not_set_the_same_key(folder):
    environ = {"TASKER__WORKER__SLOTS": "1", "tasker__worker__slots": "2"}
    assert problems(environ=environ) == [
        "variable tasker__worker__slots: [worker] slots: is set here and at variable TASKER__WORKER__SLOTS; "
        "keep one of them"
    ]


def test_a_variable_finds_names_that_a_shell_cannot_write(folder):
    write(
        "config/base/plugins.toml", "[plugins.My-Payments]\nenabled = true\n[plugins.My-Payments.settings]\nURL = 'x'"
    )
    config = load(environ={"TASKER__PLUGINS__MY_PAYMENTS__SETTINGS__URL": "y"})
    assert config.settings.plugins.named["My-Payments"].settings == {"URL": "y"}


def test_the_process_environment_is_read_by_default(folder, monkeypatch):
    for variable in [name for name in os.environ if name.startswith("TASKER")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("TASKER__WEB__PORT", "12")
    assert load().settings.web.port == 12


def test_overrides_may_be_nested(folder):
    config = load(
        environ={}, overrides={"worker": {"retry": {"base_ms": 3}}, "worker.namespaces": ["x"], "web.host": "${H}"}
    )
    assert (config.settings.worker.retry.base_ms, config.settings.worker.namespaces) == (3, ("x",))
    assert config.settings.web.host == "${H}"
    assert load(environ={}, overrides={"web.port": None, "web": {"host": None}}).settings.web.port == 8080
    assert problems(overrides={"worker.slots": "many"}) == [
        "override: [worker] slots: must be a whole number (got 'many')"
    ]


# Substitution ---------------------------------------------------------------------------------------------------------


def test_variables_are_put_into_strings_of_files(folder):
    write("config/base/web.toml", '[web]\nhost = "${HOST:-localhost}"\nport = "${PORT}"\nenabled = "${ON:-no}"')
    write("config/base/worker.toml", '[worker]\nid = "${HOST}-${PORT}-$${X}"\nnamespaces = ["${HOST}", "b"]')
    config = load(environ={"HOST": "h1", "PORT": "81", "ON": ""})
    assert (config.settings.web.host, config.settings.web.port, config.settings.web.enabled) == ("h1", 81, False)
    assert (config.settings.worker.id, config.settings.worker.namespaces) == ("h1-81-${X}", ("h1", "b"))
    assert origin(config, "worker.id") == "config/base/worker.toml:2 (HOST, PORT)"
    assert origin(config, "web.enabled") == "config/base/web.toml:4"


def test_database_url_needs_no_file(folder):
    config = load(environ={"DATABASE_URL": "postgresql://a:b@h/d"})
    assert config.settings.database.url == "postgresql://a:b@h/d"
    assert origin(config, "database.url") == "shipped base/database.toml:6 (DATABASE_URL)"


def test_what_a_variable_holds_is_not_substituted_again(folder):
    environ = {"DATABASE_URL": "postgresql://a:${B}@h/d", "TASKER__WEB__HOST": "${C}"}
    settings = load(environ=environ).settings
    assert (settings.database.url, settings.web.host) == ("postgresql://a:${B}@h/d", "${C}")


def test_a_missing_variable_is_told_once_with_its_place(folder):
    write("config/base/web.toml", '[web]\nhost = "x"\n\nport = "${PORT}"')
    assert problems() == [
        "config/base/web.toml:4: [web] port: variable PORT is not set; set it, or write ${PORT:-default}"
    ]


def test_a_value_that_is_overlaid_needs_no_variable(folder):
    write("config/base/web.toml", '[web]\nport = "${PORT}"')
    assert load(environ={}, overrides={"web.port": 3}).settings.web.port == 3


def test_settings_of_a_disabled_plugin_need_no_variable(folder):
    write("config/base/p.toml", '[plugins.p]\nenabled = "${P:-true}"\n[plugins.p.settings]\nurls = [{url = "${U}"}]')
    config = load(environ={"P": "off"})
    assert config.settings.plugins.named["p"].enabled is False
    assert config.settings.plugins.named["p"].settings == {"urls": [{"url": "${U}"}]}
    assert problems() == [
        "config/base/p.toml:4: [plugins.p.settings] urls[0].url: variable U is not set; set it, or write ${U:-default}"
    ]


@pytest.mark.parametrize("text", ["${", "${}", "${1A}", "${A", "${A:?x}", "${A B}"])
def test_a_reference_that_is_not_one(folder, text):
    write("config/base/web.toml", f'[web]\nhost = "{text}"')
    assert problems(environ={"A": "x"}) == [
        f"config/base/web.toml:2: [web] host: {text!r} is neither ${{NAME}} nor ${{NAME:-default}}; "
        "write $${ for a plain ${"
    ]


# Mistakes in files ----------------------------------------------------------------------------------------------------


def test_every_mistake_is_told_with_its_line(folder):
    write(
        "config/base/a.toml",
        '[worker]\nslot = 5\nmode = "hybird"\nnamespaces = [\n  "a",\n  5,\n]\nlease_seconds = true',
    )
    write(
        "config/base/b.toml", "[web]\nport = 70000\n\n[wbe]\nport = 1\n[plugins]\nautolod = false\n[plugins.p]\nx = 1"
    )
    write("config/base/c.toml", '[worker.retry]\nbase_ms = 9\nmax_ms = 8\n[database]\nurl = "mysql://u:hunter2@h/d"')
    assert problems() == [
        "config/base/a.toml:2: [worker] slot: unknown key; did you mean 'slots'?",
        "config/base/a.toml:3: [worker] mode: must be 'hybrid', 'event_driven' or 'polling' (got 'hybird'); "
        "did you mean 'hybrid'?",
        "config/base/a.toml:6: [worker] namespaces[1]: must be text; quote it (got 5)",
        "config/base/a.toml:8: [worker] lease_seconds: must be a whole number (got true)",
        "config/base/b.toml:2: [web] port: must be less than or equal to 65535 (got 70000)",
        "config/base/b.toml:4: [wbe]: unknown section; did you mean 'web'?",
        "config/base/b.toml:7: [plugins] autolod: unknown key; did you mean 'autoload'?",
        "config/base/b.toml:9: [plugins.p] x: unknown key; known here: enabled, required, settings",
        "config/base/c.toml:1: [worker] retry: base_ms is 9, more than max_ms, which is 8",
        "config/base/c.toml:5: [database] url: must begin with postgresql:// or postgres:// (got 'mysql://u:•••@h/d')",
    ]


@pytest.mark.parametrize("value", ["nan", "inf", "0", "-1.5", '"1.0"'])
def test_an_interval_is_a_sensible_number(folder, value):
    write("config/base/a.toml", f"[worker]\npoll_interval_seconds = {value}")
    (problem,) = problems()
    assert problem.startswith("config/base/a.toml:2: [worker] poll_interval_seconds: must be ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[worker]\nslots 5", ":2:7: is not TOML: Expected '=' after a key in a key/value pair"),
        ("[worker]\nslots = [1,\n", ":2:12: is not TOML: Invalid value"),
        (
            "[worker]\nslots = 5\nid = 'x'\nslots = 6",
            ":4: [worker] slots: is set twice, first on line 2; keep one of them",
        ),
        ("[worker]\n[web]\n[worker]\n}", ":3: [worker]: is set twice, first on line 1; keep one of them"),
        ("[worker]\nid = 'caf\xe9'", ":2: is not UTF-8: byte 0xe9; save the file as UTF-8"),
        (f"a = {'[' * 5000}", ": is nested too deeply"),
    ],
)
def test_a_file_that_is_not_toml_tells_where(folder, text, expected):
    write("config/base/a.toml", "")
    Path("config/base/a.toml").write_bytes(text.encode("latin-1"))
    assert problems() == [f"config/base/a.toml{expected}"]


def test_a_file_from_windows_is_read(folder):
    write("config/base/a.toml", "")
    Path("config/base/a.toml").write_bytes(b"\xef\xbb\xbf[web]\r\nport = 3\r\n")
    config = load(environ={})
    assert (config.settings.web.port, origin(config, "web.port")) == (3, "config/base/a.toml:2")


def test_a_broken_file_does_not_hide_other_mistakes(folder):
    write("config/base/a.toml", "x")
    write("config/base/b.toml", "[web]\nprot = 1")
    found = problems(environ={"TASKER__WORKER__SLOTS": "x"})
    assert [line.split(": ")[0] for line in found] == [
        "config/base/a.toml:1:2",
        "config/base/b.toml:2",
        "variable TASKER__WORKER__SLOTS",
    ]


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_file_that_cannot_be_read_is_named(folder):
    write("config/base/a.toml", "").unlink()
    Path("config/base/a.toml").symlink_to("nowhere")
    assert problems() == ["config/base/a.toml: cannot be read: No such file or directory"]
