"""What came out when a worker died everywhere it can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tasker_host.testing.compare import Difference
from tasker_host.testing.moments import Moment
from tasker_host.testing.outcome import TaskRun

WORKER_LOST = "worker_lost"


@dataclass(frozen=True, slots=True)
class Finding:
    """A worker died at `moment`, and what came of the task was not the same; `handler`, of `step`, is to blame."""

    moment: Moment
    step: str
    handler: str
    differences: tuple[Difference, ...]

    @property
    def is_of_attempts(self) -> bool:
        """Whether the step had no attempt left: what it did is not the matter, it was not tried again."""
        where = f"step {self.step} · error"
        return any(each.where == where and WORKER_LOST in each.found for each in self.differences)

    def as_json(self) -> dict[str, Any]:
        return {
            "handler": self.handler,
            "step": self.step,
            "cause": "no_attempt_left" if self.is_of_attempts else "not_idempotent",
            "moment": str(self.moment),
            "when": self.moment.when,
            "what": self.moment.what,
            "at_step": self.moment.step,
            "number": self.moment.number,
            "differences": [difference.as_json() for difference in self.differences],
        }


@dataclass(frozen=True, slots=True, repr=False)
class CrashReport:
    """`moments` are all at which a worker died, one run each; `undisturbed` is the run that they are compared with.

    `volatile` differs from run to run by itself and was not compared; `compared` are the tables and probes that were.
    `missed` are moments that the task did not come to again: it does not take the same way every time.
    """

    template: str
    undisturbed: TaskRun
    moments: Sequence[Moment]
    findings: Sequence[Finding]
    missed: Sequence[Moment]
    unsteady: Sequence[Difference]
    volatile: Sequence[str]
    compared: Sequence[str]
    handlers: Sequence[str]
    took_seconds: float

    @property
    def is_proven(self) -> bool:
        """Whether every death came to the same end as no death at all."""
        return not (self.findings or self.missed or self.unsteady)

    @property
    def not_idempotent(self) -> list[str]:
        """Names of the handlers that did something twice, each once."""
        return list(dict.fromkeys(finding.handler for finding in self.findings if not finding.is_of_attempts))

    @property
    def no_attempt_left(self) -> list[str]:
        """Names of the handlers whose step is not tried again after a death, each once."""
        return list(dict.fromkeys(finding.handler for finding in self.findings if finding.is_of_attempts))

    def as_json(self) -> dict[str, Any]:
        return {
            "proven": self.is_proven,
            "template": self.template,
            "state": self.undisturbed.state,
            "moments": len(self.moments),
            "handlers": list(self.handlers),
            "not_idempotent": self.not_idempotent,
            "no_attempt_left": self.no_attempt_left,
            "findings": [finding.as_json() for finding in self.findings],
            "missed": [str(moment) for moment in self.missed],
            "unsteady": [difference.as_json() for difference in self.unsteady],
            "compared": list(self.compared),
            "not_compared": list(self.volatile),
            "took_seconds": round(self.took_seconds, 3),
        }

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    __str__ = __repr__

    def lines(self) -> list[str]:
        """For people."""
        verdict = "proven" if self.is_proven else "NOT proven"
        compared = ", ".join(["the outcome", "events", *self.compared])
        lines = [
            f"{self.template}: {verdict}. A worker died at {len(self.moments)} moments of a task of"
            f" {len(self.undisturbed.steps)} steps, another one went on each time ({self.took_seconds:.1f} s).",
            f"Undisturbed it is {self.undisturbed.state}. Compared: {compared}.",
        ]
        if not self.compared:
            lines.append("What handlers do outside of this database is not seen: give effects that look at it.")
        if self.volatile:
            lines.append(f"Not compared, it differs every time: {', '.join(self.volatile)}.")
        lines += [f"Without any death, two runs differ in {difference}" for difference in self.unsteady]
        lines += [f"Not come to again: {moment}" for moment in self.missed]
        for handler in self.not_idempotent:
            findings = [each for each in self.findings if each.handler == handler and not each.is_of_attempts]
            lines += ["", f"{handler} is not idempotent ({_steps(findings)}):", *_told(findings)]
            lines.append(
                "  Let what it does be undone by its death, in context.transaction(), or be recognised when it is done"
                " again, by a key made of context.step_uuid."
            )
        for handler in self.no_attempt_left:
            findings = [each for each in self.findings if each.handler == handler and each.is_of_attempts]
            lines += ["", f"{handler} is not tried again ({_steps(findings)}):", *_told(findings)]
            lines.append("  It had no attempt left: a death uses one. Give it retry.max_attempts of at least one more.")
        return lines


MOST_TOLD = 4
"""Moments, and differences, that are spelled out."""


def _steps(findings: Sequence[Finding]) -> str:
    return f"step {', '.join(dict.fromkeys(finding.step for finding in findings))}"


def _told(findings: Sequence[Finding]) -> list[str]:
    """Moments after which the same was different, together."""
    lines = []
    told: dict[tuple[str, ...], list[Moment]] = {}
    for finding in findings:
        told.setdefault(tuple(map(str, finding.differences)), []).append(finding.moment)
    for differences, moments in told.items():
        lines.append(f"  the worker died {moments[0]}")
        lines += [f"  or {moment}" for moment in moments[1:MOST_TOLD]]
        if len(moments) > MOST_TOLD:
            lines.append(f"  or at {len(moments) - MOST_TOLD} more moments")
        lines += [f"    {difference}" for difference in differences[:MOST_TOLD]]
        if len(differences) > MOST_TOLD:
            lines.append(f"    and {len(differences) - MOST_TOLD} more differences")
    return lines


class NotIdempotent(AssertionError):
    """`report` has every finding."""

    def __init__(self, report: CrashReport) -> None:
        self.report = report
        super().__init__(str(report))
