"""JSON Schema: what values must hold to, told with the path of everything that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from tasker_host.domain.schema_faults import schema_faults
from tasker_host.domain.schema_quick import quick_check
from tasker_host.errors import Problem

SchemaCheck = Callable[[Any], list[Problem]]

_NOTHING_ELSE: Registry[Any] = Registry()
"""References lead only within a schema: nothing is fetched from elsewhere."""


class InvalidSchema(ValueError):
    """The schema itself is not one."""


def schema_check(schema: dict[str, Any], *, subject: str) -> SchemaCheck:
    """Finds everything in a value that does not fit `schema`; paths begin with `subject`. Raises InvalidSchema.

    Draft 2020-12, or the one that `$schema` names; formats are checked.
    """
    for _, message in schema_faults(schema):
        raise InvalidSchema(message)
    kind = validator_for(schema, default=Draft202012Validator)
    validator: Validator = kind(schema, format_checker=kind.FORMAT_CHECKER, registry=_NOTHING_ELSE)

    # The default draft only: "$schema" is not one of the keywords of a plain schema.
    quick = quick_check(schema)

    def check(value: Any) -> list[Problem]:
        if quick is not None and quick(value):
            return []
        try:
            errors = sorted(validator.iter_errors(value), key=lambda error: error.json_path)
        except Unresolvable as error:
            return [Problem(subject, f"the schema refers to what it does not have: {error}")]
        except (RecursionError, ArithmeticError) as error:
            # A schema that refers to itself for ever; a number too large for a multipleOf that is none.
            return [Problem(subject, f"cannot be checked by the schema: {error}")]
        return [Problem(subject + error.json_path.removeprefix("$"), error.message) for error in errors]

    return check
