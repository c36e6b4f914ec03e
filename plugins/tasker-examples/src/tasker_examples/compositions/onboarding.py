"""A customer's tier follows from what they bought, and their profile and benefits from the tier."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field
from tasker_host import From, Input, step_handler, workflow

Tier = Literal["platinum", "gold", "silver", "bronze"]


class Customer(BaseModel):
    first_name: str = Field(min_length=1)
    last_name: str = Field(min_length=1)
    total_spend: float = Field(ge=0)
    purchases: int = Field(ge=0)


class Classified(BaseModel):
    tier: Tier


class Profile(BaseModel):
    display_name: str


class Benefits(BaseModel):
    discount_percent: int
    free_shipping: bool
    priority_support: bool
    loyalty_multiplier: float


class Welcome(BaseModel):
    tier: Tier
    display_name: str
    benefits: Benefits


_LEAST: tuple[tuple[Tier, float, int], ...] = (
    ("platinum", 10_000, 50),
    ("gold", 5_000, 20),
    ("silver", 1_000, 5),
)
"""From what spend, and from how many purchases; the first that fits counts, else bronze."""

_BENEFITS: dict[Tier, Benefits] = {
    "platinum": Benefits(discount_percent=20, free_shipping=True, priority_support=True, loyalty_multiplier=3),
    "gold": Benefits(discount_percent=15, free_shipping=True, priority_support=False, loyalty_multiplier=2),
    "silver": Benefits(discount_percent=10, free_shipping=False, priority_support=False, loyalty_multiplier=1.5),
    "bronze": Benefits(discount_percent=0, free_shipping=False, priority_support=False, loyalty_multiplier=1),
}

Given = Annotated[Customer, Input()]


@step_handler("examples.compositions.classify_customer")
def classify_customer(customer: Given) -> Classified:
    for tier, spend, purchases in _LEAST:
        if customer.total_spend >= spend and customer.purchases >= purchases:
            return Classified(tier=tier)
    return Classified(tier="bronze")


@step_handler("examples.compositions.make_profile")
def make_profile(customer: Given) -> Profile:
    return Profile(display_name=f"{customer.first_name.strip()} {customer.last_name.strip()}")


@step_handler("examples.compositions.grant_benefits")
def grant_benefits(classified: Annotated[Classified, From("classify_customer")]) -> Benefits:
    return _BENEFITS[classified.tier]


@step_handler("examples.compositions.welcome_customer")
def welcome_customer(
    classified: Annotated[Classified, From("classify_customer")],
    profile: Annotated[Profile, From("make_profile")],
    benefits: Annotated[Benefits, From("grant_benefits")],
) -> Welcome:
    return Welcome(tier=classified.tier, display_name=profile.display_name, benefits=benefits)


ONBOARDING = (
    workflow(
        "examples_compositions/customer_onboarding",
        description="A customer is classified while their profile is made; benefits follow from the tier",
        metadata={"author": "tasker-examples", "tags": ["diamond", "models", "code"]},
        input_schema=Customer,
    )
    .step(classify_customer, result_schema=Classified)
    .step(make_profile, result_schema=Profile)
    .step(grant_benefits, result_schema=Benefits)
    .step(welcome_customer, result_schema=Welcome)
)
