"""What this package gives to the host: steps in class style, the same in function style, and the templates of both."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from tasker_host import Workflow, hookimpl

from tasker_examples.accounts.handlers import ACCOUNTS
from tasker_examples.analytics.handlers import ANALYTICS
from tasker_examples.approvals import classes as approval_classes
from tasker_examples.approvals.functions import APPROVALS
from tasker_examples.basics.handlers import FETCH_TRANSFORM_STORE, MERGE_PATHS
from tasker_examples.batch import checkpoints, csv_classes, csv_functions, dataset
from tasker_examples.compositions.onboarding import ONBOARDING
from tasker_examples.compositions.pricing import PRICING
from tasker_examples.compositions.reconciliation import RECONCILIATION
from tasker_examples.content.handlers import CONTENT
from tasker_examples.dispatch import handlers as dispatch_handlers
from tasker_examples.events import handlers as event_handlers
from tasker_examples.events.publishers import PUBLISHERS
from tasker_examples.events.subscribers import SUBSCRIBERS
from tasker_examples.failures import handlers as failures
from tasker_examples.numbers import decision_batch, diamond, linear, mixed_dag, tree
from tasker_examples.numbers import handlers as number_handlers
from tasker_examples.orders import functions as order_functions
from tasker_examples.orders import handlers as order_handlers
from tasker_examples.refunds.payments import PAYMENTS
from tasker_examples.refunds.tickets import CUSTOMER_SUCCESS
from tasker_examples.settings import ExamplesSettings
from tasker_examples.shop.handlers import SHOP

IN_CODE = (
    FETCH_TRANSFORM_STORE,
    MERGE_PATHS,
    APPROVALS,
    CONTENT,
    SHOP,
    ANALYTICS,
    ACCOUNTS,
    CUSTOMER_SUCCESS,
    PAYMENTS,
    PRICING,
    RECONCILIATION,
    ONBOARDING,
)
"""Workflows made in code, with handlers of their own."""


@hookimpl
def tasker_settings() -> type[ExamplesSettings]:
    return ExamplesSettings


@hookimpl
def tasker_handlers() -> Iterable[Any]:
    in_class_style = (*number_handlers.HANDLERS, *order_handlers.HANDLERS)
    in_function_style = (
        *linear.HANDLERS,
        *diamond.HANDLERS,
        *tree.HANDLERS,
        *mixed_dag.HANDLERS,
        *order_functions.HANDLERS,
    )
    in_batches = (*csv_classes.HANDLERS, *csv_functions.HANDLERS, *dataset.HANDLERS, *checkpoints.HANDLERS)
    decisions = (*approval_classes.HANDLERS, *decision_batch.HANDLERS)
    others = (*failures.HANDLERS, *dispatch_handlers.HANDLERS, *event_handlers.HANDLERS)
    in_code = tuple(handler for made in IN_CODE for handler in made.handlers)
    return in_class_style + in_function_style + in_batches + decisions + others + in_code


@hookimpl
def tasker_publishers() -> Iterable[Any]:
    return PUBLISHERS


@hookimpl
def tasker_subscribers() -> Iterable[Any]:
    return SUBSCRIBERS


@hookimpl
def tasker_templates() -> Iterable[Traversable | Workflow]:
    """Most are files; some are made in code, from what the handlers say they read."""
    return [files("tasker_examples") / "templates", failures.BOUNDARY, *IN_CODE]
