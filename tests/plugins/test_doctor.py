"""`tasker plugin doctor NAME`: why something is not there."""

from __future__ import annotations

import json

import pytest

from tests.support import command

HANDLER = """
    from importlib.resources import files
    from tasker_host import Handler, HealthCheck, hookimpl

    def work():
        return 1

    @hookimpl
    def tasker_handlers():
        return [Handler("payments.charge_card", work)]

    @hookimpl
    def tasker_health():
        return [HealthCheck("payments.gateway", work)]

    @hookimpl
    def tasker_templates():
        return [files(__name__) / "charge.yaml"]
"""

TEMPLATE = """\
name: charge_order
namespace_name: payments
version: 1.0.0
steps:
  - {name: charge, handler: {callable: payments.charge_card}}
"""


@pytest.fixture
def doctor(configured, tmp_path, monkeypatch):
    """`doctor(name, toml)`: exit code, output and the same as JSON; the examples are not there."""
    monkeypatch.setenv("TASKER_ENV", "test")

    def doctor(name, toml=""):
        file = tmp_path / "host.toml"
        file.write_text("[plugins.examples]\nenabled = false\n" + toml)
        arguments = ["plugin", "doctor", name, "--config", str(file)]
        told = command(*arguments)
        data = command(*arguments, "--json")
        assert told.exit_code == data.exit_code
        assert len(told.stdout.splitlines()) <= 24
        return told.exit_code, told.stdout, json.loads(data.stdout)

    return doctor


def payments(install, source=HANDLER, **more):
    install("payments", source, templates={"charge.yaml": TEMPLATE}, **more)


def test_what_is_there_is_said_with_who_gives_and_who_uses_it(install, doctor):
    payments(install)
    code, told, data = doctor("payments.charge_card")
    assert code == 0
    assert told == (
        "handler 'payments.charge_card' is available\n"
        "  plugin 'payments' (acme-payments 1.2.3)\n"
        "  used by step 'charge' of payments/charge_order 1.0.0\n"
    )
    assert (data["kind"], data["available"]) == ("handler", True)
    assert doctor("payments.gateway")[2]["kind"] == "health check"
    assert doctor("thread")[1] == "executor 'thread' is available\n  the host itself gives it\n"
    for name in ("payments/charge_order", "payments/charge_order 1.0.0", "payments/charge_order@1.0.0"):
        assert doctor(name)[1].splitlines()[1:] == [
            "  payments/charge_order 1.0.0, 1 step, plugin 'payments' (acme-payments 1.2.3)"
        ]
    for name in ("payments", "acme-payments", "acme_payments"):
        assert doctor(name)[0] == 0


@pytest.mark.parametrize("name", ["payments.charge_card", "payments/charge_order", "payments"])
@pytest.mark.parametrize(
    ("source", "requires", "toml", "told", "do"),
    [
        (
            "import acme_nothing\n" + HANDLER,
            (),
            "",
            "failed: import · ModuleNotFoundError: No module named 'acme_nothing' (acme_payments/__init__.py:1)",
            "install what gives the module 'acme_nothing'",
        ),
        (
            HANDLER,
            ("tasker-host<0.1",),
            "",
            "refused: version · acme-payments 1.2.3 needs tasker-host<0.1, and this is 0.1.0",
            "install another version of acme-payments, or of tasker-host",
        ),
        (
            HANDLER,
            (),
            "[plugins.payments]\nenabled = false\n",
            "disabled: [plugins.payments] enabled is false (",
            "set [plugins.payments] enabled = true",
        ),
        (
            HANDLER,
            (),
            "[plugins.payments.settings]\nkey = 1\n",
            "failed: settings · [plugins.payments.settings] key: unknown key; known here: nothing",
            "correct it in the configuration",
        ),
    ],
    ids=["import error", "version", "disabled", "settings"],
)
def test_what_its_plugin_would_give_is_told_with_why_that_does_not(
    install, doctor, *, name, source, requires, toml, told, do
):
    payments(install, "\n".join(line.removeprefix("    ") for line in source.splitlines()), requires=requires)
    code, text, data = doctor(name, toml)
    assert code == 1
    assert "not available" in text
    assert told in text
    (reason,) = data["reasons"]
    assert reason["plugin"] == "payments"
    assert reason["do"] == do
    if "/" not in name and "." in name:
        assert "has it in acme_payments/__init__.py:" in text
    if "/" in name:
        assert "has it in acme_payments/charge.yaml:1" in text


def test_a_clash_names_both_plugins(install, doctor):
    install("billing", HANDLER.replace("payments.gateway", "billing.gateway").replace('"charge.yaml"', '"none.yaml"'),
            templates={"none.yaml": TEMPLATE.replace("charge_order", "bill")})  # fmt: skip
    payments(install)
    code, text, _ = doctor("payments.gateway")
    assert code == 1
    assert "handler 'payments.charge_card' is already given by plugin 'billing'" in text
    assert "rename it, or disable one of the two plugins" in text


def test_a_plugin_that_is_configured_and_not_installed_is_the_reason(doctor):
    code, text, _ = doctor("payments.charge_card", "[plugins.payments]\nrequired = true\n")
    assert code == 1
    assert "plugin 'payments' is missing: discovery · no installed distribution has a plugin named 'payments'" in text
    assert "→ install it, or remove [plugins.payments]" in text


def test_what_nobody_has_is_told_with_a_suggestion(install, doctor):
    payments(install)
    code, text, data = doctor("payments.charge_crad")
    assert code == 1
    assert "there is the handler 'payments.charge_card' from plugin 'payments'" in text
    assert data["reasons"][0]["do"] == "did you mean 'payments.charge_card'?"
    assert "there is the template 'payments/charge_order'" in doctor("payments/charge_ordr")[1]
    assert "did you mean 'payments'?" in doctor("paymnts")[1]
    code, text, _ = doctor("zzz.unheard")
    assert code == 1
    assert "no installed plugin gives it or mentions it\n    → pip install the package that gives it" in text


def test_what_is_written_but_not_given_is_told_with_its_place(install, doctor):
    payments(install, HANDLER.replace("return [Handler(", 'spare = Handler("payments.refund", work)\n        return [Handler('))  # fmt: skip  # noqa: E501
    code, text, _ = doctor("payments.refund")
    assert code == 1
    assert "mentions it in acme_payments/__init__.py:10, but does not give it" in text
    assert "put it in what the plugin's hook returns" in text


def test_a_template_is_explained_by_the_handler_that_it_lacks(install, doctor):
    install("shop", HANDLER.replace("payments.charge_card", "shop.charge"), templates={"charge.yaml": TEMPLATE})
    install("cards", "import acme_stripe\nNAME = 'payments.charge_card'")
    code, text, data = doctor("payments/charge_order")
    assert code == 1
    assert "template payments/charge_order 1.0.0, step 'charge': no handler named 'payments.charge_card'" in text
    assert "plugin 'cards' (acme-cards 1.2.3) has it in acme_cards/__init__.py:2, and is failed: import" in text
    assert data["kind"] == "template"
    assert doctor("payments.charge_card")[2]["used_by"] == ["step 'charge' of payments/charge_order 1.0.0"]


def test_a_distribution_that_forgot_its_entry_point_is_told(doctor, tmp_path, monkeypatch):
    info = tmp_path / "forgot/tasker_payments-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tasker-payments\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path / "forgot"))
    for name in ("payments", "payments.charge_card"):
        code, text, _ = doctor(name)
        assert code == 1
        assert "tasker-payments 1.0 is installed, but has no entry point in the group tasker_host.plugins" in text


def test_a_package_that_is_not_installed_is_told(doctor, tmp_path, monkeypatch):
    package = tmp_path / "src/tasker_payments"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError")
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    assert "the package tasker_payments can be imported, but is not installed" in doctor("payments")[1]


PUBLISHER = """
    from tasker_host import Publisher, hookimpl

    @hookimpl
    def tasker_publishers():
        return [Publisher("billing.invoiced", print)]
"""
WITH_EVENT = TEMPLATE.replace(
    "payments.charge_card}}",
    "payments.charge_card}, publishes_events: [{name: payments.charged, publisher: billing.invoiced}]}",
)


def test_a_publisher_is_explained_like_a_handler(install, doctor):
    install("payments", HANDLER, templates={"charge.yaml": WITH_EVENT})
    install("billing", PUBLISHER)
    assert doctor("payments/charge_order")[0] == 0
    code, text, data = doctor("billing.invoiced")
    assert (code, data["kind"]) == (0, "publisher")
    assert data["used_by"] == ["step 'charge' of payments/charge_order 1.0.0"]
    assert doctor("default")[1] == "publisher 'default' is available\n  the host itself gives it\n"
    off = "[plugins.billing]\nenabled = false\n"
    code, text, data = doctor("billing.invoiced", off)
    assert (code, data["kind"]) == (1, "publisher")
    assert "has it in acme_billing/__init__.py:6, and is disabled: [plugins.billing] enabled is false" in text
    code, text, _ = doctor("payments/charge_order", off)
    assert code == 1
    assert "no publisher named 'billing.invoiced' (event 'payments.charged')" in text
    assert "→ set [plugins.billing] enabled = true" in text
