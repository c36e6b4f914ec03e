"""JSON Schema: what values must hold to, told with the path of everything that is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
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


_DATE = r"(?:\d+Y(?:\d+M(?:\d+D)?)?|\d+M(?:\d+D)?|\d+D)"
_TIME = r"T(?:\d+H(?:\d+M(?:\d+S)?)?|\d+M(?:\d+S)?|\d+S)"
_DURATION = re.compile(rf"P(?:\d+W|{_DATE}(?:{_TIME})?|{_TIME})", re.ASCII)
"""RFC 3339, appendix A."""


class InvalidSchema(ValueError):
    """The schema itself is not one."""


def schema_check(schema: dict[str, Any], *, subject: str) -> SchemaCheck:
    """Finds everything in a value that does not fit `schema`; paths begin with `subject`. Raises InvalidSchema.

    Draft 2020-12, or the one that `$schema` names; formats are checked.
    """
    for _, message in schema_faults(schema):
        raise InvalidSchema(message)
    kind = validator_for(schema, default=Draft202012Validator)
    validator: Validator = kind(schema, format_checker=_formats(kind.FORMAT_CHECKER), registry=_NOTHING_ELSE)

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


def _formats(known: FormatChecker) -> FormatChecker:
    """Those of a draft, and durations: the library that jsonschema would ask brings a calendar along."""
    checker = FormatChecker(())
    checker.checkers = dict(known.checkers)
    checker.checks("duration")(_is_duration)
    return checker


def _is_duration(value: object) -> bool:
    return not isinstance(value, str) or _DURATION.fullmatch(value) is not None
