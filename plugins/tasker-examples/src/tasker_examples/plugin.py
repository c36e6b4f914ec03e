"""What this package gives to the host: steps in class style, the same in function style, and the templates of both."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from tasker_host import hookimpl

from tasker_examples.numbers import diamond, linear, mixed_dag, tree
from tasker_examples.numbers import handlers as number_handlers
from tasker_examples.orders import functions as order_functions
from tasker_examples.orders import handlers as order_handlers
from tasker_examples.settings import ExamplesSettings


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
    return in_class_style + in_function_style


@hookimpl
def tasker_templates() -> Iterable[Traversable]:
    return [files("tasker_examples") / "templates"]
