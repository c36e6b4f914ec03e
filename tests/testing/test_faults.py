"""What `check` says of a plugin is what `tasker plugin check` would print."""

from __future__ import annotations

from pydantic import BaseModel

from tasker_host import step_handler
from tasker_host.testing import check
from tests.support import chain, plugin


@step_handler("shop.price")
def price() -> int:
    return 1


def test_a_plugin_that_is_right_has_none():
    assert check(plugin([price], [chain("t", "shop.price")])) == []


def test_a_plugin_of_a_package_is_checked_by_its_name():
    assert check("tasker_examples.plugin") == []


def test_every_fault_of_a_hook_is_there():
    faults = check(plugin([lambda: None, "text"]))
    assert len(faults) == 2
    assert all("collect · tasker_handlers" in str(fault) for fault in faults)


def test_a_step_without_a_handler_is_there_with_a_suggestion():
    (problem,) = check(plugin([price], [chain("t", "shop.pirce")]))
    assert "did you mean 'shop.price'" in str(problem)


def test_settings_that_do_not_fit_are_there():
    class Shop(BaseModel):
        retries: int

    module = plugin([price], tasker_settings=lambda: Shop)
    assert check(module, settings={"retries": 3}) == []
    (fault,) = check(module, settings={"retries": "soon"})
    assert "retries" in str(fault)
    assert "'soon'" in str(fault)


def test_a_module_that_cannot_be_imported_is_a_fault_too():
    (fault,) = check("tasker_that_is_not_there.plugin")
    assert str(fault).startswith("import · ")
    assert "tasker_that_is_not_there" in str(fault)
