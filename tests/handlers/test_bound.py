"""Whatever style a handler is written in, it becomes one callable of the step's context."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import pytest
from pydantic import BaseModel

from tasker_host import ApiHandler, DecisionHandler, Failed, Handler, StepContext, StepHandler, Succeeded, step_handler
from tasker_host.handlers.bound import BindError, BoundHandler, bind


class GatewayTimeoutError(Exception):
    pass


class Receipt(BaseModel):
    amount: int


def bound(given: object) -> BoundHandler:
    [handler] = bind(given, plugin="shop", settings=None)
    return handler


def problems(given: object) -> list[str]:
    with pytest.raises(BindError) as caught:
        bind(given, plugin="shop", settings=None)
    return list(caught.value.problems)


class Refund(StepHandler):
    handler_name = "shop.refund"
    handler_version = "2.1.0"
    retry_on = (GatewayTimeoutError,)
    rate = 10

    def call(self, context):
        return self.success({"refunded": True}, {"by": "call"})

    async def approve(self, context):
        return "approved"

    def reject(self, context, reason="none"):
        return self.failure("rejected", "business_error", retryable=False, error_code="REJECTED")

    def explain(self, amount):
        return amount


CONTEXT: Any = None
"""These handlers do not look at it."""


# Both styles ----------------------------------------------------------------------------------------------------------


def test_a_function_keeps_what_its_decorator_says():
    @step_handler("shop.charge", version="1.2.0", retry_on=(GatewayTimeoutError,))
    async def charge(context: StepContext):
        return 1

    handler = bound(charge)
    assert (handler.name, handler.version, handler.plugin) == ("shop.charge", "1.2.0", "shop")
    assert (handler.is_async, handler.runs_in, handler.retry_on) == (True, "loop", (GatewayTimeoutError,))
    assert handler.path == f"{__name__}.test_a_function_keeps_what_its_decorator_says.<locals>.charge"
    assert not handler.is_class


def test_a_class_keeps_what_its_attributes_say():
    handler = bound(Refund)
    assert (handler.name, handler.version, handler.plugin) == ("shop.refund", "2.1.0", "shop")
    assert (handler.is_async, handler.runs_in, handler.retry_on) == (False, "thread", (GatewayTimeoutError,))
    assert (handler.path, handler.is_class) == (f"{__name__}.Refund", True)


def test_a_class_without_a_name_has_that_of_the_class():
    class Charge(StepHandler):
        def call(self, context):
            return None

    assert (bound(Charge).name, bound(Charge).version) == ("Charge", "1.0.0")


def test_an_instance_is_taken_as_it_is():
    refund = Refund()
    refund.rate = 99
    handler = bound(refund)
    assert inspect.ismethod(handler.call)
    assert handler.call.__self__ is refund


def test_a_record_names_what_cannot_be_decorated():
    handler = bound(Handler("math.scale", functools.partial(lambda factor, context: factor * 2, 3), version="3.0.0"))
    assert (handler.name, handler.version, handler.call(CONTEXT)) == ("math.scale", "3.0.0", 6)


def test_two_decorators_are_two_names():
    @step_handler("shop.pay")
    @step_handler("shop.charge", version="2.0.0")
    def charge(context):
        return None

    assert [(handler.name, handler.version) for handler in bind(charge, plugin="shop", settings=None)] == [
        ("shop.charge", "2.0.0"),
        ("shop.pay", "1.0.0"),
    ]


# Where it runs --------------------------------------------------------------------------------------------------------


def test_a_sync_function_runs_in_a_thread_unless_it_says_otherwise():
    def compute(context):
        return 1

    assert bound(Handler("a", compute)).runs_in == "thread"
    assert bound(Handler("a", compute, runs_in="loop")).runs_in == "loop"


async def test_a_plain_function_around_an_async_one_is_async():
    async def charge(context):
        return 5

    @functools.wraps(charge)
    def measured(context):
        return charge(context)

    handler = bound(Handler("a", measured))
    assert handler.is_async
    assert await handler.call(CONTEXT) == 5


async def test_an_object_that_is_called_may_be_async():
    class Charge:
        async def __call__(self, context: StepContext):
            return 5

    handler = bound(Handler("a", Charge()))
    assert handler.is_async
    assert await handler.call(CONTEXT) == 5


def test_an_async_function_does_not_run_in_a_thread():
    async def charge(context):
        return 5

    assert problems(Handler("a", charge, runs_in="thread"))[0].endswith(
        "runs_in is 'thread', but it is an async function, which runs on the event loop"
    )


# What it returns ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [None, 0, "text", {"result": 1}, [1], Receipt(amount=1), Succeeded(5), Failed("no", retryable=False)]
)
def test_what_a_handler_returns_is_passed_on_as_it_is(value):
    assert bound(Handler("a", lambda: value)).call(CONTEXT) is value


def test_success_and_failure_in_class_style():
    handler = bound(Refund)
    assert handler.call(CONTEXT) == Succeeded({"refunded": True}, {"by": "call"})
    assert handler.for_method("reject").call(CONTEXT) == Failed(
        "rejected", "business_error", retryable=False, error_code="REJECTED"
    )


def test_success_without_a_value_is_none():
    assert Refund().success() == Succeeded(None)


# Methods --------------------------------------------------------------------------------------------------------------


async def test_a_template_may_name_a_method():
    handler = bound(Refund).for_method("approve")
    assert (handler.name, handler.method, handler.is_async, handler.runs_in) == ("shop.refund", "approve", True, "loop")
    assert await handler.call(CONTEXT) == "approved"


@pytest.mark.parametrize("method", [None, "call"])
def test_no_method_means_call(method):
    handler = bound(Refund)
    assert handler.for_method(method) is handler
    assert handler.for_method("approve").for_method("call").call(CONTEXT) == Succeeded(
        {"refunded": True}, {"by": "call"}
    )


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("aprove", "has no method 'aprove'; did you mean 'approve'?"),
        ("zzz", "has no method 'zzz'; it has approve, call, explain, reject"),
        ("rate", "has no method 'rate'; it has approve, call, explain, reject"),
        ("success", "has no method 'success'; it has approve, call, explain, reject"),
        ("__init__", "has no method '__init__'; it has approve, call, explain, reject"),
    ],
)
def test_a_method_that_is_not_there_is_named(method, message):
    with pytest.raises(BindError) as caught:
        bound(Refund).for_method(method)
    assert str(caught.value) == f"handler 'shop.refund' ({__name__}.Refund) {message}"


def test_a_method_is_resolved_like_a_handler():
    class Pay(StepHandler):
        handler_name = "shop.pay"

        def call(self, context):
            return None

        def give(self, amount, tip):
            return amount

    with pytest.raises(BindError) as caught:
        bound(Pay).for_method("give")
    assert len(caught.value.problems) == 2
    assert ".Pay, method give): nothing to give to parameter 'amount'" in caught.value.problems[0]


def test_a_function_has_no_methods():
    with pytest.raises(BindError, match=r"is a function and has no method 'refund'; remove 'method'"):
        bound(Handler("a", lambda: 1)).for_method("refund")


# What is no handler ---------------------------------------------------------------------------------------------------


def undecorated(context):
    return None


class NotOne:
    def call(self, context):
        return None


class Unfinished(StepHandler):
    handler_name = "shop.unfinished"


class Broken(StepHandler):
    def __init__(self):
        raise RuntimeError("no gateway")

    def call(self, context):
        return None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (undecorated, f'function {__name__}.undecorated is not decorated; put @step_handler("…") on it'),
        (NotOne, f"class {__name__}.NotOne is not a handler; derive it from StepHandler"),
        (
            "shop.charge",
            "'shop.charge' is a str, not a handler; give step_handler functions, StepHandler classes or instances, or "
            "Handler records",
        ),
        (
            Unfinished,
            f"handler class {__name__}.Unfinished has no method call; write def call(self, context)",
        ),
        (Broken, f"handler class {__name__}.Broken: making it raised RuntimeError: no gateway"),
        (
            Handler("shop.x", Refund),
            f"handler 'shop.x' ({__name__}.Refund): {__name__}.Refund is a class; derive it from StepHandler and give "
            "the class itself",
        ),
    ],
)
def test_what_is_no_handler_is_told(given, message):
    assert problems(given) == [message]


def handler_of(**options: Any) -> Handler:
    return Handler(**{"name": "shop.x", "call": undecorated} | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": ""}, "the name must be text of 1 to 500 characters without spaces (got '')"),
        ({"name": "a b"}, "the name must be text of 1 to 500 characters without spaces (got 'a b')"),
        ({"name": 5}, "the name must be text of 1 to 500 characters without spaces (got 5)"),
        ({"version": 1.0}, "the version must be text like '1.0.0' (got 1.0)"),
        ({"runs_in": ""}, "runs_in must be 'loop', or the name of an executor like 'thread' (got '')"),
        ({"runs_in": 5}, "runs_in must be 'loop', or the name of an executor like 'thread' (got 5)"),
        ({"retry_on": ("x",)}, "retry_on must be exception classes (got ('x',))"),
        ({"call": 5}, "5 cannot be called"),
    ],
)
def test_wrong_options_are_told(options, message):
    [problem] = problems(handler_of(**options))
    assert problem.endswith(f": {message}")


def test_one_exception_class_need_not_be_in_a_tuple():
    assert bound(handler_of(retry_on=GatewayTimeoutError)).retry_on == (GatewayTimeoutError,)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "objekt"}, "config_schema is itself not valid: 'objekt' is not valid under any of the given schemas"),
        (5, "preparing it raised TypeError: 'int' object is not iterable"),
    ],
)
def test_a_schema_of_the_configuration_must_be_one(schema, message):
    class Configured(StepHandler):
        def config_schema(self):
            return schema

        def call(self, context):
            return None

    [problem] = problems(Configured)
    assert problem.endswith(message)


def test_a_handler_says_what_it_can_do():
    assert Refund.capabilities == ("process",)
    assert DecisionHandler.capabilities == ("process", "decision", "routing")
    assert ApiHandler.capabilities == ("process", "http", "api")


def test_a_generator_is_no_handler():
    def charge(context):
        yield 1

    assert problems(Handler("a", charge))[0].endswith("it yields; a handler returns its value")


def test_the_decorator_without_a_name_is_told_at_once():
    with pytest.raises(TypeError, match="@step_handler needs a name"):

        @step_handler
        def charge(context):
            return None
