"""Checks a template: everything that is wrong, doubtful or could be said, each with its code and place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from tasker_host.domain import yaml
from tasker_host.domain.faults import Path
from tasker_host.domain.graph import cycles
from tasker_host.domain.source import parse_template
from tasker_host.domain.template import TaskTemplate
from tasker_host.errors import Problem, TemplateError
from tasker_host.templates.findings import CODES, Finding, Report, Severity
from tasker_host.templates.reading import Known, found_with
from tasker_host.templates.rules import Found, found_in

_ORDER = list(Severity)
_LINE = re.compile(r":(\d+)$")


def check_text(text: str, *, source: str, known: Known | None = None) -> Report:
    """A YAML text; findings have `source:line` as their place. Without `known`, nothing is said of handlers."""
    try:
        document = yaml.read(text, source=source)
        template, doubts = parse_template(text, source=source)
    except TemplateError as error:
        findings = [_finding(problem, Severity.ERROR) for problem in error.problems]
        return Report(source, _sorted([*findings, *_never_started(text, source)]))
    findings = [_finding(problem, Severity.WARNING) for problem in doubts]
    findings += _found(template, known, document.where)
    return Report(template.label, _sorted(findings))


def check_template(template: TaskTemplate, *, known: Known | None = None) -> Report:
    """A template that was read already: its doubts in writing are not seen any more."""
    where = f"template {template.label}"
    return Report(template.label, _sorted(_found(template, known, lambda _: where)))


def _found(template: TaskTemplate, known: Known | None, where: Callable[[Path], str]) -> list[Finding]:
    found: list[Found] = list(found_in(template))
    if known is not None:
        found += found_with(template, known)
    return [
        Finding(
            one.code,
            CODES[one.code],
            f"step '{one.step}': {one.message}" if one.step else one.message,
            where(one.path),
            one.step,
        )
        for one in found
    ]


def _finding(problem: Problem, severity: Severity) -> Finding:
    code = problem.code if problem.code in CODES else "UNREADABLE"
    start, _, rest = problem.message.partition("'")
    step = rest.partition("'")[0] if start == "step " else ""
    return Finding(code, severity, problem.message, problem.where, step)


def _sorted(findings: list[Finding]) -> list[Finding]:
    """Errors first; among equals by line, then in the order in which they were found."""
    return sorted(findings, key=lambda finding: (_ORDER.index(finding.severity), _line(finding.where)))


def _line(where: str) -> int:
    found = _LINE.search(where)
    return int(found[1]) if found else 0


def _never_started(text: str, source: str) -> Iterator[Finding]:
    """Steps below a cycle, or below a dependency that does not exist: none of them can ever start."""
    try:
        document = yaml.read(text, source=source)
    except TemplateError:
        return
    data: Any = document.data
    entries = data.get("steps") if isinstance(data, dict) else None
    if not isinstance(entries, list):
        return
    above: dict[str, list[str]] = {}
    place: dict[str, int] = {}
    for index, entry in enumerate(entries):
        if isinstance(entry, dict) and isinstance(name := entry.get("name"), str) and name not in above:
            names = entry.get("dependencies") or entry.get("depends_on") or []
            above[name] = [str(one) for one in names] if isinstance(names, list) else []
            place[name] = index
    circles = {name: f"the cycle {' → '.join(cycle)}" for cycle in cycles(above) for name in cycle}
    stuck = dict(circles)
    stuck |= {
        name: f"'{missing}', which does not exist"
        for name, names in above.items()
        for missing in names
        if missing not in above
    }
    reached = set(stuck)
    waiting = list(stuck)
    while waiting:
        parent = waiting.pop()
        for name, names in above.items():
            if parent in names and name not in reached:
                reached.add(name)
                stuck[name] = stuck[parent]
                waiting.append(name)
                message = f"step '{name}': never starts: it is below {stuck[name]}"
                yield Finding("UNREACHABLE_STEP", Severity.ERROR, message, document.where(("steps", place[name])), name)
