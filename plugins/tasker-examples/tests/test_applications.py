"""Whole applications: a shop, a pipeline, a registration, and two teams whose workflows have the same name."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest
from tasker_host.errors import HandlerError
from tasker_host.testing import TaskRun, run_task_async

from tasker_examples import plugin
from tasker_examples.refunds.tickets import tier_of
from tasker_examples.shop import cart as carts

ORDER: dict[str, Any] = {
    "cart_items": [{"product_id": 1, "quantity": 2}, {"product_id": 2, "quantity": 1}],
    "customer_info": {"email": "ada@example.com", "name": "Ada"},
    "payment_info": {"amount": 124.76, "token": "tok_test_success"},
}
TICKET = {"ticket_id": "ticket_1", "customer_id": "customer_vip_7", "refund_amount": 5000, "refund_reason": "broken"}


async def run(template: str, context: dict[str, Any]) -> TaskRun:
    return await run_task_async(f"examples_{template}", context, plugins=[plugin])


def changed(context: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of the context in which `path` (dotted) is another value."""
    made = copy.deepcopy(context)
    *names, last = path.split(".")
    inner = made
    for name in names:
        inner = inner[name]
    inner[last] = value
    return made


# The shop -------------------------------------------------------------------------------------------------------------


async def test_a_cart_becomes_an_order_for_124_76() -> None:
    ran = await run("shop/ecommerce_order_processing", ORDER)
    assert ran.is_complete, ran
    values = ran.values
    cart = values["validate_cart"]
    assert (cart["subtotal"], cart["tax"], cart["shipping"], cart["total"]) == (109.97, 8.8, 5.99, 124.76)
    assert values["process_payment"]["fees"] == 3.92  # 2.9 % of 124.76 are 3.62, and 0.30
    assert values["update_inventory"]["updated_products"] == [
        {"product_id": 1, "stock_before": 100, "stock_after": 98},
        {"product_id": 2, "stock_before": 50, "stock_after": 49},
    ]
    order = values["create_order"]
    assert 1000 <= order["order_id"] <= 9999
    assert (order["total_amount"], order["status"]) == (124.76, "confirmed")
    assert order["payment_id"] == values["process_payment"]["payment_id"]
    assert values["send_confirmation"]["subject"] == f"Your order {order['order_number']}"


@pytest.mark.parametrize(
    ("path", "value", "step", "code", "attempts"),
    [
        ("payment_info.amount", 100.0, "process_payment", "PAYMENT_AMOUNT_MISMATCH", 1),
        ("payment_info.token", "tok_test_declined", "process_payment", "PAYMENT_DECLINED", 1),
        ("customer_info.email", "nowhere", "send_confirmation", "INVALID_EMAIL", 1),
        ("cart_items", [{"product_id": 4, "quantity": 1}], "validate_cart", "INSUFFICIENT_STOCK", 2),
    ],
)
async def test_what_goes_wrong_in_the_shop(path: str, value: Any, step: str, code: str, attempts: int) -> None:
    ran = await run("shop/ecommerce_order_processing", changed(ORDER, path, value))
    assert (ran.states[step], ran.errors[step]["error_code"], ran.attempts[step]) == ("error", code, attempts)


async def test_a_gateway_that_does_not_answer_is_asked_again_after_as_long_as_it_says() -> None:
    ran = await run("shop/ecommerce_order_processing", changed(ORDER, "payment_info.token", "tok_test_network_error"))
    assert ran.is_complete
    assert ran.attempts["process_payment"] == 2
    assert ran.took >= timedelta(seconds=15)


@pytest.mark.parametrize(
    ("items", "code"),
    [
        (None, "MISSING_CART_ITEMS"),
        ([], "MISSING_CART_ITEMS"),
        ([{"quantity": 1}], "MISSING_PRODUCT_ID"),
        ([{"product_id": 1, "quantity": 0}], "INVALID_QUANTITY"),
        ([{"product_id": 9, "quantity": 1}], "PRODUCT_NOT_FOUND"),
        ([{"product_id": 5, "quantity": 1}], "PRODUCT_INACTIVE"),
        ([{"product_id": 3, "quantity": 26}], "INSUFFICIENT_STOCK"),
    ],
)
def test_carts_that_cannot_be_sold(items: Any, code: str) -> None:
    with pytest.raises(HandlerError) as caught:
        carts.validate(items)
    assert caught.value.error_code == code


@pytest.mark.parametrize(("quantity", "shipping"), [(4, 5.99), (5, 9.99), (20, 9.99), (21, 14.99)])
def test_heavier_carts_cost_more_to_send(quantity: int, shipping: float) -> None:
    assert carts.validate([{"product_id": 1, "quantity": quantity}])["shipping"] == shipping


# The pipeline ---------------------------------------------------------------------------------------------------------


async def test_the_pipeline_comes_to_its_figures() -> None:
    ran = await run("analytics/analytics_pipeline", {})
    assert ran.is_complete, ran
    assert ran.values["aggregate_metrics"] == {
        "total_revenue": 3199.73,
        "total_inventory_quantity": 575,
        "total_customers": 5,
        "total_customer_lifetime_value": 30500.0,
        "average_customer_lifetime_value": 6100.0,
        "sales_transactions": 5,
        "inventory_reorder_alerts": 0,
        "revenue_per_customer": 639.95,
        "inventory_turnover_indicator": 5.5647,
    }
    found = ran.values["generate_insights"]
    assert found["health_score"] == {"score": 100, "max_score": 100, "rating": "Excellent"}
    assert len(found["insights"]) == 3
    assert found["insights"][2] == {
        "about": "customers",
        "finding": "an average lifetime value of $6100.00",
        "advice": "Focus on retention programs",
    }


# The registration -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "billing", "preferences", "channels"),
    [
        ("free", "skipped_free_plan", 7, ["email", "in_app"]),
        ("pro", "active", 8, ["email", "in_app"]),
        ("enterprise", "active", 10, ["email", "in_app", "sms"]),
    ],
)
async def test_a_user_is_registered(plan: str, billing: str, preferences: int, channels: list[str]) -> None:
    user = {"email": "ada@example.com", "name": "Ada", "plan": plan}
    ran = await run("accounts/user_registration", {"user_info": user})
    assert ran.is_complete, ran
    done = ran.values["update_user_status"]
    assert (done["status"], done["all_services_coordinated"], len(done["services_completed"])) == ("active", True, 4)
    assert done["registration_summary"] == {
        "email": "ada@example.com",
        "plan": plan,
        "billing_status": billing,
        "preferences_count": preferences,
        "notification_channels": channels,
    }


@pytest.mark.parametrize(
    ("user", "code"),
    [
        ({"name": "Ada"}, "MISSING_EMAIL"),
        ({"email": "ada@example.com"}, "MISSING_NAME"),
        ({"email": "ada", "name": "Ada"}, "INVALID_EMAIL_FORMAT"),
        ({"email": "existing@example.com", "name": "Somebody Else"}, "USER_CONFLICT"),
    ],
)
async def test_who_cannot_be_registered(user: dict[str, str], code: str) -> None:
    ran = await run("accounts/user_registration", {"user_info": user})
    assert ran.errors["create_user_account"]["error_code"] == code
    assert ran.attempts["create_user_account"] == 1


async def test_the_same_user_again_is_no_error_and_keeps_wishes() -> None:
    user = {"email": "existing@example.com", "name": "Existing User", "preferences": {"email_notifications": False}}
    ran = await run("accounts/user_registration", {"user_info": user})
    assert ran.values["create_user_account"]["status"] == "already_exists"
    assert ran.values["send_welcome_sequence"]["channels_used"] == ["in_app"]


# Refunds --------------------------------------------------------------------------------------------------------------


async def test_two_teams_have_a_workflow_of_the_same_name() -> None:
    asked = await run("customer_success/process_refund", TICKET)
    assert asked.is_complete, asked
    assert asked.template == "examples_customer_success/process_refund 1.3.0"
    delegated = asked.values["execute_refund_workflow"]
    assert (delegated["target_namespace"], delegated["target_workflow"]) == ("examples_payments", "process_refund")
    assert asked.values["update_ticket_status"]["new_status"] == "resolved"

    made = await run("payments/process_refund", delegated["delegated_request"])
    assert made.is_complete, made
    assert made.template == "examples_payments/process_refund 2.1.0"
    assert set(made.steps).isdisjoint(asked.steps)
    assert made.values["process_gateway_refund"]["refund_amount"] == 5000
    assert len(made.values["update_payment_records"]["history"]) == 2
    assert made.values["notify_customer"]["subject"] == "Your refund of $50.00"


@pytest.mark.parametrize(
    ("change", "step", "code", "attempts"),
    [
        ({"ticket_id": "ticket_closed_1"}, "validate_refund_request", "TICKET_CLOSED", 1),
        ({"customer_id": "c_1", "refund_amount": 10_001}, "check_refund_policy", "EXCEEDS_AMOUNT_LIMIT", 1),
        ({"customer_id": "c_1", "ticket_id": "ticket_denied_1"}, "get_manager_approval", "APPROVAL_DENIED", 1),
        ({"customer_id": "c_1", "ticket_id": "ticket_pending_1"}, "get_manager_approval", "APPROVAL_PENDING", 1),
        ({"ticket_id": "ticket_locked_1"}, "update_ticket_status", "TICKET_LOCKED", 3),
    ],
)
async def test_tickets_without_a_refund(change: dict[str, Any], step: str, code: str, attempts: int) -> None:
    ran = await run("customer_success/process_refund", {**TICKET, **change})
    assert (ran.states[step], ran.errors[step]["error_code"], ran.attempts[step]) == ("error", code, attempts)


def test_who_belongs_to_which_tier() -> None:
    tiers = {name: tier_of(name) for name in ("customer_vip_7", "premium_1", "GOLD_3", "c_1")}
    assert tiers == {"customer_vip_7": "premium", "premium_1": "premium", "GOLD_3": "gold", "c_1": "standard"}


@pytest.mark.parametrize(
    ("payment", "step", "code", "attempts"),
    [
        ("paid!", "validate_payment_eligibility", "INVALID_PAYMENT_ID", 1),
        ("pay_test_insufficient", "validate_payment_eligibility", "INSUFFICIENT_FUNDS", 1),
        ("pay_test_processing", "validate_payment_eligibility", "PAYMENT_PROCESSING", 3),
        ("pay_test_gateway_error", "process_gateway_refund", "GATEWAY_ERROR", 1),
    ],
)
async def test_payments_that_are_not_refunded(payment: str, step: str, code: str, attempts: int) -> None:
    ran = await run("payments/process_refund", {"payment_id": payment, "refund_amount": 100})
    assert (ran.states[step], ran.errors[step]["error_code"], ran.attempts[step]) == ("error", code, attempts)


async def test_a_locked_record_and_a_tired_mail_service_are_waited_for() -> None:
    context = {"payment_id": "pay_test_record_lock", "refund_amount": 100, "customer_email": "a@test_rate_limit"}
    ran = await run("payments/process_refund", context)
    assert ran.is_complete, ran
    assert (ran.attempts["update_payment_records"], ran.attempts["notify_customer"]) == (2, 2)
    assert ran.took >= timedelta(seconds=30)
