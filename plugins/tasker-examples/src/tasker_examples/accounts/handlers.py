"""A new user: an account, then billing and preferences at the same time, a welcome on the right channels, and done."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from tasker_host import From, Input, PermanentError, StepContext, step_handler, workflow

from tasker_examples.clock import now
from tasker_examples.errors import InvalidInputError
from tasker_examples.orders.identity import code

Plan = Literal["free", "pro", "enterprise"]
Mapped = Mapping[str, Any]

PRICES: dict[str, float] = {"free": 0.0, "pro": 29.99, "enterprise": 299.99}

_EVERYBODY: dict[str, Any] = {
    "email_notifications": True,
    "marketing_emails": False,
    "language": "en",
    "timezone": "UTC",
    "theme": "light",
    "weekly_digest": True,
    "two_factor": False,
}
_PRO = {**_EVERYBODY, "api_access": True}
_ENTERPRISE = {**_PRO, "sso": True, "audit_log": True}
DEFAULTS: dict[str, dict[str, Any]] = {"free": _EVERYBODY, "pro": _PRO, "enterprise": _ENTERPRISE}

EXISTING: dict[str, dict[str, str]] = {
    "existing@example.com": {"user_id": "usr_existing0001", "name": "Existing User", "plan": "free"}
}
"""Who is there already: the same person again is no error, another one under that address is."""


class UserInfo(BaseModel):
    email: str | None = None
    name: str | None = None
    plan: Plan = "free"
    phone: str | None = None
    preferences: dict[str, Any] = Field(default_factory=dict)


class Registration(BaseModel):
    """What a task of the workflow is given."""

    user_info: UserInfo


User = Annotated[UserInfo, Input("user_info")]
Account = Annotated[Mapped, From("create_user_account")]
Billing = Annotated[Mapped, From("setup_billing_profile")]
Preferences = Annotated[Mapped, From("initialize_preferences")]
Welcome = Annotated[Mapped, From("send_welcome_sequence")]


@step_handler("examples.accounts.create_user_account")
def create_user_account(context: StepContext, user: User) -> dict[str, Any]:
    if not user.email:
        raise InvalidInputError("user_info.email is missing", error_code="MISSING_EMAIL")
    if not user.name:
        raise InvalidInputError("user_info.name is missing", error_code="MISSING_NAME")
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", user.email):
        raise InvalidInputError(f"{user.email!r} is no email address", error_code="INVALID_EMAIL_FORMAT")
    there = EXISTING.get(user.email)
    if there is not None and (there["name"], there["plan"]) != (user.name, user.plan):
        raise PermanentError(f"{user.email} belongs to somebody else", error_code="USER_CONFLICT")
    return {
        "user_id": there["user_id"] if there else f"usr_{code(context.step_uuid, 'user', 12).lower()}",
        "email": user.email,
        "name": user.name,
        "plan": user.plan,
        "status": "already_exists" if there else "created",
        "created_at": now().isoformat(),
    }


@step_handler("examples.accounts.setup_billing_profile")
def setup_billing_profile(context: StepContext, account: Account) -> dict[str, Any]:
    plan = account["plan"]
    if not PRICES[plan]:
        return {"user_id": account["user_id"], "plan": plan, "status": "skipped_free_plan", "billing_required": False}
    return {
        "billing_id": f"bill_{code(context.step_uuid, 'billing', 12).lower()}",
        "user_id": account["user_id"],
        "plan": plan,
        "price": PRICES[plan],
        "currency": "USD",
        "next_billing_date": (now() + timedelta(days=30)).date().isoformat(),
        "status": "active",
        "billing_required": True,
    }


@step_handler("examples.accounts.initialize_preferences")
def initialize_preferences(context: StepContext, account: Account, user: User) -> dict[str, Any]:
    defaults = DEFAULTS[account["plan"]]
    return {
        "preferences_id": f"prefs_{code(context.step_uuid, 'preferences', 12).lower()}",
        "user_id": account["user_id"],
        "preferences": {**defaults, **user.preferences},
        "defaults_applied": len(defaults),
        "customizations": len(user.preferences),
    }


@step_handler("examples.accounts.send_welcome_sequence")
def send_welcome_sequence(
    context: StepContext, account: Account, billing: Billing, preferences: Preferences, user: User
) -> dict[str, Any]:
    channels = ["email"] if preferences["preferences"]["email_notifications"] else []
    channels.append("in_app")
    if account["plan"] == "enterprise":
        channels.append("sms")
    return {
        "welcome_sequence_id": f"welcome_{code(context.step_uuid, 'welcome', 12).lower()}",
        "user_id": account["user_id"],
        "channels_used": channels,
        "messages": [
            {"channel": channel, "to": user.phone if channel == "sms" else account["email"], "status": "sent"}
            for channel in channels
        ],
        "mentions_billing": billing["billing_required"],
    }


@step_handler("examples.accounts.update_user_status")
def update_user_status(
    account: Account, billing: Billing, preferences: Preferences, welcome: Welcome
) -> dict[str, Any]:
    users = {part["user_id"] for part in (account, billing, preferences, welcome)}
    if len(users) != 1:
        raise PermanentError("the services do not speak of the same user", error_code="INCOMPLETE_WORKFLOW")
    return {
        "user_id": account["user_id"],
        "status": "active",
        "all_services_coordinated": True,
        "services_completed": ["user_service", "billing_service", "preferences_service", "notification_service"],
        "registration_summary": {
            "email": account["email"],
            "plan": account["plan"],
            "billing_status": billing["status"],
            "preferences_count": len(preferences["preferences"]),
            "notification_channels": welcome["channels_used"],
        },
    }


_RETRY = {"max_attempts": 3, "backoff": "exponential", "backoff_base_ms": 500, "max_backoff_ms": 10000}

ACCOUNTS = (
    workflow(
        "examples_accounts/user_registration",
        description="An account, billing and preferences at the same time, a welcome, and the user is active",
        metadata={"author": "tasker-examples", "tags": ["accounts", "diamond", "code"]},
        input_schema=Registration,
    )
    .step(create_user_account, retry=_RETRY, timeout_seconds=15)
    .step(setup_billing_profile, retry=_RETRY, timeout_seconds=15)
    .step(initialize_preferences, retry=_RETRY, timeout_seconds=15)
    .step(send_welcome_sequence, retry=_RETRY, timeout_seconds=15)
    .step(update_user_status, retry=_RETRY, timeout_seconds=15)
)
