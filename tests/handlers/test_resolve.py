"""From `handler.callable` of a template to a registered handler."""

from __future__ import annotations

import sys

import pytest

from tasker_host import Handler, StepHandler
from tasker_host.handlers.bound import BindError, bind
from tasker_host.handlers.resolve import HandlerNames


class Refund(StepHandler):
    handler_name = "payments.refund"

    def call(self, context):
        return "call"

    def partly(self, context):
        return "partly"


class Twice(StepHandler):
    def __init__(self, name: str = "") -> None:
        self.handler_name = name  # type: ignore[misc]

    def call(self, context):
        return None


def names() -> HandlerNames:
    charge = bind(Handler("payments.charge_card", lambda: None), plugin="payments", settings=None)
    refund = bind(Refund, plugin="payments", settings=None)
    twice = [bind(Twice(name), plugin="more", settings=None)[0] for name in ("one", "two")]
    return HandlerNames([*charge, *refund, *twice])


def problem(name: str, **options: str) -> str:
    with pytest.raises(BindError) as caught:
        names().find(name, **options)
    return str(caught.value)


def test_a_handler_is_found_by_its_name():
    assert names().find("payments.charge_card").name == "payments.charge_card"


def test_a_class_is_found_by_where_it_is():
    assert names().find(f"{__name__}.Refund").name == "payments.refund"


def test_a_method_of_it_is_found_too():
    assert names().find("payments.refund", method="partly").method == "partly"


def test_a_missing_name_suggests_one_and_its_owner():
    assert problem("payments.charge_crad") == (
        "no handler named 'payments.charge_crad'; did you mean 'payments.charge_card' from plugin 'payments'?"
    )
    assert problem(f"{__name__}.Refnud").endswith(f"; did you mean '{__name__}.Refund' from plugin 'payments'?")
    assert problem("zzz") == "no handler named 'zzz'"


def test_nothing_is_imported_for_a_dotted_name():
    assert "antigravity" not in sys.modules
    assert problem("antigravity.Flight") == "no handler named 'antigravity.Flight'"
    assert "antigravity" not in sys.modules


def test_a_class_of_several_handlers_is_ambiguous():
    assert problem(f"{__name__}.Twice") == (
        f"several handlers are of class '{__name__}.Twice': 'one', 'two'; write one of these names"
    )


def test_a_resolver_keeps_it_to_one_way():
    assert names().find("payments.refund", resolver="explicit_mapping").name == "payments.refund"
    assert names().find(f"{__name__}.Refund", resolver="class_lookup").name == "payments.refund"
    assert problem("payments.refund", resolver="class_lookup").startswith("no handler named 'payments.refund'")
    assert problem(f"{__name__}.Refund", resolver="explicit_mapping").startswith("no handler named")


def test_an_unknown_resolver_is_named():
    assert problem("payments.refund", resolver="class_lokup") == (
        "no resolver named 'class_lokup'; did you mean 'class_lookup'?"
    )
    assert problem("payments.refund", resolver="registry") == (
        "no resolver named 'registry'; there are explicit_mapping, class_lookup"
    )
