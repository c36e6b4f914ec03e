"""What an exception means for its step."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

import tasker_host
from tasker_host import Classifier, Handler, PermanentError, RetryableError
from tasker_host.domain.result import Failed
from tasker_host.errors import HandlerError
from tasker_host.handlers.bound import bind
from tasker_host.handlers.classify import MOST_MESSAGE, MOST_TRACEBACK_BYTES, failed


class GatewayError(Exception):
    pass


class GatewayTimeoutError(GatewayError):
    pass


class CardDeclinedError(PermanentError):
    pass


class Order(BaseModel):
    quantity: int


def raised(error: BaseException) -> BaseException:
    """The same error after it was raised, with its traceback."""
    try:
        raise error
    except BaseException as caught:
        return caught


def classified(
    error: BaseException, *classifiers: Classifier, retry_on: tuple[type[BaseException], ...] = ()
) -> Failed:
    [handler] = bind(Handler("shop.charge", lambda: None, retry_on=retry_on), plugin="shop", settings=None)
    return failed(raised(error), handler, classifiers)


def invalid_order() -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Order.model_validate({"quantity": "x"})
    return caught.value


# Kinds ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "error_type", "retryable"),
    [
        (ValueError("bad"), "permanent_error", False),
        (TypeError("bad"), "permanent_error", False),
        (KeyError("bad"), "permanent_error", False),
        (AttributeError("bad"), "permanent_error", False),
        (IndexError("bad"), "permanent_error", False),
        (AssertionError("bad"), "permanent_error", False),
        (NameError("bad"), "permanent_error", False),
        (ImportError("bad"), "permanent_error", False),
        (NotImplementedError("bad"), "permanent_error", False),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "permanent_error", False),
        (invalid_order(), "validation_error", False),
        (TimeoutError("slow"), "timeout", True),
        (ConnectionResetError("gone"), "retryable_error", True),
        (OSError("disk"), "retryable_error", True),
        (RuntimeError("odd"), "handler_error", True),
        (ZeroDivisionError("odd"), "handler_error", True),
        (GatewayError("odd"), "handler_error", True),
        (asyncio.CancelledError(), "handler_error", True),
        (SystemExit(2), "handler_error", True),
        (HandlerError("no"), "handler_error", True),
        (RetryableError("later"), "retryable_error", True),
        (PermanentError("never"), "permanent_error", False),
        (CardDeclinedError("never"), "permanent_error", False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_the_kind_of_an_exception_decides(error, error_type, retryable):
    failure = classified(error)
    assert (failure.error_type, failure.retryable) == (error_type, retryable)
    assert failure.metadata["exception_type"] == type(error).__qualname__


def test_a_handlers_error_is_believed_in_everything():
    error = RetryableError("gateway busy", error_code="GW-503", retry_after=30, metadata={"gateway": "eu-1"})
    assert classified(error) == Failed(
        "gateway busy",
        "retryable_error",
        True,
        30.0,
        "GW-503",
        {"exception_type": "RetryableError", "gateway": "eu-1"},
    )


def test_an_error_may_name_its_own_type():
    class StockError(RetryableError):
        error_type = "out_of_stock"

    assert classified(StockError("none left")).error_type == "out_of_stock"


def test_an_error_with_an_init_of_its_own_is_told():
    class DeclinedError(PermanentError):
        def __init__(self, card: str) -> None:
            Exception.__init__(self, f"card {card} declined")

    failure = classified(DeclinedError("…42"))
    assert (failure.message, failure.retryable, failure.error_code) == ("card …42 declined", False, None)


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        (2, 2.0),
        (0.5, 0.5),
        (-1, 0.0),
        (timedelta(minutes=2), 120.0),
        ("30", 30.0),
        ("soon", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
        (True, None),
    ],
)
def test_only_a_wait_that_can_be_kept_is_kept(retry_after, seconds):
    assert classified(RetryableError("later", retry_after=retry_after)).retry_after_seconds == seconds


def test_an_attribute_of_somebody_elses_error_is_believed():
    class ApiError(ValueError):
        retryable = True

    assert (classified(ApiError("busy")).error_type, classified(ApiError("busy")).retryable) == (
        "retryable_error",
        True,
    )


# retry_on and classifiers ---------------------------------------------------------------------------------------------


def test_retry_on_is_tried_again_whatever_it_is():
    failure = classified(ValueError("not yet"), retry_on=(ValueError,))
    assert (failure.error_type, failure.retryable) == ("retryable_error", True)


def test_retry_on_does_not_outweigh_an_error_that_says_it_is_permanent():
    assert not classified(CardDeclinedError("no"), retry_on=(Exception,)).retryable


def test_a_classifier_decides_about_its_type_and_below():
    failure = classified(GatewayTimeoutError("slow"), Classifier(GatewayError, retryable=False))
    assert (failure.error_type, failure.retryable) == ("permanent_error", False)


def test_a_classifier_may_say_how_long_to_wait():
    failure = classified(GatewayError("slow"), Classifier(GatewayError, retryable=True, delay_seconds=12))
    assert (failure.error_type, failure.retry_after_seconds) == ("retryable_error", 12.0)


def test_the_most_specific_classifier_wins_then_the_first():
    classifiers = [
        Classifier(Exception, retryable=False),
        Classifier(GatewayTimeoutError, retryable=True, delay_seconds=1),
        Classifier(GatewayError, retryable=False),
        Classifier(GatewayTimeoutError, retryable=False, delay_seconds=2),
    ]
    assert classified(GatewayTimeoutError("slow"), *classifiers).retry_after_seconds == 1.0
    assert not classified(GatewayError("slow"), *classifiers).retryable


def test_retry_on_of_the_handler_comes_before_classifiers():
    failure = classified(GatewayError("x"), Classifier(GatewayError, retryable=False), retry_on=(GatewayError,))
    assert failure.retryable


def test_a_classifier_comes_before_the_kind():
    assert classified(KeyError("x"), Classifier(LookupError, retryable=True)).retryable


# Groups ---------------------------------------------------------------------------------------------------------------


def test_a_group_of_one_is_that_one():
    failure = classified(ExceptionGroup("tasks", [CardDeclinedError("no", error_code="C1")]))
    assert (failure.message, failure.retryable, failure.error_code) == ("no", False, "C1")


def test_one_that_forbids_another_attempt_decides_for_its_group():
    group = ExceptionGroup("tasks", [TimeoutError("slow"), ExceptionGroup("more", [ValueError("bad")])])
    failure = classified(group)
    assert (failure.message, failure.error_type, failure.retryable) == ("bad (and 1 more)", "permanent_error", False)


# Words ----------------------------------------------------------------------------------------------------------------


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("cannot speak")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("amount must be positive"), "amount must be positive"),
        (KeyError("amount"), "key 'amount' not found"),
        (TimeoutError(), "TimeoutError"),
        (SystemExit(3), "the handler called sys.exit(3)"),
        (SystemExit(), "the handler called sys.exit()"),
        (MuteError(), "MuteError (which cannot be shown)"),
        (ValueError("half \ud800 and nul \0"), "half \\ud800 and nul \\0"),
        (
            invalid_order(),
            "Order: quantity: Input should be a valid integer, unable to parse string as an integer",
        ),
    ],
    ids=["text", "key", "none", "exit", "exit without code", "mute", "not storable", "model"],
)
def test_the_message_can_be_read(error, message):
    assert classified(error).message == message


def test_a_long_message_is_cut():
    message = classified(ValueError("x" * 10_000)).message
    assert len(message) == MOST_MESSAGE
    assert message.endswith("x…")


def test_the_traceback_begins_with_the_plugins_code():
    def charge():
        return {}["amount"]

    [handler] = bind(Handler("shop.charge", charge), plugin="shop", settings=None)
    context: Any = None
    with pytest.raises(KeyError) as caught:
        handler.call(context)
    text = failed(caught.value, handler, ()).metadata["traceback"]
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.splitlines()[1].endswith("in charge")
    assert text.endswith("KeyError: 'amount'")


def test_a_deep_traceback_keeps_its_end():
    def fall(depth: int) -> None:
        if depth == 0:
            raise ValueError("bottom " + "é" * 5_000)
        fall(depth - 1)

    with pytest.raises(ValueError) as caught:
        fall(200)
    [handler] = bind(Handler("a", lambda: None), plugin="shop", settings=None)
    text = failed(caught.value, handler, ()).metadata["traceback"]
    assert MOST_TRACEBACK_BYTES - 4 <= len(text.encode()) <= MOST_TRACEBACK_BYTES
    assert text.endswith("é")


def test_twenty_frames_are_kept():
    def fall(depth: int) -> None:
        if depth == 0:
            raise ValueError("bottom")
        if depth % 2:
            fall(depth - 1)
        else:
            fall(depth - 1)

    with pytest.raises(ValueError) as caught:
        fall(200)
    [handler] = bind(Handler("a", lambda: None), plugin="shop", settings=None)
    assert failed(caught.value, handler, ()).metadata["traceback"].count("in fall") == 20


def test_an_error_said_on_purpose_has_a_traceback_only_when_something_caused_it():
    assert "traceback" not in classified(RetryableError("busy")).metadata
    error = RetryableError("busy")
    error.__cause__ = ConnectionResetError("reset by peer")
    assert "ConnectionResetError: reset by peer" in classified(error).metadata["traceback"]


@pytest.mark.parametrize(
    ("name", "error_type", "retryable"),
    [
        ("StepTimeoutError", "timeout", True),
        ("NetworkError", "retryable_error", True),
        ("RateLimitError", "retryable_error", True),
        ("ServiceUnavailableError", "retryable_error", True),
        ("ResourceContentionError", "retryable_error", True),
        ("StepValidationError", "validation_error", False),
        ("NotFoundError", "permanent_error", False),
        ("AuthenticationError", "permanent_error", False),
        ("AuthorizationError", "permanent_error", False),
        ("ConfigurationError", "permanent_error", False),
        ("BusinessLogicError", "permanent_error", False),
    ],
)
def test_more_precise_errors_say_of_themselves_what_they_are(name, error_type, retryable):
    error = getattr(tasker_host, name)("no", retry_after=5, error_code="X_1", metadata={"a": 1})
    told = classified(error)
    assert (told.error_type, told.retryable, told.error_code) == (error_type, retryable, "X_1")
    assert (told.retry_after_seconds, told.metadata["a"]) == (5.0, 1)


def test_an_error_may_say_its_type():
    class OutOfStock(PermanentError):
        error_type = "out_of_stock"

    assert classified(OutOfStock("none left")).error_type == "out_of_stock"
    assert classified(PermanentError("none left", error_type="sold_out")).error_type == "sold_out"
