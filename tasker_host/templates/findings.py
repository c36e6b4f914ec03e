"""What can be found in a template, by code: each is stable, and explained in docs/templates.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    ERROR = "error"
    """The template is refused, is not available, or a step of it is bound to fail."""
    WARNING = "warning"
    """It runs, but hardly as it was meant."""
    INFO = "info"
    """It could say more."""


_ERROR, _WARNING, _INFO = Severity

CODES: dict[str, Severity] = {
    # The file
    "UNREADABLE": _ERROR,
    "UNKNOWN_KEY": _ERROR,
    "MISSING_KEY": _ERROR,
    "INVALID_VALUE": _ERROR,
    "INVALID_SCHEMA": _ERROR,
    "ONCE_BOOLEAN": _WARNING,
    # The order of steps
    "DUPLICATE_STEP": _ERROR,
    "MISSING_DEPENDENCY": _ERROR,
    "SELF_DEPENDENCY": _ERROR,
    "CYCLE": _ERROR,
    "UNREACHABLE_STEP": _ERROR,
    "DECISION_ON_NOTHING": _ERROR,
    "JOIN_OF_NOTHING": _ERROR,
    "BATCH_WITHOUT_WORKER": _ERROR,
    "WORKER_WITHOUT_BATCH": _ERROR,
    "NO_STEPS": _WARNING,
    "ORPHAN_STEP": _WARNING,
    "REPEATED_DEPENDENCY": _WARNING,
    "DECISION_WITHOUT_STEPS": _WARNING,
    "DEFERRED_WITHOUT_DECISION": _WARNING,
    "FAN_IN_NOT_DEFERRED": _WARNING,
    # What steps say
    "RETRY_OTHER_NAME": _WARNING,
    "RETRY_BELOW_FLOOR": _WARNING,
    "RETRY_CAP_BELOW_BASE": _WARNING,
    "RETRY_WITHOUT_EFFECT": _WARNING,
    "RETRY_BEYOND_DURATION": _WARNING,
    "TIMEOUT_BEYOND_DURATION": _WARNING,
    "BATCH_CONFIG_MISPLACED": _WARNING,
    "UNKNOWN_WORKER": _WARNING,
    "UNKNOWN_OVERRIDE": _WARNING,
    "DUPLICATE_EVENT": _WARNING,
    "SCHEMA_NOT_OBJECT": _WARNING,
    "CONCURRENCY_FIELD": _WARNING,
    "NO_INPUT_SCHEMA": _INFO,
    "NO_RESULT_SCHEMA": _INFO,
    # Handlers, and what they read
    "UNKNOWN_HANDLER": _ERROR,
    "UNKNOWN_PUBLISHER": _ERROR,
    "READS_UNKNOWN_STEP": _ERROR,
    "READS_BATCH_WORKER": _ERROR,
    "VALUE_NOT_SURE": _WARNING,
    "MISSING_REQUIRED_FIELD": _ERROR,
    "TYPE_MISMATCH": _ERROR,
    "FIELD_NOT_ALWAYS_THERE": _WARNING,
    "MISSING_OPTIONAL_FIELD": _INFO,
    "EXTRA_PRODUCER_FIELD": _INFO,
    "INPUT_MISMATCH": _ERROR,
    "INPUT_NOT_SURE": _WARNING,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """`where` is `file:line`, or the template; `step` is empty for what concerns the template as a whole."""

    code: str
    severity: Severity
    message: str
    where: str = ""
    step: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.severity} {self.code}: {self.message}"

    def as_json(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "severity": self.severity.value,
            "step": self.step or None,
            "where": self.where,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in one template; `template` is its label, or the file when it cannot be read."""

    template: str
    findings: Sequence[Finding]

    def count(self, severity: Severity) -> int:
        return sum(finding.severity is severity for finding in self.findings)

    def passes(self, *, strict: bool = False) -> bool:
        """Whether there is no error; when `strict`, no warning either."""
        return not self.count(Severity.ERROR) and not (strict and self.count(Severity.WARNING))
