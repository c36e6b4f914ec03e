"""Every hook and every row of the faults table, whatever hooks there are: stage, hook, hint, exit code."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from itertools import pairwise

import httpx
import pluggy
import pytest

from tasker_host.errors import PluginError
from tasker_host.hooks import specs
from tasker_host.plugins import Stage, Status
from tasker_host.server import create_app
from tests.docs.pages import page
from tests.support import command


def specified() -> dict[str, tuple[str, ...]]:
    """Every hook with its arguments."""
    manager = pluggy.PluginManager(specs.PROJECT)
    manager.add_hookspecs(specs)
    return {name: tuple(caller.spec.argnames) for name, caller in vars(manager.hook).items()}


HOOKS = specified()
COLLECTED = sorted(set(HOOKS) - {"tasker_settings", "tasker_lifespan"})
"""Those that return a list of things."""

HOOK = """
from tasker_host import hookimpl
@hookimpl
def {hook}({arguments}):
    {body}
"""


def hook(name: str, body: str, arguments: str | None = None) -> str:
    return HOOK.format(hook=name, arguments=", ".join(HOOKS[name]) if arguments is None else arguments, body=body)


def only_fault(roster, name="broken"):
    plugin = roster.plugin(name)
    (fault,) = plugin.faults
    assert plugin.contribution is None
    assert fault.hint
    assert "Traceback" not in str(fault)
    return plugin.status, fault


# Contracts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_has_its_contract_where_it_is_specified_and_on_the_page(name):
    written = inspect.getdoc(getattr(specs, name)) or ""
    shown = page("plugins").section(name)
    for text, mark in ((written, "**{}**"), (shown, "- **{}**")):
        places = [text.find(mark.format(word)) for word in ("Called", "Return", "If it raises", "Since")]
        assert places == sorted(places), name
        assert -1 not in places, name
    assert re.search(r"\*\*Since\*\* \d+\.\d+\.", written)


@pytest.mark.parametrize("name", COLLECTED)
def test_a_hook_that_gives_nothing_is_a_plugin_that_works(install, roster, name):
    install("broken", hook(name, "return []"))
    install("none", hook(name, "return None", arguments=""))
    found = roster()
    assert [plugin.status for plugin in found.plugins] == [Status.ACTIVE, Status.ACTIVE]
    assert found.plugin("broken").contribution.gives() == {}


# What a hook may do wrong ---------------------------------------------------------------------------------------------


WRONG_BODIES = {
    "raises": ("raise ValueError('no gateway')", "ValueError: no gateway (acme_raises/__init__.py:5)"),
    "exits": ("raise SystemExit(3)", "it called sys.exit(3) (acme_exits/__init__.py:5)"),
    "halfway": ("yield from (); raise ValueError('half-way')", "ValueError: half-way (acme_halfway/__init__.py:5)"),
    "text": ("return 'text'", "returned 'text' (str); return a list"),
    "number": ("return 5", "returned 5 (int); return a list"),
    "record": ("return [object]", "object"),
    "none": ("return [None]", "None"),
}


@pytest.mark.parametrize("name", COLLECTED)
def test_whatever_hook_raises_or_gives_what_it_should_not_fails_its_plugin_alone(install, roster, name):
    for plugin, (body, _) in WRONG_BODIES.items():
        install(plugin, hook(name, body))
    install("good", hook(name, "return []"))
    found = roster()
    for plugin, (_, told) in WRONG_BODIES.items():
        status, fault = only_fault(found, plugin)
        assert (status, fault.stage, fault.hook) == (Status.FAILED, Stage.COLLECT, name)
        assert told in fault.error
    assert found.plugin("good").status is Status.ACTIVE


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_that_is_none_of_ours_is_found_without_being_called(install, roster, name):
    good = hook(name, "raise AssertionError")
    wrong = {
        "unknown": (good.replace(f"def {name}(", f"def {name}x("), "there is no such hook", f"did you mean '{name}'?"),
        "argument": (hook(name, "raise AssertionError", arguments="setings"), "there is no argument 'setings'", ""),
        "unmarked": (good.replace("@hookimpl\n", ""), "is not marked", "put @hookimpl"),
        "async": (good.replace("\ndef ", "\nasync def "), "is async", "hooks are plain functions"),
        "wrapper": (
            good.replace("@hookimpl", "@hookimpl(wrapper=True)").replace("raise AssertionError", "yield"),
            "is a wrapper",
            "return the records",
        ),
    }
    for plugin, (source, _, _) in wrong.items():
        install(plugin, source)
    found = roster()
    for plugin, (_, told, hint) in wrong.items():
        status, fault = only_fault(found, plugin)
        assert (status, fault.stage) == (Status.FAILED, Stage.HOOKS)
        assert told in fault.error
        assert hint in fault.hint


@pytest.mark.parametrize("name", COLLECTED)
def test_one_bad_item_drops_everything_of_its_plugin(install, roster, name):
    good = "\n@hookimpl\ndef tasker_classifiers():\n    return [Classifier(OSError, True)]\n"
    source = "from tasker_host import Classifier\n" + hook(name, "return [object]")
    install("broken", source + (good if name != "tasker_classifiers" else ""))
    assert only_fault(roster())[0] is Status.FAILED


# Exit codes -----------------------------------------------------------------------------------------------------------

BROKEN = {
    "import": "import acme_nothing",
    "exit": "raise SystemExit(3)",
    "hooks": hook("tasker_handlers", "return []", arguments="x"),
    "collect": hook("tasker_handlers", "raise ValueError('no gateway')"),
    "record": hook("tasker_middleware", "return [5]"),
    "settings": hook("tasker_settings", "return 5"),
}
CLASH = """
from tasker_host import Handler, hookimpl
@hookimpl
def tasker_handlers():
    return [Handler("work", print, runs_in="loop")]
"""


@pytest.fixture
def all_broken(install):
    """One plugin for each way to be broken before the host serves, by name with its status and stage."""
    for name, source in BROKEN.items():
        install(name, source)
    install("alpha", CLASH.replace("print", "lambda: 1"))
    install("beta", CLASH.replace("print", "lambda: 1"))
    install("old", "raise AssertionError", requires=("tasker-host<0.1",))
    install("twice", "raise AssertionError", dist="acme-one")
    install("twice", "raise AssertionError", dist="acme-two")
    return {
        "import": ("failed", "import"),
        "exit": ("failed", "import"),
        "hooks": ("failed", "hooks"),
        "collect": ("failed", "collect"),
        "record": ("failed", "collect"),
        "settings": ("failed", "settings"),
        "beta": ("failed", "names"),
        "old": ("refused", "version"),
        "twice": ("refused", "discovery"),
        "gone": ("missing", "discovery"),
    }


@pytest.fixture
def host_file(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKER_ENV", "test")

    def host_file(text):
        file = tmp_path / "host.toml"
        file.write_text(f"[plugins.examples]\nenabled = false\n{text}")
        return str(file)

    return host_file


GONE = "[plugins.gone]\nenabled = true\n"


def test_one_run_shows_every_fault_with_its_stage_and_hint_and_ends_with_3(all_broken, host_file):
    checked = command("plugin", "check", "--json", "--config", host_file(GONE))
    assert checked.exit_code == 3
    plugins = {plugin["name"]: plugin for plugin in json.loads(checked.stdout)["plugins"]}
    found = {
        name: (plugin["status"], plugin["faults"][0]["stage"]) for name, plugin in plugins.items() if plugin["faults"]
    }
    assert found == all_broken
    for plugin in plugins.values():
        assert all(fault["error"] and fault["hint"] for fault in plugin["faults"])
    assert plugins["alpha"]["status"] == "active"


def test_the_same_faults_are_told_to_people_line_by_line(all_broken, host_file):
    file = host_file(GONE)
    checked = command("plugin", "check", "--config", file)
    listed = command("plugin", "list", "--config", file)
    assert (checked.exit_code, listed.exit_code) == (3, 0)
    for name, (_, stage) in all_broken.items():
        [line] = [line for line in checked.stderr.splitlines() if line.startswith(f"{name}: {stage} · ")]
        assert line.removeprefix(f"{name}: ") in listed.stdout


def test_a_required_one_stops_the_host_with_3_after_all_were_tried(all_broken, host_file):
    required = "".join(f"[plugins.{name}]\nrequired = true\n" for name in all_broken)
    run = command("run", "--no-web", "--config", host_file(required))
    assert run.exit_code == 3
    for name, (status, stage) in all_broken.items():
        assert f"  plugin '{name}': {status} at {stage} · " in run.stderr


async def test_without_required_the_host_starts_and_log_and_api_tell_the_same_faults(
    all_broken, installed_host, capsys
):
    async with installed_host(**{"plugins.gone.enabled": True}) as host:
        transport = httpx.ASGITransport(create_app(host), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://host") as api:
            told = {plugin["name"]: plugin for plugin in (await api.get("/v1/plugins")).json()}
            health = (await api.get("/health")).json()
        logged = capsys.readouterr().out
        for name, (status, stage) in all_broken.items():
            (fault,) = told[name]["faults"]
            assert (told[name]["status"], fault["stage"]) == (status, stage)
            assert fault["hint"]
            assert str(host.roster.plugin(name).faults[0])[:60] in logged
        assert told["alpha"]["contents"]["handlers"][0]["name"] == "work"
        assert told["alpha"]["contents"]["handlers"][0]["runs_in"] == "loop"
    assert health["status"] == "degraded"
    assert {name for name in all_broken if name in str(health["checks"])} == set(all_broken)


async def test_a_required_plugin_that_fails_stops_a_host_in_python_too(install, installed_host):
    install("one", "raise RuntimeError('first')")
    install("two", "raise RuntimeError('second')")
    with pytest.raises(PluginError) as caught:
        async with installed_host(**{"plugins.one.required": True, "plugins.two.required": True}):
            raise AssertionError
    assert caught.value.code == "PLUGIN_REQUIRED"
    assert [problem.where for problem in caught.value.problems] == ["plugin 'one'", "plugin 'two'"]


def test_what_is_switched_off_is_not_required(install, host_file):
    install("off", "raise AssertionError")
    checked = command("plugin", "check", "--config", host_file("[plugins.off]\nenabled = false\nrequired = true\n"))
    assert checked.exit_code == 0


# Templates that name what nobody gives --------------------------------------------------------------------------------


async def test_submitting_what_names_handlers_that_nobody_gives_is_409_with_the_list(install, installed_host):
    install(
        "shop",
        "from importlib.resources import files\nfrom tasker_host import hookimpl\n"
        "@hookimpl\ndef tasker_templates():\n    return [files(__name__)]\n",
        templates={
            "order.yaml": """
                name: order
                namespace_name: shop
                version: 1.0.0
                steps:
                  - {name: price, handler: {callable: shop.price}}
                  - {name: charge, handler: {callable: cards.charge}, dependencies: [price]}
            """
        },
    )
    async with installed_host() as host:
        transport = httpx.ASGITransport(create_app(host), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://host") as api:
            answer = await api.post("/v1/tasks", json={"namespace": "shop", "name": "order", "context": {}})
    assert (answer.status_code, answer.json()["code"]) == (409, "TEMPLATE_UNAVAILABLE")
    assert [problem["message"] for problem in answer.json()["problems"]] == [
        "no handler named 'shop.price'",
        "no handler named 'cards.charge'",
    ]


def test_what_plugins_print_does_not_get_between_the_data(install, host_file):
    source = "print('imported')\n" + hook("tasker_handlers", "print('asked'); return []")
    install("talks", source)
    file = host_file("")
    for verb in ("list", "check"):
        told = command("plugin", verb, "--json", "--config", file)
        assert [plugin["name"] for plugin in json.loads(told.stdout)["plugins"]] == ["examples", "talks"]
    assert "asked" in told.stderr


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ("", "[plugins.pay.settings] key: "),
        ("[plugins.pay.settings]\nkey = 5\n", "[plugins.pay.settings] key: must be text; quote it (got 5)"),
        ("[plugins.pay.settings]\nkey = 'x'\nkye = 'y'\n", "kye: unknown key; did you mean 'key'?"),
    ],
)
def test_settings_that_do_not_fit_are_told_with_their_key(install, roster, toml, told):
    install(
        "pay",
        "import pydantic\nfrom tasker_host import hookimpl\n"
        "class Settings(pydantic.BaseModel):\n    key: str\n"
        "@hookimpl\ndef tasker_settings():\n    return Settings\n",
    )
    status, fault = only_fault(roster(toml), "pay")
    assert (status, fault.stage) == (Status.FAILED, Stage.SETTINGS)
    assert told in fault.error
    assert fault.hint == "correct it in the configuration"


def test_hooks_are_called_in_the_order_that_their_contracts_say(install, roster):
    bodies = "\n".join(
        f"@hookimpl\ndef {name}({', '.join(HOOKS[name])}):\n    log.append('{name}')\n    return None"
        for name in sorted(HOOKS)
    )
    install("logs", f"from tasker_host import hookimpl\nlog = []\n{bodies}")
    assert roster().plugin("logs").status is Status.ACTIVE
    called = importlib.import_module("acme_logs").log
    assert called[0] == "tasker_settings"
    assert set(called) == set(HOOKS) - {"tasker_lifespan"}
    for before, name in pairwise(called[1:]):
        for text in (inspect.getdoc(getattr(specs, name)) or "", page("plugins").section(name)):
            assert f"once, after `{before}`" in " ".join(text.split()), name
