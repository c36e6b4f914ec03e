"""What is wrong with a host, part by part, as it would be found at its start."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tasker_host.cli.plugin_load import roster_of
from tasker_host.cli.plugin_show import counted
from tasker_host.cli.running import quiet_logs
from tasker_host.config import Config, load
from tasker_host.config.settings import AutoMigrate
from tasker_host.db.dsn import shown
from tasker_host.db.embedded import default_data_dir
from tasker_host.db.embedded.binaries import find_binaries
from tasker_host.db.migrate import status
from tasker_host.db.open import opened
from tasker_host.db.queries import workers_list
from tasker_host.errors import ConfigError, DatabaseError, TaskerError, TemplateError
from tasker_host.plugins import Roster, Status
from tasker_host.registry.build import registry_of

Verdict = Literal["ok", "wrong", "cannot start", "not looked at"]

_MARKS = {"ok": "ok  ", "wrong": "!!  ", "cannot start": "!!  ", "not looked at": "–   "}

_MOST = 6
"""Problems told of one part: it is to fit on one screen."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the host: `cannot start` stops it, `wrong` costs something, and `problems` say what to do."""

    name: str
    verdict: Verdict
    message: str
    problems: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "verdict": self.verdict,
            "message": self.message,
            "problems": list(self.problems),
        }

    def __str__(self) -> str:
        told = [f"      {problem}" for problem in self.problems[:_MOST]]
        if len(self.problems) > _MOST:
            told.append(f"      and {len(self.problems) - _MOST} more: tasker plugin check")
        return "\n".join([f"{_MARKS[self.verdict]}{self.name:<14}{self.message}", *told])


async def examined(config_root: Path | None, env: str | None) -> list[Part]:
    """Every part, as far as the ones before it let it be looked at. Starts nothing and changes nothing."""
    try:
        config = load(config_root, env=env)
    except ConfigError as error:
        problems = tuple(map(str, error.problems)) or (str(error),)
        later = [Part(name, "not looked at", "") for name in ("plugins", "templates", "database")]
        return [Part("configuration", "cannot start", error.summary, problems), *later]
    quiet_logs(config)
    root = "only the files that ship" if config.root is None else f"files of {config.root}"
    roster = roster_of(config)
    return [
        Part("configuration", "ok", f"environment {config.environment}, {root}"),
        _plugins(roster),
        _templates(roster, config),
        *await _database(config),
    ]


def _plugins(roster: Roster) -> Part:
    others = roster.others()
    states = {state: sum(plugin.status is state for plugin in others) for state in Status}
    message = ", ".join(f"{count} {state}" for state, count in states.items() if count)
    faulty = roster.faulty()
    if not others:
        return Part("plugins", "wrong", "none is installed", ("pip install one, or write one: tasker plugin new NAME",))
    problems = tuple(
        f"{plugin.name} ({'required, ' if plugin.required else ''}{plugin.status}): {fault}"
        for plugin in sorted(faulty, key=lambda plugin: not plugin.required)
        for fault in plugin.faults
    )
    stops = any(plugin.required for plugin in faulty)
    return Part("plugins", "cannot start" if stops else "wrong" if faulty else "ok", message, problems)


def _templates(roster: Roster, config: Config) -> Part:
    try:
        registry = registry_of(roster, config)
    except TemplateError as error:
        return Part("templates", "cannot start", error.summary, tuple(map(str, error.problems)))
    templates = registry.templates()
    unavailable = [template for template in templates if registry.problems_of(template)]
    problems = [str(problem) for template in unavailable for problem in registry.problems_of(template)]
    if not templates:
        do = "repair the plugins above" if roster.faulty() else "write some: tasker plugin new NAME"
        return Part("templates", "wrong", "there is none, so there is nothing to run", (do,))
    message = counted({"templates": len(templates)})
    if unavailable:
        message += f", {len(unavailable)} of them not available"
    return Part("templates", "wrong" if unavailable else "ok", message, tuple(problems))


async def _database(config: Config) -> list[Part]:
    settings = config.settings.database
    if not settings.url:
        return [_embedded(config)]
    try:
        async with opened(config, schema=False) as found:
            schema = await status(found.database)
            parts = [Part("database", "ok", str(found)), _schema(schema.pending, settings.auto_migrate)]
            if schema.current:
                parts.append(_workers(await workers_list(found.database)))
            return parts
    except TaskerError as error:
        where = shown(settings.url)
        hint = "is it running, and is DATABASE_URL right? tasker config show --origin tells where it is set"
        return [Part("database", "cannot start", where, (f"{error}", hint))]


def _embedded(config: Config) -> Part:
    """Whether it could be started; it is not, because that would write a data directory."""
    settings = config.settings.database
    if not settings.embedded:
        return Part(
            "database",
            "cannot start",
            "database.url is empty and database.embedded is false",
            ("set DATABASE_URL to a PostgreSQL server, or allow the embedded one",),
        )
    try:
        binaries = find_binaries(Path(settings.embedded_binaries) if settings.embedded_binaries else None)
        folder = Path(settings.data_dir) if settings.data_dir else default_data_dir()
    except DatabaseError as error:
        return Part("database", "cannot start", "no embedded PostgreSQL can be started here", (str(error),))
    there = "" if folder.exists() else ", which the first start makes"
    return Part("database", "ok", f"embedded {binaries} in {folder}{there}")


def _schema(pending: Iterable[str], policy: AutoMigrate) -> Part:
    names = list(pending)
    if not names:
        return Part("migrations", "ok", "all applied")
    message = f"{', '.join(names)} pending"
    if policy is AutoMigrate.ALWAYS:
        return Part("migrations", "ok", f"{message}; the next start applies them")
    hint = 'tasker db migrate, or database.auto_migrate = "always"'
    return Part("migrations", "cannot start", message, (hint,))


def _workers(rows: list[dict[str, Any]]) -> Part:
    alive = [row for row in rows if row["state"] != "lost"]
    problems = [f"{row['worker']} has not been heard of for a while" for row in rows if row["state"] == "lost"]
    problems += [
        f"{row['worker']} has no handler for step {step['step']} of {step['template']}"
        for row in rows
        for step in row["unserved"]
    ]
    message = counted({"hosts": len(alive)}) + " at work" if alive else "none is at work: tasker run"
    return Part("workers", "wrong" if problems else "ok", message, tuple(problems))
