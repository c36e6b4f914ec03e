"""Plugins as data, the same for commands and the API."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from tasker_host.errors import Problem
from tasker_host.plugins import Contribution, Plugin
from tasker_host.registry.compose import Registry

_SHOWN_BY_ITSELF = {"plugin", "settings", "handlers", "resolvers", "templates", "lifespan", "warnings"}


def summary(found: Plugin) -> dict[str, Any]:
    """What is told of every plugin."""
    return {
        "name": found.name,
        "status": str(found.status),
        "version": found.version,
        "distribution": found.dist,
        "module": found.module,
        "required": found.required,
        "note": found.note,
        "gives": {} if found.contribution is None else found.contribution.gives(),
        "faults": [
            {"stage": str(fault.stage), "hook": fault.hook, "error": fault.error, "hint": fault.hint}
            for fault in found.faults
        ],
    }


def as_problem(found: Problem) -> dict[str, str]:
    return {"where": found.where, "message": found.message}


def given_by(given: Contribution, registry: Registry) -> dict[str, Any]:
    """All that a plugin gives: handlers with what they are given, templates, everything else by name."""
    told: dict[str, Any] = {
        "handlers": [
            {
                "name": handler.name,
                "version": handler.version,
                "path": handler.path,
                "runs_in": handler.runs_in,
                "alias_of": handler.alias_of or None,
                "given": [str(injected) for injected in handler.injected],
            }
            for handler in given.handlers
        ],
        "resolvers": [{"name": one.name, "priority": one.priority} for one in given.resolvers],
        "templates": [
            {
                "template": template.label,
                "steps": len(template.steps),
                "problems": [as_problem(problem) for problem in registry.problems_of(template)],
            }
            for template in given.templates
        ],
    }
    kinds = [field.name for field in fields(given) if field.name not in _SHOWN_BY_ITSELF]
    told |= {kind: [_name(item) for item in getattr(given, kind)] for kind in kinds}
    told["lifespan"] = given.lifespan is not None
    told["warnings"] = [as_problem(warning) for warning in given.warnings]
    return told


def _name(item: Any) -> str:
    name = getattr(item, "name", None)
    if isinstance(name, str) and name:
        return name
    if (error := getattr(item, "error_type", None)) is not None:
        return str(error.__qualname__)
    if paths := getattr(item, "paths", None) or ([path] if (path := getattr(item, "path", None)) else None):
        return ", ".join(sorted(paths))
    return str(getattr(item, "__qualname__", repr(item)))
