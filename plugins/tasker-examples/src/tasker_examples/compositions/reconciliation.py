"""What a payment provider says is compared with what we have written down."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field
from tasker_host import From, Input, step_handler, workflow

_DIGITS = 2


class Transaction(BaseModel):
    id: str = Field(min_length=1)
    amount: float


class Statements(BaseModel):
    external: list[Transaction]
    internal: list[Transaction]
    max_variance: float = Field(default=5.0, ge=0)
    max_unmatched: int = Field(default=2, ge=0)


class Matches(BaseModel):
    matched: int
    unmatched: list[str]
    """Of the provider's transactions, those that we do not have."""
    variances: dict[str, float]
    """By how much the amounts of a transaction differ, where they do."""


class Report(BaseModel):
    matched: int
    unmatched: int
    total_variance: float
    is_balanced: bool


Given = Annotated[Statements, Input()]


@step_handler("examples.compositions.match_transactions")
def match_transactions(given: Given) -> Matches:
    ours = {transaction.id: transaction.amount for transaction in given.internal}
    both = [transaction for transaction in given.external if transaction.id in ours]
    differences = {one.id: round(abs(one.amount - ours[one.id]), _DIGITS) for one in both}
    return Matches(
        matched=len(both),
        unmatched=[transaction.id for transaction in given.external if transaction.id not in ours],
        variances={name: difference for name, difference in differences.items() if difference},
    )


@step_handler("examples.compositions.report_reconciliation")
def report_reconciliation(given: Given, matches: Annotated[Matches, From("match_transactions")]) -> Report:
    variance = round(sum(matches.variances.values()), _DIGITS)
    return Report(
        matched=matches.matched,
        unmatched=len(matches.unmatched),
        total_variance=variance,
        is_balanced=variance <= given.max_variance and len(matches.unmatched) <= given.max_unmatched,
    )


RECONCILIATION = (
    workflow(
        "examples_compositions/payment_reconciliation",
        description="Two lists of transactions are matched, and what differs is judged by thresholds",
        metadata={"author": "tasker-examples", "tags": ["chain", "models", "code"]},
        input_schema=Statements,
    )
    .step(match_transactions, result_schema=Matches)
    .step(report_reconciliation, result_schema=Report)
)
