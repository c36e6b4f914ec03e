"""From `handler.callable` of a template to a registered handler."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tasker_host import Handler, Resolver, StepHandler, step_handler
from tasker_host.domain.template import HandlerDefinition
from tasker_host.handlers.bound import BindError, BoundHandler, bind
from tasker_host.handlers.resolve import HandlerNames, PluginResolver


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


def find(name: str, **options: str) -> BoundHandler:
    return names().find(HandlerDefinition(callable=name, **options))


def problem(name: str, **options: str) -> str:
    with pytest.raises(BindError) as caught:
        find(name, **options)
    return str(caught.value)


def test_a_handler_is_found_by_its_name():
    assert find("payments.charge_card").name == "payments.charge_card"


def test_a_class_is_found_by_where_it_is():
    assert find(f"{__name__}.Refund").name == "payments.refund"


def test_a_method_of_it_is_found_too():
    assert find("payments.refund", method="partly").method == "partly"


def test_a_missing_name_suggests_one_and_its_owner():
    assert problem("payments.charge_crad") == (
        "no handler named 'payments.charge_crad'; did you mean 'payments.charge_card' from plugin 'payments'?"
    )
    assert problem(f"{__name__}.Refnud").endswith(f"; did you mean '{__name__}.Refund' from plugin 'payments'?")
    assert problem("zzz") == "no handler named 'zzz'"


def test_nothing_is_imported_for_a_dotted_name():
    assert "antigravity" not in sys.modules
    assert problem("antigravity.Flight") == (
        "no handler named 'antigravity.Flight'; if it is to be imported, allow its package:"
        ' [worker] handler_packages = ["antigravity"]'
    )
    assert "antigravity" not in sys.modules


def test_a_class_of_several_handlers_is_ambiguous():
    assert problem(f"{__name__}.Twice") == (
        f"several handlers are of class '{__name__}.Twice': 'one', 'two'; write one of these names"
    )


def test_a_resolver_keeps_it_to_one_way():
    assert find("payments.refund", resolver="explicit_mapping").name == "payments.refund"
    assert find(f"{__name__}.Refund", resolver="class_lookup").name == "payments.refund"
    assert problem("payments.refund", resolver="class_lookup").startswith("no handler named 'payments.refund'")
    assert problem(f"{__name__}.Refund", resolver="explicit_mapping").startswith("no handler named")


def test_an_unknown_resolver_is_named():
    assert problem("payments.refund", resolver="class_lokup") == (
        "no resolver named 'class_lokup'; did you mean 'class_lookup'?"
    )
    assert problem("payments.refund", resolver="registry") == (
        "no resolver named 'registry'; there are explicit_mapping, class_lookup"
    )


# Aliases --------------------------------------------------------------------------------------------------------------


class Renamed(StepHandler):
    handler_name = "orders.ship"
    handler_aliases = ("shipping.ship", "ship_order")

    def call(self, context):
        return "shipped"


@pytest.mark.parametrize("name", ["orders.ship", "shipping.ship", "ship_order", f"{__name__}.Renamed"])
def test_a_handler_is_found_by_every_name_it_had(name):
    found = HandlerNames(bind(Renamed, plugin="orders", settings=None)).find(HandlerDefinition(callable=name))
    assert found.call(None) == "shipped"


def test_functions_and_records_have_aliases_too():
    function = step_handler("a", aliases=("b",))(lambda: 1)
    handlers = [*bind(function, plugin="p", settings=None)]
    handlers += bind(Handler("c", lambda: 1, aliases=("d",)), plugin="p", settings=None)
    assert [(handler.name, handler.alias_of) for handler in handlers] == [("a", ""), ("b", "a"), ("c", ""), ("d", "c")]


@pytest.mark.parametrize("aliases", ["ab", ("",), ("a b",), (5,)])
def test_aliases_are_names(aliases):
    with pytest.raises(BindError, match="aliases must be a tuple of names"):
        bind(Handler("c", lambda: 1, aliases=aliases), plugin="p", settings=None)


# Resolvers of plugins -------------------------------------------------------------------------------------------------


def chain(*resolvers: Resolver, handlers: Any = (), packages: tuple[str, ...] = ()) -> HandlerNames:
    bound = [one for given in handlers for one in bind(given, plugin="p", settings=None)]
    return HandlerNames(bound, [PluginResolver(resolver, "catalogue") for resolver in resolvers], packages)


def found(names: HandlerNames, callable_: str, **more: Any) -> Any:
    """What the handler that is found returns."""
    return names.find(HandlerDefinition(callable=callable_, **more)).call(None)


def always(value: Any) -> Any:
    return lambda definition: lambda: value


def test_names_come_first_then_resolvers_by_priority_then_paths():
    names = chain(
        Resolver("late", always("late"), priority=80),
        Resolver("early", always("early"), priority=20),
        handlers=[Handler("known", lambda: "registered"), Refund],
    )
    assert names.resolvers() == [("explicit_mapping", 10), ("early", 20), ("late", 80), ("class_lookup", 100)]
    assert found(names, "known") == "registered"
    assert found(names, "anything") == "early"
    assert found(names, f"{__name__}.Refund") == "early"


def test_a_resolver_that_does_not_know_leaves_it_to_the_next():
    names = chain(Resolver("none", lambda definition: None), handlers=[Refund])
    assert found(names, f"{__name__}.Refund") == "call"


def test_the_template_may_name_the_only_one_to_ask():
    names = chain(
        Resolver("late", always("late"), priority=80),
        Resolver("early", always("early")),
        Resolver("none", lambda definition: None),
        handlers=[Handler("known", lambda: "registered")],
    )
    assert found(names, "known", resolver="late") == "late"
    with pytest.raises(BindError, match=r"^resolver 'none' knows no handler 'known'$"):
        found(names, "known", resolver="none")
    with pytest.raises(BindError, match=r"^no resolver named 'erly'; did you mean 'early'\?$"):
        found(names, "known", resolver="erly")


def test_a_resolver_sees_all_that_the_template_says():
    def by_region(definition):
        return lambda: (definition.callable, definition.initialization["region"])

    names = chain(Resolver("regions", by_region))
    assert found(names, "charge", initialization={"region": "eu"}) == ("charge", "eu")
    assert found(names, "charge", initialization={"region": "us"}) == ("charge", "us")


@pytest.mark.parametrize(
    "given",
    [Refund, Refund(), step_handler("x")(lambda: "call"), Handler("x", lambda: "call"), lambda: "call"],
    ids=["class", "instance", "decorated", "record", "function"],
)
def test_a_resolver_gives_whatever_is_a_handler(given):
    assert found(chain(Resolver("any", lambda definition: given)), "charge") == "call"


def test_the_method_is_called_of_what_was_resolved():
    names = chain(Resolver("any", lambda definition: Refund))
    assert found(names, "charge", method="partly") == "partly"
    with pytest.raises(BindError, match="has no method 'party'; did you mean 'partly'"):
        found(names, "charge", method="party")


def test_the_same_definition_is_resolved_once():
    asked = []
    names = chain(Resolver("counts", lambda definition: asked.append(definition.callable) or (lambda: 1)))
    for method in (None, None):
        names.find(HandlerDefinition(callable="a", method=method))
    names.find(HandlerDefinition(callable="b"))
    assert asked == ["a", "b"]
    assert [handler.name for handler in names] == ["a", "b"]


def test_what_a_resolver_does_wrong_is_told_with_its_owner():
    def broken(definition):
        raise OSError("no catalogue")

    for resolve, message in [
        (broken, "resolver 'r' of plugin 'catalogue' raised OSError for 'a': no catalogue"),
        (lambda definition: 5, "resolver 'r' of plugin 'catalogue': 5 is a int, not a handler"),
        (lambda definition: lambda amount: amount, "resolver 'r' of plugin 'catalogue': handler 'a' ("),
    ]:
        with pytest.raises(BindError) as caught:
            found(chain(Resolver("r", resolve)), "a")
        assert str(caught.value).startswith(message)


# Paths that are imported ----------------------------------------------------------------------------------------------

ORDERS = """
from os import system
from pathlib import Path
from elsewhere import Foreign
from tasker_host import Handler, StepHandler, step_handler

class Charge(StepHandler):
    def call(self, context):
        return "charged"

    def refund(self, context):
        return "refunded"

@step_handler("orders.pack", aliases=("pack",))
def pack():
    return "packed"

def drop_all_tables():
    return "dropped"

INSTANCE = Charge()
RECORD = Handler("orders.record", drop_all_tables)
"""


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A package `shop` with `handlers`, and one `elsewhere` beside it."""
    for file, text in {
        "shop/__init__.py": "",
        "shop/handlers/__init__.py": "",
        "shop/handlers/orders.py": ORDERS,
        "shop/handlers/broken.py": "raise RuntimeError('no licence')",
        "shop/handlers/needs.py": "import shop_not_there",
        "shop/private.py": ORDERS,
        "elsewhere.py": "from tasker_host import StepHandler\nclass Foreign(StepHandler):\n    def call(self, c): ...",
    }.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield chain(packages=("shop.handlers",))
    for name in [name for name in sys.modules if name.split(".")[0] in ("shop", "elsewhere")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("path", "value"),
    [("Charge", "charged"), ("pack", "packed"), ("INSTANCE", "charged"), ("RECORD", "dropped")],
)
def test_what_is_declared_in_a_package_that_is_allowed_is_imported(shop, path, value):
    assert found(shop, f"shop.handlers.orders.{path}") == value
    assert found(shop, f"shop.handlers.orders.{path}", resolver="class_lookup") == value


def test_a_method_of_what_was_imported(shop):
    assert found(shop, "shop.handlers.orders.Charge", method="refund") == "refunded"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("orders.drop_all_tables", "'shop.handlers.orders.drop_all_tables' is not declared as a handler"),
        ("orders.system", "'shop.handlers.orders.system' is of module 'posix', from which no handler may be imported"),
        ("orders.Foreign", "'shop.handlers.orders.Foreign' is of module 'elsewhere', from which no handler may be"),
        ("orders.StepHandler", "'shop.handlers.orders.StepHandler' is of module 'tasker_host.handlers.step', from"),
        ("orders.Chrage", "module 'shop.handlers.orders' has no handler 'Chrage'; did you mean 'Charge'?"),
        ("ordres.Charge", "no handler 'shop.handlers.ordres.Charge': there is no module 'shop.handlers.ordres'"),
        ("broken.X", "no handler 'shop.handlers.broken.X': importing 'shop.handlers.broken' raised RuntimeError: no"),
        ("needs.X", "no handler 'shop.handlers.needs.X': importing 'shop.handlers.needs' needs the module 'shop_not_t"),
    ],
)
def test_what_cannot_be_imported_is_told(shop, path, message):
    with pytest.raises(BindError) as caught:
        found(shop, f"shop.handlers.{path}")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("path", ["shop.private.Charge", "shop.handlersx.orders.Charge", "os.system"])
def test_nothing_else_is_imported(shop, path):
    with pytest.raises(BindError, match="no handler named"):
        found(shop, path)
    assert "shop" not in sys.modules
