"""What a handler's parameters are given, in both styles and by every way of asking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field

from tasker_host import From, Handler, Input, StepContext, StepHandler, depends_on, inputs, step_handler
from tasker_host.errors import PermanentError
from tasker_host.handlers.bound import BindError, BoundHandler, bind

if TYPE_CHECKING:
    from decimal import Decimal


class Line(BaseModel):
    sku: str
    quantity: int = 1


class Order(BaseModel):
    order_id: str
    lines: list[Line] = []
    note: str = "none"


class Quote(BaseModel):
    total_cents: int


@dataclass
class Parcel:
    weight_grams: int


class Settings(BaseModel):
    currency: str = "EUR"


def context(data: dict[str, Any] | None = None, dependencies: dict[str, Any] | None = None) -> StepContext:
    return StepContext(
        task_uuid=UUID(int=1),
        step_uuid=UUID(int=2),
        correlation_id=UUID(int=3),
        namespace="shop",
        template_name="order",
        template_version="1.0.0",
        step_name="charge",
        handler_name="shop.charge",
        input=data or {},
        dependencies=dependencies or {},
    )


def bound(given: object, settings: BaseModel | None = None) -> BoundHandler:
    [handler] = bind(given, plugin="shop", settings=settings)
    return handler


def run(function: Any, data: dict[str, Any] | None = None, *, settings: BaseModel | None = None, **steps: Any) -> Any:
    return bound(Handler("shop.charge", function), settings).call(context(data, steps))


def faults(function: Any, settings: BaseModel | None = None) -> list[str]:
    """What is wrong, without the handler's name before it."""
    with pytest.raises(BindError) as caught:
        bound(step_handler("shop.charge")(function), settings)
    start = f"handler 'shop.charge' ({function.__module__}.{function.__qualname__}): "
    assert all(problem.startswith(start) for problem in caught.value.problems)
    return [problem.removeprefix(start) for problem in caught.value.problems]


def refusal(function: Any, data: dict[str, Any] | None = None, **steps: Any) -> PermanentError:
    with pytest.raises(PermanentError) as caught:
        run(function, data, **steps)
    return caught.value


# The input ------------------------------------------------------------------------------------------------------------


def test_the_whole_input_is_validated_as_a_model():
    def charge(order: Annotated[Order, Input()]):
        return order

    order = run(charge, {"order_id": "A1", "lines": [{"sku": "W", "quantity": 2}]})
    assert order == Order(order_id="A1", lines=[Line(sku="W", quantity=2)])


def test_defaults_of_the_model_survive():
    def charge(order: Annotated[Order, Input()]):
        return order.note, order.lines

    assert run(charge, {"order_id": "A1"}) == ("none", [])


def test_input_without_parentheses_means_the_same():
    def charge(order: Annotated[Order, Input]):
        return order.order_id

    assert run(charge, {"order_id": "A1"}) == "A1"


def test_one_field_of_the_input():
    def square(n: Annotated[int, Input("even_number")]):
        return n * n

    assert run(square, {"even_number": 6}) == 36


def test_constraints_beside_the_marker_hold():
    def square(n: Annotated[int, Field(ge=2), Input("even_number")]):
        return n * n

    assert run(square, {"even_number": 2}) == 4
    assert str(refusal(square, {"even_number": 1})) == ("input even_number: must be greater than or equal to 2 (got 1)")


def test_a_field_that_is_absent_has_the_parameters_default():
    def greet(name: Annotated[str, Input("name")] = "you"):
        return name

    assert run(greet) == "you"
    assert run(greet, {"name": "Ada"}) == "Ada"


def test_a_null_is_a_value_and_no_absence():
    def greet(name: Annotated[str | None, Input("name")] = "you"):
        return name

    assert run(greet, {"name": None}) is None


def test_the_input_as_it_came():
    def echo(data: Annotated[dict[str, Any], Input()], same: Annotated[Any, Input()]):
        return data, same

    assert run(echo, {"a": [1]}) == ({"a": [1]}, {"a": [1]})


def test_missing_input_names_the_field():
    def square(n: Annotated[int, Input("even_number")]):
        return n

    error = refusal(square, {"even_numbre": 6})
    assert str(error) == "input even_number: is required; did you mean 'even_numbre'?"
    assert error.error_code == "INPUT_INVALID"
    assert error.metadata == {
        "problems": [{"field": "even_number", "message": "is required; did you mean 'even_numbre'?"}]
    }


def test_invalid_input_names_every_field():
    def charge(order: Annotated[Order, Input()]):
        return order

    error = refusal(charge, {"lines": [{"sku": "W", "quantity": "two"}]})
    assert str(error) == ("input order_id: is required; input lines[0].quantity: must be a whole number (got 'two')")


def test_many_problems_are_counted():
    def charge(lines: Annotated[list[Line], Input("lines")]):
        return lines

    error = refusal(charge, {"lines": [{}] * 12})
    assert str(error).endswith("input lines[9].sku: is required; and 2 more")
    assert len(error.metadata["problems"]) == 12


def test_a_model_that_forbids_more_is_obeyed():
    class Strict(BaseModel):
        model_config = ConfigDict(extra="forbid")
        amount: int

    def charge(order):
        return order

    charge.__annotations__["order"] = Annotated[Strict, Input()]
    assert str(refusal(charge, {"amount": 1, "amout": 2})) == ("input amout: unknown key; did you mean 'amount'?")


# Values of steps ------------------------------------------------------------------------------------------------------


def test_the_value_of_a_step_is_validated():
    def charge(quote: Annotated[Quote, From("price_order")]):
        return quote

    assert run(charge, price_order={"total_cents": 1250}) == Quote(total_cents=1250)


def test_a_dataclass_is_made_of_a_value_too():
    def ship(parcel: Annotated[Parcel, From("pack")]):
        return parcel

    assert run(ship, pack={"weight_grams": 700}) == Parcel(weight_grams=700)


@pytest.mark.parametrize("value", [0, False, "", None, [], {"result": 3}, 12345678901234567890])
def test_a_value_keeps_its_shape(value):
    def take(given: Annotated[Any, From("before")]):
        return given

    assert run(take, before=value) is value


def test_a_missing_value_names_the_step():
    def charge(quote: Annotated[Quote, From("price_order")]):
        return quote

    error = refusal(charge, price_orders={"total_cents": 1})
    assert str(error) == (
        "no value of step 'price_order', which handler 'shop.charge' needs: it is not among the steps before 'charge', "
        "or was not run; did you mean 'price_orders'?"
    )
    assert (error.error_code, error.metadata) == ("DEPENDENCY_MISSING", {"step": "price_order"})


def test_a_step_that_need_not_have_run_has_a_default():
    def finish(approval: Annotated[Any, From("approve")] = None):
        return approval

    assert run(finish) is None


def test_an_invalid_value_names_step_and_field():
    def charge(quote: Annotated[Quote, From("price_order")]):
        return quote

    error = refusal(charge, price_order={"total_cents": 1.5})
    assert str(error) == "value of step 'price_order' total_cents: must be a whole number (got 1.5)"


# Context and settings -------------------------------------------------------------------------------------------------


def test_a_handler_of_nothing_but_the_context_is_called_as_it_is():
    def charge(context: StepContext):
        return context.step_name

    handler = bound(step_handler("shop.charge")(charge))
    assert handler.call is charge
    assert handler.call(context()) == "charge"


@pytest.mark.parametrize("name", ["context", "_context"])
def test_the_context_is_known_by_its_name(name):
    namespace: dict[str, Any] = {}
    exec(f"def charge({name}): return {name}.step_name", namespace)
    assert run(namespace["charge"]) == "charge"


def test_the_context_is_known_by_its_type():
    def charge(step: StepContext, n: Annotated[int, Input("n")]):
        return step.step_name, n

    assert run(charge, {"n": 1}) == ("charge", 1)


def test_settings_are_known_by_their_type():
    def charge(settings: Settings, amount: Annotated[int, Input("amount")]):
        return f"{amount} {settings.currency}"

    assert run(charge, {"amount": 5}, settings=Settings(currency="CHF")) == "5 CHF"


def test_a_parameter_with_a_default_may_be_left_alone():
    def charge(context: StepContext, round_to: int = 2):
        return round_to

    assert run(charge) == 2


def test_a_handler_of_nothing_needs_nothing():
    assert run(lambda: 7) == 7


# Decorators -----------------------------------------------------------------------------------------------------------


def by_keys(even_number, context):
    return even_number, context.step_name


def test_inputs_gives_fields_by_name():
    assert run(inputs("even_number")(by_keys), {"even_number": 6}) == (6, "charge")


def test_inputs_validates_where_a_type_is_written():
    @inputs("even_number")
    def square(even_number: int):
        return even_number

    assert str(refusal(square, {"even_number": "six"})) == ("input even_number: must be a whole number (got 'six')")


@pytest.mark.parametrize("name", ["inputs", "order"])
def test_inputs_gives_a_model(name):
    namespace: dict[str, Any] = {"Order": Order}
    exec(f"def charge({name}: Order): return {name}.order_id", namespace)
    assert run(inputs(Order)(namespace["charge"]), {"order_id": "A1"}) == "A1"


def test_inputs_gives_a_model_to_a_parameter_without_type():
    def charge(inputs):
        return inputs

    assert run(inputs(Order)(charge), {"order_id": "A1"}) == Order(order_id="A1")


def test_depends_on_gives_values_as_they_are():
    @depends_on(before="step_1")
    def add(before):
        return before

    assert run(add, step_1={"result": 5}) == {"result": 5}


def test_depends_on_validates_as_a_model():
    @depends_on(quote=("price_order", Quote))
    def charge(quote):
        return quote

    assert run(charge, price_order={"total_cents": 3}) == Quote(total_cents=3)


def test_depends_on_validates_where_a_type_is_written():
    @depends_on(quote="price_order")
    def charge(quote: Quote):
        return quote

    assert run(charge, price_order={"total_cents": 3}) == Quote(total_cents=3)


def test_values_without_a_parameter_of_their_own_go_where_any_are_taken():
    @inputs("a")
    @depends_on(b="step_b")
    def add(context, **others):
        return others

    assert run(add, {"a": 1}, step_b=2) == {"a": 1, "b": 2}


DECORATORS = [step_handler("math.add"), inputs("a"), depends_on(b="step_b")]


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_decorators_stand_in_any_order(order):
    def add(a: int, b: int):
        return a + b

    decorated = add
    for index in order:
        decorated = DECORATORS[index](decorated)
    assert decorated is add
    [handler] = bind(decorated, plugin="math", settings=None)
    assert (handler.name, handler.call(context({"a": 1}, {"step_b": 2}))) == ("math.add", 3)


def test_a_decorated_function_is_still_called_directly():
    @step_handler("math.add")
    @inputs("a")
    def add(a, b=2):
        return a + b

    assert add(1) == 3


# Class style ----------------------------------------------------------------------------------------------------------


def test_a_method_has_the_context_whatever_it_is_called():
    class Charge(StepHandler):
        handler_name = "shop.charge"

        def call(self, ctx):
            return ctx.step_name

    assert bound(Charge).call(context()) == "charge"


def test_a_method_is_injected_like_a_function():
    class Charge(StepHandler):
        handler_name = "shop.charge"

        @depends_on(quote="price_order")
        def call(self, context, quote: Quote, order: Annotated[Order, Input()], settings: Settings):
            return order.order_id, quote.total_cents, settings.currency

    handler = bound(Charge, Settings())
    assert handler.call(context({"order_id": "A1"}, {"price_order": {"total_cents": 9}})) == ("A1", 9, "EUR")


def test_a_class_is_given_the_settings_when_it_is_made():
    class Charge(StepHandler):
        def __init__(self, settings: Settings):
            self.currency = settings.currency

        def call(self, context):
            return self.currency

    assert bound(Charge, Settings(currency="JPY")).call(context()) == "JPY"


# What registration shows ----------------------------------------------------------------------------------------------


def test_what_is_injected_is_told():
    def charge(
        order: Annotated[Order, Input()],
        n: Annotated[int, Input("n")],
        quote: Annotated[Quote | None, From("price_order")],
        settings: Settings,
        context: StepContext,
        *,
        tip: Annotated[Any, Input("tip")] = 0,
    ):
        return None

    handler = bound(step_handler("shop.charge")(charge), Settings())
    assert [str(injected) for injected in handler.injected] == [
        "order: Order ← the whole input",
        "n: int ← input n",
        f"quote: {Quote.__module__}.Quote | None ← value of step price_order",
        "settings: Settings ← settings",
        "context ← context",
        "tip ← input tip (optional)",
    ]


# Faults at the start --------------------------------------------------------------------------------------------------


def test_a_parameter_without_a_source_is_a_fault():
    def charge(amount):
        return amount

    assert faults(charge) == [
        "nothing to give to parameter 'amount': write Annotated[…, Input(\"amount\")] for a field of the input, or "
        'Annotated[…, From("step")] for the value of a step'
    ]


@pytest.mark.parametrize("name", ["ctx", "contxt"])
def test_a_misspelt_context_is_a_fault(name):
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(f"def charge({name}): return 1", namespace)
    assert faults(namespace["charge"])[0].endswith("; did you mean 'context'?")


def test_a_model_without_a_source_is_a_fault():
    def charge(order: Order):
        return order

    said = 'write Annotated[Order, Input()] for the input, or Annotated[Order, From("step")]'
    start = "nothing to give to parameter 'order' of type Order"
    assert faults(charge) == [f"{start} (the plugin has no settings): {said}"]
    assert faults(charge, Settings()) == [f"{start} (the plugin has settings of type Settings): {said}"]


def test_a_scalar_cannot_be_the_whole_input():
    def square(n: Annotated[int, Input()]):
        return n

    assert faults(square) == [
        "parameter 'n' of type int cannot be the whole input, which is an object; write Input(\"n\") for the field"
    ]


def test_a_field_that_no_parameter_takes_is_a_fault():
    def square(even_number):
        return even_number

    assert faults(inputs("even_number", "even_numbr")(square)) == [
        "@inputs(\"even_numbr\") is for a parameter 'even_numbr', which the function has not"
        "; did you mean 'even_number'?"
    ]


def test_a_step_that_no_parameter_takes_is_a_fault():
    def charge(context):
        return None

    assert faults(depends_on(quote="price_order")(charge)) == [
        "@depends_on(quote=…) is for a parameter 'quote', which the function has not"
    ]


def test_two_sources_of_one_parameter_are_a_fault():
    def charge(a: Annotated[int, Input("a")]):
        return a

    assert faults(inputs("a")(charge)) == ["parameter 'a' is given a value twice; keep one of its sources"]


def test_two_decorators_for_one_parameter_are_a_fault():
    def charge(a):
        return a

    assert faults(inputs("a")(depends_on(a="step")(charge))) == [
        "parameter 'a' is given a value twice: by @inputs(\"a\"), @depends_on(a=…)"
    ]


def test_a_key_that_is_no_name_is_a_fault():
    def charge(context):
        return None

    assert faults(inputs("order-id")(charge)) == [
        '@inputs("order-id") is no name of a parameter; write Annotated[…, Input("order-id")] instead'
    ]


def test_inputs_of_something_else_is_a_fault():
    def charge(context):
        return None

    assert faults(inputs(5)(charge)) == ["@inputs(5): give names of fields, or one model class"]


@pytest.mark.parametrize(("value", "shown"), [(Quote, "Quote"), ("", ""), (("price_order",), "('price_order',)")])
def test_depends_on_something_else_than_a_step_is_a_fault(value, shown):
    def charge(quote):
        return quote

    assert faults(depends_on(quote=value)(charge))[0] == (
        f'@depends_on(quote={shown}): give the name of a step, or (name, Model): @depends_on(quote="price_order")'
    )


def test_from_needs_a_step():
    def charge(quote: Annotated[Quote, From]):
        return quote

    assert faults(charge) == ['From needs the name of a step: From("price_order")']


def test_a_marker_as_a_default_is_a_fault():
    def charge(order: Order = Input()):  # noqa: B008 - the fault
        return order

    assert faults(charge) == [
        "parameter 'order' has Input(key=None) as its default; write Annotated[…, Input(key=None)]"
    ]


def test_a_marker_inside_the_type_is_a_fault():
    def charge(order: Annotated[Order, Input()] | None = None):
        return order

    assert faults(charge) == ["parameter 'order' has Input or From inside its type; put Annotated around the whole"]


def test_a_name_known_to_type_checkers_only_is_a_fault():
    def charge(price: Annotated[Decimal, Input("price")]):
        return price

    assert faults(charge) == [
        "the annotation of parameter 'price' cannot be read (NameError: name 'Decimal' is not defined); import its "
        "names at the top of the module, outside TYPE_CHECKING"
    ]


def test_the_context_may_be_known_to_type_checkers_only():
    namespace: dict[str, Any] = {"__name__": __name__}
    exec("def charge(context: Unknown, other: host.StepContext): return context is other", namespace)
    assert run(namespace["charge"]) is True


def test_what_pydantic_cannot_check_is_a_fault():
    class Opaque:
        pass

    def charge(thing):
        return thing

    charge.__annotations__["thing"] = Annotated[Opaque, Input("thing")]
    [problem] = faults(charge)
    assert problem.startswith("parameter 'thing': values cannot be checked as Opaque: Unable to generate")


def test_a_positional_only_parameter_is_a_fault():
    def charge(amount: Annotated[int, Input("amount")], /):
        return amount

    assert faults(charge) == ["parameter 'amount' is positional-only, but values are given by name; remove the '/'"]


def test_the_context_alone_may_be_positional_only():
    def charge(context, /):
        return context.step_name

    assert run(charge) == "charge"


def test_everything_wrong_is_told_at_once():
    def charge(amount, tip):
        return amount + tip

    assert len(faults(charge)) == 2


def test_a_class_that_wants_more_than_settings_is_a_fault():
    class Charge(StepHandler):
        def __init__(self, order: Annotated[Order, Input()]):
            self.order = order

        def call(self, context):
            return None

    with pytest.raises(BindError, match="can be given settings only, not order"):
        bound(Charge)


def test_a_handler_record_is_injected_too():
    record = Handler("math.square", inputs("n")(lambda n: n * n))
    assert bound(record).call(context({"n": 3})) == 9
