"""A broken plugin fails alone, and says why: one test for each way to be broken."""

from __future__ import annotations

import sys

import pytest

from tasker_host.cli import OWN_COMMANDS
from tasker_host.host import Host
from tasker_host.plugins import Stage, Status
from tasker_host.plugins.owners import HOST_CHECKS, HOST_COMMANDS

GOOD = """
    from tasker_host import hookimpl, step_handler

    @step_handler("good.work")
    async def work():
        return 1

    @hookimpl
    def tasker_handlers():
        return [work]
"""


TEMPLATE = """\
name: fine
namespace_name: acme
version: 1.0.0
steps:
  - {name: a, handler: {callable: x}}
"""


def only_fault(roster, name):
    plugin = roster.plugin(name)
    (fault,) = plugin.faults
    assert plugin.contribution is None
    return plugin.status, fault


def hooks(body: str) -> str:
    return f"from tasker_host import *\nimport pydantic\n{body}"


@pytest.mark.parametrize(
    ("source", "stage", "told"),
    [
        ("raise RuntimeError('no licence')", Stage.IMPORT, "RuntimeError: no licence (acme_broken/__init__.py:1)"),
        ("raise SystemExit(3)", Stage.IMPORT, "it called sys.exit(3) (acme_broken/__init__.py:1)"),
        ("def f(:", Stage.IMPORT, "SyntaxError"),
        ("import acme_not_there", Stage.IMPORT, "install what gives the module 'acme_not_there'"),
        ("x = 1", Stage.HOOKS, "it implements no hook"),
        (
            hooks("@hookimpl\ndef tasker_handlrs(settings): return []"),
            Stage.HOOKS,
            "did you mean 'tasker_handlers'?",
        ),
        (hooks("@hookimpl\ndef tasker_handlers(setings): return []"), Stage.HOOKS, "setings"),
        (hooks("@hookimpl\ndef tasker_settings(): return 5"), Stage.SETTINGS, "return a pydantic model class, or None"),
        (hooks("@hookimpl\ndef tasker_settings(): raise OSError('x')"), Stage.SETTINGS, "OSError: x"),
        (
            hooks("@hookimpl\ndef tasker_handlers():\n    raise ValueError('no gateway')"),
            Stage.COLLECT,
            "tasker_handlers: ValueError: no gateway (acme_broken/__init__.py:5)",
        ),
        (
            hooks("@hookimpl\ndef tasker_handlers():\n    yield Handler('a', print)\n    raise ValueError('half-way')"),
            Stage.COLLECT,
            "ValueError: half-way",
        ),
        (hooks("@hookimpl\ndef tasker_handlers(): return [5]"), Stage.COLLECT, "5"),
        (hooks("@hookimpl\ndef tasker_handlers(): return 'abc'"), Stage.COLLECT, "return a list"),
        (
            hooks("@step_handler('h')\ndef h(order): ...\n@hookimpl\ndef tasker_handlers(): return [h]"),
            Stage.COLLECT,
            "nothing to give to parameter 'order'",
        ),
        (hooks("@hookimpl\ndef tasker_middleware(): return [print]"), Stage.COLLECT, "not a Middleware"),
        (hooks("@hookimpl\ndef tasker_classifiers(): return [5]"), Stage.COLLECT, "not a Classifier"),
        (hooks("@hookimpl\ndef tasker_commands(): return [print]"), Stage.COLLECT, "tasker_commands"),
        (hooks("@hookimpl\ndef tasker_templates(): return ['a.yaml']"), Stage.COLLECT, "importlib.resources.files"),
        (
            hooks("@hookimpl\ndef tasker_handlers(): return [Handler('a', print, retry_on=(5,))]"),
            Stage.COLLECT,
            "retry_on",
        ),
    ],
)
def test_a_broken_plugin_fails_alone_at_its_stage_and_says_why(install, roster, source, stage, told):
    install("broken", source)
    install("good", GOOD)
    found = roster()
    status, fault = only_fault(found, "broken")
    assert (status, fault.stage) == (Status.FAILED, stage)
    assert told in str(fault)
    assert "Traceback" not in str(fault)
    good = found.plugin("good")
    assert (good.status, [handler.name for handler in good.contribution.handlers]) == (Status.ACTIVE, ["good.work"])


def test_a_bad_template_is_told_with_file_and_line(install, roster):
    install(
        "broken",
        """
        from importlib.resources import files
        from tasker_host import hookimpl

        @hookimpl
        def tasker_templates():
            return [files(__name__)]
        """,
        templates={
            "fine.yaml": TEMPLATE,
            "wrong.yaml": TEMPLATE.replace("name: fine", "name: wrong").replace("}}", "}, dependencies: [b]}"),
        },
    )
    status, fault = only_fault(roster(), "broken")
    assert (status, fault.stage) == (Status.FAILED, Stage.COLLECT)
    assert "acme_broken/wrong.yaml:5" in str(fault)


WORKFLOW = """
    from tasker_host import From, hookimpl, step_handler, workflow
    from typing import Annotated

    @step_handler("price")
    def price(): return 1

    @step_handler("charge")
    def charge(quote: Annotated[int, From("price")]): return quote

    MADE = workflow("payments/charge").step(price).step(charge)

    @hookimpl
    def tasker_templates():
        return [MADE]

    @hookimpl
    def tasker_handlers():
        return MADE.handlers
    """


def test_a_workflow_made_in_code_is_built_and_its_faults_name_function_and_step(install, roster):
    install("good", WORKFLOW)
    install("broken", WORKFLOW.replace('From("price")', 'From("prize")').replace("payments/", "others/"))
    found = roster()
    [template] = found.plugin("good").contribution.templates
    assert [(step.name, step.dependencies) for step in template.steps] == [("price", ()), ("charge", ("price",))]
    status, fault = only_fault(found, "broken")
    assert (status, fault.stage, fault.hook) == (Status.FAILED, Stage.COLLECT, "tasker_templates")
    assert "step 'charge' (acme_broken.charge): parameter 'quote' reads step 'prize'" in str(fault)
    assert "did you mean 'price'?" in str(fault)


def test_a_name_claimed_twice_is_refused_and_neither_is_imported(install, roster):
    install("audit", "raise AssertionError", dist="acme-one")
    install("audit", "raise AssertionError", dist="acme-two")
    status, fault = only_fault(roster(), "audit")
    assert (status, fault.stage) == (Status.REFUSED, Stage.DISCOVERY)
    assert "acme-one" in str(fault)
    assert "acme-two" in str(fault)
    assert not {"acme_one", "acme_two"} & set(sys.modules)


def test_a_plugin_for_another_host_version_is_refused_and_not_imported(install, roster):
    install("old", "raise AssertionError", requires=("tasker-host<0.1",))
    status, fault = only_fault(roster(), "old")
    assert (status, fault.stage) == (Status.REFUSED, Stage.VERSION)
    assert "<0.1" in str(fault)
    assert "acme_old" not in sys.modules


def test_a_name_that_another_plugin_gives_drops_the_second_as_a_whole_and_names_the_owner(install, roster):
    install("alpha", GOOD)
    install("beta", GOOD.replace("return [work]", "return [work, Handler('beta.other', print)]").replace(
        "import hookimpl", "import Handler, hookimpl"))  # fmt: skip
    found = roster()
    status, fault = only_fault(found, "beta")
    assert (status, fault.stage) == (Status.FAILED, Stage.NAMES)
    assert "handler 'good.work' is already given by plugin 'alpha'" in str(fault)
    assert [given.plugin for given in found.active()] == ["alpha"]


def test_plugins_load_in_name_order_whatever_order_they_were_installed_in(install, roster):
    for name in ("zeta", "alpha", "mid"):
        install(name, GOOD.replace("good.work", f"{name}.work"))
    assert [given.plugin for given in roster().active()] == ["alpha", "mid", "zeta"]


# Configuration --------------------------------------------------------------------------------------------------------


def test_a_disabled_plugin_is_never_imported(install, roster):
    install("off", "raise AssertionError")
    plugin = roster("[plugins.off]\nenabled = false").plugin("off")
    assert (plugin.status, plugin.faults, plugin.dist) == (Status.DISABLED, (), "acme-off")
    assert "plugins.toml" in plugin.note
    assert "acme_off" not in sys.modules


def test_without_autoload_only_what_has_a_section_is_imported(install, roster):
    install("wanted", GOOD)
    install("other", "raise AssertionError")
    found = roster("[plugins]\nautoload = false\n[plugins.wanted]\n")
    assert [given.plugin for given in found.active()] == ["wanted"]
    assert found.plugin("other").status is Status.DISABLED
    assert "acme_other" not in sys.modules


def test_a_configured_plugin_that_is_not_installed_is_missing_with_a_suggestion(install, roster):
    install("payments", GOOD)
    found = roster("[plugins.payment]\nenabled = true")
    status, fault = only_fault(found, "payment")
    assert status is Status.MISSING
    assert "did you mean 'payments'?" in str(fault)


def test_required_plugins_stop_the_start_after_all_were_tried(install, roster):
    from tasker_host.errors import PluginError

    install("one", "raise RuntimeError('first')")
    install("two", "raise RuntimeError('second')")
    install("three", "raise RuntimeError('third')")
    found = roster("[plugins.one]\nrequired = true\n[plugins.two]\nrequired = true\n[plugins.gone]\nrequired = true")
    with pytest.raises(PluginError) as caught:
        found.check_required()
    told = str(caught.value)
    assert "first" in told
    assert "second" in told
    assert "'gone'" in told
    assert "third" not in told


SETTINGS = """
    import pydantic
    from tasker_host import hookimpl, step_handler

    class Settings(pydantic.BaseModel):
        timeout_seconds: int = 5
        token: pydantic.SecretStr = pydantic.SecretStr("")

    @step_handler("pay.charge")
    async def charge(settings: Settings):
        return settings.timeout_seconds

    @hookimpl
    def tasker_settings():
        return Settings

    @hookimpl
    def tasker_handlers(settings):
        return [charge]
"""


def test_settings_come_from_toml_and_their_defaults_from_the_model(install, roster):
    install("pay", SETTINGS)
    (given,) = roster("[plugins.pay.settings]\ntimeout_seconds = 7").active()
    assert given.settings.timeout_seconds == 7
    assert given.settings.token.get_secret_value() == ""


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('timeout_seconds = "soon"', "timeout_seconds: must be a whole number (got 'soon')"),
        ("timeout_secnds = 7", "timeout_secnds: unknown key; did you mean 'timeout_seconds'?"),
    ],
)
def test_a_wrong_setting_is_told_with_file_and_line(install, roster, line, told):
    install("pay", SETTINGS)
    status, fault = only_fault(roster(f"[plugins.pay.settings]\n{line}"), "pay")
    assert (status, fault.stage) == (Status.FAILED, Stage.SETTINGS)
    assert told in str(fault)
    assert "plugins.toml:2" in str(fault)


def test_settings_of_a_plugin_without_any_are_a_mistake(install, roster):
    install("good", GOOD)
    status, fault = only_fault(roster("[plugins.good.settings]\nx = 1"), "good")
    assert (status, fault.stage) == (Status.FAILED, Stage.SETTINGS)
    assert "x" in str(fault)


def test_a_command_of_the_hosts_own_is_not_taken_over(install, roster):
    install(
        "greedy",
        "import click\n" + hooks("@hookimpl\ndef tasker_commands(): return [click.Command('run')]"),
    )
    status, fault = only_fault(roster(), "greedy")
    assert (status, fault.stage) == (Status.FAILED, Stage.NAMES)
    assert "command 'run' is already given by the host itself; rename it" in str(fault)


def test_the_host_keeps_the_names_that_it_has():
    assert {f"_check_{name}" for name in HOST_CHECKS} == {name for name in dir(Host) if name.startswith("_check_")}
    assert set(OWN_COMMANDS) - set(HOST_COMMANDS) == set()
